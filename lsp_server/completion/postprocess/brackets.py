"""Unbalanced brackets of a completion: closers without an opener, and blocks left open. Pure.

Brackets inside strings and comments are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from inference.text.languages import comment_mark
from inference.text.stopping import OPENERS, indent_width
from inference.text.syntax_position import MAX_PARSED_CHARACTERS, OpenBracket, SyntaxPosition, position_at
from lsp_server.snapshot import Snapshot

_STRINGS = r"""\\.|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|"""
_SINGLE_QUOTED = r"""'(?:\\.|[^'\\\n])*'|"""
_CHARACTER = r"""'(?:\\.|[^'\\\n])'|"""
"""Rust only: a single quote alone begins a lifetime."""
_STATEMENT = re.compile(
    r"\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b.*:$"
)


@dataclass
class Brackets:
    """The unmatched brackets of a text, as (offset, bracket): closers without opener, and openers without closer."""

    unopened: list[tuple[int, str]] = field(default_factory=list)
    unclosed: list[tuple[int, str]] = field(default_factory=list)


@cache
def _tokens(language: str) -> re.Pattern[str]:
    """Return a pattern for strings, comments and brackets."""
    mark = comment_mark(language)
    comment = rf"(?<!\S){re.escape(mark)}.*|" if mark else ""
    return re.compile(_STRINGS + (_CHARACTER if language == "rust" else _SINGLE_QUOTED) + comment + r"[()\[\]{}]")


def brackets_of(text: str, language: str) -> Brackets:
    """Find unmatched brackets. A closer matches the innermost open bracket if that is of its kind."""
    found = Brackets()
    for match in _tokens(language).finditer(text):
        bracket = match.group()
        if bracket in OPENERS.values():
            found.unclosed.append((match.start(), bracket))
        elif bracket in OPENERS:
            if found.unclosed and found.unclosed[-1][1] == OPENERS[bracket]:
                found.unclosed.pop()
            else:
                found.unopened.append((match.start(), bracket))
    return found


def doubled_closers(snapshot: Snapshot, text: str) -> str:
    """Cut the text before a closer without opener, or one that the rest of the line repeats."""
    position = _position(snapshot)
    closers = brackets_of(text, snapshot.language).unopened
    in_string = any(opened.in_string for opened in position.opened)
    if position.inside != "code" or in_string or not closers:
        return text
    own = [closer for _, closer in closers]
    rest = [closer for _, closer in brackets_of(snapshot.right, snapshot.language).unopened]
    fitting = next((n for n in range(len(own)) if not _fits(position, own[: n + 1])), len(own))
    kept = next((n for n in range(fitting, -1, -1) if _fits(position, own[:n] + rest)), fitting)
    return text[: closers[kept][0]].rstrip() if kept < len(closers) else text


def _position(snapshot: Snapshot) -> SyntaxPosition:
    """Return the syntax position by grammar, or by the cursor's line if that has more open brackets.

    A grammar may not parse the line, such as ``#elif f(``.
    """
    position = position_at(snapshot.language, snapshot.before)
    left = snapshot.left
    opened = [bracket for _, bracket in brackets_of(left[-MAX_PARSED_CHARACTERS:], snapshot.language).unclosed]
    if len(opened) <= len(position.opened):
        return position
    indent = indent_width(left)
    return SyntaxPosition(position.inside, tuple(OpenBracket(bracket, indent) for bracket in opened))


def _fits(position: SyntaxPosition, closers: Sequence[str]) -> bool:
    """Return whether ``closers`` match the open brackets, innermost first.

    If only part of the document was read, brackets beyond it may be open: any further closers fit.
    """
    opened = [opened.bracket for opened in reversed(position.opened)]
    matched = all(OPENERS[closer] == bracket for closer, bracket in zip(closers, opened, strict=False))
    return matched and (len(closers) <= len(opened) or not position.whole)


def unfinished_block(snapshot: Snapshot, text: str) -> str:
    """Remove trailing lines that open a list, a call or a block without content."""
    if position_at(snapshot.language, snapshot.before).inside != "code":
        return text
    lines = text.split("\n")
    while len(lines) > 1:
        first = _first_open_line("\n".join(lines), snapshot.language)
        if first is not None and first > 0:
            lines = [*lines[:first], *_closing_part(lines[first])]
        elif _STATEMENT.match(lines[-1].rstrip()):
            lines = lines[:-1]
        else:
            break
    return "\n".join(lines)


def _first_open_line(text: str, language: str) -> int | None:
    """Return the line of an unclosed list or call, or of a block without content."""
    for position, bracket in brackets_of(text, language).unclosed:
        if bracket != "{" or not text[position + 1 :].strip():
            return text.count("\n", 0, position)
    return None


def _closing_part(line: str) -> list[str]:
    """Return the brace of ``} else {`` that ends the block before."""
    return [line[: line.index("}") + 1]] if line.lstrip().startswith("}") else []
