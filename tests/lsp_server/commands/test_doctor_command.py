"""``codellama-ls doctor``: checks, suggested fixes, verdict and exit status."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from fakes.scripted_model import ScriptedModel
from support.editor_session import editor_session
from support.fixtures_engine import serving

from inference.doctor import hardware, installation
from inference.doctor.check import Check
from inference.models import store
from inference.system.machine import Device, Machine
from lsp_server.commands import doctor_command

MEMORY = Device("cpu", "CPU memory", 16 << 30, 8 << 30)
FACTS = {
    "torch": {"version": "2.13.0", "cuda": "", "gpus": []},
    "four_bits": "",
    "library": "the processor has no avx512f",
    "plan": {"summary": "needs 1 MiB of 2 GiB free", "to_write": 0},
}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, runtime) -> None:
    """A machine with ``FACTS`` as its probe's result; the check of models is replaced."""
    monkeypatch.setattr(hardware, "probe_torch", lambda options: FACTS)
    monkeypatch.setattr(doctor_command, "look", lambda: Machine(MEMORY, (), "No GPU was found."))
    monkeypatch.setattr(doctor_command, "check_models", lambda wanted, say, full: [Check("models", "ok", str(full))])


def run(*arguments: str) -> int:
    return doctor_command.main(list(arguments))


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Check]:
    report = json.loads(capsys.readouterr().out)
    return {check["name"]: Check(**check) for check in report["checks"]}


async def test_all_checks_run_and_warnings_are_no_failure(capsys, runtime):
    async with serving(runtime, ScriptedModel()):
        assert await asyncio.to_thread(run, "--json") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["healthy"] is True
    assert re.fullmatch(r"It works. \d warnings?.", report["verdict"])
    names = [check["name"] for check in report["checks"]]
    assert names[:3] == ["versions", "packages", "runtime folder"]
    assert names[-3:] == ["loading", "infill", "chat"]
    assert {"editor", "models", "engine", "GPU", "kernels", "memory", "disk"} <= set(names)
    assert captured.err.splitlines()[:2] == ["checking torch ...", "starting the engine ..."]


def test_quick_runs_no_model_and_reads_no_weights(capsys):
    assert run("--quick", "--json") == 0
    found = printed(capsys)
    assert "infill" not in found
    assert (found["models"].text, found["engine"].text) == ("False", "not running; the first editor session starts it")


def test_problem_fails_and_the_verdict_names_the_first_fix(capsys, monkeypatch):
    monkeypatch.setattr(hardware, "probe_torch", lambda options: {**FACTS, "torch": {"error": "ImportError: no torch"}})
    assert run("--quick") == 1
    out = capsys.readouterr().out
    rows = [line.rstrip().split(maxsplit=2) for line in out.splitlines() if "problem" in line]
    assert rows[0] == ["torch", "problem", "it can't be imported (ImportError: no torch)"]
    assert out.splitlines()[-1].startswith("1 problem. ")
    assert out.splitlines()[-1].endswith(
        "Begin with torch: Reinstall torch in the environment of codellama-ls as pytorch.org describes."
    )


def test_crashing_check_is_a_problem_and_others_run(capsys, monkeypatch):
    monkeypatch.setattr(doctor_command.engine_checks, "engine_stats", lambda: {"no": "stats"})
    assert run("--quick", "--json") == 1
    found = printed(capsys)
    assert (found["engine"].verdict, found["engine"].quotes) == ("problem", True)
    assert found["kernels"].verdict == "warning"


async def test_settings_are_those_of_the_last_editor_session(capsys, runtime):
    settings = {"engine": {"model": "codellama-7b"}, "completion": {"maxTokens": "many"}}
    async with serving(runtime, ScriptedModel()), editor_session(settings=settings, wait=False) as editor:
        editor.open("x = ")
        await editor.inline(0, 4)
    await asyncio.to_thread(run, "--quick", "--json")
    found = printed(capsys)
    assert found["settings"].text == (
        "Setting 'completion.maxTokens' must be a number from 1 to 1024, not \"many\". The default 64 is used."
    )
    assert found["editor"].text == "of the last 1 requests 0 were shown"


def test_settings_of_a_file_are_checked(capsys, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('{"codellama": {"engine": {"model": "codellama-7b", "contxt": 1}}}')
    assert run("--quick", "--json", "--settings", str(file)) == 0
    assert printed(capsys)["settings"].text == "Unknown setting 'engine.contxt' is ignored."
    file.write_text("no JSON")
    assert run("--quick", "--settings", str(file)) == 2
    assert "It must hold one JSON object" in capsys.readouterr().err


def test_missing_model_suggests_pull(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_command, "check_models", installation.check_models)
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    assert run("--quick", "--json", "--model", "codellama-13b") == 1
    found = printed(capsys)["model codellama-13b"]
    assert found.advice.startswith("Run `codellama-ls pull codellama-13b`.")
