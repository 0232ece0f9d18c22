"""The report that all subcommands share: for people, for machines, and as one page.

What lives here: what a campaign found (`Report`), and its three forms. What does not: finding it. Nothing here knows a
subcommand; each fills in the fields that it has, and leaves out the rest.
"""

from .delivery import add_report_options, deliver
from .histogram import Histogram
from .machine import to_json
from .page import html
from .record import Failure, Invariant, LoadRow, Report, Series, Threshold, Verdict, exit_code
from .text import human

__all__ = [
    "Failure",
    "Histogram",
    "Invariant",
    "LoadRow",
    "Report",
    "Series",
    "Threshold",
    "Verdict",
    "add_report_options",
    "deliver",
    "exit_code",
    "html",
    "human",
    "to_json",
]
