"""``codellama-ls stats``: how many suggestions were accepted and kept, and how long they took.

Reads what the language servers of this machine's user kept (``storage``); asks no server and no engine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lsp_server.usage_statistics.storage import LONGEST_DAYS, StatisticsError, erase
from lsp_server.usage_statistics.usage_figures import USUAL_DAYS, collected

LEGEND = (
    "accepted, partly accepted, typed: of what was shown; kept: still there 30 seconds after it was accepted;\n"
    "saved: characters that nobody had to type; ms: from asking to answering, median / 95 %."
)


def main(argv: Sequence[str]) -> int:
    """Exit status 1 where the statistics can't be read or erased."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not 1 <= options.days <= LONGEST_DAYS:
        parser.error(f"--days must be from 1 to {LONGEST_DAYS}: older statistics are not kept.")
    try:
        if options.erase:
            erase()
            sys.stdout.write("The statistics are erased.\n")
            return 0
        found = collected(options.days)
    except StatisticsError as problem:
        sys.stderr.write(f"codellama-ls: {problem}\n")
        return 1
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _show(found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codellama-ls stats",
        description="How many suggestions were accepted and kept, what that saved, and how long they took. The figures "
        "stay on this machine; they hold no code and no names of files.",
    )
    parser.add_argument(
        "--days", type=int, default=USUAL_DAYS, metavar="N", help="of the last N days (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--erase", action="store_true", help="remove all statistics, of all days")
    return parser


def _show(found: Mapping[str, Any]) -> None:
    days = found["days"]
    if not found["all"]["shown"]:
        sys.stdout.write(
            f"No suggestion was shown in the last {days} days, or the setting statistics.enabled is off.\n"
        )
        return
    # Piped output has no width of its own: none is better than cut lines.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(table(found), "", LEGEND, sep="\n")


def table(found: Mapping[str, Any]) -> Table:
    """A row for all, one for each language, and one for each model where there are several."""
    drawn = Table(box=None, pad_edge=False)
    drawn.add_column(f"last {found['days']} days", no_wrap=True)
    for name in ("shown", "accepted", "partly accepted", "typed", "kept", "saved", "ms"):
        drawn.add_column(name, justify="right", no_wrap=True)
    models = found["models"] if len(found["models"]) > 1 else {}
    for name, group in (("all", found["all"]), *found["languages"].items(), *models.items()):
        drawn.add_row(escape(name or "–"), *_cells(group))
    return drawn


def _cells(group: Mapping[str, Any]) -> tuple[str, ...]:
    shown, latency = group["shown"], group["latency_ms"]
    parts = (_of(group[name], shown) for name in ("accepted", "partly_accepted", "typed_through"))
    kept = _of(group["kept"], group["kept_of"])
    return (
        f"{shown:,}",
        *parts,
        kept,
        f"{group['characters_saved']:,}",
        f"{latency['p50']:.0f} / {latency['p95']:.0f}",
    )


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.0%})" if whole else "–"
