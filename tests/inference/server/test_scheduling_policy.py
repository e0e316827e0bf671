"""The scheduling policy, simulated on a clock that only the steps advance."""

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
class SimulatedJob:
    """A job with ``left`` steps; ``grows`` if each step produces text."""

    number: int
    priority: Priority
    session: str
    left: int
    submitted: float = 0.0
    grows: bool = True


@dataclass
class Simulation:
    """Each step takes ``step`` seconds. ``taken`` has the session of each step, ``when`` its start in seconds."""

    step: float = 0.1
    now: float = 0.0
    policy: SchedulingPolicy = field(default_factory=SchedulingPolicy)
    jobs: list[SimulatedJob] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    when: list[float] = field(default_factory=list)
    count: int = 0

    def add(self, priority: Priority, session: str, steps: int, grows: bool = True) -> None:
        self.count += 1
        self.jobs.append(SimulatedJob(self.count, priority, session, steps, self.now, grows))

    def run(self, steps: int = 1_000_000) -> list[str]:
        for _ in range(steps):
            if not self.jobs:
                break
            job = self.policy.next(self.jobs, self.now)
            self.taken.append(job.session)
            self.when.append(self.now)
            self.now += self.step
            job.left -= 1
            if job.grows:
                self.policy.grew(job)
            if not job.left:
                self.jobs.remove(job)
        return self.taken

    def waits(self, session: str) -> list[float]:
        """Return the seconds before its first step and between its steps."""
        steps = [when for when, name in zip(self.when, self.taken, strict=True) if name == session]
        return [round(b - a, 6) for a, b in zip([0.0, *steps], steps, strict=False)]


def test_completions_precede_chats_and_chats_precede_prefetches():
    simulation = Simulation(step=0.01)
    for priority in ("prefetch", "chat", "completion"):
        simulation.add(priority, priority, 2)
    assert simulation.run() == ["completion"] * 2 + ["chat"] * 2 + ["prefetch"] * 2


@pytest.mark.parametrize("priority", ["chat", "prefetch"])
def test_lower_class_gets_a_step_within_its_maximum_wait(priority):
    """This holds even if completions never stop. The wait may exceed the bound by one step."""
    simulation = Simulation()
    simulation.add("completion", "typing", 1000)
    simulation.add(priority, "other", 1000)
    simulation.run(200)
    waits = simulation.waits("other")
    assert len(waits) >= 9
    assert max(waits) <= MAX_WAIT_SECONDS[priority] + simulation.step


def test_chat_costs_completions_one_step_per_maximum_wait():
    simulation = Simulation()
    simulation.add("completion", "typing", 50)
    simulation.add("chat", "chatting", 1000)
    simulation.run()
    during = simulation.taken[: len(simulation.taken) - simulation.taken[::-1].index("typing")]
    assert during.count("chatting") <= len(during) * simulation.step / MAX_WAIT_SECONDS["chat"]


def test_completion_overtakes_a_running_chat():
    simulation = Simulation()
    simulation.add("chat", "chatting", 1000)
    simulation.run(7)
    simulation.add("completion", "typing", 3)
    assert simulation.run(3)[-3:] == ["typing"] * 3


def test_prefetch_is_not_starved_by_chats():
    simulation = Simulation()
    simulation.add("chat", "chatting", 1000)
    simulation.add("prefetch", "ahead", 1000)
    simulation.run(200)
    assert max(simulation.waits("ahead")) <= MAX_WAIT_SECONDS["prefetch"] + simulation.step


def test_sessions_take_turns_of_one_request_each():
    """A session with many requests does not delay one with a single request."""
    simulation = Simulation(step=0.01)
    for _ in range(3):
        simulation.add("completion", "greedy", 2)
    simulation.add("completion", "modest", 2)
    simulation.add("completion", "third", 2)
    assert simulation.run() == ["greedy"] * 2 + ["modest"] * 2 + ["third"] * 2 + ["greedy"] * 4


def test_requests_of_one_session_run_in_order_of_arrival():
    simulation = Simulation(step=0.01)
    for n in (1, 2, 3):
        simulation.add("completion", "one", n)
    numbers = [job.number for job in simulation.jobs]
    simulation.run()
    assert numbers == [1, 2, 3]
    assert simulation.now == pytest.approx(0.06)


def test_long_chats_of_two_sessions_alternate():
    simulation = Simulation(step=0.125)
    simulation.add("chat", "a", 20)
    simulation.add("chat", "b", 20)
    turn = round(TURN_SECONDS / simulation.step)
    assert simulation.run(4 * turn) == ["a"] * turn + ["b"] * turn + ["a"] * turn + ["b"] * turn


def test_short_completion_interrupts_a_long_prefill():
    """The interruption comes after at most TURN_SECONDS and a step. A quick completion ends within it."""
    simulation = Simulation()
    simulation.add("completion", "prefilling", 100, grows=False)
    simulation.add("completion", "short", 2)
    turn = round(TURN_SECONDS / simulation.step)
    assert simulation.run(turn + 5) == ["prefilling"] * turn + ["short"] * 2 + ["prefilling"] * 3


def test_all_waiting_sessions_interrupt_a_long_prefill_in_turn():
    simulation = Simulation(step=0.05)
    simulation.add("completion", "prefilling", 1000, grows=False)
    for name in "abcd":
        simulation.add("completion", name, 1000, grows=False)
    simulation.run(400)
    assert all(max(simulation.waits(name)) < 4 * (2 * TURN_SECONDS + INTERRUPTION_SECONDS) * 3 for name in "abcd")
    assert max(simulation.waits("prefilling")) <= INTERRUPTION_SECONDS + 2 * simulation.step


def test_prefill_gets_most_of_the_time_and_a_growing_share():
    """Otherwise two prompts that don't fit into KV memory together would evict each other forever."""
    simulation = Simulation(step=0.05)
    simulation.add("chat", "prefilling", 10_000, grows=False)
    simulation.add("chat", "b", 10_000, grows=False)
    simulation.run(2_000)
    early, late = (simulation.taken[part].count("prefilling") / 200 for part in (slice(200), slice(1_800, 2_000)))
    assert 0.6 < early < 0.85
    assert late > 0.9


def test_turn_ends_after_the_usual_time_once_a_long_prefill_ends():
    simulation = Simulation(step=0.125)
    simulation.add("chat", "prefilling", 40, grows=False)
    simulation.add("chat", "b", 40)
    simulation.run(11)
    simulation.jobs[0].grows = True
    assert simulation.run(10).count("b") >= 4


def test_session_without_competitors_keeps_its_turn():
    simulation = Simulation()
    simulation.add("chat", "a", 20)
    simulation.add("chat", "a", 1)
    simulation.run()
    assert simulation.taken == ["a"] * 21


def test_old_sessions_are_removed_from_the_policy():
    simulation = Simulation()
    for n in range(MAX_REMEMBERED_SESSIONS + 50):
        simulation.add("completion", str(n), 1)
    simulation.run()
    assert len(simulation.policy._served) == MAX_REMEMBERED_SESSIONS
