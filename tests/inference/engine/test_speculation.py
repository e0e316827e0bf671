"""Speculation saves steps and never changes the text."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest
import torch
from fakes.byte_llama import tiny_reference
from fakes.known_model import KnownCosts, KnownModel, Reciter
from torch import Tensor

from inference.engine.decode import ChunkSize, generate
from inference.engine.draft_length import DraftLength
from inference.engine.sampling import Sampler, make_sampler
from inference.engine.speculation import Speculation
from inference.models.language_model import GROWTH, KVPool, KVSession
from inference.models.llama import Llama


def eager(prediction: Sequence[int] = (), more: float = 0.0) -> Speculation:
    """Return a speculation that drafts as much as possible because further tokens cost nothing."""
    return Speculation(DraftLength(1.0, KnownCosts(more)), prediction=lambda: prediction)


def answered(
    model,
    prompt: Sequence[int],
    tokens: int,
    speculation: Speculation | None = None,
    *,
    session: KVSession | None = None,
    sampler: Sampler | None = None,
) -> list[int]:
    session = session or KVSession(model)
    sampler = sampler or make_sampler()
    steps = generate(model, session, prompt, sampler, max_tokens=tokens, chunk=ChunkSize(), speculation=speculation)
    ids = [step for step in steps if isinstance(step, int)]
    assert session.ids == [*prompt, *ids][: session.length], "the session holds exactly the tokens read"
    assert session.length == len(session.ids) == len(prompt) + tokens - 1
    return ids


@pytest.fixture(scope="module")
def llama() -> Llama:
    return Llama(tiny_reference())


def repetitive(seed: int) -> list[int]:
    rng = random.Random(seed)
    phrases = [[rng.randrange(256) for _ in range(rng.randint(1, 5))] for _ in range(3)]
    return [token for _ in range(rng.randint(2, 12)) for token in rng.choice(phrases)]


def edited(ids: list[int], seed: int) -> list[int]:
    """Return the ids with some tokens replaced, some removed and some inserted."""
    rng = random.Random(seed)
    changes = {0: lambda token: [], 1: lambda token: [token, 7], 2: lambda token: [8]}
    return [new for token in ids for new in changes.get(rng.randrange(20), lambda token: [token])(token)]


def test_greedy_tokens_are_the_same_as_without_drafts(llama):
    """In float32, after random repetitive prompts, with partly right predictions."""
    accepted = rejected = 0
    for seed in range(24):
        prompt = repetitive(seed)
        plain = answered(llama, prompt, 40)
        speculation = eager(edited(plain, seed) if seed % 3 else ())
        assert answered(llama, prompt, 40, speculation) == plain
        accepted += speculation.accepted
        rejected += speculation.drafted - speculation.accepted
    assert accepted > 300 < rejected


@pytest.mark.parametrize("tokens", range(1, 13))
def test_completion_is_never_longer_than_allowed(tokens):
    """Wherever it ends in a draft, with a pool that has room for no further token."""
    script = list(b"abcdefgh-abcdefghabcdefgh")
    pool = KVPool(Reciter(script), 11 + tokens)  # pyright: ignore[reportArgumentType]
    session = pool.acquire(script[:11])
    ids = answered(session.model, script[:11], tokens, eager(), session=session)
    assert ids == script[11 : 11 + tokens]


def test_rewrite_takes_as_few_steps_as_drafts_allow():
    """Forty tokens with one replaced.

    Two drafts of 15, of which 15 and 3 are accepted, one token to rejoin, a draft of 15, and one of 1 at the limit.
    """
    original = list(range(100, 140))
    rewritten = [*original[:20], 99, *original[21:]]
    prompt = [1, 2, 3]
    model = Reciter([*prompt, *rewritten])
    assert answered(model, prompt, 40, eager(original)) == rewritten
    assert [len(read) for read in model.reads] == [3, 16, 16, 1, 16, 2]
    plain = Reciter([*prompt, *rewritten])
    answered(plain, prompt, 40)
    assert len(plain.reads) == 40


def test_rejected_drafts_cost_next_to_nothing():
    """Each third token is drafted from an earlier occurrence of the two before, and always differs."""
    script = [token for n in range(400) for token in (0, 1, 2 + n)]
    model = Reciter(script, vocabulary=402)
    speculation = eager(more=0.15)
    answered(model, script[:30], 1170, speculation)
    assert speculation.accepted == 0
    assert model.positions - len(script) + 1 == speculation.drafted
    assert speculation.drafted == 19


class Chain(KnownModel):
    """A Markov chain over three tokens."""

    AFTER = ((0.6, 0.3, 0.1), (0.2, 0.1, 0.7), (0.45, 0.45, 0.1))

    def __init__(self) -> None:
        super().__init__(3)

    def next(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(self.AFTER[ids[-1]]).log()


def test_samples_are_distributed_as_without_drafts():
    """All 81 completions of four tokens, by Pearson's chi-squared test. Chance exceeds 120 once in 400 runs."""
    prompt, runs = [0, 1, 2, 0, 0, 1, 2, 0, 1], 6000
    sampler = make_sampler(temperature=1.0, seed=7)
    seen: Counter[tuple[int, ...]] = Counter()
    accepted = 0
    for _ in range(runs):
        speculation = eager()
        seen[tuple(answered(Chain(), prompt, 4, speculation, sampler=sampler))] += 1
        accepted += speculation.accepted
    assert accepted > runs / 3, "otherwise the test would be void"
    expected = {ids: runs * probability(prompt[-1], ids) for ids in product(range(3), repeat=4)}
    assert math.isclose(sum(expected.values()), runs)
    assert sum((seen[ids] - wanted) ** 2 / wanted for ids, wanted in expected.items()) < 120


def probability(last: int, ids: tuple[int, ...]) -> float:
    return math.prod(Chain.AFTER[a][b] for a, b in zip((last, *ids), ids, strict=False))


def test_same_seed_gives_the_same_sample_with_and_without_drafts(llama):
    for seed in range(5):
        prompt = repetitive(seed)
        samplers = [make_sampler(temperature=0.7, top_p=0.9, seed=seed) for _ in range(2)]
        with_drafts = answered(llama, prompt, 30, eager(), sampler=samplers[0])
        assert with_drafts == answered(llama, prompt, 30, sampler=samplers[1])


def test_sequence_resumes_after_losing_its_buffers(llama):
    """Another session takes them after the first token of an accepted draft was yielded."""
    prompt = repetitive(3)
    alone = answered(llama, prompt, 30)
    pool = KVPool(llama, GROWTH)
    session = pool.acquire(prompt)
    speculation = eager()
    steps = generate(llama, session, prompt, make_sampler(), max_tokens=30, chunk=ChunkSize(), speculation=speculation)
    ids = []
    for step in steps:
        ids += [step] if isinstance(step, int) else []
        if speculation.accepted == 1 and session.length:
            pool.acquire([1, 2]).reserve(GROWTH)
            assert session.length == 0
    assert ids == alone


def test_only_yielded_tokens_count_as_accepted():
    """A caller that stops in the middle of a draft does not use the rest."""
    script = list(b"abcdefgh-abcdefgh")
    model, speculation = Reciter(script), eager()
    session = KVSession(model)  # pyright: ignore[reportArgumentType]
    steps = generate(
        model, session, script[:11], make_sampler(), max_tokens=6, chunk=ChunkSize(), speculation=speculation  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    assert [next(steps) for _ in range(4)][1:] == script[11:14]
    assert (speculation.drafted, speculation.accepted) == (4, 2)
    assert session.ids == script[: session.length] and session.length == 16
