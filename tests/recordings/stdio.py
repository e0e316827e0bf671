"""A transcript of a session over stdio: messages of client and server, and requests to the engine.

Each step is sorted: messages sent, responses by id, the server's requests, notifications by method and token in order
of arrival, and requests to the engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.scripted_model import ScriptedModel
from recordings.recording import Mask, rendered
from support.fixtures_engine import RunningService, serving
from support.raw_client import ProcessClient, call, raw_client

from inference.server.app import EngineApp

STATUS, PROGRESS, SHOW = "codellama/status", "$/progress", "window/showMessage"
BEGIN, END = f"{PROGRESS} begin", f"{PROGRESS} end"
CREATE = "window/workDoneProgress/create"
APPLY_EDIT = "workspace/applyEdit"
LOG = "window/logMessage"
SECONDS = 30.0
GENERATING = ("/v1/completions", "/v1/chat/completions")


class Session:
    """One language server and its engine, with a transcript."""

    def __init__(self, mask: Mask, engine: ScriptedModel) -> None:
        self.engine = engine
        self.asked: list[Any] = []
        self.requested: list[dict[str, Any]] = []
        self.settings: Any = None
        self.running: RunningService
        self.client: ProcessClient
        self._mask = mask
        self._parts: list[str] = []
        self._ids = 0

    @property
    def text(self) -> str:
        return "\n".join(self._parts)

    def reply(self, request: dict[str, Any]) -> Any:
        """Answer the server's requests like an editor that accepts everything."""
        self.requested.append(request)
        results = {APPLY_EDIT: {"applied": True}, "workspace/configuration": [self.settings]}
        results["window/showDocument"] = {"success": True}
        return {"jsonrpc": "2.0", "id": request["id"], "result": results.get(request["method"])}

    async def step(
        self,
        title: str,
        *messages: tuple[str, Any],
        told: Mapping[str, int] | None = None,
        asks: int = 0,
        held: bool = False,
    ) -> list[Any]:
        """Send requests, or notifications where the method begins with ``!``, all at once. Returns the results.

        ``told`` are the numbers of notifications and server requests by method to wait for, and ``asks`` the number of
        requests to the engine. ``held``: the engine finishes only after the client shows progress.
        """
        sent = [self._message(method, params) for method, params in messages]
        client = self.client
        before = len(client.told), len(self.requested), len(self.asked)
        self.engine.hold = held
        if sent:
            client.send(*sent)
        if held:
            await client.until(lambda: self._heard(BEGIN, before), SECONDS)
            self.engine.go.set()
        answers = [await client.answer(one["id"]) for one in sent if "id" in one]
        for method, count in (told or {}).items():
            await client.until(lambda method=method, count=count: self._heard(method, before) >= count, SECONDS)
        await client.until(lambda: len(self.asked) - before[2] >= asks, SECONDS)
        lines = [f"== {title}", *(f"-> {_head(one)}{self._shown(one, 'params')}" for one in sent)]
        lines += [self._answer(answer) for answer in answers]
        lines += [f"<- {_head(one)}{self._shown(one, 'params')}" for one in self.requested[before[1] :]]
        lines += self._notifications(client.told[before[0] :], held)
        lines += [f"engine <- {self._json(one)}" for one in sorted(self.asked[before[2] :], key=_seed)]
        self._parts.append("\n".join([*lines, ""]))
        return [answer.get("result") for answer in answers]

    def note(self, text: str) -> None:
        self._parts.append(f"{text}\n")

    def _heard(self, method: str, before: tuple[int, int, int]) -> int:
        """Count the server's messages with a method since ``before``; for progress, of one kind."""
        method, _, kind = method.partition(" ")
        told = [one for one in self.client.told[before[0] :] if one["method"] == method]
        told = [one for one in told if not kind or one["params"]["value"].get("kind") == kind]
        return len(told) + sum(one["method"] == method for one in self.requested[before[1] :])

    def _message(self, method: str, params: Any) -> dict[str, Any]:
        if method.startswith("!"):
            return call(method[1:], params)
        self._ids += 1
        return call(method, params, self._ids)

    def _answer(self, answer: dict[str, Any]) -> str:
        kind = "error" if "error" in answer else "result"
        return f"<- {kind} {answer['id']}{self._shown(answer, kind)}"

    def _notifications(self, told: list[dict[str, Any]], held: bool) -> list[str]:
        """Sort notifications by method and token; the engine's status depends on timing and is left out."""
        shown = [one for one in told if one["method"] not in (STATUS, LOG) and (held or not self._is_by_chance(one))]
        shown = [_without_length(one) for one in shown if not self._is_by_chance(one) or not _is(one, "report")]
        shown.sort(key=lambda one: (one["method"], self._mask.text(str((one["params"] or {}).get("token", "")))))
        return [f"<- {_head(one)}{self._shown(one, 'params')}" for one in shown]

    def _is_by_chance(self, one: dict[str, Any]) -> bool:
        """Return True for progress under the server's token, which is sent only if the client confirms it in time."""
        created = {asked["params"]["token"] for asked in self.requested if asked["method"] == CREATE}
        return one["method"] == PROGRESS and one["params"]["token"] in created

    def _shown(self, message: dict[str, Any], member: str) -> str:
        value = message.get(member)
        return "" if value is None else f" {self._json(value)}"

    def _json(self, value: Any) -> str:
        return rendered(self._mask.value(value))


def _is(one: dict[str, Any], kind: str) -> bool:
    return one["params"]["value"].get("kind") == kind


def _without_length(one: dict[str, Any]) -> dict[str, Any]:
    """Remove the length of the text at the first progress message, which varies."""
    if one["method"] != PROGRESS or not _is(one, "begin"):
        return one
    value = {name: said for name, said in one["params"]["value"].items() if name != "message"}
    return {**one, "params": {**one["params"], "value": value}}


def _head(message: dict[str, Any]) -> str:
    """Return the method and request number; the server's ids are UUIDs."""
    number = message.get("id")
    return message["method"] + ("" if number is None else f" #{number if isinstance(number, int) else '?'}")


def _seed(asked: dict[str, Any]) -> int:
    """Sort key: alternatives are requested at the same time, in any order."""
    return asked.get("seed", 0)


@asynccontextmanager
async def session(
    runtime: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], phase: Any = "ready"
) -> AsyncIterator[Session]:
    """Start a server process and an engine that gives these chat responses."""
    monkeypatch.setenv("XDG_STATE_HOME", str(runtime.parent / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(runtime.parent / "config"))
    mask = Mask({folder.as_uri(): "<folder>", str(folder): "<folder>", str(runtime.parent): "<runtime>"})
    engine = ScriptedModel(answers=answers, chat_name="chat")
    one = Session(mask, engine)
    app = EngineApp.app

    def listened(service: EngineApp) -> Any:
        return _listening(app(service), one)

    monkeypatch.setattr(EngineApp, "app", listened)
    environment = {**os.environ, "TMPDIR": str(runtime.parent)}
    async with serving(runtime, engine, phase=phase) as running, raw_client(one.reply, environment) as client:
        one.running, one.client = running, client
        yield one


def _listening(app: Any, one: Session) -> Any:
    """Wrap the engine's app; ``one`` records the body of each generation request."""

    async def listen(scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()

        async def heard() -> Any:
            message = await receive()
            body.extend(message.get("body", b""))
            if message["type"] == "http.request" and not message.get("more_body"):
                one.asked.append({"path": scope["path"], **json.loads(bytes(body))})
                one.client._heard.set()
            return message

        await app(scope, heard if scope["type"] == "http" and scope["path"] in GENERATING else receive, send)

    return listen
