"""Faults of an engine and its folder: one message for the user, no request hangs, and repairing the fault suffices.

With ``FAULT_TABLE=FILE`` each test appends a row to a table.
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
from faults.rig import Rig, add_row
from support.waiting import until

from inference.api.engine_errors import NOT_RESPONDING
from inference.client import hung_engine
from inference.client.crash_report import MAX_FAILED_STARTS
from inference.client.engine_client import SILENT_SECONDS
from inference.client.engine_process import EngineOptions
from inference.commands import engine_command
from inference.doctor import engine_checks
from inference.doctor.engine_checks import smoke_test
from inference.system import runtime_folder


@pytest.fixture
def rig(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(runtime, tmp_path, monkeypatch)
    made.set_behaviour("ready")
    return made


@dataclass(frozen=True)
class Death:
    """A way for engines to die before they are ready, and the message about it."""

    name: str
    word: str
    message: str


DEATHS = [
    Death("damaged library: SIGBUS while loading", "damaged", "it was killed by SIGBUS"),
    Death("crash in a kernel: SIGSEGV while loading", "SIGSEGV", "it was killed by SIGSEGV"),
    Death("memory limit: SIGKILL while loading", "SIGKILL", "it was killed by SIGKILL, as when the system runs out"),
    Death("killed before it listens", "early SIGKILL", "it was killed by SIGKILL"),
]


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.word.replace(" ", "-"))
async def test_engine_that_keeps_dying_is_not_restarted(rig: Rig, death: Death):
    rig.set_behaviour(death.word)
    since = time.monotonic()
    async with rig.session():
        assert await rig.request() == []
        seconds = await rig.until_message(f"The engine died 3 times while it loaded 'starter': {death.message}", since)
        for _ in range(3):  # nothing has changed: a request only checks the record
            searches = rig.searches
            while rig.searches == searches:
                assert await rig.request() == []
        assert len(rig.begun) == MAX_FAILED_STARTS
        (message,) = rig.messages
        rig.set_behaviour("ready")
        rig.pull_again()
        await rig.until_recovered()
        assert len(rig.begun) == MAX_FAILED_STARTS + 1
    add_row(death.name, message, seconds, "yes, at the next request after `pull`")


async def test_restarted_session_starts_a_dying_engine_once_more(rig: Rig):
    rig.set_behaviour("SIGKILL")
    async with rig.session():
        await rig.until_message("The engine died 3 times", time.monotonic())
    async with rig.session():
        await rig.until_message("The engine died 3 times", time.monotonic())
        assert len(rig.begun) == MAX_FAILED_STARTS + 1


@dataclass(frozen=True)
class EnvironmentFault:
    """A fault of the engine's folder or of the process's resources."""

    name: str
    message: str
    damage: Callable[[Rig], Callable[[], object]]
    """Causes the fault and returns a function that repairs it."""


def folder_at(name: str) -> EnvironmentFault:
    def damage(rig: Rig) -> Callable[[], object]:
        path = rig.runtime / name
        path.mkdir()
        return path.rmdir

    return EnvironmentFault(
        f"a folder at `{name}`", f"{name} is a folder, but a file belongs there. Remove it.", damage
    )


def unwritable(rig: Rig) -> Callable[[], object]:
    """Set a runtime folder in which not even root can create a folder."""
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

    def repair() -> None:
        link.unlink()
        rig.monkeypatch.setenv("XDG_RUNTIME_DIR", str(rig.runtime.parent))  # inherited by the engine's process

    return repair


def no_descriptors(rig: Rig) -> Callable[[], object]:
    """Set the limit of open files to 0 while an engine is searched."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def find(options, command):
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            return await original(options, command)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    original, rig.find = rig.find, find
    return lambda: setattr(rig, "find", original)


def unexpected(rig: Rig) -> Callable[[], object]:
    async def find(options, command):
        raise RuntimeError("a bug")

    original, rig.find = rig.find, find
    return lambda: setattr(rig, "find", original)


FAULTS = [
    EnvironmentFault("runtime folder can't be made", "/proc/self/codellama-ls cannot be used", unwritable),
    EnvironmentFault(
        "runtime folder of another user", "is not a folder of yours. Remove it or set XDG_RUNTIME_DIR", foreign
    ),
    EnvironmentFault("dangling link in the temporary folder", "is not a folder of yours", dangling),
    *map(folder_at, ("engine.log", "engine.starting", "engine.starts", "engine.lock", "engine.running", "engine.sock")),
    EnvironmentFault("no file descriptors left", "Too many open files", no_descriptors),
    EnvironmentFault("an unforeseen exception", "The connection to the engine failed", unexpected),
]

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name, marks=[ROOT_ONLY] if fault.damage is foreign else []) for fault in FAULTS],
)
async def test_environment_fault_is_reported_and_can_be_repaired(rig: Rig, fault: EnvironmentFault):
    repair, since = fault.damage(rig), time.monotonic()
    async with rig.session():
        assert await rig.request() == []
        seconds = await rig.until_message(fault.message, since)
        (message,) = rig.messages
        repair()
        await rig.until_recovered()
        assert rig.messages == [message]
        assert len(rig.begun) <= 1 + rig.requests, "one start for the session, and at most one for each request"
    add_row(fault.name, message, seconds, "yes, at the next request")


