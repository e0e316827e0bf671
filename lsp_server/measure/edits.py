"""Recorded edits: a stretch of a real file, and what becomes of it when it is rewritten as a code action would.

Pure and deterministic, like the trace. One word is renamed throughout, and in each block of lines one goes or a line
from elsewhere in the file comes, which no draft can know. Knows no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from inference.text.source import SourceFile

FEWEST, MOST = 60, 200
"""Lines of a stretch."""
BLOCK = 20
"""Lines of which one goes, or before one of which another comes."""
RENAMED = range(3, 9)
"""How often the word that is renamed may stand in the stretch."""
WORD = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]{3,}\b")


@dataclass(frozen=True, slots=True)
class Edit:
    """Text ``before`` and ``after``, whole lines both."""

    before: str
    after: str

    @property
    def lines(self) -> int:
        """Of what is rewritten."""
        return self.before.count("\n")


def make_edits(files: Sequence[SourceFile], seed: int = 0, most: int = MOST) -> Iterator[Edit]:
    """One edit of each file that is long enough, in turn, each time of other stretches; none where no file is.

    Stretches have at most so many lines as ``most`` says.
    """
    dice = Random(seed)
    usable = [lines for file in files if len(lines := file.text.splitlines()) >= FEWEST]
    while usable:
        for lines in usable:
            yield _edit(lines, most, dice)


def _edit(lines: Sequence[str], most: int, dice: Random) -> Edit:
    count = dice.randint(FEWEST, min(most, len(lines)))
    start = dice.randint(0, len(lines) - count)
    stretch = lines[start : start + count]
    elsewhere = [line for line in (*lines[:start], *lines[start + count :]) if line.strip()]
    return Edit(_joined(stretch), _renamed(_joined(_changed(stretch, elsewhere, dice)), dice))


def _changed(stretch: Sequence[str], elsewhere: Sequence[str], dice: Random) -> list[str]:
    """In each block one line goes or, if there is a line elsewhere, that comes; which of both, the dice say."""
    kept: list[str] = []
    for start in range(0, len(stretch), BLOCK):
        block = list(stretch[start : start + BLOCK])
        at = dice.randrange(len(block))
        if elsewhere and dice.random() < 0.5:
            block.insert(at, dice.choice(elsewhere))
        else:
            del block[at]
        kept += block
    return kept


def _renamed(text: str, dice: Random) -> str:
    """One word becomes longer wherever it stands; of those that stand there a few times, any."""
    words = [word for word, times in Counter(WORD.findall(text)).items() if times in RENAMED]
    if not words:
        return text
    word = dice.choice(words)
    return re.sub(rf"\b{word}\b", f"{word}_of_{dice.choice(words)}", text)


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
