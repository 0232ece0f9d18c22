"""Count a tree of files: one branch per file, totals without a race, the same after any number of crashes.

    actorflow run docs/examples/census.py:CodeCensus --input '{"root": "actorflow"}'

The totals are those of the ordinary tools: `files` of `find -type f` (readable ones), `lines` of `wc -l`, `bytes` of
`find -printf %s`, and `sha256_sum` is the sum of all that `sha256sum` prints, as one number modulo 2**256. Links are
not followed (except the root itself), and pipes, sockets and devices are left alone.

A census of the folder that holds the journal counts the journal too, while it grows: keep it elsewhere, or give a
pattern.
"""

import errno
import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import trio
from attrs import define, field, frozen

from actorflow import Context, Workflow, step

CHUNK_BYTES = 1024 * 1024
BIGGEST = 10
SUFFIX_CHARACTERS = 10
# A file may turn into a link or a pipe between listing and opening: do not follow the one, do not wait for the other.
OPEN_FLAGS = os.O_RDONLY
for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    OPEN_FLAGS |= getattr(os, flag, 0)


@frozen
class CensusInput:
    """What to count: the folder, and which file names (a shell pattern)."""

    root: str = "."
    pattern: str = "*"


@frozen
class Folder:
    """One folder to list; `path` is absolute and quoted, see `to_json`."""

    path: str
    pattern: str


@frozen
class BigFile:
    """One of the biggest files; `path` is relative to the root."""

    path: str
    bytes: int
    lines: int
    sha256: str


@define
class Suffix:
    """The totals of all files with one suffix."""

    files: int = 0
    lines: int = 0
    bytes: int = 0


@define
class Totals:
    """What the census found. `unreadable` counts files, `unreadable_folders` folders, both by reason."""

    root: str
    files: int
    lines: int
    bytes: int
    folders: int
    sha256_sum: str
    by_suffix: dict[str, Suffix] = field(factory=dict)
    biggest: list[BigFile] = field(factory=list)
    unreadable: dict[str, int] = field(factory=dict)
    unreadable_folders: dict[str, int] = field(factory=dict)


class CodeCensus(Workflow):
    """One branch per folder lists it, one branch per file reads it; the run store adds up."""

    async def start(self, data: CensusInput | None, ctx: Context) -> None:
        """Begin at the root, which is the current folder if nothing else is said."""
        wanted = data or CensusInput()
        # Read back: after a crash the process may stand in another folder, and the root that was written first holds.
        await ctx.run_store.set("root", to_json(await trio.to_thread.run_sync(find_root, wanted.root)))
        root = await ctx.run_store.get("root")
        await ctx.schedule_next_step("scan_folder", Folder(root, wanted.pattern))

    # All branches of a folder are armed together or not at all. A crash in the middle of a listing would otherwise
    # meet a folder that has changed in the meantime, and the second listing could not be matched with the first.
    @step(commit="on_success")
    async def scan_folder(self, data: Folder, ctx: Context) -> None:
        """Open one branch for every file and every folder in this folder."""
        try:
            files, folders = await trio.to_thread.run_sync(list_folder, from_json(data.path), data.pattern)
        except OSError as error:
            await ctx.run_store.increment(f"unreadable_folders:{reason(error)}")
            return
        await ctx.run_store.increment("folders")
        await ctx.schedule_many("scan_folder", (Folder(to_json(path), data.pattern) for path in folders))
        await ctx.schedule_many("count_file", (to_json(path) for path in files))

    async def count_file(self, data: str, ctx: Context) -> None:
        """Read one file and add it to the totals, in one message."""
        store = ctx.run_store
        path = from_json(data)
        try:
            # Hashing and reading block, so they go to a thread: one hop per file, however large it is.
            size, lines, digest = await trio.to_thread.run_sync(measure, path)
        except OSError as error:
            await store.increment(f"unreadable:{reason(error)}")
            return
        suffix = suffix_of(path)
        async with store.transaction() as tx:
            tx.increment("files")
            tx.increment("lines", lines)
            tx.increment("bytes", size)
            tx.increment("sha256_sum", int(digest, 16))  # integers are exact, and a sum does not care for order
            tx.increment(f"files:{suffix}")
            tx.increment(f"lines:{suffix}", lines)
            tx.increment(f"bytes:{suffix}", size)
        # `slice` looks at the last of the ten without copying the list; few files get past it.
        entry = {"path": data, "bytes": size, "lines": lines, "sha256": digest}
        last = await store.slice("biggest", BIGGEST - 1, BIGGEST)
        if not last or rank(entry) < rank(last[0]):
            await store.update("biggest", lambda biggest: sorted([*biggest, entry], key=rank)[:BIGGEST], default=[])

    async def on_workflow_complete(self, ctx: Context) -> Totals:
        """Put the counters together."""
        return summarise(await ctx.run_store.snapshot())


