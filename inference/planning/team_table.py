"""The table of KV cache sizes of team servers in ``docs/team.md``.

It holds for servers like vLLM that keep weights and KV cache in 16 bits and share them evenly among GPUs by tensor
parallelism. It is computed, not measured. ``python -m inference.planning.team_table`` prints it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from inference.models.catalog import find
from inference.models.shape import Shape
from inference.planning.planner import KEPT, OVERHEAD, activation_bytes, format_bytes
from inference.system.machine import Device

UTILISATION = 0.9
"""Share of each GPU's memory that the server may use (``--gpu-memory-utilization``)."""

STEP = 2048
"""Tokens of a prefill step. Their activations are counted on every GPU as if it held the whole model."""

REQUEST = 2048
"""Tokens of one completion request with its context; somewhat more than this project's defaults."""

HEAD = """\
| model | GPUs | weights | KV cache, a token | room for KV cache | requests of 2,048 tokens at once |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """A model on ``cards`` equal GPUs with ``gigabytes`` GiB each."""

    model: str
    cards: int
    gigabytes: int


SETUPS = (
    Setup("codellama-7b", 1, 24),
    Setup("codellama-13b", 1, 48),
    Setup("codellama-34b", 4, 24),
    Setup("codellama-34b", 2, 48),
    Setup("codellama-34b", 2, 80),
    Setup("codellama-70b", 4, 48),
    Setup("codellama-70b", 2, 80),
    Setup("codellama-70b", 4, 80),
)


def main() -> int:
    """Print the table."""
    sys.stdout.write(table())
    return 0


def table() -> str:
    """Return the Markdown table, with a line break at its end."""
    return HEAD + "".join(map(_line, SETUPS))


def room(setup: Setup) -> int:
    """Return the tokens of KV cache that fit beside the weights; negative if the weights don't fit.

    Each GPU has the planner's allowances for a CUDA context and an allocator, which are not measured.
    """
    shape, card = find(setup.model).shape, setup.gigabytes << 30
    device = Device("cuda", f"{setup.gigabytes} GB", card, card)
    taken = OVERHEAD["cuda"] + KEPT["cuda"] + activation_bytes(shape, "bf16", device, STEP, STEP)
    free = setup.cards * (int(card * UTILISATION) - taken) - shape.weight_bytes("bf16")
    return free // shape.kv_bytes_per_token()


def splits_evenly(shape: Shape, cards: int) -> bool:
    """Return whether tensor parallelism can share the heads of ``shape`` among ``cards`` GPUs."""
    return shape.heads % cards == 0 and shape.kv_heads % cards == 0


def _line(setup: Setup) -> str:
    row, tokens = find(setup.model), room(setup)
    cells = [
        row.title.removeprefix("Code Llama "),
        f"{setup.cards} x {setup.gigabytes} GB",
        format_bytes(row.shape.weight_bytes("bf16")),
        f"{row.shape.kv_bytes_per_token() >> 10} KiB",
        f"{tokens:,} tokens",
        f"{tokens // REQUEST:,}",
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.exit(main())
