"""Of a server elsewhere: is the person's choice fit to be used, does it answer, and what can it do?

Asks as a window does, with code that is nobody's. Starts no engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from inference.diagnosis.check import Check
from inference.generation.answer import Sampling
from inference.remote.client import RemoteClient
from inference.remote.door import Address, open_door
from inference.remote.probe import PREFIX, SUFFIX, Served, Wanted, probe
from inference.serving.client import EngineError
from inference.serving.wire import CompletionRequest
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


def check_elsewhere(engine: EngineSettings, *, quick: bool = False) -> Iterator[Check]:
    """The server that the environment or the user's file names; unless ``quick``, also one completion."""
    try:
        address = allowed.find()
        served, took = asyncio.run(_asked(address, Wanted(engine.model, engine.chat_model), quick))
    except (allowed.NotAllowed, EngineError) as error:
        yield Check(NAME, "problem", str(error), ADVICE, quotes=True)
        return
    language = served.language
    yield Check(NAME, "ok", f"{address.url} serves {language.model}; {WAYS[language.dialect.kind]}", quotes=True)
    if address.in_the_clear:
        text, advice = "what you type goes there unencrypted", "Use an https:// address, for example through a proxy."
        yield Check("way there", "warning", text, advice)
    if served.limits:
        yield Check("model", "warning", served.limits, "Have a model served that infills.", quotes=True)
    if took:
        yield Check("completion", "ok", f"{took:.0f} ms for 8 tokens, the way included", figures={"ms": round(took)})


async def _asked(address: Address, wanted: Wanted, quick: bool) -> tuple[Served, float]:
    """What the server can do, and milliseconds for a completion; 0 where none was asked for. Raises ``EngineError``."""
    async with await asyncio.to_thread(open_door, address) as http:
        served = await probe(http, address.url, wanted)
        if quick:
            return served, 0.0
        started = time.perf_counter()
        sampling = Sampling(max_tokens=8)
        request = CompletionRequest(PREFIX, SUFFIX, sampling=sampling, deadline_ms=DEADLINE_MS)
        async for _ in RemoteClient(http, address.url, served).complete(request):
            pass
        return served, (time.perf_counter() - started) * 1000
