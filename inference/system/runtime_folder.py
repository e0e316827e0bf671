"""The runtime folder of the engine: its socket, lock, log and token, private to the user.

Torch-free. asyncio has no Unix sockets on Windows: ``NotPrivateError`` says so there.
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

from inference.errors import CodeLlamaError
from inference.system.files import make_private_folder, open_private

LONGEST_SOCKET_PATH = 100
"""``sun_path`` holds 108 bytes on Linux and 104 on macOS, including the final zero (unix(7))."""

SHORTEST_TOKEN = 16

NO_ENGINE = "No engine can be started: "


class NotPrivateError(CodeLlamaError):
    """A file or folder that must be the user's own is not, or cannot be used."""


@contextmanager
def report_os_errors() -> Iterator[None]:
    """Raise ``NotPrivateError`` for an ``OSError``; time-outs pass unchanged."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise NotPrivateError(_sentence(error)) from error


def _sentence(error: OSError) -> str:
    path, reason = error.filename, error.strerror or str(error)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{NO_ENGINE}{reason}. Close some files or editors, or raise `ulimit -n`."
    if error.errno == errno.EISDIR:
        return f"{NO_ENGINE}{path} is a folder, but a file belongs there. Remove it."
    if path is None:
        return f"{NO_ENGINE}{reason}. Free that resource of the system, then try again."
    return f"{NO_ENGINE}{path} cannot be used ({reason}). Make it writable for you, or remove it."


def runtime_folder() -> Path:
    """Return the folder of the engine's socket, lock and log; create it with mode 0700 if it is missing.

    It lies in ``XDG_RUNTIME_DIR`` if that is set, exists and is short enough, else among the temporary files, and in
    ``/tmp`` if their path is too long for a socket. Raises ``NotPrivateError``.
    """
    if not hasattr(os, "getuid"):
        raise NotPrivateError("codellama-ls needs Unix sockets. On Windows, run it inside WSL.")
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "codellama-ls" if base and os.path.isdir(base) else _fallback()  # noqa: PTH112  never raises
    if _too_long(folder):
        folder = _fallback()
    require_private_folder(folder, "XDG_RUNTIME_DIR")
    return folder


def require_private_folder(folder: Path, variable: str) -> None:
    """Create ``folder`` with mode 0700 if it is missing.

    Raises ``NotPrivateError`` if another user owns it or it cannot be used. ``variable`` is the environment variable
    that would choose another folder.
    """
    try:
        found = folder.lstat() if folder.is_symlink() else make_private_folder(folder).lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            if stat.S_IMODE(found.st_mode) != 0o700:
                folder.chmod(0o700)
            if os.access(folder, os.W_OK | os.X_OK):
                return
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotPrivateError(
            f"{folder} cannot be used ({reason}). Set {variable} to a private folder of yours."
        ) from error
    raise NotPrivateError(f"{folder} is not a folder of yours. Remove it or set {variable} to a private folder.")


def bind_socket(path: Path) -> socket.socket:
    """Return a Unix socket bound to ``path``, never accessible to others, not even for a moment.

    The socket file of a dead engine is replaced: the caller holds the engine's lock. Raises ``NotPrivateError``.
    """
    with report_os_errors():
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
    """Return whether the peer is this user or root; True on systems that cannot tell, where the folder protects."""
    found = peer_credentials(connection)
    return found is None or found[1] in (os.getuid(), 0)


def peer_credentials(connection: socket.socket) -> tuple[int, int] | None:
    """Return process and user id of a Unix socket's peer; None on systems without ``SO_PEERCRED`` (unix(7))."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def read_or_create_token(path: Path) -> str:
    """Return the token in ``path``; create the file with a new token if it is missing.

    Raises ``NotPrivateError`` if the file is not the user's, others can read it, or it cannot be written.
    """
    try:
        with suppress(FileExistsError), open_private(path, "x") as file:
            file.write(secrets.token_urlsafe(32))
        found = path.lstat()
    except OSError as error:
        raise NotPrivateError(
            f"The token file {path} cannot be created ({error.strerror}). Choose another --token-file."
        ) from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotPrivateError(f"{path} must be a file that only you can read. Run `chmod 600` on it, or remove it.")
    text = path.read_text("ascii", "replace").strip()
    if len(text) < SHORTEST_TOKEN:
        raise NotPrivateError(
            f"The token in {path} has fewer than {SHORTEST_TOKEN} characters. Remove the file to get a new one."
        )
    return text


def _too_long(folder: Path) -> bool:
    return len(os.fsencode(folder / "engine.sock")) > LONGEST_SOCKET_PATH


def _fallback() -> Path:
    """Return a folder among the temporary files, or in ``/tmp`` if their path is too long or missing."""
    name = f"codellama-ls-{os.getuid()}"
    with suppress(OSError):
        folder = Path(tempfile.gettempdir()) / name
        if not _too_long(folder):
            return folder
    return Path("/tmp") / name  # noqa: S108  own_folder checks whose it is
