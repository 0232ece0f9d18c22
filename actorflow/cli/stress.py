"""`actorflow stress`: the stress tool, if it is installed beside the package.

What lives here: handing over. What does not: any option of the tool; it reads its own, `--help` included.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

__all__ = ["stress"]


@click.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def stress(arguments: tuple[str, ...]) -> int:
    """Run the stress scenarios."""
    if find_spec("stress") is None or find_spec("stress.__main__") is None:
        raise click.UsageError("the stress tool is not installed here: it is the package `stress` of the source tree.")
    # By name, because the package must not depend on the tool that tests it.
    code: object = import_module("stress.__main__").main(list(arguments))
    return code if isinstance(code, int) else 0
