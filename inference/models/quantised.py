"""The quantised weights of an installed checkpoint, kept beside it so that no later start quantises again.

Knows no quantiser: what is kept is whatever the loaded model saves of itself. It belongs to one manifest, and goes with
the folder when the model is pulled anew or removed.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from inference.models.store import MANIFEST, sync

log = logging.getLogger(__name__)


def place(folder: Path, kind: str) -> Path | None:
    """Where the quantised form ``kind`` of the checkpoint in ``folder`` is kept.

    None for a folder without a manifest: it is not installed, and nobody says whether its files stay as they are.
    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except OSError:
        return None
    return folder / f"{kind}-{hashlib.sha256(manifest).hexdigest()[:16]}"


def keep(save: Callable[[Path], object], where: Path, bytes_needed: int) -> None:
    """Have ``save`` make the folder ``where``, whole or not at all; where that can't be, say so in the log and go on.

    NF4: to be called before the model's first forward pass, which may rewrite weights in place: on CPUs with
    AVX512_BF16 bitsandbytes (0.50) cannot restore them for saving.
    """
    try:
        with FileLock(where.with_name(f".{where.name}.lock"), timeout=0):
            _save(save, where, bytes_needed)
    except Timeout:
        log.info("another process keeps the quantised weights in %s", where)
    except OSError as error:
        log.warning("the quantised weights can't be kept in %s (%s): every start will quantise again", where, error)


def drop(where: Path) -> None:
    """Remove kept weights that can't be loaded."""
    log.warning("the quantised weights in %s can't be loaded: quantising again", where)
    shutil.rmtree(where, ignore_errors=True)


def _save(save: Callable[[Path], object], where: Path, bytes_needed: int) -> None:
    free = shutil.disk_usage(where.parent).free
    if free < bytes_needed:
        raise OSError(f"{bytes_needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    partial = where.with_name(f".{where.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save(partial)
        for path in (*partial.iterdir(), partial):
            sync(path)
        partial.rename(where)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
