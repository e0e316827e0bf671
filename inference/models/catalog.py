"""The model catalogue: every known model and what it was trained for. Torch-free.

Sources: Code Llama (arXiv 2308.12950v3), section 2, Meta's README and MODEL_CARD.md, the checkpoints' config.json. The
config.json of 70B base and 70B Python were not available: their RoPE theta and positions follow MODEL_CARD.md, their
vocabulary that of 70B Instruct. Loading always reads the checkpoint's own config.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from inference.errors import CodeLlamaError
from inference.models.shape import Shape
from inference.text.vocabulary import Layout

ChatFormat = Literal["chatml", "llama", "step"]
"""The format of chat turns: ChatML (the starter), ``[INST]`` (7B-34B Instruct), ``<step>`` (70B Instruct)."""

Role = Literal["completion", "chat"]
"""A task that a loaded model serves."""

Variant = Literal["base", "python", "instruct"]
"""The last stage of a model's training."""

EXTRAPOLATED = 100_000
"""Usable tokens of models trained at 16,384 with RoPE theta 1e6 (Meta's README; quality falls beyond 16K)."""


@dataclass(frozen=True, slots=True)
class Model:
    """One checkpoint and its abilities.

    Attributes:
        id: the name to type, e.g. ``codellama-7b``.
        title: the name to display.
        hub: its Hugging Face id.
        shape: its dimensions.
        variant: the last stage of its training.
        infill: trained to fill in between a prefix and a suffix.
        chat: the format of its turns, or None if it was not trained to chat.
        context: tokens of context in training.
        usable_context: maximum tokens of context.
        licence: its licence, by SPDX id or name.
        licence_url: the licence's address.
        policy_url: the address of its acceptable-use policy, or None.
        layout: the order of prefix and suffix in an infilling prompt.
        revision: the commit of its repository to pull; None pins the one of the first pull.
    """

    id: str
    title: str
    hub: str
    shape: Shape
    variant: Variant
    infill: bool
    chat: ChatFormat | None
    context: int
    usable_context: int
    licence: str
    licence_url: str
    policy_url: str | None
    layout: Layout = "psm"
    revision: str | None = None


class UnknownModelError(CodeLlamaError, LookupError):
    """The catalogue has no model of this name."""


STARTER = Model(
    id="starter",
    title="SmolLM2-135M-Instruct",
    hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    shape=Shape(49_152, 576, 30, 9, 3, 1536, head_dim=64, rope_theta=1e5, positions=8192, tied=True),
    variant="instruct",
    infill=True,  # through the adapter that ``pull`` merges; the original model can't
    chat="chatml",
    context=8192,
    usable_context=8192,
    licence="Apache-2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0",
    policy_url=None,
    layout="spm",  # a small model learns it much faster than PSM
)


REVISIONS = {
    "codellama/CodeLlama-7b-hf": "6c284d1468fe6c413cf56183e69b194dcfa27fe6",
    "codellama/CodeLlama-7b-Instruct-hf": "22cb240e0292b0b5ab4c17ccd97aa3a2f799cbed",
    "codellama/CodeLlama-13b-Instruct-hf": "745795438019e47e4dad1347a0093e11deee4c68",
    "codellama/CodeLlama-34b-Instruct-hf": "d4c1c474abcacd32d2a6eda45f9811d38c83e93d",
    "codellama/CodeLlama-70b-Instruct-hf": "397cae981dffaf5d5c9c90e89a0a75a850528b70",
}
"""Commits that at least two unrelated public projects pin or have downloaded. The other seven models have none."""


