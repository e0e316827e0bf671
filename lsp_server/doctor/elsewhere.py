"""Of a server elsewhere: is the person's choice fit to be used, does it answer, and what can it do?

Asks as a window does, with code that is nobody's. Starts no engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from inference.diagnosis.check import Check
from inference.diagnosis.smoke import collected
from inference.generation.answer import Finished, Sampling, TextChunk
from inference.models.rows import find_row
from inference.remote.client import RemoteClient
from inference.remote.door import Address, open_door
from inference.remote.probe import PREFIX, SUFFIX, Served, Wanted, probe
from inference.serving.client import BadRequest, EngineError, ModelRefused
from inference.serving.wire import ChatRequest, CompletionRequest
from inference.text.prompts import Message
from lsp_server.remote import allowed
from lsp_server.settings import EngineSettings

NAME = "server elsewhere"
ADVICE = f"{allowed.URL_VARIABLE}={allowed.LOCAL} means an engine here instead; the server's side is in docs/team.md."

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
        address = allowed.find(given)
        async with await asyncio.to_thread(open_door, address) as http:
            served = await probe(http, address.url, Wanted(engine.model, engine.chat_model))
            client = RemoteClient(http, address.url, served)
            return [*_found(address, served), *([] if quick else await _answers(client, engine))]
    except (allowed.NotAllowed, EngineError) as error:
        return [Check(NAME, "problem", str(error), ADVICE, quotes=True)]


def _found(address: Address, served: Served) -> Iterator[Check]:
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


def _may_chat(served: Served, engine: EngineSettings) -> bool:
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
