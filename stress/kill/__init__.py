"""`python -m stress kill`: a process that runs workflows on one journal is killed, over and over.

What lives here: the rounds (`rounds`), the process that forks the ones to kill (`server`), what those do (`worker`,
`jobs`), and what is counted (`verdict`). What does not: crashes in simulation, at every single write; this is the real
thing: processes, SIGKILL, SQLite on a disk, and the programs of docs/examples.
"""
