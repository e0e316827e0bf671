"""A simulated typist: types a known text key by key and accepts the parts of completions that are right.

Keys are counted as on a keyboard: each character, Enter, correcting an indentation, stepping over a closed bracket, and
accepting a completion or a part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random
from typing import Literal, get_args

from inference.text.stopping import suffix_start
from lsp_server.benchmark.editing_trace import TypedText, lines_to_write

Part = Literal["whole", "line", "word"]
PARTS: tuple[Part, ...] = get_args(Part)
"""Parts of a completion that can be accepted; editors have a key for each."""

SHORTEST_PART = 2
"""Shortest part worth the key that accepts it."""

_LINE = re.compile(r"\n?[^\n]*")
_WORD = re.compile(r"\s*(?:\w+|[^\w\s]+)")


@dataclass
class SimulatedTypist:
    """Types the text that ``typist`` has to do.

    Attributes:
        keys: keys pressed so far.
    """

    typist: TypedText
    keys: int = 0
    _unsettled: bool = False
    """The editor has started a line whose indentation or closed bracket is not right yet."""

    @property
    def done(self) -> bool:
        """Everything is typed."""
        return not self.typist.todo

    @property
    def ahead(self) -> str:
        """The text to type next; empty if the line must be corrected first."""
        typist = self.typist
        if not self._unsettled:
            return typist.todo
        if typist.closed and f"\n{typist.todo}".startswith(typist.closed):
            return ""
        blanks = self._blanks()
        return typist.todo[len(blanks) :] if typist.todo.startswith(blanks) else ""

    def press(self) -> None:
        """Press the next key."""
        self.keys += 1
        if self._unsettled and self._settle():
            return
        if self.typist.to_line_end:
            self.typist.type(1)
        elif self.typist.todo:
            self._enter()

    def take(self, part: str) -> None:
        """Accept a part of a completion that agrees with the text to type."""
        self.keys += 1
        if self._unsettled:
            self.typist.todo = self.ahead
            self._unsettled = False
        self.typist.take(len(part))

    def _enter(self) -> None:
        self.typist.enter()
        settled = replace(self.typist)
        settled.settle()
        if (settled.before, settled.closed) == (self.typist.before, self.typist.closed):
            self.typist.todo = settled.todo
        else:
            self._unsettled = True

    def _settle(self) -> bool:
        """Correct the line; return True if that takes a key. Blanks on an empty line are removed by the editor."""
        closed = self.typist.closed
        self.typist.settle()
        self._unsettled = False
        return bool(self.typist.to_line_end) or self.typist.closed != closed

    def _blanks(self) -> str:
        before = self.typist.before
        return before[len(before.rstrip(" \t")) :]


def right_part(shown: str, person: SimulatedTypist, least: Part = "word") -> tuple[Part, str] | None:
    """Return the largest right part of a completion, at least ``least``, or None.

    A part that repeats what the editor has closed is not right.
    """
    ahead, closed = person.ahead, person.typist.closed
    parts: dict[Part, str] = {"whole": shown, "line": _first(_LINE, shown), "word": _first(_WORD, shown)}
    for how in PARTS[: PARTS.index(least) + 1]:
        part = parts[how]
        if len(part) >= SHORTEST_PART and ahead.startswith(part) and suffix_start(part, closed) is None:
            return how, part
    return None


def keys_without_completions(typist: TypedText) -> int:
    """Return the keys needed without completions."""
    person = SimulatedTypist(replace(typist))
    while not person.done:
        person.press()
    return person.keys


def random_text_to_type(text: str, characters: int, random: Random) -> TypedText | None:
    """Choose a random line of code and remove ``characters`` from there on, up to the end of the last line.

    Return None if the text is too short. It must have LF line ends.
    """
    lines = text.split("\n")
    begins = list(accumulate((len(line) + 1 for line in lines), initial=0))
    starts = [begins[n] + len(lines[n]) - len(lines[n].lstrip()) for n in lines_to_write(text)]
    starts = [start for start in starts if start + characters <= len(text.rstrip())]
    if not starts:
        return None
    start = random.choice(starts)
    end = text.find("\n", start + characters - 1)
    end = end if end >= 0 else len(text)
    return TypedText(text[:start], text[start:end].rstrip(), text[end:])


def _first(part: re.Pattern[str], text: str) -> str:
    found = part.match(text)
    return found.group() if found else ""
