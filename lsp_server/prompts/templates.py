"""Prompts: short files, one per task, that a person can replace by their own. Knows no model, no editor and no tasks.

``<task>.md`` is the user's message; what stands before a line ``---`` is the system message. ``{{name}}`` is replaced
by a field, and a paragraph whose fields are all empty is left out. What a field brings is text and nothing else: it is
not searched for placeholders, and braces in code mean nothing.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import platformdirs

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "CODELLAMA_LS_PROMPTS"
"""Environment variable that names another folder for a person's own prompts."""

LONGEST = 20_000
"""Characters of a person's own prompt; a longer file is no prompt."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_LINE = re.compile(r"^---[ \t]*$", re.MULTILINE)


class _BrokenError(ValueError):
    """A person's own prompt can't be used; the message says why."""


class _Template(NamedTuple):
    system: str
    user: str


def own_folder() -> Path:
    """Where a person's own prompts lie: ``$CODELLAMA_LS_PROMPTS``, else in the folder of the user's settings."""
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else platformdirs.user_config_path("codellama-ls", False) / "prompts"


def messages_for(
    task: str, fields: Mapping[str, str], warn: Callable[[str], None] | None = None
) -> list[dict[str, str]]:
    """The messages, in OpenAI's shape, that put ``task`` to a chat model: a system message, if there is one, and one
    of the user.

    A person's own prompt that can't be used is told to ``warn`` (else once to the log), and ours is used.
    Raises KeyError for a placeholder of ours that ``fields`` lack, FileNotFoundError for a task that is none.
    """
    ours = _parsed(resources.files("lsp_server.prompts").joinpath(f"{task}.md").read_text("utf-8"))
    try:
        template = _own(own_folder() / f"{task}.md", fields) or ours
    except _BrokenError as problem:
        (warn or _warn_once)(str(problem))
        template = ours
    messages = [{"role": "system", "content": _filled(template.system, fields)}] if template.system else []
    return [*messages, {"role": "user", "content": _filled(template.user, fields)}]


def _own(path: Path, fields: Mapping[str, str]) -> _Template | None:
    """The person's own prompt, if there is one. Raises _BrokenError."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _BrokenError(_why(path, f"can't be read ({type(error).__name__})")) from error
    if len(text) > LONGEST:
        raise _BrokenError(_why(path, f"has more than {LONGEST:,} characters"))
    template = _parsed(text)
    if not template.user:
        raise _BrokenError(_why(path, "has no text for the user's message"))
    unknown = sorted(set(_PLACEHOLDER.findall(text)) - fields.keys())
    if unknown:
        known = ", ".join(f"{{{{{name}}}}}" for name in sorted(fields))
        raise _BrokenError(_why(path, f"names {{{{{unknown[0]}}}}}, which this task does not have; it has {known}"))
    return template


def _why(path: Path, what: str) -> str:
    return f"Your prompt {path} {what}. Ours is used until it is mended."


def _parsed(text: str) -> _Template:
    """A file without a line ``---`` has no system message."""
    first, *rest = _LINE.split(text.replace("\r\n", "\n"), maxsplit=1)
    return _Template(first.strip(), rest[0].strip()) if rest else _Template("", first.strip())


def _filled(text: str, fields: Mapping[str, str]) -> str:
    paragraphs = [paragraph for paragraph in text.split("\n\n") if _says_something(paragraph, fields)]
    return _PLACEHOLDER.sub(lambda found: fields[found[1]], "\n\n".join(paragraphs).strip())


def _says_something(paragraph: str, fields: Mapping[str, str]) -> bool:
    names = _PLACEHOLDER.findall(paragraph)
    return not names or any(fields[name] for name in names)


@lru_cache(maxsize=64)
def _warn_once(text: str) -> None:
    log.warning(text)
