"""Quantised copies of an installed checkpoint, kept in its folder so that later starts need not quantise again.

A copy belongs to one manifest of the checkpoint, and disappears with the folder when the model is pulled again or
removed. It has its own manifest. Sizes and small files are checked before loading, because a truncated file must not
be mapped into memory; ``damage(full=True)`` checks all content.
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
from inference.system.files import why_untrusted
from inference.system.terminal import OnProgress

log = logging.getLogger(__name__)


def copy_folder(folder: Path, kind: str) -> Path | None:
    """Return the folder for the copy of format ``kind`` of the checkpoint in ``folder``.

    Return None for a folder without a manifest: it is not installed, and its files may change at any time.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError:
        return None
    return folder / f"{kind}-{hashlib.sha256(content).hexdigest()[:16]}"


def copies(folder: Path) -> list[Path]:
    """Return the folders of all quantised copies of the checkpoint in ``folder``."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def find_damage(where: Path, *, full: bool = False, on_progress: OnProgress | None = None) -> str:
    """Return the reason why the copy in ``where`` can't be used, or ""; ``full`` reads all of its content."""
    try:
        for path in (where, *where.iterdir()):
            if why := why_untrusted(path, like=where.parent):
                return why
        manifest.check(where, full=full, on_progress=on_progress)
    except (MismatchError, OSError) as error:
        return str(error)
    return ""


def ready(where: Path) -> bool:
    """Return whether there is a copy that can be loaded. A damaged copy is removed."""
    if not where.is_dir():
        return False
    if why := find_damage(where):
        drop(where, why)
    return not why


def keep(save: Callable[[Path], object], where: Path, bytes_needed: int) -> bool:
    """Create the copy ``where`` atomically with ``save``. Return whether that succeeded; failures are logged.

    NF4 models must be saved before their first forward pass: on CPUs with AVX512_BF16 it rewrites the weights in place,
    and bitsandbytes (0.50) can't restore them.
    """
    try:
        with FileLock(where.with_name(f".{where.name}.lock"), timeout=0):
            _save(save, where, bytes_needed)
            return True
    except Timeout:
        log.info("another process is saving the quantised weights in %s", where)
    except OSError as error:
        log.warning("saving the quantised weights in %s failed (%s): every start will quantise again", where, error)
    return False


def drop(where: Path, why: str) -> None:
    """Remove a copy that can't be loaded."""
    log.warning("the quantised weights in %s are not used (%s): quantising again", where, why)
    shutil.rmtree(where, ignore_errors=True)


def _save(save: Callable[[Path], object], where: Path, bytes_needed: int) -> None:
    free = shutil.disk_usage(where.parent).free
    if free < bytes_needed:
        raise OSError(f"{bytes_needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    manifest.publish(save, where)


_NAME = re.compile(r"(nf4|int8|int4)[a-z0-9-]*-[0-9a-f]{16}")
"""Folder names of copies."""
