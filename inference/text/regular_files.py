"""Read regular files of bounded size, whatever lies at a path: devices, pipes and sockets are not opened for long."""

from __future__ import annotations

import os
import stat
from pathlib import Path

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
