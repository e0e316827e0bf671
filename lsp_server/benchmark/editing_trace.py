"""An editing trace: the completion requests of an editor while a user works on real files.

The same files and seed give the same trace. The user opens a file, rewrites a line or two, moves to another position
or file, and comes back. Like editors by default, the document closes brackets and quotes by itself, types over closed
ones and indents new lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Literal, get_args

from inference.text.source_files import SourceFile

CLOSERS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
QUOTES = "\"'"
OPENS_BLOCK = ("(", "[", "{", ":")


@dataclass
class TypedText:
    """A document in which ``todo`` is being typed between ``before`` and ``rest``.

    Attributes:
        before: the text left of the cursor.
        todo: text still to be typed; not in the document yet.
        rest: the text after that.
        closed: brackets and quotes that the editor closed by itself, right of the cursor.
    """

    before: str
    todo: str
    rest: str
    closed: str = ""

    @property
    def after(self) -> str:
        """The text right of the cursor."""
        return self.closed + self.rest

    @property
    def to_line_end(self) -> int:
        """Characters of the current line still to be typed."""
        end = self.todo.find("\n")
        return len(self.todo) if end < 0 else end

    def type(self, count: int) -> None:
        """Type at most ``count`` characters of the line."""
        for _ in range(min(count, self.to_line_end)):
            self._key(closing=True)

    def accept(self) -> None:
        """Accept a completion of the rest of the line. Inserted text closes no brackets."""
        for _ in range(self.to_line_end):
            self._key(closing=False)

    def take(self, count: int) -> None:
        """Accept the next ``count`` characters of a completion, which may span lines."""
        self.before, self.todo = self.before + self.todo[:count], self.todo[count:]

    def delete(self, count: int) -> None:
        """Delete at most ``count`` letters and digits before the cursor, to be typed again."""
        for _ in range(count):
            if not self.before or not self.before[-1].isalnum():
                return
            self.todo, self.before = self.before[-1] + self.todo, self.before[:-1]

    def enter(self) -> None:
        """Start a new line. The editor indents it and puts a closed bracket on its own line below."""
        line = self.before[self.before.rfind("\n") + 1 :]
        indent = line[: len(line) - len(line.lstrip())]
        self.closed = self.closed.lstrip(QUOTES)  # a stray quote is deleted; brackets are kept for later
        if self.closed and not self.closed.startswith("\n"):
            self.closed = f"\n{indent}{self.closed}"
        self.todo = self.todo[1:]
        self.before += "\n" + indent + ("    " if line.rstrip().endswith(OPENS_BLOCK) else "")

    def settle(self) -> None:
        """Correct the new line's indentation, or step over the closed bracket below."""
        blank = len(self.before) - len(self.before.rstrip(" \t"))
        self.before = self.before[: len(self.before) - blank]
        if self.closed and self.before.endswith("\n") and ("\n" + self.todo).startswith(self.closed):
            self.todo = self.todo[len(self.closed) - 1 :]
            self.before, self.closed = self.before[:-1] + self.closed, ""
            return
        indent = len(self.todo) - len(self.todo.lstrip(" \t"))
        self.before, self.todo = self.before + self.todo[:indent], self.todo[indent:]

    def finish(self) -> str:
        """Type everything left, drop superfluous closers, and return the document."""
        self.before, self.todo, self.closed = self.before + self.todo, "", ""
        return self.before + self.rest

    def _key(self, *, closing: bool) -> None:
        key, self.todo = self.todo[0], self.todo[1:]
        if self.closed.startswith(key):
            self.closed = self.closed[1:]
        elif closing and key in CLOSERS and self._closes(key):
            self.closed = CLOSERS[key] + self.closed
        self.before += key

    def _closes(self, key: str) -> bool:
        """Editors close before a blank or a closer, and no quote after a word character."""
        follows = self.after[:1]
        if follows.strip() and follows not in CLOSERS.values():
            return False
        return key not in QUOTES or not self.before[-1:].isalnum()