def find_root(path: str) -> str:
    """The absolute path of the folder to count."""
    root = os.path.realpath(path)
    if not os.path.isdir(root):
        raise NotADirectoryError(errno.ENOTDIR, "the root of a census has to be a folder", path)
    return root


def list_folder(path: str, pattern: str) -> tuple[list[str], list[str]]:
    """The paths of the files that fit the pattern, and of the folders, each in order of name."""
    files, folders = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_file(follow_symlinks=False) and fnmatch.fnmatchcase(entry.name, pattern):
                files.append(entry.path)
    return sorted(files), sorted(folders)


def measure(path: str) -> tuple[int, int, str]:
    """Bytes, newlines and SHA-256 of one file, in one pass; runs in a thread."""
    size = lines = 0
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, OPEN_FLAGS)) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "no longer a regular file", path)
        at_once = min(info.st_size + 1, CHUNK_BYTES)
        while piece := file.read(at_once):
            size += len(piece)
            lines += piece.count(b"\n")
            digest.update(piece)
            trio.from_thread.check_cancelled()
    return size, lines, digest.hexdigest()


def reason(error: OSError) -> str:
    """Why something could not be read, in words that do not contain its name."""
    if isinstance(error, FileNotFoundError):
        return "vanished"
    if isinstance(error, PermissionError):
        return "permission denied"
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__


def suffix_of(path: str) -> str:
    """The suffix of a file name. Odd ones are one group: a run has room for a limited number of keys."""
    suffix = os.path.splitext(os.path.basename(path))[1]
    if not suffix:
        return "(none)"
    body = suffix[1:]
    plain = body.isascii() and body.isalnum() and not body.isdecimal() and len(body) <= SUFFIX_CHARACTERS
    return suffix if plain else "(other)"


def rank(entry: dict[str, Any]) -> tuple[int, str]:
    """Biggest first; equal sizes by name, so that the ten do not depend on who came first."""
    return -entry["bytes"], entry["path"]


def to_json(path: str) -> str:
    """A path as JSON can carry it. A file name may hold any bytes, JSON text may not."""
    return quote(path, errors="surrogateescape")


def from_json(text: str) -> str:
    """The path that `to_json` was given."""
    return unquote(text, errors="surrogateescape")


def readable(path: str) -> str:
    """A path as it can be shown to anybody."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def under(state: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """All keys that begin with the prefix, without it, in order."""
    return ((key.removeprefix(prefix), state[key]) for key in sorted(state) if key.startswith(prefix))


def summarise(state: dict[str, Any]) -> Totals:
    """The totals from the final run store."""
    root = from_json(state["root"])
    return Totals(
        root=readable(root),
        files=state.get("files", 0),
        lines=state.get("lines", 0),
        bytes=state.get("bytes", 0),
        folders=state.get("folders", 0),
        sha256_sum=f"{state.get('sha256_sum', 0) % 2**256:064x}",
        by_suffix={
            suffix: Suffix(files, state[f"lines:{suffix}"], state[f"bytes:{suffix}"])
            for suffix, files in under(state, "files:")
        },
        biggest=[
            BigFile(**(entry | {"path": readable(os.path.relpath(from_json(entry["path"]), root))}))
            for entry in state.get("biggest", [])
        ],
        unreadable=dict(under(state, "unreadable:")),
        unreadable_folders=dict(under(state, "unreadable_folders:")),
    )
