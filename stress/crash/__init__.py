"""`python -m stress crash`: the disk under a SQLite journal dies or fails at every single call.

What lives here: two campaigns on the real runtime and the real journal. `images`: every write is recorded, and for
every place in that record the files are made that a crash there may leave; each is opened again. `faults`: the k-th
call fails, for every k. What does not: processes that are really killed (`kill`), crashes in simulation (`sim`).

Below the journal lies a layer of apsw, which lets Python stand between SQLite and its files (`vfs`, `adapter`).
Everything that was written is opened again with the sqlite3 module, as a user would.
"""
