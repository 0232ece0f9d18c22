"""The way in: the group of commands, loaded one at a time, and the place where every error becomes one line.

What lives here: the list of commands and the outermost boundary. What does not: what a command does. Only
`actorflow.__main__` imports this. It must import neither trio nor rich: `actorflow --help` and completion run it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from .failures import ExitCode, report
from .options import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["COMMANDS", "commands", "main"]

# Name: (where it is, what it does). The second part stands here too, so that help need not load the commands.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("run:run", "Start a run, or take it up, and follow it to its end."),
    "runs": ("look:runs", "List the runs of a journal, newest first."),
    "show": ("look:show", "Show one run: its status, and its steps and child runs as a tree."),
    "history": ("look:history", "Show the facts of a run, in order."),
    "state": ("look:state", "Show the run store of a run."),
    "resume": ("act:resume", "Resume a suspended run."),
    "event": ("act:event", "Send an event to a run."),
    "cancel": ("act:cancel", "Cancel a run."),
    "fork": ("act:fork", "Start a new run from the journal of another."),
    "recover": ("recover:recover", "Take up every unfinished run."),
    "graph": ("graph:graph", "Print a workflow as a Mermaid diagram."),
    "stress": ("stress:stress", "Run the stress scenarios."),
}


class CommandGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command = getattr(import_module(f"{__package__}.{module}"), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Run durable workflows, look at their journal and act on their runs.

    Exit codes: 0 completed or done, 1 failed, 2 wrong use or input, 3 suspended, 4 journal trouble, 5 cancelled,
    130 interrupted.
    """


def main(arguments: Sequence[str]) -> int:
    """Run one command line, given without the program's name; returns the exit code and raises nothing."""
    settings = Settings()
    try:
        # Commands return their exit code; so does help, through click's own Exit.
        code: object = commands.main(list(arguments), prog_name="actorflow", standalone_mode=False, obj=settings)
        return code if isinstance(code, int) else ExitCode.DONE
    except click.Abort:  # click's word for Ctrl-C
        return report(KeyboardInterrupt(), trace=False)
    except click.UsageError as error:
        return _wrong_use(error)
    except click.ClickException as error:
        click.echo(f"actorflow: {error.format_message()}", err=True)
        return ExitCode.WRONG_USE
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the outermost boundary: it reports whatever comes
        return report(error, trace=settings.traceback)


def _wrong_use(error: click.UsageError) -> int:
    path = error.ctx.command_path if error.ctx is not None else "actorflow"
    text = error.format_message()
    if "\n" in text:  # no command at all: click gives the whole help as the message
        click.echo(text, err=True)
    else:
        click.echo(f"actorflow: {text} See: {path} --help", err=True)
    return ExitCode.WRONG_USE
