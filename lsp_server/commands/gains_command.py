"""``codellama-ls gains``: the effect of each part of a completion on holes in real projects, with intervals.

Tables and a last line of JSON go to stdout, progress to stderr. Completions are kept in a journal: the same command
resumes an interrupted run, and ``--minutes 0`` reports what the journal has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

import inference
from inference.api.events import Finished, TextChunk
from inference.api.requests import CompletionRequest
from inference.client.engine_client import EngineClient
from inference.errors import CodeLlamaError
from inference.evaluation.batch_journal import BatchJournal, key_of
from inference.models.manifest import MANIFEST
from inference.models.shape import FORMATS
from inference.models.store import installed
from inference.system.machine import usable_cores
from lsp_server.benchmark.gains.completions import CompletedHole, CompletionSource, TextLimits, requests_for
from lsp_server.benchmark.gains.gain_figures import figures
from lsp_server.benchmark.gains.gain_holes import (
    DefinedNames,
    FoundHoles,
    GainHole,
    defined_names,
    find_holes,
    more_ends,
)
from lsp_server.benchmark.gains.gain_report import show
from lsp_server.benchmark.gains.projects import fetch_all, fetched, project_name, projects_folder
from lsp_server.benchmark.sides.own_engine import started_engine
from lsp_server.completion.pipeline import Completer

HOLES, OTHERS = 1050, 600
EVERY = 25
"""Holes between two progress messages."""

Tell = Callable[[str], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status 1 if fetching or measuring fails, 2 if there are no folders."""
    args = _arguments(argv)
    try:
        return _fetch() if args.fetch else _measure(args)
    except FileNotFoundError as error:
        return _say(str(error), 2)
    except CodeLlamaError as error:
        return _say(str(error), 1)
    except KeyboardInterrupt:
        return _say("Interrupted. Run the same command to resume, or add --minutes 0 to report what there is.", 1)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls gains",
        description="Measure the effect of infilling, stop rules, post-processing and context in real projects.",
        epilog="The same command resumes an interrupted run.",
    )
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="projects (default: five pinned ones, see --fetch)")
    add("--fetch", action="store_true", help="fetch the pinned projects from PyPI and npm, and nothing else")
    add("--holes", type=int, default=HOLES, metavar="N", help="approximate number of holes (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the choice of holes (default: %(default)s)")
    add("--minutes", type=float, metavar="M", help="stop after so many minutes, and report what there is")
    add("--model", default="starter", help="installed model (default: %(default)s)")
    add("--format", default="auto", choices=["auto", *FORMATS], help="weight format (default: %(default)s)")
    add(
        "--prefix-chars", type=int, default=500, metavar="N", help="characters before the cursor (default: %(default)s)"
    )
    add("--suffix-chars", type=int, default=250, metavar="N", help="characters after it (default: %(default)s)")
    add("--context-chars", type=int, default=800, metavar="N", help="shown of other holes (default: %(default)s)")
    add("--line-tokens", type=int, default=24, metavar="N", help="most tokens where a line is missing")
    add("--block-tokens", type=int, default=40, metavar="N", help="most tokens where a block is missing")
    add(
        "--others",
        type=int,
        default=OTHERS,
        metavar="N",
        help="additional ends of lines that need another file's name (default: %(default)s)",
    )
    add("--json", action="store_true", help="print only the last line, as JSON")
    add("--output", type=Path, metavar="FILE", help="also write the JSON to this file, and the journal beside it")
    return parser.parse_args(argv)


def _fetch() -> int:
    try:
        fetch_all(projects_folder())
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        return _say(f"{' '.join(error.cmd[:3])} failed: {lines[-1] if lines else error.returncode}", 1)
    except FileNotFoundError as error:
        return _say(f"{error.filename} is not installed. Install it to fetch the projects.", 1)
    return _say(f"the pinned projects are in {projects_folder()}", 0)


