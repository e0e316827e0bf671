"""Mentions in a message (``#file:path``, ``/explain``) and attachments: code that is sent along with it.

Only the user's own text is searched for mentions, never a file or a model's answer. An attachment is a title and a
fenced block whose fence does not occur in the code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["file", "selection", "diagnostics", "symbol", "diff", "open"]

TASKS = {"explain": "explain", "fix": "chat-fix", "tests": "chat-tests", "doc": "chat-doc", "commit": "commit"}
"""Slash commands at the start of a message, and the prompt template of each."""

_MENTION = re.compile(
    r"""(?<![\w\#&/])\#(?:
        (?P<named>file|symbol):(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s"]+))
        |(?P<plain>selection|diagnostics|diff|open)(?![\w:-])
    )""",
    re.VERBOSE,
)
_SLASH = re.compile(rf"\s*/({'|'.join(TASKS)})(?!\S)\s*")
_BACKTICKS = re.compile(r"`{3,}")


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention ``#kind`` or ``#kind:name``."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"#{self.kind}:{self.name}" if self.name else f"#{self.kind}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """Code or other text that is sent along with a message.

    Attributes:
        title: description for the user and the model, e.g. ``src/a.py, lines 3 to 9``.
        text: the content, with LF line ends.
        language: LSP language id; empty for none.
        shortened: the last lines were cut to fit.
    """

    title: str
    text: str
    language: str = ""
    shortened: bool = False

    def __str__(self) -> str:
        longest = max((len(run) for run in _BACKTICKS.findall(self.text)), default=2)
        fence = "`" * (longest + 1)
        title = f"{self.title} (only its beginning)" if self.shortened else self.title
        return f"{title}:\n{fence}{self.language}\n{self.text.rstrip()}\n{fence}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was not attached, and the reason for the user."""

    title: str
    why: str


def mentions(text: str) -> list[Mention]:
    """Return the distinct mentions in order. Punctuation at the end of a name is not part of it."""
    found: dict[Mention, None] = {}
    for match in _MENTION.finditer(text):
        name = match["quoted"] or (match["bare"] or "").rstrip(".,;:!?)'")
        if match["plain"] or name:
            found[Mention(match["named"] or match["plain"], name)] = None  # type: ignore[arg-type]  one of the kinds
    return list(found)


def split_command(text: str) -> tuple[str, str]:
    """Split a message into its slash command (without the slash; empty if there is none) and the rest."""
    command = _SLASH.match(text)
    return (command[1], text[command.end() :]) if command else ("", text)


def fit_attachments(attachments: Sequence[Attachment], limit: int) -> tuple[list[Attachment], list[LeftOut]]:
    """Keep attachments in order up to ``limit`` characters; the one that exceeds it keeps its first lines."""
    kept: list[Attachment] = []
    distinct = list(dict.fromkeys(attachments))
    for one in distinct:
        text = _first_lines(one.text, limit)
        whole = text == one.text
        if text.strip():
            kept.append(one if whole else replace(one, text=text, shortened=True))
        limit = limit - len(text) if whole else 0  # a later, shorter attachment must not displace the rest of this one
    titles = {one.title for one in kept}
    lost = [one.title for one in distinct if one.title not in titles]
    return kept, [LeftOut(title, "there is no room left for it, or it is empty") for title in lost]


def attachments_text(attachments: Sequence[Attachment]) -> str:
    """Return all attachments as text for a prompt."""
    return "\n\n".join(map(str, attachments))


def _first_lines(text: str, limit: int) -> str:
    """Return as many whole lines as ``limit`` characters hold; a longer first line is cut."""
    if len(text) <= limit:
        return text
    cut = text.rfind("\n", 0, limit + 1)
    return text[: cut if cut > 0 else limit]
