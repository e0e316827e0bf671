"""Who answers a request: by its ``model``, a loaded model, or a loaded model under one of the user's adapters.

Torch-free; knows no HTTP but the status of a refusal. An adapter is chosen as vLLM does it: by its own name, where a
model's id goes. Its tensors are read later, on the model thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inference.api.events import Sampling, Steps
from inference.api.requests import error_body
from inference.api.status import Status
from inference.engine.request_options import RequestOptions
from inference.models import adapter_store
from inference.models.adapter_store import Adapter, AdapterError, AdapterMissingError
from inference.models.catalog import Model, Role, asked_to_chat, canonical
from inference.text.prompts import Message, Snippet
from inference.text.stopping import StopRule


class LoadedModel(Protocol):
    """A loaded model, as the service sees it (``generation.engine.Engine``). Called on the model thread."""

    @property
    def row(self) -> Model:
        """What it was trained for."""
        ...

    @property
    def contexts(self) -> Mapping[Role, int]:
        """The roles it serves, and tokens of context for each."""
        ...

    def complete(
        self,
        prompt: str | list[int],
        suffix: str | None,
        sampling: Sampling,
        rule: StopRule,
        options: RequestOptions,
        context: Sequence[Snippet] = (),
    ) -> Steps:
        """Start a completion. Raises PromptError, AdapterError."""
        ...

    def chat(self, messages: Sequence[Message], sampling: Sampling, options: RequestOptions) -> Steps:
        """Start a reply. Raises PromptError, AdapterError."""
        ...


class RefusedError(Exception):
    """No model can answer this request; ``status``, ``body`` and ``headers`` are those of the HTTP response."""

    def __init__(self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """Who answers one request.

    Attributes:
        name: what the answer calls it: a model's id or an adapter's name.
        base: the loaded model.
        adapter: the folder of the adapter it is to use, or None.
    """

    name: str
    base: LoadedModel
    adapter: Path | None = None

    def options(self, deadline: float, client: str = "") -> RequestOptions:
        """Return the engine's options for a request; ``deadline`` is a ``time.perf_counter()`` value."""
        return RequestOptions(deadline, self.adapter, client)


def choose(name: str, role: Role, status: Status, answerers: Mapping[str, LoadedModel]) -> ModelRoute:
    """The model asked for by name, or the base of the adapter asked for, else the one of the role.

    Raises RefusedError.
    """
    if status.phase != "ready":
        headers = {"Retry-After": "1"} if status.phase in ("loading", "retiring") else {}
        raise RefusedError(503, error_body(status.message, "unavailable", code=status.phase), headers)
    model_id = canonical(name) if name else status.model if role == "completion" else status.chat_model
    loaded = answerers.get(model_id)
    chosen = ModelRoute(model_id, loaded) if loaded else _under_adapter(name, status, answerers)
    if role == "chat" and (text := asked_to_chat(chosen.base.row)):
        raise RefusedError(400, error_body(text, "invalid_request_error", "model"))
    return chosen


def listed(status: Status, answerers: Mapping[str, LoadedModel]) -> list[dict[str, Any]]:
    """The entries of OpenAI's list of models: what is loaded, then the adapters that can be used with it.

    ``parent`` is an adapter's model, as in vLLM's list. While models are loaded there are only their ids.
    """
    models = [_entry(name, None, answerers.get(name)) for name in answerers or sorted(status.models)]
    usable = []
    for adapter in adapter_store.installed().values() if answerers else ():
        with suppress(AdapterError):
            base = _base_of(adapter, status, answerers)
            usable.append(_entry(adapter.name, base.row.id, base))
    return models + usable


def _under_adapter(name: str, status: Status, answerers: Mapping[str, LoadedModel]) -> ModelRoute:
    try:
        adapter = adapter_store.find(name)
        return ModelRoute(name, _base_of(adapter, status, answerers), adapter.folder)
    except AdapterMissingError:
        running = " and ".join(f"'{name}'" for name in answerers)
        text = f"The engine runs {running}, not '{name}', and there is no adapter '{name}': ask for what it runs."
        raise RefusedError(404, error_body(text, "invalid_request_error", "model", "model_not_found")) from None
    except AdapterError as error:
        raise RefusedError(400, error_body(str(error), "invalid_request_error", "model")) from None


def _base_of(adapter: Adapter, status: Status, answerers: Mapping[str, LoadedModel]) -> LoadedModel:
    """The loaded model that an adapter was trained on; where nobody says, that for completion. Raises AdapterError."""
    named = (one for one in answerers.values() if adapter_store.is_base(adapter, one.row))
    base = next(named, answerers[status.model])
    adapter_store.check_usable(adapter, base.row)
    return base


def _entry(name: str, parent: str | None, base: LoadedModel | None) -> dict[str, Any]:
    abilities = {
        "infill": base.row.infill,
        "chat": base.row.chat,
        "context": base.row.context,
        "roles": list(base.contexts),
        "max_model_len": max(base.contexts.values()),
    } if base else {}  # fmt: skip
    return {"id": name, "object": "model", "created": 0, "owned_by": "local", "parent": parent, **abilities}
