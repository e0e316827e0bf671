"""The model thread: order of requests, cancellation, errors and shutdown."""

from __future__ import annotations

import queue
import threading

import pytest
from fakes.scripted_model import ScriptedModel

from inference.api.events import Failed, Finished, Outcome, Sampling, TextChunk
from inference.server.scheduler import TURN_SECONDS, Scheduler


@pytest.fixture
def scheduler():
    """A scheduler that is not running yet, so that a test can queue jobs before the first one runs."""
    scheduler = Scheduler()
    thread = threading.Thread(target=scheduler.run)
    scheduler.start = thread.start  # type: ignore[attr-defined]
    yield scheduler
    scheduler.close()
    if thread.is_alive():
        thread.join(10)


def submit(scheduler, model, name: str, priority="completion", **options):
    events: queue.Queue = queue.Queue()
    job = scheduler.submit(lambda: model.complete(name, "", Sampling(), None, None), priority, events.put, **options)
    return job, events


def drain(events) -> list:
    received = [events.get(timeout=10)]
    while not isinstance(received[-1], Finished | Failed):
        received.append(events.get(timeout=10))
    return received


def test_events_come_in_order_and_end_with_finished(scheduler):
    _, events = submit(scheduler, ScriptedModel(["x", "y"]), "p")
    scheduler.start()
    received = drain(events)
    assert received[:-1] == [TextChunk("x"), TextChunk("y")]
    assert isinstance(received[-1], Finished)
    assert received[-1].outcome.queued_ms > 0


def test_completion_runs_before_chat_and_prefetch(scheduler):
    model = ScriptedModel(["1", "2", "3"])
    names = [("prefetch", "prefetch"), ("chat", "chat"), ("completion", "completion")]
    waiting = [submit(scheduler, model, name, priority)[1] for name, priority in names]
    scheduler.start()
    for events in waiting:
        drain(events)
    assert [line for line in model.log if ":" in line] == [
        f"{name}: {n}" for name in ("completion", "chat", "prefetch") for n in "123"
    ]


def test_running_chat_is_interrupted_by_a_completion(scheduler):
    """The chat has produced its first chunk when the completion arrives, and is blocked in its second step."""
    chat = ScriptedModel(["1", "2", "3"], hold=True)
    _, chatting = submit(scheduler, chat, "chat", "chat")
    scheduler.start()
    assert chatting.get(timeout=10) == TextChunk("1")
    completion = ScriptedModel(["x"])
    completion.log = chat.log
    _, completing = submit(scheduler, completion, "completion")
    chat.go.set()
    drain(completing)
    assert isinstance(drain(chatting)[-1], Finished)
    assert chat.log.index("completion: x") < chat.log.index("chat: 3")


def test_jobs_of_equal_priority_run_in_order_of_arrival(scheduler):
    model = ScriptedModel(["1", "2"])
    first, second = (submit(scheduler, model, name)[1] for name in ("a", "b"))
    scheduler.start()
    drain(first)
    drain(second)
    assert model.log == ["begin a", "a: 1", "a: 2", "begin b", "b: 1", "b: 2"]


def test_job_cancelled_in_the_queue_never_begins(scheduler):
    model = ScriptedModel()
    job, _ = submit(scheduler, model, "never")
    scheduler.cancel(job)
    _, events = submit(scheduler, model, "next")
    scheduler.start()
    drain(events)
    assert not any("never" in line for line in model.log)


def test_running_job_is_cancelled_before_its_next_step(scheduler):
    model = ScriptedModel(["1", "2", "3"], hold=True)
    job, events = submit(scheduler, model, "p")
    scheduler.start()
    assert events.get(timeout=10) == TextChunk("1")
    scheduler.cancel(job)
    model.go.set()
    assert model.closed.wait(10)
    assert "p: 3" not in model.log
    assert model.log[-1] == "closed p"


def test_error_fails_its_job_and_not_the_thread(scheduler):
    _, broken = submit(scheduler, ScriptedModel(["boom"]), "p")
    _, refused = submit(scheduler, ScriptedModel(), "refuse")
    _, valid = submit(scheduler, ScriptedModel(["x"]), "p")
    scheduler.start()
    assert drain(broken) == [Failed("The engine failed at this request (RuntimeError); its log has the details.")]
    assert drain(refused) == [Failed("This cannot be put to the model.", "invalid_request_error")]
    assert isinstance(drain(valid)[-1], Finished)


def test_closing_fails_queued_jobs(scheduler):
    _, events = submit(scheduler, ScriptedModel(), "p")
    scheduler.close()
    scheduler.start()
    assert drain(events) == [Failed("The engine is shutting down.", "unavailable")]


def test_sessions_take_turns(scheduler):
    model = ScriptedModel(["1"])
    waiting = [submit(scheduler, model, name, session=name[0])[1] for name in ("a1", "a2", "b1")]
    scheduler.start()
    for events in waiting:
        drain(events)
    assert [line for line in model.log if ":" in line] == ["a1: 1", "b1: 1", "a2: 1"]


def test_calls_run_on_the_model_thread_before_the_next_step(scheduler):
    model, called = ScriptedModel(["1"]), queue.Queue()
    _, events = submit(scheduler, model, "p")
    scheduler.call(lambda: called.put((threading.current_thread().ident, list(model.log))))
    scheduler.call(lambda: called.put((threading.current_thread().ident, list(model.log))))
    scheduler.start()
    drain(events)
    first, second = called.get(timeout=10), called.get(timeout=10)
    assert first == second
    assert first[1] == []
    assert first[0] != threading.current_thread().ident


def test_expired_job_fails_even_behind_others_in_the_queue():
    now = 0.0
    scheduler = Scheduler(lambda: now)
    model = ScriptedModel(["1"])
    _, late = submit(scheduler, model, "late", expires=5.0)
    _, valid = submit(scheduler, model, "well", expires=20.0)
    now = 10.0
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    assert drain(late) == [Failed("The engine was too busy to begin with this request in time.", "unavailable")]
    assert isinstance(drain(valid)[-1], Finished)
    scheduler.close()
    thread.join(10)
    assert not any("late" in line for line in model.log)


def test_job_submitted_after_closing_fails(scheduler):
    scheduler.close()
    _, events = submit(scheduler, ScriptedModel(), "p")
    assert drain(events) == [Failed("The engine is shutting down.", "unavailable")]


def test_out_of_memory_has_a_message_for_the_user(scheduler):
    class Small(ScriptedModel):
        def complete(self, prompt, suffix, sampling, rule, options, context=()):
            raise MemoryError

    _, events = submit(scheduler, Small(), "p")
    scheduler.start()
    (failed,) = drain(events)
    assert failed.message.startswith("The model ran out of memory for this request")


def test_short_job_interrupts_a_long_prefill_of_another_session():
    """Each prefill chunk advances the clock by a tenth of a second."""
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
