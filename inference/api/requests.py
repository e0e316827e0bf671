"""Requests to the engine as value objects, to and from JSON: completions, chats, shutdown, and the model card's form.

Torch-free. Beyond OpenAI's fields, a completion may carry ``session``, ``stop_rule``, ``context``, ``priority``,
``deadline_ms`` and vLLM's ``min_tokens``, and for benchmarks ``drafts`` and ``forced``. Only our own engine gets them.

Sources: OpenAI API reference, "Completions" (legacy) and "Chat" (with ``prediction``); the sample input of Code Llama's
model card for ``POST /score``, with the parameters of transformers' ``generate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from inference.api.events import Sampling
from inference.api.fields import LONGEST_SESSION, WireError, number, request_fields, short_string, typed
from inference.text.prompts import Message, Snippet
from inference.text.stopping import StopRule

Priority = Literal["completion", "chat", "prefetch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
"""Highest priority first."""

LONGEST_SECONDS = 600.0
"""Deadline of a request without ``deadline_ms``."""

DEADLINES_MS = (1, 3_600_000)
SEEDS = (-(2**63), 2**63 - 1)

MAX_TOKENS_LIMIT = 8192
MAX_SNIPPETS = 64
MAX_STOPS = 16
MAX_CHOICES = 16
MAX_LOGPROBS = 20

MAX_INPUTS = 64
"""Texts of one ``/score`` request."""

DEFAULT_NEW_TOKENS = 100

PARAMETERS = ("max_new_tokens", "do_sample", "temperature", "top_p", "seed")
"""Parameters of a ``/score`` request."""

EMPTY_SUFFIX = ("suffix", "")
"""The one field whose empty value has a meaning: nothing follows the cursor."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """``POST /v1/completions``.

    Attributes:
        prompt: text before the cursor, or token ids.
        suffix: text after the cursor; "" if nothing follows it, None to continue the prompt without infilling.
        model: id of the model, or name of an adapter; empty for the engine's model.
        stream: True for a stream of events.
        sampling: sampling parameters.
        stop_rule: rule that ends the completion, such as after one line.
        context: snippets of other files, most important first; the engine takes as many as fit.
        priority: scheduling class.
        deadline_ms: milliseconds from the request's arrival at the engine; None for ``LONGEST_SECONDS``.
        session: the document's URI, to find its KV cache.
        user: the editor session; the engine schedules users fairly.
        n: number of completions.
        include_usage: True to end a stream with the usage.
    """

    prompt: str | list[int]
    suffix: str | None = None
    model: str = ""
    stream: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    stop_rule: StopRule = field(default_factory=StopRule)
    context: tuple[Snippet, ...] = ()
    priority: Priority = "completion"
    deadline_ms: int | None = None
    session: str = ""
    user: str = ""
    n: int = 1
    include_usage: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the body for our own engine."""
        return _body(self)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """``POST /v1/chat/completions``. The attributes are those of ``CompletionRequest``."""

    messages: tuple[Message, ...]
    model: str = ""
    stream: bool = False
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=512))
    priority: Priority = "chat"
    deadline_ms: int | None = None
    session: str = ""
    user: str = ""
    n: int = 1
    include_usage: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the body for our own engine."""
        return _body(self)


@dataclass(frozen=True, slots=True)
class ShutdownRequest:
    """``POST /retire``.

    Attributes:
        stop: True if the user stops the engine, False if another version replaces it.
        now: True to cancel the current requests instead of finishing them.
    """

    stop: bool = False
    now: bool = False

    @property
    def message(self) -> str:
        """Return the message of the engine's status."""
        if self.stop:
            return "the engine was stopped; the next request starts it again"
        return "the engine finishes its last requests, then the installed version replaces it"


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """``POST /score``: texts to continue, each by itself and with the same sampling."""

    inputs: tuple[str, ...]
    sampling: Sampling
    model: str = ""


def _body(request: CompletionRequest | ChatRequest) -> dict[str, Any]:
    """Flatten the sampling parameters, as in OpenAI's bodies, and leave out unset fields."""
    body = asdict(request)
    fields = body | body.pop("sampling")
    if fields.pop("include_usage"):
        fields["stream_options"] = {"include_usage": True}
    if isinstance(request, ChatRequest) and fields["logprobs"] is not None:
        fields["logprobs"], fields["top_logprobs"] = True, fields["logprobs"]
    if text := fields["prediction"]:
        fields["prediction"] = {"type": "content", "content": text}
    return {
        name: value for name, value in fields.items() if value not in (None, "", ()) or (name, value) == EMPTY_SUFFIX
    }


