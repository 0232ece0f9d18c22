"""`python -m stress selftest`: one bug at a time is planted into the kernel, and the suite has to find it.

What lives here: the mutants (`mutants_*`), planting them (`planting`), looking for them (`hunt`, `checks`), one process
for each (`worker`), all of them (`campaign`). What does not: scenarios, oracles, schedules: they are what is tested.

Nothing here may import actorflow before a mutant is planted; so `hunt` and `checks` are imported by the worker alone.
"""
