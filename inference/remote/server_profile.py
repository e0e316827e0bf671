"""Probe a remote server: its models, its context length, and the most exact prompt format that it supports.

An engine of ours is recognised by its ``/health`` and knows its models itself. Any other server is sent one request per
dialect, from the most exact down, for one token and with all fields of a real request. A dialect with token ids is
accepted only if both sides agree on the vocabulary: the server must count as many prompt tokens as were sent, and as
many for a text as the tokenizer here. A server that reports no counts must complete ids like the text they stand for.
Probes contain none of the user's code.

Sources: OpenAI API reference, "Models"; vLLM's ``max_model_len``, ``root`` and ``parent``; llama-server's ``/props``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import httpx

from inference.api.engine_errors import BadRequest, EngineUnavailable, ModelRefused
from inference.api.events import Sampling
from inference.api.requests import CompletionRequest
from inference.api.status import ANSWERING, Status
from inference.models import store
from inference.models.catalog import Model, canonical, why_no_infill
from inference.models.identify import find_row
from inference.models.store import StoreError
from inference.remote.http_client import get_json, stream_events
from inference.remote.prompt_format import PromptFormat, ServerDialect
from inference.remote.server_errors import ServerBusy, UnusableServer, refusal, unexpected_response
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.prompts import PromptError, bos_ids
from inference.text.stopping import StopRule
from inference.text.tokenizer import Tokenizer, TokenizerError

PROBE_SECONDS = 60.0
"""Time limit of each probe. Some servers compile kernels for their first response."""

LOADING_SECONDS, FAILED_SECONDS = 1.0, 10.0
"""Seconds until an engine of ours is probed again: one that loads its weights, and one that failed or shuts down."""

DEFAULT_CONTEXT = 4096
"""Tokens of context of a server that reports none, for a model that the catalogue does not list."""

PREFIX, SUFFIX = "def largest(numbers):\n    ", "\n\n\nprint(largest([3, 1, 2]))\n"
"""Text around the cursor of a probe."""

COUNTED = (
    "The quick brown fox jumps over 13 lazy dogs; naïve façades cost €4.50, while parse_json(request.body) raises "
    "ValueError: unexpected_token == '}' in configuration/settings.yaml, line 2048"
)
"""A text of which two vocabularies have equally many tokens only by chance."""

CONTINUED = "def add(a, b):\n    return"
"""A text that continues with a word; a list of numbers would not."""

DIALECTS = (ServerDialect("ids", stop_ids=True, usage=True), ServerDialect("ids", usage=True), ServerDialect("ids"))
TEXT_DIALECTS = (
    ServerDialect("suffix", usage=True),
    ServerDialect("suffix"),
    ServerDialect("text", usage=True),
    ServerDialect("text"),
)


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Ids of the configured models; they determine the prompt format and the vocabulary."""

    model: str
    chat_model: str = ""


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """Result of a probe.

    Attributes:
        language: prompt format of completions.
        chat: prompt format of chats.
        names: models and adapters that the server lists.
        limits: a note about the model for the user; empty if there is none.
        engine: status of an engine of ours; None for other servers.
        chat_context: tokens of a conversation and its response together; 0 if the server does not report it.
    """

    language: PromptFormat
    chat: PromptFormat
    names: frozenset[str]
    limits: str = ""
    engine: Status | None = None
    chat_context: int = 0


@dataclass(frozen=True, slots=True)
class _LocalModel:
    """Facts on this machine about the configured model. ``missing`` is the reason why there is no tokenizer."""

    row: Model | None
    tokenizer: Tokenizer | None
    missing: str = ""


