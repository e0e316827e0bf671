"""Checks of a running engine and the smoke test, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psutil
import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving
from support.waiting import until

import inference
from inference.client import crash_report
from inference.client.engine_process import EngineOptions
from inference.doctor import engine_checks
from inference.doctor.check import Check
from inference.doctor.engine_checks import smoke_test
from inference.models.catalog import CATALOG
from inference.system.runtime_folder import bind_socket


async def smoke_checks(progress: list[str] | None = None) -> list[Check]:
    say = [].append if progress is None else progress.append
    return [check async for check in smoke_test(EngineOptions(), say)]


async def engine_check_results() -> list[Check]:
    return list(engine_checks.check_engine(await asyncio.to_thread(engine_checks.engine_stats)))


def verdicts(checks: Sequence[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.verdict) for check in checks]


async def test_smoke_test_times_an_infilling_and_a_chat(runtime):
    answerer = ScriptedModel(["a + b"])
    async with serving(runtime, answerer):
        checks = await smoke_checks()
    assert verdicts(checks) == [("loading", "ok"), ("infill", "ok"), ("chat", "ok")]
    assert {"prefill_ms", "decode_ms", "total_ms"} <= checks[1].figures.keys()
    (prompt, suffix, _), (messages, _, _) = answerer.asked
    assert (prompt[-7:], suffix is None, messages[0].role) == ("return ", False, "user")


async def test_missing_infilling_or_chat_is_a_warning(runtime):
    async with serving(runtime, ScriptedModel(["x"], row=CATALOG["codellama-7b-python"])) as engine:
        _, infill, chat = await smoke_checks()
        assert engine.answerer.asked[0][1] is None
    assert (infill.verdict, "not trained to infill" in infill.advice) == ("warning", True)
    assert (chat.verdict, "not trained to chat" in chat.text) == ("warning", True)


async def test_failed_request_is_a_problem_and_the_next_runs(runtime):
    async with serving(runtime, ScriptedModel(["boom"])):
        checks = await smoke_checks()
    assert verdicts(checks) == [("loading", "ok"), ("infill", "problem"), ("chat", "problem")]
    assert all(check.quotes for check in checks[1:])


async def test_empty_response_is_a_warning(runtime):
    async with serving(runtime, ScriptedModel([" "])):
        checks = await smoke_checks()
    assert verdicts(checks)[1] == ("infill", "warning")


async def test_failure_to_load_is_a_problem(runtime):
    progress: list[str] = []
    async with serving(runtime, ScriptedModel(), phase="loading") as engine:
        pending = asyncio.ensure_future(smoke_checks(progress))
        await until(lambda: "loading the model: loading weights 40 %" in progress)
        engine.service.board.set(phase="failed", message="The model 'x' is not installed.")
        assert [(c.name, c.verdict, c.text) for c in await pending] == [
            ("loading", "problem", "The model 'x' is not installed.")
        ]


async def test_running_engine_is_described(runtime):
    async with serving(runtime, ScriptedModel()) as engine:
        engine.service.board.set(version=inference.__version__)
        (check,) = await engine_check_results()
    assert (check.name, check.verdict) == ("engine", "ok")
    assert check.text.startswith(f"version {inference.__version__}, ready, 0 editor sessions, ")


async def test_other_version_and_previous_crash_are_warnings(runtime):
    async with serving(runtime, ScriptedModel()) as engine:
        engine.service.board.set(version="0.0.1", crash="it was killed by SIGKILL")
        version, crash = await engine_check_results()
    assert (version.verdict, "engine stop" in version.advice) == ("warning", True)
    assert (crash.verdict, crash.text) == (
        "warning",
        "the previous engine ended unexpectedly: it was killed by SIGKILL",
    )


def test_unresponsive_engine_is_a_problem(runtime):
    """An older crash mark is not reported then."""
    (runtime / crash_report.CRASH_MARK).touch()
    with bind_socket(runtime / "engine.sock") as listener:
        listener.listen()
        (check,) = engine_checks.check_engine(None)
    assert (check.name, check.verdict) == ("engine", "problem")
    assert "engine stop --now" in check.advice


@pytest.mark.parametrize("since_boot", [True, False])
def test_crash_mark_counts_only_since_boot(runtime, monkeypatch, since_boot):
    (runtime / "engine.log").write_text(f"{crash_report.ENDED}SIGSEGV\n")
    mark = runtime / crash_report.CRASH_MARK
    mark.touch()
    monkeypatch.setattr(psutil, "boot_time", lambda: mark.stat().st_mtime + (-1 if since_boot else 1))
    assert engine_checks.engine_stats() is None
    checks = list(engine_checks.check_engine(None))
    assert verdicts(checks) == [("engine", "ok"), ("last engine", "warning")][: 1 + since_boot]
    if since_boot:
        assert checks[1].text == "the last engine ended unexpectedly: it was killed by SIGSEGV"
