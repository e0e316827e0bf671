"""Memory planner: compute what loading models takes, item by item, and give the free memory to their contexts.

Arithmetic over model shapes, done before anything is loaded. The activations are those of our own forward pass
(``inference.models.llama``), whose attention is fused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from inference.errors import CodeLlamaError
from inference.models.catalog import Role
from inference.models.shape import CHUNK, LOGIT_ROWS, Format, Shape
from inference.system.machine import Device

MIB = 1 << 20

REPACKING = 6.5
"""Bytes per weight while bitsandbytes repacks a matrix for an AVX512_BF16 CPU (measured on 11008 x 4096)."""

OVERHEAD = {"cuda": 512 * MIB, "cpu": 320 * MIB}
"""Bytes of a process with its libraries and no model. CPU: measured (293-325 MiB of anonymous memory with torch,
transformers and bitsandbytes imported, CPU build). CUDA: an allowance for the context, not measured."""

CUDA_LIBRARIES = 144 * MIB
"""Additional bytes of torch's CUDA build when it computes on the CPU (measured: 140 MiB with torch 2.13.0)."""

KEPT = {"cuda": 128 * MIB, "cpu": 256 * MIB}
"""Bytes that an allocator keeps after they were freed. CPU: measured (about 210 MiB in glibc after a 1,000-token
request, none of it after ``malloc_trim``). CUDA: an allowance for the caching allocator and cuBLAS, not measured."""

RESERVED: Mapping[Role, int] = {"completion": 2048, "chat": 2048}
"""Minimum tokens of context for a role. A model that does not fit with these is refused."""

WANTED: Mapping[Role, int] = {"completion": 8192, "chat": 16_384}
"""Tokens of context beyond which a role gains little. 7B fails to retrieve from the far end of 16K (table 17 of the
Code Llama paper)."""

BLOCK = 512
"""Context is assigned in blocks of this many tokens."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One model to load.

    Attributes:
        id: its id, for messages.
        shape: its dimensions.
        roles: the roles it serves, one or both.
        form: the format of its linear layers.
        limit: maximum tokens of context.
        mapped: bytes of its weights that are mapped from the checkpoint's files.
    """

    id: str
    shape: Shape
    roles: tuple[Role, ...]
    form: Format
    limit: int
    mapped: int = 0


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One consumer of memory.

    Attributes:
        name: its name, for tables.
        bytes: its size.
        lasting: held between requests. Other items are freed after each step.
        mapped: pages of files, which the system can drop and read again when memory runs short.
    """

    name: str
    bytes: int
    lasting: bool = True
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class PlannedSlot:
    """The KV cache of one role: its model and its length in tokens."""

    role: Role
    model: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The memory that a set of models takes on a device, and the context of each role."""

    device: Device
    items: tuple[MemoryItem, ...]
    slots: tuple[PlannedSlot, ...]

    @property
    def resident(self) -> int:
        """Bytes held between requests, when every slot is full."""
        return sum(item.bytes for item in self.items if item.lasting)

    @property
    def anonymous(self) -> int:
        """``resident`` without mapped files."""
        return sum(item.bytes for item in self.items if item.lasting and not item.mapped)

    @property
    def peak(self) -> int:
        """Bytes held at the peak of a request. So much must be free before loading."""
        return sum(item.bytes for item in self.items)

    @property
    def left(self) -> int:
        """Bytes that stay free at the peak. Negative if the plan does not fit."""
        return self.device.free - self.peak

    def context(self, role: Role) -> int:
        """Return the tokens of context of ``role``; 0 if no model serves it."""
        return next((slot.tokens for slot in self.slots if slot.role == role), 0)

    def lines(self) -> list[tuple[str, str]]:
        """Return the rows of a table: name and amount."""
        items = [
            (item.name + ("" if item.lasting else " (transient)"), format_bytes(item.bytes)) for item in self.items
        ]
        sums = [
            ("between requests", format_bytes(self.resident)),
            *([("of that, anonymous", format_bytes(self.anonymous))] if self.anonymous < self.resident else []),
            ("peak", format_bytes(self.peak)),
            ("left free", format_bytes(self.left)),
        ]
        return [*items, *sums, *((f"context for {s.role} ({s.model})", f"{s.tokens:,} tokens") for s in self.slots)]


