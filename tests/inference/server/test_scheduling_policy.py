"""Whose step is next, played through on a clock that only the steps move."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from inference.api.requests import Priority
from inference.server.scheduler import (
    INTERRUPTION_SECONDS,
    MAX_REMEMBERED_SESSIONS,
    MAX_WAIT_SECONDS,
    TURN_SECONDS,
    SchedulingPolicy,
)


@dataclass(eq=False)
class Played:
    """A job of so many steps; ``grows`` where each of them adds to the answer."""

    number: int
    priority: Priority
    session: str
    left: int
    submitted: float = 0.0
    grows: bool = True


@dataclass
class Play:
    """Steps take ``step`` seconds. ``taken`` are the sessions stepped, in order; ``when`` the seconds they began at."""

    step: float = 0.1
    now: float = 0.0
    order: SchedulingPolicy = field(default_factory=SchedulingPolicy)
    jobs: list[Played] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    when: list[float] = field(default_factory=list)
    count: int = 0

    def add(self, priority: Priority, session: str, steps: int, grows: bool = True) -> None:
        self.count += 1
        self.jobs.append(Played(self.count, priority, session, steps, self.now, grows))

    def run(self, steps: int = 1_000_000) -> list[str]:
        for _ in range(steps):
            if not self.jobs:
                break
            job = self.order.next(self.jobs, self.now)
            self.taken.append(job.session)
            self.when.append(self.now)
            self.now += self.step
            job.left -= 1
            if job.grows:
                self.order.grew(job)
            if not job.left:
                self.jobs.remove(job)
        return self.taken

    def waits(self, session: str) -> list[float]:
        """Seconds between its steps, and before the first."""
        steps = [when for when, name in zip(self.when, self.taken, strict=True) if name == session]
        return [round(b - a, 6) for a, b in zip([0.0, *steps], steps, strict=False)]


def test_completions_come_before_chats_before_prefetches():
    play = Play(step=0.01)
    for priority in ("prefetch", "chat", "completion"):
        play.add(priority, priority, 2)
    assert play.run() == ["completion"] * 2 + ["chat"] * 2 + ["prefetch"] * 2


@pytest.mark.parametrize("priority", ["chat", "prefetch"])
def test_lower_class_waits_no_longer_than_its_patience_and_a_step(priority):
    """However many windows complete without end."""
    play = Play()
    play.add("completion", "typing", 1000)
    play.add(priority, "other", 1000)
    play.run(200)
    waits = play.waits("other")
    assert len(waits) >= 9
    assert max(waits) <= MAX_WAIT_SECONDS[priority] + play.step


def test_chat_costs_a_completion_at_most_one_step_in_its_patience():
    play = Play()
    play.add("completion", "typing", 50)
    play.add("chat", "chatting", 1000)
    play.run()
    during = play.taken[: len(play.taken) - play.taken[::-1].index("typing")]
    assert during.count("chatting") <= len(during) * play.step / MAX_WAIT_SECONDS["chat"]


def test_completion_that_comes_while_a_chat_runs_is_next():
    play = Play()
    play.add("chat", "chatting", 1000)
    play.run(7)
    play.add("completion", "typing", 3)
    assert play.run(3)[-3:] == ["typing"] * 3


def test_prefetch_is_not_starved_by_chats_either():
    play = Play()
    play.add("chat", "chatting", 1000)
    play.add("prefetch", "ahead", 1000)
    play.run(200)
    assert max(play.waits("ahead")) <= MAX_WAIT_SECONDS["prefetch"] + play.step


def test_windows_have_their_turns_one_answer_each():
    """A window with many requests does not come before one with a single one."""
    play = Play(step=0.01)
    for _ in range(3):
        play.add("completion", "greedy", 2)
    play.add("completion", "modest", 2)
    play.add("completion", "third", 2)
    assert play.run() == ["greedy"] * 2 + ["modest"] * 2 + ["third"] * 2 + ["greedy"] * 4


def test_answers_of_one_window_come_in_order_of_arrival():
    play = Play(step=0.01)
    for n in (1, 2, 3):
        play.add("completion", "one", n)
    numbers = [job.number for job in play.jobs]
    play.run()
    assert numbers == [1, 2, 3]
    assert play.now == pytest.approx(0.06)


def test_long_chats_of_two_windows_alternate():
    play = Play(step=0.125)
    play.add("chat", "a", 20)
    play.add("chat", "b", 20)
    turn = round(TURN_SECONDS / play.step)
    assert play.run(4 * turn) == ["a"] * turn + ["b"] * turn + ["a"] * turn + ["b"] * turn


def test_short_completion_has_its_turn_while_a_long_prompt_is_read():
    """After at most TURN_SECONDS and a step, and then until it has ended if it is quick."""
    play = Play()
    play.add("completion", "reading", 100, grows=False)
    play.add("completion", "short", 2)
    turn = round(TURN_SECONDS / play.step)
    assert play.run(turn + 5) == ["reading"] * turn + ["short"] * 2 + ["reading"] * 3


def test_each_of_many_windows_has_a_guest_turn_while_a_long_prompt_is_read():
    play = Play(step=0.05)
    play.add("completion", "reading", 1000, grows=False)
    for name in "abcd":
        play.add("completion", name, 1000, grows=False)
    play.run(400)
    assert all(max(play.waits(name)) < 4 * (2 * TURN_SECONDS + INTERRUPTION_SECONDS) * 3 for name in "abcd")
    assert max(play.waits("reading")) <= INTERRUPTION_SECONDS + 2 * play.step


def test_reading_has_most_of_the_time_and_ever_more_of_it():
    """Else two prompts that do not fit into memory together would be read again and again, and never answered."""
    play = Play(step=0.05)
    play.add("chat", "reading", 10_000, grows=False)
    play.add("chat", "b", 10_000, grows=False)
    play.run(2_000)
    early, late = (play.taken[part].count("reading") / 200 for part in (slice(200), slice(1_800, 2_000)))
    assert 0.6 < early < 0.85
    assert late > 0.9


def test_turn_ends_in_time_once_a_long_prompt_was_read():
    play = Play(step=0.125)
    play.add("chat", "reading", 40, grows=False)
    play.add("chat", "b", 40)
    play.run(11)
    play.jobs[0].grows = True
    assert play.run(10).count("b") >= 4


def test_alone_a_window_keeps_its_turn():
    play = Play()
    play.add("chat", "a", 20)
    play.add("chat", "a", 1)
    play.run()
    assert play.taken == ["a"] * 21


def test_of_windows_long_gone_nothing_is_kept():
    play = Play()
    for n in range(MAX_REMEMBERED_SESSIONS + 50):
        play.add("completion", str(n), 1)
    play.run()
    assert len(play.order._served) == MAX_REMEMBERED_SESSIONS
