"""``codellama-ls doctor``: every check, one line each, with the next step where something is not well, and a verdict.

Knows no torch: what needs it runs in a child process or in the engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inference.client.engine_process import EngineOptions
from inference.doctor import engine_checks, hardware
from inference.doctor.check import Check, Say, attempt, healthy
from inference.doctor.engine_checks import smoke
from inference.doctor.installation import check_models, check_permissions, check_versions
from inference.system.machine import look
from lsp_server.backend import allowed_servers
from lsp_server.doctor import bundle, last_requests
from lsp_server.doctor.settings_checks import (
    NAME,
    UnusableError,
    check_elsewhere,
    check_settings,
    settings_of,
    with_model,
)
from lsp_server.settings import SavedSettings
from lsp_server.usage_statistics import storage

USUAL = 10
GRACE_SECONDS = 1.0
"""How long an engine that was started only to be looked at stays afterwards."""

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 nothing is wrong, 1 something is, 2 used wrongly."""
    options = _parser().parse_args(argv)
    if options.last is not None:
        return last_requests.show(options.last, as_json=options.json)
    report = None if options.bundle is None else Path(options.bundle or bundle.usual_name())
    try:
        kept = settings_of(options.settings)
        tried = [with_model(kept, options.model), *([kept.engine] if kept else [])]
        if report is not None and report.exists():
            raise UnusableError(f"{report} is there already: name another file for the report.")
        with _telling() as say:
            checks = examine(kept, options.model, say, options.engine_url, quick=options.quick)
            written = report and bundle.write(report, checks, tried)
    except (UnusableError, OSError) as error:
        sys.stderr.write(f"codellama-ls: {error}\n")
        return 2
    _show(checks, options)
    if written:
        print(f"Read {written} before you share it; it should hold no code, path or name.", file=sys.stderr)  # noqa: T201
    return 0 if healthy(checks) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="codellama-ls doctor", description="What is well, what is not, what to do.")
    parser.add_argument("--json", action="store_true", help="for programs: an object with a verdict and the checks")
    parser.add_argument(
        "--quick", action="store_true", help="ask no model, and compare the sizes of weights instead of checksums"
    )
    parser.add_argument("--model", default="", help="which model to try (default: the last window's)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings to check, as JSON (default: as above)")
    parser.add_argument(
        "--engine-url", default="", metavar="URL", help="the server elsewhere that your editor's command line names"
    )
    parser.add_argument(
        "--bundle", nargs="?", const="", metavar="FILE", help="also write a report to share, without any code"
    )
    parser.add_argument(
        "--last",
        nargs="?",
        type=int,
        const=USUAL,
        metavar="N",
        help=f"instead: what became of the last N requests (default: {USUAL}), and why nothing was shown",
    )
    return parser


def examine(
    kept: SavedSettings | None, model: str, say: Say, engine_url: str = "", *, quick: bool = False
) -> list[Check]:
    """Every check, from what all else rests on to what a person sees. ``engine_url`` as the server's command line."""
    engine = with_model(kept, model)
    options = EngineOptions(engine.model, engine.format, GRACE_SECONDS, engine.context or None, engine.chat_model)
    checks = [
        *attempt("versions", check_versions),
        *attempt("places", lambda: check_permissions([storage.path().parent])),
    ]
    checks += attempt("settings", lambda: check_settings(kept))
    if allowed_servers.is_named(engine_url):  # then nothing is to be loaded here
        say("asking the server elsewhere")
        return checks + attempt(NAME, lambda: check_elsewhere(engine, engine_url, quick=quick))
    checks += attempt("models", lambda: check_models(options.models, say, full=not quick))
    stats = engine_checks.look()
    checks += attempt("engine", lambda: engine_checks.check_engine(stats))
    say("asking torch what it can compute with")
    facts = hardware.ask(options)
    checks += attempt("GPU", lambda: hardware.check_gpu(look(), hardware.driver(), facts, hardware.signs()))
    checks += attempt("kernels", lambda: hardware.check_kernels(facts))
    checks += attempt("memory", lambda: hardware.check_room(facts, engine_checks.has_loaded(stats, options.models)))
    if not quick:
        say("starting the engine")
        checks += attempt("engine start", lambda: asyncio.run(_smoke(options, say)))
    return checks


async def _smoke(options: EngineOptions, say: Say) -> list[Check]:
    return [check async for check in smoke(options, say)]


def verdict(checks: Sequence[Check], *, quick: bool) -> str:
    """All of it in a sentence or two."""
    problems = [check for check in checks if check.verdict == "problem"]
    warnings = sum(check.verdict == "warning" for check in checks)
    more = f" {_count(warnings, 'warning')}." if warnings else ""
    if problems:
        first = f"{problems[0].name}: {problems[0].advice}" if problems[0].advice else problems[0].name
        return f"{_count(len(problems), 'problem')}.{more} Begin with {first}"
    if quick:
        return f"Nothing wrong was found, but no model was asked: leave out --quick for that.{more}"
    return f"It works.{more}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def _show(checks: Sequence[Check], options: argparse.Namespace) -> None:
    said = verdict(checks, quick=options.quick)
    if options.json:
        report = {"healthy": healthy(checks), "verdict": said, "checks": [check.to_json() for check in checks]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    # Piped output has no width of its own: none is better than cut sentences.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(table(checks))
    console.print(f"\n{escape(said)}")


def table(checks: Sequence[Check]) -> Table:
    """A row a check, and under those that are not well what to do."""
    drawn = Table(box=None, pad_edge=False, show_header=False)
    for name in ("check", "verdict"):
        drawn.add_column(name, no_wrap=True)
    drawn.add_column("found")
    for check in checks:
        colour = COLOURS[check.verdict]
        drawn.add_row(escape(check.name), f"[{colour}]{check.verdict}[/]", escape(check.text))
        if check.advice:
            drawn.add_row("", "", f"→ {escape(check.advice)}")
    return drawn


@contextmanager
def _telling() -> Iterator[Say]:
    """On stderr, what is done now: in place in a terminal, else a line each time that it is something else."""
    console, told = Console(stderr=True, highlight=False), set[str]()

    def tell(text: str) -> None:
        kind = text.partition(":")[0]
        if kind not in told:
            told.add(kind)
            console.print(f"{kind} ...", markup=False)

    if not console.is_terminal:
        yield tell
        return
    with console.status("looking around") as status:
        yield lambda text: status.update(escape(text))
