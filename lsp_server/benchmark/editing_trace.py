"""A document under a person's hands: what stands around the cursor while they write a stretch of it anew.

Pure: text in, text out. Like editors by default, it closes brackets and quotes by itself, types over what it closed and
indents a new line. Knows no requests and no model.

An editing trace: the completions an editor would ask for while a person works on real files.

Pure and deterministic: the same files and the same seed make the same trace. A person opens a file, writes a line or
two of it anew (``typist``), goes elsewhere in it or to another file, and comes back. Knows no model.
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
    """A person who writes ``todo`` between ``before`` and ``rest``.

    Attributes:
        before: the text left of the cursor.
        todo: what is still to be written there; it is not in the document yet.
        rest: what stands below all that.
        closed: what the editor closed by itself: it stands right of the cursor and is not written yet.
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
        """Characters of the current line still to be written."""
        end = self.todo.find("\n")
        return len(self.todo) if end < 0 else end

    def type(self, count: int) -> None:
        """Write the next characters of the line, at most ``count``."""
        for _ in range(min(count, self.to_line_end)):
            self._key(closing=True)

    def accept(self) -> None:
        """Take a suggestion that says the rest of the line; nothing is closed in what is inserted."""
        for _ in range(self.to_line_end):
            self._key(closing=False)

    def take(self, count: int) -> None:
        """Insert the next characters, over several lines perhaps, as a suggestion that is taken in part is."""
        self.before, self.todo = self.before + self.todo[:count], self.todo[count:]

    def delete(self, count: int) -> None:
        """Take back letters and digits just written, at most ``count``, to write them again."""
        for _ in range(count):
            if not self.before or not self.before[-1].isalnum():
                return
            self.todo, self.before = self.before[-1] + self.todo, self.before[:-1]

    def enter(self) -> None:
        """Begin a new line. The editor indents it, and puts a bracket it closed on a line of its own below."""
        line = self.before[self.before.rfind("\n") + 1 :]
        indent = line[: len(line) - len(line.lstrip())]
        self.closed = self.closed.lstrip(QUOTES)  # a stray quote is deleted; brackets are kept for later
        if self.closed and not self.closed.startswith("\n"):
            self.closed = f"\n{indent}{self.closed}"
        self.todo = self.todo[1:]
        self.before += "\n" + indent + ("    " if line.rstrip().endswith(OPENS_BLOCK) else "")

    def settle(self) -> None:
        """Give the line just begun the indentation it is to have, or step down over what was closed there."""
        blank = len(self.before) - len(self.before.rstrip(" \t"))
        self.before = self.before[: len(self.before) - blank]
        if self.closed and self.before.endswith("\n") and ("\n" + self.todo).startswith(self.closed):
            self.todo = self.todo[len(self.closed) - 1 :]
            self.before, self.closed = self.before[:-1] + self.closed, ""
            return
        indent = len(self.todo) - len(self.todo.lstrip(" \t"))
        self.before, self.todo = self.before + self.todo[:indent], self.todo[indent:]

    def finish(self) -> str:
        """Write all that is left, delete what was closed in vain; the whole document."""
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
        """Editors close where nothing but a blank or a closer follows; a quote also not after a word: it's one."""
        follows = self.after[:1]
        if follows.strip() and follows not in CLOSERS.values():
            return False
        return key not in QUOTES or not self.before[-1:].isalnum()


Kind = Literal["cold", "warm", "accept", "newline", "jump", "switch"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Why a request is made: a file was opened; a few characters were typed or deleted; a suggestion was taken; a line was
begun; the cursor went elsewhere in the same file; the person came back to a file."""

ACCEPTED, DELETED = 0.12, 0.08
"""How often, of all requests, a suggestion is taken, and something deleted."""
OPENED, LEFT = 0.35, 0.6
"""After a stretch is written: up to the first a new file is opened, up to the second one goes back to another."""
LONGEST_BURST = 4
"""Characters typed between two requests, at most."""
MOST_LINES = 3


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """The cursor stands between ``prefix`` and ``suffix``, which are all of the document's text."""

    document: str
    language: str
    prefix: str
    suffix: str
    kind: Kind


@dataclass
class _Desk:
    """The files at hand, as they are now; the next new one is first in ``unopened``."""

    random: Random
    unopened: list[SourceFile]
    opened: list[SourceFile] = field(default_factory=list)


def make_trace(files: Sequence[SourceFile], count: int, seed: int = 0) -> list[TraceRequest]:
    """``count`` requests. Raises ValueError where no file has a line of code to write anew."""
    usable = [file for file in map(normal, files) if lines_to_write(file.text)]
    if not usable:
        raise ValueError("There is no source file with a line to write; choose another folder.")
    return list(islice(_requests(_Desk(Random(seed), usable)), count))


def _requests(desk: _Desk) -> Iterator[TraceRequest]:
    """For as long as anybody asks."""
    kind, at = _choose(desk, None)
    while True:
        file = desk.opened[at]
        start, end = _stretch(file.text, desk.random)
        typist = TypedText(file.text[:start], file.text[start:end], file.text[end:])
        yield from (_asked(file, typist, step) for step in _steps(typist, kind, desk.random))
        typist.finish()
        kind, at = _choose(desk, at)


def _choose(desk: _Desk, current: int | None) -> tuple[Kind, int]:
    """Where to go on: in which open file, and how that is called."""
    dice = desk.random.random()
    if current is None or (dice < OPENED and desk.unopened):
        desk.opened.append(desk.unopened.pop(0))
        return "cold", len(desk.opened) - 1
    others = [n for n in range(len(desk.opened)) if n != current]
    if dice < LEFT and others:
        return "switch", desk.random.choice(others)
    return "jump", current


def _steps(typist: TypedText, kind: Kind, random: Random) -> Iterator[Kind]:
    """Write the stretch, one request a step. The typist has moved when a step is out."""
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


def _asked(file: SourceFile, typist: TypedText, kind: Kind) -> TraceRequest:
    return TraceRequest(file.name, file.language, typist.before, typist.after, kind)


def _stretch(text: str, random: Random) -> tuple[int, int]:
    """Offsets of a stretch of whole lines without its first indentation, which the editor has made, and its end."""
    lines = text.splitlines(keepends=True)
    first = random.choice(lines_to_write(text))
    last = min(first + random.randint(1, MOST_LINES), len(lines))
    start = sum(map(len, lines[:first])) + len(lines[first]) - len(lines[first].lstrip())
    return start, start + len("".join(lines[first:last]).lstrip().rstrip())


def lines_to_write(text: str) -> list[int]:
    """Numbers of the lines on which a stretch may begin: with code on them, and something above."""
    return [n for n, line in enumerate(text.splitlines()) if n and any(map(str.isalnum, line))]


def normal(file: SourceFile) -> SourceFile:
    """With LF line ends, and with no other character that ``splitlines`` takes for one."""
    text = file.text.replace("\r\n", "\n").replace("\r", "\n")
    return SourceFile(file.name, file.language, "\n".join(text.splitlines()) + "\n")
