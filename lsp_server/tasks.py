"""Cancel asyncio tasks. Pure asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any


def cancel_once(task: asyncio.Future[Any] | concurrent.futures.Future[Any]) -> None:
    """Cancel a task unless it is being cancelled already.

    A second cancellation interrupts what the task does about the first: closing the connection to the engine, which
    would go on writing for nobody. Editors cancel a request, and end what it was for, in two messages.
    """
    if not (isinstance(task, asyncio.Task) and task.cancelling()):
        task.cancel()
