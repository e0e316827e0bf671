"""``codellama-ls demo``: request suggestions in a real file, draw them as ghost text and show the timings.

The demo uses the real language server over LSP.
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

from inference.errors import CodeLlamaError
from lsp_server.commands.complete_command import FilePosition, PositionError, read
from lsp_server.demo.tiny_editor import TinyEditor, demo_settings, tiny_editor

GHOST = "italic bright_cyan"
CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class DemoResult:
    """A suggestion and its trace record."""

    position: FilePosition
    ghost: str
    record: dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status: 1 no model, 2 unreadable file."""
    parser = argparse.ArgumentParser(
        prog="codellama-ls demo", description="Show suggestions as ghost text in a real file."
    )
    parser.add_argument("file", nargs="?", type=Path, help="source file (default: one of Python's standard library)")
    parser.add_argument("-n", type=int, default=5, metavar="N", help="number of positions (default: %(default)s)")
    parser.add_argument("--model", default="starter", help="installed model to use (default: %(default)s)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also save the output as an SVG image")
    args = parser.parse_args(argv)
    console = Console(record=args.svg is not None, width=110 if args.svg else None)
    try:
        path, text = (args.file.resolve(), read(args.file)) if args.file else sample_file()
        asyncio.run(_demo(console, demo_positions(path, text, args.n), args.model))
    except CodeLlamaError as error:
        print(f"codellama-ls: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, PositionError) else 1
    if args.svg:
        console.save_svg(str(args.svg), title="codellama-ls demo")
    return 0


def sample_file() -> tuple[Path, str]:
    """Return a standard library file under a temporary path, because a .gitignore may exclude Python's own folder."""
    source = Path(textwrap.__file__)
    return Path(tempfile.gettempdir()).resolve() / source.name, read(source)


def demo_positions(path: Path, text: str, count: int) -> list[FilePosition]:
    """Return positions where a user might pause: in the middle of code lines, spread over the file."""
    rows = text.split("\n")
    code = [i for i, row in enumerate(rows) if len(row.strip()) > 12 and not row.strip().startswith(("#", "//", "*"))]
    step = max(len(code) // (count + 1), 1)
    chosen = code[step::step][:count]
    return [FilePosition(path, text, i, _pause(rows[i])) for i in chosen]


def _pause(row: str) -> int:
    """Return the column after the first word or character past the middle of the line."""
    middle = len(row) - len(row.lstrip()) + len(row.strip()) // 2
    while middle < len(row) and row[middle - 1].isalnum():
        middle += 1
    return middle


async def _demo(console: Console, positions: list[FilePosition], model: str) -> None:
    spinner = Spinner("dots", "starting the engine")
    results: list[DemoResult] = []
    with Live(spinner, console=console, transient=True) as live:

        def progress(message: str) -> None:
            live.update(Spinner("dots", f"loading the model: {message}"))

        async with tiny_editor(demo_settings(model), progress) as editor:
            await editor.ready()
            for position in positions:
                live.update(Spinner("dots", f"requesting a completion in line {position.line + 1}"))
                results.append(await _request(editor, position))
                live.console.print(_drawing(results[-1]))
    console.print(_table(results))
    _print_legend(console, model)


async def _request(editor: TinyEditor, position: FilePosition) -> DemoResult:
    """Request a completion as if the rest of the line had not been written yet."""
    rows = position.text.split("\n")
    rows[position.line] = rows[position.line][: position.column]
    text = "\n".join(rows)
    editor.open(position.path, text)
    ghost = await editor.complete(position.path, text, position.line, position.column)
    record = await editor.last_record()
    editor.close(position.path)
    return DemoResult(position, ghost, record)


def _drawing(result: DemoResult) -> Text:
    position = result.position
    rows = position.text.split("\n")
    first = max(position.line - CONTEXT_LINES, 0)
    drawing = Text().append(f"{position.path.name}:{position.line + 1}:{position.column + 1}\n", "bold")
    for number in range(first, position.line):
        drawing.append(f"{number + 1:>5} │ ", "dim").append(rows[number] + "\n", "default")
    drawing.append(f"{position.line + 1:>5} │ ", "dim").append(rows[position.line][: position.column], "default")
    ghost = result.ghost.split("\n") if result.ghost else []
    drawing.append(ghost[0] if ghost else "", GHOST).append("" if ghost else "▏nothing", "dim").append("\n")
    for row in ghost[1:]:
        drawing.append("      │ ", "dim").append(row + "\n", GHOST)
    for number in range(position.line + 1, min(position.line + CONTEXT_LINES, len(rows))):
        drawing.append(f"{number + 1:>5} │ ", "dim").append(rows[number] + "\n", "default")
    return drawing


def _table(results: list[DemoResult]) -> Table:
    table = Table(title="Where the time went (tokens; milliseconds)", title_justify="left")
    for name in ("line", "prompt", "reused", "generated", "prefill", "decode", "total"):
        table.add_column(name, justify="right")
    table.add_column("stop cause")
    for result in results:
        outcome = result.record["outcome"]
        if outcome is None:
            table.add_row(
                str(result.position.line + 1), *[""] * 5, f"{result.record['total_ms']:.0f}", result.record["reason"]
            )
            continue
        tokens = (outcome[k] for k in ("prompt_tokens", "reused_tokens", "completion_tokens"))
        times = (f"{outcome[k]:.0f}" for k in ("prefill_ms", "decode_ms"))
        cells = [*map(str, tokens), *times, f"{result.record['total_ms']:.0f}", outcome["cause"]]
        table.add_row(str(result.position.line + 1), *cells)
    return table


def _print_legend(console: Console, model: str) -> None:
    console.print(Text.assemble("Text in ", ("this colour", GHOST), f" was generated by the model '{model}'."))
