"""Make this program's own folders for their user alone; check who could have written what is in one. Torch-free."""

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
