"""``codellama-ls doctor``: run all checks and print a line for each. Each problem comes with a suggested fix.

Everything that needs torch runs in a child process or in the engine.
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
from inference.doctor.check import Check, ReportProgress, healthy, run_checks
from inference.doctor.engine_checks import smoke_test
from inference.doctor.installation import check_models, check_permissions, check_versions
from inference.system.machine import look
from lsp_server.backend import allowed_servers
from lsp_server.doctor import bundle, last_requests
from lsp_server.doctor.settings_checks import (
    REMOTE_SERVER,
    UnusableError,
    check_remote_server,
    check_settings,
    settings_of,
    with_model,
)
from lsp_server.settings import SavedSettings
from lsp_server.usage_statistics import storage

USUAL = 10
"""Default number of requests for ``--last``."""
GRACE_SECONDS = 1.0
"""Seconds that an engine started only for the checks stays running."""

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def main(argv: Sequence[str]) -> int:
    """Run the command. Exit status: 0 no problem, 1 at least one problem, 2 wrong usage."""
    options = _parser().parse_args(argv)
    if options.last is not None:
        return last_requests.print_last_requests(options.last, as_json=options.json)
    report = None if options.bundle is None else Path(options.bundle or bundle.default_name())
    try:
        kept = settings_of(options.settings)
        tried = [with_model(kept, options.model), *([kept.engine] if kept else [])]
        if report is not None and report.exists():
            raise UnusableError(f"{report} is there already. Choose another file for the report.")
        with _progress() as say:
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
    parser = argparse.ArgumentParser(
        prog="codellama-ls doctor",
        description="Check the installation, the models and the engine. Each problem comes with a suggested fix.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object with the verdict and all checks")
    parser.add_argument(
        "--quick", action="store_true", help="run no model, and compare file sizes instead of checksums"
    )
    parser.add_argument("--model", default="", help="model to check (default: that of the last editor session)")
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="JSON file with the settings to check (default: those of the last editor session)",
    )
    parser.add_argument(
        "--engine-url", default="", metavar="URL", help="remote server, as in your editor's command line"
    )
    parser.add_argument(
        "--bundle", nargs="?", const="", metavar="FILE", help="also write a report to share; it contains no code"
    )
    parser.add_argument(
        "--last",
        nargs="?",
        type=int,
        const=USUAL,
        metavar="N",
        help=f"show the last N requests (default: {USUAL}) and why nothing was shown, instead of the checks",
    )
    return parser


def examine(
    kept: SavedSettings | None, model: str, say: ReportProgress, engine_url: str = "", *, quick: bool = False
) -> list[Check]:
    """Run all checks in order of dependency. ``engine_url`` is the remote server of the command line."""
    engine = with_model(kept, model)
    options = EngineOptions(engine.model, engine.format, GRACE_SECONDS, engine.context or None, engine.chat_model)
    checks = [
        *run_checks("versions", check_versions),
        *run_checks("folders", lambda: check_permissions([storage.statistics_path().parent])),
    ]
    checks += run_checks("settings", lambda: check_settings(kept))
    if allowed_servers.is_named(engine_url):  # no local model is needed then
        say("contacting the remote server")
        return checks + run_checks(REMOTE_SERVER, lambda: check_remote_server(engine, engine_url, quick=quick))
    checks += run_checks("models", lambda: check_models(options.models, say, full=not quick))
    stats = engine_checks.engine_stats()
    checks += run_checks("engine", lambda: engine_checks.check_engine(stats))
    say("checking torch")
    facts = hardware.probe_torch(options)
    checks += run_checks("GPU", lambda: hardware.check_gpu(look(), hardware.driver(), facts, hardware.gpu_files()))
    checks += run_checks("kernels", lambda: hardware.check_kernels(facts))
    checks += run_checks("memory", lambda: hardware.check_room(facts, engine_checks.has_loaded(stats, options.models)))
    if not quick:
        say("starting the engine")
        checks += run_checks("engine start", lambda: asyncio.run(_smoke(options, say)))
    return checks


async def _smoke(options: EngineOptions, say: ReportProgress) -> list[Check]:
    return [check async for check in smoke_test(options, say)]


def verdict(checks: Sequence[Check], *, quick: bool) -> str:
    """Return the verdict: one or two sentences with the first fix to try."""
    problems = [check for check in checks if check.verdict == "problem"]
    warnings = sum(check.verdict == "warning" for check in checks)
    more = f" {_count(warnings, 'warning')}." if warnings else ""
    if problems:
        first = f"{problems[0].name}: {problems[0].advice}" if problems[0].advice else problems[0].name
        return f"{_count(len(problems), 'problem')}.{more} Begin with {first}"
    if quick:
        return f"No problem was found, but no model was run. Omit --quick to run it.{more}"
    return f"It works.{more}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def _show(checks: Sequence[Check], options: argparse.Namespace) -> None:
    summary = verdict(checks, quick=options.quick)
    if options.json:
        report = {"healthy": healthy(checks), "verdict": summary, "checks": [check.to_json() for check in checks]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    # Piped output has no width; do not wrap or cut lines.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(table(checks))
    console.print(f"\n{escape(summary)}")


def table(checks: Sequence[Check]) -> Table:
    """Return a table with a row per check, followed by its suggested fix if there is one."""
    result = Table(box=None, pad_edge=False, show_header=False)
    for name in ("check", "verdict"):
        result.add_column(name, no_wrap=True)
    result.add_column("result")
    for check in checks:
        colour = COLOURS[check.verdict]
        result.add_row(escape(check.name), f"[{colour}]{check.verdict}[/]", escape(check.text))
        if check.advice:
            result.add_row("", "", f"→ {escape(check.advice)}")
    return result


@contextmanager
def _progress() -> Iterator[ReportProgress]:
    """Report progress on stderr: one updated line in a terminal, otherwise a line for each new step."""
    console, reported = Console(stderr=True, highlight=False), set[str]()

    def report(text: str) -> None:
        kind = text.partition(":")[0]
        if kind not in reported:
            reported.add(kind)
            console.print(f"{kind} ...", markup=False)

    if not console.is_terminal:
        yield report
        return
    with console.status("checking") as status:
        yield lambda text: status.update(escape(text))
