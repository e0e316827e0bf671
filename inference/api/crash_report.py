"""A record of engine starts since an engine was last ready, shared by all of the user's windows. Torch-free.

An engine that dies while it loads would otherwise be started again for ever, by every window in turn. Whoever starts
one adds to the record, under the lock ``engine.starting``; an engine that has loaded, or ends in order, removes it.

How the engine before this one ended, where that was not in order. Torch-free; knows files, no processes.

An engine leaves a mark in the runtime folder while it runs. Whoever holds the engine's lock and finds one knows that
its owner died; why, the end of the log tells: Python's last words, or those of the window that had started the engine
and saw it end.
"""

from __future__ import annotations

import json
import os
import signal
import sysconfig
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

import inference
from inference.models.manifest import MANIFEST
from inference.models.store import models_folder

RECORD = "engine.starts"

MOST_DEATHS = 3
"""Engines that died before they were ready: so many in a row are no accident."""


def circumstances(arguments: Sequence[str], models: Iterable[str]) -> str:
    """Return a fingerprint of what an engine's start depends on; once it changes, the next start may succeed.

    That is its command line, this program's version, the models' manifests (``pull`` writes them anew) and the folder
    of installed packages (pip changes it). No folder that loading itself writes to.
    """
    changed = [models_folder() / model / MANIFEST for model in sorted(set(models))]
    times = [_changed(path) for path in (*changed, Path(sysconfig.get_path("purelib")))]
    return json.dumps([*arguments, inference.__version__, *times])


def deaths(folder: Path, under: str) -> int:
    """Starts in a row, in these circumstances and since the machine was started, that never became ready."""
    path = folder / RECORD
    with suppress(OSError, ValueError, TypeError, KeyError):
        record = json.loads(path.read_text("utf-8"))
        if record["under"] == under and path.stat().st_mtime >= psutil.boot_time():
            return int(record["count"])
    return 0


def add(folder: Path, under: str) -> None:
    """One more engine is being started. Raises ``OSError``."""
    _write(folder, under, deaths(folder, under) + 1)


def clear(folder: Path) -> None:
    """An engine came up or ended in order: earlier deaths don't count any more."""
    with suppress(OSError):
        (folder / RECORD).unlink(missing_ok=True)


def allow_one_more(folder: Path) -> None:
    """Let one more engine be started where the deaths were too many: the user asked for it."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        record = json.loads((folder / RECORD).read_text("utf-8"))
        _write(folder, record["under"], min(int(record["count"]), MOST_DEATHS - 1))


def _write(folder: Path, under: str, count: int) -> None:
    path = folder / RECORD
    path.touch(0o600)
    path.write_text(json.dumps({"count": count, "under": under}), "utf-8")


def _changed(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


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
    clear(folder)


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
