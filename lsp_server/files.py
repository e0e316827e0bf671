"""What the disk says of a document's file: may it be read, can it be written? Knows no LSP, and looks at no text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pathspec import GitIgnoreSpec

from inference.text.ignored import why_private
from lsp_server.completion.gate import Private


def privacy(path: Path, workspaces: Sequence[Path], excluded: tuple[str, ...] = ()) -> Private | None:
    """Why ``path`` must not reach a model, if so, by the name it is opened under or the one it has behind links.

    ``excluded`` are a person's own patterns, as in a .gitignore of the file's workspace.
    """
    for named in dict.fromkeys((path, Path(os.path.realpath(path)))):
        if not named.name:
            continue  # ``file:///``: the root folder, and no file
        root = _root(named, workspaces)
        if why := why_private(named, root):
            return why
        if _patterns(excluded).match_file(named.relative_to(root).as_posix()):
            return "excluded"
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


@lru_cache(maxsize=8)
def _patterns(excluded: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(excluded)
