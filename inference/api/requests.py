"""What travels between a client and the engine: OpenAI-compatible requests and answers as value objects.

Torch-free, and knows neither sockets nor models. Beyond OpenAI's fields a completion may carry ``session``,
``stop_rule``, ``context``, ``priority``, ``deadline_ms`` and vLLM's ``min_tokens``, and for benchmarks ``drafts``
(false for none) and ``forced`` (ids that the answer begins with); a foreign server never sees them.

Source: OpenAI API reference, "Completions" (legacy) and "Chat" (with its ``prediction``).

The body of ``POST /retire``: who wants the engine to leave, and how soon. Torch-free.

The request of Code Llama's model card in its deployed form: ``POST /score`` and ``codellama-ls infer``.

Torch-free. Unknown fields are refused rather than ignored: who mistypes ``temperature`` should not be answered without.

Source: the sample input of the model card; the parameters are those of transformers' ``generate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from inference.api.events import Sampling
from inference.api.fields import LONGEST_SESSION, WireError, members, number, short, typed
from inference.text.prompts import Message, Snippet
from inference.text.stopping import StopRule

Priority = Literal["completion", "chat", "prefetch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
"""In the order in which the model serves them."""

LONGEST_SECONDS = 600.0
"""Deadline of a request that has none of its own."""

MAX_TOKENS_LIMIT = 8192
MAX_CHUNKS = 64

MOST_ANSWERS = 16
MOST_LOGPROBS = 20

EMPTY_SUFFIX = ("suffix", "")
"""The one field whose empty text says something: that nothing follows the cursor."""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """``POST /v1/completions``; ``deadline_ms`` counts from arrival at the engine.

    ``suffix`` asks for an infilling, also where nothing follows the cursor; None asks to continue the prompt.
    ``context`` are pieces of other files, the most important first; of those the engine takes what has room. ``user``
    is OpenAI's name for whose request this is: an editor's window, here, and each has its turn.
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
        """The body to send to our own engine."""
        return _body(self)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """``POST /v1/chat/completions``."""

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
        """The body to send to our own engine."""
        return _body(self)


def _body(request: CompletionRequest | ChatRequest) -> dict[str, Any]:
    """OpenAI's bodies are flat; what is not set is not sent."""
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
    """Check the body of ``POST /v1/completions``; raises ``WireError``."""
    fields = members(body)
    return CompletionRequest(
        prompt=_prompt(fields),
        suffix=typed(fields, "suffix", str, None),
        model=short(fields, "model"),
        stream=typed(fields, "stream", bool, False),
        sampling=_sampling(fields, 128, number(fields, "logprobs", None, 0, MOST_LOGPROBS, whole=True)),
        stop_rule=_stop_rule(fields),
        context=_context(fields),
        priority=_priority(fields, "completion"),
        deadline_ms=number(fields, "deadline_ms", None, 1, 3_600_000, whole=True),
        session=short(fields, "session", LONGEST_SESSION),
        user=short(fields, "user"),
        n=number(fields, "n", 1, 1, MOST_ANSWERS, whole=True),
        include_usage=_include_usage(fields),
    )


def parse_chat(body: Any) -> ChatRequest:
    """Check the body of ``POST /v1/chat/completions``; raises ``WireError``."""
    fields = members(body)
    return ChatRequest(
        messages=_messages(fields),
        model=short(fields, "model"),
        stream=typed(fields, "stream", bool, False),
        sampling=_sampling(fields, 512, _chat_logprobs(fields)),
        priority=_priority(fields, "chat"),
        deadline_ms=number(fields, "deadline_ms", None, 1, 3_600_000, whole=True),
        session=short(fields, "session", LONGEST_SESSION),
        user=short(fields, "user"),
        n=number(fields, "n", 1, 1, MOST_ANSWERS, whole=True),
        include_usage=_include_usage(fields),
    )


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _prompt(fields: Mapping[str, Any]) -> str | list[int]:
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]  # OpenAI's list of prompts, with a single one
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(type(i) is int for i in prompt):
        return prompt
    raise WireError("'prompt' must be a string or a list of token ids.", "prompt")


def _forced(fields: Mapping[str, Any]) -> tuple[int, ...]:
    """Ids have to follow ids: text before the cursor may have been healed, and then begins the answer itself."""
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
    """OpenAI's content: a string or parts. Parts without text are ignored."""
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
    """OpenAI's "predicted outputs"; for completions too, where OpenAI has none."""
    prediction = typed(fields, "prediction", dict, None)
    return _content(prediction, "prediction") if prediction is not None else ""


