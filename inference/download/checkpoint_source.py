"""Which files of a checkpoint are needed, whoever has them; and a folder of this machine as one who has them.

Torch-free. Knows Hugging Face's names of files, no hub (``hub``) and nothing of what is in the weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from inference.models.checkpoint import LoadError
from inference.system.progress import OnProgress

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
"""The small files that say what a checkpoint is; every other one that is needed holds weights."""

WHOLE = {".safetensors": "model.safetensors", ".bin": "pytorch_model.bin"}
"""What the only weights file of an unsharded checkpoint is called."""


class Source(Protocol):
    """Somewhere a checkpoint can be had from.

    Attributes:
        name: what a person calls it.
        version: which state of it, for the manifest.
        files: every file it has, with its length in bytes.
    """

    name: str
    version: str
    files: Mapping[str, int]

    def describe(self) -> Path:
        """A folder in which those of ``DESCRIPTION`` lie that there are. Raises PullError."""
        ...

    def still_needed(self, names: Sequence[str]) -> int:
        """Bytes that ``bring`` will add to what is on the disk."""
        ...

    def bring(self, names: Sequence[str], into: Path, on_progress: OnProgress) -> None:
        """Put these files into a folder; ``on_progress`` counts bytes. Raises PullError, OSError."""
        ...

    def close(self) -> None:
        """Nothing more will be brought: forget what was kept in case of an interruption."""
        ...


class PickledError(LoadError):
    """A checkpoint has its weights only in a form that can run code."""


def description(files: Iterable[str]) -> list[str]:
    """The small files among ``files`` that are needed."""
    return [name for name in DESCRIPTION if name in set(files)]


def weight_files(folder: Path, files: Iterable[str], name: str, *, allow_pickle: bool = False) -> list[str]:
    """Those of ``files`` that hold the weights; ``folder`` has the index of a sharded checkpoint.

    Safetensors are preferred. Raises LoadError for an index that names what is not there, and PickledError where there
    are only pickles and they aren't allowed. ``name`` is what the sentences call the checkpoint.
    """
    there = set(files)
    if names := _of_kind(folder, there, ".safetensors", name):
        return names
    pickled = _of_kind(folder, there, ".bin", name)
    if not pickled:
        raise LoadError(f"The checkpoint in {name} lacks {WHOLE['.safetensors']}.")
    if not allow_pickle:
        raise PickledError(
            f"{name} has its weights only as pickles ({pickled[0]}), and reading a pickle can run any code its author "
            "put into it: choose a checkpoint with .safetensors files, or add --allow-pickle if you trust who made it."
        )
    return pickled


def _of_kind(folder: Path, there: set[str], ending: str, name: str) -> list[str]:
    """Weights files with this ending: those that the index names, else the single one, else none."""
    whole = WHOLE[ending]
    if f"{whole}.index.json" not in there:
        return [whole] if whole in there else []
    names = _indexed(folder / f"{whole}.index.json", name)
    for shard in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", shard) or not shard.endswith(ending):
            raise LoadError(f"The index of {name} names {shard!r}, which is no file of weights beside it.")
        if shard not in there:
            raise LoadError(f"The checkpoint in {name} lacks {shard}.")
    return names


def _indexed(index: Path, name: str) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{index.name} of {name} can't be read ({type(error).__name__}).") from error


class Folder:
    """A checkpoint that lies in a folder of this machine already; its files are copied."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.version = "local"
        self.files: Mapping[str, int] = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        self._folder = folder

    def describe(self) -> Path:
        return self._folder

    def still_needed(self, names: Sequence[str]) -> int:
        return sum(self.files[name] for name in names)

    def bring(self, names: Sequence[str], into: Path, on_progress: OnProgress) -> None:
        total, done = self.still_needed(names), 0
        for name in names:
            with (self._folder / name).open("rb") as source, (into / name).open("wb") as copy:
                while block := source.read(1 << 22):
                    copy.write(block)
                    done += len(block)
                    on_progress(done, total)

    def close(self) -> None:
        pass
