"""Track suggestions: how much of each was accepted or typed, and whether accepted text is kept.

Some clients report what they show and accept, or run the item's command. For the others the document decides: a change
that brings more text than can be typed at once was accepted, the rest was typed. A suggestion that continues while the
user types or accepts a part of it is one suggestion and one row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from secrets import randbits
from typing import NamedTuple, Protocol

from lsp_server.completion.cache import AUTO_CLOSED
from lsp_server.completion.trace import TraceRecord
from lsp_server.snapshot import Snapshot
from lsp_server.usage_statistics.storage import SuggestionRow

LONGEST_TYPED = 3
"""Non-blank characters in one change that count as typed: editors collect keys for up to a quarter of a second."""
KEPT_AFTER = 30.0
"""Seconds after which accepted text is checked."""
KNOWN = 8
"""Suggestions that a late report may refer to."""


@dataclass
class AcceptedText:
    """Accepted text, followed through later edits of its document.

    Attributes:
        start: offset of ``text`` in ``document``, in characters.
    """

    text: str
    start: int
    document: str

    def follow(self, document: str) -> None:
        """Update the offset for a new version of the document. A change that covers it moves it to its own start."""
        same = _common_start(self.document, document)
        stop = len(self.document) - _common_end(self.document, document, same)
        if self.start >= stop:
            self.start += len(document) - len(self.document)
        else:
            self.start = min(self.start, same)
        self.document = document

    def is_kept(self) -> bool:
        """Return True if the text is within its own length of the offset, ignoring blanks (formatters change them)."""
        length = len(self.text)
        before = self.document[max(self.start - length, 0) : self.start]
        after = _without_blanks(self.document[self.start : self.start + 4 * length])[: 2 * length]
        return _without_blanks(self.text) in _without_blanks(before) + after


@dataclass(eq=False)
class Suggestion:
    """A suggestion at a cursor, and how much of it has appeared in the document.

    Attributes:
        row: its row in the statistics.
        before: the document before the cursor when it was first offered.
        after: the document after the cursor.
        texts: the displayed text and its alternatives, from ``before`` on.
        document: the document as last observed.
        reached: how many characters of the text have appeared in the document.
        written: the row as last written, if it was.
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
    _grown: bool = False  # text has appeared since the client's last report
    _fresh: int = 0  # characters of that text which are counted as typed

    @property
    def inserted(self) -> str:
        """The part of the text that has appeared in the document."""
        return self._text[: self.reached]

    def continues(self, before: str, after: str, texts: Sequence[str]) -> bool:
        """Return True if ``texts`` are the rest of this suggestion at a later cursor; they replace its texts then."""
        typed = before[len(self.before) :]
        if not before.startswith(self.before) or not any(text.startswith(typed + texts[0]) for text in self.texts):
            return False
        self.after, self.texts = after, tuple(typed + text for text in texts)
        return True

    def observe(self, document: str) -> bool:
        """Update from the document. Return True if more of the suggestion is in it than ever before."""
        self.document = document
        lengths = {text: self._inserted_length(text) for text in self.texts}
        text = max(self.texts, key=lambda text: (lengths[text], lengths[text] == len(text)))
        reached = lengths[text]
        if reached <= self.reached:
            return False
        added = "".join(text[self.reached : reached].split())
        self._reach(text, reached, taken=len(added) > LONGEST_TYPED)
        self._grown = True
        return True

    def accept(self, number: int) -> None:
        """Record the client's report that the rest of text ``number`` was accepted."""
        text = self._numbered(number)
        if self.reached < len(text):
            self._fresh = 0  # what appeared last was typed before
        self._take(text, len(text))

    def accept_part(self, number: int, characters: int) -> None:
        """Record the client's report that the next ``characters`` were accepted.

        If the document has already changed, the length found there counts instead.
        """
        text = self._numbered(number)
        self._take(text, self.reached if self._grown else min(self.reached + characters, len(text)))

    def _inserted_length(self, text: str) -> int:
        """Return how many characters of ``text`` are in the document, ignoring brackets that the editor closed."""
        document, room = self.document, len(self.document) - len(self.before) - len(self.after)
        if room < 0 or not document.startswith(self.before) or not document.endswith(self.after):
            return 0
        between = document[len(self.before) : len(self.before) + room]
        same = _common_start(between, text)
        return same if AUTO_CLOSED.fullmatch(between, same) else 0

    def _take(self, text: str, reached: int) -> None:
        fresh, self._fresh, self._grown = self._fresh, 0, False
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


class Timer(Protocol):
    """A scheduled call that can be cancelled."""

    def cancel(self) -> None: ...


class _Followed(NamedTuple):
    uri: str
    accepted: AcceptedText
    timer: Timer


def _call_later(seconds: float, action: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, action)


