"""The NF4 weights of an installed checkpoint, kept beside it so that no later start quantises again.

Knows no quantiser: what is kept is whatever the loaded model saves of itself. It belongs to one manifest, and goes with
the folder when the model is pulled anew or removed.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from inference.models.store import MANIFEST, sync

log = logging.getLogger(__name__)


class Savable(Protocol):
    """A loaded transformers model."""

    def save_pretrained(self, save_directory: Path, *, max_shard_size: str) -> object: ...


def place(folder: Path, kind: str) -> Path | None:
    """Where the quantised form ``kind`` of the checkpoint in ``folder`` is kept.

    None for a folder without a manifest: it is not installed, and nobody says whether its files stay as they are.
    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except OSError:
        return None
    return folder / f"{kind}-{hashlib.sha256(manifest).hexdigest()[:16]}"


def keep(model: Savable, where: Path, bytes_needed: int) -> None:
    """Save ``model`` to ``where``, whole or not at all; where that is not possible, say so in the log and go on.

    To be called before the model's first forward pass, which may rewrite weights in place: on CPUs with AVX512_BF16
    bitsandbytes (0.50) cannot restore them for saving.
    """
    try:
        with FileLock(where.with_name(f".{where.name}.lock"), timeout=0):
            _save(model, where, bytes_needed)
    except Timeout:
        log.info("another process keeps the quantised weights in %s", where)
    except OSError as error:
        log.warning("the quantised weights can't be kept in %s (%s): every start will quantise again", where, error)


def drop(where: Path) -> None:
    """Remove kept weights that can't be loaded."""
    log.warning("the quantised weights in %s can't be loaded: quantising again", where)
    shutil.rmtree(where, ignore_errors=True)


def _save(model: Savable, where: Path, bytes_needed: int) -> None:
    free = shutil.disk_usage(where.parent).free
    if free < bytes_needed:
        raise OSError(f"{bytes_needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    partial = where.with_name(f".{where.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial, max_shard_size="5GB")
        for path in (*partial.iterdir(), partial):
            sync(path)
        partial.rename(where)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
