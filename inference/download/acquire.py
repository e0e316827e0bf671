"""Any checkpoint of the Llama family, from the hub or a folder -> an installed model that is known to be one.

Torch-free unless pickles are to be read. Knows no terminal. What is wrong with a checkpoint is found from its small
files and headers where they suffice, before gigabytes are moved.

Pickled weights -> safetensors, once and only when asked, so that nothing else ever reads a pickle.

Knows only tensors in dictionaries: anything else in a file is refused by torch's restricted unpickler.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inference.download import hub
from inference.download.checkpoint_source import Folder, Source, description, weight_files
from inference.download.hub_http import withheld
from inference.download.licence import Licence
from inference.download.wheel import Stages
from inference.models import store
from inference.models.catalog import CATALOG, ChatFormat
from inference.models.checkpoint import LoadError, inspect, read_config
from inference.models.identify import Provenance, Trained, check_vocabulary, guess, overridden
from inference.system.progress import OnProgress
from inference.text.tokenizer import TokenizerError
from inference.text.tokenizer_loader import load_tokenizer

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckpointRequest:
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
class FoundCheckpoint:
    """A checkpoint that can be had.

    Attributes:
        source: where its files are.
        licence: the licence it is under, as far as that is known.
        notices: sentences for the user, before anything is downloaded.
    """

    source: Source
    licence: Licence
    notices: tuple[str, ...] = ()


def look_up(wish: CheckpointRequest, where: Path | str) -> FoundCheckpoint:
    """Find the checkpoint in a folder, or in a repository of the hub. Raises PullError.

    A repository of the catalogue is asked for the revision that the catalogue pins, if it pins one. Any other is
    pinned by its first pull: the manifest keeps its revision and hashes, and a later one compares them.
    """
    row = CATALOG.get(wish.model_id)
    terms = Licence(row.licence, row.licence_url, row.policy_url) if row else None
    if isinstance(where, Path):
        return FoundCheckpoint(Folder(where), terms or Licence(UNKNOWN, ""))
    found = hub.look_up(where, wish.model_id, row.revision if row and row.hub == where else None)
    notices = tuple(filter(None, (withheld(), _moved(wish.model_id, found))))
    return FoundCheckpoint(found, terms or Licence(found.licence, hub.page(where)), notices)


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


def install(wish: CheckpointRequest, found: FoundCheckpoint, stages: Stages) -> Trained | None:
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


def install_vocabulary(wish: CheckpointRequest, found: FoundCheckpoint) -> Path:
    """Check the checkpoint's small files and keep those that say how text becomes ids; the folder they are in then.

    What an interrupted pull of the weights has left stays. Raises LoadError, TokenizerError, PullError, OSError.
    """
    source = found.source
    described = source.describe()
    with _named(source, described):
        _check(wish, source, described)
    names = (name for name in description(source.files) if not name.endswith(".index.json"))
    return store.put(wish.model_id, [described / name for name in names])


def _check(wish: CheckpointRequest, source: Source, described: Path) -> Trained | None:
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


def to_safetensors(files: Sequence[Path], folder: Path, on_progress: OnProgress) -> None:
    """Write what ``files`` hold into ``folder`` as a sharded checkpoint, a shard a file; ``on_progress`` counts files.

    Raises LoadError for a file that is damaged or holds more than tensors.
    """
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    for n, file in enumerate(files, 1):
        shard = f"model-{n:05}-of-{len(files):05}.safetensors"
        tensors = {name: tensor.contiguous().clone() for name, tensor in _tensors(file).items()}
        save_file(tensors, folder / shard, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, shard)
        on_progress(n, len(files))
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index) + "\n", "utf-8")


def _tensors(file: Path) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise LoadError(f"{file} is damaged or holds more than weights ({reason}).") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise LoadError(f"{file} holds more than weights.")
    return content
