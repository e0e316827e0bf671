"""Faults of an engine and of its folder: each is told in one sentence, no request hangs, and mending it is enough.

With ``FAULT_TABLE=FILE`` each test adds a row to a table.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from faults.rig import Rig, row
from support.waiting import until

from inference.api.errors import NOT_RESPONDING
from inference.client import hung_engine
from inference.client.crash_report import MOST_DEATHS
from inference.client.engine_client import SILENT_SECONDS
from inference.client.engine_process import EngineOptions
from inference.commands import engine_command
from inference.doctor import engine_checks
from inference.doctor.engine_checks import smoke
from inference.system import runtime_folder


@pytest.fixture
def rig(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(runtime, tmp_path, monkeypatch)
    made.says("ready")
    return made


@dataclass(frozen=True)
class Death:
    """Engines that die before they are ready, and the message about it."""

    name: str
    word: str
    told: str


DEATHS = [
    Death("damaged library: SIGBUS while loading", "damaged", "it was killed by SIGBUS"),
    Death("crash in a kernel: SIGSEGV while loading", "SIGSEGV", "it was killed by SIGSEGV"),
    Death("memory limit: SIGKILL while loading", "SIGKILL", "it was killed by SIGKILL, as when the system runs out"),
    Death("killed before it listens", "early SIGKILL", "it was killed by SIGKILL"),
]


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.word.replace(" ", "-"))
async def test_engine_that_dies_while_loading_is_given_up(rig: Rig, death: Death):
    rig.says(death.word)
    since = time.monotonic()
    async with rig.session():
        assert await rig.asks() == []
        seconds = await rig.is_told(f"The engine died 3 times while it loaded 'starter': {death.told}", since)
        for _ in range(3):  # nothing has changed: a request has the record looked at, and no more
            searches = rig.searches
            while rig.searches == searches:
                assert await rig.asks() == []
        assert len(rig.begun) == MOST_DEATHS
        (told,) = rig.told
        rig.says("ready")
        rig.pulled()
        await rig.recovers()
        assert len(rig.begun) == MOST_DEATHS + 1
    row(death.name, told, seconds, "yes, at the next request after `pull`")


async def test_restarted_session_tries_a_dying_engine_once_more(rig: Rig):
    rig.says("SIGKILL")
    async with rig.session():
        await rig.is_told("The engine died 3 times", time.monotonic())
    async with rig.session():
        await rig.is_told("The engine died 3 times", time.monotonic())
        assert len(rig.begun) == MOST_DEATHS + 1


@dataclass(frozen=True)
class Place:
    """Something wrong with the engine's folder or the process's resources."""

    name: str
    told: str
    damage: Callable[[Rig], Callable[[], object]]
    """Breaks it; what it returns mends it."""


def folder_at(name: str) -> Place:
    def damage(rig: Rig) -> Callable[[], object]:
        path = rig.runtime / name
        path.mkdir()
        return path.rmdir

    return Place(f"a folder at `{name}`", f"{name} is a folder, but a file belongs there. Remove it.", damage)


def unwritable(rig: Rig) -> Callable[[], object]:
    """Nobody can make a folder in that one, not even root."""
    rig.monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/self")
    return lambda: rig.monkeypatch.setenv("XDG_RUNTIME_DIR", str(rig.runtime.parent))


def foreign(rig: Rig) -> Callable[[], object]:
    os.chown(rig.runtime, 12345, 12345)
    return lambda: os.chown(rig.runtime, os.getuid(), os.getgid())


def dangling(rig: Rig) -> Callable[[], object]:
    rig.monkeypatch.delenv("XDG_RUNTIME_DIR")
    rig.monkeypatch.setattr(runtime_folder.tempfile, "gettempdir", lambda: str(rig.runtime.parent))
    link = rig.runtime.parent / f"codellama-ls-{os.getuid()}"
    link.symlink_to(rig.runtime.parent / "nowhere")

    def mend() -> None:
        link.unlink()
        rig.monkeypatch.setenv("XDG_RUNTIME_DIR", str(rig.runtime.parent))  # which the engine's process has too

    return mend


def no_descriptors(rig: Rig) -> Callable[[], object]:
    """Files that are open stay so; no other can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def find(options, command):
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            return await private_find(options, command)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    private_find, rig.find = rig.find, find
    return lambda: setattr(rig, "find", private_find)


def unexpected(rig: Rig) -> Callable[[], object]:
    async def find(options, command):
        raise RuntimeError("a mistake of ours")

    usual, rig.find = rig.find, find
    return lambda: setattr(rig, "find", usual)


PLACES = [
    Place("runtime folder can't be made", "/proc/self/codellama-ls cannot be used", unwritable),
    Place("runtime folder of another user", "is not a folder of yours. Remove it or set XDG_RUNTIME_DIR", foreign),
    Place("dangling link in the temporary folder", "is not a folder of yours", dangling),
    *map(folder_at, ("engine.log", "engine.starting", "engine.starts", "engine.lock", "engine.running", "engine.sock")),
    Place("no file descriptors left", "Too many open files", no_descriptors),
    Place("an unforeseen exception", "The connection to the engine failed", unexpected),
]

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")


