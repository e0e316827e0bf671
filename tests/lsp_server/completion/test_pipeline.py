"""The pipeline's requests to the model, their priorities and their reuse, with a scripted model."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes.clock import ManualClock
from fakes.scripted_engine import SETTINGS, PipelineHarness, ScriptedEngine
from support.waiting import settle

from inference.text.prompts import Snippet


async def test_other_snippets_miss_the_cache():
    """An edit in the file that defines the called function changes them."""
    person, old, new = (
        PipelineHarness(ScriptedEngine({"x = ": "f(1)"})),
        Snippet("b.py", "def f(a)"),
        Snippet("b.py", "def f()"),
    )
    for snippets in ((old,), (old,), (new,), ()):
        assert await person.sees("x = ", snippets=snippets) == ["f(1)"]
    assert [request.context for request in person.model.asked] == [(old,), (new,), ()]


async def test_retrained_adapter_misses_the_cache():
    person = PipelineHarness(ScriptedEngine({"x = ": "1"}))
    for size in (10, 10, 11):
        assert await person.sees("x = ", adapter="mine", adapter_version=((7, size, 0),)) == ["<mine>1"]
    assert len(person.model.asked) == 2


async def test_prefetch_uses_the_same_snippets_and_is_cached():
    snippet = Snippet("b.py", "def f(a)")
    person = PipelineHarness(ScriptedEngine({"x = ": "f(", "x = <mine>f(": "y)"}))
    known = {"snippets": (snippet,), "adapter_version": ((7, 10, 0),), "adapter": "mine"}
    asked = person.asks("x = ", **known)
    person.suggestions.prefetch(asked, (await person.suggestions.suggest(asked))[0])
    assert await person.sees("x = <mine>f(", **known) == ["<mine>y)"]
    assert [request.context for request in person.model.asked] == [(snippet,), (snippet,)]


async def test_alternatives_are_sampled_and_unique():
    model = ScriptedEngine({"x = ": "a1", ("x = ", 1): "b1", ("x = ", 2): "a1"})
    person = PipelineHarness(model)
    assert await person.sees("x = ", by_hand=True, count=3) == ["a1", "b1"]
    asked = [(request.sampling.temperature, request.sampling.seed) for request in model.asked]
    assert asked == [(0.0, None), (0.8, 1), (0.8, 2)]
    assert person.record.alternatives == 1


async def test_typing_along_an_alternative_hits_the_cache():
    model = ScriptedEngine({"x = ": "a1", ("x = ", 1): "b1"})
    person = PipelineHarness(model)
    await person.sees("x = ", by_hand=True, count=2)
    assert (await person.sees("x = b"), await person.sees("x = a"), await person.sees("x = ")) == (["1"], ["1"], ["a1"])
    assert len(model.asked) == 2


async def test_failed_alternatives_leave_the_first_text():
    person = PipelineHarness(ScriptedEngine({"x = ": "a1", ("x = ", 1): "boom", ("x = ", 2): "c1"}))
    assert (await person.sees("x = ", by_hand=True, count=3))[0] == "a1"


async def test_prefetch_has_low_priority_and_is_cached():
    model = ScriptedEngine({"x = ": "f(", "x = f(": "y)"})
    person = PipelineHarness(model)
    asked = person.asks("x = ")
    (text,) = await person.suggestions.suggest(asked)
    person.suggestions.prefetch(asked, text)
    await settle()
    assert [(request.prompt, request.priority) for request in model.asked] == [
        ("x = ", "completion"),
        ("x = f(", "prefetch"),
    ]
    assert await person.sees("x = f(") == ["y)"]
    assert (len(model.asked), person.record.source) == (2, "same")


async def test_prefetch_goes_on_while_typing_towards_it():
    model = ScriptedEngine({"x = ": "f(", "x = f(": "y|)"})
    person = PipelineHarness(model)
    for before, left in (("x = ", "f("), ("x = f", "(")):
        asked = person.asks(before)
        assert await person.suggestions.suggest(asked) == [left]
        person.suggestions.prefetch(asked, left)
        await settle()
    assert (model.prompts, model.left) == (["x = ", "x = f("], [])
    accepted = asyncio.ensure_future(person.sees("x = f("))
    await settle()
    model.go.set()
    assert (await accepted, person.record.source) == (["y)"], "running")
    assert len(model.asked) == 2


async def test_waiting_prefetch_is_requested_again_with_priority():
    """Otherwise it would wait behind a running chat."""
    model = ScriptedEngine({"x = ": "f(", "x = f(": "|y)"})
    person = PipelineHarness(model)
    asked = person.asks("x = ")
    person.suggestions.prefetch(asked, (await person.suggestions.suggest(asked))[0])
    await settle()
    accepted = asyncio.ensure_future(person.sees("x = f("))
    await settle()
    assert [request.priority for request in model.asked] == ["completion", "prefetch", "completion"]
    assert model.left == ["x = f("]
    model.go.set()
    assert await accepted == ["y)"]


async def test_prefetch_is_stopped_when_typing_diverges():
    model = ScriptedEngine({"x = ": "f(", "x = f(": "y|)", "x = g": "(z)"})
    person = PipelineHarness(model)
    asked = person.asks("x = ")
    person.suggestions.prefetch(asked, (await person.suggestions.suggest(asked))[0])
    await settle()
    assert await person.sees("x = g") == ["(z)"]
    await settle()
    assert model.left == ["x = f("]


async def test_matching_keystrokes_share_one_generation():
    model = ScriptedEngine({"x = ": "foo|(1)"})
    person = PipelineHarness(model)
    first = asyncio.ensure_future(person.sees("x = "))
    await settle()
    second = asyncio.ensure_future(person.sees("x = fo"))
    await settle()
    model.go.set()
    assert (await first, await second, model.prompts) == (["foo(1)"], ["o(1)"], ["x = "])


async def test_later_mismatch_starts_a_new_generation():
    """The text is compared up to its end, so a wrong text is never shown."""
    model = ScriptedEngine({"x = ": "f|oo", "x = fa": "r"})
    person = PipelineHarness(model)
    first = asyncio.ensure_future(person.sees("x = "))
    await settle()
    second = asyncio.ensure_future(person.sees("x = fa"))
    await settle()
    assert model.prompts == ["x = "]
    model.go.set()
    assert (await first, await second, model.prompts) == (["foo"], ["r"], ["x = ", "x = fa"])


async def test_invoked_request_retries_a_cut_completion():
    model = ScriptedEngine({"x = ": "fo"}, cause="deadline")
    person = PipelineHarness(model)
    assert (await person.sees("x = "), await person.sees("x = ")) == (["fo"], ["fo"])
    assert len(model.asked) == 1
    await person.sees("x = ", by_hand=True)
    assert [request.deadline_ms for request in model.asked] == [5000, 20000]


async def test_discarded_generation_counts_towards_the_deadline():
    """Otherwise a user would wait for an earlier keystroke's generation, and then the full deadline again."""
    model, clock = ScriptedEngine({"x = ": "foo|xar", "x = foob": "ar"}), ManualClock()
    person = PipelineHarness(model)
    person.suggestions.clock = clock
    first = asyncio.ensure_future(person.sees("x = "))
    await settle()
    second = asyncio.ensure_future(person.sees("x = foob"))
    await settle()
    clock.now += 1.5
    model.go.set()
    assert await second == ["ar"]
    await first
    assert [request.deadline_ms for request in model.asked] == [5000, 3500]


