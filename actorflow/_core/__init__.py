"""The pure kernel: what may be asked of a run, what is decided, what is written down, what follows.

Synchronous functions over records. No clock, no chance, no I/O, no trio: those belong to the shell above.
"""
