"""The engine's private place on this machine: a folder and a Unix socket that only its user can reach.

Torch-free; knows no HTTP. Windows has no such sockets in asyncio: there ``NotPrivate`` says so.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inference.api.errors import CodeLlamaError
from inference.system.files import make_private

LONGEST_SOCKET_PATH = 100
"""``sun_path`` holds 108 bytes on Linux and 104 on macOS, the closing zero included (unix(7))."""


SHORTEST_TOKEN = 16


NO_ENGINE = "No engine can be started: "


class NotPrivateError(CodeLlamaError):
    """A place that should be the user's own is not, or can't be used; the message says which and what to do."""


@contextmanager
def in_words() -> Iterator[None]:
    """Raise ``NotPrivate`` with a sentence for the user in place of an ``OSError``; time-outs pass unchanged."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise NotPrivateError(_sentence(error)) from error


def _sentence(error: OSError) -> str:
    path, reason = error.filename, error.strerror or str(error)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"No engine can be started ({reason}): close some files or windows, or raise `ulimit -n`."
    if error.errno == errno.EISDIR:
        return f"{NO_ENGINE}{path} is a folder, but a file belongs there. Remove it."
    if path is None:
        return f"No engine can be started ({reason}): free what the system is short of, then ask again."
    return f"{NO_ENGINE}{path} can't be used ({reason}). Make it writable for you, or remove it."


def runtime_folder() -> Path:
    """Where the socket, the lock and the log of the engine lie; created for the user alone if it is not there.

    ``XDG_RUNTIME_DIR`` if it is set, usable and short enough, else a folder of ours among the temporary files, and
    in ``/tmp`` where the path of those is too long for a socket. Raises ``NotPrivate`` if somebody else owns it or it
    can't be used.
    """
    if not hasattr(os, "getuid"):
        raise NotPrivateError("codellama-ls needs Unix sockets; on Windows run it inside WSL.")
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "codellama-ls" if base and os.path.isdir(base) else _fallback()  # noqa: PTH112  never raises
    if _too_long(folder):
        folder = _fallback()
    own_folder(folder, "XDG_RUNTIME_DIR")
    return folder


def own_folder(folder: Path, variable: str) -> None:
    """Create ``folder`` for the user alone if it is not there.

    Raises ``NotPrivate`` if somebody else owns it or it can't be used; ``variable`` is the environment variable that
    names another.
    """
    try:
        found = folder.lstat() if folder.is_symlink() else make_private(folder).lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            if stat.S_IMODE(found.st_mode) != 0o700:
                folder.chmod(0o700)
            if os.access(folder, os.W_OK | os.X_OK):
                return
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotPrivateError(
            f"{folder} can't be used ({reason}): set {variable} to a private folder of yours."
        ) from error
    raise NotPrivateError(f"{folder} is not a folder of yours; remove it or set {variable} to a private folder.")


def bind(path: Path) -> socket.socket:
    """A listening Unix socket at ``path``, never readable by others, not even for a moment.

    A socket file that a dead engine left there is replaced: the caller holds the engine's lock. Raises ``NotPrivate``.
    """
    with in_words():
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
    found = peer(connection)
    return found is None or found[1] in (os.getuid(), 0)


def peer(connection: socket.socket) -> tuple[int, int] | None:
    """Process and user at the other end of a Unix socket; None where the system does not tell (unix(7))."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


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
        raise NotPrivateError(
            f"There can be no token in {path} ({error.strerror}): choose another --token-file."
        ) from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotPrivateError(f"{path} must be a file that only you can read: `chmod 600` it, or remove it.")
    text = path.read_text("ascii", "replace").strip()
    if len(text) < SHORTEST_TOKEN:
        raise NotPrivateError(
            f"The token in {path} has fewer than {SHORTEST_TOKEN} characters; remove it for a new one."
        )
    return text


def _too_long(folder: Path) -> bool:
    return len(os.fsencode(folder / "engine.sock")) > LONGEST_SOCKET_PATH


def _fallback() -> Path:
    """Among the temporary files; in ``/tmp`` if their folder's path is too long or there is no such folder."""
    name = f"codellama-ls-{os.getuid()}"
    with suppress(OSError):
        folder = Path(tempfile.gettempdir()) / name
        if not _too_long(folder):
            return folder
    return Path("/tmp") / name  # noqa: S108  own_folder checks whose it is
