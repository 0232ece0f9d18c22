"""What ends the pass of a step from within.

What lives here: `Suspended`. What does not: raising it (`suspending`, `children`), what becomes of it (`passes`).
"""

from __future__ import annotations


class Suspended(BaseException):
    """Ends the pass of a step that is suspended: no error, and not for steps to catch."""
