"""The table of recommended models by GPU memory in ``docs/models.md``, computed by the planner.

``python -m inference.planning.gpu_table`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import product

from inference.models.catalog import CATALOG, Model, Role
from inference.models.shape import Format
from inference.planning.alternatives import catalog_choice
from inference.planning.planner import Choice, DoesNotFitError, Plan, plan
from inference.system.machine import Device

SIZES = (8, 12, 16, 24, 48, 80)
"""Nominal memory of common GPUs in GiB."""

TAKEN = 0.06
"""Assumed share of a GPU's memory that its driver and a screen take: half a GiB of an 8 GiB GPU."""

ENOUGH = 4096
"""Tokens of context that each role should get. If no model allows that, the planner's reserved context must do."""

COMPLETION_MODELS = [model for model in CATALOG.values() if model.id in ("codellama-7b", "codellama-13b")]
"""70B can infill too, but is too slow to complete while the user types."""

CHAT_MODELS = [model for model in CATALOG.values() if model.chat and model.id != "starter"]
FORMATS: tuple[Format, ...] = ("nf4", "nf4-double")

HEAD = """\
| GPU | completion alone | context | chat alone | context | completion and chat | contexts |
|---|---|---|---|---|---|---|
"""

Candidate = tuple[Sequence[Choice], Plan]
"""Models and their plan."""


def main() -> int:
    """Print the table."""
    sys.stdout.write(table())
    return 0


def table() -> str:
    """Return the Markdown table, with a line break at its end."""
    return HEAD + "".join(_line(size) for size in SIZES)


def _line(size: int) -> str:
    gpu = Device("cuda", f"{size} GB", size << 30, int((size << 30) * (1 - TAKEN)))
    completion, chat, both = (best(options, gpu) for options in (_alone("completion"), _alone("chat"), _both()))
    cells = [gpu.name, *_cells(completion, "completion"), *_cells(chat, "chat"), *_cells(both, "completion", "chat")]
    return f"| {' | '.join(cells)} |\n"


def best(options: Iterable[Sequence[Choice]], gpu: Device) -> Candidate | None:
    """Return the first of ``options`` whose roles all get ENOUGH context, else the first that fits."""
    fitting = [(choices, planned) for choices in options if (planned := _plan_or_none(choices, gpu))]
    roomy = (candidate for candidate in fitting if all(slot.tokens >= ENOUGH for slot in candidate[1].slots))
    return next(roomy, fitting[0] if fitting else None)


def _plan_or_none(choices: Sequence[Choice], gpu: Device) -> Plan | None:
    try:
        return plan(choices, gpu)
    except DoesNotFitError:
        return None


def _alone(role: Role) -> list[Sequence[Choice]]:
    """Return the options with one model for one role, the largest first."""
    models = CHAT_MODELS if role == "chat" else COMPLETION_MODELS
    options = ([catalog_choice(model, (role,), form)] for model, form in product(models, FORMATS))
    return sorted(options, key=_preference)


def _both() -> list[Sequence[Choice]]:
    """Return the options for both roles, with one model or two: by size of the chat model, then of the other."""
    one = [[catalog_choice(m, ("completion", "chat"), form)] for m, form in product(CHAT_MODELS, FORMATS) if m.infill]
    two = [
        [catalog_choice(completion, ("completion",), form), catalog_choice(chat, ("chat",), form)]
        for completion, chat, form in product(COMPLETION_MODELS, CHAT_MODELS, FORMATS)
    ]
    return sorted([*one, *two], key=_preference)


def _preference(choices: Sequence[Choice]) -> tuple[int, int, int, int]:
    """Sort key: larger models first, then fewer models, then the more exact format."""
    chat = next((c.shape.parameters for c in choices if "chat" in c.roles), 0)
    completion = next((c.shape.parameters for c in choices if "completion" in c.roles), 0)
    return -chat, -completion, len(choices), FORMATS.index(choices[0].form)


def _cells(candidate: Candidate | None, *roles: Role) -> list[str]:
    """Return two cells: the models with their format, and the tokens of each role."""
    if candidate is None:
        return ["none", ""]
    choices, planned = candidate
    names = " + ".join(_short_name(CATALOG[choice.id]) for choice in choices)
    double = " (double)" if choices[0].form == "nf4-double" else ""
    return [names + double, " + ".join(f"{planned.context(role):,}" for role in roles)]


def _short_name(model: Model) -> str:
    return model.title.removeprefix("Code Llama ")


if __name__ == "__main__":
    sys.exit(main())
