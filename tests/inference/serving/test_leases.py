"""The engine stays while somebody needs it, and a little longer."""

from __future__ import annotations

import asyncio

from inference.serving.leases import Leases


async def test_ends_some_time_after_the_last_lease():
    leases = Leases(grace=0.05)
    with leases.hold():
        ending = asyncio.ensure_future(leases.all_ended())
        with leases.hold():
            pass
        done, _ = await asyncio.wait([ending], timeout=0.3)
        assert not done, "one lease is still held"
    await asyncio.wait_for(ending, 5)


async def test_new_lease_within_the_grace_keeps_it():
    leases = Leases(grace=0.2)
    ending = asyncio.ensure_future(leases.all_ended())
    with leases.hold():
        done, _ = await asyncio.wait([ending], timeout=0.5)
        assert not done
    await asyncio.wait_for(ending, 5)