class SuggestionWatch:
    """Tracks the suggestions of one editor session.

    Attributes:
        write: called with each row, and True if it is new.
        later: calls a function after some seconds, like an event loop's ``call_later``.
        now: the wall clock, in seconds since 1970.
        reported: the client reports what it shows; otherwise every offered suggestion counts as shown.
    """

    def __init__(
        self,
        write: Callable[[SuggestionRow, bool], None],
        later: Callable[[float, Callable[[], None]], Timer] = _call_later,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.write, self.later, self.now = write, later, now
        self.reported = False
        self._offered: dict[str, Suggestion] = {}  # the newest per document
        self._known: dict[int, Suggestion] = {}
        self._followed: dict[int, _Followed] = {}

    def offer(self, snapshot: Snapshot, texts: Sequence[str], record: TraceRecord, model: str) -> list[str]:
        """Track ``texts``, which the client is about to show at ``snapshot``. Return an id for each."""
        suggestion = self._offered.get(snapshot.uri)
        if suggestion is None or not suggestion.continues(snapshot.before, snapshot.after, texts):
            at, length = self.now(), len(texts[0])
            language = snapshot.language.encode(errors="replace").decode()  # SQLite rejects lone surrogates
            row = SuggestionRow(randbits(62), at, language, model, record.invoked, round(record.total_ms, 1), length)
            suggestion = Suggestion(row, snapshot.uri, snapshot.before, snapshot.after, tuple(texts))
        self._remember(suggestion)
        if not self.reported:
            self._write(suggestion)
        return [f"{suggestion.row.id:x}.{number}" for number in range(len(texts))]

    def shown(self, item: str) -> None:
        """Record that the client shows the item with this id. Unknown ids are ignored here and below."""
        suggestion, _ = self._find(item)
        if suggestion is not None:
            self._write(suggestion)

    def accepted(self, item: str) -> None:
        """Record that the rest of an item was accepted."""
        suggestion, number = self._find(item)
        if suggestion is not None:
            suggestion.accept(number)
            self._after_report(suggestion)

    def partly_accepted(self, item: str, characters: int = 0) -> None:
        """Record that a part was accepted; ``characters`` of it if the document has not changed yet."""
        suggestion, number = self._find(item)
        if suggestion is not None:
            suggestion.accept_part(number, characters)
            self._after_report(suggestion)

    def watches(self, uri: str) -> bool:
        """Return True if changes of this document are of interest."""
        return uri in self._offered or any(followed.uri == uri for followed in self._followed.values())

    def changed(self, uri: str, document: str) -> None:
        """Update from a document's new text, with LF line ends."""
        for followed in self._followed.values():
            if followed.uri == uri:
                followed.accepted.follow(document)
        suggestion = self._offered.get(uri)
        if suggestion is None or suggestion.written is None:
            return
        taken = suggestion.row.taken
        if suggestion.observe(document):
            if suggestion.row.taken > taken:
                self._follow(suggestion)
            self._write(suggestion)

    def closed(self, uri: str) -> None:
        """Stop tracking a closed document."""
        self._offered.pop(uri, None)
        self._known = {id_: one for id_, one in self._known.items() if one.uri != uri}
        for id_ in [id_ for id_, followed in self._followed.items() if followed.uri == uri]:
            self._followed.pop(id_).timer.cancel()

    def forget(self) -> None:
        """Stop tracking everything: the session ends, or statistics are disabled."""
        for uri in {one.uri for one in (*self._known.values(), *self._offered.values(), *self._followed.values())}:
            self.closed(uri)

    def _remember(self, suggestion: Suggestion) -> None:
        self._known.pop(suggestion.row.id, None)  # the newest comes last
        self._offered[suggestion.uri] = self._known[suggestion.row.id] = suggestion
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def _find(self, item: str) -> tuple[Suggestion | None, int]:
        name, _, number = item.partition(".")
        try:
            return self._known.get(int(name, 16)), int(number)
        except ValueError:
            return None, 0

    def _after_report(self, suggestion: Suggestion) -> None:
        if suggestion.row.taken:
            self._follow(suggestion)
        self._write(suggestion)

    def _follow(self, suggestion: Suggestion) -> None:
        """Check the accepted text ``KEPT_AFTER`` seconds after the last part of it was accepted."""
        earlier = self._followed.pop(suggestion.row.id, None)
        if earlier is not None:
            earlier.timer.cancel()
        document = suggestion.document or suggestion.before + suggestion.after
        accepted = AcceptedText(suggestion.inserted, len(suggestion.before), document)
        timer = self.later(KEPT_AFTER, lambda: self._check_kept(suggestion))
        self._followed[suggestion.row.id] = _Followed(suggestion.uri, accepted, timer)
        suggestion.row = replace(suggestion.row, kept=None)

    def _check_kept(self, suggestion: Suggestion) -> None:
        accepted = self._followed.pop(suggestion.row.id).accepted
        suggestion.row = replace(suggestion.row, kept=accepted.is_kept())
        self._write(suggestion)

    def _write(self, suggestion: Suggestion) -> None:
        if suggestion.row != suggestion.written:
            self.write(suggestion.row, suggestion.written is None)
            suggestion.written = suggestion.row


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def _common_start(one: str, other: str) -> int:
    """Return the length of the common prefix, by bisection: slices of long documents compare fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(one: str, other: str, start: int) -> int:
    """Return the length of the common suffix behind ``start``."""
    low, high = 0, min(len(one), len(other)) - start
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low
