"""Three judges of a recorded scenario that share no code: what one believes, another one checks.

| oracle | looks at | checks |
|---|---|---|
| `client` | what the branches were told | I1, I2, I3, I4, I5 |
| `facts` | the facts of each run, as its handle gives them | I1 to I7, I10, I11, I16, I18 |
| `journal_file` | the SQLite file, or another journal when it is opened again | I7, I8, I9, I10, I17, I18 |

`finding.INVARIANTS` says what each of these is. What does not live here: scenarios, running them.
"""

from .finding import INVARIANTS, PLAN, Finding, Invariant

__all__ = ["INVARIANTS", "PLAN", "Finding", "Invariant"]
