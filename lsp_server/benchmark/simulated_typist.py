"""A person who knows what they want to write: types it key by key, and takes of a suggestion what is right.

Pure: no server, no time. Keys are counted as a keyboard has them: a character, Enter, one to put right what the editor
indented or to step over what it closed, one to take a suggestion or a part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random
from typing import Literal, get_args

from inference.text.stopping import suffix_start
from lsp_server.benchmark.editing_trace import TypedText, lines_to_write

How = Literal["whole", "line", "word"]
HOWS: tuple[How, ...] = get_args(How)
"""How much of a suggestion is taken; editors have a key for each."""

LEAST = 2
"""Characters below which a part is not worth the key that takes it."""

_LINE = re.compile(r"\n?[^\n]*")
_WORD = re.compile(r"\s*(?:\w+|[^\w\s]+)")


@dataclass
class SimulatedTypist:
    """Who writes what ``typist`` has to do.

    Attributes:
        keys: pressed so far.
    """

    typist: TypedText
    keys: int = 0
    _unsettled: bool = False
    """The editor has begun a line, and what it put there is not as it is to be."""

    @property
    def done(self) -> bool:
        """All is written."""
        return not self.typist.todo

    @property
    def ahead(self) -> str:
        """What is to be written from the cursor on; empty where something must be put right before."""
        typist = self.typist
        if not self._unsettled:
            return typist.todo
        if typist.closed and f"\n{typist.todo}".startswith(typist.closed):
            return ""
        blanks = self._blanks()
        return typist.todo[len(blanks) :] if typist.todo.startswith(blanks) else ""

    def press(self) -> None:
        """The next key."""
        self.keys += 1
        if self._unsettled and self._settle():
            return
        if self.typist.to_line_end:
            self.typist.type(1)
        elif self.typist.todo:
            self._enter()

    def take(self, part: str) -> None:
        """Take what is suggested, or the first part of it: what is to be written anyway."""
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
        """Whether that took a key: blanks on an empty line go by themselves."""
        closed = self.typist.closed
        self.typist.settle()
        self._unsettled = False
        return bool(self.typist.to_line_end) or self.typist.closed != closed

    def _blanks(self) -> str:
        before = self.typist.before
        return before[len(before.rstrip(" \t")) :]


def agreeing(shown: str, person: SimulatedTypist, least: How = "word") -> tuple[How, str] | None:
    """The most of a suggestion that is right, and worth a key; None where nothing is, not even the ``least``.

    What the editor has closed already is not wanted twice.
    """
    ahead, closed = person.ahead, person.typist.closed
    parts: dict[How, str] = {"whole": shown, "line": _first(_LINE, shown), "word": _first(_WORD, shown)}
    for how in HOWS[: HOWS.index(least) + 1]:
        part = parts[how]
        if len(part) >= LEAST and ahead.startswith(part) and suffix_start(part, closed) is None:
            return how, part
    return None


def keys_alone(typist: TypedText) -> int:
    """The keys that it takes to write all of it without a suggestion."""
    person = SimulatedTypist(replace(typist))
    while not person.done:
        person.press()
    return person.keys


def at_random(text: str, characters: int, random: Random) -> TypedText | None:
    """Someone who is to write so many ``characters``, and their line to its end, from a random line's first one on.

    None where no line of code has so many behind it. The text must have LF line ends.
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
