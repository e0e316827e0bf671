"""Make this program's own folders for their user alone; check who could have written what is in one. Torch-free.

Read regular files of bounded size, whatever lies at a path: devices, pipes and sockets are not opened for long.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import platformdirs

NAME = "codellama-ls"


def roots() -> tuple[Path, ...]:
    """The user's cache, data and state folders of this program; none of them need be there."""
    chosen = (platformdirs.user_cache_path, platformdirs.user_data_path, platformdirs.user_state_path)
    return tuple(path(NAME, False) for path in chosen)


def make_private(folder: Path) -> Path:
    """Make ``folder``, and all that is missing above it, for the user alone; raises OSError.

    ``Path.mkdir`` gives its mode to the last folder only, whatever the umask leaves open above it. What is there keeps
    its mode, but where something had to be made, this program's own folders (``roots``) that others may enter are
    closed (``close_roots``). Source: XDG Base Directory Specification, which asks for mode 0700 of what is missing.
    """
    missing = [path for path in (*reversed(folder.parents), folder) if not path.exists()]
    for path in missing:
        path.mkdir(mode=0o700, exist_ok=True)
    if missing:
        close_roots()
    return folder


def close_roots() -> None:
    """Close this user's own folders of this program to others. What can't be closed stays; the doctor tells of it."""
    for path in roots():
        with suppress(OSError):
            found = path.stat()
            if found.st_uid == os.getuid() and found.st_mode & 0o077:
                path.chmod(0o700)


def untrusted(path: Path, like: Path | None = None) -> str:
    """Say why what lies at ``path`` could be another user's work, or nothing. Raises OSError.

    It must belong to this user or to root, and others must not be able to write to it. What ``like`` grants is granted
    here too: its owner, and its write permissions.
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


_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class NotRegularError(OSError):
    """There is something else than a regular file at the path."""


class TooLongError(OSError):
    """The file has more bytes than are wanted."""


def read_regular(path: Path, most: int, *, follow: bool = True) -> bytes:
    """Return the bytes of a regular file, at most ``most``.

    Without ``follow`` a symbolic link is no regular file. Raises NotRegularError, TooLongError or another OSError.
    """
    if not stat.S_ISREG(path.stat(follow_symlinks=follow).st_mode):
        raise NotRegularError(f"{path} is not a regular file")
    descriptor = os.open(path, os.O_RDONLY | _NEVER_WAIT | (0 if follow else _NO_LINK))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(f"{path} was replaced by something else")
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLongError(f"{path} has more than {most:,} bytes")
    return data
