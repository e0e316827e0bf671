"""A checkpoint's weights as the C library reads them, in one file that is mapped into memory. Knows no forward pass.

The matrices of all layers are packed in 4 or 8 bits, the head in 8; the embedding, of which a token takes one row,
stays as the checkpoint has it, and the norms are float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inference.models.checkpoint import Checkpoint, LoadError, shards
from inference.models.progress import OnProgress
from inference.native.pack import Bits, fits, pack, packed_shape

EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
HEAD_BITS: Bits = 8
"""The head chooses the token: it is worth its bytes."""
DATA, INDEX = "weights.bin", "index.json"
ALIGNMENT = 64
WIDEST_HEAD = 128

Named = tuple[str, Tensor]


def unsuited(config: dict[str, Any], shapes: Iterable[tuple[int, ...]]) -> str:
    """Why the library can't compute a checkpoint of this config.json and these shapes, or nothing."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if rope.get("rope_type", rope.get("type", "default")) not in (None, "default"):
        return "its positions are scaled"
    if config.get("attention_bias") or config.get("mlp_bias"):
        return "its matrices have biases"
    if dim % 16 or dim > WIDEST_HEAD or any(len(shape) == 2 and not fits(*shape) for shape in shapes):
        return "its matrices are no whole blocks"
    return ""


def packed(checkpoint: Checkpoint, bits: Bits, on_progress: OnProgress | None = None) -> Iterator[Named]:
    """Every tensor that the library needs, one after the other. Raises LoadError."""
    done = 0
    for shard in shards(checkpoint.folder):
        try:
            with safe_open(shard, framework="pt") as file:
                for name in (one for one in file.keys() if one in checkpoint.shapes):  # noqa: SIM118
                    yield from _packed(name, file.get_tensor(name), bits, tied=HEAD not in checkpoint.shapes)
                    done += 1
                    if on_progress:
                        on_progress(done, len(checkpoint.shapes))
        except (SafetensorError, OSError) as error:
            raise LoadError(f"{shard} is damaged or cut short ({error}).") from error


def _packed(name: str, tensor: Tensor, bits: Bits, *, tied: bool) -> Iterator[Named]:
    if name == EMBEDDING:
        yield name, tensor
        if tied:
            yield HEAD, pack(tensor, HEAD_BITS)
    elif tensor.dim() == 1:
        yield name, tensor.float()
    else:
        yield name, pack(tensor, HEAD_BITS if name == HEAD else bits)


def write(tensors: Iterable[Named], folder: Path) -> None:
    """Keep ``tensors`` in ``folder``, which is made. Raises OSError."""
    folder.mkdir()
    index: dict[str, Any] = {}
    with (folder / DATA).open("wb") as file:
        for name, tensor in tensors:
            file.write(bytes(-file.tell() % ALIGNMENT))
            index[name] = [file.tell(), str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    (folder / INDEX).write_text(json.dumps(index), "utf-8")


def read(folder: Path, checkpoint: Checkpoint, bits: Bits) -> dict[str, Tensor]:
    """The tensors that ``write`` kept, mapped into memory. Raises LoadError where they are damaged.

    C reads them without bounds: their types and shapes must be those that ``packed`` gives for this checkpoint.
    """
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        size = (folder / DATA).stat().st_size
        data = torch.from_file(str(folder / DATA), shared=False, size=size, dtype=torch.uint8)
        found = {name: _view(data, *place) for name, place in index.items()}
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise LoadError(f"The packed weights in {folder} can't be read ({error}).") from error
    for name, (types, shape) in _expected(checkpoint, bits).items():
        if name not in found or found[name].dtype not in types or tuple(found[name].shape) != shape:
            raise LoadError(f"The packed weights in {folder} lack {name} as the checkpoint has it.")
    return found


def _expected(checkpoint: Checkpoint, bits: Bits) -> dict[str, tuple[tuple[torch.dtype, ...], tuple[int, ...]]]:
    """Type and shape of each tensor that ``packed`` gives; the embedding may have any type of a checkpoint."""
    shapes = {HEAD: checkpoint.shapes[EMBEDDING], **checkpoint.shapes}
    expected: dict[str, tuple[tuple[torch.dtype, ...], tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        if name == EMBEDDING:
            expected[name] = (torch.bfloat16, torch.float16, torch.float32), shape
        elif len(shape) == 1:
            expected[name] = (torch.float32,), shape
        else:
            expected[name] = (torch.uint8,), packed_shape(shape[0], shape[1], HEAD_BITS if name == HEAD else bits)
    return expected


def _view(data: Tensor, offset: int, dtype: str, shape: list[int]) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    return data[offset : offset + prod(shape) * kind.itemsize].view(kind).view(shape)
