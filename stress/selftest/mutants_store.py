"""Bugs of the run store and of the way that a call takes to it.

What lives here: mutants of reading, writing, replying, waiting and cancelling. What does not: those of steps
(`mutants_steps`), of children (`mutants_tree`), of the journal (`mutants_journal`).
"""

from __future__ import annotations

from typing import Final

from .mutant import CHECK, Mutant

__all__ = ["STORE"]

STORE: Final = (
    Mutant(
        name="increment-as-get-and-set",
        invariants=("I4", "I1", "I2"),
        module="actorflow._runtime.run_store",
        old='return await self._write("increment", name, number, op_id)',
        new="""\
found = await self.get(name, 0)
        self._pass.reads = None
        await self._write("set", name, encoder.text(name, found + number), op_id)
        return found + number""",
        why="two branches read the same number, and one of the increments is lost",
        likely=("aggregate", "hot-key"),
    ),
    Mutant(
        name="stale-read-after-ack",
        invariants=("I5", "I1"),
        module="actorflow._runtime.run_store",
        old="""\
        value = await self._read(name, read)
        return default""",
        new="""\
        seen = owner.__dict__.setdefault('seen', {})
        if name not in seen:
            seen[name] = await self._read(name, read)
        else:
            await trio.lowlevel.checkpoint()
        value = seen.pop(name) if len(seen) > 1 else seen[name]
        return default""",
        why="a read is answered from what the branch has read before, although others were acknowledged since",
        likely=("hot-key", "aggregate"),
    ),
    Mutant(
        name="read-before-durable",
        invariants=("I9", "I1"),
        module="actorflow._runtime.supervisor",
        old="""\
        if self.idle:
            await trio.lowlevel.checkpoint()
            if not self.mailbox:""",
        new="""\
        if not self.mailbox:
            await trio.lowlevel.checkpoint()
            if not self.mailbox:""",
        why="a read tells of writes whose commit is under way, and may yet fail",
        finder=CHECK,
        check="held",
    ),
    Mutant(
        name="replies-swapped",
        invariants=("I1", "I4"),
        module="actorflow._runtime.supervisor",
        old="""\
            answers, self.answers = self.answers, []
            for message in answers:
                if not""",
        new="""\
            answers, self.answers = self.answers, []
            if len(answers) > 1 and answers[0].ask and answers[1].ask:
                answers[0].value, answers[1].value = answers[1].value, answers[0].value
            for message in answers:
                if not""",
        why="two senders of one turn get each other's reply",
        likely=("aggregate", "hot-key"),
    ),
    Mutant(
        name="drops-last-of-full-batch",
        invariants=("I2", "I15", "I16"),
        module="actorflow._runtime.mailbox",
        old="""\
                taken.append(message)
                room -= 1
        return taken""",
        new="""\
                taken.append(message)
                room -= 1
        return taken if room or len(taken) < 2 else taken[:-1]""",
        why="of a turn that takes as many messages as it may, the last one is neither applied nor answered",
        likely=("aggregate", "slow"),
    ),
    Mutant(
        name="lost-wake-up",
        invariants=("I16", "I15"),
        module="actorflow._runtime.dispatcher",
        old="            if len(actor.mailbox) and actor.broken is None and not actor.is_over:",
        new="            if actor.mailbox.control and actor.broken is None and not actor.is_over:",
        why="messages that one turn has left over wait for somebody to send another one",
        likely=("slow", "aggregate"),
    ),
    Mutant(
        name="order-between-keys",
        invariants=("I3",),
        module="actorflow._runtime.mailbox",
        old="        self.user.append(message)",
        new="""\
        hurried = message.ask is not None and message.ask[1] == "increment"
        (self.user.appendleft if hurried else self.user.append)(message)""",
        why="increments pass pushes that the same branch has sent before without waiting",
        likely=("aggregate", "slow"),
    ),
    Mutant(
        name="newest-message-first",
        invariants=("I3",),
        module="actorflow._runtime.mailbox",
        old="            message = lane.popleft()",
        new="            message = lane.popleft() if lane is self.control else lane.pop()",
        why="the mailbox is a stack: of what a branch sends without waiting, the last comes first",
        likely=("slow", "aggregate"),
    ),
    Mutant(
        name="bound-ignored",
        invariants=("I15",),
        module="actorflow._runtime.mailbox",
        old="""\
        if len(self.user) >= self._limit:
""",
        new="""\
        if len(self.user) >= 2 * self._limit:
""",
        why="twice as many messages are taken without waiting as the mailbox has places",
        likely=("slow",),
    ),
    Mutant(
        name="cancelled-call-applied",
        invariants=("I14",),
        module="actorflow._runtime.mailbox",
        old="""\
        self.withdrawn = True
""",
        new="",
        why="a call that was cancelled while it waited for its turn is applied all the same",
        likely=("cancel",),
    ),
    Mutant(
        name="cancelled-after-applied",
        invariants=("I14",),
        module="actorflow._runtime.mailbox",
        old="""\
        if self.taken:
            return trio.lowlevel.Abort.FAILED""",
        new="""\
        if self.answered:
            return trio.lowlevel.Abort.FAILED""",
        why="a call that was applied already, and whose commit is under way, ends as cancelled",
        likely=("cancel",),
    ),
    Mutant(
        name="half-transfer",
        invariants=("I1", "I2"),
        module="actorflow._runtime.run_store",
        old="            await self._actor.ask(c.Transact(self._n, operations, op_id, marks), owner)",
        new="""\
            for one in operations:
                await self._actor.ask(c.Transact(self._n, [one], op_id, marks), owner)""",
        why="the operations of a transaction are sent one by one, and others see it half done",
        likely=("verbs",),
    ),
    Mutant(
        name="refused-transaction-half-applied",
        invariants=("I1", "I2"),
        module="actorflow._core.decide_store",
        old="""\
    if not check_all(state, plan, command.n, command.operations, command.marks, now):
        return NOTHING""",
        new="""\
    try:
        check_all(state, plan, command.n, command.operations, command.marks, now)
    except StateTypeError:
        return Ruling((f.TransactionApplied(now, command.n, command.operations[:1], command.op_id),))""",
        why="of a transaction that does not fit, the first operation is applied",
        likely=("bounded", "verbs"),
    ),
    Mutant(
        name="lost-update-not-refused",
        invariants=("I1", "I2"),
        module="actorflow._core.store_state",
        old="        return meta[2] if meta[1] == writer else meta[0]",
        new="        return meta[2]",
        why="a set that wipes out what another branch has just written is not noticed",
        likely=("hot-key",),
    ),
    Mutant(
        name="refused-operation-changes-the-value",
        invariants=("I1",),
        module="actorflow._core.decide_store",
        old="""\
    except StateTypeError as error:
        raise StateTypeError(f""",
        new="""\
    except StateTypeError as error:
        store.values.pop(key, None)
        raise StateTypeError(f""",
        why="an operation that does not fit is refused, and its key is gone",
        likely=("verbs",),
    ),
)
"""Those of the run store."""
