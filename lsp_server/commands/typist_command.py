"""``codellama-ls typist``: count the keys that completions save a simulated typist who rewrites real files."""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console

import inference
from inference.models.shape import FORMATS
from inference.system.machine import usable_cores
from lsp_server.benchmark.editing_trace import TypedText, normalize_lines
from lsp_server.benchmark.end_to_end import isolated_editor
from lsp_server.benchmark.scenarios import ReportProgress
from lsp_server.benchmark.simulated_typist import PARTS, random_text_to_type
from lsp_server.benchmark.source_choice import PER_LANGUAGE, NoFilesError, source_files
from lsp_server.benchmark.typing_run import Gap, Habits, Tally, keys_saved, type_file, typing_table
from lsp_server.commands.bench_command import run_measurement
from lsp_server.completion.debounce import DEFAULT_INTERVAL_MS

FILES, KEYS = 50, 120
AT_ITS_OWN_PACE = {"debounceMs": 0, "prefetch": False, "deadlineMs": 120_000}
"""Completion settings without timing, so that any machine makes and counts the same requests."""
UNEVEN = 0.4
"""Standard deviation of the logarithm of a user's gaps between keys."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status 1 if it can't be measured or a request got no response, 2 if there are no files."""
    args = _arguments(argv)
    console = Console(stderr=True, quiet=args.json)
    result = run_measurement(simulate(args, console.print))
    if isinstance(result, int):
        return result
    if not args.json:
        width = None if sys.stdout.isatty() else 200
        Console(highlight=False, width=width).print(typing_table(result["languages"]))
    print(json.dumps(result, ensure_ascii=False))  # noqa: T201
    return int(any(one["unanswered"] for one in result["languages"].values()))


async def simulate(args: argparse.Namespace, tell: ReportProgress) -> dict[str, Any]:
    """Type into all files, one after the other. Raises ``BenchError``, ``NoFilesError``."""
    started = time.monotonic()
    work = work_in(args.folders, args.files, args.keys, args.seed)
    completion = {} if args.rhythm else AT_ITS_OWN_PACE
    tell("starting the language server and its own engine")
    tallies: list[Tally] = []
    async with isolated_editor(args.model, args.format, completion) as editor:
        for path, language, typist in work:
            tell(f"{len(tallies) + 1} of {len(work)}: {path.name}")
            habits = Habits(args.take, _gap(args.rhythm, f"{args.seed}/{path}"))
            tallies.append(await type_file(editor, path, language, typist, habits))
    machine = {"system": platform.platform(terse=True), "cores": usable_cores()}
    asked = {name: getattr(args, name) for name in ("model", "format", "files", "keys", "seed", "take", "rhythm")}
    took = round(time.monotonic() - started)
    head = {"version": inference.__version__, **asked, "machine": machine, "seconds": took}
    return {**head, "languages": keys_saved(tallies)}


def work_in(folders: Sequence[Path], files: int, keys: int, seed: int) -> list[tuple[Path, str, TypedText]]:
    """Return path, language and text to type of each file, at a random position.

    The same seed gives the same. Raises ``NoFilesError``.
    """
    found: list[tuple[Path, str, TypedText]] = []
    for file in map(normalize_lines, source_files(folders, seed, max(PER_LANGUAGE, files))):
        typist = random_text_to_type(file.text, keys, Random(f"{seed}/{file.name}"))
        if typist is not None and len(found) < files:
            found.append((Path("/") / file.name, file.language, typist))
    if not found:
        raise NoFilesError(f"No file has {keys} characters of code to type. Choose fewer --keys.")
    return found


def _gap(median: float | None, seed: str) -> Gap | None:
    """Return random gaps between keys with this median in milliseconds, or None."""
    if not median:
        return None
    random = Random(seed)
    return lambda: random.lognormvariate(math.log(median / 1000), UNEVEN)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls typist",
        description="Measure the keys that completions save: a simulated typist rewrites parts of real files, "
        "accepts what is right and types over what is wrong. Each response is awaited; nothing is prefetched.",
    )
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="folders of source files (default: installed packages)")
    add("--files", type=int, default=FILES, metavar="N", help="number of files (default: %(default)s)")
    add("--keys", type=int, default=KEYS, metavar="N", help="characters to type in each file (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the choice of files and positions (default: %(default)s)")
    add(
        "--take",
        default=PARTS[-1],
        choices=PARTS,
        help="smallest part of a completion to accept: all, its first line, or its first word (default)",
    )
    add("--model", default="starter", help="installed model (default: %(default)s)")
    add("--format", default="auto", choices=["auto", *FORMATS], help="weight format")
    add(
        "--rhythm",
        nargs="?",
        type=float,
        const=DEFAULT_INTERVAL_MS,
        metavar="MS",
        help="type at a human rate (median milliseconds between keys, %(const)s if not given), with the usual debounce "
        "and prefetching; counts then depend on the machine",
    )
    add("--json", action="store_true", help="print only the last line, as JSON")
    return parser.parse_args(argv)
