"""Errors of requests to a model. Torch-free."""

from __future__ import annotations

from inference.errors import CodeLlamaError

NOT_RESPONDING = (
    "The engine does not respond. Run `codellama-ls engine stop --now` to end it; the next request starts another one."
)


class EngineError(CodeLlamaError):
    """A request to a model failed."""


class EngineUnavailable(EngineError):
    """No engine or server is ready to respond; the request itself may be valid."""


class EngineSilent(EngineUnavailable):
    """The engine exists but does not respond in time: it hangs (see ``hung_engine``), or the machine was suspended."""

    def __init__(self, text: str = NOT_RESPONDING) -> None:
        super().__init__(text)


class BadRequest(EngineError):
    """The request is invalid."""


class ModelRefused(EngineError):
    """The model or adapter named in the request does not exist, or cannot serve it."""
