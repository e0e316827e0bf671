"""What has changed in a git repository, as git itself says it. Knows no LSP and no model.

Git is run with arguments of ours alone, without a shell. What a repository's configuration may name as a command is not
run: external diffs, text conversions, filters, monitors, pagers. Files that no model may see are left out by their name
before anything of them is read.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SECONDS = 10.0
MOST_FILES = 200
MOST_BYTES = 400_000

_GIT = ("git", "--no-pager", "--literal-pathspecs")
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--ignore-submodules=all")
_LAYOUT = ("--src-prefix=a/", "--dst-prefix=b/", "--unified=3")
_FILTERS = r"^filter\..*\.(clean|process|required)$"


class GitError(RuntimeError):
    """There is no diff; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Diff:
    """``text`` with LF line ends, empty where nothing has changed; ``left_out`` are (name, why) of files not in it."""

    text: str
    left_out: tuple[tuple[str, str], ...] = ()


async def diff(folder: Path, why_not: Callable[[Path], str], *, staged: bool = False) -> Diff:
    """What has changed in and below ``folder`` since the last commit, or what is ``staged`` for the next.

    ``why_not`` tells in words why a file must not be shown, if so. Cancelling ends git. Raises GitError.
    """
    settings = await _harmless(folder)
    arguments = [*_DIFF, *(["--cached"] if staged else await _since(folder)), "--relative"]
    listed = await _run(folder, *arguments, "--name-only", "-z", settings=settings)
    names = [name for name in os.fsdecode(listed).split("\0") if name]
    left_out = {name: why for name in names if (why := why_not(folder / name))}
    shown = [name for name in names if name not in left_out]
    left_out |= dict.fromkeys(shown[MOST_FILES:], f"more than {MOST_FILES} files have changed")
    printed = b""
    if shown:
        printed = await _run(folder, *arguments, *_LAYOUT, "--", *shown[:MOST_FILES], settings=settings)
    told = tuple((os.fsencode(name).decode("utf-8", "replace"), why) for name, why in left_out.items())
    return Diff(printed.decode("utf-8", "replace").replace("\r\n", "\n"), told)


async def _harmless(folder: Path) -> dict[str, str]:
    """Settings that turn off what the repository's own name as commands to be run on changed files."""
    try:
        listed = await _run(folder, "config", "--name-only", "-z", "--get-regexp", _FILTERS)
    except GitError:  # none is named, or there is no repository, as the next call will tell
        listed = b""
    filters = [name for name in os.fsdecode(listed).split("\0") if name]
    off = {name: "false" if name.endswith(".required") else "" for name in filters}
    return {**off, "core.fsmonitor": "false", "core.quotePath": "false"}


async def _since(folder: Path) -> list[str]:
    """A repository without a commit has no HEAD: there, what is not staged yet is all that can be told."""
    try:
        await _run(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    except GitError:
        return []
    return ["HEAD"]


async def _run(folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> bytes:
    """At most ``MOST_BYTES`` of what git prints."""
    command, environment = (*_GIT, "-C", str(folder), *arguments), _environment(settings or {})
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environment
        )
    except OSError as error:
        raise GitError(f"git can't be run here ({error.strerror}); is it installed?") from error
    try:
        async with asyncio.timeout(SECONDS):
            printed, whole = await _read(process)
            status = await process.wait() if whole else 0
    except TimeoutError:
        raise GitError(f"git took longer than {SECONDS:g} seconds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise GitError(f"git can't tell what has changed in {folder} (exit status {status}).")
    return printed


async def _read(process: asyncio.subprocess.Process) -> tuple[bytes, bool]:
    """What it prints, and whether that is all."""
    assert process.stdout is not None
    try:
        return await process.stdout.readexactly(MOST_BYTES), False
    except asyncio.IncompleteReadError as end:
        return end.partial, True


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what would send git to another repository, and with ``settings`` for git (git-config(1))."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    given = {"GIT_CONFIG_COUNT": str(len(settings))}
    for n, (name, value) in enumerate(settings.items()):
        given |= {f"GIT_CONFIG_KEY_{n}": name, f"GIT_CONFIG_VALUE_{n}": value}
    fixed = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return {**own, **given, **fixed}