Kind = Literal["cold", "warm", "accept", "newline", "jump", "switch"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Cause of a request: a file was opened; characters were typed or deleted; a completion was accepted; a line was
started; the cursor moved within the file; the user came back to a file."""

ACCEPTED, DELETED = 0.12, 0.08
"""Shares of requests after an accepted completion and after a deletion."""
OPENED, LEFT = 0.35, 0.6
"""Cumulative probabilities, after some lines are written, of opening a file and of switching to another open one."""
LONGEST_BURST = 4
"""Most characters typed between two requests."""
MOST_LINES = 3


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """A request with the cursor between ``prefix`` and ``suffix``, the whole text of the document."""

    document: str
    language: str
    prefix: str
    suffix: str
    kind: Kind


@dataclass
class _Files:
    """Open files and those still to be opened, in order."""

    random: Random
    unopened: list[SourceFile]
    opened: list[SourceFile] = field(default_factory=list)


def make_trace(files: Sequence[SourceFile], count: int, seed: int = 0) -> list[TraceRequest]:
    """Return ``count`` requests. Raises ValueError if no file has a line of code to rewrite."""
    usable = [file for file in map(normalize_lines, files) if lines_to_write(file.text)]
    if not usable:
        raise ValueError("No source file has a line of code to rewrite. Choose another folder.")
    return list(islice(_requests(_Files(Random(seed), usable)), count))


def _requests(files: _Files) -> Iterator[TraceRequest]:
    """Yield requests without end."""
    kind, at = _choose(files, None)
    while True:
        file = files.opened[at]
        start, end = _stretch(file.text, files.random)
        typist = TypedText(file.text[:start], file.text[start:end], file.text[end:])
        yield from (_request(file, typist, step) for step in _steps(typist, kind, files.random))
        typist.finish()
        kind, at = _choose(files, at)


def _choose(files: _Files, current: int | None) -> tuple[Kind, int]:
    """Choose the next open file and the kind of its first request."""
    dice = files.random.random()
    if current is None or (dice < OPENED and files.unopened):
        files.opened.append(files.unopened.pop(0))
        return "cold", len(files.opened) - 1
    others = [n for n in range(len(files.opened)) if n != current]
    if dice < LEFT and others:
        return "switch", files.random.choice(others)
    return "jump", current


def _steps(typist: TypedText, kind: Kind, random: Random) -> Iterator[Kind]:
    """Type ``todo`` step by step; each step ends in a request."""
    yield kind
    while typist.todo:
        if typist.to_line_end:
            yield _write(typist, random)
        else:
            typist.enter()
            yield "newline"
            typist.settle()


def _write(typist: TypedText, random: Random) -> Kind:
    dice = random.random()
    if dice < ACCEPTED:
        typist.accept()
        return "accept"
    if dice < ACCEPTED + DELETED and typist.before[-1:].isalnum():
        typist.delete(random.randint(1, LONGEST_BURST))
    else:
        typist.type(random.randint(1, LONGEST_BURST))
    return "warm"


def _request(file: SourceFile, typist: TypedText, kind: Kind) -> TraceRequest:
    return TraceRequest(file.name, file.language, typist.before, typist.after, kind)


def _stretch(text: str, random: Random) -> tuple[int, int]:
    """Return start and end of some whole lines, without the first indentation, which the editor makes."""
    lines = text.splitlines(keepends=True)
    first = random.choice(lines_to_write(text))
    last = min(first + random.randint(1, MOST_LINES), len(lines))
    start = sum(map(len, lines[:first])) + len(lines[first]) - len(lines[first].lstrip())
    return start, start + len("".join(lines[first:last]).lstrip().rstrip())


def lines_to_write(text: str) -> list[int]:
    """Return numbers of lines with code, except the first line."""
    return [n for n, line in enumerate(text.splitlines()) if n and any(map(str.isalnum, line))]


def normalize_lines(file: SourceFile) -> SourceFile:
    """Return the file with LF as its only line separator."""
    text = file.text.replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(file.name, file.language, "\n".join(text.splitlines()) + "\n")
