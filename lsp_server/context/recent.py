"""Where the person was at work before: the regions they have just left. Pure; knows no LSP.

A request for a completion says where the person is. A region is remembered when they go on to another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

REGIONS = 16
AROUND = 12
"""Lines above and below the cursor that make a region."""
FAR = 32
"""Lines beyond which the cursor is somewhere else."""


@dataclass(frozen=True, slots=True)
class Region:
    """Lines of a document; ``uri`` names it."""

    uri: str
    line: int
    text: str


@dataclass
class Recent:
    """The regions left last, newest first."""

    regions: deque[Region] = field(default_factory=lambda: deque(maxlen=REGIONS))
    _here: Region | None = None

    def at(self, uri: str, line: int, text: str) -> None:
        """The person is at ``line`` of a document whose text is ``text``."""
        here = self._here
        if here is not None and (here.uri != uri or abs(here.line - line) > FAR):
            self._remember(here)
        lines = text.split("\n")
        self._here = Region(uri, line, "\n".join(lines[max(line - AROUND, 0) : line + AROUND + 1]))

    def forget(self, uri: str) -> None:
        """The document is closed."""
        self.regions = deque((region for region in self.regions if region.uri != uri), maxlen=REGIONS)
        if self._here is not None and self._here.uri == uri:
            self._here = None

    def _remember(self, region: Region) -> None:
        """Instead of what was remembered of the same place."""
        others = [old for old in self.regions if old.uri != region.uri or abs(old.line - region.line) > AROUND]
        self.regions = deque([region, *others][:REGIONS], maxlen=REGIONS)
