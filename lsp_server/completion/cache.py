"""Completion cache. Pure.

A cached completion predicts a document: the text before the cursor, the completion, the text after the cursor. It
stays valid while the user types along it. If the editor closed brackets meanwhile, they must occur in the completion.
Everything else that the model saw must be unchanged, whitespace included: the key holds the full text of both windows
and the cross-file snippets.
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

MAX_ENTRIES = 200
MAX_CHARACTERS = 4_000_000
"""Total text kept with the entries. The least recently used entries are evicted first."""

LANDMARK = 32
"""Characters before the cursor used to search for a candidate position before everything is compared."""
MAX_TYPED = 400
"""Characters that can have been typed while a generation was in flight."""
MAX_CLOSED = 80
MIN_AFTER = 200
"""Characters after the cursor that count even if the model does not see them: post-processing reads them."""

AUTO_CLOSED = re.compile(r"[)\]}>\"'`\s]*")
"""Text that an editor may insert after the cursor by itself."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything a completion depends on except the text around the cursor.

    Attributes:
        adapter_version: stamp of the adapter's files. An adapter keeps its name when it is trained again.
        snippets: cross-file context in the prompt.
    """

    uri: str
    language: str
    model: str
    adapter: str
    settings: CompletionSettings
    adapter_version: Stamp = ()
    snippets: tuple[Snippet, ...] = ()

    @property
    def before(self) -> int:
        """Return how many characters before the cursor count."""
        return max(self.settings.prefix_chars, 1)

    @property
    def after(self) -> int:
        """Return how many characters after the cursor count."""
        return max(self.settings.suffix_chars, MIN_AFTER)


@dataclass(frozen=True, slots=True)
class CacheKey:
    """A cursor in a document: the text ``before`` and ``after`` it."""

    scope: Scope
    before: str
    after: str

    def trimmed(self) -> CacheKey:
        """Return the key with no more text than the model can have seen."""
        return CacheKey(self.scope, self.before[-self.scope.before :], self.after[: self.scope.after])


class Typing(NamedTuple):
    """Changes at the cursor since a completion was requested: ``typed`` text, and brackets the editor ``closed``."""

    typed: str
    closed: str


class Hit(NamedTuple):
    """The rest of a completion that is valid at a cursor; ``reason`` explains an empty ``text``."""

    text: str
    source: Source
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CachedCompletion:
    """A completion and the cursor it was generated for; ``text`` may be empty.

    Attributes:
        reason: explains an empty text.
        cut: the deadline ended the generation. A request with a longer deadline may get more.
        low_confidence: token probabilities, if the confidence was below the threshold. Once part of the first line is
            typed, the confidence of the rest may be above it.
    """

    key: CacheKey
    text: str
    reason: str = ""
    cut: bool = False
    low_confidence: TokenProbabilities | None = None


class Cache:
    """The most recently used completions."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_entries, self._max_characters = max_entries, max_characters
        self._entries: list[CachedCompletion] = []  # least recently used first
        self._characters = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(
        self,
        key: CacheKey,
        text: str,
        reason: str = "",
        *,
        cut: bool = False,
        low_confidence: TokenProbabilities | None = None,
    ) -> None:
        """Store a completion and drop all others with the same key. A cut completion without text is not stored."""
        trimmed = key.trimmed()
        for entry in [one for one in self._entries if one.key == trimmed]:
            self._drop(entry)
        if cut and not text:
            return
        self._entries.append(CachedCompletion(trimmed, text, reason, cut, low_confidence))
        self._characters += _size(self._entries[-1])
        self._evict()

    def put_alternative(self, key: CacheKey, text: str) -> None:
        """Store another completion beside the one just stored, for users who continue with this text instead."""
        entry = CachedCompletion(key.trimmed(), text)
        if not any((known.key, known.text) == (entry.key, text) for known in self._entries):
            self._entries.insert(max(len(self._entries) - 1, 0), entry)
            self._characters += _size(entry)
            self._evict()

    def find(self, key: CacheKey, *, invoked: bool = False) -> Hit | None:
        """Return the most recent completion that is valid at ``key``.

        An explicitly invoked request skips cut and empty completions, and has no confidence threshold.
        """
        for entry in reversed(self._entries):
            if invoked and (entry.cut or not entry.text):
                continue
            hit = _match(entry, key, 0.0 if invoked else key.scope.settings.min_confidence)
            if hit is not None:
                self._entries.remove(entry)
                self._entries.append(entry)
                return hit
        return None

    def _evict(self) -> None:
        while len(self._entries) > self._max_entries or self._characters > self._max_characters:
            self._drop(self._entries[0])

    def _drop(self, entry: CachedCompletion) -> None:
        self._entries.remove(entry)
        self._characters -= _size(entry)


