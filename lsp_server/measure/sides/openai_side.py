"""Servers that speak OpenAI's ``/v1/completions``: our own engine, vLLM, and others that take token ids.

Source: OpenAI API reference, "Completions"; vLLM's documentation for ``min_tokens``, ``ignore_eos`` and
``continuous_usage_stats``, which says with each part how many tokens there are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from lsp_server.measure.sides.side import CHAT, CHAT_TOKENS, Answer, Ask, Stopwatch, streamed

A_WHILE_MS = 3_600_000
"""No answer is cut short, however slow the machine."""


class OpenAiSide:
    """One such server. ``own``: it is our engine, which takes our own fields too."""

    parallel = True
    every = 1

    def __init__(
        self, http: httpx.AsyncClient, name: str, model: str, pid: int | None = None, *, own: bool = False
    ) -> None:
        self.name, self.pid = name, pid
        self._http, self._model, self._own = http, model, own

    async def answer(self, ask: Ask) -> Answer:
        """See ``Side``."""
        body = {"prompt": list(ask.ids), **self._length(ask.tokens), **(_ours(ask) if self._own else {})}
        watch, usage = Stopwatch(), {}
        async with aclosing(streamed(self._http, self.name, "/v1/completions", body)) as events:
            async for event in events:
                usage = event.get("usage") or usage
                if any(choice.get("text") for choice in event.get("choices", ())):
                    watch.part((event.get("usage") or {}).get("completion_tokens"))
        written, prompt = usage.get("completion_tokens", len(watch.arrivals)), usage.get("prompt_tokens", 0)
        accepted = (usage.get("completion_tokens_details") or {}).get("accepted_prediction_tokens") or 0
        prefilled = _prefilled(usage)
        return watch.answer(self.name, ask, written, prompt=prompt, prefilled=prefilled, accepted=accepted)

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
        usage = {"include_usage": True, "continuous_usage_stats": True}
        fixed["stream_options"] = {"include_usage": True} if self._own else usage
        return fixed if self._own else {**fixed, "ignore_eos": True}


def _ours(ask: Ask) -> dict[str, Any]:
    """What only our engine knows."""
    fields: dict[str, Any] = {"session": ask.document, "drafts": ask.drafts, "forced": list(ask.forced)}
    fields["deadline_ms"] = A_WHILE_MS
    return fields | ({"prediction": {"type": "content", "content": ask.prediction}} if ask.prediction else {})


def _prefilled(usage: Mapping[str, Any]) -> int | None:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return None if cached is None else usage["prompt_tokens"] - cached
