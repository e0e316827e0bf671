"""One suggestion and how far it has come to stand in the document. Pure: knows no time, no editor and no file.

Clients say that something was accepted, or run the item's command. Where they do neither, the document tells: what
comes by one change and is longer than one could have typed meanwhile was taken, the rest was typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lsp_server.completion.cache import CLOSED
from lsp_server.statistics.piece import common_start
from lsp_server.statistics.row import Row

LONGEST_TYPED = 3
"""Characters, but for blanks, that one change may bring and that were typed all the same: editors gather keys for up to
a quarter of a second."""


@dataclass(eq=False)
class Suggestion:
    """What is offered between ``before`` and ``after``, all the text around the cursor when it was first offered.

    Attributes:
        row: what is kept of it.
        texts: the one shown first and its alternatives, from ``before`` on.
        document: as last looked at, where it was.
        reached: how many characters of it have stood in the document.
        written: the row as it was last kept, if it was.
    """

    row: Row
    uri: str
    before: str
    after: str
    texts: tuple[str, ...]
    document: str = ""
    reached: int = 0
    written: Row | None = None
    _text: str = ""
    _came: bool = False  # something, since the client last reported
    _fresh: int = 0  # characters of it that are counted as typed

    @property
    def standing(self) -> str:
        """What of it has come to stand in the document."""
        return self._text[: self.reached]

    def goes_on(self, before: str, after: str, texts: Sequence[str]) -> bool:
        """Are ``texts`` what is left of it at another cursor? Then they are what is offered from now on."""
        typed = before[len(self.before) :]
        if not before.startswith(self.before) or not any(text.startswith(typed + texts[0]) for text in self.texts):
            return False
        self.after, self.texts = after, tuple(typed + text for text in texts)
        return True

    def look(self, document: str) -> bool:
        """Does more of it stand in ``document`` than ever before? Looks at nothing but what stands in its place."""
        self.document = document
        standing = {text: self._standing(text) for text in self.texts}
        text = max(self.texts, key=lambda text: (standing[text], standing[text] == len(text)))
        reached = standing[text]
        if reached <= self.reached:
            return False
        came = "".join(text[self.reached : reached].split())
        self._reach(text, reached, taken=len(came) > LONGEST_TYPED)
        self._came = True
        return True

    def accept(self, number: int) -> None:
        """The client says that the text of this number was accepted, all that was left of it."""
        text = self._numbered(number)
        if self.reached < len(text):
            self._fresh = 0  # what came last was no part of this
        self._take(text, len(text))

    def accept_part(self, number: int, characters: int) -> None:
        """The client says that the next ``characters`` were accepted; where the document has shown them, it is believed
        instead.
        """
        text = self._numbered(number)
        self._take(text, self.reached if self._came else min(self.reached + characters, len(text)))

    def _standing(self, text: str) -> int:
        """How many characters of ``text`` stand in its place, be it that the editor closed brackets behind them."""
        document, room = self.document, len(self.document) - len(self.before) - len(self.after)
        if room < 0 or not document.startswith(self.before) or not document.endswith(self.after):
            return 0
        between = document[len(self.before) : len(self.before) + room]
        same = common_start(between, text)
        return same if CLOSED.fullmatch(between, same) else 0

    def _take(self, text: str, reached: int) -> None:
        fresh, self._fresh, self._came = self._fresh, 0, False
        self.row = replace(self.row, taken=self.row.taken + fresh, typed=self.row.typed - fresh)
        self._reach(text, max(reached, self.reached), taken=True)

    def _reach(self, text: str, reached: int, *, taken: bool) -> None:
        more = reached - self.reached
        self._text, self.reached, self._fresh = text, reached, 0 if taken else more
        row = replace(self.row, characters=len(text))
        row = replace(row, taken=row.taken + more) if taken else replace(row, typed=row.typed + more)
        whole = reached >= len(text)
        if row.fate == "accepted" or (whole and taken):
            self.row = replace(row, fate="accepted")
        elif row.taken:
            self.row = replace(row, fate="partly")
        else:
            self.row = replace(row, fate="typed" if whole else "shown")

    def _numbered(self, number: int) -> str:
        return self.texts[number] if number < len(self.texts) else self.texts[0]
