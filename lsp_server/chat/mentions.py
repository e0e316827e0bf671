"""What a person's message points at (``#file:path``) and which task it names (``/explain``). Pure; looks nothing up.

Only what a person writes is read here: never a file, nor a model's answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["file", "selection", "diagnostics", "symbol", "diff", "open"]

TASKS = {"explain": "explain", "fix": "chat-fix", "tests": "chat-tests", "doc": "chat-doc", "commit": "commit"}
"""The prompt of each word that may follow a slash at the start of a message."""

_MENTION = re.compile(
    r"""(?<![\w\#&/])\#(?:
        (?P<named>file|symbol):(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s"]+))
        |(?P<plain>selection|diagnostics|diff|open)(?![\w:-])
    )""",
    re.VERBOSE,
)
_SLASH = re.compile(rf"\s*/({'|'.join(TASKS)})(?!\S)\s*")


@dataclass(frozen=True, slots=True)
class Mention:
    """``#kind``, or ``#kind:name``."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"#{self.kind}:{self.name}" if self.name else f"#{self.kind}"


def mentions(text: str) -> list[Mention]:
    """Each once, in the order in which they are written. What ends a sentence is no part of a name."""
    found: dict[Mention, None] = {}
    for match in _MENTION.finditer(text):
        name = match["quoted"] or (match["bare"] or "").rstrip(".,;:!?)'")
        if match["plain"] or name:
            found[Mention(match["named"] or match["plain"], name)] = None  # type: ignore[arg-type]  one of the kinds
    return list(found)


def task(text: str) -> tuple[str, str]:
    """The task that a message begins with, or an empty string, and the rest of the message."""
    begun = _SLASH.match(text)
    return (begun[1], text[begun.end() :]) if begun else ("", text)
