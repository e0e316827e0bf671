"""What a server can do, found out by asking it: once when it is connected to, and anew after a failure.

Is it an engine of ours, which models has it, how much context, and which dialect does it take? The dialects are tried
from the most exact down, with a request that has all fields a real one has, for one token; that the server counts as
many tokens as were sent, and for a text as many as the vocabulary here, is what shows that both speak of the same ids;
of a server that counts none, that it answers ids as it answers the text they stand for. Nothing of a person's code is
sent. Knows no editor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import httpx

from inference.generation.answer import Sampling
from inference.models import vocabularies
from inference.models.catalog import Model, asked_to_infill
from inference.models.rows import find_row
from inference.models.store import StoreError
from inference.remote.asking import Dialect, Language
from inference.remote.listing import context_of, listed_models, name_there
from inference.remote.stream import get_json, parts
from inference.remote.troubles import Busy, NotUnderstood, refused
from inference.serving.client import BadRequest, EngineUnavailable
from inference.serving.state import ANSWERING, Status
from inference.serving.wire import CompletionRequest
from inference.text.loading import load_tokenizer
from inference.text.prompts import PromptError, begin_ids
from inference.text.stopping import StopRule
from inference.text.tokenizer import Tokenizer, TokenizerError

PROBE_SECONDS = 60.0
"""How long a server may take for each question: the first answer of some compiles kernels."""

LOADING_SECONDS, STANDING_SECONDS = 1.0, 10.0
"""Until an engine that is not ready is asked again: one that loads its weights, and one that has failed or leaves."""

USUAL_CONTEXT = 4096
"""Tokens, where nobody says how many there are."""

PREFIX, SUFFIX = "def largest(numbers):\n    ", "\n\n\nprint(largest([3, 1, 2]))\n"
"""A place to infill at, of nobody's code."""

COUNTED = (
    "The quick brown fox jumps over 13 lazy dogs; naïve façades cost €4.50, while parse_json(request.body) raises "
    "ValueError: unexpected_token == '}' in configuration/settings.yaml, line 2048"
)
"""A text that no two vocabularies cut into equally many tokens but by chance."""

CONTINUED = "def add(a, b):\n    return"
"""A text that goes on with a word, and not as a list of numbers would."""

