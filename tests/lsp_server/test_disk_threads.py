"""File checks run outside the event loop, and a check that times out has a result."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from support.hostile_repository import add_ignore_file

from lsp_server import disk
from lsp_server.disk import check_privacy, run_in_background_thread, run_in_order


async def test_check_returns_the_reason(tmp_path):
    (tmp_path / ".gitignore").write_text("b.py\n")
    asked = [check_privacy(tmp_path / name, [tmp_path], ("*.sql",)) for name in ("a.py", "b.py", "c.sql", ".env")]
    assert await asyncio.gather(*asked) == [None, "ignored", "excluded", "secret"]


async def test_problems_are_reported_in_the_event_loop(tmp_path):
    add_ignore_file(tmp_path / "fifo", "fifo")
    reported: list[tuple[threading.Thread, str]] = []
    why = await check_privacy(
        tmp_path / "fifo" / "a.py", [tmp_path], (), lambda text: reported.append((threading.current_thread(), text))
    )
    ((thread, text),) = reported
    assert why == "unclear" and thread is threading.main_thread() and "fifo/.gitignore is a link or not" in text


async def test_loop_is_free_while_patterns_are_parsed(tmp_path):
    add_ignore_file(tmp_path / "many", "many")
    check = asyncio.ensure_future(check_privacy(tmp_path / "many" / "a.py", [tmp_path], ()))
    turns = 0
    while not check.done():
        await asyncio.sleep(0)
        turns += 1
    assert await check == "unclear" and turns > 20


async def test_check_that_times_out_is_unclear(tmp_path, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(disk, "SECONDS", 0.05)
    monkeypatch.setattr(disk, "privacy", lambda *_: go_on.wait(60) and None)
    try:
        assert await check_privacy(tmp_path / "a.py", [tmp_path], ()) == "unclear"
        with pytest.raises(TimeoutError):
            await run_in_order(time.monotonic)
        assert await run_in_background_thread(lambda: 1) == 1
    finally:
        go_on.set()


async def test_checks_run_in_order():
    done: list[int] = []
    await asyncio.gather(*(run_in_order(lambda n=n: done.append(n)) for n in range(100)))
    assert done == list(range(100))
