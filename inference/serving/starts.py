"""A record of engine starts since an engine was last ready, shared by all of the user's windows. Torch-free.

An engine that dies while it loads would otherwise be started again for ever, by every window in turn. Whoever starts
one adds to the record, under the lock ``engine.starting``; an engine that has loaded, or ends in order, removes it.
"""

from __future__ import annotations

import json
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