DIALECTS = (Dialect("ids", stop_ids=True, usage=True), Dialect("ids", usage=True), Dialect("ids"))
TEXT_DIALECTS = (
    Dialect("suffix", usage=True), Dialect("suffix"), Dialect("text", usage=True), Dialect("text"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which models a person has chosen, by their ids; they say the prompt format and the vocabulary."""

    model: str
    chat_model: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """What was found out.

    Attributes:
        language: how to ask for completions.
        chat: the same for chats.
        names: of everything it lists, which is what can be asked for by name.
        limits: what a person should know of the model; empty where there is nothing to say.
        engine: what an engine of ours says of itself.
        chat_context: tokens that a conversation and its answer may have there; 0 where the server has not said so.
    """

    language: Language
    chat: Language
    names: frozenset[str]
    limits: str = ""
    engine: Status | None = None
    chat_context: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known here of the wished-for model. ``missing`` says why there is no vocabulary."""

    row: Model | None
    tokenizer: Tokenizer | None
    missing: str = ""


async def probe(http: httpx.AsyncClient, where: str, wanted: Wanted) -> Served:
    """Ask the server at ``where``. Raises ``EngineError``: which one says whether to try again soon."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            status = await _health(http, where)
            entries = await listed_models(http, where)
            names = frozenset(str(entry["id"]) for entry in entries)
        if status:
            return _own(status, names)
        name = name_there(entries, wanted.model, "engine.model", where)
        chat = name_there(entries, wanted.chat_model, "engine.chatModel", where) if wanted.chat_model else name
        async with asyncio.timeout(PROBE_SECONDS):
            context = await context_of(http, where, entries, name)
            chat_context = context if chat == name else await context_of(http, where, entries, chat)
        known = await asyncio.to_thread(_known, wanted.model)
        language = Language(name, Dialect("text"), context or _usual(known.row), known.row, known.tokenizer)
        language = await _spoken(http, where, language, known)
    except TimeoutError as error:
        raise EngineUnavailable(f"{where} did not answer a first question in {PROBE_SECONDS:.0f} s.") from error
    limits = (known.row and asked_to_infill(known.row)) or ""
    chats = replace(language, model=chat, context=chat_context or language.context)
    return Served(language, chats, names, limits, chat_context=chat_context)


async def _health(http: httpx.AsyncClient, where: str) -> Status | None:
    """The status of an engine of ours, and None of any other server that can answer."""
    code, headers, body, said = await get_json(http, where, "/health")
    if status := _status(said):
        if status.phase in ANSWERING:
            return status
        rest = LOADING_SECONDS if status.phase == "loading" else STANDING_SECONDS
        raise Busy(f"{where} is not ready: {status.message.rstrip('.')}.", rest, status)
    if code in (200, 404, 405):  # OpenAI's own API has no such route
        return None
    raise refused(where, code, headers, body)


def _status(said: Any) -> Status | None:
    """What an engine of ours says; None of what has another shape."""
    if not isinstance(said, Mapping) or not {"phase", "model", "version"} <= said.keys():
        return None
    known = {name: said[name] for name in Status.__dataclass_fields__ if name in said}
    usual = Status()
    return Status(**known) if all(type(known[name]) is type(getattr(usual, name)) for name in known) else None


def _own(status: Status, names: frozenset[str]) -> Served:
    """An engine of ours knows its models better than the settings here."""
    language = Language(status.model, Dialect("engine"), 0)
    return Served(language, replace(language, model=status.chat_model), names, status.limits, status)


def _usual(row: Model | None) -> int:
    return row.context if row else USUAL_CONTEXT


def _known(model: str) -> _Known:
    """Reads the disk: not to be called on an event loop."""
    row = find_row(model)
    try:
        return _Known(row, load_tokenizer(vocabularies.folder_of(model)))
    except (vocabularies.VocabularyMissingError, TokenizerError, StoreError) as missing:
        return _Known(row, None, str(missing))


async def _spoken(http: httpx.AsyncClient, where: str, language: Language, known: _Known) -> Language:
    """The language in the most exact dialect that the server takes. Raises ``NotUnderstood`` where none will do."""
    words, hopeless = "", set[str]()
    for dialect in (*(DIALECTS if known.tokenizer else ()), *_text_dialects(known.row)):
        if dialect.kind in hopeless:
            continue
        tried = replace(language, dialect=dialect)
        try:
            words = await _hindrance(http, where, tried)
            hopeless |= {dialect.kind} if words else set()
        except BadRequest as refusal:
            words = str(refusal)
        if not words:
            if dialect.kind == "ids":
                await _check_vocabulary(http, where, tried)
            return tried
    raise NotUnderstood(_nothing_will_do(where, known, words))


def _text_dialects(row: Model | None) -> Sequence[Dialect]:
    """A model that infills is not asked to go on with a text instead: its answers would ignore what follows."""
    return TEXT_DIALECTS if row is not None and not row.infill else TEXT_DIALECTS[:2]


async def _hindrance(http: httpx.AsyncClient, where: str, language: Language) -> str:
    """Why a dialect will not do although the server answers; empty where it will. Raises ``BadRequest``."""
    try:
        asked = language.completion(_request(PREFIX, SUFFIX))
    except PromptError as error:
        return str(error)
    text, counted = await _one_token(http, where, asked.body)
    sent = asked.prompt_tokens
    if sent and counted is None:
        return await _disbelief(http, where, language)
    if sent and counted != sent:
        return f"{where} counts {counted} tokens where {sent} were sent."
    if language.dialect.kind == "suffix" and text.endswith(SUFFIX):
        return f"{where} only puts the suffix behind its answer."
    return ""


async def _disbelief(http: httpx.AsyncClient, where: str, language: Language) -> str:
    """Why the ids of a server that counts none are not believed to be read as such; empty where they are.

    One may take a list for something else, such as the text that it is printed as, and answer that.
    """
    in_text = replace(language, dialect=Dialect("text", usage=language.dialect.usage))
    to_ids, _ = await _one_token(http, where, language.completion(_request(CONTINUED)).body)
    try:
        to_text, _ = await _one_token(http, where, in_text.completion(_request(CONTINUED)).body)
    except BadRequest:
        return ""  # it takes ids alone
    same = to_ids == to_text and not to_ids.isspace() and to_ids
    return "" if same else f"{where} answers token ids otherwise than the text that they stand for."


def _request(prefix: str, suffix: str | None = None) -> CompletionRequest:
    """For one token, with all fields that a completion has."""
    return CompletionRequest(prefix, suffix, sampling=Sampling(max_tokens=1, seed=1), stop_rule=StopRule("line"))


async def _check_vocabulary(http: httpx.AsyncClient, where: str, language: Language) -> None:
    """Raises ``NotUnderstood`` where the server cuts a text into other tokens; with a begin token it is one more."""
    assert language.tokenizer is not None
    if not language.dialect.usage:
        return
    asked = replace(language, dialect=Dialect("text", usage=True)).completion(_request(COUNTED))
    try:
        _, counted = await _one_token(http, where, asked.body)
    except BadRequest:
        return  # it takes ids alone
    here = len(language.tokenizer.encode(COUNTED))
    if counted is not None and counted not in (here, here + len(begin_ids(language.tokenizer)), here + 1):
        raise NotUnderstood(
            f"{where} serves {language.model}, whose vocabulary is not that of engine.model (a text of {here} tokens "
            f"has {counted} there): set engine.model to what it serves."
        )


async def _one_token(http: httpx.AsyncClient, where: str, body: Mapping[str, Any]) -> tuple[str, int | None]:
    """What it says, and how many tokens it counted in the prompt, if it tells."""
    text, counted = "", None
    async with (
        asyncio.timeout(PROBE_SECONDS),
        aclosing(parts(http, where, "/v1/completions", body, telling=True)) as all_of_it,
    ):
        async for part in all_of_it:
            text += part.text
            counted = part.usage.get("prompt_tokens", counted)
    return text, counted


def _nothing_will_do(where: str, known: _Known, words: str) -> str:
    if known.row is None:
        return (
            f"{where} takes no text with a suffix, and engine.model names no model that is known here, which would say "
            "how to ask it otherwise: set engine.model to the catalogue's id of what it serves (`codellama-ls models`)."
        )
    if known.tokenizer is None:
        return f"{where} takes no text with a suffix, so it is to be asked with token ids. {known.missing}"
    return f"{where} takes neither token ids nor text with a suffix: {words}"