async def test_long_path_of_the_temporary_folder_is_no_fault(rig: Rig):
    long = rig.folder / ("x" * 120)
    long.mkdir()
    rig.monkeypatch.delenv("XDG_RUNTIME_DIR")
    rig.monkeypatch.setattr(runtime_folder.tempfile, "gettempdir", lambda: str(long))
    assert runtime_folder.runtime_folder() == Path(f"/tmp/codellama-ls-{os.getuid()}")
    add_row("TMPDIR over 100 characters", "nothing: the engine's folder is in /tmp", None, "not needed")


async def hang(rig: Rig) -> psutil.Process:
    """Wait until the session is ready, then stop its engine with SIGSTOP."""
    assert rig.editor is not None
    await asyncio.wait_for(rig.editor.ready.wait(), 60)
    process = psutil.Process(rig.begun[-1])
    process.send_signal(signal.SIGSTOP)
    return process


@pytest.mark.parametrize("silence", [2.0, pytest.param(SILENT_SECONDS, id="as-installed", marks=pytest.mark.slow)])
async def test_hung_engine_is_replaced(rig: Rig, silence: float):
    rig.silence = silence
    async with rig.session():
        process, since = await hang(rig), time.monotonic()
        assert await rig.request() == []
        answered = time.monotonic() - since
        expected = "The engine ended unexpectedly and was started again: it did not respond any more."
        seconds = await rig.until_message(expected, since)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        assert await rig.request() != []
        assert len(rig.begun) == 2
        (message,) = rig.messages
    name = f"hung engine (SIGSTOP), {silence:.0f} s of silence allowed; its request was answered in {answered:.1f} s"
    add_row(name, message, seconds, "yes, by itself")


async def test_session_that_finds_a_hung_engine_replaces_it(rig: Rig):
    rig.silence = 60  # so that the first session does not notice
    async with rig.session():
        process, since = await hang(rig), time.monotonic()
        second = Rig(rig.runtime, rig.folder, rig.monkeypatch)
        async with second.session() as other:
            await asyncio.wait_for(other.ready.wait(), 60)
            add_row("a session opens on a hung engine", second.messages[0], time.monotonic() - since, "yes, by itself")
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        assert len(rig.begun) == 2


async def test_suspended_machine_keeps_its_engine(rig: Rig):
    """After a resume the engine responds to the second probe."""
    alive: list[bool] = []
    rig.silence = 4.0
    rig.grace = 60  # it goes on without a lease, and must not leave before it gets one
    async with rig.session():
        process, original = await hang(rig), hung_engine._answers

        async def answers(path: Path, seconds: float) -> bool:
            process.send_signal(signal.SIGCONT)
            alive.append(await original(path, seconds))
            return alive[-1]

        rig.monkeypatch.setattr(hung_engine, "_answers", answers)
        await until(lambda: alive)
        assert alive == [True]
        assert await rig.request() != []
        assert (rig.begun, rig.messages) == ([process.pid], [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "output"),
    [
        (["status"], 1, "The engine does not respond. Run `codellama-ls engine stop --now` to end it"),
        (["stop"], 1, "The engine does not respond. Run `codellama-ls engine stop --now` to end it"),
        (["stop", "--now"], 0, "The engine did not stop by itself and was killed."),
    ],
    ids=["status", "stop", "stop-now"],
)
async def test_commands_for_a_hung_engine_end_with_a_message(rig: Rig, capsys, arguments, status, output):
    rig.silence = 60  # so that the session does not replace it
    async with rig.session():
        process, since = await hang(rig), time.monotonic()
        command = asyncio.to_thread(engine_command.main, arguments)
        assert await asyncio.wait_for(command, 30) == status
        seconds = time.monotonic() - since
    printed = capsys.readouterr()
    assert output in printed.out + printed.err
    assert "Traceback" not in printed.err
    add_row(f"`engine {' '.join(arguments)}` on a hung engine", output, seconds, "" if status else "yes, ended")
    assert process.pid in rig.begun


@pytest.mark.slow
async def test_doctor_reports_a_hung_engine(rig: Rig):
    rig.silence = 120  # so that the session does not replace it
    async with rig.session():
        await hang(rig)
        since = time.monotonic()
        (check,) = await asyncio.to_thread(lambda: list(engine_checks.check_engine(engine_checks.engine_stats())))
        seconds = time.monotonic() - since
        checks = [check async for check in smoke_test(EngineOptions(), lambda text: None)]
    assert (check.verdict, check.text) == ("problem", "an engine listens but does not respond; it may hang")
    assert [(one.name, one.verdict, one.text) for one in checks] == [("loading", "problem", NOT_RESPONDING)]
    add_row("`doctor` on a hung engine", f"{check.text}. {check.advice}", seconds, "")
