"""Checks of the settings and of a remote server.

The settings are those last saved by an editor session, or a file's. The remote server is probed as the language server
does it, with fixed code instead of the user's. No engine is started.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path

from inference.api.engine_errors import BadRequest, EngineError, ModelRefused
from inference.api.events import Finished, Sampling, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.doctor.check import Check
from inference.doctor.engine_checks import read_response
from inference.errors import CodeLlamaError
from inference.models.identify import find_row
from inference.remote.http_client import Address, open_http_client
from inference.remote.remote_client import RemoteClient
from inference.remote.server_profile import PREFIX, SUFFIX, ProbeRequest, ServerProfile, probe
from inference.system.runtime_folder import NotPrivateError
from inference.text.prompts import Message
from lsp_server import settings as settings_kept
from lsp_server.backend import allowed_servers
from lsp_server.completion import trace
from lsp_server.settings import EngineSettings, SavedSettings, parse_settings

FILE_ADVICE = 'It must hold one JSON object, like `initializationOptions`: {"completion": {"maxTokens": 64}}.'

REMOTE_SERVER = "remote server"
ADVICE = (
    f"{allowed_servers.URL_VARIABLE}={allowed_servers.LOCAL} selects the local engine instead; "
    "docs/team.md describes how to set up a server."
)

PROMPT_FORMATS = {
    "engine": "it is a codellama-ls engine and builds prompts itself",
    "ids": "it receives token ids",
    "suffix": "it receives text and infills itself",
    "text": "it receives only the text before the cursor",
}

DEADLINE_MS = 60_000
TOKENS = 8
QUESTION = "Say hello."


class UnusableError(CodeLlamaError):
    """A file named on the command line cannot be used."""


def settings_of(file: Path | None) -> SavedSettings | None:
    """Return the settings in ``file``, else the last saved ones; None if there are none. Raises UnusableError."""
    if file is None:
        return settings_kept.last_saved()
    try:
        settings, problems = parse_settings(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise UnusableError(f"{file} can't be read ({error}). {FILE_ADVICE}") from error
    return SavedSettings(settings.engine, tuple(problems))


def with_model(kept: SavedSettings | None, model: str) -> EngineSettings:
    """Return the engine settings to check: with ``model`` if given, else the saved ones, else the defaults."""
    engine = kept.engine if kept else EngineSettings()
    return replace(engine, model=model, chat_model="") if model else engine


def check_settings(kept: SavedSettings | None) -> Iterator[Check]:
    """Check that an editor has started the language server, and that its settings are valid."""
    if kept is None:
        text = "no editor has started the language server since this machine was started"
        yield Check(
            "editor",
            "warning",
            text,
            "Set up `codellama-ls --stdio` as a language server in your editor; see the README.",
        )
        return
    yield _check_requests()
    if kept.problems:
        advice = "Correct them in your editor's settings. Until then their defaults are used."
        yield Check("settings", "warning", " ".join(kept.problems), advice, quotes=True)
    else:
        engine = kept.engine
        chat = f", chat {engine.chat_model}" if engine.chat_model else ""
        yield Check("settings", "ok", f"valid; model {engine.model}{chat}, format {engine.format}")


def _check_requests() -> Check:
    """Check that editors request completions, and how many were shown."""
    try:
        records = trace.last_requests(100)
    except (NotPrivateError, OSError) as error:
        return Check("editor", "warning", f"the last requests can't be read ({error})", quotes=True)
    if not records:
        advice = "Enable inline completion in your editor, then type some code."
        return Check("editor", "warning", "the language server was started, but no completion was requested", advice)
    shown = sum(record["result"] == "shown" for record in records)
    text = f"of the last {len(records)} requests {shown} were shown"
    advice = "`codellama-ls doctor --last` gives the reason for each." if shown < len(records) else ""
    return Check("editor", "ok", text, advice, {"requests": len(records), "shown": shown})


def check_remote_server(engine: EngineSettings, given: str = "", *, quick: bool = False) -> Iterator[Check]:
    """Check the remote server that ``given`` (a command-line URL), the environment or the user's file names.

    Unless ``quick``, also request a completion, and a chat answer if its model may be able to chat.
    """
    yield from asyncio.run(_remote_checks(engine, given, quick))


async def _remote_checks(engine: EngineSettings, given: str, quick: bool) -> list[Check]:
    try:
        address = allowed_servers.find_server(given)
        async with await asyncio.to_thread(open_http_client, address) as http:
            served = await probe(http, address.url, ProbeRequest(engine.model, engine.chat_model))
            client = RemoteClient(http, address.url, served)
            return [*_profile_checks(address, served), *([] if quick else await _response_checks(client, engine))]
    except (allowed_servers.NotAllowedError, EngineError) as error:
        return [Check(REMOTE_SERVER, "problem", str(error), ADVICE, quotes=True)]


def _profile_checks(address: Address, served: ServerProfile) -> Iterator[Check]:
    language = served.language
    yield Check(
        REMOTE_SERVER,
        "ok",
        f"{address.url} serves {language.model}; {PROMPT_FORMATS[language.dialect.kind]}",
        quotes=True,
    )
    if address.in_the_clear:
        text, advice = "your code is sent to it unencrypted", "Use an https:// address, for example through a proxy."
        yield Check("connection", "warning", text, advice)
    if served.limits:
        yield Check("model", "warning", served.limits, "Serve a model that can infill.", quotes=True)


async def _response_checks(client: RemoteClient, engine: EngineSettings) -> list[Check]:
    sampling = Sampling(max_tokens=TOKENS)
    completion = CompletionRequest(PREFIX, SUFFIX, sampling=sampling, deadline_ms=DEADLINE_MS)
    checks = [await _check_response("completion", client.complete(completion))]
    if _may_chat(client.served, engine):
        chat = ChatRequest((Message("user", QUESTION),), sampling=sampling, deadline_ms=DEADLINE_MS)
        checks.append(await _check_response("chat", client.chat(chat)))
    return checks


def _may_chat(served: ServerProfile, engine: EngineSettings) -> bool:
    """Return False if the catalogue knows that a foreign server's model cannot chat. Our engine reports it itself."""
    row = find_row(engine.chat_model or engine.model)
    return served.engine is not None or row is None or row.chat is not None


async def _check_response(name: str, events: AsyncGenerator[TextChunk | Finished, None]) -> Check:
    """Check that a response arrives in time and is not empty."""
    try:
        text, outcome, took = await read_response(events)
    except EngineError as error:
        verdict = "warning" if isinstance(error, ModelRefused | BadRequest) and name == "chat" else "problem"
        return Check(name, verdict, str(error), ADVICE, quotes=True)
    figures = {"ms": round(took), "tokens": outcome.completion_tokens}
    if outcome.cause == "deadline":
        late = f"only {len(text)} characters came within {DEADLINE_MS / 1000:.0f} s"
        return Check(
            name, "warning" if text else "problem", late, "The server is busy, or the connection is slow.", figures
        )
    if not text.strip():
        nothing = f"the model returned no text after {took:.0f} ms"
        return Check(
            name, "warning", nothing, "Try again. Then check that it serves the model in engine.model.", figures
        )
    return Check(name, "ok", f"{took:.0f} ms for {TOKENS} tokens, network included", figures=figures)
