"""`python -m stress nested`: random nested workflows, suspended and crashed at random, against a model.

What lives here: the programs (`programs`, made by `maker`), what they must come to (`model`), how they are built
(`building`) and driven (`driving`), and the campaign (`campaign`, `command`). What does not: any workflow that a user
would write.
"""