class DoesNotFitError(CodeLlamaError):
    """The models don't fit into the free memory, not even with the reserved context alone.

    Attributes:
        smallest: the plan with the reserved context alone.
    """

    def __init__(self, message: str, smallest: Plan) -> None:
        super().__init__(message)
        self.smallest = smallest


def plan(
    choices: Sequence[Choice], device: Device, *, chunk: int = CHUNK, wanted: Mapping[Role, int] | None = None
) -> Plan:
    """Distribute ``device.free`` bytes: weights, overheads and the reserved contexts, then more context in blocks.

    The role with the shorter context gets the next block.

    Args:
        choices: the models to load; each role at most once.
        device: the device to load them into.
        chunk: maximum tokens prefilled in one step.
        wanted: maximum tokens of context by role (default: WANTED), limited further by each model's own limit.

    Raises:
        DoesNotFitError: not even the reserved contexts fit.
        ValueError: no role, or a role or a model more than once.
    """
    smallest = smallest_plan(choices, device, chunk=chunk, wanted=wanted)
    if smallest.left < 0:
        raise DoesNotFitError(_refusal(choices, smallest), smallest)
    limits = _limits(choices, wanted)
    best, slots = smallest, smallest.slots
    while (slots := _longer(slots, limits)) and (more := _planned(choices, device, slots, chunk)).left >= 0:
        best = more
    return best


def smallest_plan(
    choices: Sequence[Choice], device: Device, *, chunk: int = CHUNK, wanted: Mapping[Role, int] | None = None
) -> Plan:
    """Return the plan with the reserved contexts alone. It may not fit: then ``left`` is negative."""
    limits = _limits(choices, wanted)
    roles = [role for choice in choices for role in choice.roles]
    if not roles or len(roles) > len(limits) or len(choices) > len({choice.id for choice in choices}):
        raise ValueError("there must be at least one role, each role with one model, each model once")
    slots = [PlannedSlot(role, c.id, min(RESERVED[role], limits[role])) for c in choices for role in c.roles]
    return _planned(choices, device, slots, chunk)


def _limits(choices: Sequence[Choice], wanted: Mapping[Role, int] | None) -> Mapping[Role, int]:
    """Return the maximum tokens of each role."""
    wanted = {**WANTED, **(wanted or {})}
    return {role: min(wanted[role], choice.limit) for choice in choices for role in choice.roles}


def _longer(slots: Sequence[PlannedSlot], limits: Mapping[Role, int]) -> tuple[PlannedSlot, ...]:
    """Return the slots with one more block for the shortest one below its limit; empty if all have reached it."""
    growing = [slot for slot in slots if slot.tokens < limits[slot.role]]
    if not growing:
        return ()
    shortest = min(growing, key=lambda slot: slot.tokens)
    grown = replace(shortest, tokens=min(shortest.tokens + BLOCK, limits[shortest.role]))
    return tuple(grown if slot is shortest else slot for slot in slots)


def _planned(choices: Sequence[Choice], device: Device, slots: Sequence[PlannedSlot], chunk: int) -> Plan:
    """Return the plan for these slots. One model runs at a time, so the largest transient items count once."""
    by_id = {choice.id: choice for choice in choices}
    weights = [item for choice in choices for item in _weights(choice, device)]
    kv = [_cache(s, by_id[s.model], device) for s in slots]
    longest = {c.id: max(s.tokens for s in slots if s.model == c.id) for c in choices}
    activations = max(activation_bytes(c.shape, c.form, device, chunk, longest[c.id]) for c in choices)
    transient = [
        MemoryItem(f"activations of {chunk} tokens", activations),
        MemoryItem("logits", max(logit_bytes(c.shape, c.form, device) for c in choices)),
        MemoryItem("working copy of a matrix", max(working_copy_bytes(c.shape, c.form, device) for c in choices)),
        MemoryItem("kept by the allocator", KEPT[device.kind]),
    ]
    return Plan(
        device, (*weights, *kv, *(replace(i, lasting=False) for i in transient), _overhead(device)), tuple(slots)
    )


