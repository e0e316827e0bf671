"""``codellama-ls complete FILE:LINE:COL``: print the suggested text, and nothing else, on stdout."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.errors import CodeLlamaError
from lsp_server.demo.tiny_editor import demo_settings, tiny_editor


class PositionError(CodeLlamaError, ValueError):
    """The requested position does not exist, or its file cannot be read."""


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A position in a file. ``line`` and ``column`` are zero-based, in code points; ``text`` has LF line ends."""

    path: Path
    text: str
    line: int
    column: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 0 even without a suggestion, 1 no model, 2 invalid position."""
    parser = argparse.ArgumentParser(
        prog="codellama-ls complete", description="Print the completion suggested at a position."
    )
    parser.add_argument(
        "place", metavar="FILE:LINE:COL", help="position; line and column are one-based, as in an editor's status line"
    )
    parser.add_argument("--model", default="starter", help="installed model to use (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        text, reason = asyncio.run(suggestion(parse_position(args.place), args.model))
    except CodeLlamaError as error:
        print(f"codellama-ls: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, PositionError) else 1
    if reason:
        print(f"codellama-ls: no suggestion: {reason}", file=sys.stderr)  # noqa: T201
    sys.stdout.write(text + "\n" if text else "")
    return 0


async def suggestion(position: FilePosition, model: str) -> tuple[str, str]:
    """Return the suggestion, and the reason if it is empty. Raises ``NotReadyError``."""
    async with tiny_editor(demo_settings(model)) as editor:
        await editor.ready()
        editor.open(position.path, position.text)
        text = await editor.complete(position.path, position.text, position.line, position.column)
        return text, "" if text else (await editor.last_record())["reason"]


def parse_position(argument: str) -> FilePosition:
    """Parse ``FILE:LINE:COL``. Raises ``PositionError``."""
    name, _, rest = argument.rpartition(":")
    name, _, line = name.rpartition(":")
    if not name or not line.isdecimal() or not rest.isdecimal():
        raise PositionError(f"'{argument}' is not of the form FILE:LINE:COL.")
    path = Path(name).resolve()
    text = read(path)
    rows = text.split("\n")
    row, column = int(line) - 1, int(rest) - 1
    if not 0 <= row < len(rows):
        raise PositionError(f"{name} has {len(rows)} lines; there is no line {line}.")
    if not 0 <= column <= len(rows[row]):
        raise PositionError(f"Line {line} of {name} has columns 1 to {len(rows[row]) + 1}; there is no column {rest}.")
    return FilePosition(path, text, row, column)


def read(path: Path) -> str:
    """Return a file's text with LF line ends. Raises ``PositionError``."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise PositionError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PositionError(f"{path} is not UTF-8 text.") from error
