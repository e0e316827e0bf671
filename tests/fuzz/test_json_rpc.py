"""Fuzz a language server process: each request gets one response, nothing crashes, and memory stays flat.

``FUZZ=long`` sends ten times as many messages, ``FUZZ_SEED`` repeats a run, ``FUZZ_FIGURES`` names a file for figures.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.scripted_model import ScriptedModel
from fuzz.json_rpc import Messages, Sent
from support.fixtures_engine import serving
from support.raw_client import ProcessClient, call, document, initialize, raw_client

SCALE = 10 if os.environ.get("FUZZ") == "long" else 1
SEED = int(os.environ.get("FUZZ_SEED", "20260"))
MESSAGES, WARM_UP = 3_000 * SCALE, 900 * SCALE
OPENINGS, OPENING, GROUP = 4 * SCALE, 75, 30
MOST_GROWTH = 20 * 2**20
"""Bytes that the resident memory may grow after the first WARM_UP messages."""
MOST_LOGGED = 60
"""Average bytes of stderr per message."""
INTERNAL_ERROR = -32603


class Answerer(ScriptedModel):
    """A scripted model that writes code in chats, so that edits are proposed."""

    def chat(self, messages, sampling, options):
        return ScriptedModel(["Here:\n```python\n", "pass  # é\n", "```\n"]).chat(messages, sampling, options)


@dataclass
class Account:
    """The messages that were sent, and the ids that need a response."""

    sent: int = 0
    ids: list[Any] = field(default_factory=list)
    maybe: set[Any] = field(default_factory=set)

    def add(self, sent: Sent) -> None:
        self.sent += sent.count
        self.ids += sent.ids
        self.maybe |= set(sent.maybe)


async def exchange(client: ProcessClient, account: Account, group: list[Sent]) -> None:
    """Send a group of messages and wait for the responses to its requests."""
    wanted = [id_ for sent in group for id_ in sent.ids]
    for sent in group:
        account.add(sent)
        client.write(sent.raw)
    try:
        await client.until(lambda: all(id_ in client.answers for id_ in wanted), 60)
    except TimeoutError:
        silent = [sent.raw[:2_000] for sent in group if any(id_ not in client.answers for id_ in sent.ids)]
        pytest.fail(f"seed {SEED}: no response within 60 s to {silent}\n{client.log[-2_000:]}")


def check(client: ProcessClient, account: Account) -> None:
    """Check that each request has one response, uncertain ones at most one, and that there is no internal error."""
    answered = {id_: len(client.answers[id_]) for id_ in client.answers}
    assert [id_ for id_ in account.ids if answered.get(id_) != 1] == [], f"seed {SEED}"
    assert [id_ for id_, times in answered.items() if times != 1] == [], f"seed {SEED}"
    assert set(answered) <= {*account.ids, *account.maybe, "first", "last"}, f"seed {SEED}"
    for fault in ("Unhandled exception", "never retrieved", "Exception in thread"):
        assert fault not in client.log, f"seed {SEED}\n{client.log[client.log.index(fault) :][:4_000]}"
    assert internal_errors(client) == [], f"seed {SEED}"


def internal_errors(client: ProcessClient) -> list[str]:
    errors = [one["error"] for answers in client.answers.values() for one in answers if "error" in one]
    return [error["message"] for error in errors if error["code"] == INTERNAL_ERROR]


def report(client: ProcessClient, account: Account, before: int, after: int, seconds: float) -> None:
    """Print the figures, and append them to the file that ``FUZZ_FIGURES`` names."""
    codes = Counter(one.get("error", {}).get("code", "result") for each in client.answers.values() for one in each)
    answered = sum(len(client.answers[id_]) for id_ in account.ids if id_ in client.answers)
    rows = {
        "seed": SEED,
        "messages": account.sent,
        "requests": len(account.ids),
        "with a response": answered,
        "without a response": len(account.ids) - answered,
        "crashes": int(client.process.returncode is not None),
        "internal errors": codes[INTERNAL_ERROR],
        "responses by code": ", ".join(f"{code}: {n}" for code, n in codes.most_common()),
        "resident memory before, MB": round(before / 1e6, 1),
        "resident memory after, MB": round(after / 1e6, 1),
        "stderr, bytes": len(client.stderr),
        "seconds": round(seconds, 1),
    }
    text = "\n".join(
        ["| JSON-RPC fuzz | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    )
    print(f"\n{text}\n")  # noqa: T201
    if os.environ.get("FUZZ_FIGURES"):
        with Path(os.environ["FUZZ_FIGURES"]).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n\n")


async def check_suggestion(client: ProcessClient, folder: Path) -> None:
    """Check that a valid request returns the usual suggestion."""
    uri = (folder / "last.py").as_uri()
    client.send(
        call("workspace/didChangeConfiguration", {"settings": {"codellama": {"completion": {"prefetch": False}}}})
    )
    client.send(call("textDocument/didOpen", {"textDocument": document(uri, "x = ")}))
    context = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 4}, "context": {"triggerKind": 1}}
    response = await client.ask(call("textDocument/inlineCompletion", context, "last"))
    assert [one["insertText"] for one in response["result"]] == ["x = ab"], f"seed {SEED}\n{client.log[-2_000:]}"


@asynccontextmanager
async def fuzzed(messages: Messages):
    async with raw_client(messages.reply) as client:
        yield client


@pytest.mark.slow
async def test_every_request_of_a_random_session_gets_a_response(runtime, tmp_path):
    messages, account = Messages(SEED, tmp_path), Account()
    async with serving(runtime, Answerer()), fuzzed(messages) as client:
        await client.ask(initialize(rootUri=tmp_path.as_uri()))
        client.send(call("initialized", {}))
        await client.until(lambda: any(is_ready(one) for one in client.told))
        started, before = time.monotonic(), client.resident
        while account.sent < MESSAGES:
            await exchange(client, account, [messages.one() for _ in range(GROUP)])
            before = client.resident if account.sent < WARM_UP else before
        after, seconds = client.resident, time.monotonic() - started
        report(client, account, before, after, seconds)
        await check_suggestion(client, tmp_path)
        check(client, account)
    assert after - before < MOST_GROWTH, f"seed {SEED}: {before} bytes grew to {after}"
    assert len(client.stderr) < MOST_LOGGED * account.sent, f"seed {SEED}"


@pytest.mark.slow
async def test_server_survives_random_initialize_requests(runtime, tmp_path):
    async with serving(runtime, Answerer()):
        for n in range(OPENINGS):
            messages, account = Messages(SEED + n, tmp_path), Account()
            async with fuzzed(messages) as client:
                await exchange(client, account, [messages.opening() for _ in range(OPENING)])
                check(client, account)


def is_ready(message: dict[str, Any]) -> bool:
    return message["method"] == "codellama/status" and message["params"]["phase"] == "ready"