def parse_completion(body: Any) -> CompletionRequest:
    """Parse the body of ``POST /v1/completions``. Raises ``WireError``."""
    fields = request_fields(body)
    return CompletionRequest(
        prompt=_prompt(fields),
        suffix=typed(fields, "suffix", str, None),
        model=short_string(fields, "model"),
        stream=typed(fields, "stream", bool, False),
        sampling=_sampling(fields, 128, number(fields, "logprobs", None, (0, MAX_LOGPROBS), whole=True)),
        stop_rule=_stop_rule(fields),
        context=_context(fields),
        priority=_priority(fields, "completion"),
        deadline_ms=number(fields, "deadline_ms", None, DEADLINES_MS, whole=True),
        session=short_string(fields, "session", LONGEST_SESSION),
        user=short_string(fields, "user"),
        n=number(fields, "n", 1, (1, MAX_CHOICES), whole=True),
        include_usage=_include_usage(fields),
    )


def parse_chat(body: Any) -> ChatRequest:
    """Parse the body of ``POST /v1/chat/completions``. Raises ``WireError``."""
    fields = request_fields(body)
    return ChatRequest(
        messages=_messages(fields),
        model=short_string(fields, "model"),
        stream=typed(fields, "stream", bool, False),
        sampling=_sampling(fields, 512, _chat_logprobs(fields)),
        priority=_priority(fields, "chat"),
        deadline_ms=number(fields, "deadline_ms", None, DEADLINES_MS, whole=True),
        session=short_string(fields, "session", LONGEST_SESSION),
        user=short_string(fields, "user"),
        n=number(fields, "n", 1, (1, MAX_CHOICES), whole=True),
        include_usage=_include_usage(fields),
    )


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _prompt(fields: Mapping[str, Any]) -> str | list[int]:
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]  # OpenAI allows a list of prompts; one is supported
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(type(i) is int for i in prompt):
        return prompt
    raise WireError("'prompt' must be a string or a list of token ids.", "prompt")


def _forced(fields: Mapping[str, Any]) -> tuple[int, ...]:
    """Require a prompt of ids: token healing may regenerate the end of a prompt of text."""
    forced = fields.get("forced")
    if not forced:
        return ()
    if not isinstance(forced, list | tuple) or not all(type(i) is int for i in forced):
        raise WireError("'forced' must be a list of token ids.", "forced")
    if not isinstance(fields.get("prompt"), list):
        raise WireError("'forced' needs a 'prompt' of token ids.", "forced")
    return tuple(forced)


