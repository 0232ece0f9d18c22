"""An expense report: small ones are paid at once, others wait until a human has said yes or no.

    actorflow run docs/examples/approval.py:flow --run-id trip-7 --input @docs/examples/expenses.json
    actorflow show trip-7
    actorflow resume trip-7 --data '{"approved": true, "by": "Grace"}'
    actorflow resume trip-7 --data '{"approved": false, "by": "Grace", "note": "Take the train"}'

The first command exits with 3: the run is suspended and may stay so for weeks, without a process. The third or the
fourth ends it. What to look at: the answer is checked against `Decision` before it is accepted, the step that asked
runs again but its entry in the trail stands there once, and the payment is made through `once`.
"""

from attrs import define, field, frozen

from actorflow import Context, Retry, step, workflow

FREE_CENTS = 10_000
"""Up to here nobody is asked."""


@frozen
class Line:
    """One thing that was paid for."""

    what: str
    cents: int


@frozen
class Report:
    """The input: who wants which money back."""

    employee: str
    lines: list[Line] = field(factory=list)


@frozen
class Claim:
    """A report that has been added up."""

    employee: str
    cents: int
    largest: str


@frozen
class Question:
    """What the approver is shown."""

    text: str
    cents: int


@frozen
class Decision:
    """What the approver answers."""

    approved: bool
    by: str
    note: str = ""


@frozen
class Result:
    """The output."""

    status: str
    cents: int
    decided_by: str
    note: str = ""
    payment: str | None = None


@define
class Audit:
    """The state: what happened, in order, for those who ask later."""

    trail: list[str] = field(factory=list)


class PaymentFailed(Exception):
    """The bank does not answer; it may later."""


@step
async def add_up(data: Report, ctx: Context[Audit]) -> Claim:
    """Sums are made here and not taken from the report."""
    if any(line.cents <= 0 for line in data.lines) or not data.lines:
        raise ValueError("a report has at least one line, and each of them an amount above zero")
    claim = Claim(
        employee=data.employee,
        cents=sum(line.cents for line in data.lines),
        largest=max(data.lines, key=lambda line: line.cents).what,
    )
    await ctx.run_store.push("trail", f"{claim.employee} asks for {claim.cents} cents")
    return claim


def is_large(data: Claim, ctx: Context) -> bool:
    """Whether somebody has to be asked."""
    return data.cents > FREE_CENTS


@step(suspend=Question, resume=Decision)
async def ask(data: Claim, ctx: Context[Audit]) -> Decision:
    """Wait for a decision. This step runs twice, before and after it; the first line counts once all the same."""
    await ctx.run_store.push("trail", "a decision is needed")
    question = Question(f"{data.employee}: {data.cents} cents, most of it for {data.largest}?", data.cents)
    decision: Decision = await ctx.suspend(question, label="decision")
    await ctx.run_store.push("trail", f"{decision.by} says {'yes' if decision.approved else 'no'}")
    return decision


@step
async def wave_through(data: Claim, ctx: Context[Audit]) -> Decision:
    """Small amounts need nobody."""
    await ctx.run_store.push("trail", "small enough")
    return Decision(approved=True, by="the rules")


def the_decision(data: dict[str, Decision], ctx: Context) -> Decision:
    """A branch gives `{id: output}` of those that ran; here exactly one did."""
    (decision,) = data.values()
    return decision


def is_approved(data: Decision, ctx: Context) -> bool:
    """Which way it goes."""
    return data.approved


@step(retry=Retry(attempts=5, delay=2.0, on=PaymentFailed))
async def pay(data: Decision, ctx: Context[Audit]) -> Result:
    """Pay once: a retry after a successful call, or a crash behind it, finds its number in the journal."""
    claim: Claim = await ctx.step_result("add_up")
    payment = await ctx.once("payment", transfer, ctx.activation_id, claim.employee, claim.cents)
    await ctx.run_store.push("trail", f"paid as {payment}")
    return Result("paid", claim.cents, data.by, data.note, payment)


@step
async def turn_down(data: Decision, ctx: Context[Audit]) -> Result:
    """Nothing is paid, and the note says why."""
    claim: Claim = await ctx.step_result("add_up")
    await ctx.run_store.push("trail", "turned down")
    return Result("turned down", claim.cents, data.by, data.note)


async def transfer(key: str, employee: str, cents: int) -> str:
    """Stands for a bank, which takes an idempotency key and answers with a number."""
    return f"P-{key}-{cents}"


def the_result(data: dict[str, Result], ctx: Context) -> Result:
    """The output of the one branch that ran."""
    (result,) = data.values()
    return result


flow = (
    workflow("expense-report", input=Report, output=Result, state=Audit)
    .then(add_up)
    .branch([(is_large, ask)], otherwise=wave_through)
    .map(the_decision)
    .branch([(is_approved, pay)], otherwise=turn_down)
    .map(the_result)
    .commit()
)
