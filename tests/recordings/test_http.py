"""The engine's HTTP API, recorded: each route with valid and invalid requests, byte for byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fakes.scripted_model import ScriptedModel
from recordings.recording import Mask, compare, rendered
from support.fixtures_engine import RunningService, serving
from support.fixtures_remote import TOKEN
from support.waiting import until

from inference.models import adapter_store

CHAT, TEXT, SCORE = "/v1/chat/completions", "/v1/completions", "/score"
HEADERS = ("content-type", "retry-after", "allow", "connection", "www-authenticate", "location")
"""The headers that are recorded; the others come from the server's library."""
HI = [{"role": "user", "content": "Hi"}]
CARD = {"top_p": 0.9, "temperature": 0.2, "do_sample": True, "max_new_tokens": 100}
LONG = 300

BAD_ANYWHERE: list[Any] = [
    [],
    {"model": "a" * LONG},
    {"model": 1},
    {"stream": "yes"},
    {"max_tokens": 0},
    {"max_tokens": 1.5},
    {"max_completion_tokens": 9000},
    {"temperature": 3},
    {"top_p": "1"},
    {"seed": 1.5},
    {"stop": [1]},
    {"stop": ["a"] * 17},
    {"min_tokens": -1},
    {"prediction": "a"},
    {"prediction": {"type": "content", "content": [1]}},
    {"drafts": 1},
    {"forced": ["a"]},
    {"forced": [1]},
    {"priority": "first"},
    {"deadline_ms": 0},
    {"session": 1},
    {"user": "a" * LONG},
    {"n": 17},
    {"stream_options": {"include_usage": "yes"}},
    {"echo": True},
    {"best_of": 2},
    {"logit_bias": {"1": 1}},
    {"frequency_penalty": 1},
    {"presence_penalty": 1},
    {"tools": [{}]},
    {"tool_choice": "required"},
    {"functions": [{}]},
    {"response_format": {"type": "json_object"}},
]
BAD_TEXT: list[Any] = [
    {"prompt": None},
    {"prompt": 1},
    {"prompt": ["a", "b"]},
    {"prompt": [1, "b"]},
    {"suffix": 1},
    {"logprobs": 21},
    {"logprobs": True},
    {"stop_rule": "line"},
    {"stop_rule": {"kind": "word"}},
    {"stop_rule": {"indent": -1}},
    {"stop_rule": {"closer": 1}},
    {"context": "a"},
    {"context": [{"path": "a"}]},
    {"context": [{"path": "a", "text": "b"}] * 65},
    {"prompt": "refuse"},
    {"model": "codellama-7b"},
    {"model": "broken"},
]
BAD_CHAT: list[Any] = [
    {"messages": None},
    {"messages": []},
    {"messages": [1]},
    {"messages": [{"role": "tool", "content": "a"}]},
    {"messages": [{"role": "user", "content": 1}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
    {"top_logprobs": 1},
    {"logprobs": 1},
    {"logprobs": True, "top_logprobs": 21},
    {"model": "nothing"},
]
BAD_SCORE: list[Any] = [
    [],
    {},
    {"input_data": [], "model": ""},
    {"input_data": {"input_string": ["a"], "more": 1}},
    {"input_dat": {}},
    {"input_data": {"input_string": "a"}},
    {"input_data": {"input_string": []}},
    {"input_data": {"input_string": ["a"] * 65}},
    {"input_data": {"input_string": ["a", ""]}},
    {"input_data": {"input_string": ["refuse"]}},
    {"input_data": {"input_string": ["a"]}, "model": "codellama-7b"},
    *({"input_data": {"input_string": ["a"], "parameters": one}} for one in (
        {"top_p": 1.5}, {"temperature": -1}, {"max_new_tokens": 1.5}, {"do_sample": "yes"}, {"seed": "a"}, {"top_k": 1}
    )),
]  # fmt: skip


class Transcript:
    """A transcript of requests and responses."""

    def __init__(self, client: httpx.AsyncClient, mask: Mask) -> None:
        self._client, self._mask, self._parts = client, mask, []

    @property
    def text(self) -> str:
        return "\n".join(self._parts)

    def note(self, title: str) -> None:
        self._parts.append(f"# {title}\n")

    async def ask(self, method: str, path: str, body: Any = None, content: bytes | None = None, **more: Any) -> None:
        """Send a request and record the whole response."""
        sent = {"content": content} if content is not None else {} if body is None else {"json": body}
        answer = await self._client.request(method, path, **sent, **more)
        self.add(f"{method} {path}{_shown(body, content)}", answer, answer.text)

    def add(self, request: str, answer: httpx.Response, text: str) -> None:
        headers = [f"< {name}: {self._header(answer, name)}" for name in HEADERS if name in answer.headers]
        self._parts.append("\n".join([f"> {request}", f"< {answer.status_code}", *headers, *self._body(text), ""]))

    def _header(self, answer: httpx.Response, name: str) -> str:
        """Sort ``Allow``, whose order varies."""
        return ", ".join(sorted(answer.headers[name].split(", "))) if name == "allow" else answer.headers[name]

    def _body(self, text: str) -> list[str]:
        if not text.startswith("data: "):
            return [_readable(self._mask.value(json.loads(text)))] if text else []
        events = [one.removeprefix("data: ") for one in text.split("\n\n") if one]
        return [f"data: {one if one == '[DONE]' else self._line(json.loads(one))}" for one in events]

    def _line(self, event: Any) -> str:
        """One event, one line, unless it is an error."""
        event = self._mask.value(event)
        return _readable(event) if "error" in event else json.dumps(event, ensure_ascii=False)


def _readable(body: Any) -> str:
    """An error in two lines: its members, and its message alone; else a member a line."""
    if not isinstance(body, dict) or list(body) != ["error"]:
        return rendered(body)
    said = dict(body["error"])
    message = said.pop("message")
    return f"error {json.dumps(said)}\n«{message}»"


def _shown(body: Any, content: bytes | None) -> str:
    text = "" if body is None else f" {json.dumps(body, ensure_ascii=False)}"
    text = text if content is None else f" {content[:40].decode('latin-1')}{'…' * (len(content) > 40)}"
    return text if len(text) <= 400 else f"{text[:100]}…{text[-40:]}"


@asynccontextmanager
async def engine(
    runtime: Path, answerer: ScriptedModel | None = None, **options: Any
) -> AsyncIterator[tuple[Transcript, RunningService]]:
    """Yield a transcript and an engine with two adapters, one of which can't be read."""
    for name in ("mine", "broken"):
        folder = adapter_store.location(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        (folder / "adapter_model.safetensors").write_bytes(b"")
        (folder / "tuning.json").write_text('{"format": 1, "base": "starter"}')
    async with serving(runtime, answerer or ScriptedModel(), **options) as running:
        transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
        mask = Mask({str(runtime.parent): "<folder>"})
        async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
            yield Transcript(client, mask), running


async def test_bad_requests_are_recorded(runtime):
    """Every error that a body can cause."""
    async with engine(runtime) as (transcript, _):
        for path, good, bad in ((TEXT, {"prompt": "p"}, BAD_TEXT), (CHAT, {"messages": HI}, BAD_CHAT)):
            transcript.note(path)
            for one in [*BAD_ANYWHERE, *bad]:
                await transcript.ask("POST", path, {**good, **one} if isinstance(one, dict) else one)
        transcript.note(SCORE)
        for one in BAD_SCORE:
            await transcript.ask("POST", SCORE, one)
        transcript.note("/retire")
        for one in ([], {"stop": 1}, {"later": True}):
            await transcript.ask("POST", "/retire", one)
        transcript.note("bodies, paths and methods")
        for path in (TEXT, CHAT, SCORE, "/retire"):
            for content in (b"", b"{", b'{"a": NaN}', b"[" * 100_000, b'"' + b"a" * 9_000_000 + b'"'):
                await transcript.ask("POST", path, content=content)
        for method, path in (
            *(
                ("GET", TEXT),
                ("PUT", CHAT),
                ("GET", SCORE),
                ("GET", "/retire"),
                ("POST", "/health"),
                ("POST", "/lease"),
            ),
            *(("GET", "/"), ("GET", "/v1"), ("GET", "/health/"), ("GET", "/v1/models/nothing"), ("POST", "/v1/models")),
        ):
            await transcript.ask(method, path)
    compare("http/bad_requests.txt", transcript.text)


async def test_answers_are_recorded(runtime):
    async with engine(runtime, ScriptedModel(["é", "b\n"])) as (transcript, _):
        for path, body in ((TEXT, {"prompt": "p"}), (CHAT, {"messages": HI})):
            transcript.note(path)
            chances: dict[str, Any] = {"logprobs": 2} if path == TEXT else {"logprobs": True, "top_logprobs": 2}
            for more in (
                *({}, {"n": 2}, chances, {"model": "starter"}, {"model": "mine"}, {"stream": True}),
                *({"stream": True, **chances}, {"stream": True, "stream_options": {"include_usage": True}}),
            ):
                await transcript.ask("POST", path, {**body, **more})
        transcript.note("fields of our own, and OpenAI's that ask for nothing")
        of_ours = {"stop_rule": {"kind": "block", "indent": 4, "closer": ")"}, "priority": "prefetch", "session": "s"}
        of_ours |= {"context": [{"path": "a.py", "text": "x"}], "deadline_ms": 60_000, "min_tokens": 1, "drafts": False}
        await transcript.ask("POST", TEXT, {"prompt": [1, 2], "forced": [3], "suffix": "", "user": "me", **of_ours})
        await transcript.ask("POST", TEXT, {"prompt": ["p"], "echo": False, "best_of": 1, "tools": [], "unknown": 1})
        parts = [{"type": "text", "text": "Hi"}, {"type": "image_url"}]
        await transcript.ask("POST", CHAT, {"messages": [{"role": "user", "content": parts}], "prediction": None})
        transcript.note(SCORE)
        for inputs, parameters in ((["def fibonacci("], CARD), (["a", "b"], {}), (["a"], None)):
            data = {"input_string": inputs, "parameters": parameters}
            await transcript.ask("POST", SCORE, {"input_data": data})
        await transcript.ask("POST", SCORE, {"input_data": {"input_string": ["a"]}, "model": "mine"})
        transcript.note("what is there")
        for path in ("/v1/models", "/v1/models/starter", "/v1/models/mine", "/health", "/stats"):
            await transcript.ask("GET", path)
        await transcript.ask("HEAD", "/lease")
    compare("http/answers.txt", transcript.text)


async def test_failures_are_recorded(runtime):
    """Before the response, and in the middle of it."""
    async with engine(runtime, ScriptedModel(["a", "boom"])) as (transcript, _):
        transcript.note("the model fails after the first token")
        for path, body in ((TEXT, {"prompt": "p"}), (CHAT, {"messages": HI})):
            await transcript.ask("POST", path, body)
            await transcript.ask("POST", path, {**body, "stream": True})
        await transcript.ask("POST", SCORE, {"input_data": {"input_string": ["a"]}})
    parts = [transcript.text]
    async with engine(runtime, phase="loading") as (transcript, running):
        running.service.weights.loaded = {}
        transcript.note("while it loads")
        await _everything(transcript)
    parts.append(transcript.text)
    async with engine(runtime, phase="failed") as (transcript, _):
        transcript.note("after loading has failed")
        await _everything(transcript)
    compare("http/failures.txt", "\n".join([*parts, transcript.text]))


async def _everything(transcript: Transcript) -> None:
    await transcript.ask("POST", TEXT, {"prompt": "p"})
    await transcript.ask("POST", CHAT, {"messages": HI, "stream": True})
    await transcript.ask("POST", SCORE, {"input_data": {"input_string": ["a"]}})
    for path in ("/v1/models", "/health"):
        await transcript.ask("GET", path)


async def test_leases_and_retiring_are_recorded(runtime):
    async with engine(runtime, phase="loading") as (transcript, running), leasing(running) as (lease, statuses):
        held = await anext(statuses)
        running.service.board.post(phase="ready", progress=100, message="ready")
        held += await anext(statuses)
        await transcript.ask("GET", "/stats")
        await transcript.ask("POST", "/retire", {"stop": False, "now": False})
        held += await anext(statuses)
        transcript.note("an engine that retires")
        await _everything(transcript)
        await transcript.ask("POST", "/retire", {"stop": True, "now": True})
        held += await anext(statuses)
        transcript.note("an engine that stops")
        await _everything(transcript)
        transcript.note("the lease meanwhile")
        transcript.add("GET /lease", lease, held)
    compare("http/leases.txt", transcript.text)


@asynccontextmanager
async def leasing(running: RunningService) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
    """An open lease: its response, and its events in order."""
    transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://engine") as client,
        client.stream("GET", "/lease") as answer,
    ):
        yield answer, _events(answer)


async def _events(answer: httpx.Response) -> AsyncIterator[str]:
    """Yield each server-sent event; heartbeat comments are left out."""
    text = ""
    async for part in answer.aiter_text():
        text += part
        while "\n\n" in text:
            event, _, text = text.partition("\n\n")
            if event.startswith("data: "):
                yield f"{event}\n\n"


async def test_token_of_the_tcp_port_is_recorded(runtime):
    async with engine(runtime, token=TOKEN) as (_, running):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client:
            outside = Transcript(client, Mask())
            for token in (None, "Bearer wrong", f"Bearer {TOKEN}", TOKEN):
                outside.note(f"Authorization: {token}")
                headers = {"authorization": token} if token else {}
                for method, path in (("GET", "/health"), ("POST", TEXT), ("GET", "/nothing"), ("GET", "/lease")):
                    if (path, token) != ("/lease", f"Bearer {TOKEN}"):
                        await outside.ask(method, path, {"prompt": "p"} if method == "POST" else None, headers=headers)
            outside.note("a page in a browser")
            headers = {"authorization": f"Bearer {TOKEN}", "origin": "https://a.example"}
            await outside.ask("GET", "/health", headers=headers)
            await outside.ask("OPTIONS", TEXT, headers={"origin": "https://a.example"})
        await until(lambda: not running.service.requests.held)
    compare("http/token.txt", outside.text)
