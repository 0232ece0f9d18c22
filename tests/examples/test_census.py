"""The census of docs/examples says what find, wc and sha256sum say, also of odd trees and after a crash."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actorflow import Context, RunFailed, Workflow, open_runtime
from tests.examples.loading import EXAMPLES, load

census = load("census")

# Files of the tree that are read, in bytes.
CONTENTS = {
    "a.py": b"import os\nprint(os.name)\n",
    "no-newline-at-the-end.py": b"x = 1\ny = 2",
    "empty.txt": b"",
    "README": b"one\ntwo\n",
    "windows.txt": b"one\r\ntwo\r\n",
    "binary.bin": bytes(range(256)) * 700,
    "archive.tar.GZ": b"\x1f\x8b\n",
    ".hidden": b"\n\n\n",
    "weird suffix.not a suffix": b"1\n",
    "rotated.log.17": b"1\n2\n",
    "ünïcödé 名.md": "größe\n".encode(),
    "100%25.txt": b"percent\n",
    "new\nline.txt": b"the name holds a newline\n",
    "deep/er/and/deeper/leaf.py": b"pass\n" * 40,
    "deep/a.py": b"pass\n",
    "deep/big.csv": b"0,1,2,3\n" * 300_000,
}


def tree(root: Path) -> Path:
    """A folder with every kind of entry that a census meets."""
    for name, content in CONTENTS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for number in range(120):
        (root / "many" / f"{number % 7}").mkdir(parents=True, exist_ok=True)
        (root / "many" / f"{number % 7}" / f"{number}.txt").write_bytes(b"line\n" * number)
    (root / "empty folder").mkdir()
    (root / "link to a file.py").symlink_to(root / "a.py")
    (root / "link to a folder").symlink_to(root / "deep")
    (root / "deep" / "link upwards").symlink_to(root)
    (root / "dangling").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.py")
    return root


def output_of(*command: str | Path) -> bytes:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True).stdout


def by_tools(root: Path, pattern: str = "*") -> dict[str, object]:
    """The same totals from find, wc, cat and sha256sum."""
    files = ["find", root, "-type", "f", "-name", pattern]
    content = output_of(*files, "-exec", "cat", "{}", "+")
    counted = subprocess.run(["wc", "-l"], input=content, check=True, capture_output=True).stdout
    digests = output_of(*files, "-exec", "sha256sum", "--zero", "{}", "+").split(b"\0")
    return {
        "files": len(output_of(*files, "-printf", "x")),
        "lines": int(counted),
        "bytes": sum(int(size) for size in output_of(*files, "-printf", "%s ").split()),
        "folders": len(output_of("find", root, "-type", "d", "-printf", "x")),
        "sha256_sum": f"{sum(int(line[:64], 16) for line in digests if line) % 2**256:064x}",
    }


def totals(result: Any) -> dict[str, object]:
    """The part of the census that the tools know, too."""
    return {name: getattr(result, name) for name in ("files", "lines", "bytes", "folders", "sha256_sum")}


async def count(journal: str, root: Path, *, workflow: type[Workflow] = census.CodeCensus, **data: str) -> Any:
    """Run the census once."""
    async with open_runtime([workflow], journal=journal) as runtime:
        return await runtime.run(workflow, {"root": str(root), **data})


async def test_the_totals_are_those_of_the_ordinary_tools(journal: str, tmp_path: Path) -> None:
    """Files, lines, bytes, folders and digests agree with find, wc and sha256sum, and nothing was unreadable."""
    root = tree(tmp_path / "tree")
    result = await count(journal, root)
    assert totals(result) == by_tools(root)
    assert (result.unreadable, result.unreadable_folders) == ({}, {})
    assert result.root == str(root.resolve())


async def test_the_parts_add_up_to_the_whole(journal: str, tmp_path: Path) -> None:
    """The sums by suffix are right for each suffix and make up the totals; odd suffixes are one group."""
    root = tree(tmp_path / "tree")
    result = await count(journal, root)
    parts = result.by_suffix
    assert parts[".py"] == census.Suffix(files=4, lines=44, bytes=25 + 11 + 200 + 5)
    assert parts["(none)"] == census.Suffix(files=2, lines=5, bytes=11)
    assert parts["(other)"] == census.Suffix(files=2, lines=3, bytes=6)
    assert parts[".GZ"].files == 1
    assert sum(part.files for part in parts.values()) == result.files
    assert sum(part.lines for part in parts.values()) == result.lines
    assert sum(part.bytes for part in parts.values()) == result.bytes


async def test_the_ten_biggest_are_the_ten_biggest(journal: str, tmp_path: Path) -> None:
    """The biggest files come in order of size, equal ones in order of name, each with its own figures."""
    for number in range(40):
        (tmp_path / f"{number:02}.txt").write_bytes(b"x\n" * (1000 + number // 3))
    result = await count(journal, tmp_path, pattern="*.txt")
    order = sorted(range(40), key=lambda number: (-(number // 3), number))[:10]
    assert [one.path for one in result.biggest] == [f"{number:02}.txt" for number in order]
    assert [one.lines for one in result.biggest] == [1000 + number // 3 for number in order]
    digests = [output_of("sha256sum", tmp_path / one.path).decode()[:64] for one in result.biggest]
    assert [one.sha256 for one in result.biggest] == digests


async def test_a_part_of_the_standard_library(journal: str) -> None:
    """The sources of the standard library's email and json packages are counted as the tools count them."""
    for package in ("email", "json"):
        root = Path(os.__file__).parent / package
        result = await count(journal, root, pattern="*.py")
        assert totals(result) == by_tools(root, "*.py")
        assert set(result.by_suffix) == {".py"}