def _code_llama(size: str, variant: Variant, shape: Shape, *, infill: bool, chat: ChatFormat | None = None) -> Model:
    """Return one row of the family. Models trained at 16K extrapolate to 100K; those trained at 4K do not."""
    suffix = "" if variant == "base" else f"-{variant.capitalize()}"
    hub = f"codellama/CodeLlama-{size}{suffix}-hf"
    return Model(
        id=f"codellama-{size}{suffix.lower()}",
        title=f"Code Llama {size.upper()}{suffix.replace('-', ' ')}",
        hub=hub,
        shape=shape,
        variant=variant,
        infill=infill,
        chat=chat,
        context=shape.positions,
        usable_context=EXTRAPOLATED if shape.rope_theta == 1e6 else shape.positions,
        licence="Llama 2 Community License",
        licence_url="https://github.com/meta-llama/codellama/blob/main/LICENSE",
        policy_url="https://github.com/meta-llama/codellama/blob/main/USE_POLICY.md",
        revision=REVISIONS.get(hub),
    )


_7B, _7B_PLAIN = (Shape(vocab, 4096, 32, 32, 32, 11_008) for vocab in (32_016, 32_000))
_13B, _13B_PLAIN = (Shape(vocab, 5120, 40, 40, 40, 13_824) for vocab in (32_016, 32_000))
_34B = Shape(32_000, 8192, 48, 64, 8, 22_016)
_70B = Shape(32_016, 8192, 80, 64, 8, 28_672)
_70B_SHORT = Shape(32_016, 8192, 80, 64, 8, 28_672, rope_theta=1e4, positions=4096)

_FAMILY = (
    _code_llama("7b", "base", _7B, infill=True),
    _code_llama("7b", "python", _7B_PLAIN, infill=False),
    _code_llama("7b", "instruct", _7B, infill=True, chat="llama"),
    _code_llama("13b", "base", _13B, infill=True),
    _code_llama("13b", "python", _13B_PLAIN, infill=False),
    _code_llama("13b", "instruct", _13B, infill=True, chat="llama"),
    _code_llama("34b", "base", _34B, infill=False),
    _code_llama("34b", "python", _34B, infill=False),
    _code_llama("34b", "instruct", _34B, infill=False, chat="llama"),
    _code_llama("70b", "base", _70B, infill=True),
    _code_llama("70b", "python", _70B_SHORT, infill=False),
    # Fine-tuned from 70B Python, so without the infilling objective (paper, section 2.1), despite the abstract.
    _code_llama("70b", "instruct", _70B_SHORT, infill=False, chat="step"),
)

CATALOG: dict[str, Model] = {model.id: model for model in (STARTER, *_FAMILY)}
"""Every model by id: the starter, then the family by size; in each size base, Python, Instruct."""


def find(name: str) -> Model:
    """Return the model with this id or Hugging Face id, ignoring case. Raises UnknownModelError with a suggestion."""
    named = {alias: model for model in CATALOG.values() for alias in (model.id, model.hub.lower())}
    wanted = name.strip().lower()
    if wanted in named:
        return named[wanted]
    near = get_close_matches(wanted, named, n=1)
    hint = f"Did you mean {named[near[0]].id}?" if near else "`codellama-ls models` lists the known models."
    raise UnknownModelError(f"There is no model {name!r}. {hint}")


def canonical(name: str) -> str:
    """Return the catalogue's id for an id or Hugging Face id. Other names, of checkpoints, are returned unchanged."""
    try:
        return find(name).id
    except UnknownModelError:
        return name


def is_outdated(model: Model) -> bool:
    """Return whether an installed model can't infill although its current version can."""
    return not model.infill and model.id in CATALOG and CATALOG[model.id].infill


def why_no_infill(model: Model) -> str | None:
    """Return a message for the user if ``model`` can't infill, else None."""
    if model.infill:
        return None
    if is_outdated(model):
        return f"The installed {model.id} can't infill yet. Run `codellama-ls pull {model.id}` to update it."
    return f"{model.id} was not trained to infill. It completes from the text before the cursor only."


def why_no_chat(model: Model) -> str | None:
    """Return a message for the user if ``model`` can't chat, else None. It names the Instruct model of that size."""
    if model.chat:
        return None
    sibling = f"{model.id.removesuffix('-python')}-instruct"
    other = sibling if sibling in CATALOG else "an Instruct model, such as codellama-7b-instruct,"
    return f"{model.id} was not trained to chat. Choose {other} for chat."
