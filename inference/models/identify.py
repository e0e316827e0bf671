"""Find the catalogue row of an installed model, or make one for a checkpoint outside the catalogue. Torch-free.

A checkpoint's weights don't show what it was trained for. Outside the catalogue this is guessed from the vocabulary and
the chat template when the model is pulled, and kept in the manifest.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from inference.models import store
from inference.models.catalog import STARTER, ChatFormat, Model, UnknownModelError, find
from inference.models.shape import Shape, ShapeError
from inference.text.tokenizer import Tokenizer, TokenizerError
from inference.text.vocabulary import END_OF_INFILL, MIDDLE, PREFIX, STEP, SUFFIX, read_json

SENTINELS = (PREFIX, SUFFIX, MIDDLE, END_OF_INFILL)

CHAT_FORMATS: tuple[ChatFormat, ...] = get_args(ChatFormat)

MARKS: tuple[tuple[ChatFormat, tuple[str, ...]], ...] = (
    ("chatml", ("<|im_start|>",)),
    ("step", (STEP, "Destination:")),
    ("llama", ("[INST]", "<<SYS>>")),
)
"""Strings that every chat template of a format contains, and no template of another format."""

NEEDED: dict[ChatFormat, tuple[str, ...]] = {"chatml": ("<|im_start|>", "<|im_end|>"), "step": (STEP,), "llama": ()}
"""Control tokens that a chat format needs."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The training of a checkpoint outside the catalogue.

    Attributes:
        infill: to fill in between a prefix and a suffix.
        chat: the format of its turns, or None.
    """

    infill: bool
    chat: ChatFormat | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a checkpoint outside the catalogue, as kept in its manifest."""

    source: str
    licence: str
    licence_url: str
    trained: Trained


def row_of(name: str) -> Model:
    """Return the catalogue row of an id or Hugging Face id, or one made from an installed checkpoint's files.

    A starter that was installed without its infilling adapter has ``infill=False``. Outside the catalogue the context
    is that of config.json.

    Raises:
        UnknownModelError: the model is neither in the catalogue nor installed.
        StoreError: it is damaged.
        ShapeError: its config.json is invalid.
    """
    try:
        return _as_installed(find(name))
    except UnknownModelError:
        known = _provenance(name)
        if known is None:
            raise
    shape = Shape.from_folder(store.location(name))
    return Model(
        id=name,
        title=name,
        hub=known.source,
        shape=shape,
        variant="instruct" if known.trained.chat else "base",
        infill=known.trained.infill,
        chat=known.trained.chat,
        context=shape.positions,
        usable_context=shape.positions,
        licence=known.licence,
        licence_url=known.licence_url,
        policy_url=None,
    )


def _as_installed(row: Model) -> Model:
    """Return the row with the abilities of the installed version. Damage is ignored here; loading reports it."""
    with suppress(store.StoreError):
        if row.id == STARTER.id and not store.facts(row.id).get("adapter"):
            return replace(row, infill=False)
    return row


def find_row(model_id: str) -> Model | None:
    """Return ``row_of(model_id)``, or None if that fails."""
    try:
        return row_of(model_id)
    except (UnknownModelError, store.StoreError, ShapeError):
        return None


def guess(folder: Path, tokenizer: Tokenizer) -> Trained:
    """Guess the training of a checkpoint from its vocabulary and chat template."""
    template = _chat_template(folder)
    chat: ChatFormat | None = next((form for form, marks in MARKS if all(mark in template for mark in marks)), None)
    return Trained(infill=_has_sentinels(tokenizer), chat=chat if chat and can_chat(tokenizer, chat) else None)


def overridden(trained: Trained, infill: bool | None, chat: ChatFormat | None, *, no_chat: bool) -> Trained:
    """Return ``trained`` with the user's corrections; None keeps a value."""
    trained = trained if infill is None else replace(trained, infill=infill)
    return replace(trained, chat=None) if no_chat else replace(trained, chat=chat or trained.chat)


def check_vocabulary(name: str, tokenizer: Tokenizer, trained: Trained | Model) -> None:
    """Check that the vocabulary has the control tokens that infilling and chat need. Raises TokenizerError."""
    if trained.infill and not _has_sentinels(tokenizer):
        missing, option = f"infilling's control tokens ({', '.join(SENTINELS)})", "--infill"
    elif trained.chat and not can_chat(tokenizer, trained.chat):
        missing = f"the control tokens of its chat format ({', '.join(NEEDED[trained.chat])})"
        option = f"--chat {trained.chat}"
    else:
        return
    known = isinstance(trained, Model)
    advice = f"So it is not {trained.id}. Pull it under another name with --as." if known else f"Leave out {option}."
    raise TokenizerError(f"The vocabulary in {name} lacks {missing}. {advice}")


def can_chat(tokenizer: Tokenizer, chat: ChatFormat) -> bool:
    """Return whether a vocabulary has the control tokens of a chat format."""
    return all(tokenizer.control_id(piece) is not None for piece in NEEDED[chat])


def _has_sentinels(tokenizer: Tokenizer) -> bool:
    return all(tokenizer.control_id(piece) is not None for piece in SENTINELS)


def _chat_template(folder: Path) -> str:
    """Read the chat template in any form that transformers writes: a file, a string, or a list of named templates."""
    own = folder / "chat_template.jinja"
    if own.exists():
        return own.read_text("utf-8", errors="replace")
    template = read_json(folder / "tokenizer_config.json").get("chat_template") or ""
    return template if isinstance(template, str) else "\n".join(str(entry.get("template")) for entry in template)


def _provenance(model_id: str) -> Provenance | None:
    """Read the origin from the manifest; None if the model is not installed. Raises ModelDamagedError."""
    try:
        facts = store.facts(model_id)
    except store.ModelDamagedError:
        raise
    except store.StoreError:
        return None
    trained = facts.get("trained") or {}
    chat = trained.get("chat")
    return Provenance(
        source=str(facts.get("source") or model_id),
        licence=str(facts.get("licence") or "unknown"),
        licence_url=str(facts.get("licence_url") or ""),
        trained=Trained(bool(trained.get("infill")), chat if chat in CHAT_FORMATS else None),
    )
