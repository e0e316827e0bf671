"""Which files may be shown to a model. Knows no LSP, and looks at no text."""

from __future__ import annotations

from pathlib import Path

from inference.text.ignored import why_private


def may_read(path: Path) -> bool:
    """Whether a file may reach a model, by the name it is known under and the one it has behind links."""
    return not any(why_private(named, repository(named)) for named in dict.fromkeys((path, path.resolve())))


def repository(path: Path) -> Path:
    """The repository a file lies in, whose ignore files count; else its folder."""
    return next((folder for folder in path.parents if (folder / ".git").exists()), path.parent)
