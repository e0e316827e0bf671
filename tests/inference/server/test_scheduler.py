"""One model thread: who is served first, who is stopped, and who is told what went wrong."""

from __future__ import annotations

import queue
import threading

import pytest
from fakes.answerer import ScriptedAnswerer

from inference.api.events import Failed, Finished, Outcome, TextChunk
from inference.server.scheduler import TURN_SECONDS, Scheduler


@pytest.fixture
def scheduler():
    """A scheduler that is not running yet, so that a test can queue jobs before the first is served."""
    scheduler = Scheduler()
    thread = threading.Thread(target=scheduler.run)
    scheduler.start = thread.start  # type: ignore[attr-defined]
    yield scheduler
    scheduler.close()
    if thread.is_alive():
        thread.join(10)


def submit(scheduler, answerer, name: str, priority="completion", **about):
    events: queue.Queue = queue.Queue()
    job = scheduler.submit(lambda: answerer.complete(name, "", None, None, None), priority, events.put, **about)
    return job, events


def drain(events) -> list:
    got = [events.get(timeout=10)]
    while not isinstance(got[-1], Finished | Failed):
        got.append(events.get(timeout=10))
    return got


def test_events_come_in_order_and_end_with_finished(scheduler):
    _, events = submit(scheduler, ScriptedAnswerer(["x", "y"]), "p")
    scheduler.start()
    got = drain(events)
    assert got[:-1] == [TextChunk("x"), TextChunk("y")]
    assert isinstance(got[-1], Finished)
    assert got[-1].outcome.queued_ms > 0


def test_completion_overtakes_chat_and_prefetch_between_two_steps(scheduler):
    answerer = ScriptedAnswerer(["1", "2", "3"])
    names = [("prefetch", "prefetch"), ("chat", "chat"), ("completion", "completion")]
    waiting = [submit(scheduler, answerer, name, priority)[1] for name, priority in names]
    scheduler.start()
    for events in waiting:
        drain(events)
    assert [line for line in answerer.log if ":" in line] == [
        f"{name}: {n}" for name in ("completion", "chat", "prefetch") for n in "123"
    ]


def test_running_chat_gives_way_to_a_completion_and_goes_on(scheduler):
    """The chat has said its first piece when the completion comes, and waits inside its second step."""
    chat = ScriptedAnswerer(["1", "2", "3"], hold=True)
    _, chatting = submit(scheduler, chat, "chat", "chat")
    scheduler.start()
    assert chatting.get(timeout=10) == TextChunk("1")
    completion = ScriptedAnswerer(["x"])
    completion.log = chat.log
    _, completing = submit(scheduler, completion, "completion")
    chat.go.set()
    drain(completing)
    assert isinstance(drain(chatting)[-1], Finished)
    assert chat.log.index("completion: x") < chat.log.index("chat: 3")


def test_same_priority_is_served_in_order_of_arrival(scheduler):
    answerer = ScriptedAnswerer(["1", "2"])
    first, second = (submit(scheduler, answerer, name)[1] for name in ("a", "b"))
    scheduler.start()
    drain(first)
    drain(second)
    assert answerer.log == ["begin a", "a: 1", "a: 2", "begin b", "b: 1", "b: 2"]


def test_cancelled_in_the_queue_never_begins(scheduler):
    answerer = ScriptedAnswerer()
    job, _ = submit(scheduler, answerer, "never")
    scheduler.cancel(job)
    _, events = submit(scheduler, answerer, "next")
    scheduler.start()
    drain(events)
    assert not any("never" in line for line in answerer.log)


def test_cancelled_while_running_is_closed_before_its_next_step(scheduler):
    answerer = ScriptedAnswerer(["1", "2", "3"], hold=True)
    job, events = submit(scheduler, answerer, "p")
    scheduler.start()
    assert events.get(timeout=10) == TextChunk("1")
    scheduler.cancel(job)
    answerer.go.set()
    assert answerer.closed.wait(10)
    assert "p: 3" not in answerer.log
    assert answerer.log[-1] == "closed p"


