"""Scenarios in simulation: many seeds (`run`), one schedule again (`replay`), all schedules of small plans (`explore`).

What lives here: the three subcommands, and the processes that share their work. What does not: the engine that runs a
schedule (`actorflow.testing`), scenarios and oracles, the report.
"""
