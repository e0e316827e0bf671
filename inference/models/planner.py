"""What loading models will take, item by item, and how much context each role gets of what is left.

Torch-free arithmetic over shapes, done before anything is loaded. Knows neither the catalogue nor what else could be
chosen instead (``choice``). Every activation is that of the lean forward pass (``llama``), whose attention is fused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from inference.models.machine import Device
from inference.models.shape import Format, Shape

Role = Literal["completion", "chat"]

MIB = 1 << 20

OVERHEAD = {"cuda": 512 * MIB, "cpu": 320 * MIB}
"""A process with its libraries and no model. CPU: measured (293-325 MiB of anonymous memory with torch, transformers
and bitsandbytes imported). CUDA: an allowance for the context, not measured."""

KEPT = {"cuda": 128 * MIB, "cpu": 256 * MIB}
"""What an allocator keeps of memory given back to it. CPU: measured (about 210 MiB in glibc after a 1,000-token
request, none of it after ``malloc_trim``). CUDA: an allowance for the caching allocator and cuBLAS, not measured."""

RESERVED: Mapping[Role, int] = {"completion": 2048, "chat": 2048}
"""Tokens without which a role is of no use: what does not fit with these is refused."""

WANTED: Mapping[Role, int] = {"completion": 8192, "chat": 16_384}
"""Tokens beyond which a role gains little: retrieval at the far end of 16K fails in 7B (the paper's table 17)."""

BLOCK = 512
"""Context is dealt out in blocks of this many tokens."""

CHUNK = 512
"""Tokens prefilled in one step, at most."""

LOGIT_ROWS = 16
"""Positions whose logits are wanted at once, at most: a draft that is being verified."""

REPACKING = 6.5
"""Bytes a weight while bitsandbytes rewrites a matrix for an AVX512_BF16 CPU (measured on 11008 x 4096)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One model to load and what for.

    Attributes:
        id: what a person calls it.
        shape: its dimensions.
        roles: what it serves; one model may serve both.
        form: how its linear layers are kept.
        limit: the most tokens of context it may be given.
    """

    id: str
    shape: Shape
    roles: tuple[Role, ...]
    form: Format
    limit: int

    def value_bytes(self, device: Device) -> int:
        """Bytes of one activation, or of one value in the KV cache (``loader``: few CPUs compute in bfloat16)."""
        plain_cpu = device.kind == "cpu" and not device.repacks
        return 4 if self.form == "fp32" or (plain_cpu and self.form != "bf16") else 2


@dataclass(frozen=True, slots=True)
class Item:
    """Something that takes memory; what is not ``lasting`` is given back after each step."""

    name: str
    bytes: int
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Slot:
    """One sequence's KV cache: the role it is for, its model and its length in tokens."""

    role: Role
    model: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be loaded and what it takes."""

    device: Device
    items: tuple[Item, ...]
    slots: tuple[Slot, ...]

    @property
    def resident(self) -> int:
        """Bytes held between requests, when every slot is full."""
        return sum(item.bytes for item in self.items if item.lasting)

    @property
    def peak(self) -> int:
        """Bytes held at the worst moment of a request: what must be free before."""
        return sum(item.bytes for item in self.items)

    @property
    def left(self) -> int:
        """Bytes that stay free at the worst moment."""
        return self.device.free - self.peak

    def context(self, role: Role) -> int:
        """Tokens of context that ``role`` gets; 0 where no model serves it."""
        return next((slot.tokens for slot in self.slots if slot.role == role), 0)

    def lines(self) -> list[tuple[str, str]]:
        """Rows of a table: what, and how much."""
        items = [(item.name + ("" if item.lasting else " (passing)"), amount(item.bytes)) for item in self.items]
        sums = [
            ("between requests", amount(self.resident)),
            ("at most", amount(self.peak)),
            ("left", amount(self.left)),
        ]
        return [*items, *sums, *((f"context for {s.role} ({s.model})", f"{s.tokens:,} tokens") for s in self.slots)]


class DoesNotFitError(Exception):
    """Not even the reserved slots fit.

    Attributes:
        smallest: the plan with nothing but the reserved slots.
    """

    def __init__(self, sentence: str, smallest: Plan) -> None:
        super().__init__(sentence)
        self.smallest = smallest


def plan(
    choices: Sequence[Choice], device: Device, *, chunk: int = CHUNK, wanted: Mapping[Role, int] | None = None
) -> Plan:
    """Deal out ``device.free`` bytes: weights, overheads and one reserved slot a role first, then context by turns.

    Args:
        choices: the models to load; each role at most once.
        device: where to.
        chunk: tokens prefilled in one step, at most.
        wanted: tokens to stop at, by role (WANTED where it says nothing); never more than a model's limit.

    Raises:
        DoesNotFitError: not even the reserved slots fit.
    """
    smallest = least(choices, device, chunk=chunk, wanted=wanted)
    if smallest.left < 0:
        raise DoesNotFitError(_too_much(choices, smallest), smallest)
    limits = _limits(choices, wanted)
    best, slots = smallest, smallest.slots
    while (slots := _longer(slots, limits)) and (more := _planned(choices, device, slots, chunk)).left >= 0:
        best = more
    return best


def least(
    choices: Sequence[Choice], device: Device, *, chunk: int = CHUNK, wanted: Mapping[Role, int] | None = None
) -> Plan:
    """The plan with nothing but the reserved slots, whether it fits (``left`` is not negative) or not."""
    limits = _limits(choices, wanted)
    asked = [role for choice in choices for role in choice.roles]
    if not asked or len(asked) > len(limits) or len(choices) > len({choice.id for choice in choices}):
        raise ValueError("there must be at least one role, each role with one model, each model once")
    slots = [Slot(role, c.id, min(RESERVED[role], limits[role])) for c in choices for role in c.roles]
    return _planned(choices, device, slots, chunk)


def _limits(choices: Sequence[Choice], wanted: Mapping[Role, int] | None) -> Mapping[Role, int]:
    """Tokens at which each role's slot stops growing."""
    wishes = {**WANTED, **(wanted or {})}
    return {role: min(wishes[role], choice.limit) for choice in choices for role in choice.roles}


def _longer(slots: Sequence[Slot], limits: Mapping[Role, int]) -> tuple[Slot, ...]:
    """The slots with one block more for the shortest that may grow (the first of equals); empty if none may."""
    growing = [slot for slot in slots if slot.tokens < limits[slot.role]]
    if not growing:
        return ()
    shortest = min(growing, key=lambda slot: slot.tokens)
    grown = replace(shortest, tokens=min(shortest.tokens + BLOCK, limits[shortest.role]))
    return tuple(grown if slot is shortest else slot for slot in slots)


def _planned(choices: Sequence[Choice], device: Device, slots: Sequence[Slot], chunk: int) -> Plan:
    """Every item for these slots. One model works at a time, so what passes is that of the hungriest."""
    by_id = {choice.id: choice for choice in choices}
    weights = [Item(f"weights of {c.id} ({c.form})", weight_bytes(c, device)) for c in choices]
    kv = [
        Item(f"KV cache for {s.role}, {s.tokens:,} tokens", s.tokens * _kv_bytes_per_token(by_id[s.model], device))
        for s in slots
    ]
    passing = [
        Item(
            f"activations of {chunk} tokens", max(_activations(by_id[s.model], device, chunk, s.tokens) for s in slots)
        ),
        Item("logits", max(_logits(c, device) for c in choices)),
        Item("working copy of a matrix", max(_working_copy(c, device) for c in choices)),
        Item("kept by the allocator", KEPT[device.kind]),
    ]
    overhead = Item("CUDA context" if device.kind == "cuda" else "process and libraries", OVERHEAD[device.kind])
    return Plan(device, (*weights, *kv, *(replace(i, lasting=False) for i in passing), overhead), tuple(slots))


def weight_bytes(choice: Choice, device: Device) -> int:
    """Bytes of the loaded weights, at the worst of before and after the first forward pass.

    A CPU that repacks NF4 keeps one bfloat16 scale a block of 64 afterwards, doubly quantised or not (bitsandbytes
    0.50, ``_convert_weight_packed_for_cpu``).
    """
    stored = choice.shape.weight_bytes(choice.form)
    if choice.form in ("bf16", "fp32"):
        return stored
    if not device.repacks:
        return stored + (choice.value_bytes(device) - 2) * choice.shape.unquantised
    repacked = choice.shape.linear // 2 + choice.shape.linear // 32 + 2 * choice.shape.unquantised
    return repacked if choice.form == "nf4" else max(stored, repacked)


def _kv_bytes_per_token(choice: Choice, device: Device) -> int:
    return choice.shape.kv_bytes_per_token(choice.value_bytes(device))


def _activations(choice: Choice, device: Device, chunk: int, context: int) -> int:
    """Bytes alive in one layer while ``chunk`` tokens are added to a sequence of ``context`` in all.

    The larger of the two halves of a layer: the MLP's gate, up and product beside the residual stream and its
    norm; and attention's query, its rotation, and the mask, which the kernel wants as numbers too.
    """
    shape, value = choice.shape, choice.value_bytes(device)
    mask = chunk * context
    mlp = chunk * value * (5 * shape.hidden + 3 * shape.intermediate) + mask
    query = shape.heads * shape.head_dim
    attention = chunk * value * (2 * shape.hidden + 4 * query + 2 * shape.head_dim) + mask * (1 + value)
    return max(mlp, attention)


def _logits(choice: Choice, device: Device) -> int:
    """Bytes of logits as the head computes them and in float32."""
    return LOGIT_ROWS * choice.shape.vocab * (choice.value_bytes(device) + 4)


def _working_copy(choice: Choice, device: Device) -> int:
    """Bytes of the largest matrix as it is dequantised (with its scales), or rewritten for the CPU's instructions."""
    shape, head = choice.shape, choice.shape.vocab * choice.shape.hidden
    largest = shape.largest_matrix
    if choice.form == "fp32":
        return 0
    if device.repacks:  # oneDNN rewrites bfloat16 matrices, the head among them, in every call
        rewritten = REPACKING * largest if choice.form != "bf16" else 2 * largest
        return math.ceil(max(rewritten, 2 * head))
    if choice.form == "bf16":
        return 0
    return choice.value_bytes(device) * largest + (largest // 16 if choice.form == "nf4-double" else 0)


def _too_much(choices: Sequence[Choice], smallest: Plan) -> str:
    needs = "needs" if len(choices) == 1 else "need"
    need, device = amount(smallest.peak, math.ceil), smallest.device
    return f"{described(choices)} {needs} {need}, but {device.name} has {amount(device.free, math.floor)} free"


def described(choices: Sequence[Choice]) -> str:
    """Models with their formats, and their roles where there are two, for a sentence."""
    if [len(choice.roles) for choice in choices] == [1]:
        return f"{choices[0].id} ({choices[0].form})"
    return " and ".join(f"{c.id} ({c.form}) for {' and '.join(c.roles)}" for c in choices)


def amount(count: int, rounding: Callable[[float], int] = round) -> str:
    """Bytes for people, in GiB or below one in MiB; what is needed is rounded up and what is free down."""
    if count >= 1 << 30:
        return f"{rounding(count * 100 / (1 << 30)) / 100:.2f} GiB"
    return f"{rounding(count / MIB)} MiB"
