"""Text that was accepted, followed through the edits after it: does it still stand there? Pure; knows no time.

One suggestion and how far it has come to stand in the document. Pure: knows no time, no editor and no file.

Clients say that something was accepted, or run the item's command. Where they do neither, the document tells: what
comes by one change and is longer than one could have typed meanwhile was taken, the rest was typed.

The suggestions in front of a person, watched until it is clear what became of them. Knows no LSP and no file.

A suggestion that goes on as the person types it, or accepts a part, is one suggestion and one row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from secrets import randbits
from typing import NamedTuple, Protocol

from lsp_server.completion.cache import CLOSED
from lsp_server.completion.trace import Record
from lsp_server.snapshot import Snapshot
from lsp_server.usage_statistics.storage import SuggestionRow


@dataclass
class AcceptedText:
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

    row: SuggestionRow
    uri: str
    before: str
    after: str
    texts: tuple[str, ...]
    document: str = ""
    reached: int = 0
    written: SuggestionRow | None = None
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


KEPT_AFTER = 30.0
"""Seconds after which accepted text is looked for."""
KNOWN = 8
"""Suggestions that a late report may be about."""


class Timer(Protocol):
    """What can be called off."""

    def cancel(self) -> None: ...


class _Followed(NamedTuple):
    uri: str
    piece: AcceptedText
    timer: Timer


def _on_the_loop(seconds: float, action: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, action)


class Watch:
    """All of one window.

    Attributes:
        write: is told each row, and whether it is a new one.
        later: calls a function after some seconds, as an event loop's ``call_later`` does; ``now`` is the wall clock.
        reported: the client says what it shows; else whatever is offered counts as shown.
    """

    def __init__(
        self,
        write: Callable[[SuggestionRow, bool], None],
        later: Callable[[float, Callable[[], None]], Timer] = _on_the_loop,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.write, self.later, self.now = write, later, now
        self.reported = False
        self._offered: dict[str, Suggestion] = {}  # the newest of each document
        self._known: dict[int, Suggestion] = {}
        self._followed: dict[int, _Followed] = {}

    def offer(self, snapshot: Snapshot, texts: Sequence[str], record: Record, model: str) -> list[str]:
        """An id for each of ``texts``, one or more, which the client is about to show at ``snapshot``."""
        found = self._offered.get(snapshot.uri)
        if found is None or not found.goes_on(snapshot.before, snapshot.after, texts):
            at, length = self.now(), len(texts[0])
            language = snapshot.language.encode(errors="replace").decode()  # a database takes no lone surrogates
            row = SuggestionRow(randbits(62), at, language, model, record.invoked, round(record.total_ms, 1), length)
            found = Suggestion(row, snapshot.uri, snapshot.before, snapshot.after, tuple(texts))
        self._remember(found)
        if not self.reported:
            self._keep(found)
        return [f"{found.row.id:x}.{number}" for number in range(len(texts))]

    def shown(self, item: str) -> None:
        """The client shows the item of this id. Ids that are not known (any more) are passed over, here and below."""
        found, _ = self._find(item)
        if found is not None:
            self._keep(found)

    def accepted(self, item: str) -> None:
        """All that was left of it was accepted."""
        found, number = self._find(item)
        if found is not None:
            found.accept(number)
            self._taken(found)

    def partly_accepted(self, item: str, characters: int = 0) -> None:
        """A part was accepted. ``characters`` says how much, where the document has not changed yet."""
        found, number = self._find(item)
        if found is not None:
            found.accept_part(number, characters)
            self._taken(found)

    def watches(self, uri: str) -> bool:
        """Does it matter here what becomes of this document?"""
        return uri in self._offered or any(followed.uri == uri for followed in self._followed.values())

    def changed(self, uri: str, document: str) -> None:
        """A document has this text now, with LF line ends."""
        for followed in self._followed.values():
            if followed.uri == uri:
                followed.piece.follow(document)
        found = self._offered.get(uri)
        if found is None or found.written is None:
            return
        taken = found.row.taken
        if found.look(document):
            if found.row.taken > taken:
                self._follow(found)
            self._keep(found)

    def closed(self, uri: str) -> None:
        """What was accepted there can't be looked for any more."""
        self._offered.pop(uri, None)
        self._known = {id_: found for id_, found in self._known.items() if found.uri != uri}
        for id_ in [id_ for id_, followed in self._followed.items() if followed.uri == uri]:
            self._followed.pop(id_).timer.cancel()

    def forget(self) -> None:
        """Everything: the window closes, or nothing is to be kept any more."""
        for uri in {one.uri for one in (*self._known.values(), *self._offered.values(), *self._followed.values())}:
            self.closed(uri)

    def _remember(self, found: Suggestion) -> None:
        self._known.pop(found.row.id, None)  # the newest stands at the end
        self._offered[found.uri] = self._known[found.row.id] = found
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def _find(self, item: str) -> tuple[Suggestion | None, int]:
        name, _, number = item.partition(".")
        try:
            return self._known.get(int(name, 16)), int(number)
        except ValueError:
            return None, 0

    def _taken(self, found: Suggestion) -> None:
        if found.row.taken:
            self._follow(found)
        self._keep(found)

    def _follow(self, found: Suggestion) -> None:
        """Look for what stands there of it, some time after the last of it was accepted."""
        before = self._followed.pop(found.row.id, None)
        if before is not None:
            before.timer.cancel()
        piece = AcceptedText(found.standing, len(found.before), found.document or found.before + found.after)
        timer = self.later(KEPT_AFTER, lambda: self._look_again(found))
        self._followed[found.row.id] = _Followed(found.uri, piece, timer)
        found.row = replace(found.row, kept=None)

    def _look_again(self, found: Suggestion) -> None:
        piece = self._followed.pop(found.row.id).piece
        found.row = replace(found.row, kept=piece.stands())
        self._keep(found)

    def _keep(self, found: Suggestion) -> None:
        if found.row != found.written:
            self.write(found.row, found.written is None)
            found.written = found.row