def _messages(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise WireError("'messages' must be a list with at least one message.", "messages")
    return tuple(_message(message, n) for n, message in enumerate(messages))


def _message(message: Any, n: int) -> Message:
    where = f"messages[{n}]"
    if not isinstance(message, dict):
        raise WireError(f"'{where}' must be an object with 'role' and 'content'.", where)
    role = message.get("role")
    if role not in ("system", "user", "assistant"):
        raise WireError(f"'{where}.role' must be system, user or assistant.", where)
    return Message(role, _content(message, where))


def _content(holder: Mapping[str, Any], where: str) -> str:
    """Return OpenAI's content: a string, or the texts of a list of parts."""
    content = holder.get("content")
    if isinstance(content, list):
        content = "".join(_part(part, f"{where}.content[{n}]") for n, part in enumerate(content))
    if not isinstance(content, str):
        raise WireError(f"'{where}.content' must be a string.", where)
    return content


def _part(part: Any, where: str) -> str:
    text = part.get("text", "") if isinstance(part, dict) else None
    if not isinstance(text, str):
        raise WireError(f"'{where}' must be an object whose 'text' is a string.", where)
    return text


def _prediction(fields: Mapping[str, Any]) -> str:
    """Return OpenAI's "predicted outputs", supported for completions too."""
    prediction = typed(fields, "prediction", dict, None)
    return _content(prediction, "prediction") if prediction is not None else ""


def _chat_logprobs(fields: Mapping[str, Any]) -> int | None:
    """Return the number of log-probabilities: two fields in chats, one in completions."""
    top = number(fields, "top_logprobs", None, (0, MAX_LOGPROBS), whole=True)
    enabled = typed(fields, "logprobs", bool, False)
    if top is not None and not enabled:
        raise WireError("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    return (top or 0) if enabled else None


def _include_usage(fields: Mapping[str, Any]) -> bool:
    return typed(typed(fields, "stream_options", dict, {}), "include_usage", bool, False)


def _sampling(fields: Mapping[str, Any], default_max: int, logprobs: int | None) -> Sampling:
    limit = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    return Sampling(
        max_tokens=number(fields, limit, default_max, (1, MAX_TOKENS_LIMIT), whole=True) or default_max,
        temperature=number(fields, "temperature", 0.0, (0, 2)) or 0.0,
        top_p=number(fields, "top_p", 1.0, (0, 1)) or 0.0,
        seed=number(fields, "seed", None, SEEDS, whole=True),
        stop=_stops(fields),
        min_tokens=number(fields, "min_tokens", 0, (0, MAX_TOKENS_LIMIT), whole=True),
        prediction=_prediction(fields),
        drafts=typed(fields, "drafts", bool, True),
        forced=_forced(fields),
        logprobs=logprobs,
    )


def _stops(fields: Mapping[str, Any]) -> tuple[str, ...]:
    stop = fields.get("stop")
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    if isinstance(stop, list | tuple) and all(isinstance(s, str) for s in stop) and len(stop) <= MAX_STOPS:
        return tuple(stop)
    raise WireError(f"'stop' must be a string or a list of at most {MAX_STOPS} strings.", "stop")


def _stop_rule(fields: Mapping[str, Any]) -> StopRule:
    rule = typed(fields, "stop_rule", dict, {})
    kind = rule.get("kind", "none")
    if kind not in ("none", "line", "block"):
        raise WireError("'stop_rule.kind' must be none, line or block.", "stop_rule")
    indent = number(rule, "indent", 0, (0, 10_000), whole=True)
    return StopRule(kind, indent or 0, typed(rule, "closer", str, ""))


def _context(fields: Mapping[str, Any]) -> tuple[Snippet, ...]:
    snippets = fields.get("context")
    if snippets is None:
        return ()
    if not isinstance(snippets, list | tuple) or len(snippets) > MAX_SNIPPETS:
        raise WireError(f"'context' must be a list of at most {MAX_SNIPPETS} objects.", "context")
    for snippet in snippets:
        if not isinstance(snippet, dict) or not all(isinstance(snippet.get(name), str) for name in ("path", "text")):
            raise WireError("Each item of 'context' must be an object with 'path' and 'text'.", "context")
    return tuple(Snippet(one["path"], one["text"]) for one in snippets)


def _priority(fields: Mapping[str, Any], default: Priority) -> Priority:
    priority = fields.get("priority", default)
    if priority not in PRIORITIES:
        raise WireError(f"'priority' must be one of {', '.join(PRIORITIES)}.", "priority")
    return priority


def parse_shutdown(body: Any) -> ShutdownRequest:
    """Parse the body of ``POST /retire``. Raises ``WireError``."""
    if not isinstance(body, dict):
        raise WireError("The request's body must be a JSON object.")
    for name, value in body.items():
        if name not in ShutdownRequest.__dataclass_fields__ or not isinstance(value, bool):
            raise WireError(f"'{name}' is unknown, or not true or false.", name)
    return ShutdownRequest(**body)


def parse_score(body: Any) -> ScoreRequest:
    """Parse the body of ``POST /score``. Raises ``WireError`` with the path of the first invalid field.

    Unknown fields are refused rather than ignored: a misspelt ``temperature`` must not go unnoticed.
    """
    fields = _object(body, "", ("input_data", "model"))
    data = _object(fields.get("input_data"), "input_data", ("input_string", "parameters"))
    return ScoreRequest(
        _inputs(data.get("input_string")), _score_sampling(data.get("parameters")), short_string(fields, "model")
    )


def _object(value: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    subject = f"'{where}'" if where else "The request"
    if not isinstance(value, dict):
        raise WireError(f"{subject} must be an object with {' and '.join(known)}.", where or None)
    for name in value:
        if name not in known:
            path = f"{where}.{name}" if where else name
            raise WireError(f"'{path}' is unknown. Valid are {', '.join(known)}.", path)
    return value


def _inputs(value: Any) -> tuple[str, ...]:
    where = "input_data.input_string"
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_INPUTS:
        raise WireError(f"'{where}' must be a list of 1 to {MAX_INPUTS} strings.", where)
    for n, text in enumerate(value):
        if not isinstance(text, str) or not text:
            raise WireError(f"'{where}[{n}]' must be a string that is not empty.", f"{where}[{n}]")
    return tuple(value)


def _score_sampling(value: Any) -> Sampling:
    where = "input_data.parameters"
    fields = _object({} if value is None else value, where, PARAMETERS)
    sample = typed(fields, "do_sample", bool, False, within=where)
    temperature = number(fields, "temperature", 1.0, (0, 2), within=where)
    return Sampling(
        max_tokens=number(
            fields, "max_new_tokens", DEFAULT_NEW_TOKENS, (1, MAX_TOKENS_LIMIT), whole=True, within=where
        ),
        temperature=temperature if sample else 0.0,
        top_p=number(fields, "top_p", 1.0, (0, 1), within=where),
        seed=number(fields, "seed", None, SEEDS, whole=True, within=where),
    )
