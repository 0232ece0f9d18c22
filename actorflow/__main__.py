"""`python -m actorflow`, and the console script: hands over to the command line if its extra is installed.

What lives here: the check for the extra. What does not: any command (`actorflow.cli`). Imports nothing that takes time.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

NEEDED = ("click", "rich")


def main() -> int:
    """Run the command line on the arguments of this process; returns the exit code."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        print(f"actorflow: the command line needs {names}: pip install 'actorflow[cli]'", file=sys.stderr)
        return 2
    from .cli.entry import main as run_commands

    return run_commands(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
