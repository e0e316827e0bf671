"""Install any checkpoint of the Llama family from the hub or a local folder.

Problems are found from the small files and headers where possible, before gigabytes are downloaded. Pickled weights are
converted to safetensors once, on request, so that nothing else ever reads a pickle. Torch-free except for that.
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
from inference.download.checkpoint_source import CheckpointSource, LocalFolder, StartStage, description, weight_files
from inference.download.hub_http import unsent_token_notice
from inference.download.licence import Licence
from inference.models import store
from inference.models.catalog import CATALOG, ChatFormat
from inference.models.checkpoint import LoadError, inspect, read_config
from inference.models.identify import Provenance, Trained, check_vocabulary, guess, overridden
from inference.system.terminal import OnProgress
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.tokenizer import TokenizerError

UNKNOWN_LICENCE = "unknown"


@dataclass(frozen=True, slots=True)
class CheckpointRequest:
    """A checkpoint to install, and what the user knows about it.

    Attributes:
        model_id: the id to install it under.
        infill: it was trained to infill; None to derive it from the vocabulary.
        chat: its chat format; None to derive it from the chat template.
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
    """A checkpoint that is available.

    Attributes:
        source: the source of its files.
        licence: its licence, as far as known.
        notices: messages to show before anything is downloaded.
    """

    source: CheckpointSource
    licence: Licence
    notices: tuple[str, ...] = ()


def look_up(request: CheckpointRequest, where: Path | str) -> FoundCheckpoint:
    """Find the checkpoint in a folder or in a repository of the hub. Raises PullError.

    The catalogue may pin a revision of its own repositories. Any other repository is pinned by its first pull: the
    manifest keeps its revision and hashes, and later pulls compare them.
    """
    row = CATALOG.get(request.model_id)
    terms = Licence(row.licence, row.licence_url, row.policy_url) if row else None
    if isinstance(where, Path):
        return FoundCheckpoint(LocalFolder(where), terms or Licence(UNKNOWN_LICENCE, ""))
    found = hub.look_up(where, request.model_id, row.revision if row and row.hub == where else None)
    notices = tuple(filter(None, (unsent_token_notice(), _revision_notice(request.model_id, found))))
    return FoundCheckpoint(found, terms or Licence(found.licence, hub.page(where)), notices)


def _revision_notice(model_id: str, found: hub.HubRepository) -> str:
    """Return a notice if the repository of an installed model has a new revision, with the weights that changed."""
    try:
        name, _, commit = store.source(model_id).rpartition("@")
        before = store.hashes(model_id)
    except store.StoreError:
        return ""
    if name != found.name or commit == found.version:
        return ""
    changed = [file for file, sha256 in found.hashes.items() if before.get(file, sha256) != sha256]
    change = f"these files have changed: {', '.join(changed)}" if changed else "its weights have not changed"
    return f"{name} has moved from revision {commit} (installed) to {found.version}; {change}."


def install(request: CheckpointRequest, found: FoundCheckpoint, start_stage: StartStage) -> Trained | None:
    """Check and install the checkpoint. The caller holds ``store.locked``.

    Return the abilities that were derived from its files, or None if the catalogue knows them. Raises LoadError,
    TokenizerError, PullError, StoreError, OSError.
    """
    source = found.source
    described = source.fetch_description()
    with _source_name_in_errors(source, described):
        trained = _check(request, source, described)
        weights = weight_files(described, source.files, source.name, allow_pickle=request.allow_pickle)
        pickled = weights[0].endswith(".bin")
        if not pickled and all((described / name).exists() for name in weights):
            inspect(described)
    small = [name for name in description(source.files) if not name.startswith("pytorch_model")]
    converted = sum(source.files[name] for name in weights) if pickled else 0
    needed = source.missing_bytes([*small, *weights]) + converted
    origin = f"{source.name}@{source.version}"
    with store.installing(request.model_id, origin, needed, start_stage("Install")) as staging:
        source.fetch(small + ([] if pickled else weights), staging.checkpoint, start_stage("Fetch"))
        if pickled:
            source.fetch(weights, staging.work, start_stage("Fetch"))
            to_safetensors([staging.work / name for name in weights], staging.checkpoint, start_stage("Convert"))
        with _source_name_in_errors(source, staging.checkpoint):
            inspect(staging.checkpoint)
        if trained:
            staging.facts.update(asdict(Provenance(source.name, found.licence.name, found.licence.url, trained)))
    source.close()
    return trained


def install_vocabulary(request: CheckpointRequest, found: FoundCheckpoint) -> Path:
    """Check the small files of a checkpoint and install those of its tokenizer. Return their folder.

    A partial download of the weights is kept. Raises LoadError, TokenizerError, PullError, OSError.
    """
    source = found.source
    described = source.fetch_description()
    with _source_name_in_errors(source, described):
        _check(request, source, described)
    names = (name for name in description(source.files) if not name.endswith(".index.json"))
    return store.put_vocabulary(request.model_id, [described / name for name in names])


def _check(request: CheckpointRequest, source: CheckpointSource, described: Path) -> Trained | None:
    """Check the small files against the request. Return the derived abilities, or None for a catalogue model."""
    read_config(described)
    tokenizer = load_tokenizer(described)
    row = CATALOG.get(request.model_id)
    guessed = None if row else guess(described, tokenizer)
    trained = guessed and overridden(guessed, request.infill, request.chat, no_chat=request.no_chat)
    check_vocabulary(source.name, tokenizer, row or trained or Trained(False, None))
    return trained


@contextmanager
def _source_name_in_errors(source: CheckpointSource, folder: Path) -> Iterator[None]:
    """Replace the temporary ``folder`` in error messages by the name of the source."""
    try:
        yield
    except (LoadError, TokenizerError) as error:
        raise type(error)(str(error).replace(str(folder), source.name)) from error


def to_safetensors(files: Sequence[Path], folder: Path, on_progress: OnProgress) -> None:
    """Convert pickles to a sharded safetensors checkpoint in ``folder``, one shard per file.

    torch's restricted unpickler rejects everything but tensors in dictionaries. ``on_progress`` counts files. Raises
    LoadError for a file that is damaged or holds more than tensors.
    """
    from safetensors.torch import save_file

    weight_map: dict[str, str] = {}
    for n, file in enumerate(files, 1):
        shard = f"model-{n:05}-of-{len(files):05}.safetensors"
        tensors = {name: tensor.contiguous().clone() for name, tensor in _tensors(file).items()}
        save_file(tensors, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, shard)
        on_progress(n, len(files))
    index = {"metadata": {}, "weight_map": weight_map}
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
