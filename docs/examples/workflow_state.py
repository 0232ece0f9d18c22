r"""State that all steps of a workflow share: the five cases that come up again and again, one graph each.

    actorflow run docs/examples/workflow_state.py:counted --input '{"text": "hello"}' --state '{"shared_counter": 41}'
    actorflow run docs/examples/workflow_state.py:formatted --input '{"text": "hello"}' \
        --state '{"metadata": {"processed_by": "system"}}'
    actorflow run docs/examples/workflow_state.py:persistent --run-id p
    actorflow resume p --data '{"proceed": true}'
    actorflow run docs/examples/workflow_state.py:parent

The data of a chain goes from one step to the next and is gone then; the state belongs to the run, and every step can
read and change it, also after a suspension. Whoever comes from a system where a step spreads the old state into a new
one: here a change names the keys that it changes, takes effect at once, and leaves the others alone.
"""

from attrs import define, field, frozen

from actorflow import Context, step, workflow


@frozen
class Message:
    """What most of these workflows are started with."""

    text: str


# --- 1. Data goes through, state stays.


@define
class Counted:
    """The state of `counted`: one number that any step may raise."""

    shared_counter: int = 0


@step
async def read_message(data: Message, ctx: Context[Counted]) -> str:
    """Its data is the input of the run, because it is the first step; its output is the data of the next."""
    await ctx.set_state(shared_counter=ctx.state.shared_counter + 1)
    return data.text


@step
async def shout(data: str, ctx: Context[Counted]) -> str:
    """Sees the counter of the step before, of which nothing came with the data."""
    return f"{data.upper()} #{ctx.state.shared_counter}"


counted = workflow("counted", input=Message, output=str, state=Counted).then(read_message).then(shout).commit()


# --- 2. The workflow has the whole schema, each step the part that it needs. 3. The run is given what to begin with.


@define
class Metadata:
    """Who works on it."""

    processed_by: str


@define
class Processing:
    """The master schema: every key that the state of `formatted` can have. `metadata` has no default, so that
    `initial_state` has to give it.
    """

    metadata: Metadata
    processed_items: list[str] = field(factory=list)


@define
class Items:
    """All of it that `format_message` needs to know."""

    processed_items: list[str] = field(factory=list)


@define
class Author:
    """All of it that `emphasise` needs to know."""

    metadata: Metadata


@step
async def format_message(data: Message, ctx: Context[Items]) -> str:
    """Adds to a list. `extend` is safe beside any number of other branches; `set_state` would be enough here."""
    await ctx.run_store.extend("processed_items", ["item-1", "item-2"])
    return data.text.upper()


@step
async def emphasise(data: str, ctx: Context[Author]) -> str:
    """Reads what the run was started with."""
    return f"{data}!! {ctx.state.metadata.processed_by}"


formatted = (
    workflow("formatted", input=Message, output=str, state=Processing).then(format_message).then(emphasise).commit()
)


# --- 4. State outlives a suspension.


@define
class Visits:
    """The state of `persistent`."""

    count: int = 0
    items: list[str] = field(factory=list)


@frozen
class Proceed:
    """The answer that `ask` waits for."""

    proceed: bool


@step(resume=Proceed)
async def ask(data: object, ctx: Context[Visits]) -> bool:
    """Changes the state and suspends. After the answer it runs again from its first line: the two changes are
    recognised and not made a second time, so no `if` is needed around them.
    """
    await ctx.run_store.increment("count")
    await ctx.run_store.push("items", "item-1")
    answer: Proceed = await ctx.suspend()
    return answer.proceed


@step
async def look(data: bool, ctx: Context[Visits]) -> dict:
    """Finds everything that was said before the suspension."""
    return {"proceed": data, "count": ctx.state.count, "items": ctx.state.items}


persistent = workflow("persistent", state=Visits).then(ask).then(look).commit()


# --- 5. A nested workflow begins with the state that its parent has at that moment.


@define
class Shared:
    """The state of `parent`, and of `nested` too."""

    shared_value: str = ""


@step
async def receive(data: object, ctx: Context[Shared]) -> str:
    """A step of the nested workflow; what it sets is its own."""
    received = f"Received: {ctx.state.shared_value}"
    await ctx.set_state(shared_value="modified-by-child")
    return received


nested = workflow("nested", output=str, state=Shared).then(receive).commit()


@step
async def modify(data: object, ctx: Context[Shared]) -> None:
    """Changes the state before the nested workflow runs."""
    await ctx.set_state(shared_value="modified-by-parent")


@step
async def compare(data: str, ctx: Context[Shared]) -> dict:
    """The parent's own value is as it was; with `merge_state=True` above it would be the child's."""
    return {"child": data, "parent": ctx.state.shared_value}


parent = workflow("parent", state=Shared).then(modify).then(nested).then(compare).commit()
