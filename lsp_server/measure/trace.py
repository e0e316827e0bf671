"""An editing trace: the completions an editor would ask for while a person works on real files.

Pure and deterministic: the same files and the same seed make the same trace. A person opens a file, writes a line or
two of it anew (``typist``), goes elsewhere in it or to another file, and comes back. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Literal, get_args

from inference.text.source import SourceFile
from lsp_server.measure.typist import Typist

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
class Request:
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


def make_trace(files: Sequence[SourceFile], count: int, seed: int = 0) -> list[Request]:
    """``count`` requests. Raises ValueError where no file has a line of code to write anew."""
    usable = [file for file in map(normal, files) if lines_to_write(file.text)]
    if not usable:
        raise ValueError("There is no source file with a line to write; choose another folder.")
    return list(islice(_requests(_Desk(Random(seed), usable)), count))


def _requests(desk: _Desk) -> Iterator[Request]:
    """For as long as anybody asks."""
    kind, at = _choose(desk, None)
    while True:
        file = desk.opened[at]
        start, end = _stretch(file.text, desk.random)
        typist = Typist(file.text[:start], file.text[start:end], file.text[end:])
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


def _steps(typist: Typist, kind: Kind, random: Random) -> Iterator[Kind]:
    """Write the stretch, one request a step. The typist has moved when a step is out."""
    yield kind
    while typist.todo:
        if typist.to_line_end:
            yield _write(typist, random)
        else:
            typist.enter()
            yield "newline"
            typist.settle()


def _write(typist: Typist, random: Random) -> Kind:
    dice = random.random()
    if dice < ACCEPTED:
        typist.accept()
        return "accept"
    if dice < ACCEPTED + DELETED and typist.before[-1:].isalnum():
        typist.delete(random.randint(1, LONGEST_BURST))
    else:
        typist.type(random.randint(1, LONGEST_BURST))
    return "warm"


def _asked(file: SourceFile, typist: Typist, kind: Kind) -> Request:
    return Request(file.name, file.language, typist.before, typist.after, kind)


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
