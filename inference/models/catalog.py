"""Which models there are and what each was trained for. Torch-free; knows not which are installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ChatFormat = Literal["chatml", "llama", "step"]
"""How a chat model wants its turns: ChatML (the starter), ``[INST]`` (7B-34B Instruct), ``<step>`` turns (70B)."""


@dataclass(frozen=True, slots=True)
class Model:
    """One checkpoint and its abilities.

    Attributes:
        id: what a person types, e.g. ``codellama-7b``.
        title: what a person reads.
        infill: trained to fill in between a prefix and a suffix.
        chat: the format of its turns, or None where it was not trained to chat.
        context: positions (tokens) it was trained on.
        licence: its licence, by SPDX id or name.
    """

    id: str
    title: str
    infill: bool
    chat: ChatFormat | None
    context: int
    licence: str


STARTER = Model(
    id="starter",
    title="SmolLM2-135M-Instruct",
    infill=False,
    chat="chatml",
    context=8192,
    licence="Apache-2.0",
)

CATALOG: dict[str, Model] = {model.id: model for model in (STARTER,)}
