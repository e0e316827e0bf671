"""What a model is asked for, how urgently, and what is never asked twice; with a model that is told what to say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fakes.teller import Teller
from waiting import settle

from inference.generation.answer import Cause, Finished, Outcome, TextChunk
from inference.serving.client import EngineError
from inference.serving.wire import CompletionRequest
from inference.text.context import ContextChunk
from lsp_server.completion.shape import Shaped
from lsp_server.completion.suggest import Asked, Suggestions
from lsp_server.completion.trace import Record
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Position, Snapshot, take

SETTINGS = CompletionSettings(debounce_ms=0)
URI = "file:///a.py"


@dataclass
class Told:
    """Says ``texts`` by prompt, or by prompt and seed; "|" in one is where it stands still until ``go``."""

    texts: dict[str | tuple[str, int], str] = field(default_factory=dict)
    asked: list[CompletionRequest] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    cause: Cause = "end"

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        self.asked.append(request)
        prompt, seed = str(request.prompt), request.sampling.seed
        text = self.texts.get((prompt, seed) if seed else prompt, "")
        if text == "boom":
            raise EngineError("The engine failed.")
        try:
            first, still, rest = text.partition("|")
            if first:
                yield TextChunk(first)
            if still:
                await self.go.wait()
                yield TextChunk(rest)
            yield Finished(Outcome(self.cause))
        except GeneratorExit:
            self.left.append(prompt)
            raise
        except asyncio.CancelledError:
            self.left.append(prompt)
            raise

    @property
    def prompts(self) -> list[str]:
        return [str(request.prompt) for request in self.asked]


class AtOnce(Executor):
    """Needs no thread and no time."""

    def submit(self, fn, /, *args, **kwargs) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class Person:
    """Types into one document, and looks at what is suggested. Texts are put into shape ``beside``, or at once."""

    def __init__(self, model: Told | Teller, settings: CompletionSettings = SETTINGS, *, beside: bool = False) -> None:
        self.model, self.settings = model, settings
        self.suggestions = Suggestions() if beside else Suggestions(shaper=AtOnce())
        self.record = Record(URI, 0, False)

    def asks(self, before: str, *, by_hand: bool = False, adapter: str = "", **known) -> Asked:
        self.record = Record(URI, 0, by_hand, adapter=adapter)
        snapshot = take(before, Position(0, len(before)), "utf-32", uri=URI)
        return Asked(snapshot, self.settings, self.model, self.record, **known)

    async def sees(self, before: str, *, most: int = 1, **asked) -> list[str]:
        return await self.suggestions.suggest(self.asks(before, **asked), most)


class HeldShape:
    """Putting ``slow`` into shape takes until ``go``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.log: list[str] = []
        monkeypatch.setattr("lsp_server.completion.suggest.shape", self)

    def __call__(self, snapshot: Snapshot, text: str, *, cut: bool) -> Shaped:
        self.log.append(text)
        if text == "slow":
            self.begun.set()
            self.go.wait(5)
        return Shaped(text)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldShape]:
    shape = HeldShape(monkeypatch)
    yield shape
    shape.go.set()


async def begins(person: Person, held: HeldShape, before: str = "x = ", **asked) -> asyncio.Task[list[str]]:
    """A request whose answer is being put into shape."""
    request = asyncio.ensure_future(person.sees(before, **asked))
    assert await asyncio.to_thread(held.begun.wait, 5)
    return request


async def test_loop_goes_on_while_a_check_takes_long(held):
    """A key in another place is answered meanwhile, from memory and by the model's own stream."""
    person = Person(Told({"y = ": "1", "x = ": "slow"}), beside=True)
    assert await person.sees("y = ") == ["1"]
    first = await begins(person, held)
    assert not first.done()
    assert await person.sees("y = ") == ["1"]
    assert not first.done()
    held.go.set()
    assert await first == ["slow"]


async def test_key_that_agrees_with_what_is_being_shaped_waits_for_that(held):
    person = Person(Told({"x = ": "slow"}), beside=True)
    first = await begins(person, held)
    second = asyncio.ensure_future(person.sees("x = s"))
    await settle()
    held.go.set()
    assert (await first, await second, person.record.source) == (["slow"], ["low"], "running")
    assert person.model.prompts == ["x = "]


async def test_key_that_disagrees_is_asked_for_at_once_and_what_was_written_is_not_lost(held):
    """Texts are remembered in the order in which they were written: the newest is found first."""
    person = Person(Told({"x = ": "slow", "x = z": "ip"}), beside=True)
    first = await begins(person, held)
    second = asyncio.ensure_future(person.sees("x = z"))
    await settle()
    assert (person.model.prompts, second.done()) == (["x = ", "x = z"], False)
    held.go.set()
    assert (await first, await second, held.log) == (["slow"], ["ip"], ["slow", "ip"])
    assert (await person.sees("x = "), person.record.source) == (["slow"], "same")
    assert len(person.model.asked) == 2


