"""Brackets of a completion: those it closes though nobody opened them, or the text after it does, and those left open.

Pure; knows no engine and no LSP. Inside strings and comments brackets say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from inference.text.languages import comment_mark
from inference.text.stopping import OPENERS, indent_width
from inference.text.syntax_position import WINDOW, Opened, SyntaxPosition, position_at
from lsp_server.snapshot import Snapshot

_STRINGS = r"""\\.|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|"""
_SINGLE_QUOTED = r"""'(?:\\.|[^'\\\n])*'|"""
_CHARACTER = r"""'(?:\\.|[^'\\\n])'|"""
"""Rust's: a single quote alone begins a lifetime."""
_STATEMENT = re.compile(
    r"\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b.*:$"
)


@dataclass
class Brackets:
    """Of one text: (position, bracket) of closers that it has no opener for, and of openers it does not close."""

    unopened: list[tuple[int, str]] = field(default_factory=list)
    unclosed: list[tuple[int, str]] = field(default_factory=list)


@cache
def _tokens(language: str) -> re.Pattern[str]:
    """Strings, comments and brackets."""
    mark = comment_mark(language)
    comment = rf"(?<!\S){re.escape(mark)}.*|" if mark else ""
    return re.compile(_STRINGS + (_CHARACTER if language == "rust" else _SINGLE_QUOTED) + comment + r"[()\[\]{}]")


def brackets_of(text: str, language: str) -> Brackets:
    """Outside its strings and comments. A closer closes the innermost bracket, if that is of its kind."""
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
    """Cut before a closer that nothing opened, or that the rest of the line brings along."""
    place = _as_read(snapshot)
    closers = brackets_of(text, snapshot.language).unopened
    in_string = any(opened.in_string for opened in place.opened)
    if place.inside != "code" or in_string or not closers:
        return text
    own = [closer for _, closer in closers]
    rest = [closer for _, closer in brackets_of(snapshot.right, snapshot.language).unopened]
    fitting = next((n for n in range(len(own)) if not _fits(place, own[: n + 1])), len(own))
    kept = next((n for n in range(fitting, -1, -1) if _fits(place, own[:n] + rest)), fitting)
    return text[: closers[kept][0]].rstrip() if kept < len(closers) else text


def _as_read(snapshot: Snapshot) -> SyntaxPosition:
    """By grammar; by the line alone where that opens more: a grammar may not see into it, such as into ``#elif f(``."""
    place = position_at(snapshot.language, snapshot.before)
    left = snapshot.left
    opened = [bracket for _, bracket in brackets_of(left[-WINDOW:], snapshot.language).unclosed]
    if len(opened) <= len(place.opened):
        return place
    indent = indent_width(left)
    return SyntaxPosition(place.inside, tuple(Opened(bracket, indent) for bracket in opened))


def _fits(place: SyntaxPosition, closers: Sequence[str]) -> bool:
    """Whether these close what is open, the innermost first. Beyond a line that was read alone, anything may be."""
    opened = [opened.bracket for opened in reversed(place.opened)]
    right = all(OPENERS[closer] == bracket for closer, bracket in zip(closers, opened, strict=False))
    return right and (len(closers) <= len(opened) or not place.whole)


def unfinished_block(snapshot: Snapshot, text: str) -> str:
    """Of several lines, none at the end that opens something and says nothing of it."""
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
    """The line of a list or call that has no end, or of a block of which nothing is said."""
    for position, bracket in brackets_of(text, language).unclosed:
        if bracket != "{" or not text[position + 1 :].strip():
            return text.count("\n", 0, position)
    return None


def _closing_part(line: str) -> list[str]:
    """Of ``} else {`` the brace that ends the block before."""
    return [line[: line.index("}") + 1]] if line.lstrip().startswith("}") else []
