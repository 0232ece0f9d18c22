"""Every code block of README.md and docs/ does what it says: Python runs, JSON parses, commands exit as announced.

How to write a block:

- ```` ```python ```` runs as a script of its own, in an interpreter and an empty folder of its own.
- ```` ```python continue ```` runs after the Python blocks above it, up to the last one without `continue`.
- ```` ```python file=orders.py ```` runs too, and lies under that name in the folder of the page's commands.
- ```` ```python no-run ```` is only compiled (top-level `await` allowed) and holds a line `# not run: reason`.
- ```` ```console ````: of a page's lines, `$ actorflow …` and `$ python -m …` run one after the other in one folder;
  a command that should fail ends in `# exit 1`. Other `$` lines (making an environment) are for the reader.
- ```` ```json ```` parses.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.is_file()]
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
COMMAND = re.compile(
    r"^\$ (?P<line>(?:actorflow|python -m (?!pytest\b|pip\b|venv\b|tests\b)\w).*?)(?:\s+# exit (?P<code>\d+))?$"
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
# A block that takes longer than this hangs; nothing is asserted about being fast.
PATIENCE_S = 120


@attrs.frozen
class Block:
    """One fenced block: where it stands, what its first line says, what it holds."""

    page: Path
    line: int  # of the first line inside the fence, counted from 1
    info: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        """Page and line, as an editor takes them."""
        page = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page
        return f"{page.as_posix()}:{self.line}"

    @property
    def language(self) -> str:
        """The first word of the info string."""
        return self.info[0] if self.info else ""

    @property
    def file(self) -> str | None:
        """The name under which the page's commands find this block."""
        return next((word.removeprefix("file=") for word in self.info if word.startswith("file=")), None)


def blocks(page: Path, text: str) -> list[Block]:
    """All fenced blocks of a page; a fence that is never closed is an error."""
    found = []
    opened: tuple[int, re.Match[str]] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None:
            if fence is not None:
                opened, lines = (number, fence), []
        elif fence is not None and not fence["info"].strip() and len(fence["ticks"]) >= len(opened[1]["ticks"]):
            info = tuple(opened[1]["info"].split())
            found.append(Block(page=page, line=opened[0] + 1, info=info, text="".join(f"{one}\n" for one in lines)))
            opened = None
        else:
            lines.append(line.removeprefix(opened[1]["indent"]))
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: this fence is never closed")
    return found


def script(page: list[Block], block: Block) -> str:
    """The block as a script, with those it continues, each on the lines it has in the page: tracebacks point there."""
    chain: list[Block] = []
    for other in page:
        if other.language != "python" or "no-run" in other.info or other.line > block.line:
            continue
        chain = [*chain, other] if "continue" in other.info else [other]
    text = ""
    for part in chain:
        text += "\n" * (part.line - 1 - text.count("\n")) + part.text
    return text


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a reader would, in an empty folder, with this project importable and warnings as errors."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACTORFLOW_", "PYTEST"))}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        command,
        cwd=folder,
        env=inherited | {"PYTHONPATH": path, "PYTHONWARNINGS": "error", "NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        check=False,
    )


def shell(line: str) -> list[str]:
    """The command line for bash, with `actorflow` and `python` meaning this interpreter, installed or not."""
    functions = (
        f'python() {{ "{sys.executable}" "$@"; }}; actorflow() {{ python -m actorflow "$@"; }}; set -o pipefail; '
    )
    return ["bash", "-c", functions + line]


BY_PAGE = {page: blocks(page, page.read_text(encoding="utf-8")) for page in PAGES}
BLOCKS = [block for found in BY_PAGE.values() for block in found]
RUN = [block for block in BLOCKS if block.language == "python" and "no-run" not in block.info]
NOT_RUN = [block for block in BLOCKS if block.language == "python" and "no-run" in block.info]
JSON = [block for block in BLOCKS if block.language == "json"]
SHOWN_COMMANDS = [
    page
    for page, found in BY_PAGE.items()
    if any(re.search(COMMAND.pattern, b.text, re.MULTILINE) for b in found if b.language == "console")
]


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.name)
def test_a_python_block_runs(block: Block, tmp_path: Path) -> None:
    """The block is a script that ends well and warns of nothing."""
    path = tmp_path / "block.py"
    path.write_text(script(BY_PAGE[block.page], block), encoding="utf-8")
    for other in BY_PAGE[block.page]:
        if other.file is not None and other is not block:
            (tmp_path / other.file).write_text(other.text, encoding="utf-8")
    result = run([sys.executable, path.name], tmp_path)
    assert result.returncode == 0, f"{block.name}\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.name)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    """A block marked no-run compiles and gives its reason in a comment."""
    compile(block.text, block.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert re.search(r"^\s*# not run: \w+ \w+", block.text, re.MULTILINE), "add a line `# not run: reason`"


@pytest.mark.parametrize("block", JSON, ids=lambda block: block.name)
def test_a_json_block_parses(block: Block) -> None:
    """The block is one JSON document, or one per line."""
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        assert [json.loads(line) for line in block.text.splitlines() if line.strip()]


@pytest.mark.parametrize("page", SHOWN_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_do_what_they_show(page: Path, tmp_path: Path) -> None:
    """The page's commands, one after the other in one folder, exit with the announced codes."""
    for block in BY_PAGE[page]:
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    for block in BY_PAGE[page]:
        if block.language != "console":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            command = COMMAND.match(line)
            if command is not None:
                result = run(shell(command["line"]), tmp_path)
                expected = int(command["code"] or 0)
                assert result.returncode == expected, f"{block.name} {line}\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A relative link names a file of the project."""
    targets = [found["target"] for found in LINK.finditer(page.read_text(encoding="utf-8"))]
    local = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


SAMPLE = """
```python
x = 1
```
text
  ```python continue
  assert x == 1
  ```
````markdown
```python
not a block of its own
```
````
```python file=a.py
y = 2
```
"""


def test_blocks_are_found_where_a_reader_sees_them() -> None:
    """Indented fences count, a fence inside a longer one does not, and lines are those of the page."""
    found = blocks(Path("p.md"), SAMPLE)
    assert [(block.line, block.info) for block in found] == [
        (3, ("python",)),
        (7, ("python", "continue")),
        (10, ("markdown",)),
        (15, ("python", "file=a.py")),
    ]
    assert found[3].file == "a.py"
    assert script(found, found[1]) == "\n\nx = 1\n\n\n\nassert x == 1\n"
    assert script(found, found[3]).strip() == "y = 2"


def test_an_open_fence_is_noticed() -> None:
    """A fence that is never closed would swallow every block after it."""
    with pytest.raises(ValueError, match="never closed"):
        blocks(Path("p.md"), "```python\nx = 1\n")


@pytest.mark.parametrize(
    ("line", "command", "code"),
    [
        ("$ actorflow runs", "actorflow runs", None),
        ("$ actorflow show nope   # exit 2", "actorflow show nope", "2"),
        ("$ python -m stress bench --quick", "python -m stress bench --quick", None),
        ("$ python -m pytest", None, None),
        ("$ pip install actorflow", None, None),
        ("actorflow runs", None, None),
    ],
)
def test_commands_are_told_from_what_is_for_the_reader(line: str, command: str | None, code: str | None) -> None:
    """Only actorflow and modules of this project run; output lines and commands that change the machine do not."""
    found = COMMAND.match(line)
    assert (found["line"] if found else None) == command
    assert (found["code"] if found else None) == code
