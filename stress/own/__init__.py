"""`stress run FILE.py:WORKFLOW`: somebody's own workflow under thousands of schedules, without any code for it.

What lives here: the expressions of `--invariant` and `--same`, the program around the workflow, its campaign. What
does not: scenarios (`scenarios`), schedules (`actorflow.testing`).
"""
