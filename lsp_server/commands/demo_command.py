"""``codellama-ls demo``: the real server on a real file, its suggestions drawn as grey text, and where the time went.

Knows no engine: everything shown came over LSP.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lsp_server.commands.complete_command import FilePosition, NoSuchPlaceError, read
from lsp_server.demo.tiny_editor import NotReadyError, TinyEditor, settings, tiny_editor

GHOST = "italic bright_cyan"
CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """One suggestion and what the server's trace says of it."""

    place: FilePosition
    ghost: str
    record: dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 when there is no model to ask, 2 for a file that cannot be read."""
    parser = argparse.ArgumentParser(prog="codellama-ls demo", description="Show ghost text in a real file.")
    parser.add_argument("file", nargs="?", type=Path, help="a source file (default: one of Python's own)")
    parser.add_argument("-n", type=int, default=5, metavar="N", help="how many positions (default: %(default)s)")
    parser.add_argument("--model", default="starter", help="which installed model (default: %(default)s)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also save what is shown as a picture")
    args = parser.parse_args(argv)
    console = Console(record=args.svg is not None, width=110 if args.svg else None)
    try:
        path, text = (args.file.resolve(), read(args.file)) if args.file else sample()
        asyncio.run(_demo(console, places(path, text, args.n), args.model))
    except (NoSuchPlaceError, NotReadyError) as error:
        print(f"codellama-ls: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, NoSuchPlaceError) else 1
    if args.svg:
        console.save_svg(str(args.svg), title="codellama-ls demo")
    return 0


def sample() -> tuple[Path, str]:
    """One of Python's own files, as a document elsewhere: where Python lies a .gitignore may forbid to show files."""
    own = Path(textwrap.__file__)
    return Path(tempfile.gettempdir()).resolve() / own.name, read(own)


def places(path: Path, text: str, count: int) -> list[FilePosition]:
    """Positions at which a person might stop: in the middle of lines of code, spread over the file."""
    rows = text.split("\n")
    code = [i for i, row in enumerate(rows) if len(row.strip()) > 12 and not row.strip().startswith(("#", "//", "*"))]
    step = max(len(code) // (count + 1), 1)
    chosen = code[step::step][:count]
    return [FilePosition(path, text, i, _pause(rows[i])) for i in chosen]


def _pause(row: str) -> int:
    """After the first word, bracket or sign past the middle of the line."""
    middle = len(row) - len(row.lstrip()) + len(row.strip()) // 2
    while middle < len(row) and row[middle - 1].isalnum():
        middle += 1
    return middle


async def _demo(console: Console, spots: list[FilePosition], model: str) -> None:
    spinner = Spinner("dots", "looking for the engine")
    shown: list[Shown] = []
    with Live(spinner, console=console, transient=True) as live:

        def progress(message: str) -> None:
            live.update(Spinner("dots", f"loading the model: {message}"))

        async with tiny_editor(settings(model), progress) as editor:
            await editor.ready()
            for spot in spots:
                live.update(Spinner("dots", f"asking at line {spot.line + 1}"))
                shown.append(await _ask(editor, spot))
                live.console.print(_drawing(shown[-1]))
    console.print(_table(shown))
    _say_what_it_is(console, model)


async def _ask(editor: TinyEditor, place: FilePosition) -> Shown:
    """The cursor stands at ``place``; what followed on its line has not been written yet."""
    rows = place.text.split("\n")
    rows[place.line] = rows[place.line][: place.column]
    text = "\n".join(rows)
    editor.open(place.path, text)
    ghost = await editor.complete(place.path, text, place.line, place.column)
    record = await editor.last_record()
    editor.close(place.path)
    return Shown(place, ghost, record)


def _drawing(shown: Shown) -> Text:
    place = shown.place
    rows = place.text.split("\n")
    first = max(place.line - CONTEXT_LINES, 0)
    drawing = Text().append(f"{place.path.name}:{place.line + 1}:{place.column + 1}\n", "bold")
    for number in range(first, place.line):
        drawing.append(f"{number + 1:>5} │ ", "dim").append(rows[number] + "\n", "default")
    drawing.append(f"{place.line + 1:>5} │ ", "dim").append(rows[place.line][: place.column], "default")
    ghost = shown.ghost.split("\n") if shown.ghost else []
    drawing.append(ghost[0] if ghost else "", GHOST).append("" if ghost else "▏nothing", "dim").append("\n")
    for row in ghost[1:]:
        drawing.append("      │ ", "dim").append(row + "\n", GHOST)
    for number in range(place.line + 1, min(place.line + CONTEXT_LINES, len(rows))):
        drawing.append(f"{number + 1:>5} │ ", "dim").append(rows[number] + "\n", "default")
    return drawing


def _table(shown: list[Shown]) -> Table:
    table = Table(title="Where the time went (tokens; milliseconds)", title_justify="left")
    for name in ("line", "prompt", "reused", "written", "prefill", "decode", "in all"):
        table.add_column(name, justify="right")
    table.add_column("ended by")
    for s in shown:
        outcome = s.record["outcome"]
        if outcome is None:
            table.add_row(str(s.place.line + 1), *[""] * 5, f"{s.record['total_ms']:.0f}", s.record["reason"])
            continue
        tokens = (outcome[k] for k in ("prompt_tokens", "reused_tokens", "completion_tokens"))
        times = (f"{outcome[k]:.0f}" for k in ("prefill_ms", "decode_ms"))
        cells = [*map(str, tokens), *times, f"{s.record['total_ms']:.0f}", outcome["cause"]]
        table.add_row(str(s.place.line + 1), *cells)
    return table


def _say_what_it_is(console: Console, model: str) -> None:
    console.print(Text.assemble("Text in ", ("this colour", GHOST), f" was written by the model '{model}' just now."))