@pytest.mark.parametrize("by_hand", [True, False])
async def test_cancelled_while_its_answer_is_shaped_ends_at_once_and_the_answer_is_kept(held, by_hand):
    person = Person(Told({"x = ": "slow"}), beside=True)
    first = await begins(person, held, by_hand=by_hand)
    first.cancel()
    await settle()
    assert first.cancelled()
    again = asyncio.ensure_future(person.sees("x = "))
    await settle()
    held.go.set()
    assert (await again, person.model.prompts) == (["slow"], ["x = "])


async def test_shutting_down_while_an_answer_is_shaped_gives_it(held):
    person = Person(Told({"x = ": "slow"}), beside=True)
    first = await begins(person, held)
    person.suggestions.generations.stop()
    held.go.set()
    assert await first == ["slow"]


async def test_what_fails_in_shaping_is_no_answer(monkeypatch):
    def broken(snapshot: Snapshot, text: str, *, cut: bool) -> Shaped:
        raise ValueError("a bug")

    monkeypatch.setattr("lsp_server.completion.suggest.shape", broken)
    person = Person(Told({"x = ": "1"}), beside=True)
    with pytest.raises(ValueError, match="a bug"):
        await person.sees("x = ")


async def test_other_context_of_other_files_is_another_question():
    """As after an edit in the file that defines what is called here."""
    person, old, new = Person(Told({"x = ": "f(1)"})), ContextChunk("b.py", "def f(a)"), ContextChunk("b.py", "def f()")
    for context in ((old,), (old,), (new,), ()):
        assert await person.sees("x = ", context=context) == ["f(1)"]
    assert [request.context for request in person.model.asked] == [(old,), (new,), ()]


async def test_adapter_trained_anew_under_its_name_is_asked_anew():
    person = Person(Told({"x = ": "1"}))
    for size in (10, 10, 11):
        assert await person.sees("x = ", adapter="mine", edition=((7, size, 0),)) == ["1"]
    assert len(person.model.asked) == 2


async def test_what_follows_is_asked_ahead_with_the_same_context_and_then_is_there():
    chunk = ContextChunk("b.py", "def f(a)")
    person = Person(Told({"x = ": "f(", "x = f(": "y)"}))
    known = {"context": (chunk,), "edition": ((7, 10, 0),), "adapter": "mine"}
    asked = person.asks("x = ", **known)
    person.suggestions.look_ahead(asked, (await person.suggestions.suggest(asked))[0])
    assert await person.sees("x = f(", **known) == ["y)"]
    assert [request.context for request in person.model.asked] == [(chunk,), (chunk,)]


async def test_alternatives_are_what_the_model_says_by_chance_and_each_is_offered_once():
    model = Told({"x = ": "a1", ("x = ", 1): "b1", ("x = ", 2): "a1"})
    person = Person(model)
    assert await person.sees("x = ", by_hand=True, most=3) == ["a1", "b1"]
    asked = [(request.sampling.temperature, request.sampling.seed) for request in model.asked]
    assert asked == [(0.0, None), (0.8, 1), (0.8, 2)]
    assert person.record.alternatives == 1


async def test_typing_on_with_an_alternative_asks_no_model():
    model = Told({"x = ": "a1", ("x = ", 1): "b1"})
    person = Person(model)
    await person.sees("x = ", by_hand=True, most=2)
    assert (await person.sees("x = b"), await person.sees("x = a"), await person.sees("x = ")) == (["1"], ["1"], ["a1"])
    assert len(model.asked) == 2


async def test_alternatives_that_fail_leave_the_first():
    person = Person(Told({"x = ": "a1", ("x = ", 1): "boom", ("x = ", 2): "c1"}))
    assert (await person.sees("x = ", by_hand=True, most=3))[0] == "a1"


async def test_what_follows_is_asked_ahead_without_urgency_and_then_is_there():
    model = Told({"x = ": "f(", "x = f(": "y)"})
    person = Person(model)
    asked = person.asks("x = ")
    (text,) = await person.suggestions.suggest(asked)
    person.suggestions.look_ahead(asked, text)
    await settle()
    assert [(request.prompt, request.priority) for request in model.asked] == [
        ("x = ", "completion"),
        ("x = f(", "prefetch"),
    ]
    assert await person.sees("x = f(") == ["y)"]
    assert (len(model.asked), person.record.source) == (2, "same")


async def test_what_was_asked_ahead_goes_on_while_the_person_types_that_way_and_is_not_asked_again():
    model = Told({"x = ": "f(", "x = f(": "y|)"})
    person = Person(model)
    for before, left in (("x = ", "f("), ("x = f", "(")):
        asked = person.asks(before)
        assert await person.suggestions.suggest(asked) == [left]
        person.suggestions.look_ahead(asked, left)
        await settle()
    assert (model.prompts, model.left) == (["x = ", "x = f("], [])
    accepted = asyncio.ensure_future(person.sees("x = f("))
    await settle()
    model.go.set()
    assert (await accepted, person.record.source) == (["y)"], "running")
    assert len(model.asked) == 2


