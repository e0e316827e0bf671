"""``codellama-ls stats``: how many suggestions were accepted and kept, and their latency.

Reads the user's statistics file; contacts neither a server nor an engine.
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

from lsp_server.usage_statistics.storage import LONGEST_DAYS, StatisticsError, erase_statistics
from lsp_server.usage_statistics.usage_figures import USUAL_DAYS, recent_figures

LEGEND = (
    "accepted, partly accepted, typed: share of the shown suggestions; kept: still there 30 seconds after accepting;\n"
    "saved: characters inserted by accepting; ms: latency from request to response, median / 95th percentile."
)


def main(argv: Sequence[str]) -> int:
    """Run the command. Exit status 1 if the statistics cannot be read or erased."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not 1 <= options.days <= LONGEST_DAYS:
        parser.error(f"--days must be from 1 to {LONGEST_DAYS}: older statistics are deleted.")
    try:
        if options.erase:
            erase_statistics()
            sys.stdout.write("The statistics are erased.\n")
            return 0
        figures = recent_figures(options.days)
    except StatisticsError as error:
        sys.stderr.write(f"codellama-ls: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        _show(figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codellama-ls stats",
        description="Show how many suggestions were accepted and kept, characters saved, and latency. The figures "
        "stay on this machine. They contain no code and no file names.",
    )
    parser.add_argument(
        "--days", type=int, default=USUAL_DAYS, metavar="N", help="period: the last N days (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--erase", action="store_true", help="delete all statistics")
    return parser


def _show(figures: Mapping[str, Any]) -> None:
    days = figures["days"]
    if not figures["all"]["shown"]:
        sys.stdout.write(
            f"No suggestion was shown in the last {days} days, or the setting statistics.enabled is false.\n"
        )
        return
    # Piped output has no width; do not wrap or cut lines.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(table(figures), "", LEGEND, sep="\n")


def table(figures: Mapping[str, Any]) -> Table:
    """Return a table: a row for all suggestions, one per language, and one per model if there are several."""
    result = Table(box=None, pad_edge=False)
    result.add_column(f"last {figures['days']} days", no_wrap=True)
    for name in ("shown", "accepted", "partly accepted", "typed", "kept", "saved", "ms"):
        result.add_column(name, justify="right", no_wrap=True)
    models = figures["models"] if len(figures["models"]) > 1 else {}
    for name, group in (("all", figures["all"]), *figures["languages"].items(), *models.items()):
        result.add_row(escape(name or "–"), *_cells(group))
    return result


def _cells(group: Mapping[str, Any]) -> tuple[str, ...]:
    shown, latency = group["shown"], group["latency_ms"]
    parts = (_share(group[name], shown) for name in ("accepted", "partly_accepted", "typed_through"))
    kept = _share(group["kept"], group["kept_of"])
    return (
        f"{shown:,}",
        *parts,
        kept,
        f"{group['characters_saved']:,}",
        f"{latency['p50']:.0f} / {latency['p95']:.0f}",
    )


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.0%})" if whole else "–"
