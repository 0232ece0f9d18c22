"""Imports point down: the contracts of pyproject.toml hold, and each of them fails when it is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fences.tree import PACKAGES, ROOT

LINT = "from importlinter.cli import lint_imports_command as run; run()"


def lint(where: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter in a folder, on the packages that lie in it, all contracts or only those named."""
    limits = [word for contract in contracts for word in ("--contract", contract)]
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo", *limits],
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages and their contracts, to break."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def append(path: Path, line: str) -> None:
    """Add one line to the end of a file."""
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")


def test_every_contract_is_kept() -> None:
    """The package as it is breaks none of its import contracts."""
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_hints_point_down_too(copy: Path) -> None:
    """Imports for hints alone may close a ring, since they are gone at run time; the floors hold for them as well."""
    config = copy / "pyproject.toml"
    counted = [line for line in config.read_text(encoding="utf-8").splitlines() if "exclude_type_checking" not in line]
    config.write_text("\n".join(counted), encoding="utf-8")
    result = lint(copy, "floors", "door", "pure", "stress")
    assert result.returncode == 0, result.stdout + result.stderr


BREAKS = [
    ("floors", "actorflow/_core/decide.py", "import actorflow._runtime", "a lower floor imports a higher one"),
    ("floors", "actorflow/journals/codec.py", "import actorflow._authoring", "siblings know each other"),
    ("floors", "actorflow/errors.py", "import actorflow._ids", "siblings on the ground floor know each other"),
    ("door", "actorflow/_core/decide.py", "import actorflow", "the kernel imports the public door"),
    ("pure", "actorflow/_core/decide.py", "import trio", "the kernel waits"),
    ("pure", "actorflow/_authoring/__init__.py", "from time import monotonic", "authoring reads a clock"),
    ("pure", "actorflow/errors.py", "import logging", "an error logs"),
    ("acyclic", "actorflow/_core/facts.py", "import actorflow._core.decide", "two modules of a floor in a ring"),
    ("stress", "stress/__init__.py", "import actorflow._core.decide", "the stress tool reaches behind the door"),
]


@pytest.mark.parametrize(("contract", "file", "line"), [row[:3] for row in BREAKS], ids=[row[3] for row in BREAKS])
def test_a_planted_import_breaks_its_contract(copy: Path, contract: str, file: str, line: str) -> None:
    """One forbidden import in a copy of the package makes exactly the contract against it fail."""
    append(copy / file, line)
    result = lint(copy, contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


def test_a_module_on_no_floor_is_noticed(copy: Path) -> None:
    """A new module has to be given a floor before the contracts are kept again."""
    (copy / "actorflow" / "attic.py").write_text('"""Stands nowhere."""\n', encoding="utf-8")
    result = lint(copy, "floors")
    assert result.returncode == 1
    assert "attic" in result.stdout
