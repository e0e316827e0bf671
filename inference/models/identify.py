"""The catalogue's row of an installed model, also of one the catalogue does not have.

Torch-free. What a checkpoint was trained for can't be read from its weights: for one of the catalogue the catalogue
says it; for any other it is guessed from its vocabulary and chat template when it is pulled, and kept in the manifest.
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
"""What every chat template of a format contains, and no template of another one."""

NEEDED: dict[ChatFormat, tuple[str, ...]] = {"chatml": ("<|im_start|>", "<|im_end|>"), "step": (STEP,), "llama": ()}
"""Control tokens that a format can't be written without."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a checkpoint that is not in the catalogue was trained for.

    Attributes:
        infill: to fill in between a prefix and a suffix.
        chat: the format of its turns, or None.
    """

    infill: bool
    chat: ChatFormat | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a checkpoint that is not in the catalogue came from, as the manifest keeps it."""

    source: str
    licence: str
    licence_url: str
    trained: Trained


def row_of(name: str) -> Model:
    """The catalogue's row of this id or Hugging Face id, or for another installed checkpoint one made from its files.

    A starter that was installed without the adapter that teaches it to infill is not said to infill. The context of a
    checkpoint that is not in the catalogue is what its config.json gives it. Raises UnknownModelError where it is
    neither of the catalogue nor installed, StoreError where it is damaged, ShapeError where its config.json can't be
    understood.
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
    """What is damaged is another's to find out: here it counts as what it would be once it is pulled again."""
    with suppress(store.StoreError):
        if row.id == STARTER.id and not store.facts(row.id).get("adapter"):
            return replace(row, infill=False)
    return row


def find_row(model_id: str) -> Model | None:
    """``row_of``, or None where nothing is known."""
    try:
        return row_of(model_id)
    except (UnknownModelError, store.StoreError, ShapeError):
        return None


def guess(folder: Path, tokenizer: Tokenizer) -> Trained:
    """What a checkpoint's vocabulary and chat template say it was trained for."""
    template = _chat_template(folder)
    chat: ChatFormat | None = next((form for form, marks in MARKS if all(mark in template for mark in marks)), None)
    return Trained(infill=_has_sentinels(tokenizer), chat=chat if chat and can_chat(tokenizer, chat) else None)


def overridden(trained: Trained, infill: bool | None, chat: ChatFormat | None, *, no_chat: bool) -> Trained:
    """``trained`` with what a person knows better; None leaves it."""
    trained = trained if infill is None else replace(trained, infill=infill)
    return replace(trained, chat=None) if no_chat else replace(trained, chat=chat or trained.chat)


def check_vocabulary(name: str, tokenizer: Tokenizer, trained: Trained | Model) -> None:
    """Raises TokenizerError where the vocabulary lacks the control tokens of what the model was trained for."""
    if trained.infill and not _has_sentinels(tokenizer):
        missing, option = f"infilling's control tokens ({', '.join(SENTINELS)})", "--infill"
    elif trained.chat and not can_chat(tokenizer, trained.chat):
        missing = f"the control tokens of its chat format ({', '.join(NEEDED[trained.chat])})"
        option = f"--chat {trained.chat}"
    else:
        return
    known = isinstance(trained, Model)
    advice = f", so this is not {trained.id}: pull it --as what it is." if known else f": leave out {option}."
    raise TokenizerError(f"The vocabulary in {name} lacks {missing}{advice}")


def can_chat(tokenizer: Tokenizer, chat: ChatFormat) -> bool:
    """Whether a vocabulary has the control tokens of a chat format."""
    return all(tokenizer.control_id(piece) is not None for piece in NEEDED[chat])


def _has_sentinels(tokenizer: Tokenizer) -> bool:
    return all(tokenizer.control_id(piece) is not None for piece in SENTINELS)


def _chat_template(folder: Path) -> str:
    """The template in any of the forms transformers writes: a file of its own, a string, or a list of named ones."""
    own = folder / "chat_template.jinja"
    if own.exists():
        return own.read_text("utf-8", errors="replace")
    template = read_json(folder / "tokenizer_config.json").get("chat_template") or ""
    return template if isinstance(template, str) else "\n".join(str(entry.get("template")) for entry in template)


def _provenance(model_id: str) -> Provenance | None:
    """What the manifest says; None for what is not installed. Raises ModelDamagedError."""
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
