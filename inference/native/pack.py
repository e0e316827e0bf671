"""A matrix in 4 or 8 bits, laid out as ``products.h`` reads it. Knows no checkpoints and no model.

Groups of 32 inputs share a scale and a least value, in float16: ``w = d * q + m`` with ``q`` from 0 to ``2**bits - 1``
(ggml's Q4_1). A block holds one group of 16 outputs: for every four inputs 16 times 4 bytes, one an input (in 4 bits,
the next four inputs in the upper halves), then 16 scales and 16 least values.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Bits = Literal[4, 8]
OUTPUTS, INPUTS = 16, 32
"""Of a block; a matrix must be whole blocks."""
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Ranges that are tried for a group, as shares of that of its values: clipping few may round many better."""
ROWS_AT_ONCE = 4096


def packed_shape(outputs: int, inputs: int, bits: Bits) -> tuple[int, int, int]:
    """Of the packed bytes of a matrix."""
    return outputs // OUTPUTS, inputs // INPUTS, 64 * bits + 64


def fits(outputs: int, inputs: int) -> bool:
    """Whether a matrix is whole blocks."""
    return outputs % OUTPUTS == 0 and inputs % INPUTS == 0


def pack(weight: Tensor, bits: Bits) -> Tensor:
    """``weight`` [outputs, inputs] as bytes, of ``packed_shape``."""
    return torch.cat([_pack(rows.float(), bits) for rows in weight.split(ROWS_AT_ONCE)])


def unpack(packed: Tensor, bits: Bits) -> Tensor:
    """What a packed matrix stands for, float32 [outputs, inputs]: for tests and for reading single rows."""
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
    """Codes (uint8, the shape of ``values``), scale and least value of each group, of the range that errs least."""
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
