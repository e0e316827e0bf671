"""The engine's private place on this machine: a folder and a Unix socket that only its user can reach.

Torch-free; knows no HTTP. Windows has no such sockets in asyncio: there ``NotPrivate`` says so.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

from inference.folders import make_private

LONGEST_SOCKET_PATH = 100
"""``sun_path`` holds 108 bytes on Linux and 104 on macOS, the closing zero included (unix(7))."""


SHORTEST_TOKEN = 16


class NotPrivate(RuntimeError):
    """A place that should be the user's own is not; the message says which and what to do."""


def runtime_folder() -> Path:
    """Where the socket, the lock and the log of the engine lie; created for the user alone if it is not there.

    ``XDG_RUNTIME_DIR`` if it is set, usable and short enough, else a folder of ours among the temporary files.
    Raises ``NotPrivate`` if somebody else owns it or may enter it.
    """
    if not hasattr(os, "getuid"):
        raise NotPrivate("codellama-ls needs Unix sockets; on Windows run it inside WSL.")
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "codellama-ls" if base and Path(base).is_dir() else _fallback()
    if len(os.fsencode(folder / "engine.sock")) > LONGEST_SOCKET_PATH:
        folder = _fallback()
    own_folder(folder, "XDG_RUNTIME_DIR")
    return folder


def own_folder(folder: Path, variable: str) -> None:
    """Create ``folder`` for the user alone if it is not there.

    Raises ``NotPrivate`` if somebody else owns it; ``variable`` is the environment variable that names another.
    """
    make_private(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise NotPrivate(f"{folder} is not a folder of yours; remove it or set {variable} to a private folder.")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def bind(path: Path) -> socket.socket:
    """A listening Unix socket at ``path``, never readable by others, not even for a moment.

    A socket file that a dead engine left there is replaced: the caller holds the engine's lock.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(old)
    listener.setblocking(False)
    return listener


def is_own_peer(connection: socket.socket) -> bool:
    """Is the process at the other end this user's (or root's)? Where the system cannot tell, the folder protects."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (os.getuid(), 0)


def token(path: Path) -> str:
    """The token in the user's own file ``path``, made and written for the user alone where there is none.

    Raises ``NotPrivate`` if others may read it or it is not the user's, or it can't be written.
    """
    try:
        with suppress(FileExistsError):
            path.touch(0o600, exist_ok=False)
            path.write_text(secrets.token_urlsafe(32))
        found = path.lstat()
    except OSError as error:
        raise NotPrivate(f"There can be no token in {path} ({error.strerror}): choose another --token-file.") from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotPrivate(f"{path} must be a file that only you can read: `chmod 600` it, or remove it.")
    text = path.read_text("ascii", "replace").strip()
    if len(text) < SHORTEST_TOKEN:
        raise NotPrivate(f"The token in {path} has fewer than {SHORTEST_TOKEN} characters; remove it for a new one.")
    return text


def _fallback() -> Path:
    return Path(tempfile.gettempdir()) / f"codellama-ls-{os.getuid()}"
