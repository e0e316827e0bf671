"""The suggestions in front of a person, watched until it is clear what became of them. Knows no LSP and no file.

A suggestion that goes on as the person types it, or accepts a part, is one suggestion and one row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from secrets import randbits
from typing import NamedTuple, Protocol

from lsp_server.completion.trace import Record
from lsp_server.snapshot import Snapshot
from lsp_server.statistics.piece import Piece
from lsp_server.statistics.row import Row
from lsp_server.statistics.suggestion import Suggestion

KEPT_AFTER = 30.0
"""Seconds after which accepted text is looked for."""
KNOWN = 8
"""Suggestions that a late report may be about."""


class Timer(Protocol):
    """What can be called off."""

    def cancel(self) -> None: ...


class _Followed(NamedTuple):
    uri: str
    piece: Piece
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
        write: Callable[[Row, bool], None],
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
            row = Row(randbits(62), at, language, model, record.invoked, round(record.total_ms, 1), length)
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
        piece = Piece(found.standing, len(found.before), found.document or found.before + found.after)
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
