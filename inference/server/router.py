"""Choose the loaded model, and the user's adapter, that serve a request.

An adapter is chosen as in vLLM: its name takes the place of the model's id. Its tensors are read later, on the model
thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inference.api.events import RequestOptions, Sampling, Steps
from inference.api.requests import error_body
from inference.api.status import Status
from inference.models import adapter_store
from inference.models.adapter_store import Adapter, AdapterError, AdapterMissingError
from inference.models.catalog import Model, Role, canonical, why_no_chat
from inference.server.openai import RefusedRequestError
from inference.text.prompts import Message, Snippet
from inference.text.stopping import StopRule


class LoadedModel(Protocol):
    """The part of ``inference.engine.engine.Engine`` that the server uses. Called on the model thread."""

    @property
    def row(self) -> Model:
        """Its catalogue row."""
        ...

    @property
    def contexts(self) -> Mapping[Role, int]:
        """The roles it serves, with their context in tokens."""
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


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """The model and adapter that serve one request.

    Attributes:
        name: the name to report: a model's id or an adapter's name.
        base: the loaded model.
        adapter: the folder of the adapter to apply, or None.
    """

    name: str
    base: LoadedModel
    adapter: Path | None = None

    def options(self, deadline: float, client: str = "") -> RequestOptions:
        """Return the engine's options for a request; ``deadline`` is a ``time.perf_counter()`` value."""
        return RequestOptions(deadline, self.adapter, client)


def choose_route(name: str, role: Role, status: Status, loaded: Mapping[str, LoadedModel]) -> ModelRoute:
    """Return the route for the model or adapter called ``name``, or for the role's model if ``name`` is empty.

    Raises RefusedRequestError.
    """
    if status.phase != "ready":
        headers = {"Retry-After": "1"} if status.phase in ("loading", "retiring") else {}
        raise RefusedRequestError(503, error_body(status.message, "unavailable", code=status.phase), headers)
    model_id = canonical(name) if name else status.model if role == "completion" else status.chat_model
    model = loaded.get(model_id)
    route = ModelRoute(model_id, model) if model else _adapter_route(name, status, loaded)
    if role == "chat" and (text := why_no_chat(route.base.row)):
        raise RefusedRequestError(400, error_body(text, "invalid_request_error", "model"))
    return route


def model_list(status: Status, loaded: Mapping[str, LoadedModel]) -> list[dict[str, Any]]:
    """Return the entries of OpenAI's model list: loaded models, then the adapters usable with them.

    An adapter's ``parent`` is its model, as in vLLM's list. While models load, the list holds only their ids.
    """
    models = [_entry(name, None, loaded.get(name)) for name in loaded or sorted(status.models)]
    usable = []
    for adapter in adapter_store.installed().values() if loaded else ():
        with suppress(AdapterError):
            base = _base_of(adapter, status, loaded)
            usable.append(_entry(adapter.name, base.row.id, base))
    return models + usable


def _adapter_route(name: str, status: Status, loaded: Mapping[str, LoadedModel]) -> ModelRoute:
    try:
        adapter = adapter_store.find(name)
        return ModelRoute(name, _base_of(adapter, status, loaded), adapter.folder)
    except AdapterMissingError:
        running = " and ".join(f"'{name}'" for name in loaded)
        text = f"The engine runs {running}, not '{name}', and there is no adapter '{name}': use one that it runs."
        body = error_body(text, "invalid_request_error", "model", "model_not_found")
        raise RefusedRequestError(404, body) from None
    except AdapterError as error:
        raise RefusedRequestError(400, error_body(str(error), "invalid_request_error", "model")) from None


def _base_of(adapter: Adapter, status: Status, loaded: Mapping[str, LoadedModel]) -> LoadedModel:
    """Return the loaded model that an adapter was trained on. Raises AdapterError.

    An adapter that names no base model is used with the completion model.
    """
    matching = (model for model in loaded.values() if adapter_store.is_base(adapter, model.row))
    base = next(matching, loaded[status.model])
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
