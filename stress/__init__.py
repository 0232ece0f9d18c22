"""The stress tool of actorflow: figures, and crashes by the hundred: `python -m stress`, or `actorflow stress`.

What lives here: `bench`, which measures; `kill`, which kills processes that run workflows and counts what was lost;
`nested`, which runs random nested workflows and checks them with a model. What does not: tests; those are quick, and
assert nothing about time. Only the public API of actorflow is used.
"""