async def test_what_was_asked_ahead_and_has_not_begun_is_asked_with_urgency_once_it_is_wanted():
    """Behind a chat it would come after it."""
    model = Told({"x = ": "f(", "x = f(": "|y)"})
    person = Person(model)
    asked = person.asks("x = ")
    person.suggestions.look_ahead(asked, (await person.suggestions.suggest(asked))[0])
    await settle()
    accepted = asyncio.ensure_future(person.sees("x = f("))
    await settle()
    assert [request.priority for request in model.asked] == ["completion", "prefetch", "completion"]
    assert model.left == ["x = f("]
    model.go.set()
    assert await accepted == ["y)"]


async def test_what_was_asked_ahead_is_left_when_the_person_goes_another_way():
    model = Told({"x = ": "f(", "x = f(": "y|)", "x = g": "(z)"})
    person = Person(model)
    asked = person.asks("x = ")
    person.suggestions.look_ahead(asked, (await person.suggestions.suggest(asked))[0])
    await settle()
    assert await person.sees("x = g") == ["(z)"]
    await settle()
    assert model.left == ["x = f("]


async def test_two_keys_that_agree_with_what_is_being_written_ask_once():
    model = Told({"x = ": "foo|(1)"})
    person = Person(model)
    first = asyncio.ensure_future(person.sees("x = "))
    await settle()
    second = asyncio.ensure_future(person.sees("x = fo"))
    await settle()
    model.go.set()
    assert (await first, await second, model.prompts) == (["foo(1)"], ["o(1)"], ["x = "])


async def test_key_with_which_what_is_written_later_disagrees_is_asked_for_itself():
    """Never a wrong answer: the text is looked at until its end."""
    model = Told({"x = ": "f|oo", "x = fa": "r"})
    person = Person(model)
    first = asyncio.ensure_future(person.sees("x = "))
    await settle()
    second = asyncio.ensure_future(person.sees("x = fa"))
    await settle()
    assert model.prompts == ["x = "]
    model.go.set()
    assert (await first, await second, model.prompts) == (["foo"], ["r"], ["x = ", "x = fa"])


async def test_answer_cut_for_lack_of_time_is_not_the_last_word_for_who_asks_by_hand():
    model = Told({"x = ": "fo"}, cause="deadline")
    person = Person(model)
    assert (await person.sees("x = "), await person.sees("x = ")) == (["fo"], ["fo"])
    assert len(model.asked) == 1
    await person.sees("x = ", by_hand=True)
    assert [request.deadline_ms for request in model.asked] == [5000, 20000]


async def test_waiting_for_what_then_did_not_suit_counts_towards_the_deadline():
    """Else a person waits twice as long as they are told: for the answer to an earlier key, then for their own."""
    person = Person(Told({"x = b": "ar"}))
    asked = person.asks("x = b")
    asked.record.stages["engine"] = 1500.0
    assert await person.suggestions.suggest(asked) == ["ar"]
    assert [request.deadline_ms for request in person.model.asked] == [3500]


async def test_answer_given_without_the_adapter_that_was_asked_for_is_not_remembered_as_its_own():
    """It may be there at the next key."""
    model = Told({"x = ": "foo"})
    person = Person(model)
    asked = person.asks("x = ", adapter="mine")
    person.record.adapter = ""  # as the adapter's refusal does
    assert await person.suggestions.suggest(asked) == ["foo"]
    assert await person.suggestions.suggest(person.asks("x = ", adapter="mine")) == ["foo"]
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    ("text", "why"), [("", "the model had nothing to add"), ("  \n", "the model had nothing to add")]
)
async def test_record_says_why_nothing_was_shown_and_still_does_from_memory(text, why):
    person = Person(Told({"x = ": text}))
    for source in ("", "same"):
        assert await person.sees("x = ") == []
        record = person.record
        assert (record.result, record.reason, record.source) == ("empty", why, source)


async def test_failure_is_told_and_not_remembered():
    person = Person(Told({"x = ": "boom"}))
    for _ in range(2):
        assert await person.sees("x = ") == []
        assert (person.record.result, person.record.reason) == ("failed", "The engine failed.")
    assert len(person.model.asked) == 2


@pytest.mark.parametrize(("least", "shown"), [(0.4, ["n"]), (0.6, [])])
async def test_what_the_model_is_not_sure_of_is_not_shown_to_who_types(least, shown):
    """The token is half as likely as not. The trace says why nothing came."""
    model = Teller(infill="n")
    person = Person(model, replace(SETTINGS, min_confidence=least))
    assert await person.sees("x = ") == shown
    assert person.record.filter == ("" if shown else "confidence")
    assert ("minConfidence" in person.record.reason) == (not shown)


async def test_who_asks_by_hand_sees_it_all_the_same():
    person = Person(Teller(infill="n"), replace(SETTINGS, min_confidence=0.6))
    assert (await person.sees("x = "), await person.sees("x = ", by_hand=True)) == ([], ["n"])


@pytest.mark.parametrize(("least", "logprobs"), [(0.0, None), (0.5, 0)])
async def test_the_engine_is_asked_how_sure_it_is_only_where_that_matters(least, logprobs):
    model = Teller(infill="n")
    await Person(model, replace(SETTINGS, min_confidence=least)).sees("x = ")
    assert model.asked[0].sampling.logprobs == logprobs
