"""A chat with the starter through the real server and engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types
from support.editor_session import editor_session
from support.simulated_user import plain

pytestmark = [pytest.mark.starter, pytest.mark.slow]

SETTINGS = {"engine": {"graceSeconds": 1}, "chat": {"maxTokens": 24}}


@pytest.fixture(autouse=True)
def _starter(starter_folder: Path, runtime: Path) -> None:
    """Real weights and a runtime folder for one test."""


async def test_starter_answers_two_questions_of_a_conversation(tmp_path: Path) -> None:
    """The second question reuses the KV cache of the first one and its response."""
    (tmp_path / "a.py").write_text("def add(a, b):\n    return a + b\n")
    async with editor_session(settings=SETTINGS, root=tmp_path.as_uri()) as editor:

        async def asks(method: str, **params):
            sent = editor.client.protocol.send_request_async(method, params)
            return plain(await asyncio.wait_for(sent, 120))

        first = await asks("codellama/chat", text="What does #file:a.py do?")
        assert first["text"] and first["finishReason"] in ("stop", "length")
        tokens = first["tokens"]
        assert 60 < tokens["prompt"] < 200 and 0 < tokens["answer"] <= 24
        assert tokens["used"] == tokens["prompt"] + tokens["answer"] < tokens["limit"]
        assert [piece["title"] for piece in first["attached"]] == ["a.py"]

        second = await asks("codellama/chat", text="Thanks.", conversation=first["conversation"])
        assert second["turn"] == 1 and second["tokens"]["reused"] >= tokens["prompt"]
        again = await asks("codellama/chat", conversation=first["conversation"], regenerate=True)
        assert again["turn"] == 1 and again["tokens"]["reused"] >= tokens["prompt"]

        exported = await asks("codellama/chat/export", conversation=first["conversation"])
        assert exported["markdown"].startswith("# What does #file:a.py do?\n\n## You\n\nWhat does #file:a.py do?\n")
        stopped = editor.client.protocol.send_request("codellama/chat", {"text": "Count to 100"}, msg_id="long")
        editor.client.cancel_request(types.CancelParams("long"))
        (error,) = await asyncio.gather(asyncio.wrap_future(stopped), return_exceptions=True)
        assert getattr(error, "code", None) == -32800
        editor.open("x = ", uri=f"{tmp_path.as_uri()}/b.py")
        assert isinstance(await editor.inline(0, 4, uri=f"{tmp_path.as_uri()}/b.py"), list)
