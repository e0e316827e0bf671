"""Which models a server lists: the wished-for one under the name it has there, and how much context it has.

Sources: OpenAI API reference, "Models"; vLLM's ``max_model_len``, ``root`` and ``parent``; llama-server's ``/props``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from inference.models.catalog import canonical
from inference.models.rows import find_row
from inference.remote.stream import get_json
from inference.remote.troubles import NotUnderstood, refused, strange
from inference.serving.client import ModelRefused


async def listed_models(http: httpx.AsyncClient, where: str) -> list[Mapping[str, Any]]:
    """What the server says of each, one at least. Raises ``EngineError``."""
    code, headers, body, said = await get_json(http, where, "/v1/models")
    if code != 200:
        raise refused(where, code, headers, body)
    entries = said.get("data") if isinstance(said, Mapping) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, Mapping) and isinstance(e.get("id"), str) for e in entries
    ):
        raise strange(where)
    if not entries:
        raise NotUnderstood(f"{where} serves no model.")
    return entries


def name_there(entries: Sequence[Mapping[str, Any]], wanted: str, setting: str, where: str) -> str:
    """The name under which the server has the model: by its id, its Hugging Face id, or as the only one it has.

    Raises ``ModelRefused`` where it has several others.
    """
    row = find_row(wanted)
    aliases = {name.lower() for name in (wanted, canonical(wanted), *((row.hub,) if row else ()))}
    aliases |= {alias.rsplit("/")[-1] for alias in aliases}
    bases = [entry for entry in entries if not entry.get("parent")] or entries
    for entry in bases:
        called = {str(entry[field]).lower() for field in ("id", "root") if entry.get(field)}
        if aliases & (called | {name.rsplit("/")[-1] for name in called}):
            return entry["id"]
    if len(bases) == 1:
        return bases[0]["id"]
    there = ", ".join(sorted(entry["id"] for entry in bases)[:8])
    raise ModelRefused(f"{where} serves {there}, and {setting} is {wanted!r}: set it to one of these.")


async def context_of(http: httpx.AsyncClient, where: str, entries: Sequence[Mapping[str, Any]], name: str) -> int:
    """Tokens of context, as vLLM lists them or llama-server's ``/props`` has them; 0 where nobody says."""
    listed = next(entry for entry in entries if entry["id"] == name).get("max_model_len")
    if type(listed) is int and listed > 0:
        return listed
    _, _, _, said = await get_json(http, where, "/props")
    settings = said.get("default_generation_settings") if isinstance(said, Mapping) else None
    told = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    return told if type(told) is int and told > 0 else 0
