"""Edit sessions: the hunks proposed for a document, and those still to be accepted or rejected."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from inference.text.prompts import Message
from lsp_server.concurrency import cancel_once
from lsp_server.edits.hunks import Hunk, apply_hunks, rebase_each, rebase_hunks, rebase_range
from lsp_server.edits.rewrite import EditError
from lsp_server.edits.target import selected_lines
from lsp_server.snapshot import Document

MOST_SESSIONS = 50
"""Open edits per editor session. Beyond it the oldest is dropped."""

CHANGED = "The document was changed in the same lines meanwhile."


@dataclass(eq=False)
class EditSession:
    """One edit of one range in a document.

    Attributes:
        document: the document with all accepted hunks. ``hunks`` and ``span`` refer to it.
        span: the range that may change; None after the user has changed it too.
        said: the messages exchanged with the model so far.
        hunks: the hunks still to be decided, by number.
        work: the request that is waiting for the model.
        turn: lock held while hunks are accepted, rejected or replaced.
    """

    id: str
    document: Document
    span: tuple[int, int] | None
    said: tuple[Message, ...] = ()
    hunks: dict[int, Hunk] = field(default_factory=dict)
    work: asyncio.Task[object] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _numbered: int = 0

    def propose(self, document: Document, hunks: Sequence[Hunk]) -> None:
        """Replace the proposed hunks. Numbers of earlier hunks are not reused."""
        lines = selected_lines(document.text, hunks[0].start, hunks[-1].stop)
        self.span = self._span_in(document) or lines
        self.hunks = dict(enumerate(hunks, self._numbered))
        self._numbered += len(hunks)
        self.document = document

    def follow(self, now: Document) -> tuple[int, int]:
        """Rebase on the current document and return the range that may change.

        Raises EditError if the user has changed it too.
        """
        span, left = self._rebased(self.hunks, now)
        if span is None:
            raise EditError(f"{CHANGED} Begin a new edit.")
        self.span, self.hunks, self.document = span, left, now
        return span

    def to_apply(self, chosen: Collection[int], now: Document) -> list[Hunk]:
        """Return the chosen hunks, rebased on the current document. Raises EditError if their lines have changed."""
        hunks = [hunk for n, hunk in self.hunks.items() if n in chosen]
        moved = rebase_hunks(self.document.text, hunks, now.text)
        if moved is None:
            raise EditError(CHANGED)
        return moved

    def accept(self, chosen: Collection[int], now: Document, taken: Sequence[Hunk]) -> None:
        """Record that the chosen hunks were applied to ``now`` as ``taken``. Drop others whose lines have changed."""
        others = {n: hunk for n, hunk in self.hunks.items() if n not in chosen}
        (span, left), growth = self._rebased(others, now), sum(map(_growth, taken))
        self.hunks = {n: _shifted(hunk, taken) for n, hunk in left.items()}
        self.span = (span[0], span[1] + growth) if span else None
        self.document = replace(now, text=apply_hunks(now.text, taken), version=None)  # set by the client

    def reject(self, chosen: Collection[int]) -> None:
        """Drop the chosen hunks."""
        self.hunks = {n: hunk for n, hunk in self.hunks.items() if n not in chosen}

    def _span_in(self, now: Document) -> tuple[int, int] | None:
        return rebase_range(self.document.text, *self.span, now.text) if self.span else None

    def _rebased(self, hunks: Mapping[int, Hunk], now: Document) -> tuple[tuple[int, int] | None, dict[int, Hunk]]:
        """Return the range and those of the hunks that can be rebased on ``now``."""
        old = [*hunks.values(), *([Hunk(*self.span, "")] if self.span else [])]
        new = rebase_each(self.document.text, old, now.text)
        span = new.pop() if self.span else None
        left = {n: hunk for n, hunk in zip(hunks, new, strict=True) if hunk is not None}
        return (span.start, span.stop) if span else None, left

    def stop_work(self) -> None:
        """Cancel the request that is waiting for the model."""
        if self.work is not None:
            cancel_once(self.work)


class EditSessions:
    """The open edits of one editor session, by id."""

    def __init__(self) -> None:
        self._open: dict[str, EditSession] = {}

    def open(self, session: EditSession) -> None:
        """Add an edit. Raises ValueError if its id is in use."""
        if session.id in self._open:
            raise ValueError(f"There is an edit '{session.id}' already. Use another id.")
        self._open[session.id] = session
        while len(self._open) > MOST_SESSIONS:
            self.forget(next(iter(self._open)))

    def find(self, id_: str) -> EditSession | None:
        """Return an open edit; None if it has ended."""
        return self._open.get(id_)

    def forget(self, id_: str) -> None:
        """End an edit and cancel its request."""
        if (session := self._open.pop(id_, None)) is not None:
            session.stop_work()

    def closed(self, uri: str) -> None:
        """End all edits of a document."""
        for id_ in [id_ for id_, session in self._open.items() if session.document.uri == uri]:
            self.forget(id_)


def _shifted(hunk: Hunk, taken: Sequence[Hunk]) -> Hunk:
    by = sum(_growth(one) for one in taken if one.stop <= hunk.start)
    return replace(hunk, start=hunk.start + by, stop=hunk.stop + by)


def _growth(hunk: Hunk) -> int:
    return len(hunk.new) - (hunk.stop - hunk.start)
