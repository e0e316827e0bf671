"""Bytes that the parts of one loaded model take on a device: weights, activations, logits and working copies.

Torch-free arithmetic over a shape. Knows no requests and no budgets (``planner``). Every activation is that of the lean
forward pass (``llama``), whose attention is fused.
"""

from __future__ import annotations

import math

from inference.models.shape import Format, Shape
from inference.planning.machine import Device

LOGIT_ROWS = 16
"""Positions whose logits are wanted at once, at most: a draft that is being verified."""

REPACKING = 6.5
"""Bytes a weight while bitsandbytes rewrites a matrix for an AVX512_BF16 CPU (measured on 11008 x 4096)."""


def value_bytes(form: Format, device: Device) -> int:
    """Bytes of one activation, of one value in the KV cache, and of one weight that a 4-bit format does not quantise.

    CPUs compute in float32, but for those that bitsandbytes has a bfloat16 kernel for (``loader``).
    """
    plain = device.kind == "cpu" and not device.repacks
    return 4 if form in ("fp32", "int8", "int4") or (plain and form != "bf16") else 2


def weight_bytes(shape: Shape, form: Format, device: Device) -> int:
    """Bytes of the loaded weights, at the worst of before and after the first forward pass.

    A CPU that repacks NF4 keeps one bfloat16 scale a block of 64 afterwards, doubly quantised or not (bitsandbytes
    0.50, ``_convert_weight_packed_for_cpu``).
    """
    if form in ("bf16", "fp32", "int8", "int4"):
        return shape.weight_bytes(form)
    kept = value_bytes(form, device) * shape.unquantised
    stored = shape.weight_bytes(form) - 2 * shape.unquantised + kept
    if not device.repacks:
        return stored
    repacked = shape.linear // 2 + shape.linear // 32 + kept
    return repacked if form == "nf4" else max(stored, repacked)


def activations(shape: Shape, form: Format, device: Device, chunk: int, context: int) -> int:
    """Bytes alive in one layer while ``chunk`` tokens are added to a sequence of ``context`` in all.

    The larger of the two halves of a layer: the MLP's gate, up and product beside the residual stream and its
    norm; and attention's query, its rotation, and the mask, which the kernel wants as numbers too.
    """
    value = value_bytes(form, device)
    mask = chunk * context
    mlp = chunk * value * (5 * shape.hidden + 3 * shape.intermediate) + mask
    query = shape.heads * shape.head_dim
    attention = chunk * value * (2 * shape.hidden + 4 * query + 2 * shape.head_dim) + mask * (1 + value)
    return max(mlp, attention)


def logits(shape: Shape, form: Format, device: Device) -> int:
    """Bytes of logits as the head computes them and in float32."""
    return LOGIT_ROWS * shape.vocab * (value_bytes(form, device) + 4)


def working_copy(shape: Shape, form: Format, device: Device) -> int:
    """Bytes of the largest matrix as it is dequantised (with its scales), or rewritten for the CPU's instructions."""
    largest, head = shape.largest_matrix, shape.vocab * shape.hidden
    if form in ("fp32", "int8", "int4"):
        return 0
    if device.repacks:  # oneDNN rewrites bfloat16 matrices, the head among them, in every call
        rewritten = REPACKING * largest if form != "bf16" else 2 * largest
        return math.ceil(max(rewritten, 2 * head))
    if form == "bf16":
        return 0
    return value_bytes(form, device) * largest + (largest // 16 if form == "nf4-double" else 0)
