"""``codellama-ls engine status | stop | logs``: the output for users and programs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import httpx
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.commands import engine_command


def rows(printed: str) -> dict[str, str]:
    """Return the second column by the first. Long values continue in the next line."""
    found: dict[str, str] = {}
    for line in printed.splitlines():
        name, value = line[:10].strip(), line[10:].strip()
        name = name or next(reversed(found))
        found[name] = f"{found.get(name, '')} {value}".strip()
    return found


async def command(*arguments: str) -> int:
    return await asyncio.to_thread(engine_command.main, list(arguments))


async def test_status_prints_state_and_counters(runtime, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    async with serving(runtime, ScriptedModel(["a", "b"])) as running:
        running.service.board.set(version="0.1.0", pid=4321, message="ready", crash="it was killed by SIGKILL")
        transport = httpx.AsyncHTTPTransport(uds=str(running.socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
            for _ in range(2):
                await client.post("/v1/completions", json={"prompt": "abc"})
        assert await command("status") == 0
    table = rows(capsys.readouterr().out)
    assert table["engine"].startswith("version 0.1.0, process 4321, up 0 min ")
    assert table["state"] == "ready: ready"
    assert table["models"] == "starter (completion 8,192 tokens, chat 4,096 tokens)"
    assert table["editors"] == "0"
    assert table["finished"] == "2 completion, 0 chat, 0 prefetch; 0 cancelled, 0 failed, 0 refused"
    assert table["tokens"] == "6 in prompts, 0 % of them reused; 4 generated"
    assert table["last crash"] == "it was killed by SIGKILL"
    assert table["socket"] == str(runtime / "engine.sock")


async def test_status_as_json_is_the_engines_response(runtime, capsys):
    async with serving(runtime, ScriptedModel()):
        assert await command("status", "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["engine"]["phase"], status["requests"]) == ("ready", {"open": 0, "waiting": 0})
    assert status["memory"]["resident_bytes"] > 1_000_000


async def test_commands_report_that_no_engine_runs(runtime, capsys):
    assert await command("status") == 1
    assert await command("stop") == 0
    assert await command("logs") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [engine_command.NONE_RUNS] * 2
    assert lines[2].startswith("There is no log")


async def test_stop_returns_when_the_engine_has_ended(runtime, capsys):
    async with serving(runtime, ScriptedModel()) as running:

        async def shut_down() -> None:
            await running.service.unneeded()
            running.server.should_exit = running.server.force_exit = True

        ending = asyncio.ensure_future(shut_down())
        assert await asyncio.wait_for(command("stop"), 20) == 0
        await ending
        assert running.service.board.status.phase == "stopping"
    assert capsys.readouterr().out == "The engine has stopped.\n"


async def test_logs_prints_the_last_lines(runtime, capsys):
    (runtime / "engine.log").write_text("one\ntwo\nthree\n")
    assert await command("logs", "-n", "2") == 0
    assert capsys.readouterr().out == "two\nthree\n"


def test_status_does_not_import_torch():
    code = (
        "import sys; from lsp_server import cli; cli.main(['engine', 'status']); "
        "sys.exit(str({'torch', 'transformers', 'numpy'} & set(sys.modules) or '') or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
