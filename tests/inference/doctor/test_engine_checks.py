"""The running engine, looked at and asked, over its real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psutil
import pytest
from fakes.answerer import ScriptedAnswerer
from support.fixtures_engine import serving
from support.waiting import until

import inference
from inference.client import crash_report
from inference.client.engine_process import EngineOptions
from inference.doctor import engine_checks
from inference.doctor.check import Check
from inference.doctor.engine_checks import smoke
from inference.models.catalog import CATALOG
from inference.system.runtime_folder import bind


async def smoked(*, told: list[str] | None = None) -> list[Check]:
    say = [].append if told is None else told.append
    return [check async for check in smoke(EngineOptions(), say)]


async def looked() -> list[Check]:
    return list(engine_checks.check_engine(await asyncio.to_thread(engine_checks.look)))


def told(checks: Sequence[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.verdict) for check in checks]


async def test_infill_and_chat_are_asked_as_a_window_asks_and_timed(runtime):
    answerer = ScriptedAnswerer(["a + b"])
    async with serving(runtime, answerer):
        checks = await smoked()
    assert told(checks) == [("loading", "ok"), ("infill", "ok"), ("chat", "ok")]
    assert {"prefill_ms", "decode_ms", "total_ms"} <= checks[1].figures.keys()
    (prompt, suffix, _), (messages, _, _) = answerer.asked
    assert (prompt[-7:], suffix is None, messages[0].role) == ("return ", False, "user")


async def test_model_without_infilling_completes_and_one_without_chat_is_a_warning(runtime):
    """Nothing is broken; a person may wonder all the same."""
    async with serving(runtime, ScriptedAnswerer(["x"], row=CATALOG["codellama-7b-python"])) as engine:
        _, infill, chat = await smoked()
        assert engine.answerer.asked[0][1] is None
    assert (infill.verdict, "not trained to infill" in infill.advice) == ("warning", True)
    assert (chat.verdict, "not trained to chat" in chat.text) == ("warning", True)


async def test_answer_that_fails_is_a_problem_and_the_next_is_asked(runtime):
    async with serving(runtime, ScriptedAnswerer(["boom"])):
        checks = await smoked()
    assert told(checks) == [("loading", "ok"), ("infill", "problem"), ("chat", "problem")]
    assert all(check.quotes for check in checks[1:])


async def test_model_that_says_nothing_is_a_warning(runtime):
    async with serving(runtime, ScriptedAnswerer([" "])):
        checks = await smoked()
    assert told(checks)[1] == ("infill", "warning")


async def test_loading_is_told_and_its_failure_is_a_problem(runtime):
    said: list[str] = []
    async with serving(runtime, ScriptedAnswerer(), phase="loading") as engine:
        asking = asyncio.ensure_future(smoked(told=said))
        await until(lambda: "loading the model: loading weights 40 %" in said)
        engine.service.board.set(phase="failed", message="The model 'x' is not installed.")
        assert [(c.name, c.verdict, c.text) for c in await asking] == [
            ("loading", "problem", "The model 'x' is not installed.")
        ]


async def test_running_engine_says_what_it_is(runtime):
    async with serving(runtime, ScriptedAnswerer()) as engine:
        engine.service.board.set(version=inference.__version__)
        (check,) = await looked()
    assert (check.name, check.verdict) == ("engine", "ok")
    assert check.text.startswith(f"version {inference.__version__}, ready, 0 windows, ")


async def test_engine_of_another_version_and_a_crash_before_it_are_warnings(runtime):
    async with serving(runtime, ScriptedAnswerer()) as engine:
        engine.service.board.set(version="0.0.1", crash="it was killed by SIGKILL")
        version, crash = await looked()
    assert (version.verdict, "engine stop" in version.advice) == ("warning", True)
    assert (crash.verdict, crash.text) == (
        "warning",
        "the engine before this one ended unexpectedly: it was killed by SIGKILL",
    )


def test_engine_that_does_not_answer_is_a_problem(runtime):
    """Whatever the last one died of."""
    (runtime / crash_report.MARK).touch()
    with bind(runtime / "engine.sock") as listener:
        listener.listen()
        (check,) = engine_checks.check_engine(None)
    assert (check.name, check.verdict) == ("engine", "problem")
    assert "engine stop --now" in check.advice


@pytest.mark.parametrize("since_boot", [True, False])
def test_engine_that_left_its_mark_died_unless_the_machine_was_started_since(runtime, monkeypatch, since_boot):
    (runtime / "engine.log").write_text(f"{crash_report.ENDED}SIGSEGV\n")
    mark = runtime / crash_report.MARK
    mark.touch()
    monkeypatch.setattr(psutil, "boot_time", lambda: mark.stat().st_mtime + (-1 if since_boot else 1))
    assert engine_checks.look() is None
    checks = list(engine_checks.check_engine(None))
    assert told(checks) == [("engine", "ok"), ("last engine", "warning")][: 1 + since_boot]
    if since_boot:
        assert checks[1].text == "the last engine ended unexpectedly: it was killed by SIGSEGV"
