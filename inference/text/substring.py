"""Search for a string in text that arrives in parts, in constant time per character.

Source: Knuth, Morris and Pratt 1977, "Fast Pattern Matching in Strings".
"""

from __future__ import annotations

from collections.abc import Iterator


class SubstringSearch:
    """One pattern, looked for in a growing text. The text itself is not kept.

    The table of borders grows with the longest match so far. So an untrusted pattern costs nothing until it matches.

    Attributes:
        matched: characters at the end of the text that are the beginning of the pattern.
    """

    def __init__(self, pattern: str) -> None:
        """Look for ``pattern``, which must not be empty."""
        self.pattern = pattern
        self.matched = 0
        self._borders = [0]

    def feed(self, part: str) -> Iterator[int]:
        """Yield the index in ``part`` after each occurrence that ends there. Exhaust it before the next part."""
        at = 0
        while at < len(part):
            if not self.matched:
                at = part.find(self.pattern[0], at)
                if at < 0:
                    return
            self._advance(part[at])
            at += 1
            if self.matched == len(self.pattern):
                yield at
                self.matched = self._border(self.matched)

    def _advance(self, char: str) -> None:
        while self.matched and self.pattern[self.matched] != char:
            self.matched = self._border(self.matched)
        self.matched += self.pattern[self.matched] == char

    def _border(self, length: int) -> int:
        """The longest proper prefix of the pattern's first ``length`` characters that also ends them."""
        pattern, borders = self.pattern, self._borders
        while len(borders) < length:
            char, border = pattern[len(borders)], borders[-1]
            while border and pattern[border] != char:
                border = borders[border - 1]
            borders.append(border + (pattern[border] == char))
        return borders[length - 1]
