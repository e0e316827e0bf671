"""Prompt templates: one Markdown file per task, which users can override with their own.

``<task>.md`` is the user message; text before a line ``---`` is the system message. ``{{name}}`` is replaced by a
field, and a paragraph whose fields are all empty is left out. Field values are inserted verbatim: placeholders and
braces in them have no meaning.
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

from inference.errors import CodeLlamaError

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "CODELLAMA_LS_PROMPTS"
"""Environment variable with the folder of the user's custom prompts."""

LONGEST = 20_000
"""Characters allowed in a custom prompt."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_LINE = re.compile(r"^---[ \t]*$", re.MULTILINE)


class _BrokenPromptError(CodeLlamaError, ValueError):
    """A custom prompt cannot be used."""


class _Template(NamedTuple):
    system: str
    user: str


def custom_prompts_folder() -> Path:
    """Return the folder of custom prompts: ``$CODELLAMA_LS_PROMPTS``, else ``prompts`` in the user's config folder."""
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    return Path(chosen).expanduser() if chosen else platformdirs.user_config_path("codellama-ls", False) / "prompts"


def messages_for(
    task: str, fields: Mapping[str, str], warn: Callable[[str], None] | None = None
) -> list[dict[str, str]]:
    """Return the chat messages of a task in OpenAI format: an optional system message and a user message.

    A custom prompt that cannot be used is reported to ``warn`` (by default once to the log), and the built-in one is
    used. Raises KeyError if a built-in prompt has a placeholder that ``fields`` lack, FileNotFoundError for an unknown
    task.
    """
    built_in = _parse(resources.files("lsp_server.prompts").joinpath(f"{task}.md").read_text("utf-8"))
    try:
        template = _custom(custom_prompts_folder() / f"{task}.md", fields) or built_in
    except _BrokenPromptError as problem:
        (warn or _warn_once)(str(problem))
        template = built_in
    messages = [{"role": "system", "content": _fill(template.system, fields)}] if template.system else []
    return [*messages, {"role": "user", "content": _fill(template.user, fields)}]


def _custom(path: Path, fields: Mapping[str, str]) -> _Template | None:
    """Return the custom prompt, if there is one. Raises _BrokenPromptError."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _BrokenPromptError(_complaint(path, f"can't be read ({type(error).__name__})")) from error
    if len(text) > LONGEST:
        raise _BrokenPromptError(_complaint(path, f"has more than {LONGEST:,} characters"))
    template = _parse(text)
    if not template.user:
        raise _BrokenPromptError(_complaint(path, "has no text for the user message"))
    unknown = sorted(set(_PLACEHOLDER.findall(text)) - fields.keys())
    if unknown:
        known = ", ".join(f"{{{{{name}}}}}" for name in sorted(fields))
        raise _BrokenPromptError(
            _complaint(path, f"names {{{{{unknown[0]}}}}}, which this task does not have (it has {known})")
        )
    return template


def _complaint(path: Path, fault: str) -> str:
    return f"Your prompt {path} {fault}. The built-in prompt is used until you correct it."


def _parse(text: str) -> _Template:
    """Split a template at its first line ``---``. Without one there is no system message."""
    first, *rest = _LINE.split(text.replace("\r\n", "\n"), maxsplit=1)
    return _Template(first.strip(), rest[0].strip()) if rest else _Template("", first.strip())


def _fill(text: str, fields: Mapping[str, str]) -> str:
    paragraphs = [paragraph for paragraph in text.split("\n\n") if _has_content(paragraph, fields)]
    return _PLACEHOLDER.sub(lambda match: fields[match[1]], "\n\n".join(paragraphs).strip())


def _has_content(paragraph: str, fields: Mapping[str, str]) -> bool:
    names = _PLACEHOLDER.findall(paragraph)
    return not names or any(fields[name] for name in names)


@lru_cache(maxsize=64)
def _warn_once(text: str) -> None:
    log.warning(text)