async def test_a_pattern_takes_files_by_name(tmp_path: Path) -> None:
    """Only the files that fit the pattern are counted, in all folders, whatever those are called."""
    root = tree(tmp_path / "tree")
    result = await count("memory:", root, pattern="*.py")
    assert totals(result) == by_tools(root, "*.py")
    assert result.files == 4


async def test_without_input_the_current_folder_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A census that is told nothing counts every file below the current folder."""
    (tmp_path / "one.txt").write_text("1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    async with open_runtime([census.CodeCensus]) as runtime:
        result = await runtime.run(census.CodeCensus)
    assert (result.root, result.files, result.lines) == (os.getcwd(), 1, 1)


async def test_an_empty_folder_has_nothing_in_it(journal: str, tmp_path: Path) -> None:
    """A census without a single file ends, with zeros."""
    (tmp_path / "empty").mkdir()
    result = await count(journal, tmp_path / "empty")
    assert totals(result) == {"files": 0, "lines": 0, "bytes": 0, "folders": 1, "sha256_sum": "0" * 64}
    assert (result.by_suffix, result.biggest) == ({}, [])


async def test_a_root_that_is_no_folder_fails_the_run(tmp_path: Path) -> None:
    """A missing root, and a file as root, fail with an error that names the path."""
    (tmp_path / "file").write_bytes(b"")
    for name in ("missing", "file"):
        with pytest.raises(RunFailed) as caught:
            await count("memory:", tmp_path / name)
        assert "NotADirectoryError" in caught.value.failures[0].error_type
        assert name in caught.value.failures[0].message


async def test_a_name_that_is_not_text_is_counted(tmp_path: Path) -> None:
    """A file name with bytes that are no UTF-8 is read like any other, and shown with a replacement."""
    odd = tmp_path / os.fsdecode(b"odd-\xff.txt")
    try:
        odd.write_bytes(b"1\n2\n")
    except OSError:
        pytest.skip("this file system takes text as file names only")
    result = await count("memory:", tmp_path)
    assert totals(result) == by_tools(tmp_path)
    assert [one.path for one in result.biggest] == ["odd-\ufffd.txt"]


async def test_a_file_that_cannot_be_opened_is_counted_with_its_reason(journal: str, tmp_path: Path) -> None:
    """A path too long to be opened, for whatever user, counts as unreadable and in no other total."""
    root = tmp_path / "tree"  # the journal lies beside it
    root.mkdir()
    (root / "fine.txt").write_bytes(b"1\n")
    folder = os.open(root, os.O_RDONLY)
    length = len(str(root))
    while length < 4096 - 256:  # the limit of a path; the folders themselves can still be listed
        os.mkdir("d" * 200, dir_fd=folder)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder, length = inner, length + 201
    os.close(os.open("f" * 255, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    result = await count(journal, root)
    assert (result.files, result.lines) == (1, 1)
    assert result.unreadable == {os.strerror(errno.ENAMETOOLONG).lower(): 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_without_permission_is_counted_with_its_reason(tmp_path: Path) -> None:
    """Files and folders that this user may not read are counted apart, and the rest as ever."""
    root = tree(tmp_path / "tree")
    (root / "a.py").chmod(0)
    (root / "deep" / "er").chmod(0)
    try:
        result = await count("memory:", root, pattern="*.py")
    finally:
        (root / "deep" / "er").chmod(0o755)
    assert result.unreadable == {"permission denied": 1}
    assert result.unreadable_folders == {"permission denied": 1}
    assert result.files == 2


async def test_a_file_that_vanishes_after_the_listing_is_counted_as_vanished(journal: str, tmp_path: Path) -> None:
    """Files that are deleted, or turn into a link or a pipe, before their branch reads them fail no run."""

    class CodeCensus(census.CodeCensus):
        async def count_file(self, data: str, ctx: Context) -> None:
            path = census.from_json(data)
            if not path.endswith("stays.txt"):
                os.unlink(path)
            if path.endswith("link.txt"):
                os.symlink("stays.txt", path)
            if path.endswith("pipe.txt"):
                os.mkfifo(path)
            await super().count_file(data, ctx)

    for name in ("gone.txt", "link.txt", "pipe.txt", "stays.txt"):
        (tmp_path / name).write_bytes(b"1\n")
    result = await count(journal, tmp_path, workflow=CodeCensus, pattern="*.txt")
    assert (result.files, result.lines) == (1, 1)
    assert result.unreadable["vanished"] == 1
    assert sum(result.unreadable.values()) == 3


# Runs the census in a process that kills itself, without any notice, when it comes to the file of that name.
KILLED = """
import os, signal, sys
import trio
from actorflow import open_runtime
sys.path.insert(0, {examples!r})
import census

