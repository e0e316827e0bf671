"""How the engine before this one ended, where that was not in order. Torch-free; knows files, no processes.

An engine leaves a mark in the runtime folder while it runs. Whoever holds the engine's lock and finds one knows that
its owner died; why, the end of the log tells: Python's last words, or those of the window that had started the engine
and saw it end.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from inference.serving import starts

MARK = "engine.running"
TAIL_BYTES = 16_384
LONGEST = 200
"""Characters of a cause; it is shown in one sentence."""

FATAL = "Fatal Python error: "
"""What ``faulthandler`` writes before the threads' stacks."""

STARTED = "engine started"
"""What an engine logs first; what stands before is another one's."""

ENDED = "the engine was ended by "
HUNG = "the engine did not answer and was ended"
UNKNOWN = "it ended without a word, as when the system runs out of memory"


def begin(folder: Path, log: Path) -> str:
    """Leave a mark; tells how the engine before ended, and nothing where it ended in order. Holding the lock only."""
    mark = folder / MARK
    died = mark.exists() and mark.stat().st_mtime >= psutil.boot_time()
    mark.unlink(missing_ok=True)
    mark.touch(0o600)
    mark.write_text(str(os.getpid()))
    return cause(log) if died else ""


def end(folder: Path) -> None:
    """The engine ends in order."""
    (folder / MARK).unlink(missing_ok=True)
    starts.clear(folder)


def marked(folder: Path) -> int:
    """The process of the engine that runs, or of the last one where it did not end in order; 0 for none."""
    try:
        return int((folder / MARK).read_text("ascii", "replace"))
    except (OSError, ValueError):
        return 0


def note_hung(log: Path) -> None:
    """Write into the log why the engine is about to be killed."""
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"{HUNG}\n")


def note(log: Path, status: int) -> None:
    """Write into the log what its parent knows of an engine's end; ``status`` is ``Popen``'s, negative for a signal."""
    if status < 0:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{ENDED}{signal.Signals(-status).name}\n")


def cause(log: Path) -> str:
    """The likeliest reason for an engine's end, from the end of its log."""
    return cause_in(tail(log).splitlines())


def cause_in(logged: Iterable[str]) -> str:
    """The same from the lines themselves.

    An exception did it only where nothing was logged after: the engine outlives those of its requests.
    """
    lines = _of_the_last(logged)
    if HUNG in lines:  # its killer knows more than the parent, which saw the signal
        return "it did not answer any more"
    for line in reversed(lines):
        if ENDED in line:
            name = line.partition(ENDED)[2]
            return f"it was killed by {name}" + (", as when the system runs out of memory" if name == "SIGKILL" else "")
        if line.startswith(FATAL):
            return line.removeprefix(FATAL)[:LONGEST]
    return lines[-1][:LONGEST] if lines and _is_error(lines[-1]) else UNKNOWN


def _of_the_last(logged: Iterable[str]) -> list[str]:
    """Lines of the last engine, without the one that tells of its start."""
    lines: list[str] = []
    for line in logged:
        if STARTED in line:
            lines = []
        elif line.strip():
            lines.append(line)
    return lines


def tail(log: Path, size: int = TAIL_BYTES) -> str:
    """The last ``size`` bytes of a log, from the beginning of a line; empty without a log."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - size, 0))
            content = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return content if end <= size else content.partition("\n")[2]


def _is_error(line: str) -> bool:
    """The last line of a traceback that ended the process: an exception's name stands at its beginning."""
    name = line.partition(":")[0]
    return name.endswith(("Error", "Exception")) and name.replace(".", "").isidentifier()
