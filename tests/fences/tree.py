"""What the fences look at: the files of the project, found without importing any of them.

Only the fences import this.
"""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actorflow", "stress")


def package_files() -> list[Path]:
    """Every Python file that is installed."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def project_files() -> list[Path]:
    """Every file that git tracks or would track; all files where there is no git (an unpacked archive)."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        paths = list(ROOT.rglob("*"))
    return sorted(path for path in paths if path.is_file())


def relative(path: Path) -> str:
    """The path as a reader of the project writes it."""
    return path.relative_to(ROOT).as_posix()


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Every comment with its line number; what looks like one inside a string is none."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Every function by its qualified name, with its length in lines: from its first statement after the docstring."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                body = child.body[1:] if ast.get_docstring(child) and len(child.body) > 1 else child.body
                yield f"{prefix}{child.name}", (child.end_lineno or 0) - body[0].lineno + 1
            inner = f"{prefix}{child.name}." if hasattr(child, "name") and hasattr(child, "body") else prefix
            yield from visit(child, inner)

    yield from visit(ast.parse(source), "")
