"""Records of engine starts and ends, shared by all editor sessions of a user. Torch-free; plain files, no processes.

Failed starts: an engine that dies while it loads would otherwise be restarted forever, by every session. A client that
starts one counts it under the lock ``engine.starting``. An engine that has loaded, or shuts down gracefully, removes
the count.

Crash mark: an engine keeps a mark in the runtime folder while it runs. An engine that holds the engine's lock and finds
a mark knows that its predecessor crashed. The end of the log tells why: Python's last message, or a line of the client
that started the engine and saw it end.
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
from inference.system.files import write_private

STARTS_FILE = "engine.starts"

MAX_FAILED_STARTS = 3
"""Failed starts in a row after which no engine is started automatically."""

CRASH_MARK = "engine.running"
"""File name of the crash mark; it holds the engine's process id."""

TAIL_BYTES = 16_384

LONGEST = 200
"""Characters of a cause, which is shown in one sentence."""

FATAL = "Fatal Python error: "
"""Line that ``faulthandler`` writes before the threads' stacks."""

STARTED = "engine started"
"""First line that an engine logs; earlier lines are another engine's."""

FAULTS = {
    "Segmentation fault": "SIGSEGV",
    "Bus error": "SIGBUS",
    "Aborted": "SIGABRT",
    "Illegal instruction": "SIGILL",
    "Floating point exception": "SIGFPE",
    "Floating-point exception": "SIGFPE",
}
"""The names of faults in ``FATAL`` lines, and their signals. Source: CPython's ``Modules/faulthandler.c``."""

ENDED = "the engine was ended by "
HUNG = "the engine did not answer and was ended"
UNKNOWN = "it left no message, as when the system runs out of memory"


def start_fingerprint(arguments: Sequence[str], models: Iterable[str]) -> str:
    """Return a fingerprint of everything that an engine's start depends on: if it changes, a start may succeed.

    It covers the command line, this program's version, the models' manifests (``pull`` rewrites them) and the folder of
    installed packages (pip changes it), but no folder that loading itself writes to.
    """
    changed = [models_folder() / model / MANIFEST for model in sorted(set(models))]
    times = [_modified(path) for path in (*changed, Path(sysconfig.get_path("purelib")))]
    return json.dumps([*arguments, inference.__version__, *times])


def failed_starts(folder: Path, fingerprint: str) -> int:
    """Return the number of failed starts in a row with this fingerprint since the machine booted."""
    path = folder / STARTS_FILE
    with suppress(OSError, ValueError, TypeError, KeyError):
        record = json.loads(path.read_text("utf-8"))
        if record["under"] == fingerprint and path.stat().st_mtime >= psutil.boot_time():
            return int(record["count"])
    return 0


def count_start(folder: Path, fingerprint: str) -> None:
    """Count a start as failed until the engine has loaded. Raises ``OSError``."""
    _write(folder, fingerprint, failed_starts(folder, fingerprint) + 1)


def forget_failed_starts(folder: Path) -> None:
    """Forget the failed starts: an engine has loaded or shut down gracefully."""
    with suppress(OSError):
        (folder / STARTS_FILE).unlink(missing_ok=True)


def allow_one_more(folder: Path) -> None:
    """Allow one more start after too many failed ones: the user asked for it."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        record = json.loads((folder / STARTS_FILE).read_text("utf-8"))
        _write(folder, record["under"], min(int(record["count"]), MAX_FAILED_STARTS - 1))


def _write(folder: Path, fingerprint: str, count: int) -> None:
    write_private(folder / STARTS_FILE, json.dumps({"count": count, "under": fingerprint}))


def _modified(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def mark_running(folder: Path, log: Path) -> str:
    """Mark this process as the running engine, and return why the engine before crashed, or "".

    The caller holds the engine's lock. A mark from before the machine booted is no crash. Raises ``OSError``.
    """
    mark = folder / CRASH_MARK
    crashed = mark.exists() and mark.stat().st_mtime >= psutil.boot_time()
    write_private(mark, str(os.getpid()))
    return likely_cause(log) if crashed else ""


def mark_ended(folder: Path) -> None:
    """Remove the mark: the engine shuts down gracefully."""
    (folder / CRASH_MARK).unlink(missing_ok=True)
    forget_failed_starts(folder)


def running_pid(folder: Path) -> int:
    """Return the process id of the running or crashed engine; 0 without a mark."""
    try:
        return int((folder / CRASH_MARK).read_text("ascii", "replace"))
    except (OSError, ValueError):
        return 0


def log_hung(log: Path) -> None:
    """Log that the engine is about to be killed because it hangs."""
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"{HUNG}\n")


def log_exit(log: Path, status: int) -> None:
    """Log the signal that ended the engine; ``status`` is ``Popen.returncode``, negative for a signal."""
    if status < 0:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{ENDED}{signal.Signals(-status).name}\n")


def likely_cause(log: Path) -> str:
    """Return the most likely cause of an engine's end, from the end of its log."""
    return likely_cause_in(tail(log).splitlines())


def likely_cause_in(logged: Iterable[str]) -> str:
    """Return the most likely cause of an engine's end from the lines of its log.

    An exception is the cause only if it is logged last: an engine survives the exceptions of its requests. A fault that
    the engine logged goes before the signal that its parent saw: the two may differ, as the process goes on to log.
    """
    lines = _of_last_engine(logged)
    if HUNG in lines:  # more precise than the signal that the parent saw
        return "it did not respond any more"
    fault = next((FAULTS[text] for line in lines if (text := line.removeprefix(FATAL)) in FAULTS), "")
    for line in reversed(lines):
        if ENDED in line:
            name = fault or line.partition(ENDED)[2]
            return f"it was killed by {name}" + (", as when the system runs out of memory" if name == "SIGKILL" else "")
        if line.startswith(FATAL):
            return line.removeprefix(FATAL)[:LONGEST]
    return lines[-1][:LONGEST] if lines and _is_error(lines[-1]) else UNKNOWN


def _of_last_engine(logged: Iterable[str]) -> list[str]:
    """Return the lines after the last start of an engine."""
    lines: list[str] = []
    for line in logged:
        if STARTED in line:
            lines = []
        elif line.strip():
            lines.append(line)
    return lines


def tail(log: Path, size: int = TAIL_BYTES) -> str:
    """Return the whole lines within the last ``size`` bytes of a log; "" without a log."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - size, 0))
            content = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return content if end <= size else content.partition("\n")[2]


def _is_error(line: str) -> bool:
    """Return whether a line ends a traceback: it begins with an exception's name."""
    name = line.partition(":")[0]
    return name.endswith(("Error", "Exception")) and name.replace(".", "").isidentifier()
