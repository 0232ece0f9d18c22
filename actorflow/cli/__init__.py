"""The command line.

`entry` is the way in and loads one command at a time, so that `--help` stays fast; `run`, `look`, `act`, `recover`,
`graph` and `stress` hold the commands. Nothing else in the package imports anything from here, and nothing here is
public API: what users rely on are the commands, their documents and their exit codes.
"""