def may_still_match(origin: CacheKey, now: CacheKey, text: str) -> bool:
    """Return whether a generation for ``origin`` that begins with ``text`` can still be valid at ``now``."""
    return any(
        text.startswith(change.typed) or change.typed.startswith(text) for change in _changes(origin, now, MAX_TYPED)
    )


def typing_may_reach(now: CacheKey, goal: CacheKey) -> bool:
    """Return whether typing on at ``now`` can lead to ``goal``."""
    return any(True for _ in _changes(now.trimmed(), goal, MAX_TYPED))


def _match(entry: CachedCompletion, key: CacheKey, threshold: float) -> Hit | None:
    probabilities = entry.low_confidence
    for change in _changes(entry.key, key, len(entry.text)):
        left, typed = remaining(entry.text, change), len(change.typed)
        if probabilities and typed >= probabilities.line:
            continue
        if left or (left == "" and not entry.text):
            text = left if not probabilities or probabilities.confidence_after(typed) >= threshold else ""
            source: Source = "typed" if change.typed or change.closed else "same"
            return Hit(text, source, "" if text else entry.reason)
    return None


def remaining(text: str, change: Typing) -> str | None:
    """Return the rest of ``text`` after a change; None if the change does not follow the text.

    The rest ends before the brackets that the editor closed, unless the text itself opened them.
    """
    if not text.startswith(change.typed):
        return None
    left, closed = text[len(change.typed) :], change.closed
    if not closed:
        return left
    if closed.strip() and "\n" not in closed:
        end = suffix_start(left, closed)
        if end is not None:
            return left[:end]
    return left[: -len(closed)] if left.endswith(closed) else None


def _changes(origin: CacheKey, now: CacheKey, max_typed: int) -> Iterator[Typing]:
    """Yield every combination of typed text and closed brackets that leads from ``origin`` to ``now``."""
    if origin.scope != now.scope:
        return
    for typed in _typed(origin, now, max_typed):
        for closed in _closed(origin, now):
            yield Typing(typed, closed)


def _typed(origin: CacheKey, now: CacheKey, max_typed: int) -> Iterator[str]:
    """Yield the possible typed texts, shortest first: repetitive text can match at several positions."""
    limit = now.scope.before
    mark = origin.before[-LANDMARK:]
    first = max(len(now.before) - max_typed, 0)
    end = len(now.before)
    while (at := now.before.rfind(mark, max(first - len(mark), 0), end)) >= 0:
        end = at + len(mark)
        known = len(origin.before)
        if now.before.endswith(origin.before, 0, end) and known in (limit, end):
            yield now.before[end:]
        if end == 0:
            return
        end -= 1


def _closed(origin: CacheKey, now: CacheKey) -> Iterator[str]:
    limit = now.scope.after
    for length in range(min(MAX_CLOSED, len(now.after)) + 1):
        closed = now.after[:length]
        if not AUTO_CLOSED.fullmatch(closed):
            return
        known = len(origin.after)
        if now.after.startswith(origin.after, length) and (known == limit or known == len(now.after) - length):
            yield closed


def _size(entry: CachedCompletion) -> int:
    key = entry.key
    snippets = sum(len(snippet.text) for snippet in key.scope.snippets)
    return len(key.before) + len(key.after) + len(entry.text) + snippets
