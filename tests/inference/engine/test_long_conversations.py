"""A conversation longer than the context: reuse of the cache, and the counts in the outcome."""

from __future__ import annotations

from fakes.byte_llama import ByteTokenizer, tiny_reference

from inference.api.events import Finished, Outcome, Sampling, parse_outcome, timings, usage
from inference.engine.engine import Engine
from inference.models.catalog import STARTER
from inference.models.llama import Llama
from inference.text.prompts import Message


def test_long_conversation_mostly_reads_only_new_turns() -> None:
    """Old turns are dropped several at a time; in between, the rest stays cached."""
    engine = Engine(Llama(tiny_reference()), ByteTokenizer(), STARTER, {"completion": 600, "chat": 600})
    messages, outcomes = [Message("system", "S")], []
    for n in range(30):
        messages.append(Message("user", f"This is question number {n}."))
        outcomes.append(last(engine.chat(messages, Sampling(max_tokens=4))))
        messages.append(Message("assistant", "An answer."))
    assert outcomes[2].dropped_messages == 0 and outcomes[-1].dropped_messages > 30
    late = outcomes[10:]
    assert all(one.prompt_tokens <= 596 for one in late)
    new = [one.prompt_tokens - one.reused_tokens for one in late]
    assert sum(tokens < 100 for tokens in new) >= 14, "of twenty questions"
    assert sum(new) < 0.5 * sum(one.prompt_tokens for one in late)


def test_dropped_and_cut_counts_reach_the_client() -> None:
    outcome = Outcome("length", 10, 4, 2, dropped_messages=6, cut_tokens=3)
    assert parse_outcome("length", usage([outcome]), timings(outcome)) == outcome
    assert parse_outcome("stop", {}, {}) == Outcome("end"), "other servers do not send them"


def last(steps) -> Outcome:
    event = [event for event in steps if event is not None][-1]
    assert isinstance(event, Finished)
    return event.outcome
