"""The engine builds infilling prompts in the layout of its model, and heals the prefix's end in SPM."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes.byte_llama import tiny_reference
from fakes.longest_match import LongestMatchTokenizer

from inference.api.events import Finished, Outcome, Sampling, Steps, TextChunk
from inference.engine.engine import Engine
from inference.models.catalog import CATALOG, STARTER, Model
from inference.models.llama import Llama
from inference.text.infill import infill_prompt
from inference.text.prompts import Snippet, completion_prompt
from inference.text.tokenizer import decode
from inference.text.vocabulary import Layout

BYTES = LongestMatchTokenizer([])
SPM, PSM = replace(STARTER, infill=True), CATALOG["codellama-7b"]


@pytest.fixture(scope="module")
def reference():
    return tiny_reference(vocab_size=BYTES.vocab_size)


def engine(reference, row: Model, tokenizer: LongestMatchTokenizer = BYTES) -> Engine:
    return Engine(Llama(reference), tokenizer, row)


def run(steps: Steps) -> tuple[str, Outcome]:
    events = [event for event in steps if event is not None]
    assert isinstance(events[-1], Finished)
    return "".join(e.text for e in events[:-1] if isinstance(e, TextChunk)), events[-1].outcome


def expected(reference, ids: list[int], new: int) -> str:
    with torch.inference_mode():
        out = reference.generate(torch.tensor([ids]), max_new_tokens=new, do_sample=False, eos_token_id=None)
    return decode(BYTES, out[0, len(ids) :].tolist())


@pytest.mark.parametrize(("row", "layout"), [(SPM, "spm"), (PSM, "psm")])
def test_prompt_has_the_layout_of_the_model(reference, row: Model, layout: Layout) -> None:
    """With byte tokens healing has one solution: the completion equals that of the whole prompt."""
    text, _ = run(engine(reference, row).complete("ab = ", "\nc", Sampling(max_tokens=5)))
    assert text[:5] == expected(reference, infill_prompt(BYTES, "ab = ", "\nc", 100, layout).ids, 5)[:5]


def test_partial_word_is_completed_by_healing() -> None:
    """A model that generates only " return" is prompted with "x" and completes "x re" with "turn"."""
    tokenizer = LongestMatchTokenizer([" re", " return"])
    bent = tiny_reference(vocab_size=tokenizer.vocab_size)
    prompt = infill_prompt(tokenizer, "x", "\n", 100, "spm").ids
    with torch.no_grad():
        hidden = bent.model(torch.tensor([prompt])).last_hidden_state[0, -1]
        bent.lm_head.weight[257] = hidden * 100
    text, outcome = run(engine(bent, SPM, tokenizer).complete("x re", "\n", Sampling(max_tokens=1)))
    assert text.startswith("turn")
    assert outcome.prompt_tokens == len(prompt)


def test_context_precedes_the_prefix_and_is_cached(reference) -> None:
    """The next keystroke reads only the typed text."""
    one, chunks = engine(reference, SPM), [Snippet("a.py", "x = 1")]
    prompt = infill_prompt(BYTES, "# Path: a.py\n# x = 1\nab = ", "\nc", 2_000, "spm").ids
    first, typed = (
        run(one.complete(prefix, "\nc", Sampling(max_tokens=1), context=chunks))[1] for prefix in ("ab = ", "ab = 1")
    )
    assert first.prompt_tokens == len(prompt) - 1  # the last one is healed
    assert typed.reused_tokens == first.prompt_tokens


def test_empty_suffix_is_infilled_only_in_spm(reference) -> None:
    """At the end of a file SPM continues the prefix; PSM would start anew."""
    spm, plain = infill_prompt(BYTES, "abc", "", 100, "spm").ids, completion_prompt(BYTES, "abc", 100).ids
    found = [run(engine(reference, row).complete("abc", "", Sampling(max_tokens=1)))[1] for row in (SPM, PSM)]
    assert [outcome.prompt_tokens for outcome in found] == [len(spm) - 1, len(plain) - 1]


@pytest.mark.parametrize(("row", "suffix"), [(SPM, None), (PSM, None), (replace(SPM, infill=False), "x")])
def test_no_infilling_without_suffix_or_ability(reference, row: Model, suffix: str | None) -> None:
    text, outcome = run(engine(reference, row).complete("abc", suffix, Sampling(max_tokens=1)))
    assert outcome.prompt_tokens == 2  # the last byte is healed
    assert text == expected(reference, BYTES.encode("abc"), 1)
