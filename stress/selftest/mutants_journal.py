"""Bugs of what is durable: acknowledging, committing, deleting, recovering, owning.

What lives here: mutants of the journal and of the way there and back. What does not: those of one run's decisions.
"""

from __future__ import annotations

from typing import Final

from .mutant import CHECK, DISK, Mutant

__all__ = ["JOURNAL"]

JOURNAL: Final = (
    Mutant(
        name="ack-before-commit",
        invariants=("I9",),
        module="actorflow._runtime.supervisor",
        old="""\
        self.settle(now)
        link(self)

    # --- acting""",
        new="""\
        self.settle(now)
        link(self)
        for message in taken:
            message.deliver()

    # --- acting""",
        why="whoever has sent a message is answered before its commit is made",
        finder=CHECK,
        check="held",
    ),
    Mutant(
        name="ack-of-failed-commit",
        invariants=("I9",),
        module="actorflow._runtime.dispatcher",
        old="""\
            return error
        except Exception as error:""",
        new="""\
            return None
        except Exception as error:""",
        why="a commit that fails is taken for one that was made",
        likely=("aggregate", "hot-key"),
    ),
    Mutant(
        name="steps-start-before-commit",
        invariants=("I9", "I11"),
        module="actorflow._runtime.dispatcher",
        old="""\
            if actor.volatile:
                actor.act()
        for actor in turned:""",
        new="""\
            if actor.volatile:
                actor.act()
            else:
                started, actor.started = actor.started, []
                for activation in started:
                    actor._start(activation)
        for actor in turned:""",
        why="a step runs although nobody knows yet whether it was ever scheduled",
        likely=("aggregate", "retry", "timers"),
    ),
    Mutant(
        name="state-not-deleted",
        invariants=("I8",),
        module="actorflow._runtime.ledger",
        old="        drops = self.is_over and not self.plan.keep_state",
        new="        drops = False",
        why="the values of a run that is over stay in the journal",
        likely=("many-runs", "aggregate"),
    ),
    Mutant(
        name="values-deleted-from-the-list-only",
        invariants=("I8",),
        module="actorflow.journals.sqlite",
        old='        for name in ("blank_values", "drop_values", "drop_snapshots", "mark_dropped"):',
        new='        for name in ("mark_dropped",):',
        why="a run is marked as deleted, and its values lie in the file",
        likely=("many-runs", "aggregate"),
    ),
    Mutant(
        name="facts-folded-in-part",
        invariants=("I18", "I11"),
        module="actorflow._core.apply",
        old="""\
        state.seq += 1  # per fact: it is what makes two entries of one step in a queue comparable
""",
        new="""\
        state.seq += 1
        if type(fact) is f.OnceRecorded or type(fact) is f.AttemptFailed and state.seq % 2:
            continue
""",
        why="a run that is taken up is not what the same facts had made of it",
        likely=("retry",),
    ),
    Mutant(
        name="write-without-a-fact",
        invariants=("I18", "I1"),
        module="actorflow._core.decide_store",
        old="""\
    if not changes:
        return None
""",
        new="""\
    if not changes:
        if verb == "compare_and_set":
            store.values.pop(key, None)
        return None
""",
        why="deciding changes the state, and no fact tells of it: a run that is taken up is another one",
        likely=("verbs", "hot-key"),
    ),
    Mutant(
        name="only-the-newest-run-goes-on",
        invariants=("I11", "I16"),
        module="actorflow._runtime.recovery",
        old="    for header in reversed(await kernel.journal.headers(statuses=[RunStatus.RUNNING])):",
        new="    for header in reversed(await kernel.journal.headers(statuses=[RunStatus.RUNNING], limit=1)):",
        why="of the runs that a crash has cut off, one is taken up, and the others wait for somebody to ask for them",
        likely=("alone", "many-runs"),
    ),
    Mutant(
        name="values-lost-in-the-codec",
        invariants=("I10", "I18"),
        module="actorflow.journals.sqlite",
        old="                if body and not tail.dropped:",
        new="                if body and not tail.dropped and frame % 8:",
        why="the values of some facts are not written",
        likely=("aggregate", "hot-key"),
    ),
    Mutant(
        name="commit-in-pieces",
        invariants=("I10", "I9"),
        module="actorflow.journals.sqlite",
        old="""\
                connection.execute(SQL["begin"])
                self._write(connection, batch)
                connection.execute(SQL["commit"])
""",
        new="""\
                self._write(connection, batch)
""",
        why="a commit of several rows is several transactions, and a crash leaves some of them",
        finder=DISK,
    ),
    Mutant(
        name="ack-before-fsync",
        invariants=("I9",),
        module="actorflow.journals.sqlite",
        old='        self._synchronous = SQL[f"synchronous_{synchronous.lower()}"]',
        new='        self._synchronous = SQL["synchronous_normal"]',
        why="a commit is acknowledged while it lies in the system's cache",
        finder=DISK,
    ),
    Mutant(
        name="checksums-ignored",
        invariants=("I10",),
        module="actorflow.journals.rows",
        old="""\
        if not whole:
""",
        new="""\
        if not whole and count < 0:
""",
        why="facts that were damaged on the disk are taken for good",
        finder=CHECK,
        check="damage",
    ),
    Mutant(
        name="two-owners",
        invariants=("I17",),
        module="actorflow.journals.lock",
        old="        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        new="        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        why="a second process opens a journal that has an owner",
        finder=CHECK,
        check="owner",
    ),
    Mutant(
        name="owner-lets-go-too-early",
        invariants=("I17",),
        module="actorflow.journals.sqlite",
        old="""\
                connection = self._usable()
                _, frames, _""",
        new="""\
                connection = self._usable()
                self._lock.release()
                _, frames, _""",
        why="the lock of a journal is given up as soon as it is open: a stale owner writes beside the next one",
        finder=CHECK,
        check="owner",
    ),
    Mutant(
        name="stale-owner-not-fenced",
        invariants=("I17", "I10"),
        module="actorflow.journals.sqlite",
        old="""\
                if seq != tail.last_seq + 1:
                    check_joins(append, tail.last_seq)
""",
        new="",
        why="what a stale owner writes is taken although it does not join on",
        finder=CHECK,
        check="fence",
    ),
    Mutant(
        name="snapshot-of-long-run",
        invariants=("I11", "I12", "I18"),
        module="actorflow._core.state_text",
        old='            store.values[str(key)] = (value, len(value), cast("int", size[0]))',
        new='            store.values[str(key)] = (value[:-1], len(value) - 1, cast("int", size[0]))',
        why="a run that is taken up from a snapshot has lost the last item of each list",
        finder=CHECK,
        check="snapshot",
    ),
    Mutant(
        name="snapshot-forgets-what-was-done",
        invariants=("I11", "I12"),
        module="actorflow._core.state_text",
        old="""\
        state.suspended[activation.n] = activation
""",
        new="""\
        activation.log = None
        state.suspended[activation.n] = activation
""",
        why="a step that is taken up from a snapshot does again what it had done",
        finder=CHECK,
        check="snapshot",
    ),
)
"""Those of the journal."""
