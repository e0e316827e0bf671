"""Answers already given, for wherever they still hold. Pure: knows no engine, no time and no editor.

An answer proposes a document: what stood before the cursor, the answer, what stood after. It holds as long as what has
been typed since is its beginning and, if an editor closed brackets meanwhile, what they are is in it. All else that the
model saw must be as it was, to the last blank: whatever stands around the cursor is part of the key, in full, and so is
what it was shown of other files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from inference.models.adapter_store import Stamp
from inference.text.prompts import Snippet
from inference.text.stopping import suffix_start
from lsp_server.completion.confidence import TokenProbabilities
from lsp_server.completion.trace import Source
from lsp_server.settings import CompletionSettings

MOST_ANSWERS = 200
MOST_CHARACTERS = 4_000_000
"""All the text that is kept with answers; the oldest answers go first."""

LANDMARK = 32
"""Characters next to the cursor by which a place is looked for before all of it is compared."""
LONGEST_TYPED = 400
"""Of a running answer: what can have been typed while it was written."""
LONGEST_CLOSED = 80
LEAST_AFTER = 200
"""What stands right behind the cursor counts also where the model is not shown it: shaping looks at it."""

CLOSED = re.compile(r"[)\]}>\"'`\s]*")
"""What an editor may have put behind the cursor by itself."""


@dataclass(frozen=True, slots=True)
class Scope:
    """All an answer depends on but the text around the cursor. Other ``settings`` make other answers, for instance.

    Attributes:
        edition: of the adapter, which keeps its name when it is trained anew.
        context: what the model is shown of other files.
    """

    uri: str
    language: str
    model: str
    adapter: str
    settings: CompletionSettings
    edition: Stamp = ()
    context: tuple[Snippet, ...] = ()

    @property
    def before(self) -> int:
        """How many characters before the cursor count."""
        return max(self.settings.prefix_chars, 1)

    @property
    def after(self) -> int:
        """How many after it."""
        return max(self.settings.suffix_chars, LEAST_AFTER)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """A cursor in a document: ``before`` and ``after`` it."""

    scope: Scope
    before: str
    after: str

    def remembered(self) -> CacheKey:
        """With as much of the document as the model can have been shown."""
        return CacheKey(self.scope, self.before[-self.scope.before :], self.after[: self.scope.after])


class Since(NamedTuple):
    """What happened at the cursor since an answer was asked for: text typed, and closers put behind it."""

    typed: str
    closed: str


class Hit(NamedTuple):
    """An answer that holds here; ``text`` is what is left of it, ``why`` says why there is none."""

    text: str
    source: Source
    why: str = ""


@dataclass(frozen=True, slots=True)
class CachedCompletion:
    """What was, or would have been, shown at a place; ``text`` is empty where nothing was to be.

    Attributes:
        why: nothing was to be shown.
        cut: it ended because time was up: who has more may get more.
        doubted: the model was not sure enough of it for it to be shown unasked; it may be of what is left of its first
            line, once some of that is typed.
    """

    place: CacheKey
    text: str
    why: str = ""
    cut: bool = False
    doubted: TokenProbabilities | None = None


class Cache:
    """The answers given last. What is found becomes the newest."""

    def __init__(self, most_answers: int = MOST_ANSWERS, most_characters: int = MOST_CHARACTERS) -> None:
        self._most_answers, self._most_characters = most_answers, most_characters
        self._answers: list[CachedCompletion] = []  # oldest first
        self._characters = 0

    def __len__(self) -> int:
        return len(self._answers)

    def put(
        self, place: CacheKey, text: str, why: str = "", *, cut: bool = False, doubted: TokenProbabilities | None = None
    ) -> None:
        """Remember an answer, instead of any other for the same place. One that is cut and empty says nothing."""
        kept = place.remembered()
        for answer in [a for a in self._answers if a.place == kept]:
            self._drop(answer)
        if cut and not text:
            return
        self._answers.append(CachedCompletion(kept, text, why, cut, doubted))
        self._characters += _size(self._answers[-1])
        self._make_room()

    def put_beside(self, place: CacheKey, text: str) -> None:
        """Remember another answer for a place that has one: for who goes on with this instead of that."""
        answer = CachedCompletion(place.remembered(), text)
        if not any((known.place, known.text) == (answer.place, text) for known in self._answers):
            self._answers.insert(max(len(self._answers) - 1, 0), answer)
            self._characters += _size(answer)
            self._make_room()

    def find(self, place: CacheKey, *, by_hand: bool = False) -> Hit | None:
        """The newest answer that holds at ``place``. ``by_hand``: only one that says something and was not cut."""
        for answer in reversed(self._answers):
            if by_hand and (answer.cut or not answer.text):
                continue
            hit = _held(answer, place, 0.0 if by_hand else place.scope.settings.min_confidence)
            if hit is not None:
                self._answers.remove(answer)
                self._answers.append(answer)
                return hit
        return None

    def _make_room(self) -> None:
        while len(self._answers) > self._most_answers or self._characters > self._most_characters:
            self._drop(self._answers[0])

    def _drop(self, answer: CachedCompletion) -> None:
        self._answers.remove(answer)
        self._characters -= _size(answer)


def may_become(origin: CacheKey, now: CacheKey, so_far: str) -> bool:
    """Can an answer for ``origin`` that begins with ``so_far`` still hold at ``now``?"""
    return any(
        so_far.startswith(since.typed) or since.typed.startswith(so_far) for since in _since(origin, now, LONGEST_TYPED)
    )


def on_the_way(now: CacheKey, goal: CacheKey) -> bool:
    """Can typing on at ``now`` lead to ``goal``?"""
    return any(True for _ in _since(now.remembered(), goal, LONGEST_TYPED))


def _held(answer: CachedCompletion, place: CacheKey, least: float) -> Hit | None:
    doubted = answer.doubted
    for since in _since(answer.place, place, len(answer.text)):
        left, typed = rest(answer.text, since), len(since.typed)
        if doubted and typed >= doubted.line:
            continue
        if left or (left == "" and not answer.text):
            shown = left if not doubted or doubted.after(typed) >= least else ""
            return Hit(shown, "typed" if since.typed or since.closed else "same", "" if shown else answer.why)
    return None


def rest(text: str, since: Since) -> str | None:
    """What is left of ``text``, if it begins with what was typed and has what was closed in it; else None.

    It is left up to the closers, where nothing else opened them: they stand there already.
    """
    if not text.startswith(since.typed):
        return None
    left, closed = text[len(since.typed) :], since.closed
    if not closed:
        return left
    if closed.strip() and "\n" not in closed:
        end = suffix_start(left, closed)
        if end is not None:
            return left[:end]
    return left[: -len(closed)] if left.endswith(closed) else None


def _since(origin: CacheKey, now: CacheKey, longest: int) -> Iterator[Since]:
    """All ways in which typing, and an editor's closing of brackets, lead from ``origin`` to ``now``."""
    if origin.scope != now.scope:
        return
    for typed in _typed(origin, now, longest):
        for closed in _closed(origin, now):
            yield Since(typed, closed)


def _typed(origin: CacheKey, now: CacheKey, longest: int) -> Iterator[str]:
    """Of places within a text that repeats itself, the nearest first."""
    limit = now.scope.before
    mark = origin.before[-LANDMARK:]
    first = max(len(now.before) - longest, 0)
    cut = len(now.before)
    while (at := now.before.rfind(mark, max(first - len(mark), 0), cut)) >= 0:
        cut = at + len(mark)
        known = len(origin.before)
        if now.before.endswith(origin.before, 0, cut) and known in (limit, cut):
            yield now.before[cut:]
        if cut == 0:
            return
        cut -= 1


def _closed(origin: CacheKey, now: CacheKey) -> Iterator[str]:
    limit = now.scope.after
    for length in range(min(LONGEST_CLOSED, len(now.after)) + 1):
        closed = now.after[:length]
        if not CLOSED.fullmatch(closed):
            return
        known = len(origin.after)
        if now.after.startswith(origin.after, length) and (known == limit or known == len(now.after) - length):
            yield closed


def _size(answer: CachedCompletion) -> int:
    place = answer.place
    context = sum(len(chunk.text) for chunk in place.scope.context)
    return len(place.before) + len(place.after) + len(answer.text) + context
