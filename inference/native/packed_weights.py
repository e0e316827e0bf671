"""Pack a checkpoint's weights into 4 or 8 bits in the layout of ``products.h``, in one memory-mapped file.

Quantisation: each group of 32 inputs shares a float16 scale ``d`` and minimum ``m``, and ``w = d * q + m`` with ``q``
from 0 to ``2**bits - 1`` (ggml's Q4_1).

Layout: a block holds one group of 16 outputs. For every four inputs it has 16 times 4 bytes, one byte per input (with 4
bits the upper halves hold the next four inputs). Then follow 16 scales and 16 minimums.

The matrices of all layers have 4 or 8 bits and the head has 8. The embedding keeps the checkpoint's type, because a
token reads only one row of it. The norms are float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inference.models.checkpoint import Checkpoint, LoadError, shards
from inference.system.terminal import OnProgress

Bits = Literal[4, 8]
OUTPUTS, INPUTS = 16, 32
"""The size of a block; a matrix must consist of whole blocks."""

SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Quantisation ranges tried per group, as fractions of its values' range: clipping a few can round the rest better."""

ROWS_AT_ONCE = 4096

EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"

HEAD_BITS: Bits = 8
"""The head chooses the token, so its precision is worth its bytes."""

DATA, INDEX = "weights.bin", "index.json"

ALIGNMENT = 64
"""Bytes; a cache line."""

MAX_HEAD_DIM = 128

NamedTensor = tuple[str, Tensor]


def packed_shape(outputs: int, inputs: int, bits: Bits) -> tuple[int, int, int]:
    """Return the shape of a packed matrix: (blocks of outputs, groups of inputs, bytes per block)."""
    return outputs // OUTPUTS, inputs // INPUTS, 64 * bits + 64


def fits(outputs: int, inputs: int) -> bool:
    """Return whether a matrix consists of whole blocks."""
    return outputs % OUTPUTS == 0 and inputs % INPUTS == 0


def pack(weight: Tensor, bits: Bits) -> Tensor:
    """Pack ``weight`` ``[outputs, inputs]`` into uint8 of ``packed_shape``."""
    return torch.cat([_pack(rows.float(), bits) for rows in weight.split(ROWS_AT_ONCE)])


def unpack(packed: Tensor, bits: Bits) -> Tensor:
    """Return a packed matrix as float32 ``[outputs, inputs]``, for tests."""
    blocks, groups, _ = packed.shape
    scales = packed[..., 64 * bits :].contiguous().view(torch.float16).float().view(blocks, groups, 2, OUTPUTS)
    columns = packed[..., : 64 * bits].view(blocks, groups, bits, OUTPUTS, 4)
    if bits == 4:
        columns = torch.stack([columns & 15, columns >> 4], 3).flatten(2, 3)
    codes = columns.permute(0, 3, 1, 2, 4).reshape(blocks, OUTPUTS, groups, INPUTS).float()
    d, least = (scales[:, :, n].transpose(1, 2)[..., None] for n in (0, 1))
    return (codes * d + least).reshape(blocks * OUTPUTS, groups * INPUTS)


def _pack(rows: Tensor, bits: Bits) -> Tensor:
    blocks, groups = rows.shape[0] // OUTPUTS, rows.shape[1] // INPUTS
    codes, d, least = _quantise(rows.view(-1, groups, INPUTS), bits)
    columns = codes.view(blocks, OUTPUTS, groups, 8, 4).permute(0, 2, 3, 1, 4)
    if bits == 4:
        pairs = columns.reshape(blocks, groups, 4, 2, OUTPUTS, 4)
        columns = pairs[:, :, :, 0] | pairs[:, :, :, 1] << 4
    scales = torch.stack([d, least]).view(2, blocks, OUTPUTS, groups).permute(1, 3, 0, 2).contiguous()
    return torch.cat([columns.reshape(blocks, groups, -1), scales.view(blocks, groups, -1).view(torch.uint8)], -1)


