"""The choice, growth and eviction of KV sessions."""

from __future__ import annotations

import pytest
from fakes.byte_llama import tiny_reference

from inference.engine.decode import ChunkSize, generate
from inference.engine.sampling import make_sampler
from inference.models.language_model import GROWTH, KVPool, common_prefix
from inference.models.llama import Llama


@pytest.fixture(scope="module")
def model() -> Llama:
    return Llama(tiny_reference())


def fill(pool: KVPool, model: Llama, ids: list[int], client: str = ""):
    session = pool.acquire(ids, client=client)
    session.rewind(ids)
    session.reserve(len(ids))
    model.forward(ids[session.length :], session)
    session.ids = list(ids)
    pool.release(session)
    return session


def test_common_prefix():
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([], [1]) == 0
    assert common_prefix([1, 2], [1, 2, 3]) == 2


def test_session_with_the_longest_common_prefix_is_chosen(model):
    pool = KVPool(model, 4 * GROWTH)
    a, b = fill(pool, model, [1, 2, 3, 4, 5, 6]), fill(pool, model, [9, 8, 7, 6, 5, 4])
    assert pool.acquire([9, 8, 7, 6, 1]) is b
    assert pool.acquire([1, 2, 3, 4, 9]) is a


def test_least_recently_used_session_is_evicted(model):
    pool = KVPool(model, 2 * GROWTH)
    fill(pool, model, [1] * 8)
    kept = fill(pool, model, [2] * 8)
    fill(pool, model, [3] * 8)
    assert pool.acquire([2] * 9) is kept
    assert pool.acquire([1] * 9).length == 0, "the first session was evicted"


def test_buffers_never_exceed_the_limit(model):
    """The memory plan relies on this limit."""
    pool = KVPool(model, 3 * GROWTH)
    for n, tokens in enumerate([8, 700, 8, 1500, 8, 1025, 600]):
        fill(pool, model, [n] * tokens)
        assert pool.tokens <= 3 * GROWTH


def test_limit_need_not_be_a_multiple_of_growth(model):
    pool = KVPool(model, 700)
    assert fill(pool, model, [1] * 700).capacity == 700
    with pytest.raises(ValueError, match="701 tokens do not fit into a pool of 700"):
        pool.acquire([2]).reserve(701)


def test_paused_sequence_is_evicted_and_reads_again(model):
    """A completion overtakes another one between two steps, with room for one of them only."""
    slow, quick = list(b"slow prompt"), list(b"quick")
    alone = [*run(KVPool(model, GROWTH), model, slow)]
    pool = KVPool(model, GROWTH)
    steps = run(pool, model, slow)
    before = [next(steps), next(steps)]
    assert [*run(pool, model, quick)] == [*run(KVPool(model, GROWTH), model, quick)]
    assert [*before, *steps] == alone
    assert pool.tokens <= GROWTH


def run(pool: KVPool, model: Llama, prompt: list[int]):
    """Yield the ids of a greedy completion, one per step."""
    session = pool.acquire(prompt)
    steps = generate(model, session, prompt, make_sampler(), max_tokens=6, chunk=ChunkSize())
    yield from (step for step in steps if isinstance(step, int))
    pool.release(session)


def test_short_sequence_takes_only_what_it_needs(model):
    """The long prompt resumes at the truncation point, not at its start."""
    long, short = [(7 * i * i + i) % 256 for i in range(3 * GROWTH)], list(b"short")
    alone = [*run(KVPool(model, 4 * GROWTH), model, long)]
    pool = KVPool(model, 4 * GROWTH)
    session = pool.acquire(long)
    chunk = ChunkSize(64, 64)
    steps = generate(model, session, long, make_sampler(), max_tokens=6, chunk=chunk)
    while session.length < 3 * GROWTH - 64:
        next(steps)
    pool.acquire([1]).reserve(2 * GROWTH)  # another running sequence
    assert [*run(pool, model, short)] == [*run(KVPool(model, GROWTH), model, short)]
    assert session.length >= GROWTH
    assert pool.tokens <= 4 * GROWTH
    assert [step for step in steps if isinstance(step, int)] == alone
    assert pool.tokens <= 4 * GROWTH


def test_two_sequences_that_fill_the_pool_both_finish(model):
    """Each shrinks the other; the one with more turns makes progress."""
    prompts = [[(7 * i * i + i + n) % 256 for i in range(3 * GROWTH)] for n in (0, 5)]
    alone = [[*run(KVPool(model, 4 * GROWTH), model, prompt)] for prompt in prompts]
    pool = KVPool(model, 4 * GROWTH)
    steps = [
        generate(model, pool.acquire(prompt), prompt, make_sampler(), max_tokens=6, chunk=ChunkSize(64, 64))
        for prompt in prompts
    ]
    generated: list[list[int]] = [[], []]
    for n in (*[0, 0, 1] * 60, *[0] * 60, *[1] * 60):
        step = next(steps[n], None)
        generated[n] += [step] if isinstance(step, int) else []
        assert pool.tokens <= 4 * GROWTH
    assert generated == alone


def test_busy_session_is_not_given_twice(model):
    pool = KVPool(model, 4 * GROWTH)
    fill(pool, model, [1, 2, 3, 4])
    assert pool.acquire([1, 2, 3, 4, 5]) is not pool.acquire([1, 2, 3, 4, 5])


def test_growing_keeps_cached_tokens(model):
    pool = KVPool(model, 4 * GROWTH)
    session = fill(pool, model, list(range(100)))
    before = session.keys[0][:, :, :100].clone()
    session.reserve(2000)
    assert session.capacity >= 2000
    assert (session.keys[0][:, :, :100] == before).all()


def test_last_token_of_a_known_prompt_is_read_again(model):
    """Only a forward pass gives its logits."""
    pool = KVPool(model, 4 * GROWTH)
    session = fill(pool, model, [1, 2, 3])
    assert session.rewind([1, 2, 3]) == 2


def test_clearing_drops_idle_sessions_and_leaves_busy_ones(model: Llama) -> None:
    pool = KVPool(model, 2048)
    fill(pool, model, [1, 2, 3])
    busy = pool.acquire([9, 8, 7])
    busy.reserve(3)
    pool.clear()
    assert pool.tokens == busy.capacity


def test_client_that_holds_most_is_evicted_first(model):
    """A client with many documents does not evict another's only one, although that was used longest ago."""
    pool = KVPool(model, 3 * GROWTH)
    only = fill(pool, model, [1] * 8, "modest")
    for first in (2, 3, 4, 5):
        fill(pool, model, [first] * 8, "greedy")
    assert pool.acquire([1] * 9, client="modest") is only
    assert pool.acquire([3] * 9, client="greedy").length == 0
    assert pool.acquire([5] * 9, client="greedy").length == 8


def test_no_session_gets_more_than_the_limit(model):
    pool = KVPool(model, 2 * GROWTH)
    with pytest.raises(ValueError, match=f"do not fit into a pool of {2 * GROWTH}"):
        pool.acquire([1]).reserve(2 * GROWTH + 1)
