"""Pickled weights -> safetensors, once and only when asked, so that nothing else ever reads a pickle.

Knows only tensors in dictionaries: anything else in a file is refused by torch's restricted unpickler.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.models.checkpoint import LoadError
from inference.models.progress import OnProgress


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
