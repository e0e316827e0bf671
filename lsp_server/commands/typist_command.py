"""``codellama-ls typist``: a person writes pieces of real files anew, with the real language server beside them.

Here the parts meet: how they decide is in ``person``, what they ask in ``writing``, what comes out in ``saved``.
"""

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
from lsp_server.benchmark.editing_trace import TypedText, normal
from lsp_server.benchmark.end_to_end import editor_of_its_own
from lsp_server.benchmark.scenarios import Tell
from lsp_server.benchmark.simulated_typist import HOWS, at_random
from lsp_server.benchmark.source_choice import PER_LANGUAGE, NoFilesError, source_files
from lsp_server.benchmark.typing_run import Gap, Habits, Tally, saved, table, write
from lsp_server.commands.bench_command import run
from lsp_server.completion.debounce import USUAL_GAP

FILES, KEYS = 50, 120
AT_ITS_OWN_PACE = {"debounceMs": 0, "prefetch": False, "deadlineMs": 120_000}
"""What depends on time is left out, so that the same is asked and counted on any machine."""
UNEVEN = 0.4
"""How much a person's gaps differ: of their logarithm, the standard deviation."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 where it can't be measured or a request was not answered, 2 for files that are not there."""
    args = _arguments(argv)
    console = Console(stderr=True, quiet=args.json)
    result = run(simulate(args, console.print))
    if isinstance(result, int):
        return result
    if not args.json:
        width = None if sys.stdout.isatty() else 200
        Console(highlight=False, width=width).print(table(result["languages"]))
    print(json.dumps(result, ensure_ascii=False))  # noqa: T201
    return int(any(one["unanswered"] for one in result["languages"].values()))


async def simulate(args: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """Write all, one file after the other. Raises ``BenchError``, ``NoFilesError``."""
    started = time.monotonic()
    work = work_in(args.folders, args.files, args.keys, args.seed)
    completion = {} if args.rhythm else AT_ITS_OWN_PACE
    tell("starting the language server, with an engine of its own")
    tallies: list[Tally] = []
    async with editor_of_its_own(args.model, args.format, completion) as editor:
        for path, language, typist in work:
            tell(f"{len(tallies) + 1} of {len(work)}: {path.name}")
            habits = Habits(args.take, _gap(args.rhythm, f"{args.seed}/{path}"))
            tallies.append(await write(editor, path, language, typist, habits))
    machine = {"system": platform.platform(terse=True), "cores": usable_cores()}
    asked = {name: getattr(args, name) for name in ("model", "format", "files", "keys", "seed", "take", "rhythm")}
    took = round(time.monotonic() - started)
    head = {"version": inference.__version__, **asked, "machine": machine, "seconds": took}
    return {**head, "languages": saved(tallies)}


def work_in(folders: Sequence[Path], files: int, keys: int, seed: int) -> list[tuple[Path, str, TypedText]]:
    """The file's path, its language, and who writes there: at a random place in each, the same for the same seed.

    Raises ``NoFilesError``.
    """
    found: list[tuple[Path, str, TypedText]] = []
    for file in map(normal, source_files(folders, seed, max(PER_LANGUAGE, files))):
        typist = at_random(file.text, keys, Random(f"{seed}/{file.name}"))
        if typist is not None and len(found) < files:
            found.append((Path("/") / file.name, file.language, typist))
    if not found:
        raise NoFilesError(f"No file there has {keys} characters of code to write; choose fewer --keys.")
    return found


def _gap(median: float | None, seed: str) -> Gap | None:
    """A person's uneven rhythm."""
    if not median:
        return None
    random = Random(seed)
    return lambda: random.lognormvariate(math.log(median / 1000), UNEVEN)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls typist",
        description="Measure what suggestions save: a simulated person types pieces of real files, takes what is right "
        "of what is suggested and types on over what is wrong. Each answer is waited for, nothing is asked ahead.",
    )
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="files from there (default: installed packages)")
    add("--files", type=int, default=FILES, metavar="N", help="how many (default: %(default)s)")
    add("--keys", type=int, default=KEYS, metavar="N", help="characters to write in each (default: %(default)s)")
    add("--seed", type=int, default=0, help="another one chooses other files and places")
    add(
        "--take",
        default=HOWS[-1],
        choices=HOWS,
        help="the least that is taken of a suggestion: all of it, its first line, or its first word (default)",
    )
    add("--model", default="starter", help="which installed model (default: %(default)s)")
    add("--format", default="auto", choices=["auto", *FORMATS], help="how weights are held")
    add(
        "--rhythm",
        nargs="?",
        type=float,
        const=USUAL_GAP,
        metavar="MS",
        help="type at a person's own rhythm (median milliseconds from key to key, %(const)s if not given), with the "
        "usual debounce and asking ahead: what is counted then depends on the machine",
    )
    add("--json", action="store_true", help="print nothing but the last line")
    return parser.parse_args(argv)