def test_error_goes_to_who_waits_and_the_thread_lives_on(scheduler):
    _, broken = submit(scheduler, ScriptedAnswerer(["boom"]), "p")
    _, refused = submit(scheduler, ScriptedAnswerer(), "refuse")
    _, well = submit(scheduler, ScriptedAnswerer(["x"]), "p")
    scheduler.start()
    assert drain(broken) == [Failed("The engine failed at this request (RuntimeError); its log has the details.")]
    assert drain(refused) == [Failed("This cannot be put to the model.", "invalid_request_error")]
    assert isinstance(drain(well)[-1], Finished)


def test_closing_tells_those_who_wait(scheduler):
    _, events = submit(scheduler, ScriptedAnswerer(), "p")
    scheduler.close()
    scheduler.start()
    assert drain(events) == [Failed("The engine is shutting down.", "unavailable")]


def test_windows_take_turns(scheduler):
    answerer = ScriptedAnswerer(["1"])
    waiting = [submit(scheduler, answerer, name, window=name[0])[1] for name in ("a1", "a2", "b1")]
    scheduler.start()
    for events in waiting:
        drain(events)
    assert [line for line in answerer.log if ":" in line] == ["a1: 1", "b1: 1", "a2: 1"]


def test_what_is_called_comes_before_the_next_step_on_the_same_thread(scheduler):
    answerer, called = ScriptedAnswerer(["1"]), queue.Queue()
    _, events = submit(scheduler, answerer, "p")
    scheduler.call(lambda: called.put((threading.current_thread().ident, list(answerer.log))))
    scheduler.call(lambda: called.put((threading.current_thread().ident, list(answerer.log))))
    scheduler.start()
    drain(events)
    first, second = called.get(timeout=10), called.get(timeout=10)
    assert first == second
    assert first[1] == []
    assert first[0] != threading.current_thread().ident


def test_answer_that_could_not_begin_in_time_fails_although_others_are_before_it():
    now = 0.0
    scheduler = Scheduler(lambda: now)
    answerer = ScriptedAnswerer(["1"])
    _, late = submit(scheduler, answerer, "late", expires=5.0)
    _, well = submit(scheduler, answerer, "well", expires=20.0)
    now = 10.0
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    assert drain(late) == [Failed("The engine was too busy to begin with this request in time.", "unavailable")]
    assert isinstance(drain(well)[-1], Finished)
    scheduler.close()
    thread.join(10)
    assert not any("late" in line for line in answerer.log)


def test_after_closing_nothing_waits_for_ever(scheduler):
    scheduler.close()
    _, events = submit(scheduler, ScriptedAnswerer(), "p")
    assert drain(events) == [Failed("The engine is shutting down.", "unavailable")]


def test_out_of_memory_is_told_in_words(scheduler):
    class Small(ScriptedAnswerer):
        def complete(self, prompt, suffix, sampling, rule, options, context=()):
            raise MemoryError

    _, events = submit(scheduler, Small(), "p")
    scheduler.start()
    (failed,) = drain(events)
    assert failed.message.startswith("The model ran out of memory for this request")


def test_short_answer_does_not_wait_for_another_windows_long_prompt():
    """Chunks take a tenth of a second of a clock that only the steps move."""
    now, log = 0.0, []

    def steps(name: str, chunks: int):
        nonlocal now
        for _ in range(chunks):
            now += 0.1
            log.append(name)
            yield None
        yield Finished(Outcome("end"))

    scheduler = Scheduler(lambda: now)
    long, short = queue.Queue(), queue.Queue()
    scheduler.submit(lambda: steps("long", 600), "completion", long.put, "a", expires=600.0)
    scheduler.submit(lambda: steps("short", 2), "completion", short.put, "b", expires=600.0)
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    drain(short)
    drain(long)
    scheduler.close()
    thread.join(10)
    assert log.index("short") <= round(TURN_SECONDS / 0.1) + 1
    assert log.count("long") == 600
