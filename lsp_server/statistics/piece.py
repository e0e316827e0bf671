"""Text that was accepted, followed through the edits after it: does it still stand there? Pure; knows no time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Piece:
    """``text``, at ``start`` (a number of characters) of ``document``."""

    text: str
    start: int
    document: str

    def follow(self, document: str) -> None:
        """The document is another now; what stood where it was changed is taken to begin at the change."""
        same = common_start(self.document, document)
        stop = len(self.document) - _common_end(self.document, document, same)
        if self.start >= stop:
            self.start += len(document) - len(self.document)
        else:
            self.start = min(self.start, same)
        self.document = document

    def stands(self) -> bool:
        """Is it there, not much farther away than it is long? Blanks don't count: formatters change them."""
        length = len(self.text)
        before = self.document[max(self.start - length, 0) : self.start]
        behind = _without_blanks(self.document[self.start : self.start + 4 * length])[: 2 * length]
        return _without_blanks(self.text) in _without_blanks(before) + behind


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def common_start(one: str, other: str) -> int:
    """How many characters both begin with. By halving, so that whole pieces are compared: these are documents."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(one: str, other: str, start: int) -> int:
    """Of what lies behind ``start`` in both."""
    low, high = 0, min(len(one), len(other)) - start
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low
