"""Private files and folders of this program, and reads of files that may be something else. Torch-free."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import platformdirs

APP_NAME = "codellama-ls"

_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class NotRegularError(OSError):
    """The path is not a regular file."""


class TooLongError(OSError):
    """The file has more bytes than allowed."""


def app_folders() -> tuple[Path, ...]:
    """Return the user's cache, data and state folders of this program, existing or not."""
    chosen = (platformdirs.user_cache_path, platformdirs.user_data_path, platformdirs.user_state_path)
    return tuple(path(APP_NAME, False) for path in chosen)


def make_private_folder(folder: Path) -> Path:
    """Create ``folder`` and its missing parents with mode 0700, and return it. Raises OSError.

    ``Path.mkdir`` applies its mode to the last folder only. Existing folders keep their mode, but if a folder was
    created, this program's own folders (``roots``) are closed to others. Source: XDG Base Directory Specification,
    which asks for mode 0700.
    """
    missing = [path for path in (*reversed(folder.parents), folder) if not path.exists()]
    for path in missing:
        path.mkdir(mode=0o700, exist_ok=True)
    if missing:
        close_app_folders()
    return folder


def close_app_folders() -> None:
    """Close this user's own folders of this program to others. The doctor reports a folder that stays open."""
    for path in app_folders():
        with suppress(OSError):
            found = path.stat()
            if found.st_uid == os.getuid() and found.st_mode & 0o077:
                path.chmod(0o700)


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file to write (``mode`` as for ``open``; UTF-8 unless binary) and give it mode 0600.

    It is never accessible to others, not even for a moment. Raises OSError, also for a symbolic link.
    """
    return open(path, mode, encoding=None if "b" in mode else "utf-8", opener=_private)


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _NO_LINK, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, text: str) -> None:
    """Replace a file by one with this text and mode 0600, atomically. Raises OSError with ``path`` as its file name."""
    new = ""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        descriptor, new = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(new).replace(path)
    except OSError as error:
        if new:
            Path(new).unlink(missing_ok=True)
        error.filename = str(path)
        raise


def why_untrusted(path: Path, like: Path | None = None) -> str:
    """Return why another user could have written the file at ``path``, or "". Raises OSError.

    It must belong to this user or to root, and others must not be able to write to it. The owner and the write
    permissions of ``like`` are allowed too.
    """
    found, owners, granted = path.lstat(), {os.getuid(), 0}, 0
    if like is not None:
        pattern = like.stat()
        owners.add(pattern.st_uid)
        granted = pattern.st_mode
    if stat.S_ISLNK(found.st_mode):
        return f"{path.name} is a link"
    if found.st_uid not in owners:
        return f"{path.name} belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) & ~granted:
        return f"other users can write to {path.name}"
    return ""


def read_regular(path: Path, most: int, *, follow: bool = True) -> bytes:
    """Return the bytes of a regular file, at most ``most``. Devices, pipes and sockets never block it.

    Without ``follow`` a symbolic link is not a regular file. Raises NotRegularError, TooLongError or another OSError.
    """
    if not stat.S_ISREG(path.stat(follow_symlinks=follow).st_mode):
        raise NotRegularError(f"{path} is not a regular file")
    descriptor = os.open(path, os.O_RDONLY | _NEVER_WAIT | (0 if follow else _NO_LINK))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(f"{path} was replaced by another kind of file")
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLongError(f"{path} has more than {most:,} bytes")
    return data
