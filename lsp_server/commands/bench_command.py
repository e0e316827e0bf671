"""``codellama-ls bench``: replay an editing trace against our engine and rivals, side by side in one run."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

import inference
from inference.errors import CodeLlamaError
from inference.models.shape import FORMATS
from inference.system.machine import usable_cores
from lsp_server.benchmark import end_to_end
from lsp_server.benchmark.bench_figures import figures
from lsp_server.benchmark.bench_report import show
from lsp_server.benchmark.scenarios import ReportProgress, measure, watch_memory
from lsp_server.benchmark.sides.http_sides import find_side
from lsp_server.benchmark.sides.own_engine import own_engine
from lsp_server.benchmark.sides.side import Side
from lsp_server.benchmark.sides.transformers_side import start_transformers
from lsp_server.benchmark.source_choice import NoFilesError
from lsp_server.benchmark.workload import QUICK, REQUESTS, Workload, make_large_work, make_workload


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark. Exit status 1 if a side can't be measured, 2 if there are no files."""
    args = _arguments(argv)
    console = Console(stderr=True, quiet=args.json)
    result = run_measurement(bench(args, console.print))
    if isinstance(result, int):
        return result
    if not args.json:
        show(Console(highlight=False, width=None if sys.stdout.isatty() else 160), result)
    print(json.dumps(result, ensure_ascii=False))  # noqa: T201
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls bench",
        description="Replay an editing trace against the engine and against what you would use instead.",
    )
    add = parser.add_argument
    add("--against", action="append", default=[], metavar="URL", help="a llama-server or OpenAI-compatible server")
    add("--against-transformers", action="store_true", help="transformers' generate() on the same weights")
    add("--model", default="starter", help="installed model (default: %(default)s)")
    add(
        "--format",
        default="auto",
        choices=["auto", *FORMATS],
        help="weight format, also of transformers unless --transformers-format is given",
    )
    add("--transformers-format", choices=[*FORMATS], help="weight format of transformers (default: as --format)")
    add("--url", help="measure our engine at this URL instead of starting one")
    add("--files", type=Path, metavar="FOLDER", help="make the trace from these files (default: installed packages)")
    add("--requests", type=int, default=REQUESTS, metavar="N", help="requests of the trace (default: %(default)s)")
    add("--tokens", type=int, default=8, metavar="N", help="tokens of a completion (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the trace (default: %(default)s)")
    add("--quick", action="store_true", help="measure a fraction of everything")
    add(
        "--large",
        action="store_true",
        help="only a few requests of fixed lengths, for a model that takes minutes a request",
    )
    add(
        "--no-felt",
        action="store_true",
        help="leave out end-to-end latency through the language server, and its second engine",
    )
    add("--json", action="store_true", help="print only the last line, as JSON")
    return parser.parse_args(argv)


async def bench(args: argparse.Namespace, tell: ReportProgress) -> dict[str, Any]:
    """Measure every side and return the figures with their settings. Rivals are checked before a model is loaded.

    Raises ``BenchError``, ``NoFilesError``.
    """
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        rivals = [await stack.enter_async_context(_closing(await find_side(url))) for url in args.against]
        work = _work(args)
        sides = [await _ours(args, stack, tell), *rivals]
        if args.against_transformers:
            tell("loading the model with transformers")
            form = args.transformers_format or args.format
            sides.append(await stack.enter_async_context(_closing(await start_transformers(args.model, form))))
        watched = {side.pid: side.name for side in sides if side.pid}
        seen = await stack.enter_async_context(watch_memory(watched))
        window = await _window(args, stack, tell)
        results = await measure(sides, work, args.tokens, window, tell)
        results.peaks = {watched[pid]: size for pid, size in seen.items()}
    head = {**_head(args, work), "seconds": round(time.monotonic() - started)}
    return {**head, **figures(results, sides[0].name)}


def _work(args: argparse.Namespace) -> Workload:
    """Build the prompts. Raises ``BenchError``, ``NoFilesError``."""
    if args.large:
        return make_large_work(args.model, args.files, args.seed)
    count = max(args.requests // (QUICK if args.quick else 1), 1)
    return make_workload(args.model, args.files, count, args.seed)


async def _ours(args: argparse.Namespace, stack: AsyncExitStack, tell: ReportProgress) -> Side:
    if args.url:
        return await stack.enter_async_context(_closing(await find_side(args.url, own=True)))
    tell("loading the model")
    return await stack.enter_async_context(own_engine(args.model, args.format))


async def _window(
    args: argparse.Namespace, stack: AsyncExitStack, tell: ReportProgress
) -> end_to_end.ReplaySession | None:
    if args.no_felt or args.url or args.large:
        return None
    tell("starting the language server and its own engine")
    return await stack.enter_async_context(end_to_end.replay_session(args.model, args.format, args.tokens))


@asynccontextmanager
async def _closing(side: Side) -> AsyncIterator[Side]:
    try:
        yield side
    finally:
        await side.aclose()


def _head(args: argparse.Namespace, work: Workload) -> dict[str, Any]:
    """Return settings, version and machine."""
    machine = {"system": platform.platform(terse=True), "cores": usable_cores()}
    asked = {"requests": len(work.trace), "tokens": args.tokens, "seed": args.seed}
    return {"version": inference.__version__, "model": args.model, "format": args.format, **asked, "machine": machine}


def run_measurement(measuring: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any] | int:
    """Run a measurement; return its result, or the exit status after printing an error."""
    try:
        return asyncio.run(measuring)
    except CodeLlamaError as error:
        print(f"codellama-ls: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, NoFilesError) else 1
