"""Soak: the same runtime for a long time, and whether it weighs as much at the end as at the beginning.

What lives here: `python -m stress soak`. What does not: speed (`load`, `bench`), crashes (`crash`, `kill`).
"""