def _quantise(values: Tensor, bits: Bits) -> tuple[Tensor, Tensor, Tensor]:
    """Quantise ``values`` ``[rows, groups, 32]`` with the range of least squared error for each group.

    Returns codes (uint8, same shape), scales and minimums (float16 ``[rows, groups]``).
    """
    low, high = values.amin(-1), values.amax(-1)
    best: tuple[Tensor, Tensor, Tensor] | None = None
    least_error = torch.full_like(low, torch.inf)
    for shrink in SHRINKS if bits == 4 else SHRINKS[:1]:
        d = ((high - low) * shrink / (2**bits - 1)).half()
        m = (low + (high - low) * (1 - shrink) / 2).half()
        step, start = d.float()[..., None], m.float()[..., None]
        codes = ((values - start) / step.clamp(min=1e-12)).round().clamp(0, 2**bits - 1)
        error = (codes * step + start - values).square().sum(-1)
        better = error < least_error
        least_error = torch.where(better, error, least_error)
        new = codes.to(torch.uint8), d, m
        old = best or new
        best = (torch.where(better[..., None], new[0], old[0]), *(torch.where(better, new[n], old[n]) for n in (1, 2)))  # type: ignore[assignment]
    assert best is not None
    return best


def unsuited(config: dict[str, Any], shapes: Iterable[tuple[int, ...]]) -> str:
    """Return the reason why the library can't compute a checkpoint with this config and these shapes, or ""."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if rope.get("rope_type", rope.get("type", "default")) not in (None, "default"):
        return "its positions are scaled (rope_scaling)"
    if config.get("attention_bias") or config.get("mlp_bias"):
        return "its matrices have biases"
    if dim % 16 or dim > MAX_HEAD_DIM or any(len(shape) == 2 and not fits(*shape) for shape in shapes):
        return f"its matrices are not multiples of {OUTPUTS} x {INPUTS}, or its heads have an unsupported width"
    return ""


def packed(checkpoint: Checkpoint, bits: Bits, on_progress: OnProgress | None = None) -> Iterator[NamedTensor]:
    """Yield every tensor that the library needs. Raises LoadError."""
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


def _packed(name: str, tensor: Tensor, bits: Bits, *, tied: bool) -> Iterator[NamedTensor]:
    if name == EMBEDDING:
        yield name, tensor
        if tied:
            yield HEAD, pack(tensor, HEAD_BITS)
    elif tensor.dim() == 1:
        yield name, tensor.float()
    else:
        yield name, pack(tensor, HEAD_BITS if name == HEAD else bits)


def write(tensors: Iterable[NamedTensor], folder: Path) -> None:
    """Write ``tensors`` to ``folder``, which is created. Raises OSError."""
    folder.mkdir()
    index: dict[str, Any] = {}
    with (folder / DATA).open("wb") as file:
        for name, tensor in tensors:
            file.write(bytes(-file.tell() % ALIGNMENT))
            index[name] = [file.tell(), str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    (folder / INDEX).write_text(json.dumps(index), "utf-8")


def read(folder: Path, checkpoint: Checkpoint, bits: Bits) -> dict[str, Tensor]:
    """Map the tensors that ``write`` wrote into memory. Raises LoadError if they are damaged.

    C reads them without bounds checks, so types and shapes are checked against the checkpoint.
    """
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        size = (folder / DATA).stat().st_size
        data = torch.from_file(str(folder / DATA), shared=False, size=size, dtype=torch.uint8)
        found = {name: _view(data, *entry) for name, entry in index.items()}
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise LoadError(f"The packed weights in {folder} can't be read ({error}).") from error
    for name, (types, shape) in _expected(checkpoint, bits).items():
        if name not in found or found[name].dtype not in types or tuple(found[name].shape) != shape:
            raise LoadError(
                f"The packed weights in {folder} lack {name}, or it has another type or shape than in the checkpoint."
            )
    return found


def _expected(checkpoint: Checkpoint, bits: Bits) -> dict[str, tuple[tuple[torch.dtype, ...], tuple[int, ...]]]:
    """Return the types and shape of each tensor of ``packed``; the embedding may have any type of a checkpoint."""
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