def _overhead(device: Device) -> MemoryItem:
    if device.kind == "cuda":
        return MemoryItem("CUDA context", OVERHEAD["cuda"])
    return MemoryItem("process and libraries", OVERHEAD["cpu"] + (CUDA_LIBRARIES if device.cuda_libraries else 0))


def _weights(choice: Choice, device: Device) -> list[MemoryItem]:
    """Return the items for one model's weights: in anonymous memory and mapped from files."""
    name = f"weights of {choice.id} ({choice.form})"
    own = MemoryItem(name, weight_bytes(choice.shape, choice.form, device) - choice.mapped)
    mapped = MemoryItem(f"{name}, mapped from its files", choice.mapped, mapped=True)
    return [item for item in (own, mapped) if item.bytes]


def _cache(slot: PlannedSlot, choice: Choice, device: Device) -> MemoryItem:
    per_token = choice.shape.kv_bytes_per_token(value_bytes(choice.form, device))
    return MemoryItem(f"KV cache for {slot.role}, {slot.tokens:,} tokens", slot.tokens * per_token)


def _refusal(choices: Sequence[Choice], smallest: Plan) -> str:
    needs = "needs" if len(choices) == 1 else "need"
    need, device = format_bytes(smallest.peak, math.ceil), smallest.device
    return f"{describe(choices)} {needs} {need}, but {device.name} has {format_bytes(device.free, math.floor)} free."


def describe(choices: Sequence[Choice]) -> str:
    """Return the models with their formats, for a message; also their roles if there are two."""
    if [len(choice.roles) for choice in choices] == [1]:
        return f"{choices[0].id} ({choices[0].form})"
    return " and ".join(f"{c.id} ({c.form}) for {' and '.join(c.roles)}" for c in choices)


def format_bytes(count: int, rounding: Callable[[float], int] = round) -> str:
    """Format a number of bytes in GiB or MiB. Callers round needed memory up and free memory down."""
    if count >= 1 << 30:
        return f"{rounding(count * 100 / (1 << 30)) / 100:.2f} GiB"
    return f"{rounding(count / MIB)} MiB"


def value_bytes(form: Format, device: Device) -> int:
    """Return bytes per activation, per value in the KV cache, and per weight that a 4-bit format does not quantise.

    CPUs compute in float32, except those for which bitsandbytes has a bfloat16 kernel (``inference.models.loader``).
    """
    plain = device.kind == "cpu" and not device.repacks
    return 4 if form in ("fp32", "int8", "int4") or (plain and form != "bf16") else 2


def weight_bytes(shape: Shape, form: Format, device: Device) -> int:
    """Return the bytes of the loaded weights, before or after the first forward pass, whichever is larger.

    A CPU that repacks NF4 then keeps one bfloat16 scale per block of 64, with double quantisation too (bitsandbytes
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
    """Return the bytes alive in one layer while ``chunk`` tokens are prefilled, ``context`` tokens with them.

    The larger half of a layer counts. MLP: gate, up and their product, the residual stream and its norm. Attention: the
    query, its rotation and the mask, which the kernel also needs as numbers.
    """
    value = value_bytes(form, device)
    mask = chunk * context
    mlp = chunk * value * (5 * shape.hidden + 3 * shape.intermediate) + mask
    query = shape.heads * shape.head_dim
    attention = chunk * value * (2 * shape.hidden + 4 * query + 2 * shape.head_dim) + mask * (1 + value)
    return max(mlp, attention)


def logit_bytes(shape: Shape, form: Format, device: Device) -> int:
    """Return the bytes of the logits, in the head's precision and in float32."""
    return LOGIT_ROWS * shape.vocab * (value_bytes(form, device) + 4)


def working_copy_bytes(shape: Shape, form: Format, device: Device) -> int:
    """Return the bytes of the largest matrix, dequantised with its scales or repacked for the CPU's instructions."""
    largest, head = shape.largest_matrix, shape.vocab * shape.hidden
    if form in ("fp32", "int8", "int4"):
        return 0
    if device.repacks:  # oneDNN repacks bfloat16 matrices, the head included, in every call
        repacked_bytes = REPACKING * largest if form != "bf16" else 2 * largest
        return math.ceil(max(repacked_bytes, 2 * head))
    if form == "bf16":
        return 0
    return value_bytes(form, device) * largest + (largest // 16 if form == "nf4-double" else 0)
