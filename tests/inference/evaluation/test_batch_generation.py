"""Batched completions equal those of the engine's decode loop, token for token in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes.byte_llama import EOS, ByteTokenizer, tiny_reference

from inference.engine.decode import ChunkSize, generate
from inference.engine.sampling import Healing, make_sampler, with_healing
from inference.evaluation.batch_generation import BatchGenerator, BatchRequest
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


class TwoByteTokenizer(ByteTokenizer):
    """Some tokens stand for two bytes, so that healing has several tokens to choose from."""

    def piece_bytes(self, token: int) -> bytes:
        return b" " + bytes([token]) if 128 <= token < 256 else super().piece_bytes(token)


def request(
    text: str, *, heal: str = "", rule: StopRule | None = None, room: int = 24, stop: int = EOS
) -> BatchRequest:
    return BatchRequest(Prompt(TOKENIZER.encode(text), frozenset({stop}), heal), rule or StopRule(), room, "ab")


def engine_completion(model: Llama, tokenizer: ByteTokenizer, wanted: BatchRequest) -> tuple[str, str, int]:
    """Return text, cause of the end and token count from the engine's own decode loop."""
    prompt = wanted.prompt
    pool = KVPool(model, 1024)
    sampler = make_sampler()
    if prompt.heal:
        sampler = with_healing(sampler, Healing(Vocabulary(tokenizer), tokenizer, prompt.heal))
    text, stopper = Detokenizer(tokenizer, len(prompt.heal.encode())), Stopper(wanted.rule)
    written, tokens = "", 0
    steps = generate(
        model,
        pool.acquire(prompt.ids),
        prompt.ids,
        sampler,
        max_tokens=wanted.token_limit,
        chunk=ChunkSize(),
    )
    for step in steps:
        if not isinstance(step, int):
            continue
        if step in prompt.stop_ids:
            return written + stopper.feed(text.finish()) + stopper.finish(), "model", tokens
        tokens += 1
        written += stopper.feed(text.feed(step))
        if stopper.cause:
            return written, "rule", tokens
    return written + stopper.feed(text.finish()) + stopper.finish(), "length", tokens


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), TwoByteTokenizer()])
@pytest.mark.parametrize("rule", [StopRule(), StopRule("line"), StopRule("block", 4)])
def test_batch_equals_the_engines_single_completions(tokenizer, rule):
    """Prompts differ in length and healing, and completions end at different steps."""
    reference = tiny_reference()
    lean = Llama(reference)
    requests = [
        request(text, heal=heal, rule=rule, room=20 + n) for n, text in enumerate(TEXTS) for heal in ("", "  ", "ä")
    ]
    completions = BatchGenerator(reference, tokenizer).complete(requests)
    assert [(a.text, a.ended, a.tokens) for a in completions] == [
        engine_completion(lean, tokenizer, one) for one in requests
    ]


def test_end_token_ends_only_its_own_row():
    """One row gets a token that it will generate as its end token; its neighbour runs to the limit."""
    reference = tiny_reference()
    whole = BatchGenerator(reference, TOKENIZER).complete([request(TEXTS[0], room=8)])[0]
    assert (whole.ended, whole.tokens) == ("length", 8)
    prompt = torch.tensor([TOKENIZER.encode(TEXTS[0])])
    generated: Any = reference
    ids = generated.generate(prompt, max_new_tokens=8, do_sample=False)[0, prompt.shape[1] :].tolist()
    last = next(n for n in range(1, 8) if ids[n] not in ids[:n])
    requests = [request(TEXTS[0], room=8, stop=ids[last]), request(TEXTS[0], room=8)]
    ended, other = BatchGenerator(reference, TOKENIZER).complete(requests)
    assert (ended.ended, ended.tokens, other.text, other.tokens) == ("model", last, whole.text, 8)


def test_healed_text_is_not_part_of_the_completion():
    """The first tokens must spell the four spaces that the document already has; they are not repeated."""
    reference = tiny_reference()
    (completion,) = BatchGenerator(reference, TOKENIZER).complete([request("def f():\n", heal="    ", room=6)])
    forced = TOKENIZER.encode("def f():\n    ")
    (same,) = BatchGenerator(reference, TOKENIZER).complete(
        [BatchRequest(Prompt(forced, frozenset({EOS})), StopRule(), 6, "ab")]
    )
    assert (completion.text, completion.tokens) == (same.text, same.tokens + 4)


def log_probability(reference: Any, ids: list[int], token: int, among: list[int] | None = None) -> float:
    logits = reference(torch.tensor([ids])).logits[0, -1].detach().double()
    return float(logits[token] - (logits if among is None else logits[among]).logsumexp(-1))


def test_true_middle_has_the_models_likelihood():
    """In a batch with longer and shorter middles."""
    reference = tiny_reference()
    middles = ["(x)", "y", "a + b  # sum"]
    requests = [replace(request(text), middle=middle) for text, middle in zip(TEXTS, middles, strict=False)]
    for one, completion in zip(requests, BatchGenerator(reference, TOKENIZER).complete(requests), strict=True):
        ids, target = one.prompt.ids, TOKENIZER.encode(one.middle)
        expected = -sum(log_probability(reference, ids + target[:n], token) for n, token in enumerate(target))
        assert completion.nats == pytest.approx(expected, rel=1e-5)
        assert completion.nats_tokens == len(target)


def test_healed_middle_is_scored_among_allowed_tokens():
    """The document already has two spaces, so other tokens can't be generated. For the first there is one choice."""
    reference = tiny_reference()
    healed_request = replace(request("if x:\n", heal="  "), middle="y")
    (completion,) = BatchGenerator(reference, TwoByteTokenizer()).complete([healed_request])
    ids, space = healed_request.prompt.ids, ord(" ")
    second = log_probability(reference, [*ids, space], space, [space, *range(128, 256)])
    third = log_probability(reference, [*ids, space, space], ord("y"))
    assert (completion.nats, completion.nats_tokens) == (pytest.approx(-(second + third), rel=1e-5), 3)
