"""Batched answers are the engine's answers, token for token: the same model, float32, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes.byte_llama import EOS, ByteTokenizer, tiny_reference

from inference.engine.decode import ChunkSize, generate
from inference.engine.sampling import Healing, make_sampler, with_healing
from inference.evaluation.batch_generation import BatchRequest, Generator
from inference.models.language_model import KVPool
from inference.models.llama import Llama
from inference.text.prompts import Prompt
from inference.text.stopping import Stopper, StopRule
from inference.text.tokenizer import Detokenizer
from inference.text.vocabulary import Vocabulary

TOKENIZER = ByteTokenizer()
TEXTS = [
    "def add(a, b):\n    return",
    "x",
    "for i in range(10):\n",
    "class Stack:\n    def push(self, item):\n" * 3,
    "{}",
]


class Wide(ByteTokenizer):
    """Some tokens stand for two bytes, so that healing has a choice to make."""

    def piece_bytes(self, token: int) -> bytes:
        return b" " + bytes([token]) if 128 <= token < 256 else super().piece_bytes(token)


def request(
    text: str, *, heal: str = "", rule: StopRule | None = None, room: int = 24, stop: int = EOS
) -> BatchRequest:
    return BatchRequest(Prompt(TOKENIZER.encode(text), frozenset({stop}), heal), rule or StopRule(), room, "ab")


def alone(model: Llama, tokenizer: ByteTokenizer, asked: BatchRequest) -> tuple[str, str, int]:
    """What the engine's own decode loop answers: text, what ended it, tokens."""
    prompt = asked.prompt
    pool = KVPool(model, 1024)
    sampler = make_sampler()
    if prompt.heal:
        sampler = with_healing(sampler, Healing(Vocabulary(tokenizer), tokenizer, prompt.heal))
    text, stopper = Detokenizer(tokenizer, len(prompt.heal.encode())), Stopper(asked.rule)
    shown, tokens = "", 0
    steps = generate(
        model,
        pool.acquire(prompt.ids),
        prompt.ids,
        sampler,
        max_tokens=asked.room,
        chunk=ChunkSize(),
    )
    for step in steps:
        if not isinstance(step, int):
            continue
        if step in prompt.stop_ids:
            return shown + stopper.feed(text.finish()) + stopper.finish(), "model", tokens
        tokens += 1
        shown += stopper.feed(text.feed(step))
        if stopper.cause:
            return shown, "rule", tokens
    return shown + stopper.feed(text.finish()) + stopper.finish(), "length", tokens


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), Wide()])
@pytest.mark.parametrize("rule", [StopRule(), StopRule("line"), StopRule("block", 4)])
def test_batch_answers_as_the_engine_does_alone(tokenizer, rule):
    """Prompts of unlike length, with and without healing, and answers that end at different steps."""
    reference = tiny_reference()
    lean = Llama(reference)
    asked = [
        request(text, heal=heal, rule=rule, room=20 + n) for n, text in enumerate(TEXTS) for heal in ("", "  ", "ä")
    ]
    answers = Generator(reference, tokenizer).answer(asked)
    assert [(a.text, a.ended, a.tokens) for a in answers] == [alone(lean, tokenizer, one) for one in asked]


def test_models_own_end_token_ends_a_row_and_no_other():
    """A token that the row comes to is made its end token; its neighbour goes on to its limit."""
    reference = tiny_reference()
    whole = Generator(reference, TOKENIZER).answer([request(TEXTS[0], room=8)])[0]
    assert (whole.ended, whole.tokens) == ("length", 8)
    prompt = torch.tensor([TOKENIZER.encode(TEXTS[0])])
    generated: Any = reference
    ids = generated.generate(prompt, max_new_tokens=8, do_sample=False)[0, prompt.shape[1] :].tolist()
    last = next(n for n in range(1, 8) if ids[n] not in ids[:n])
    asked = [request(TEXTS[0], room=8, stop=ids[last]), request(TEXTS[0], room=8)]
    ended, other = Generator(reference, TOKENIZER).answer(asked)
    assert (ended.ended, ended.tokens, other.text, other.tokens) == ("model", last, whole.text, 8)


def test_healed_text_is_no_part_of_the_answer():
    """The first tokens spell the four spaces that stand in the document already, and then may not again."""
    reference = tiny_reference()
    (answer,) = Generator(reference, TOKENIZER).answer([request("def f():\n", heal="    ", room=6)])
    forced = TOKENIZER.encode("def f():\n    ")
    (same,) = Generator(reference, TOKENIZER).answer(
        [BatchRequest(Prompt(forced, frozenset({EOS})), StopRule(), 6, "ab")]
    )
    assert (answer.text, answer.tokens) == (same.text, same.tokens + 4)


def log_probability(reference: Any, ids: list[int], token: int, among: list[int] | None = None) -> float:
    logits = reference(torch.tensor([ids])).logits[0, -1].detach().double()
    return float(logits[token] - (logits if among is None else logits[among]).logsumexp(-1))


def test_likelihood_of_the_true_middle_is_the_models_own():
    """Beside longer and shorter neighbours, and without a trace in the answers."""
    reference = tiny_reference()
    middles = ["(x)", "y", "a + b  # sum"]
    asked = [replace(request(text), middle=middle) for text, middle in zip(TEXTS, middles, strict=False)]
    for one, answer in zip(asked, Generator(reference, TOKENIZER).answer(asked), strict=True):
        ids, target = one.prompt.ids, TOKENIZER.encode(one.middle)
        expected = -sum(log_probability(reference, ids + target[:n], token) for n, token in enumerate(target))
        assert answer.nats == pytest.approx(expected, rel=1e-5)
        assert answer.nats_tokens == len(target)


def test_likelihood_of_a_healed_middle_is_among_what_agrees_with_the_healed_text():
    """Two spaces stand there already: tokens that begin otherwise could not have come. The first has no rival."""
    reference = tiny_reference()
    asked = replace(request("if x:\n", heal="  "), middle="y")
    (answer,) = Generator(reference, Wide()).answer([asked])
    ids, space = asked.prompt.ids, ord(" ")
    second = log_probability(reference, [*ids, space], space, [space, *range(128, 256)])
    third = log_probability(reference, [*ids, space, space], ord("y"))
    assert (answer.nats, answer.nats_tokens) == (pytest.approx(-(second + third), rel=1e-5), 3)
