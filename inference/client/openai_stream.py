"""Events of streamed completions and chats. Source: OpenAI API reference, "Streaming". Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference.api.events import Outcome, parse_outcome
from inference.api.fields import parse_json

DONE = "[DONE]"
"""The data of a stream's last event."""

DEADLINE = {"cause": "deadline"}


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a streamed completion or chat.

    Attributes:
        text: new text; may be empty.
        reason: OpenAI's finish reason; empty until the last text.
        usage: OpenAI's ``usage``; empty unless the event brings it.
        timings: our engine's own addition (see ``events.timings``).
        logprobs: OpenAI's ``logprobs`` of the text, unchecked; None unless the request wants them.
        model: the model or adapter that wrote the text.
        error: OpenAI's ``error``; None unless the generation failed.
    """

    text: str = ""
    reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    logprobs: Any = None
    model: str = ""
    error: Any = None


def parse_event(data: str) -> StreamEvent:
    """Parse one event. Raises ``ValueError`` if it is not of OpenAI's API."""
    try:
        event = parse_json(data.encode())
        if error := event.get("error"):
            return StreamEvent(error=error)
        choices = event["choices"]
        choice = choices[0] if choices else {}
        text = choice["delta"].get("content") if "delta" in choice else choice.get("text")
        fields = (
            text or "",
            choice.get("finish_reason") or "",
            event.get("usage") or {},
            event.get("timings") or {},
            choice.get("logprobs"),
            event.get("model") or "",
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"no event of a completion or chat: {error!r}") from error
    if not all(isinstance(one, kind) for one, kind in zip(fields, (str, str, Mapping, Mapping), strict=False)):
        raise ValueError("no event of a completion or chat")
    return StreamEvent(*fields)


@dataclass
class PlainReader:
    """Read a stream whose server applies all stop rules itself: keep its text, collect how it ended."""

    reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    done = False
    """True once the rest of the stream is not needed."""

    def feed(self, event: StreamEvent) -> str:
        """Take an event in and return the text to show."""
        self.reason = event.reason or self.reason
        self.usage, self.timings = event.usage or self.usage, event.timings or self.timings
        self.model = event.model or self.model
        return event.text

    def finish(self) -> str:
        """Return text that was held back."""
        return ""

    def outcome(self, *, late: bool = False) -> Outcome:
        """Summarise the generation; ``late`` if its deadline passed before it ended."""
        if late:
            return parse_outcome(self.reason or "length", self.usage, self.timings or DEADLINE)
        return parse_outcome(self.reason, self.usage, self.timings)
