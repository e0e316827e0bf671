"""Completions with speculation: the same texts, stop causes and KV sessions as without."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.byte_llama import EOS, ByteTokenizer, tiny_reference
from fakes.known_model import KnownCosts, Reciter
from fakes.longest_match import LongestMatchTokenizer

from inference.api.events import Finished, Outcome, Sampling, Steps, TextChunk
from inference.engine.draft_length import DraftLength
from inference.engine.engine import Engine
from inference.models.catalog import STARTER
from inference.models.llama import Llama
from inference.text.prompts import Message, PromptError
from inference.text.stopping import StopRule

CODE = "def f(x):\n    return x + 1\n\ndef g(x):\n    return x + 2\n"


def engine(model, tokenizer=None, *, drafts: bool = True) -> Engine:
    """Return an engine that drafts as much as it can."""
    made = Engine(model, tokenizer or ByteTokenizer(), replace(STARTER, infill=False), drafts=drafts)
    if drafts:
        made._draft_length = DraftLength(1.0, KnownCosts())
    return made


def run(steps: Steps) -> tuple[str, Outcome]:
    events = [event for event in steps if event is not None]
    assert isinstance(events[-1], Finished)
    return "".join(e.text for e in events[:-1] if isinstance(e, TextChunk)), events[-1].outcome


def knowing(prompt: str, answer: str, *end: int) -> Reciter:
    return Reciter([*prompt.encode(), *answer.encode(), *end])


def chunks(model: Reciter) -> list[int]:
    return [len(read) for read in model.reads]


@pytest.fixture(scope="module")
def llama() -> Llama:
    return Llama(tiny_reference())


def test_prediction_saves_steps_and_is_counted():
    """The prompt alone would give no drafts."""
    model = knowing("rewrite", CODE, EOS)
    text, outcome = run(engine(model).complete(list(b"rewrite"), sampling=Sampling(prediction=CODE)))
    assert (text, outcome.cause, outcome.completion_tokens) == (CODE, "end", len(CODE))
    assert outcome.accepted_tokens == len(CODE) - len(chunks(model)) + 1
    assert len(chunks(model)) < len(CODE) / 10


def test_chat_uses_a_prediction():
    ids = [257, *b"user\nGo on", 258, *b"\n", 257, *b"assistant\n"]
    model = Reciter([*ids, *CODE.encode(), 258])
    text, outcome = run(engine(model).chat([Message("user", "Go on")], Sampling(prediction=CODE)))
    assert (text, outcome.cause) == (CODE, "end")
    assert outcome.accepted_tokens > len(CODE) * 0.8


def test_suffix_outside_the_prompt_is_a_draft_source():
    """A model that cannot infill does not see the text after the cursor."""
    answer = "    total += price * amount\n"
    model = knowing("for\n", answer, EOS)
    text, outcome = run(engine(model).complete("for\n", "\n#\n" + answer, Sampling(max_tokens=40)))
    assert text == answer
    assert outcome.accepted_tokens > 15


def test_without_drafts_each_step_decodes_one_token():
    model = knowing("rewrite", CODE, EOS)
    sampling = Sampling(prediction=CODE)
    text, outcome = run(engine(model, drafts=False).complete(list(b"rewrite"), sampling=sampling))
    assert text == CODE
    assert chunks(model) == [7] + [1] * len(CODE)
    assert (outcome.accepted_tokens, outcome.rejected_tokens) == (0, 0)


def test_drafts_can_be_disabled_per_request():
    """Other requests of the same engine still use them."""
    model = Reciter([*b"rewrite", *CODE.encode(), EOS])
    served = engine(model)
    for drafts, steps in ((False, len(CODE) + 1), (True, 5)):
        model.reads.clear()
        text, _ = run(served.complete(list(b"rewrite"), sampling=Sampling(prediction=CODE, drafts=drafts)))
        assert text == CODE
        assert len(model.reads) == steps


def test_forced_ids_override_the_model(llama):
    """Afterwards the model continues from the forced text."""
    prompt, forced = list(b"ab"), b"x = 1\n"
    forcing = Sampling(max_tokens=len(forced) + 4, forced=tuple(forced), drafts=False)
    text, outcome = run(engine(llama).complete(prompt, sampling=forcing))
    rest, _ = run(engine(llama).complete([*prompt, *forced], sampling=Sampling(max_tokens=4)))
    assert text == forced.decode() + rest
    assert outcome.completion_tokens == len(forced) + 4


def test_drafted_tokens_are_verified_against_forced_ids():
    """The model itself would have generated the prediction."""
    edited = CODE.replace("x", "y")
    model = Reciter([*b"rewrite", *CODE.encode(), EOS])
    forcing = Sampling(max_tokens=len(CODE), forced=tuple(edited.encode()), prediction=CODE)
    text, outcome = run(engine(model).complete(list(b"rewrite"), sampling=forcing))
    assert text == edited
    assert outcome.completion_tokens == len(CODE)
    assert len(model.reads) == 1 + (len(CODE) - 1 - outcome.accepted_tokens)
    assert len(CODE) // 2 < outcome.accepted_tokens < len(CODE) - CODE.count("x")


def test_forced_ids_outside_the_vocabulary_are_refused():
    model = knowing("a", "b")
    with pytest.raises(PromptError, match=r"^Token ids must lie from 0 to 258\.$"):
        run(engine(model).complete(list(b"a"), sampling=Sampling(forced=(259,))))
    assert model.reads == []


def test_end_token_is_never_drafted_and_always_ends():
    """The prompt has it, as between turns of a chat, after the same text."""
    before = [*b"abcdefgh", EOS, *b"!!abcd"]
    model = Reciter([*before, *b"efgh", EOS, *b"never said"])
    text, outcome = run(engine(model).complete(before, sampling=Sampling(max_tokens=12)))
    assert (text, outcome.cause, outcome.completion_tokens) == ("efgh", "end", 4)
    assert all(EOS not in read for read in model.reads[1:])


@pytest.mark.parametrize(
    ("rule", "stop", "shown", "tokens"),
    [(StopRule("line"), (), "def g(x):", 10), (StopRule(), ("urn",), "def g(x):\n    ret", 20)],
)
def test_tokens_accepted_after_a_stop_are_hidden_but_cached(rule, stop, shown, tokens):
    """A request that continues with them reads only what is new."""
    prompt = CODE[:28]
    model = knowing(prompt, CODE[28:])
    served = engine(model)
    ask = Sampling(max_tokens=27, stop=stop, prediction=CODE)
    text, outcome = run(served.complete(list(prompt.encode()), None, ask, rule))
    assert (text, outcome.completion_tokens) == (shown, tokens)
    assert 0 < outcome.accepted_tokens < tokens
    session = served._slots["completion"].pool._idle[0]
    assert session.ids == model.script[: session.length]
    assert session.length > len(prompt) + outcome.completion_tokens
    longer = CODE[: session.length - 2]
    _, again = run(served.complete(list(longer.encode()), None, Sampling(max_tokens=2)))
    assert again.reused_tokens == len(longer) - 1


def test_next_request_equals_that_of_a_new_engine(llama):
    """After accepted and rejected drafts, deleting and typing on."""
    served, fresh = engine(llama), engine(llama, drafts=False)
    prompt = list(b"ab ab ab ab cd ab ab")
    first, _ = run(fresh.complete(prompt, sampling=Sampling(max_tokens=30)))
    guess = first[:9] + "?" + first[12:]
    for ids in (prompt, [*prompt, *b" ab"], prompt[:-4], [*prompt, *first.encode()[:7]]):
        sampling = Sampling(max_tokens=30, prediction=guess)
        assert run(served.complete(ids, sampling=sampling))[0] == run(fresh.complete(ids, sampling=sampling))[0]


@pytest.mark.parametrize("steps", range(2, 12))
def test_cancelling_at_any_token_leaves_a_valid_session(llama, steps):
    prompt, sampling = list(b"ab ab ab ab"), Sampling(max_tokens=20)
    whole, _ = run(engine(llama, drafts=False).complete(prompt, sampling=sampling))
    served = engine(llama)
    cancelled = served.complete(prompt, sampling=Sampling(max_tokens=20, prediction=whole))
    for _ in range(steps):
        next(cancelled)
    cancelled.close()
    text, outcome = run(served.complete(prompt, sampling=sampling))
    assert text == whole
    assert outcome.reused_tokens == len(prompt) - 1


@pytest.mark.parametrize("prefix", ["x = 1\nx = 1\n        ", "ab ab ab\t \t ", "y\n    y\n    y\n    "])
def test_drafts_do_not_change_healed_completions(llama, prefix):
    """With byte tokens, healing takes several tokens, drafted ones among them."""
    sampling = Sampling(max_tokens=16)
    plain = run(engine(llama, drafts=False).complete(prefix, sampling=sampling))[0]
    predicted = Sampling(max_tokens=16, prediction="        " + plain)
    assert run(engine(llama).complete(prefix, sampling=predicted))[0] == plain


def test_draft_that_contradicts_healing_is_rejected():
    """The prompt continues with x after its first two spaces; the cursor is after three."""
    tokenizer = LongestMatchTokenizer([])
    model = Reciter([*b"a  x a", *b"   y", *tokenizer.eos_ids], tokenizer.vocab_size)
    text, outcome = run(engine(model, tokenizer).complete("a  x a   ", sampling=Sampling(max_tokens=4)))
    assert text == "y"
    assert outcome.rejected_tokens >= 1
