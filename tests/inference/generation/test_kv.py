"""Which session a prompt gets, and what it remembers."""

from __future__ import annotations

import pytest
from fakes.byte_llama import tiny_reference

from inference.generation.kv import KVPool, common_prefix
from inference.models.llama import Llama


@pytest.fixture(scope="module")
def model() -> Llama:
    return Llama(tiny_reference())


def fill(pool: KVPool, model: Llama, ids: list[int]):
    session = pool.acquire(ids)
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
    pool = KVPool(model, 4)
    a, b = fill(pool, model, [1, 2, 3, 4, 5, 6]), fill(pool, model, [9, 8, 7, 6, 5, 4])
    assert pool.acquire([9, 8, 7, 6, 1]) is b
    assert pool.acquire([1, 2, 3, 4, 9]) is a


def test_least_recently_used_makes_room(model):
    pool = KVPool(model, 2)
    fill(pool, model, [1] * 8)
    kept = fill(pool, model, [2] * 8)
    fill(pool, model, [3] * 8)
    assert pool.acquire([2] * 9) is kept
    assert pool.acquire([1] * 9).ids == [3] * 8, "what was read of the first is gone"


def test_busy_session_is_not_given_twice(model):
    pool = KVPool(model, 4)
    fill(pool, model, [1, 2, 3, 4])
    assert pool.acquire([1, 2, 3, 4, 5]) is not pool.acquire([1, 2, 3, 4, 5])


def test_growing_keeps_what_was_read(model):
    pool = KVPool(model, 1)
    session = fill(pool, model, list(range(100)))
    before = session.keys[0][:, :, :100].clone()
    session.reserve(2000)
    assert session.capacity >= 2000
    assert (session.keys[0][:, :, :100] == before).all()


def test_last_token_of_a_known_prompt_is_read_again(model):
    """Its logits are wanted, and nobody kept them."""
    pool = KVPool(model, 1)
    session = fill(pool, model, [1, 2, 3])
    assert session.rewind([1, 2, 3]) == 2


def test_forgetting_drops_idle_sessions_and_leaves_busy_ones(model: Llama) -> None:
    """What was read to warm up is of no use to anybody; what is being answered is."""
    pool = KVPool(model, 2)
    fill(pool, model, [1, 2, 3])
    busy = pool.acquire([9, 8, 7])
    busy.reserve(3)
    pool.forget()
    assert pool.tokens == busy.capacity