class CodeCensus(census.CodeCensus):
    async def count_file(self, data, ctx):
        if data.endswith("/" + {victim!r}):
            os.kill(os.getpid(), signal.SIGKILL)
        await super().count_file(data, ctx)

async def main():
    async with open_runtime([CodeCensus], journal={journal!r}) as runtime:
        await runtime.run(CodeCensus, {{"root": {root!r}}}, run_id="census")

trio.run(main)
"""


@pytest.mark.rule("F4", "C3")
@pytest.mark.parametrize("victims", [["1.txt"], ["62.txt"], ["119.txt"], ["62.txt"] * 3])
async def test_a_killed_census_ends_with_the_same_totals(victims: list[str], sqlite_url: str, tmp_path: Path) -> None:
    """After kill -9, once or several times over, the next opening finishes the run with the totals of the tools."""
    root = tree(tmp_path / "tree")
    for victim in victims:
        text = KILLED.format(examples=str(EXAMPLES), victim=victim, journal=sqlite_url, root=str(root))
        process = killed(text)
        assert process.returncode == -signal.SIGKILL, process.stderr
    async with open_runtime([census.CodeCensus], journal=sqlite_url) as runtime:
        result = await (await runtime.get_run("census")).result()
    assert totals(result) == by_tools(root)
    assert sum(part.files for part in result.by_suffix.values()) == result.files
    assert [one.path for one in result.biggest].count("deep/big.csv") == 1


def killed(text: str) -> subprocess.CompletedProcess[str]:
    """The end of a program that is run in a process of its own."""
    path = os.pathsep.join([str(EXAMPLES.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", text],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
