"""Bytes that the parts of one loaded model take on a device: weights, activations, logits and working copies.

Torch-free arithmetic over a shape. Knows no requests and no budgets (``planner``). Every activation is that of the lean
forward pass (``llama``), whose attention is fused.

What loading models will take, item by item, and how much context each role gets of what is left.

Torch-free arithmetic over shapes, done before anything is loaded. Knows neither the catalogue nor what else could be
chosen instead (``choice``) nor what a forward pass does (``footprint``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from inference.models.catalog import Role
from inference.models.shape import CHUNK, LOGIT_ROWS, Format, Shape
from inference.system.machine import Device

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


def activation_bytes(shape: Shape, form: Format, device: Device, chunk: int, context: int) -> int:
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


MIB = 1 << 20

OVERHEAD = {"cuda": 512 * MIB, "cpu": 320 * MIB}
"""A process with its libraries and no model. CPU: measured (293-325 MiB of anonymous memory with torch, transformers
and bitsandbytes imported, CPU build). CUDA: an allowance for the context, not measured."""

CUDA_LIBRARIES = 144 * MIB
"""Additional memory of torch's CUDA build when it computes on the CPU: measured (140 MiB with torch 2.13.0)."""

KEPT = {"cuda": 128 * MIB, "cpu": 256 * MIB}
"""What an allocator keeps of memory given back to it. CPU: measured (about 210 MiB in glibc after a 1,000-token
request, none of it after ``malloc_trim``). CUDA: an allowance for the caching allocator and cuBLAS, not measured."""

RESERVED: Mapping[Role, int] = {"completion": 2048, "chat": 2048}
"""Tokens without which a role is of no use: what does not fit with these is refused."""

WANTED: Mapping[Role, int] = {"completion": 8192, "chat": 16_384}
"""Tokens beyond which a role gains little: retrieval at the far end of 16K fails in 7B (the paper's table 17)."""

BLOCK = 512
"""Context is dealt out in blocks of this many tokens."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One model to load and what for.

    Attributes:
        id: what a person calls it.
        shape: its dimensions.
        roles: what it serves; one model may serve both.
        form: how its linear layers are kept.
        limit: the most tokens of context it may be given.
        mapped: bytes of its weights that stay in the checkpoint's files, mapped into memory.
    """

    id: str
    shape: Shape
    roles: tuple[Role, ...]
    form: Format
    limit: int
    mapped: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """Something that takes memory.

    Attributes:
        name: what a person reads.
        bytes: how much.
        lasting: held between requests; what is not is given back after each step.
        mapped: pages of files, which the system can drop and read again when memory runs short.
    """

    name: str
    bytes: int
    lasting: bool = True
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class PlannedSlot:
    """One sequence's KV cache: the role it is for, its model and its length in tokens."""

    role: Role
    model: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be loaded and what it takes."""

    device: Device
    items: tuple[Item, ...]
    slots: tuple[PlannedSlot, ...]

    @property
    def resident(self) -> int:
        """Bytes held between requests, when every slot is full."""
        return sum(item.bytes for item in self.items if item.lasting)

    @property
    def anonymous(self) -> int:
        """``resident`` without the pages of files."""
        return sum(item.bytes for item in self.items if item.lasting and not item.mapped)

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
            *([("of that anonymous", amount(self.anonymous))] if self.anonymous < self.resident else []),
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
    slots = [PlannedSlot(role, c.id, min(RESERVED[role], limits[role])) for c in choices for role in c.roles]
    return _planned(choices, device, slots, chunk)


def _limits(choices: Sequence[Choice], wanted: Mapping[Role, int] | None) -> Mapping[Role, int]:
    """Tokens at which each role's slot stops growing."""
    wishes = {**WANTED, **(wanted or {})}
    return {role: min(wishes[role], choice.limit) for choice in choices for role in choice.roles}


def _longer(slots: Sequence[PlannedSlot], limits: Mapping[Role, int]) -> tuple[PlannedSlot, ...]:
    """The slots with one block more for the shortest that may grow (the first of equals); empty if none may."""
    growing = [slot for slot in slots if slot.tokens < limits[slot.role]]
    if not growing:
        return ()
    shortest = min(growing, key=lambda slot: slot.tokens)
    grown = replace(shortest, tokens=min(shortest.tokens + BLOCK, limits[shortest.role]))
    return tuple(grown if slot is shortest else slot for slot in slots)


def _planned(choices: Sequence[Choice], device: Device, slots: Sequence[PlannedSlot], chunk: int) -> Plan:
    """Every item for these slots. One model works at a time, so what passes is that of the hungriest."""
    by_id = {choice.id: choice for choice in choices}
    weights = [item for choice in choices for item in _weights(choice, device)]
    kv = [_cache(s, by_id[s.model], device) for s in slots]
    longest = {c.id: max(s.tokens for s in slots if s.model == c.id) for c in choices}
    activations = max(activation_bytes(c.shape, c.form, device, chunk, longest[c.id]) for c in choices)
    passing = [
        Item(f"activations of {chunk} tokens", activations),
        Item("logits", max(logits(c.shape, c.form, device) for c in choices)),
        Item("working copy of a matrix", max(working_copy(c.shape, c.form, device) for c in choices)),
        Item("kept by the allocator", KEPT[device.kind]),
    ]
    return Plan(device, (*weights, *kv, *(replace(i, lasting=False) for i in passing), _overhead(device)), tuple(slots))


def _overhead(device: Device) -> Item:
    if device.kind == "cuda":
        return Item("CUDA context", OVERHEAD["cuda"])
    return Item("process and libraries", OVERHEAD["cpu"] + (CUDA_LIBRARIES if device.cuda_libraries else 0))


def _weights(choice: Choice, device: Device) -> list[Item]:
    """One model's weights: those in memory of the process's own, and those that stay in files."""
    name = f"weights of {choice.id} ({choice.form})"
    own = Item(name, weight_bytes(choice.shape, choice.form, device) - choice.mapped)
    mapped = Item(f"{name}, mapped from its files", choice.mapped, mapped=True)
    return [item for item in (own, mapped) if item.bytes]


def _cache(slot: PlannedSlot, choice: Choice, device: Device) -> Item:
    per_token = choice.shape.kv_bytes_per_token(value_bytes(choice.form, device))
    return Item(f"KV cache for {slot.role}, {slot.tokens:,} tokens", slot.tokens * per_token)


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
