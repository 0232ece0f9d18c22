"""`python -m stress bench`: figures, each beside its goal.

What lives here: one module per group of figures (`fanout`, `scale`, `pushes`, `recovery`, `many_runs`, `startup`), the
question that most of them ask (`question`), and how they are shown (`report`). Machines are shared and noisy: a figure
is a ratio of two times taken alternately in one run, and the median of several. Every run checks its answer.
"""
