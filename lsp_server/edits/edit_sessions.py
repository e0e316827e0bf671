"""Edits under way: what was proposed for a document, hunk by hunk, and what is left of it as hunks are taken or not.

Pure but for the task that is at work. Knows no LSP: hunks have numbers, and offsets into the session's document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from inference.text.prompts import Message
from lsp_server.concurrency import cancel_once
from lsp_server.edits.hunks import Hunk, applied, each, moved, rebased
from lsp_server.edits.rewrite import CouldNotError
from lsp_server.edits.target import selected_lines
from lsp_server.snapshot import Document

MOST_SESSIONS = 50
"""In a window; beyond, the oldest is forgotten."""

CHANGED = "The document was changed in the same lines meanwhile."


@dataclass(eq=False)
class EditSession:
    """One edit of one place.

    Attributes:
        document: as it is to be now, with what was accepted; ``hunks`` and ``place`` refer to it.
        place: what may change; None once a person has changed it too.
        said: the conversation with the model so far.
        work: the request that waits for the model.
        turn: held while something is being decided: hunks applied or dropped, or others proposed in their place.
    """

    id: str
    document: Document
    place: tuple[int, int] | None
    said: tuple[Message, ...] = ()
    hunks: dict[int, Hunk] = field(default_factory=dict)
    work: asyncio.Task[object] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _numbered: int = 0

    def propose(self, document: Document, hunks: Sequence[Hunk]) -> None:
        """In place of what was proposed before; each gets a number that none had before."""
        written = selected_lines(document.text, hunks[0].start, hunks[-1].stop)
        self.place = self._moved(document) or written
        self.hunks = dict(enumerate(hunks, self._numbered))
        self._numbered += len(hunks)
        self.document = document

    def follow(self, now: Document) -> tuple[int, int]:
        """What may change, in the document as it is now. Raises CouldNotError where a person has changed it too."""
        place, left = self._along(self.hunks, now)
        if place is None:
            raise CouldNotError(f"{CHANGED} Begin a new edit.")
        self.place, self.hunks, self.document = place, left, now
        return place

    def to_apply(self, chosen: Collection[int], now: Document) -> list[Hunk]:
        """Some of the hunks, in the document as it is now. Raises CouldNotError where their lines have changed."""
        hunks = [hunk for n, hunk in self.hunks.items() if n in chosen]
        found = rebased(self.document.text, hunks, now.text)
        if found is None:
            raise CouldNotError(CHANGED)
        return found

    def accept(self, chosen: Collection[int], now: Document, taken: Sequence[Hunk]) -> None:
        """They have been applied to ``now``, as ``taken``. Of the others those go that can't be told apart any more."""
        others = {n: hunk for n, hunk in self.hunks.items() if n not in chosen}
        (place, left), growth = self._along(others, now), sum(map(_growth, taken))
        self.hunks = {n: _behind(hunk, taken) for n, hunk in left.items()}
        self.place = (place[0], place[1] + growth) if place else None
        self.document = replace(now, text=applied(now.text, taken), version=None)  # the client counts it anew

    def reject(self, chosen: Collection[int]) -> None:
        """They are not wanted."""
        self.hunks = {n: hunk for n, hunk in self.hunks.items() if n not in chosen}

    def _moved(self, now: Document) -> tuple[int, int] | None:
        return moved(self.document.text, *self.place, now.text) if self.place else None

    def _along(self, hunks: Mapping[int, Hunk], now: Document) -> tuple[tuple[int, int] | None, dict[int, Hunk]]:
        """The place and those hunks that can be found again."""
        asked = [*hunks.values(), *([Hunk(*self.place, "")] if self.place else [])]
        found = each(self.document.text, asked, now.text)
        place = found.pop() if self.place else None
        left = {n: hunk for n, hunk in zip(hunks, found, strict=True) if hunk is not None}
        return (place.start, place.stop) if place else None, left

    def stop_work(self) -> None:
        """Leave the model alone."""
        if self.work is not None:
            cancel_once(self.work)


class EditSessions:
    """Those of a window, by id."""

    def __init__(self) -> None:
        self._open: dict[str, EditSession] = {}

    def open(self, session: EditSession) -> None:
        """Raises ValueError where its id is taken."""
        if session.id in self._open:
            raise ValueError(f"There is an edit '{session.id}' already.")
        self._open[session.id] = session
        while len(self._open) > MOST_SESSIONS:
            self.forget(next(iter(self._open)))

    def find(self, id_: str) -> EditSession | None:
        """None of one that is over."""
        return self._open.get(id_)

    def forget(self, id_: str) -> None:
        """It is over; what waits for the model for it does not any more."""
        if (session := self._open.pop(id_, None)) is not None:
            session.stop_work()

    def closed(self, uri: str) -> None:
        """All edits of a document are over."""
        for id_ in [id_ for id_, session in self._open.items() if session.document.uri == uri]:
            self.forget(id_)


def _behind(hunk: Hunk, taken: Sequence[Hunk]) -> Hunk:
    by = _grown(hunk.start, taken)
    return replace(hunk, start=hunk.start + by, stop=hunk.stop + by)


def _grown(offset: int, taken: Sequence[Hunk]) -> int:
    """How much further on what stands at ``offset`` stands once ``taken`` are applied."""
    return sum(_growth(one) for one in taken if one.stop <= offset)


def _growth(hunk: Hunk) -> int:
    return len(hunk.new) - (hunk.stop - hunk.start)
