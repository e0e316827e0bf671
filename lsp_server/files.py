"""What the disk says of a document's file: may it be read, can it be written? Knows no LSP, and looks at no text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from inference.text.ignored import Report, log_problem, why_private
from inference.text.patterns import Patterns, TooCostlyError
from lsp_server.completion.gate import Private


def privacy(
    path: Path, workspaces: Sequence[Path], excluded: tuple[str, ...] = (), report: Report = log_problem
) -> Private | None:
    """Return why ``path`` must not reach a model, if so, by the name it is opened under or the one it has behind links.

    ``excluded`` are a person's own patterns, as in a .gitignore of the file's workspace. ``report`` is told what is
    wrong with an ignore file. This reads files and may take seconds: call it in a thread (``off_loop``).
    """
    if "\0" in str(path):
        return "unclear"  # no file can have this name
    for named in dict.fromkeys((path, Path(os.path.realpath(path)))):
        if not named.name:
            continue  # ``file:///``: the root folder, and no file
        root = _root(named, workspaces)
        if why := why_private(named, root, report):
            return why
        if why := _excluded(named.relative_to(root).as_posix(), excluded):
            return why
    return None


def is_read_only(path: Path) -> bool:
    """True of a file that is there and that this user can't write."""
    return path.exists() and not os.access(path, os.W_OK)


def repository(path: Path) -> Path:
    """The repository a file lies in; else its folder."""
    return next((folder for folder in path.parents if (folder / ".git").exists()), path.parent)


def _root(path: Path, workspaces: Sequence[Path]) -> Path:
    """The outermost of what has a say in what is ignored: the git repository and the workspace a file lies in."""
    around = [folder for folder in workspaces if path.is_relative_to(folder) and path != folder]
    around += [folder for folder in [repository(path)] if (folder / ".git").exists()]
    return min(around, key=lambda folder: len(folder.parts), default=path.parent)


def _excluded(name: str, patterns: tuple[str, ...]) -> Literal["excluded", "unclear"] | None:
    try:
        return "excluded" if _parsed(patterns).verdict(name) else None
    except TooCostlyError:
        return "unclear"


@lru_cache(maxsize=8)
def _parsed(patterns: tuple[str, ...]) -> Patterns:
    return Patterns.parse(patterns)
