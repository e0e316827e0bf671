"""The quantised weights of an installed checkpoint, kept beside it so that no later start quantises again.

Knows no quantiser: what is kept is whatever the loaded model saves of itself. It belongs to one manifest, and goes with
the folder when the model is pulled anew or removed. A copy has a manifest of its own: sizes and small files are checked
before it is loaded (a file that was cut must not be mapped into memory), all content by ``damage``.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from inference.models import manifest
from inference.models.manifest import MANIFEST, MismatchError
from inference.system.files import untrusted
from inference.system.progress import OnProgress

log = logging.getLogger(__name__)


def place(folder: Path, kind: str) -> Path | None:
    """Where the quantised form ``kind`` of the checkpoint in ``folder`` is kept.

    None for a folder without a manifest: it is not installed, and nobody says whether its files stay as they are.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError:
        return None
    return folder / f"{kind}-{hashlib.sha256(content).hexdigest()[:16]}"


def copies(folder: Path) -> list[Path]:
    """Every quantised form of the checkpoint in ``folder`` that is kept beside it."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def damage(where: Path, *, full: bool = False, on_progress: OnProgress | None = None) -> str:
    """Say why the copy ``where`` can't be used, or nothing; with ``full`` after reading all of its content."""
    try:
        for path in (where, *where.iterdir()):
            if why := untrusted(path, like=where.parent):
                return why
        manifest.check(where, full=full, on_progress=on_progress)
    except (MismatchError, OSError) as error:
        return str(error)
    return ""


def ready(where: Path) -> bool:
    """Return whether there is a copy that can be loaded; one that is damaged is removed."""
    if not where.is_dir():
        return False
    if why := damage(where):
        drop(where, why)
    return not why


def keep(save: Callable[[Path], object], where: Path, bytes_needed: int) -> bool:
    """Have ``save`` make the folder ``where``, whole or not at all; return whether it did. Failures are logged.

    NF4: to be called before the model's first forward pass, which may rewrite weights in place: on CPUs with
    AVX512_BF16 bitsandbytes (0.50) cannot restore them for saving.
    """
    try:
        with FileLock(where.with_name(f".{where.name}.lock"), timeout=0):
            _save(save, where, bytes_needed)
            return True
    except Timeout:
        log.info("another process keeps the quantised weights in %s", where)
    except OSError as error:
        log.warning("the quantised weights can't be kept in %s (%s): every start will quantise again", where, error)
    return False


def drop(where: Path, why: str) -> None:
    """Remove kept weights that can't be loaded."""
    log.warning("the quantised weights in %s are not used (%s): quantising again", where, why)
    shutil.rmtree(where, ignore_errors=True)


def _save(save: Callable[[Path], object], where: Path, bytes_needed: int) -> None:
    free = shutil.disk_usage(where.parent).free
    if free < bytes_needed:
        raise OSError(f"{bytes_needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    manifest.publish(save, where)


_NAME = re.compile(r"(nf4|int8|int4)[a-z0-9-]*-[0-9a-f]{16}")
"""A folder's name, as ``place`` gives it."""
