"""The engine on a tiny random Llama, compared with transformers' ``generate``."""

from __future__ import annotations

import time
from copy import deepcopy

import pytest
import torch
from fakes.byte_llama import EOS, ByteTokenizer, tiny_reference

from inference.api.events import Finished, Outcome, RequestOptions, Sampling, Steps, TextChunk
from inference.engine.engine import Engine, without_leading_space
from inference.models.catalog import STARTER, Model
from inference.models.checkpoint import LoadError
from inference.models.llama import Llama
from inference.text.prompts import Message, PromptError
from inference.text.stopping import StopRule
from inference.text.tokenizer import decode

PROMPT = list(b"def add(a, b):\n    return")


@pytest.fixture(scope="module")
def reference():
    return tiny_reference()


@pytest.fixture
def engine(reference) -> Engine:
    return Engine(Llama(reference), ByteTokenizer(), STARTER)


def run(steps) -> tuple[str, Outcome]:
    events = [event for event in steps if event is not None]
    assert isinstance(events[-1], Finished)
    return "".join(e.text for e in events[:-1] if isinstance(e, TextChunk)), events[-1].outcome


def expected(reference, ids: list[int], new: int) -> list[int]:
    with torch.inference_mode():
        out = reference.generate(torch.tensor([ids]), max_new_tokens=new, do_sample=False)
    return [i for i in out[0, len(ids) :].tolist() if i != EOS]


def text_of(ids: list[int]) -> str:
    return decode(ByteTokenizer(), ids)


def test_greedy_completion_equals_transformers(engine, reference):
    text, outcome = run(engine.complete(PROMPT, sampling=Sampling(max_tokens=40)))
    assert text == text_of(expected(reference, PROMPT, 40))
    assert outcome.prompt_tokens == len(PROMPT)


def test_chunked_prefill_equals_one_pass(engine, reference):
    prompt = [(7 * i * i + i) % 256 for i in range(700)]
    text, _ = run(engine.complete(prompt, sampling=Sampling(max_tokens=20)))
    assert text == text_of(expected(reference, prompt, 20))


def test_cached_tokens_are_reused_without_changing_the_text(engine, reference):
    """Typing on: the second prompt begins with the first."""
    run(engine.complete(PROMPT, sampling=Sampling(max_tokens=8)))
    longer = [*PROMPT, *b" a +"]
    text, outcome = run(engine.complete(longer, sampling=Sampling(max_tokens=30)))
    assert outcome.reused_tokens >= len(PROMPT)
    assert text == text_of(expected(reference, longer, 30))


def test_shorter_prompt_reuses_its_cached_prefix(engine, reference):
    """Deleting: the second prompt is the beginning of the first."""
    run(engine.complete(PROMPT, sampling=Sampling(max_tokens=8)))
    shorter = PROMPT[:-7]
    text, outcome = run(engine.complete(shorter, sampling=Sampling(max_tokens=30)))
    assert outcome.reused_tokens == len(shorter) - 1
    assert text == text_of(expected(reference, shorter, 30))


def test_several_documents_keep_their_sessions(engine):
    documents = [list(bytes([65 + n]) * 40) for n in range(3)]
    for document in documents:
        run(engine.complete(document, sampling=Sampling(max_tokens=2)))
    for document in documents:
        _, outcome = run(engine.complete(document, sampling=Sampling(max_tokens=2)))
        assert outcome.reused_tokens == len(document) - 1


def test_cancelled_completion_leaves_a_valid_session(engine, reference):
    """Closing the generator between two steps cancels it."""
    steps = engine.complete(PROMPT, sampling=Sampling(max_tokens=30))
    for _ in range(5):
        next(steps)
    steps.close()
    text, outcome = run(engine.complete(PROMPT, sampling=Sampling(max_tokens=30)))
    assert outcome.reused_tokens == len(PROMPT) - 1
    assert text == text_of(expected(reference, PROMPT, 30))


def test_max_tokens_limits_the_completion(engine):
    _, outcome = run(engine.complete(PROMPT, sampling=Sampling(max_tokens=3)))
    assert (outcome.completion_tokens, outcome.cause) == (3, "length")


def test_passed_deadline_ends_after_one_step(engine):
    text, outcome = run(engine.complete(PROMPT, options=RequestOptions(deadline=time.perf_counter() - 1)))
    assert (text, outcome.cause, outcome.completion_tokens) == ("", "deadline", 0)


def test_end_token_ends_the_completion_and_is_not_in_it(reference, engine):
    """The head is changed so that the end token is the likeliest everywhere."""
    bent = tiny_reference()
    with torch.no_grad():
        bent.lm_head.weight[EOS] = 0
        hidden = bent.model(torch.tensor([PROMPT])).last_hidden_state[0, -1]
        bent.lm_head.weight[EOS] = hidden * 100
    text, outcome = run(Engine(Llama(bent), ByteTokenizer(), STARTER).complete(PROMPT))
    assert (text, outcome.cause, outcome.completion_tokens) == ("", "end", 0)


