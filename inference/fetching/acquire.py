"""Any checkpoint of the Llama family, from the hub or a folder -> an installed model that is known to be one.

Torch-free unless pickles are to be read. Knows no terminal. What is wrong with a checkpoint is found from its small
files and headers where they suffice, before gigabytes are moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from inference.fetching import hub
from inference.fetching.hub_http import withheld
from inference.fetching.licence import Licence
from inference.fetching.pickled import to_safetensors
from inference.fetching.source import Folder, Source, description, weight_files
from inference.fetching.wheel import Stages
from inference.models import store, vocabularies
from inference.models.catalog import CATALOG, ChatFormat
from inference.models.checkpoint import LoadError, inspect, read_config
from inference.models.rows import Provenance, Trained, check_vocabulary, guess, overridden
from inference.text.loading import load_tokenizer
from inference.text.tokenizer import TokenizerError

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be installed, and what a person knows about it.

    Attributes:
        model_id: to install it under.
        infill: whether it was trained to infill; None to go by its vocabulary.
        chat: the format it was trained to chat in; None to go by its chat template.
        no_chat: it was not trained to chat, whatever its template says.
        allow_pickle: weights may be read from pickles.
    """

    model_id: str
    infill: bool | None = None
    chat: ChatFormat | None = None
    no_chat: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint that can be had.

    Attributes:
        source: where its files are.
        licence: the licence it is under, as far as that is known.
        notices: sentences for the user, before anything is downloaded.
    """

    source: Source
    licence: Licence
    notices: tuple[str, ...] = ()


def look_up(wish: Wish, where: Path | str) -> Found:
    """Find the checkpoint in a folder, or in a repository of the hub. Raises PullError.

    A repository of the catalogue is asked for the revision that the catalogue pins, if it pins one. Any other is
    pinned by its first pull: the manifest keeps its revision and hashes, and a later one compares them.
    """
    row = CATALOG.get(wish.model_id)
    terms = Licence(row.licence, row.licence_url, row.policy_url) if row else None
    if isinstance(where, Path):
        return Found(Folder(where), terms or Licence(UNKNOWN, ""))
    found = hub.look_up(where, wish.model_id, row.revision if row and row.hub == where else None)
    notices = tuple(filter(None, (withheld(), _moved(wish.model_id, found))))
    return Found(found, terms or Licence(found.licence, hub.page(where)), notices)


def _moved(model_id: str, found: hub.Hub) -> str:
    """Say where the repository of an installed model holds another revision now, and whether its weights changed."""
    try:
        name, _, commit = store.source(model_id).rpartition("@")
        before = store.hashes(model_id)
    except store.StoreError:
        return ""
    if name != found.name or commit == found.version:
        return ""
    changed = [file for file, sha256 in found.hashes.items() if before.get(file, sha256) != sha256]
    what = f"these files have changed: {', '.join(changed)}" if changed else "its weights have not changed"
    return f"{name} has moved from revision {commit} (installed) to {found.version}; {what}."


def install(wish: Wish, found: Found, stages: Stages) -> Trained | None:
    """Check the checkpoint and install it; the caller holds ``store.locked``.

    Returns what it was taken to be trained for, or None where the catalogue says that. Raises LoadError,
    TokenizerError, PullError, StoreError, OSError.
    """
    source = found.source
    described = source.describe()
    with _named(source, described):
        trained = _check(wish, source, described)
        weights = weight_files(described, source.files, source.name, allow_pickle=wish.allow_pickle)
        pickled = weights[0].endswith(".bin")
        if not pickled and all((described / name).exists() for name in weights):
            inspect(described)
    small = [name for name in description(source.files) if not name.startswith("pytorch_model")]
    needed = source.still_needed([*small, *weights]) + (sum(source.files[name] for name in weights) if pickled else 0)
    origin = f"{source.name}@{source.version}"
    with store.installing(wish.model_id, origin, needed, stages("Install")) as staging:
        source.bring(small + ([] if pickled else weights), staging.checkpoint, stages("Fetch"))
        if pickled:
            source.bring(weights, staging.work, stages("Fetch"))
            to_safetensors([staging.work / name for name in weights], staging.checkpoint, stages("Convert"))
        with _named(source, staging.checkpoint):
            inspect(staging.checkpoint)
        if trained:
            staging.facts.update(asdict(Provenance(source.name, found.licence.name, found.licence.url, trained)))
    source.close()
    return trained


def install_vocabulary(wish: Wish, found: Found) -> Path:
    """Check the checkpoint's small files and keep those that say how text becomes ids; the folder they are in then.

    What an interrupted pull of the weights has left stays. Raises LoadError, TokenizerError, PullError, OSError.
    """
    source = found.source
    described = source.describe()
    with _named(source, described):
        _check(wish, source, described)
    names = (name for name in description(source.files) if not name.endswith(".index.json"))
    return vocabularies.put(wish.model_id, [described / name for name in names])


def _check(wish: Wish, source: Source, described: Path) -> Trained | None:
    """Whether the small files describe what was wished for."""
    read_config(described)
    tokenizer = load_tokenizer(described)
    row = CATALOG.get(wish.model_id)
    guessed = None if row else guess(described, tokenizer)
    trained = guessed and overridden(guessed, wish.infill, wish.chat, no_chat=wish.no_chat)
    check_vocabulary(source.name, tokenizer, row or trained or Trained(False, None))
    return trained


@contextmanager
def _named(source: Source, folder: Path) -> Iterator[None]:
    """Have sentences name what the person asked for instead of the folder where it lies for now."""
    try:
        yield
    except (LoadError, TokenizerError) as error:
        raise type(error)(str(error).replace(str(folder), source.name)) from error