async def probe(http: httpx.AsyncClient, server: str, wanted: ProbeRequest) -> ServerProfile:
    """Probe a server, named ``server`` in messages. Raises ``EngineError``; its class says when to try again."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            status = await _health(http, server)
            entries = await listed_models(http, server)
            names = frozenset(str(entry["id"]) for entry in entries)
        if status:
            return _engine_profile(status, names)
        name = find_name(entries, wanted.model, "engine.model", server)
        chat = find_name(entries, wanted.chat_model, "engine.chatModel", server) if wanted.chat_model else name
        async with asyncio.timeout(PROBE_SECONDS):
            context = await find_context(http, server, entries, name)
            chat_context = context if chat == name else await find_context(http, server, entries, chat)
        local = await asyncio.to_thread(_local_model, wanted.model)
        length = context or (local.row.context if local.row else DEFAULT_CONTEXT)
        untested = PromptFormat(name, ServerDialect("text"), length, local.row, local.tokenizer)
        language = await _most_exact(http, server, untested, local)
    except TimeoutError as error:
        raise EngineUnavailable(f"{server} did not respond to a probe within {PROBE_SECONDS:.0f} s.") from error
    limits = (local.row and why_no_infill(local.row)) or ""
    chats = replace(language, model=chat, context=chat_context or language.context)
    return ServerProfile(language, chats, names, limits, chat_context=chat_context)


async def _health(http: httpx.AsyncClient, server: str) -> Status | None:
    """Return the status of a ready engine of ours; None for other servers. Raises ``EngineError``."""
    code, headers, body, parsed = await get_json(http, server, "/health")
    if status := _parse_status(parsed):
        if status.phase in ANSWERING:
            return status
        seconds = LOADING_SECONDS if status.phase == "loading" else FAILED_SECONDS
        raise ServerBusy(f"{server} is not ready: {status.message.rstrip('.')}.", seconds, status)
    if code in (200, 404, 405):  # OpenAI's own API has no such route
        return None
    raise refusal(server, code, headers, body)


def _parse_status(fields: Any) -> Status | None:
    """Parse the status of an engine of ours; None for anything else."""
    if not isinstance(fields, Mapping) or not {"phase", "model", "version"} <= fields.keys():
        return None
    known = {name: fields[name] for name in Status.__dataclass_fields__ if name in fields}
    example = Status()
    return Status(**known) if all(type(known[name]) is type(getattr(example, name)) for name in known) else None


def _engine_profile(status: Status, names: frozenset[str]) -> ServerProfile:
    """Return the profile of an engine of ours, which knows its models better than the settings here."""
    language = PromptFormat(status.model, ServerDialect("engine"), 0)
    return ServerProfile(language, replace(language, model=status.chat_model), names, status.limits, status)


def _local_model(model: str) -> _LocalModel:
    """Read the model's tokenizer. Reads the disk: do not call it on an event loop."""
    row = find_row(model)
    try:
        return _LocalModel(row, load_tokenizer(store.find_vocabulary(model)))
    except (store.VocabularyMissingError, TokenizerError, StoreError) as missing:
        return _LocalModel(row, None, str(missing))


async def _most_exact(http: httpx.AsyncClient, server: str, untested: PromptFormat, local: _LocalModel) -> PromptFormat:
    """Return the format with the most exact dialect that the server supports. Raises ``UnusableServer``."""
    reason, failed_kinds = "", set[str]()
    for dialect in (*(DIALECTS if local.tokenizer else ()), *_text_dialects(local.row)):
        if dialect.kind in failed_kinds:
            continue
        candidate = replace(untested, dialect=dialect)
        try:
            reason = await _mismatch(http, server, candidate)
            failed_kinds |= {dialect.kind} if reason else set()
        except BadRequest as error:
            reason = str(error)
        if not reason:
            if dialect.kind == "ids":
                await _check_vocabulary(http, server, candidate)
            return candidate
    raise UnusableServer(_no_dialect(server, local, reason))


def _text_dialects(row: Model | None) -> Sequence[ServerDialect]:
    """Leave out prompts of text alone for a model that infills: its completions would ignore the suffix."""
    return TEXT_DIALECTS if row is not None and not row.infill else TEXT_DIALECTS[:2]


async def _mismatch(http: httpx.AsyncClient, server: str, candidate: PromptFormat) -> str:
    """Return why a dialect is unusable although the server accepts it, or "". Raises ``BadRequest``."""
    try:
        request = candidate.completion(_request(PREFIX, SUFFIX))
    except PromptError as error:
        return str(error)
    text, counted = await _one_token(http, server, request.body)
    sent = request.prompt_tokens
    if sent and counted is None:
        return await _compare_with_text(http, server, candidate)
    if sent and counted != sent:
        return f"{server} counts {counted} tokens where {sent} were sent."
    if candidate.dialect.kind == "suffix" and text.endswith(SUFFIX):
        return f"{server} only appends the suffix to its completion."
    return ""