def _chat_logprobs(fields: Mapping[str, Any]) -> int | None:
    """Chats ask with two fields for what completions ask with one."""
    top = number(fields, "top_logprobs", None, 0, MOST_LOGPROBS, whole=True)
    wanted = typed(fields, "logprobs", bool, False)
    if top is not None and not wanted:
        raise WireError("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    return (top or 0) if wanted else None


def _include_usage(fields: Mapping[str, Any]) -> bool:
    return typed(typed(fields, "stream_options", dict, {}), "include_usage", bool, False)


def _sampling(fields: Mapping[str, Any], default_max: int, logprobs: int | None) -> Sampling:
    limit = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    return Sampling(
        max_tokens=number(fields, limit, default_max, 1, MAX_TOKENS_LIMIT, whole=True) or default_max,
        temperature=number(fields, "temperature", 0.0, 0, 2) or 0.0,
        top_p=number(fields, "top_p", 1.0, 0, 1) or 0.0,
        seed=number(fields, "seed", None, -(2**63), 2**63 - 1, whole=True),
        stop=_stops(fields),
        min_tokens=number(fields, "min_tokens", 0, 0, MAX_TOKENS_LIMIT, whole=True),
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
    if isinstance(stop, list | tuple) and all(isinstance(s, str) for s in stop) and len(stop) <= 16:
        return tuple(stop)
    raise WireError("'stop' must be a string or a list of at most 16 strings.", "stop")


def _stop_rule(fields: Mapping[str, Any]) -> StopRule:
    rule = typed(fields, "stop_rule", dict, {})
    kind = rule.get("kind", "none")
    if kind not in ("none", "line", "block"):
        raise WireError("'stop_rule.kind' must be none, line or block.", "stop_rule")
    indent = number(rule, "indent", 0, 0, 10_000, whole=True)
    return StopRule(kind, indent or 0, typed(rule, "closer", str, ""))


def _context(fields: Mapping[str, Any]) -> tuple[Snippet, ...]:
    chunks = fields.get("context")
    if chunks is None:
        return ()
    if not isinstance(chunks, list | tuple) or len(chunks) > MAX_CHUNKS:
        raise WireError(f"'context' must be a list of at most {MAX_CHUNKS} objects.", "context")
    for chunk in chunks:
        if not isinstance(chunk, dict) or not all(isinstance(chunk.get(name), str) for name in ("path", "text")):
            raise WireError("Each of 'context' must be an object with 'path' and 'text'.", "context")
    return tuple(Snippet(chunk["path"], chunk["text"]) for chunk in chunks)


def _priority(fields: Mapping[str, Any], default: Priority) -> Priority:
    priority = fields.get("priority", default)
    if priority not in PRIORITIES:
        raise WireError(f"'priority' must be one of {', '.join(PRIORITIES)}.", "priority")
    return priority


@dataclass(frozen=True, slots=True)
class ShutdownRequest:
    """``stop``: by a person's wish, not for another engine; ``now``: without finishing what has begun."""

    stop: bool = False
    now: bool = False

    @property
    def message(self) -> str:
        """For who watches the engine."""
        if self.stop:
            return "the engine was stopped; the next request starts it again"
        return "the engine finishes its last requests, then one of the version now installed takes its place"


def parse_shutdown(body: Any) -> ShutdownRequest:
    """Check the body. Raises ``WireError``."""
    if not isinstance(body, dict):
        raise WireError("The request's body must be a JSON object.")
    for name, value in body.items():
        if name not in ShutdownRequest.__dataclass_fields__ or not isinstance(value, bool):
            raise WireError(f"'{name}' is not known here, or not true or false.", name)
    return ShutdownRequest(**body)


MOST_INPUTS = 64

DEFAULT_NEW_TOKENS = 100

PARAMETERS = ("max_new_tokens", "do_sample", "temperature", "top_p", "seed")


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Texts to continue, each by itself and with the same sampling."""

    inputs: tuple[str, ...]
    sampling: Sampling
    model: str = ""


def parse_score(body: Any) -> ScoreRequest:
    """Check a parsed body. Raises ``WireError``, whose message and ``param`` say where the first mistake is."""
    fields = _object(body, "", ("input_data", "model"))
    data = _object(fields.get("input_data"), "input_data", ("input_string", "parameters"))
    return ScoreRequest(
        _inputs(data.get("input_string")), _score_sampling(data.get("parameters")), short(fields, "model")
    )


def _object(value: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    named = f"'{where}'" if where else "The request"
    if not isinstance(value, dict):
        raise WireError(f"{named} must be an object with {' and '.join(known)}.", where or None)
    for name in value:
        if name not in known:
            path = f"{where}.{name}" if where else name
            raise WireError(f"'{path}' is not known here; there is {', '.join(known)}.", path)
    return value


def _inputs(value: Any) -> tuple[str, ...]:
    where = "input_data.input_string"
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_INPUTS:
        raise WireError(f"'{where}' must be a list of 1 to {MOST_INPUTS} strings.", where)
    for n, text in enumerate(value):
        if not isinstance(text, str) or not text:
            raise WireError(f"'{where}[{n}]' must be a string that is not empty.", f"{where}[{n}]")
    return tuple(value)


def _score_sampling(value: Any) -> Sampling:
    fields = _object({} if value is None else value, "input_data.parameters", PARAMETERS)
    sample = fields.get("do_sample", False)
    if not isinstance(sample, bool):
        raise _wrong("do_sample", "true or false")
    temperature = _number(fields, "temperature", 1.0, 0, 2)
    return Sampling(
        max_tokens=_number(fields, "max_new_tokens", DEFAULT_NEW_TOKENS, 1, MAX_TOKENS_LIMIT, whole=True),
        temperature=temperature if sample else 0.0,
        top_p=_number(fields, "top_p", 1.0, 0, 1),
        seed=_number(fields, "seed", None, -(2**63), 2**63 - 1, whole=True),
    )


def _number(fields: Mapping[str, Any], name: str, default: Any, low: float, high: float, *, whole: bool = False) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    right = type(value) is int or (type(value) is float and not whole)
    if not right or not low <= value <= high:
        raise _wrong(name, f"{'a whole number' if whole else 'a number'} from {low} to {high}")
    return value


def _wrong(name: str, wanted: str) -> WireError:
    where = f"input_data.parameters.{name}"
    return WireError(f"'{where}' must be {wanted}.", where)