@pytest.mark.parametrize(
    "place",
    [pytest.param(place, id=place.name, marks=[ROOT_ONLY] if place.damage is foreign else []) for place in PLACES],
)
async def test_unusable_place_is_told_and_mending_it_is_enough(rig: Rig, place: Place):
    mend, since = place.damage(rig), time.monotonic()
    async with rig.session():
        assert await rig.asks() == []
        seconds = await rig.is_told(place.told, since)
        (told,) = rig.told
        mend()
        await rig.recovers()
        assert rig.told == [told]
        assert len(rig.begun) <= 1 + rig.requests, "an attempt for the session, and at most one for each request"
    row(place.name, told, seconds, "yes, at the next request")


async def test_temporary_folder_with_a_long_path_is_no_fault(rig: Rig):
    long = rig.folder / ("x" * 120)
    long.mkdir()
    rig.monkeypatch.delenv("XDG_RUNTIME_DIR")
    rig.monkeypatch.setattr(runtime_folder.tempfile, "gettempdir", lambda: str(long))
    assert runtime_folder.runtime_folder() == Path(f"/tmp/codellama-ls-{os.getuid()}")
    row("TMPDIR over 100 characters", "nothing: the engine's folder is in /tmp", None, "not needed")


async def hang(rig: Rig) -> psutil.Process:
    """Stop the engine of a session that is ready."""
    assert rig.window is not None
    await asyncio.wait_for(rig.window.ready.wait(), 60)
    process = psutil.Process(rig.begun[-1])
    process.send_signal(signal.SIGSTOP)
    return process


@pytest.mark.parametrize("silence", [2.0, pytest.param(SILENT_SECONDS, id="as-installed", marks=pytest.mark.slow)])
async def test_hung_engine_is_replaced_and_its_requests_answered(rig: Rig, silence: float):
    rig.silence = silence
    async with rig.session():
        process, since = await hang(rig), time.monotonic()
        assert await rig.asks() == []
        answered = time.monotonic() - since
        told = "The engine ended unexpectedly and was started again: it did not respond any more."
        seconds = await rig.is_told(told, since)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        assert await rig.asks() != []
        assert len(rig.begun) == 2
        (told,) = rig.told
    name = f"hung engine (SIGSTOP), {silence:.0f} s of silence allowed; its request was answered in {answered:.1f} s"
    row(name, told, seconds, "yes, by itself")


async def test_session_that_finds_a_hung_engine_replaces_it(rig: Rig):
    rig.silence = 60  # the first session notices nothing
    async with rig.session():
        process, since = await hang(rig), time.monotonic()
        second = Rig(rig.runtime, rig.folder, rig.monkeypatch)
        async with second.session() as other:
            await asyncio.wait_for(other.ready.wait(), 60)
            row("a session opens on a hung engine", second.told[0], time.monotonic() - since, "yes, by itself")
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        assert len(rig.begun) == 2


async def test_paused_machine_costs_no_engine(rig: Rig):
    """It goes on before the engine's second chance is over, as after a suspend."""
    alive: list[bool] = []
    rig.silence = 4.0
    async with rig.session():
        process, usual = await hang(rig), hung_engine._answers

        async def answers(path: Path, seconds: float) -> bool:
            process.send_signal(signal.SIGCONT)
            alive.append(await usual(path, seconds))
            return alive[-1]

        rig.monkeypatch.setattr(hung_engine, "_answers", answers)
        await until(lambda: alive)
        assert alive == [True]
        assert await rig.asks() != []
        assert (rig.begun, rig.told) == ([process.pid], [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["status"], 1, "The engine does not respond. Run `codellama-ls engine stop --now` to end it"),
        (["stop"], 1, "The engine does not respond. Run `codellama-ls engine stop --now` to end it"),
        (["stop", "--now"], 0, "The engine did not stop by itself and was killed."),
    ],
    ids=["status", "stop", "stop-now"],
)
async def test_commands_about_a_hung_engine_end_with_a_sentence(rig: Rig, capsys, arguments, status, said):
    rig.silence = 60  # the session itself leaves it alone
    async with rig.session():
        process, since = await hang(rig), time.monotonic()
        command = asyncio.to_thread(engine_command.main, arguments)
        assert await asyncio.wait_for(command, 30) == status
        seconds = time.monotonic() - since
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert "Traceback" not in shown.err
    row(f"`engine {' '.join(arguments)}` on a hung engine", said, seconds, "" if status else "yes, ended")
    assert process.pid in rig.begun


@pytest.mark.slow
async def test_doctor_reports_a_hung_engine(rig: Rig):
    rig.silence = 120  # the session itself leaves it alone
    async with rig.session():
        await hang(rig)
        since = time.monotonic()
        (check,) = await asyncio.to_thread(lambda: list(engine_checks.check_engine(engine_checks.look())))
        seconds = time.monotonic() - since
        asked = [check async for check in smoke(EngineOptions(), lambda text: None)]
    assert (check.verdict, check.text) == ("problem", "one listens but does not answer: it may hang")
    assert [(one.name, one.verdict, one.text) for one in asked] == [("loading", "problem", NOT_RESPONDING)]
    row("`doctor` on a hung engine", f"{check.text}. {check.advice}", seconds, "")
