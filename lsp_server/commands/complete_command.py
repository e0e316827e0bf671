"""``codellama-ls complete FILE:LINE:COL``: only the suggested text, on stdout."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsp_server.demo.tiny_editor import NotReadyError, settings, tiny_editor


class NoSuchPlaceError(ValueError):
    """The place asked for is not in the file, or no file; the message says which."""


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A position in a file. ``line`` and ``column`` are zero-based, in code points; ``text`` has LF line ends."""

    path: Path
    text: str
    line: int
    column: int


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 with a suggestion or without, 1 when there is no model to ask, 2 for a place that is not there."""
    parser = argparse.ArgumentParser(prog="codellama-ls complete", description="Print what would be suggested.")
    parser.add_argument("place", metavar="FILE:LINE:COL", help="one-based, like an editor's status line")
    parser.add_argument("--model", default="starter", help="which installed model (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        text, why_nothing = asyncio.run(suggestion(parse_place(args.place), args.model))
    except (NoSuchPlaceError, NotReadyError) as error:
        print(f"codellama-ls: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, NoSuchPlaceError) else 1
    if why_nothing:
        print(f"codellama-ls: no suggestion: {why_nothing}", file=sys.stderr)  # noqa: T201
    sys.stdout.write(text + "\n" if text else "")
    return 0


async def suggestion(place: FilePosition, model: str) -> tuple[str, str]:
    """What the language server suggests there, and if nothing, why; raises ``NotReadyError``."""
    async with tiny_editor(settings(model)) as editor:
        await editor.ready()
        editor.open(place.path, place.text)
        text = await editor.complete(place.path, place.text, place.line, place.column)
        return text, "" if text else (await editor.last_record())["reason"]


def parse_place(place: str) -> FilePosition:
    """Read ``FILE:LINE:COL``; raises ``NoSuchPlaceError``."""
    name, _, rest = place.rpartition(":")
    name, _, line = name.rpartition(":")
    if not name or not line.isdecimal() or not rest.isdecimal():
        raise NoSuchPlaceError(f"'{place}' is not of the form FILE:LINE:COL.")
    path = Path(name).resolve()
    text = read(path)
    rows = text.split("\n")
    row, column = int(line) - 1, int(rest) - 1
    if not 0 <= row < len(rows):
        raise NoSuchPlaceError(f"{name} has {len(rows)} lines; there is no line {line}.")
    if not 0 <= column <= len(rows[row]):
        raise NoSuchPlaceError(
            f"Line {line} of {name} has columns 1 to {len(rows[row]) + 1}; there is no column {rest}."
        )
    return FilePosition(path, text, row, column)


def read(path: Path) -> str:
    """A file's text with LF line ends; raises ``NoSuchPlaceError``."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise NoSuchPlaceError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise NoSuchPlaceError(f"{path} is not UTF-8 text.") from error
