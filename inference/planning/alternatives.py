"""Suggest a smaller choice of models when the wanted one does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from inference.models.catalog import CATALOG, STARTER, Model, Role
from inference.models.shape import CHUNK, Format, Shape
from inference.planning.planner import Choice, DoesNotFitError, Plan, describe, plan
from inference.system.machine import Device

BY_BYTES: tuple[Format, ...] = ("fp32", "bf16", "int8", "int4", "nf4", "nf4-double")
"""Formats by size, the largest first."""


def catalog_choice(model: Model, roles: tuple[Role, ...], form: Format = "nf4", shape: Shape | None = None) -> Choice:
    """Return the choice of a catalogue model. ``shape`` overrides the catalogue's, if the checkpoint is installed."""
    return Choice(model.id, shape or model.shape, roles, form, model.usable_context)


def plan_or_suggest(
    choices: Sequence[Choice], device: Device, *, chunk: int = CHUNK, wanted: Mapping[Role, int] | None = None
) -> Plan:
    """Plan as ``plan`` does. The message of DoesNotFitError names the next smaller choice that would fit."""
    try:
        return plan(choices, device, chunk=chunk, wanted=wanted)
    except DoesNotFitError as refusal:
        for smaller in _smaller(choices):
            if fitting := _plan_or_none(smaller, device, chunk, wanted):
                raise DoesNotFitError(f"{refusal} {_advice(smaller, fitting)}", refusal.smallest) from None
        raise DoesNotFitError(f"{refusal} Not even the starter fits. Free some memory.", refusal.smallest) from None


def _plan_or_none(
    choices: Sequence[Choice], device: Device, chunk: int, wanted: Mapping[Role, int] | None
) -> Plan | None:
    try:
        return plan(choices, device, chunk=chunk, wanted=wanted)
    except DoesNotFitError:
        return None


def _advice(choices: Sequence[Choice], fitting: Plan) -> str:
    contexts = " and ".join(f"{slot.tokens:,} tokens of {slot.role} context" for slot in fitting.slots)
    return f"Choose {describe(choices)}, with room for {contexts}."


def _smaller(choices: Sequence[Choice]) -> Iterator[Sequence[Choice]]:
    """Yield ever smaller choices: other formats, one model for both roles, then the same with a smaller model."""
    yield from _reformatted(choices)
    while any(choice.id != STARTER.id for choice in choices):
        if both := _one_for_both(choices):
            yield [both]
            yield from _reformatted([both])
        choices = _stepped_down(choices)
        yield choices
        yield from _reformatted(choices)


def _reformatted(choices: Sequence[Choice]) -> Iterator[Sequence[Choice]]:
    """Yield the same models in NF4, then with double quantisation, unless their formats are as small already."""
    for form in ("nf4", "nf4-double"):
        smaller = [c if BY_BYTES.index(c.form) >= BY_BYTES.index(form) else replace(c, form=form) for c in choices]
        if smaller != list(choices):
            yield smaller


def _one_for_both(choices: Sequence[Choice]) -> Choice | None:
    """Return the chat model for both roles, if there are two models and it can infill."""
    chat = next((c for c in choices if c.roles == ("chat",)), None)
    if len(choices) < 2 or chat is None or chat.id not in CATALOG or not CATALOG[chat.id].infill:
        return None
    return replace(chat, roles=("completion", "chat"), form="nf4")


def _stepped_down(choices: Sequence[Choice]) -> Sequence[Choice]:
    """Replace the largest model by the next smaller one of its variant. Merge two choices of the same model."""
    largest = max(choices, key=lambda choice: choice.shape.parameters)
    stepped = [catalog_choice(_next_smaller(c), c.roles) if c is largest else replace(c, form="nf4") for c in choices]
    if len({c.id for c in stepped}) == 1:
        return [replace(stepped[0], roles=tuple(role for c in stepped for role in c.roles))]
    return stepped


def _next_smaller(choice: Choice) -> Model:
    """Return the largest model of the same variant with fewer parameters, or the starter."""
    usual = "instruct" if "chat" in choice.roles else "base"
    variant = CATALOG[choice.id].variant if choice.id in CATALOG else usual
    smaller = (m for m in CATALOG.values() if m.variant == variant and m.shape.parameters < choice.shape.parameters)
    return max(smaller, key=lambda model: model.shape.parameters, default=STARTER)
