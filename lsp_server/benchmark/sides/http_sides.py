"""HTTP servers as sides: OpenAI's ``/v1/completions`` (our engine, vLLM, others) and llama.cpp's ``llama-server``.

Sources: OpenAI API reference, "Completions"; vLLM's documentation for ``min_tokens``, ``ignore_eos`` and
``continuous_usage_stats``, which reports the number of tokens with each part; tools/server/README.md of llama.cpp. As
that advises for editors, the prompt's KV cache is kept (``cache_prompt``), the slot with the most similar prompt is
taken (``id_slot`` -1), and samplers that greedy choice doesn't need are off.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx
import psutil

from lsp_server.benchmark.sides.side import (
    CHAT,
    CHAT_TOKENS,
    BenchError,
    Side,
    Stopwatch,
    TimedCompletion,
    TimedRequest,
    stream_events,
)

A_WHILE_MS = 3_600_000
"""A deadline that no completion reaches, however slow the machine."""


class OpenAiSide:
    """A server with OpenAI's API that takes token ids. ``own``: it is our engine, which takes extra fields."""

    parallel = True
    every = 1

    def __init__(
        self, http: httpx.AsyncClient, name: str, model: str, pid: int | None = None, *, own: bool = False
    ) -> None:
        self.name, self.pid = name, pid
        self._http, self._model, self._own = http, model, own

    async def answer(self, ask: TimedRequest) -> TimedCompletion:
        """See ``Side``."""
        body = {"prompt": list(ask.ids), **self._length(ask.tokens), **(_ours(ask) if self._own else {})}
        watch, usage = Stopwatch(), {}
        async with aclosing(stream_events(self._http, self.name, "/v1/completions", body)) as events:
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
        async with aclosing(stream_events(self._http, self.name, "/v1/chat/completions", body)) as events:
            async for _ in events:
                yield

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def _length(self, tokens: int) -> dict[str, Any]:
        """Return the fields for greedy decoding of exactly ``tokens`` tokens."""
        fixed = {"model": self._model, "max_tokens": tokens, "min_tokens": tokens, "temperature": 0, "stream": True}
        usage = {"include_usage": True, "continuous_usage_stats": True}
        fixed["stream_options"] = {"include_usage": True} if self._own else usage
        return fixed if self._own else {**fixed, "ignore_eos": True}


def _ours(ask: TimedRequest) -> dict[str, Any]:
    """Return the fields that only our engine has."""
    fields: dict[str, Any] = {"session": ask.document, "drafts": ask.drafts, "forced": list(ask.forced)}
    fields["deadline_ms"] = A_WHILE_MS
    return fields | ({"prediction": {"type": "content", "content": ask.prediction}} if ask.prediction else {})


def _prefilled(usage: Mapping[str, Any]) -> int | None:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return None if cached is None else usage["prompt_tokens"] - cached


GREEDY = {"temperature": 0, "samplers": ["temperature"]}


class LlamaServerSide:
    """One running ``llama-server``."""

    parallel = True
    every = 1

    def __init__(self, http: httpx.AsyncClient, name: str, pid: int | None = None) -> None:
        self.name, self.pid = name, pid
        self._http = http

    async def answer(self, ask: TimedRequest) -> TimedCompletion:
        """See ``Side``. The server chooses the slot; drafts are configured when it starts."""
        body = {
            "prompt": list(ask.ids), "n_predict": ask.tokens, "ignore_eos": True, "stream": True,
            "cache_prompt": True, "id_slot": -1, "return_tokens": True, **GREEDY,
        }  # fmt: skip
        watch, last = Stopwatch(), {}
        async with aclosing(stream_events(self._http, self.name, "/completion", body)) as events:
            async for event in events:
                if event.get("tokens") or event.get("content"):
                    watch.part(event.get("tokens_predicted"))
                last = event
        return watch.answer(self.name, ask, last.get("tokens_predicted", 0), prefilled=_prompt_tokens_read(last))

    async def chat(self) -> AsyncGenerator[None, None]:
        """See ``Side``."""
        messages = [{"role": "user", "content": CHAT}]
        body = {"messages": messages, "max_tokens": CHAT_TOKENS, "ignore_eos": True, "stream": True, **GREEDY}
        async with aclosing(stream_events(self._http, self.name, "/v1/chat/completions", body)) as events:
            async for _ in events:
                yield

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def _prompt_tokens_read(last: Mapping[str, Any]) -> int | None:
    return (last.get("timings") or {}).get("prompt_n")


CONNECT_SECONDS = 5.0


async def find_side(url: str, *, own: bool = False) -> Side:
    """Return the server at ``url`` as a side: ``llama-server`` if it has ``/props``, else OpenAI's API.

    ``own``: it is our engine. Raises ``BenchError``.
    """
    base = url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        raise BenchError(f"'{url}' is not the address of a server. It should look like http://127.0.0.1:8080.")
    # trust_env: don't measure a web proxy
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    http = httpx.AsyncClient(base_url=base, timeout=timeout, trust_env=False)
    try:
        return await _recognised(http, url, own)
    except BaseException:
        await http.aclose()
        raise


async def _recognised(http: httpx.AsyncClient, url: str, own: bool) -> Side:
    pid = _listening(http.base_url)
    if not own and "default_generation_settings" in await _json(http, "/props", url):
        return LlamaServerSide(http, f"llama-server at {url}", pid)
    models = (await _json(http, "/v1/models", url)).get("data")
    if not isinstance(models, list) or not models:
        raise BenchError(f"The server at {url} has neither llama-server's nor OpenAI's API. Check the address.")
    name = "codellama-ls" if own else f"{models[0].get('id', 'a model')} at {url}"
    return OpenAiSide(http, name, models[0].get("id", ""), pid, own=own)


async def _json(http: httpx.AsyncClient, path: str, url: str) -> dict[str, Any]:
    """Return the object at ``path``, or an empty one. Raises ``BenchError`` if the server can't be reached."""
    try:
        response = await http.get(path)
        body = response.json() if response.status_code == 200 else {}
    except httpx.HTTPError as error:
        raise BenchError(f"No server answers at {url}. Start it, or check the address.") from error
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _listening(url: httpx.URL) -> int | None:
    """Return the process that listens there, if it is local and visible."""
    if not _is_local(url.host):
        return None
    try:
        sockets = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    mine = (s.pid for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr and s.laddr.port == url.port)
    return next((pid for pid in mine if pid), None)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
