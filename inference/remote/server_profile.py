"""What a server can do, found out by asking it: once when it is connected to, and anew after a failure.

Is it an engine of ours, which models has it, how much context, and which dialect does it take? The dialects are tried
from the most exact down, with a request that has all fields a real one has, for one token; that the server counts as
many tokens as were sent, and for a text as many as the vocabulary here, is what shows that both speak of the same ids;
of a server that counts none, that it answers ids as it answers the text they stand for. Nothing of a person's code is
sent. Knows no editor.

Which models a server lists: the wished-for one under the name it has there, and how much context it has.

Sources: OpenAI API reference, "Models"; vLLM's ``max_model_len``, ``root`` and ``parent``; llama-server's ``/props``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import httpx

from inference.api.errors import BadRequest, EngineUnavailable, ModelRefused
from inference.api.events import Sampling
from inference.api.requests import CompletionRequest
from inference.api.status import ANSWERING, Status
from inference.models import store
from inference.models.catalog import Model, asked_to_infill, canonical
from inference.models.identify import find_row
from inference.models.store import StoreError
from inference.remote.errors import Busy, NotUnderstood, refused, strange
from inference.remote.http_client import get_json, parts
from inference.remote.prompt_format import PromptFormat, ServerDialect
from inference.text.prompts import PromptError, begin_ids
from inference.text.stopping import StopRule
from inference.text.tokenizer import Tokenizer, TokenizerError
from inference.text.tokenizer_loader import load_tokenizer

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

DIALECTS = (ServerDialect("ids", stop_ids=True, usage=True), ServerDialect("ids", usage=True), ServerDialect("ids"))
TEXT_DIALECTS = (
    ServerDialect("suffix", usage=True),
    ServerDialect("suffix"),
    ServerDialect("text", usage=True),
    ServerDialect("text"),
)


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Which models a person has chosen, by their ids; they say the prompt format and the vocabulary."""

    model: str
    chat_model: str = ""


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """What was found out.

    Attributes:
        language: how to ask for completions.
        chat: the same for chats.
        names: of everything it lists, which is what can be asked for by name.
        limits: what a person should know of the model; empty where there is nothing to say.
        engine: what an engine of ours says of itself.
        chat_context: tokens that a conversation and its answer may have there; 0 where the server has not said so.
    """

    language: PromptFormat
    chat: PromptFormat
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


async def probe(http: httpx.AsyncClient, where: str, wanted: ProbeRequest) -> ServerProfile:
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
        language = PromptFormat(name, ServerDialect("text"), context or _usual(known.row), known.row, known.tokenizer)
        language = await _spoken(http, where, language, known)
    except TimeoutError as error:
        raise EngineUnavailable(f"{where} did not answer a first question in {PROBE_SECONDS:.0f} s.") from error
    limits = (known.row and asked_to_infill(known.row)) or ""
    chats = replace(language, model=chat, context=chat_context or language.context)
    return ServerProfile(language, chats, names, limits, chat_context=chat_context)


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


def _own(status: Status, names: frozenset[str]) -> ServerProfile:
    """An engine of ours knows its models better than the settings here."""
    language = PromptFormat(status.model, ServerDialect("engine"), 0)
    return ServerProfile(language, replace(language, model=status.chat_model), names, status.limits, status)


def _usual(row: Model | None) -> int:
    return row.context if row else USUAL_CONTEXT


def _known(model: str) -> _Known:
    """Reads the disk: not to be called on an event loop."""
    row = find_row(model)
    try:
        return _Known(row, load_tokenizer(store.folder_of(model)))
    except (store.VocabularyMissingError, TokenizerError, StoreError) as missing:
        return _Known(row, None, str(missing))


async def _spoken(http: httpx.AsyncClient, where: str, language: PromptFormat, known: _Known) -> PromptFormat:
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


def _text_dialects(row: Model | None) -> Sequence[ServerDialect]:
    """A model that infills is not asked to go on with a text instead: its answers would ignore what follows."""
    return TEXT_DIALECTS if row is not None and not row.infill else TEXT_DIALECTS[:2]


async def _hindrance(http: httpx.AsyncClient, where: str, language: PromptFormat) -> str:
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


async def _disbelief(http: httpx.AsyncClient, where: str, language: PromptFormat) -> str:
    """Why the ids of a server that counts none are not believed to be read as such; empty where they are.

    One may take a list for something else, such as the text that it is printed as, and answer that.
    """
    in_text = replace(language, dialect=ServerDialect("text", usage=language.dialect.usage))
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


async def _check_vocabulary(http: httpx.AsyncClient, where: str, language: PromptFormat) -> None:
    """Raises ``NotUnderstood`` where the server cuts a text into other tokens; with a begin token it is one more."""
    assert language.tokenizer is not None
    if not language.dialect.usage:
        return
    asked = replace(language, dialect=ServerDialect("text", usage=True)).completion(_request(COUNTED))
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


async def listed_models(http: httpx.AsyncClient, where: str) -> list[Mapping[str, Any]]:
    """What the server says of each, one at least. Raises ``EngineError``."""
    code, headers, body, said = await get_json(http, where, "/v1/models")
    if code != 200:
        raise refused(where, code, headers, body)
    entries = said.get("data") if isinstance(said, Mapping) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, Mapping) and isinstance(e.get("id"), str) for e in entries
    ):
        raise strange(where)
    if not entries:
        raise NotUnderstood(f"{where} serves no model.")
    return entries


def name_there(entries: Sequence[Mapping[str, Any]], wanted: str, setting: str, where: str) -> str:
    """The name under which the server has the model: by its id, its Hugging Face id, or as the only one it has.

    Raises ``ModelRefused`` where it has several others.
    """
    row = find_row(wanted)
    aliases = {name.lower() for name in (wanted, canonical(wanted), *((row.hub,) if row else ()))}
    aliases |= {alias.rsplit("/")[-1] for alias in aliases}
    bases = [entry for entry in entries if not entry.get("parent")] or entries
    for entry in bases:
        called = {str(entry[field]).lower() for field in ("id", "root") if entry.get(field)}
        if aliases & (called | {name.rsplit("/")[-1] for name in called}):
            return entry["id"]
    if len(bases) == 1:
        return bases[0]["id"]
    there = ", ".join(sorted(entry["id"] for entry in bases)[:8])
    raise ModelRefused(f"{where} serves {there}, and {setting} is {wanted!r}: set it to one of these.")


async def context_of(http: httpx.AsyncClient, where: str, entries: Sequence[Mapping[str, Any]], name: str) -> int:
    """Tokens of context, as vLLM lists them or llama-server's ``/props`` has them; 0 where nobody says."""
    listed = next(entry for entry in entries if entry["id"] == name).get("max_model_len")
    if type(listed) is int and listed > 0:
        return listed
    _, _, _, said = await get_json(http, where, "/props")
    settings = said.get("default_generation_settings") if isinstance(said, Mapping) else None
    told = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    return told if type(told) is int and told > 0 else 0
