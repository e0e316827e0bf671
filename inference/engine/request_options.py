"""Options of a request that change neither its prompt nor its sampling. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Options that the engine takes with each request.

    Attributes:
        deadline: a ``time.perf_counter()`` value, after which the completion ends as it is.
        adapter: the folder of the LoRA adapter to use, or None.
        client: the editor session that asks, whose share of the KV cache is protected (see ``KVPool``).
    """

    deadline: float | None = None
    adapter: Path | None = None
    client: str = ""
