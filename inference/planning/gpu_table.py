"""Which model for which GPU: the planner's answer for common sizes, as the Markdown table in ``docs/models.md``.

Torch-free. Knows how much memory cards have, nothing of how fast they are. ``python -m inference.planning.gpu_table``
prints the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import product

from inference.models.catalog import CATALOG, Model, Role
from inference.models.shape import Format
from inference.planning.choice import choose
from inference.planning.planner import Choice, DoesNotFitError, Plan, plan
from inference.system.machine import Device

SIZES = (8, 12, 16, 24, 48, 80)
"""Gigabytes on the box of common cards; binary, as their makers count."""

TAKEN = 0.06
"""Share of a card that its driver and a screen take, assumed: of an 8 GB card half a gibibyte."""

ENOUGH = 4096
"""Tokens of context each role should get; where no model can give them, the planner's reserved ones must do."""

COMPLETING = [model for model in CATALOG.values() if model.id in ("codellama-7b", "codellama-13b")]
"""70B infills too, but a completion has to be there while somebody types."""

CHATTING = [model for model in CATALOG.values() if model.chat and model.id != "starter"]
FORMATS: tuple[Format, ...] = ("nf4", "nf4-double")

HEAD = """\
| GPU | completion alone | context | chat alone | context | completion and chat | contexts |
|---|---|---|---|---|---|---|
"""


def main() -> int:
    """Print the table."""
    sys.stdout.write(table())
    return 0


def table() -> str:
    """The table, with a line break at its end."""
    return HEAD + "".join(_line(size) for size in SIZES)


def _line(size: int) -> str:
    card = Device("cuda", f"{size} GB", size << 30, int((size << 30) * (1 - TAKEN)))
    completion, chat, both = (best(offers, card) for offers in (_alone("completion"), _alone("chat"), _both()))
    cells = [card.name, *_cells(completion, "completion"), *_cells(chat, "chat"), *_cells(both, "completion", "chat")]
    return f"| {' | '.join(cells)} |\n"


Offer = tuple[Sequence[Choice], Plan]


def best(offers: Iterable[Sequence[Choice]], card: Device) -> Offer | None:
    """The first of ``offers`` whose roles all get ENOUGH context, else the first that fits at all."""
    fitting = [(choices, planned) for choices in offers if (planned := _fitting(choices, card))]
    roomy = (offer for offer in fitting if all(slot.tokens >= ENOUGH for slot in offer[1].slots))
    return next(roomy, fitting[0] if fitting else None)


def _fitting(choices: Sequence[Choice], card: Device) -> Plan | None:
    try:
        return plan(choices, card)
    except DoesNotFitError:
        return None


def _alone(role: Role) -> list[Sequence[Choice]]:
    """One model for one role, the largest first."""
    models = CHATTING if role == "chat" else COMPLETING
    return sorted(([choose(model, (role,), form)] for model, form in product(models, FORMATS)), key=_preference)


def _both() -> list[Sequence[Choice]]:
    """One model for both roles, or one each: the larger chat model first, then the larger completing one."""
    one = [[choose(m, ("completion", "chat"), form)] for m, form in product(CHATTING, FORMATS) if m.infill]
    two = [
        [choose(completing, ("completion",), form), choose(chatting, ("chat",), form)]
        for completing, chatting, form in product(COMPLETING, CHATTING, FORMATS)
    ]
    return sorted([*one, *two], key=_preference)


def _preference(choices: Sequence[Choice]) -> tuple[int, int, int, int]:
    """What comes first: size by role, then fewer models, then the more exact format."""
    chat = next((c.shape.parameters for c in choices if "chat" in c.roles), 0)
    completion = next((c.shape.parameters for c in choices if "completion" in c.roles), 0)
    return -chat, -completion, len(choices), FORMATS.index(choices[0].form)


def _cells(offer: Offer | None, *roles: Role) -> list[str]:
    """The models with their format, and the tokens each role gets."""
    if offer is None:
        return ["none", ""]
    choices, planned = offer
    names = " + ".join(_short(CATALOG[choice.id]) for choice in choices)
    doubly = " (double)" if choices[0].form == "nf4-double" else ""
    return [names + doubly, " + ".join(f"{planned.context(role):,}" for role in roles)]


def _short(model: Model) -> str:
    return model.title.removeprefix("Code Llama ")


if __name__ == "__main__":
    sys.exit(main())