async def test_text_without_the_adapter_is_not_cached():
    """The adapter may be available at the next keystroke."""
    model = ScriptedEngine({"x = ": "foo"}, refuses={1})
    person = PipelineHarness(model)
    assert await person.sees("x = ", adapter="mine") == ["foo"]
    assert person.record.adapter == ""
    assert await person.sees("x = ", adapter="mine") == ["<mine>foo"]
    assert person.record.adapter == "mine"


async def test_refused_prefetch_is_not_cached_as_the_adapters():
    """The refusal concerns the prefetch. The request before it used the adapter."""
    model = ScriptedEngine({"x = ": "a", "x = <mine>a": "b"}, refuses={2})
    person = PipelineHarness(model)
    asked = person.asks("x = ", adapter="mine")
    [text] = await person.suggestions.suggest(asked)
    person.suggestions.prefetch(asked, text)
    await settle()
    assert asked.record.adapter == "mine"
    assert await person.sees("x = <mine>a", adapter="mine") == ["<mine>b"]


async def test_nothing_is_prefetched_after_an_adapter_refusal():
    """The prefetch would not use the adapter either and could not be cached."""
    person = PipelineHarness(ScriptedEngine({"x = ": "a"}, refuses={1}))
    asked = person.asks("x = ", adapter="mine")
    [text] = await person.suggestions.suggest(asked)
    person.suggestions.prefetch(asked, text)
    await settle()
    assert person.model.prompts == ["x = ", "x = "]


@pytest.mark.parametrize(
    ("text", "why"), [("", "the model had nothing to add"), ("  \n", "the model had nothing to add")]
)
async def test_record_has_the_reason_for_empty_cached_or_not(text, why):
    person = PipelineHarness(ScriptedEngine({"x = ": text}))
    for source in ("", "same"):
        assert await person.sees("x = ") == []
        record = person.record
        assert (record.result, record.reason, record.source) == ("empty", why, source)


async def test_failure_is_recorded_and_not_cached():
    person = PipelineHarness(ScriptedEngine({"x = ": "boom"}))
    for _ in range(2):
        assert await person.sees("x = ") == []
        assert (person.record.result, person.record.reason) == ("failed", "The engine failed.")
    assert len(person.model.asked) == 2


@pytest.mark.parametrize(("least", "shown"), [(0.4, ["n"]), (0.6, [])])
async def test_what_the_model_is_not_sure_of_is_not_shown_to_who_types(least, shown):
    """The token is half as likely as not. The trace says why nothing came."""
    model = ScriptedEngine(infill="n")
    person = PipelineHarness(model, replace(SETTINGS, min_confidence=least))
    assert await person.sees("x = ") == shown
    assert person.record.filter == ("" if shown else "confidence")
    assert ("minConfidence" in person.record.reason) == (not shown)


async def test_who_asks_by_hand_sees_it_all_the_same():
    person = PipelineHarness(model := ScriptedEngine(infill="n"), replace(SETTINGS, min_confidence=0.6))
    assert (await person.sees("x = "), await person.sees("x = ", by_hand=True)) == ([], ["n"])
    assert len(model.asked) == 1


async def test_who_types_on_into_what_was_doubted_asks_no_model_again():
    """Half of the word that the model doubted is typed: of the rest it is sure."""
    person = PipelineHarness(model := ScriptedEngine(infill="name"), replace(SETTINGS, min_confidence=0.6))
    assert [await person.sees(text) for text in ("x = ", "x = n", "x = na")] == [[], ["ame"], ["me"]]
    assert (person.record.result, person.record.source) == ("shown", "typed")
    assert len(model.asked) == 1


@pytest.mark.parametrize(("least", "logprobs"), [(0.0, None), (0.5, 0)])
async def test_the_engine_is_asked_how_sure_it_is_only_where_that_matters(least, logprobs):
    model = ScriptedEngine(infill="n")
    await PipelineHarness(model, replace(SETTINGS, min_confidence=least)).sees("x = ")
    assert model.asked[0].sampling.logprobs == logprobs
