"""Sources of a checkpoint: the interface, the files that are needed, and a local folder as a source.

File names are Hugging Face's. Torch-free.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from inference.errors import CodeLlamaError
from inference.models.checkpoint import LoadError
from inference.system.terminal import OnProgress

DESCRIPTION = (
    "config.json",
    "generation_config.json",
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
"""The small files that describe a checkpoint. All other files that are needed hold weights."""

UNSHARDED = {".safetensors": "model.safetensors", ".bin": "pytorch_model.bin"}
"""Name of the only weights file of an unsharded checkpoint, by extension."""

StartStage = Callable[[str], OnProgress]
"""Starts a named stage of a pull and returns its progress callback."""


class PullError(CodeLlamaError):
    """A model could not be pulled.

    Attributes:
        detail: output of another program about the failure, shown on request; may be empty.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class CheckpointSource(Protocol):
    """The files of a checkpoint, remote or local.

    Attributes:
        name: the name that messages use.
        version: the revision, for the manifest.
        files: size in bytes of every file, by name.
    """

    name: str
    version: str
    files: Mapping[str, int]

    def fetch_description(self) -> Path:
        """Return a folder with the existing files of ``DESCRIPTION``. Raises PullError."""
        ...

    def missing_bytes(self, names: Sequence[str]) -> int:
        """Return the bytes that ``fetch`` will add to the disk."""
        ...

    def fetch(self, names: Sequence[str], into: Path, on_progress: OnProgress) -> None:
        """Put files into a folder. ``on_progress`` counts bytes. Raises PullError, OSError."""
        ...

    def close(self) -> None:
        """Remove what was kept to resume an interrupted download."""
        ...


def description(files: Iterable[str]) -> list[str]:
    """Return the names in ``files`` that are in ``DESCRIPTION``."""
    return [name for name in DESCRIPTION if name in set(files)]


def weight_files(folder: Path, files: Iterable[str], name: str, *, allow_pickle: bool = False) -> list[str]:
    """Return the names in ``files`` that hold the weights. Safetensors are preferred.

    Args:
        folder: contains the index of a sharded checkpoint.
        files: names of all files of the checkpoint.
        name: name of the checkpoint in messages.
        allow_pickle: use pickles if there are no safetensors.

    Raises:
        LoadError: a file is missing or the index is damaged.
        PullError: there are only pickles and they are not allowed.
    """
    existing = set(files)
    if names := _weights(folder, existing, ".safetensors", name):
        return names
    pickles = _weights(folder, existing, ".bin", name)
    if not pickles:
        raise LoadError(f"The checkpoint in {name} lacks {UNSHARDED['.safetensors']}.")
    if not allow_pickle:
        raise PullError(
            f"{name} has its weights only as pickles ({pickles[0]}). Reading a pickle can run any code that its author "
            "put into it. Choose a checkpoint with .safetensors files, or add --allow-pickle if you trust the author."
        )
    return pickles


def _weights(folder: Path, existing: set[str], extension: str, name: str) -> list[str]:
    """Return the weights files with this extension: those in the index, else the single file, else none."""
    single = UNSHARDED[extension]
    if f"{single}.index.json" not in existing:
        return [single] if single in existing else []
    names = _indexed(folder / f"{single}.index.json", name)
    for shard in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", shard) or not shard.endswith(extension):
            raise LoadError(f"The index of {name} names {shard!r}, which is not a weights file beside it.")
        if shard not in existing:
            raise LoadError(f"The checkpoint in {name} lacks {shard}.")
    return names


def _indexed(index: Path, name: str) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{index.name} of {name} can't be read ({type(error).__name__}).") from error


class LocalFolder:
    """A checkpoint in a local folder. Its files are copied."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.version = "local"
        self.files: Mapping[str, int] = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        self._folder = folder

    def fetch_description(self) -> Path:
        return self._folder

    def missing_bytes(self, names: Sequence[str]) -> int:
        return sum(self.files[name] for name in names)

    def fetch(self, names: Sequence[str], into: Path, on_progress: OnProgress) -> None:
        total, done = self.missing_bytes(names), 0
        for name in names:
            with (self._folder / name).open("rb") as source, (into / name).open("wb") as copy:
                while block := source.read(1 << 22):
                    copy.write(block)
                    done += len(block)
                    on_progress(done, total)

    def close(self) -> None:
        pass
