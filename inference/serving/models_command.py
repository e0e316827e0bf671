"""``codellama-ls models`` with this user's store and, where one runs, this user's engine.

Torch-free. What is printed and asked is ``models.list_command``'s affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from inference.models import inventory
from inference.models.rows import find_row
from inference.planning import list_command
from inference.serving.client import EngineClient, EngineUnavailable
from inference.serving.private import NotPrivate
from inference.serving.spawn import socket_path

PATIENCE = 10.0
"""Seconds an engine has to answer; it does so at once, even while it loads."""


def main(argv: Sequence[str]) -> int:
    """Run ``models``; returns the exit code."""
    return list_command.main(argv, store=inventory, in_use=in_use, row_of=find_row)


def in_use() -> set[str]:
    """The models that a running engine has loaded or is loading; empty where none runs."""
    with suppress(NotPrivate, EngineUnavailable, TimeoutError):
        return asyncio.run(asyncio.wait_for(_loaded(), PATIENCE))
    return set()


async def _loaded() -> set[str]:
    client = EngineClient(socket_path())
    try:
        status = await client.health()
    finally:
        await client.aclose()
    return set() if status.phase == "failed" else status.models
