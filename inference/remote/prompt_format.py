"""What one server is sent for one completion or chat, and how its answer is read: its dialect of OpenAI's API.

Pure but for the clock it is given. Token ids are built here as our own engine builds them, so that infilling is
reference-exact and nothing in a file can become a control token. What is lost without a server's logits is healing: the
prompt is cut at blanks alone, and what the answer repeats of them is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from inference.api.events import Cause, Outcome, parse_outcome
from inference.api.requests import ChatRequest, CompletionRequest
from inference.models.catalog import Model
from inference.text.infill import CursorRequest, cursor_prompt
from inference.text.prompts import clean
from inference.text.stopping import Stopper
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import END_OF_INFILL, SPACE

Kind = Literal["engine", "ids", "suffix", "text"]
"""What prompts may be: our own engine builds them itself; else token ids, or text with a suffix or without."""

MOST_STOPS = 4
"""As OpenAI has it."""

SAID_END = (END_OF_INFILL, END_OF_INFILL.replace(SPACE, " "))
"""What a server may write for the end of an infilling where it does not know that token for one."""


CHARACTERS_A_TOKEN = 2
"""Of a text whose tokens can't be counted here: code has three and more, and one that is cut is better than refused."""


@dataclass(frozen=True, slots=True)
class ServerDialect:
    """What a server takes.

    Attributes:
        kind: what a prompt may be.
        stop_ids: vLLM's ``stop_token_ids``: tokens that end an answer.
        usage: OpenAI's ``stream_options``: the stream tells its usage.
    """

    kind: Kind
    stop_ids: bool = False
    usage: bool = False


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """One completion as it is sent: the body, and what is to be known to read the answer.

    Attributes:
        heal: what stands before the cursor already and the answer may begin with.
        following: text behind the cursor that is not in the prompt.
        prompt_tokens: where they were counted here.
    """

    body: Mapping[str, Any]
    heal: str = ""
    following: str = ""
    prompt_tokens: int = 0
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How one model of one server is spoken to.

    Attributes:
        model: its name there.
        context: tokens that prompt and answer may have together.
        row: what it was trained for, where that is known.
        tokenizer: its vocabulary, where prompts are ids.
    """

    model: str
    dialect: ServerDialect
    context: int
    row: Model | None = None
    tokenizer: Tokenizer | None = None

    def completion(self, request: CompletionRequest) -> ServerRequest:
        """A request for text at a cursor. Raises ``PromptError``."""
        asked = self._of_ids(request) if self.dialect.kind == "ids" else self._of_text(request)
        sampling = request.sampling
        body = {"model": request.model or self.model, **asked.body, **self._sampled(sampling.max_tokens)}
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        body |= {} if sampling.seed is None else {"seed": sampling.seed}
        stops = ("\n",) if request.stop_rule.kind == "line" else ()
        body |= {"stop": list((*stops, *sampling.stop)[:MOST_STOPS])} if stops or sampling.stop else {}
        return ServerRequest(body, asked.heal, asked.following, asked.prompt_tokens, (*sampling.stop, *asked.stops))

    def chat(self, request: ChatRequest) -> dict[str, Any]:
        """The body of a chat. The template is the server's."""
        sampling = request.sampling
        body = {
            "model": request.model or self.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **self._sampled(sampling.max_tokens),
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
        return ServerRequest(body, prompt.heal, following, len(prompt.ids), SAID_END if layout else ())

    def _of_text(self, request: CompletionRequest) -> ServerRequest:
        """Text alone ends before blanks, as in ``completion_prompt``: no vocabulary knows a word with them behind.

        What is too long for the context loses its far ends; a suffix has a quarter of the room, or all a prefix leaves.
        """
        assert isinstance(request.prompt, str)
        room = self._room(request) * CHARACTERS_A_TOKEN
        prefix, following = clean(request.prompt), request.suffix or ""
        if self.dialect.kind == "suffix" and following:
            suffix = clean(following)[: max(room - len(prefix), room // 4)]
            return ServerRequest({"prompt": prefix[-(room - len(suffix)) :], "suffix": suffix}, following=following)
        prefix = prefix[-room:]
        stem = prefix.rstrip(" \t") or prefix
        return ServerRequest({"prompt": stem}, prefix[len(stem) :], following)

    def _room(self, request: CompletionRequest) -> int:
        """Tokens of a prompt that leave room for the answer."""
        return self.context - min(request.sampling.max_tokens, self.context // 2)

    def _sampled(self, most: int) -> dict[str, Any]:
        usage = {"stream_options": {"include_usage": True}} if self.dialect.usage else {}
        return {"max_tokens": min(most, max(self.context // 2, 1)), **usage}


@dataclass
class AnswerReader:
    """One completion as it comes in: what of it is shown, when it is over, and what it took."""

    asked: ServerRequest
    stopper: Stopper
    clock: Callable[[], float]
    usage: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    parts: int = 0

    def __post_init__(self) -> None:
        self._heal = self.asked.heal
        self._started = self.clock()
        self._first: float | None = None

    def feed(self, text: str) -> str:
        """What is to be shown of newly written text."""
        if not text:
            return ""
        if self._first is None:
            self._first = self.clock()
        self.parts += 1
        return self.stopper.feed(self._healed(text))

    def outcome(self, cause: Cause | None = None) -> Outcome:
        """How it went. Times are as they were felt here, the way there and back included.

        An answer that was left early has no usage: its parts are counted then, which most servers send one a token.
        """
        told = parse_outcome(self.reason, self.usage, {"cause": cause or self.stopper.cause})
        now = self.clock()
        first = now if self._first is None else self._first
        return Outcome(
            told.cause,
            told.prompt_tokens or self.asked.prompt_tokens,
            told.reused_tokens,
            told.completion_tokens or self.parts,
            prefill_ms=(first - self._started) * 1000,
            decode_ms=(now - first) * 1000,
        )

    def _healed(self, text: str) -> str:
        """Without as much of what stands there already as it repeats."""
        same = 0
        while same < min(len(text), len(self._heal)) and text[same] == self._heal[same]:
            same += 1
        self._heal = self._heal[same:] if same == len(text) else ""
        return text[same:]