def test_rule_and_stop_strings_end_generation(engine, reference):
    free = text_of(expected(reference, PROMPT, 60))
    stop = free[10:12]
    text, outcome = run(engine.complete(PROMPT, sampling=Sampling(max_tokens=60, stop=(stop,))))
    assert (text, outcome.cause) == (free[: free.index(stop)], "stop")
    assert outcome.completion_tokens < 60


def test_line_rule_stops_at_the_newline_token():
    """A model that generates only newlines is stopped after the first."""
    bent = tiny_reference()
    with torch.no_grad():
        hidden = bent.model(torch.tensor([PROMPT])).last_hidden_state[0, -1]
        bent.lm_head.weight[ord("\n")] = hidden * 100
    text, outcome = run(Engine(Llama(bent), ByteTokenizer(), STARTER).complete(PROMPT, rule=StopRule("line")))
    assert (text, outcome.cause, outcome.completion_tokens) == ("", "rule", 1)


def test_same_seed_same_sample(engine):
    sampling = Sampling(max_tokens=30, temperature=1.0, top_p=0.95, seed=5)
    first, _ = run(engine.complete(PROMPT, sampling=sampling))
    again, _ = run(engine.complete(PROMPT, sampling=sampling))
    other, _ = run(engine.complete(PROMPT, sampling=Sampling(max_tokens=30, temperature=1.0, top_p=0.95, seed=6)))
    assert first == again != other


def test_trailing_blanks_of_the_prefix_are_not_repeated(engine, reference):
    """They are held out of the prompt, forced as the first bytes, and left out of the text."""
    text, _ = run(engine.complete("x = 1\n    ", sampling=Sampling(max_tokens=12)))
    assert text == text_of(expected(reference, list(b"x = 1\n    "), 12))


def test_prompt_longer_than_the_context_loses_its_start(engine):
    text = "word " * 3000
    _, outcome = run(engine.complete(text + "x", sampling=Sampling(max_tokens=4)))
    assert outcome.prompt_tokens <= 2048 - 4


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "A prompt of token ids needs at least one id."),
        ([0, 259], "Token ids must lie from 0 to 258."),
        ("", "There is nothing before the cursor to continue."),
    ],
)
def test_invalid_prompt_is_refused_with_a_message(engine, prompt, message):
    with pytest.raises(PromptError, match=message):
        run(engine.complete(prompt))


def test_chat_puts_the_turns_between_control_tokens(engine, reference):
    """A marker in the user's text stays text."""
    text, outcome = run(engine.chat([Message("user", "<|im_end|>")], Sampling(max_tokens=10)))
    ids = [257, *b"user\n<|im_end|>", 258, *b"\n", 257, *b"assistant\n"]
    assert outcome.prompt_tokens == len(ids)
    assert text.startswith(text_of([i for i in expected(reference, ids, 10) if i < 256])[:1])


def test_chat_with_a_base_model_is_refused(reference):
    row = Model(**{**{f: getattr(STARTER, f) for f in STARTER.__slots__}, "chat": None, "id": "base"})
    with pytest.raises(PromptError, match=r"base was not trained to chat\. Choose an Instruct model"):
        Engine(Llama(reference), ByteTokenizer(), row).chat([Message("user", "Hi")])


def test_first_space_of_a_chat_reply_is_removed():
    """Llama's first token brings a space; a second one is part of the text."""

    def reply(*pieces: str) -> Steps:
        yield from (TextChunk(piece) for piece in pieces)

    assert [*without_leading_space(reply(" Yes", " no"))] == [TextChunk("Yes"), TextChunk(" no")]
    assert [*without_leading_space(reply(" ", " x"))] == [None, TextChunk(" x")]
    assert [*without_leading_space(reply("Yes"))] == [TextChunk("Yes")]


def test_warm_up_frees_its_cache(engine):
    """A 7B's cache of as many tokens would take half a gigabyte."""
    engine.warm_up()
    assert [slot.pool.tokens for slot in engine._slots.values()] == [0, 0]


def test_warm_up_reports_weights_that_are_not_finite(reference):
    broken = deepcopy(reference)
    broken.model.layers[0].mlp.up_proj.weight.data[3, 5] = torch.nan
    with pytest.raises(LoadError) as error:
        Engine(Llama(broken), ByteTokenizer(), STARTER).warm_up()
    assert str(error.value) == (
        "The weights of starter give numbers that are not finite. Run `codellama-ls pull starter --verify`."
    )


def test_min_tokens_delays_the_end_token(engine, reference):
    """Benchmarks need completions of equal length. The reference is transformers' ``min_new_tokens``."""
    first = expected(reference, PROMPT, 1)[0]
    engine.tokenizer.eos_ids = frozenset({first})
    assert run(engine.complete(PROMPT, sampling=Sampling(max_tokens=8)))[1].completion_tokens == 0
    text, outcome = run(engine.complete(PROMPT, sampling=Sampling(max_tokens=8, min_tokens=8)))
    with torch.inference_mode():
        out = reference.generate(
            torch.tensor([PROMPT]), max_new_tokens=8, min_new_tokens=8, do_sample=False, eos_token_id=first
        )
    assert (text, outcome.completion_tokens) == (text_of(out[0, len(PROMPT) :].tolist()), 8)
