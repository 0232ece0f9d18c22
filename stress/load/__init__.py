"""Load: real clock, real scheduler, ever more branches: how fast, how late, how heavy, and whether it was right.

What lives here: `python -m stress load`. What does not: schedules of our choosing (simulation), and comparisons with
other ways to do the same (`bench`).
"""