def _measure(args: argparse.Namespace) -> int:
    found = find_holes(args.folders or fetched(projects_folder()), args.holes, args.seed)
    if not found.holes:
        raise FileNotFoundError("There is no source code in these folders. Choose others.")
    known = {project: defined_names(files) for project, files in found.files.items()}
    answered = asyncio.run(_answers(args, [*found.holes, *_others(args, found, known)]))
    if not answered:
        return _say("There are no completions yet. Leave out --minutes, or raise it.", 1)
    count = len(found.holes)
    result = {**_head(args, found), **figures(answered[:count], answered[count:], known)}
    line = json.dumps(result, ensure_ascii=False)
    if args.output:
        args.output.write_text(f"{line}\n", "utf-8")
    if not args.json:
        show(Console(highlight=False, width=None if sys.stdout.isatty() else 230), result)
    print(line)  # noqa: T201
    return 0


def _others(args: argparse.Namespace, found: FoundHoles, known: Mapping[Path, DefinedNames]) -> list[GainHole]:
    """Return additional ends of lines that need another file's name."""
    if args.others <= 0:
        return []
    _tell("searching ends of lines that need another file's name")
    ends = (hole for hole in more_ends(found, args.seed) if _needs_others(hole, known, limits(args)))
    return list(islice(ends, args.others))


def _needs_others(hole: GainHole, known: Mapping[Path, DefinedNames], limits: TextLimits) -> bool:
    return bool(known[hole.project].in_other_files(hole, requests_for(hole, replace(limits, context_chars=0)).window))


async def _answers(args: argparse.Namespace, holes: Sequence[GainHole]) -> list[CompletedHole]:
    journal = _journal(args)
    async with AsyncExitStack() as stack:
        answers = CompletionSource(_OnDemand(args.model, args.format, stack), journal, _identity(args))
        return await ask_all(answers, holes, limits(args), args.minutes, _tell)


async def ask_all(
    answers: CompletionSource, holes: Sequence[GainHole], limits: TextLimits, minutes: float | None, tell: Tell
) -> list[CompletedHole]:
    """Complete each hole; after ``minutes`` only those in the journal. Raises ``EngineError``."""
    started, done = time.monotonic(), []
    for hole in holes:
        asked = requests_for(hole, limits)
        spent = time.monotonic() - started
        if minutes is not None and spent >= 60 * minutes and not answers.known(asked):
            break
        done.append(await answers.ask(asked))
        if len(done) % EVERY == 0:
            tell(f"{len(done)} of {len(holes)} holes, {spent / 60:.1f} minutes")
    return done


class _OnDemand:
    """An engine that starts with its first request."""

    def __init__(self, model: str, form: str, stack: AsyncExitStack) -> None:
        self._model, self._form, self._stack = model, form, stack
        self._engine: Completer | None = None

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        """Stream a completion. Raises ``BenchError``, ``EngineError``."""
        if self._engine is None:
            _tell("loading the model")
            socket, _ = await self._stack.enter_async_context(started_engine(self._model, self._form))
            client = EngineClient(socket)
            self._stack.push_async_callback(client.aclose)
            self._engine = client
        async with aclosing(self._engine.complete(request)) as events:
            async for event in events:
                yield event


def limits(args: argparse.Namespace) -> TextLimits:
    """Return the limits of the command line."""
    return TextLimits(args.prefix_chars, args.suffix_chars, args.context_chars, args.line_tokens, args.block_tokens)


def _identity(args: argparse.Namespace) -> str:
    """Return a key of everything about the model that decides a completion. Raises ``StoreError``."""
    manifest = installed(args.model) / MANIFEST
    return key_of(args.model, args.format, json.loads(manifest.read_text("utf-8")))


def _journal(args: argparse.Namespace) -> BatchJournal:
    """Return the journal: beside the output, or in the projects' folder."""
    if args.output:
        return BatchJournal(args.output.with_name(f"{args.output.name}.answers.jsonl"))
    return BatchJournal(projects_folder() / "answers.jsonl")


def _head(args: argparse.Namespace, found: FoundHoles) -> dict[str, Any]:
    """Return settings, version and machine."""
    machine = {"system": platform.platform(terse=True), "cores": usable_cores()}
    asked = {name: vars(args)[name] for name in ("model", "format", "seed")}
    shown = {name: getattr(limits(args), name) for name in TextLimits.__dataclass_fields__}
    projects = {project_name(project): len(files) for project, files in found.files.items()}
    return {"version": inference.__version__, **asked, **shown, "files": projects, "machine": machine}


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _say(text: str, status: int) -> int:
    _tell(f"codellama-ls: {text}")
    return status