async def _compare_with_text(http: httpx.AsyncClient, server: str, candidate: PromptFormat) -> str:
    """Return why a server without token counts seems not to read ids as such, or "".

    It could take the list for something else, such as its printed text, and complete that.
    """
    as_text = replace(candidate, dialect=ServerDialect("text", usage=candidate.dialect.usage))
    to_ids, _ = await _one_token(http, server, candidate.completion(_request(CONTINUED)).body)
    try:
        to_text, _ = await _one_token(http, server, as_text.completion(_request(CONTINUED)).body)
    except BadRequest:
        return ""  # it takes ids alone
    same = to_ids == to_text and not to_ids.isspace() and to_ids
    return "" if same else f"{server} completes token ids differently from the text that they stand for."


def _request(prefix: str, suffix: str | None = None) -> CompletionRequest:
    """Return a request for one token with all fields of a real one."""
    return CompletionRequest(prefix, suffix, sampling=Sampling(max_tokens=1, seed=1), stop_rule=StopRule("line"))


async def _check_vocabulary(http: httpx.AsyncClient, server: str, candidate: PromptFormat) -> None:
    """Compare token counts of a text, with or without a begin token. Raises ``UnusableServer``."""
    assert candidate.tokenizer is not None
    if not candidate.dialect.usage:
        return
    request = replace(candidate, dialect=ServerDialect("text", usage=True)).completion(_request(COUNTED))
    try:
        _, counted = await _one_token(http, server, request.body)
    except BadRequest:
        return  # it takes ids alone
    here = len(candidate.tokenizer.encode(COUNTED))
    if counted is not None and counted not in (here, here + len(bos_ids(candidate.tokenizer)), here + 1):
        raise UnusableServer(
            f"{server} serves {candidate.model}, whose vocabulary is not that of engine.model: a text has {counted} "
            f"tokens there, {here} here. Set engine.model to the model that it serves."
        )


async def _one_token(http: httpx.AsyncClient, server: str, body: Mapping[str, Any]) -> tuple[str, int | None]:
    """Return the completion, and the server's count of prompt tokens if it reports one."""
    text, counted = "", None
    async with (
        asyncio.timeout(PROBE_SECONDS),
        aclosing(stream_events(http, server, "/v1/completions", body, quote=True)) as events,
    ):
        async for event in events:
            text += event.text
            counted = event.usage.get("prompt_tokens", counted)
    return text, counted


def _no_dialect(server: str, local: _LocalModel, reason: str) -> str:
    if local.row is None:
        return (
            f"{server} does not accept a suffix, and the prompt format is unknown because engine.model is not in the "
            "catalogue. Set engine.model to the catalogue's id of the model that it serves (`codellama-ls models`)."
        )
    if local.tokenizer is None:
        return f"{server} does not accept a suffix, so prompts must be token ids. {local.missing}"
    return f"{server} accepts neither token ids nor text with a suffix: {reason}"


async def listed_models(http: httpx.AsyncClient, server: str) -> list[Mapping[str, Any]]:
    """Return the entries of ``/v1/models``, at least one. Raises ``EngineError``."""
    code, headers, body, parsed = await get_json(http, server, "/v1/models")
    if code != 200:
        raise refusal(server, code, headers, body)
    entries = parsed.get("data") if isinstance(parsed, Mapping) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, Mapping) and isinstance(e.get("id"), str) for e in entries
    ):
        raise unexpected_response(server)
    if not entries:
        raise UnusableServer(f"{server} serves no model.")
    return entries


def find_name(entries: Sequence[Mapping[str, Any]], wanted: str, setting: str, server: str) -> str:
    """Return the server's name of a model, by its id, by its Hugging Face id, or because there is only one.

    Raises ``ModelRefused`` if the server has several others. ``setting`` names the model's setting in that message.
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
    served = ", ".join(sorted(entry["id"] for entry in bases)[:8])
    raise ModelRefused(f"{server} serves {served}, but {setting} is {wanted!r}. Set it to one of these.")


async def find_context(http: httpx.AsyncClient, server: str, entries: Sequence[Mapping[str, Any]], name: str) -> int:
    """Return the tokens of context that vLLM lists or llama-server's ``/props`` reports; 0 if unknown."""
    listed = next(entry for entry in entries if entry["id"] == name).get("max_model_len")
    if type(listed) is int and listed > 0:
        return listed
    _, _, _, parsed = await get_json(http, server, "/props")
    settings = parsed.get("default_generation_settings") if isinstance(parsed, Mapping) else None
    length = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    return length if type(length) is int and length > 0 else 0
