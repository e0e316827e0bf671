"""llama.cpp's ``llama-server`` by its own ``/completion``, which says how much of a prompt it had to read.

Source: tools/server/README.md of llama.cpp. As it advises for editors: the prompt's KV is kept (``cache_prompt``), the
slot whose prompt is most alike is taken (``id_slot`` -1), and no sampler is run that greedy choice doesn't need.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from lsp_server.measure.sides.side import CHAT, CHAT_TOKENS, Answer, Ask, Stopwatch, streamed

GREEDY = {"temperature": 0, "samplers": ["temperature"]}


class LlamaServerSide:
    """One running ``llama-server``."""

    parallel = True
    every = 1

    def __init__(self, http: httpx.AsyncClient, name: str, pid: int | None = None) -> None:
        self.name, self.pid = name, pid
        self._http = http

    async def answer(self, ask: Ask) -> Answer:
        """See ``Side``. Which slot fits the document is the server's to find; whether it drafts is set at its start."""
        body = {
            "prompt": list(ask.ids), "n_predict": ask.tokens, "ignore_eos": True, "stream": True,
            "cache_prompt": True, "id_slot": -1, "return_tokens": True, **GREEDY,
        }  # fmt: skip
        watch, last = Stopwatch(), {}
        async with aclosing(streamed(self._http, self.name, "/completion", body)) as events:
            async for event in events:
                if event.get("tokens") or event.get("content"):
                    watch.part(event.get("tokens_predicted"))
                last = event
        return watch.answer(self.name, ask, last.get("tokens_predicted", 0), prefilled=_prefilled(last))

    async def chat(self) -> AsyncGenerator[None, None]:
        """See ``Side``."""
        messages = [{"role": "user", "content": CHAT}]
        body = {"messages": messages, "max_tokens": CHAT_TOKENS, "ignore_eos": True, "stream": True, **GREEDY}
        async with aclosing(streamed(self._http, self.name, "/v1/chat/completions", body)) as events:
            async for _ in events:
                yield

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def _prefilled(last: Mapping[str, Any]) -> int | None:
    return (last.get("timings") or {}).get("prompt_n")
