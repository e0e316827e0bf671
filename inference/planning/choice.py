"""What to load instead when a choice does not fit: the refusal that names the next smaller choice.

Torch-free. Knows the catalogue and the planner; knows not what is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from inference.models.catalog import CATALOG, STARTER, Model, Role
from inference.models.shape import CHUNK, Format, Shape
from inference.planning.planner import Choice, DoesNotFitError, Plan, described, plan
from inference.system.machine import Device

BY_BYTES: tuple[Format, ...] = ("fp32", "bf16", "int8", "int4", "nf4", "nf4-double")
"""Formats, the largest first."""


def choose(model: Model, roles: tuple[Role, ...], form: Format = "nf4", shape: Shape | None = None) -> Choice:
    """A row of the catalogue as a choice; ``shape`` is that of the checkpoint where it is at hand."""
    return Choice(model.id, shape or model.shape, roles, form, model.usable_context)


def plan_or_suggest(
    choices: Sequence[Choice], device: Device, *, chunk: int = CHUNK, wanted: Mapping[Role, int] | None = None
) -> Plan:
    """``plan``, but DoesNotFitError's sentence goes on to name the next smaller choice that would fit."""
    try:
        return plan(choices, device, chunk=chunk, wanted=wanted)
    except DoesNotFitError as refusal:
        for smaller in _smaller(choices):
            if fits := _fitting(smaller, device, chunk, wanted):
                raise DoesNotFitError(f"{refusal}: {_advice(smaller, fits)}", refusal.smallest) from None
        raise DoesNotFitError(f"{refusal}: not even the starter fits, so free some of it.", refusal.smallest) from None


def _fitting(choices: Sequence[Choice], device: Device, chunk: int, wanted: Mapping[Role, int] | None) -> Plan | None:
    try:
        return plan(choices, device, chunk=chunk, wanted=wanted)
    except DoesNotFitError:
        return None


def _advice(choices: Sequence[Choice], fits: Plan) -> str:
    contexts = " and ".join(f"{slot.tokens:,} tokens of {slot.role} context" for slot in fits.slots)
    return f"choose {described(choices)}, with room for {contexts}."


def _smaller(choices: Sequence[Choice]) -> Iterator[Sequence[Choice]]:
    """Ever smaller choices: other formats, one model for both roles, then the same with the largest model replaced."""
    yield from _reformatted(choices)
    while any(choice.id != STARTER.id for choice in choices):
        if both := _one_for_both(choices):
            yield [both]
            yield from _reformatted([both])
        choices = _stepped_down(choices)
        yield choices
        yield from _reformatted(choices)


def _reformatted(choices: Sequence[Choice]) -> Iterator[Sequence[Choice]]:
    """The same models with every larger format replaced, for each of the 4-bit formats that makes a difference."""
    for form in ("nf4", "nf4-double"):
        smaller = [c if BY_BYTES.index(c.form) >= BY_BYTES.index(form) else replace(c, form=form) for c in choices]
        if smaller != list(choices):
            yield smaller


def _one_for_both(choices: Sequence[Choice]) -> Choice | None:
    """The chat model serving completion too, where there are two models and it was trained to infill."""
    chat = next((c for c in choices if c.roles == ("chat",)), None)
    if len(choices) < 2 or chat is None or chat.id not in CATALOG or not CATALOG[chat.id].infill:
        return None
    return replace(chat, roles=("completion", "chat"), form="nf4")


def _stepped_down(choices: Sequence[Choice]) -> Sequence[Choice]:
    """The largest model replaced by the next smaller one of its kind; two that became the same are one."""
    largest = max(choices, key=lambda choice: choice.shape.parameters)
    stepped = [choose(_next_smaller(c), c.roles) if c is largest else replace(c, form="nf4") for c in choices]
    if len({c.id for c in stepped}) == 1:
        return [replace(stepped[0], roles=tuple(role for c in stepped for role in c.roles))]
    return stepped


def _next_smaller(choice: Choice) -> Model:
    """The largest model of the same training with fewer parameters; below the family there is the starter."""
    usual = "instruct" if "chat" in choice.roles else "base"
    variant = CATALOG[choice.id].variant if choice.id in CATALOG else usual
    alike = (m for m in CATALOG.values() if m.variant == variant and m.shape.parameters < choice.shape.parameters)
    return max(alike, key=lambda model: model.shape.parameters, default=STARTER)
