"""Build the body of a request for one server, and read its response: the server's dialect of OpenAI's API.

Pure except for the clock. Token ids are built here as our own engine builds them. So infilling matches the reference
exactly, and text in a file cannot become a control token. Token healing is not possible without the server's logits:
the prompt is cut before blanks instead, and blanks that the response repeats are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from inference.api.events import Outcome, parse_outcome
from inference.api.requests import ChatRequest, CompletionRequest
from inference.client.openai_stream import StreamEvent
from inference.models.catalog import Model
from inference.text.infill import CursorRequest, cursor_prompt
from inference.text.prompts import normalize_text
from inference.text.stopping import Stopper
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import END_OF_INFILL, SPACE

Kind = Literal["engine", "ids", "suffix", "text"]
"""Form of a prompt: built by our own engine, token ids, text with a ``suffix`` field, or text alone."""

MOST_STOPS = 4
"""OpenAI's limit."""

END_TEXTS = (END_OF_INFILL, END_OF_INFILL.replace(SPACE, " "))
"""Text that a server may generate for the end of an infilling if it does not treat that token as an end."""

CHARACTERS_PER_TOKEN = 2
"""Estimate where tokens cannot be counted. Code has three and more, but a cut prompt is better than a refused one."""


@dataclass(frozen=True, slots=True)
class ServerDialect:
    """Features of OpenAI's API that a server supports.

    Attributes:
        kind: form of a prompt.
        stop_ids: vLLM's ``stop_token_ids``, tokens that end a completion.
        usage: OpenAI's ``stream_options``, which adds the usage to a stream.
    """

    kind: Kind
    stop_ids: bool = False
    usage: bool = False


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """One completion as it is sent.

    Attributes:
        body: JSON body.
        heal: text before the cursor that the prompt leaves out; the completion may begin with it.
        following: text after the cursor that the prompt leaves out.
        prompt_tokens: length of the prompt; 0 if it was not counted here.
        stops: strings that end the completion, applied on this side.
    """

    body: Mapping[str, Any]
    heal: str = ""
    following: str = ""
    prompt_tokens: int = 0
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """Prompt format of one model on one server.

    Attributes:
        model: its name on the server.
        dialect: features that the server supports.
        context: tokens of prompt and response together.
        row: its catalogue row; None for models that the catalogue does not list.
        tokenizer: its tokenizer, needed for prompts of token ids.
    """

    model: str
    dialect: ServerDialect
    context: int
    row: Model | None = None
    tokenizer: Tokenizer | None = None

    def completion(self, request: CompletionRequest) -> ServerRequest:
        """Build a completion. Raises ``PromptError``."""
        prompt = self._of_ids(request) if self.dialect.kind == "ids" else self._of_text(request)
        sampling = request.sampling
        body = {"model": request.model or self.model, **prompt.body, **self._limits(sampling.max_tokens)}
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        body |= {} if sampling.seed is None else {"seed": sampling.seed}
        stops = ("\n",) if request.stop_rule.kind == "line" else ()
        body |= {"stop": list((*stops, *sampling.stop)[:MOST_STOPS])} if stops or sampling.stop else {}
        return ServerRequest(body, prompt.heal, prompt.following, prompt.prompt_tokens, (*sampling.stop, *prompt.stops))

    def chat(self, request: ChatRequest) -> dict[str, Any]:
        """Build the body of a chat. The server applies its own template."""
        sampling = request.sampling
        body = {
            "model": request.model or self.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **self._limits(sampling.max_tokens),
        }
        body |= {} if sampling.seed is None else {"seed": sampling.seed}
        return body | ({"stop": list(sampling.stop[:MOST_STOPS])} if sampling.stop else {})

    def _of_ids(self, request: CompletionRequest) -> ServerRequest:
        assert self.tokenizer is not None
        assert isinstance(request.prompt, str)
        layout = self.row.layout if self.row and self.row.infill else None
        cursor = CursorRequest(request.prompt, request.suffix, request.context)
        prompt, following = cursor_prompt(self.tokenizer, cursor, self._room(request), layout)
        body: dict[str, Any] = {"prompt": prompt.ids}
        body |= {"stop_token_ids": sorted(prompt.stop_ids)} if self.dialect.stop_ids else {}
        return ServerRequest(body, prompt.heal, following, len(prompt.ids), END_TEXTS if layout else ())

    def _of_text(self, request: CompletionRequest) -> ServerRequest:
        """Build a prompt of text. It ends before blanks, as ``completion_prompt`` does: tokens begin with a blank.

        A prompt too long for the context loses the text farthest from the cursor. The suffix gets a quarter of the
        room, or all that the prefix leaves.
        """
        assert isinstance(request.prompt, str)
        room = self._room(request) * CHARACTERS_PER_TOKEN
        prefix, following = normalize_text(request.prompt), request.suffix or ""
        if self.dialect.kind == "suffix" and following:
            suffix = normalize_text(following)[: max(room - len(prefix), room // 4)]
            return ServerRequest({"prompt": prefix[-(room - len(suffix)) :], "suffix": suffix}, following=following)
        prefix = prefix[-room:]
        stem = prefix.rstrip(" \t") or prefix
        return ServerRequest({"prompt": stem}, prefix[len(stem) :], following)

    def _room(self, request: CompletionRequest) -> int:
        """Return the tokens that a prompt may have beside ``max_tokens``."""
        return self.context - min(request.sampling.max_tokens, self.context // 2)

    def _limits(self, max_tokens: int) -> dict[str, Any]:
        usage = {"stream_options": {"include_usage": True}} if self.dialect.usage else {}
        return {"max_tokens": min(max_tokens, max(self.context // 2, 1)), **usage}


class CompletionReader:
    """Read the stream of one completion: apply its stop rule, drop repeated blanks, measure it."""

    def __init__(self, request: ServerRequest, stopper: Stopper, clock: Callable[[], float]) -> None:
        """``clock`` returns seconds."""
        self._request, self._stopper, self._clock = request, stopper, clock
        self._heal = request.heal
        self._usage: Mapping[str, Any] = {}
        self._reason, self._texts = "", 0
        self._started = clock()
        self._first: float | None = None

    @property
    def done(self) -> bool:
        """True once the stop rule has matched; the rest of the stream is not needed."""
        return self._stopper.cause is not None

    def feed(self, event: StreamEvent) -> str:
        """Take an event in and return the text to show."""
        self._usage, self._reason = event.usage or self._usage, event.reason or self._reason
        if not event.text:
            return ""
        if self._first is None:
            self._first = self._clock()
        self._texts += 1
        return self._stopper.feed(self._without_heal(event.text))

    def finish(self) -> str:
        """Return text that was held back."""
        return self._stopper.finish()

    def outcome(self, *, late: bool = False) -> Outcome:
        """Summarise the generation; ``late`` if its deadline passed before it ended.

        Times are those of this side and include the network. A stream that was closed early brought no usage: its
        events are counted instead, since most servers send one per token.
        """
        parsed = parse_outcome(self._reason, self._usage, {"cause": "deadline" if late else self._stopper.cause})
        now = self._clock()
        first = now if self._first is None else self._first
        return Outcome(
            parsed.cause,
            parsed.prompt_tokens or self._request.prompt_tokens,
            parsed.reused_tokens,
            parsed.completion_tokens or self._texts,
            prefill_ms=(first - self._started) * 1000,
            decode_ms=(now - first) * 1000,
        )

    def _without_heal(self, text: str) -> str:
        """Drop the part of ``text`` that repeats what stands before the cursor."""
        same = 0
        while same < min(len(text), len(self._heal)) and text[same] == self._heal[same]:
            same += 1
        self._heal = self._heal[same:] if same == len(text) else ""
        return text[same:]
