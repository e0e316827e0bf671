"""Which settings there are to judge by: those of the last window, or of a file; and what is wrong with them.

Of a server elsewhere: is the person's choice fit to be used, does it answer, and what can it do?

Asks as a window does, with code that is nobody's. Starts no engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path

from inference.api.errors import BadRequest, EngineError, ModelRefused
from inference.api.events import Finished, Sampling, TextChunk
from inference.api.requests import ChatRequest, CompletionRequest
from inference.doctor.check import Check
from inference.doctor.engine_checks import collected
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

FILE_ADVICE = 'It must hold one JSON object, as `initializationOptions` would: {"completion": {"maxTokens": 64}}.'


class UnusableError(Exception):
    """A file that was named can't be used; the text says why."""


def settings_of(file: Path | None) -> SavedSettings | None:
    """Those in ``file``, else the last window's; None where there was none. Raises UnusableError."""
    if file is None:
        return settings_kept.last_saved()
    try:
        settings, problems = parse_settings(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise UnusableError(f"{file} can't be read ({error}). {FILE_ADVICE}") from error
    return SavedSettings(settings.engine, tuple(problems))


def with_model(kept: SavedSettings | None, model: str) -> EngineSettings:
    """What to try: the model asked for, else that of the settings, else the default."""
    engine = kept.engine if kept else EngineSettings()
    return replace(engine, model=model, chat_model="") if model else engine


def check_settings(kept: SavedSettings | None) -> Iterator[Check]:
    """Whether a window was there at all, and what was wrong with its settings."""
    if kept is None:
        text = "no editor has started the language server since this machine was started"
        yield Check(
            "editor", "warning", text, "Set `codellama-ls --stdio` up as a server of your editor: see the README."
        )
        return
    yield _asked()
    if kept.problems:
        advice = "Correct them in your editor's settings; their defaults are used meanwhile."
        yield Check("settings", "warning", " ".join(kept.problems), advice, quotes=True)
    else:
        engine = kept.engine
        chat = f", chat {engine.chat_model}" if engine.chat_model else ""
        yield Check("settings", "ok", f"nothing wrong; model {engine.model}{chat}, format {engine.format}")


def _asked() -> Check:
    """Whether editors ask, and what became of it."""
    try:
        records = trace.last_requests(100)
    except (NotPrivateError, OSError) as error:
        return Check("editor", "warning", f"the last requests can't be read ({error})", quotes=True)
    if not records:
        advice = "Switch inline completion on in your editor, and type in the middle of some code."
        return Check("editor", "warning", "the language server was started and never asked for a completion", advice)
    shown = sum(record["result"] == "shown" for record in records)
    text = f"of the last {len(records)} requests {shown} were shown"
    advice = "`codellama-ls doctor --last` says of each why." if shown < len(records) else ""
    return Check("editor", "ok", text, advice, {"requests": len(records), "shown": shown})


NAME = "server elsewhere"
ADVICE = (
    f"{allowed_servers.URL_VARIABLE}={allowed_servers.LOCAL} means an engine here instead; "
    "the server's side is in docs/team.md."
)

WAYS = {
    "engine": "it is an engine of ours and builds prompts itself",
    "ids": "it is asked with token ids",
    "suffix": "it is asked with text and infills by itself",
    "text": "it is asked with the text before the cursor alone",
}

DEADLINE_MS = 60_000
TOKENS = 8
QUESTION = "Say hello."


def check_elsewhere(engine: EngineSettings, given: str = "", *, quick: bool = False) -> Iterator[Check]:
    """The server that ``given`` (as a command line's), the environment or the user's file names.

    Unless ``quick``, it is also asked for a completion, and for a chat answer where its model may be able to give one.
    """
    yield from asyncio.run(_looked_at(engine, given, quick))


async def _looked_at(engine: EngineSettings, given: str, quick: bool) -> list[Check]:
    try:
        address = allowed_servers.find(given)
        async with await asyncio.to_thread(open_http_client, address) as http:
            served = await probe(http, address.url, ProbeRequest(engine.model, engine.chat_model))
            client = RemoteClient(http, address.url, served)
            return [*_found(address, served), *([] if quick else await _answers(client, engine))]
    except (allowed_servers.NotAllowedError, EngineError) as error:
        return [Check(NAME, "problem", str(error), ADVICE, quotes=True)]


def _found(address: Address, served: ServerProfile) -> Iterator[Check]:
    language = served.language
    yield Check(NAME, "ok", f"{address.url} serves {language.model}; {WAYS[language.dialect.kind]}", quotes=True)
    if address.in_the_clear:
        text, advice = "what you type goes there unencrypted", "Use an https:// address, for example through a proxy."
        yield Check("way there", "warning", text, advice)
    if served.limits:
        yield Check("model", "warning", served.limits, "Have a model served that infills.", quotes=True)


async def _answers(client: RemoteClient, engine: EngineSettings) -> list[Check]:
    sampling = Sampling(max_tokens=TOKENS)
    completion = CompletionRequest(PREFIX, SUFFIX, sampling=sampling, deadline_ms=DEADLINE_MS)
    checks = [await _answer("completion", client.complete(completion))]
    if _may_chat(client.served, engine):
        chat = ChatRequest((Message("user", QUESTION),), sampling=sampling, deadline_ms=DEADLINE_MS)
        checks.append(await _answer("chat", client.chat(chat)))
    return checks


def _may_chat(served: ServerProfile, engine: EngineSettings) -> bool:
    """An engine of ours says by itself that it can't; of another server's model the catalogue may know it."""
    row = find_row(engine.chat_model or engine.model)
    return served.engine is not None or row is None or row.chat is not None


async def _answer(name: str, events: AsyncGenerator[TextChunk | Finished, None]) -> Check:
    """Whether an answer came, in time and with something in it."""
    try:
        text, outcome, took = await collected(events)
    except EngineError as error:
        verdict = "warning" if isinstance(error, ModelRefused | BadRequest) and name == "chat" else "problem"
        return Check(name, verdict, str(error), ADVICE, quotes=True)
    figures = {"ms": round(took), "tokens": outcome.completion_tokens}
    if outcome.cause == "deadline":
        late = f"only {len(text)} characters came within {DEADLINE_MS / 1000:.0f} s"
        return Check(name, "warning" if text else "problem", late, "It is busy, or the way there is slow.", figures)
    if not text.strip():
        nothing = f"the model had nothing to say, after {took:.0f} ms"
        return Check(name, "warning", nothing, "Ask again; then see that it serves what engine.model says.", figures)
    return Check(name, "ok", f"{took:.0f} ms for {TOKENS} tokens, the way included", figures=figures)
