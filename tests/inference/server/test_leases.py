"""Leases: a reference count with a grace period."""

from __future__ import annotations

import asyncio

from fakes.clock import ManualClock
from support.waiting import until

from inference.server.leases import Leases


async def test_all_ended_returns_after_the_grace_period():
    clock = ManualClock()
    leases = Leases(60, wait_for=clock.wait_for)
    ending = asyncio.ensure_future(leases.all_ended())
    with leases.hold():
        with leases.hold():
            await until(lambda: clock.waits[-1:] == [None])
        clock.advance(1000)
    await until(lambda: clock.waits[-1] == 60)
    clock.advance(59)
    await until(lambda: clock.waits[-1] == 60)
    assert not ending.done()
    clock.advance(1)
    await asyncio.wait_for(ending, 5)


async def test_new_lease_within_the_grace_period_restarts_it():
    clock = ManualClock()
    leases = Leases(60, wait_for=clock.wait_for)
    ending = asyncio.ensure_future(leases.all_ended())
    await until(lambda: clock.waits == [60])
    clock.advance(59)
    with leases.hold():
        await until(lambda: clock.waits[-1] is None)
        clock.advance(59)
        assert not ending.done()
    await until(lambda: clock.waits[-1] == 60)
    clock.advance(60)
    await asyncio.wait_for(ending, 5)


async def test_first_lease_has_more_time():
    """An editor that starts the engine on a busy machine can connect even with a short grace period."""
    clock = ManualClock()
    leases = Leases(0.2, first=10, wait_for=clock.wait_for)
    ending = asyncio.ensure_future(leases.all_ended())
    await until(lambda: clock.waits == [10])
    with leases.hold():
        await until(lambda: clock.waits[-1] is None)
    await until(lambda: clock.waits[-1] == 0.2)
    clock.advance(0.2)
    await asyncio.wait_for(ending, 5)


async def test_none_held_returns_without_a_grace_period():
    leases = Leases(60)
    with leases.hold():
        ending = asyncio.ensure_future(leases.none_held())
        await asyncio.sleep(0)
        assert not ending.done()
    await asyncio.wait_for(ending, 5)
