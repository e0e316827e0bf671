"""Servers that speak OpenAI's ``/v1/completions``: our own engine, vLLM, and others that take token ids.

Source: OpenAI API reference, "Completions"; vLLM's documentation for ``min_tokens`` and ``ignore_eos``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import httpx

from lsp_server.measure.sides.side import CHAT, CHAT_TOKENS, Answer, Stopwatch, streamed


class OpenAiSide:
    """One such server. ``own``: it is our engine, which takes our own fields too."""

    parallel = True

    def __init__(
        self, http: httpx.AsyncClient, name: str, model: str, pid: int | None = None, *, own: bool = False
    ) -> None:
        self.name, self.pid = name, pid
        self._http, self._model, self._own = http, model, own

    async def answer(self, ids: Sequence[int], tokens: int, document: str = "") -> Answer:
        """See ``Side``."""
        body = {"prompt": list(ids), **self._length(tokens), **({"session": document} if self._own else {})}
        watch, usage = Stopwatch(), {}
        async with aclosing(streamed(self._http, self.name, "/v1/completions", body)) as events:
            async for event in events:
                if any(choice.get("text") for choice in event.get("choices", ())):
                    watch.part()
                usage = event.get("usage") or usage
        prompt, written = usage.get("prompt_tokens", len(ids)), usage.get("completion_tokens", len(watch.arrivals))
        return watch.answer(self.name, tokens, prompt, _prefilled(usage), written)

    async def chat(self) -> AsyncGenerator[None, None]:
        """See ``Side``."""
        body = {"messages": [{"role": "user", "content": CHAT}], **self._length(CHAT_TOKENS)}
        async with aclosing(streamed(self._http, self.name, "/v1/chat/completions", body)) as events:
            async for _ in events:
                yield

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def _length(self, tokens: int) -> dict[str, Any]:
        """Greedy, and exactly as many tokens."""
        fixed = {"model": self._model, "max_tokens": tokens, "min_tokens": tokens, "temperature": 0, "stream": True}
        fixed["stream_options"] = {"include_usage": True}
        return fixed if self._own else {**fixed, "ignore_eos": True}


def _prefilled(usage: Mapping[str, Any]) -> int | None:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return None if cached is None else usage["prompt_tokens"] - cached
