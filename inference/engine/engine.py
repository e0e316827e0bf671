"""One loaded model answering requests: prompt, prefill, decode, detokenise, stop.

Knows no sockets and no threads: every answer is a generator in which one ``next()`` is one step of the model, yielding
an event or None. Closing it between two steps cancels the answer and keeps what was read.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path

from inference.api.events import Cause, Finished, Sampling, Steps, TextChunk, TokenProbability, without_leading_space
from inference.engine.decode import STEP_SECONDS, ChunkSize, Prefilled, generate, healed
from inference.engine.draft_length import DraftLength
from inference.engine.out_of_memory import OutOfMemoryError, enduring
from inference.engine.sampling import Healing, Sampler, make_sampler, reciting, recorded, unending
from inference.engine.sequence import ContextBudget, Meter, RoleMemory
from inference.engine.speculation import Speculation
from inference.models.allocators import release
from inference.models.catalog import Model, Role, asked_to_chat
from inference.models.checkpoint import LoadError
from inference.models.language_model import KVPool, KVSession, LanguageModel
from inference.models.lora import AdaptedModels
from inference.text.chat_prompts import CHAT_PROMPTS
from inference.text.infill import CursorRequest, cursor_prompt
from inference.text.prompts import Message, Prompt, PromptError, Snippet, clean, prompt_of_ids
from inference.text.stopping import Stopper, StopRule
from inference.text.tokenizer import Detokenizer, Tokenizer
from inference.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

DRAFTED_FROM = 65_536
"""Characters of a text that are searched for drafts; encoding them takes less time than two decoding steps."""


CHECKED_TOKENS = 32
"""Tokens that a warm-up reads to see whether the logits are finite: few enough for one step."""


class Engine:
    """A model, its tokenizer and the KV sessions it keeps between requests."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        row: Model,
        contexts: Mapping[Role, int] | None = None,
        chunk: ChunkSize | None = None,
        drafts: bool = True,
    ) -> None:
        """Serve the roles of ``contexts``, each with as many tokens as the planner gives it (else what ``row`` can).

        Without ``drafts`` every step decodes one token: the same answers, to measure what drafts gain.
        """
        self.row = row
        self.tokenizer = tokenizer
        trained = min(row.context, model.config.max_position_embeddings)
        roles: tuple[Role, ...] = ("completion", "chat") if row.chat else ("completion",)
        contexts = contexts or dict.fromkeys(roles, trained)
        self._slots: dict[Role, RoleMemory] = {
            role: RoleMemory(ContextBudget(tokens), KVPool(model, tokens)) for role, tokens in contexts.items()
        }
        self._model, self._window = model, ""
        self._adapted = AdaptedModels(model, self._forget)
        self._vocabulary = Vocabulary(tokenizer)
        self._chunk = chunk or ChunkSize()
        self._draft_length = DraftLength(STEP_SECONDS) if drafts else None

    @property
    def contexts(self) -> Mapping[Role, int]:
        """The roles served, and tokens of context for each: as given, or fewer where memory ran out."""
        return {role: slot.budget.context for role, slot in self._slots.items()}

    def complete(
        self,
        prompt: str | list[int],
        suffix: str | None = None,
        sampling: Sampling | None = None,
        rule: StopRule | None = None,
        deadline: float | None = None,
        context: Sequence[Snippet] = (),
    ) -> Steps:
        """Fill in between ``prompt`` and ``suffix``; a model that cannot infill continues and is cut where it begins.

        Without a suffix ``prompt`` is continued; with an empty one too, unless the layout is SPM. ``deadline`` is a
        ``time.perf_counter()`` value, after which what there is has to do. ``context`` goes in front of a prompt that
        is text, as far as there is room beside it (``text.context``).
        Raises ``PromptError`` for ids outside the vocabulary.
        """
        sampling = sampling or Sampling()
        build = partial(self._completion, prompt, suffix, sampling, context)
        built, following = build()
        stopper = Stopper(rule or StopRule(), following, sampling.stop)
        return self._answer(built, sampling, stopper, deadline, "completion", following, lambda: build()[0])

    def _completion(
        self, prompt: str | list[int], suffix: str | None, sampling: Sampling, context: Sequence[Snippet]
    ) -> tuple[Prompt, str]:
        """The prompt, and what follows the answer and is not in it."""
        slot = self._slot("completion")
        room = slot.budget.prompt_tokens(sampling.max_tokens)
        if not isinstance(prompt, str):
            return self._of_ids(prompt, sampling.forced, slot.budget), suffix or ""
        layout, cursor = self.row.layout if self.row.infill else None, CursorRequest(prompt, suffix, context)
        return cursor_prompt(self.tokenizer, cursor, room, layout, healed_with=self._vocabulary)

    def chat(
        self, messages: Sequence[Message], sampling: Sampling | None = None, deadline: float | None = None
    ) -> Steps:
        """Answer the last of ``messages``. Raises ``PromptError`` where the model was not trained to chat."""
        if self.row.chat is None:
            raise PromptError(asked_to_chat(self.row))
        sampling = sampling or Sampling(max_tokens=512)
        layout = CHAT_PROMPTS[self.row.chat]

        def build() -> Prompt:
            return layout(self.tokenizer, messages, self._slot("chat").budget.prompt_tokens(sampling.max_tokens))

        stopper = Stopper(stops=sampling.stop)
        return without_leading_space(self._answer(build(), sampling, stopper, deadline, "chat", rebuild=build))

    def adapted(self, folder: Path) -> Engine:
        """This engine as it answers under the adapter in ``folder``: same weights, tokenizer and memory for sessions.

        For one answer: another time the adapter may have changed. Raises AdapterError where it can't be served.
        """
        other = copy(self)
        other._model = self._adapted.get(folder)
        return other

    def for_window(self, window: str) -> Engine:
        """This engine as it answers a window, which has its share of the memory for sessions."""
        other = copy(self)
        other._window = window
        return other

    def warm_up(self) -> None:
        """Run each kind of step once: the first of each is far slower than the rest, and may rewrite the weights.

        Every slot is filled to its planned length, so that no other program can take what a GPU will need for it.
        Raises LoadError where the logits are not finite: the weights are damaged.
        """
        for role, slot in self._slots.items():
            ids = [0] * min(2 * self._chunk.tokens, slot.budget.context - 2)
            session = slot.pool.acquire(ids)
            session.reserve(slot.budget.context)
            self._check_finite(session)
            slot.pool.release(session)
            for _ in self._answer(Prompt(ids, frozenset()), Sampling(max_tokens=2), Stopper(), None, role):
                pass
            slot.pool.clear()
        release()

    def _check_finite(self, session: KVSession) -> None:
        """Read some tokens of the whole vocabulary, and forget them again. Raises LoadError."""
        vocabulary = self._model.config.vocab_size
        ids = list(range(0, vocabulary, -(-vocabulary // CHECKED_TOKENS)))[: session.capacity]
        logits = self._model.forward(ids, session, every_position=True)
        session.truncate(0)
        if not logits.isfinite().all():
            raise LoadError(
                f"The weights of {self.row.id} give numbers that are not finite. "
                f"Run `codellama-ls pull {self.row.id} --verify`."
            )

    def _forget(self, model: LanguageModel) -> None:
        for slot in self._slots.values():
            slot.pool.forget(model)

    def _slot(self, role: Role) -> RoleMemory:
        """Its own, or that of what the model serves otherwise, where it was asked for by name."""
        return self._slots.get(role) or next(iter(self._slots.values()))

    def _of_ids(self, ids: Sequence[int], forced: Sequence[int], budget: ContextBudget) -> Prompt:
        return prompt_of_ids(ids, self.tokenizer.eos_ids, self._model.config.vocab_size, budget.context, forced)

    def _answer(
        self,
        prompt: Prompt,
        sampling: Sampling,
        stopper: Stopper,
        deadline: float | None,
        role: Role,
        beside: str = "",
        rebuild: Callable[[], Prompt] | None = None,
    ) -> Steps:
        """Drive one generation; the KV session goes back to the pool however it ends.

        ``beside`` is text that is not in the prompt and that the answer may repeat. Where memory does not suffice, the
        context is shortened, for later answers too, and the prompt is ``rebuild``'s. Raises MemoryShortError.
        """
        while True:
            if not prompt.ids:
                raise PromptError("There is nothing before the cursor to continue.")
            meter = Meter(len(prompt.ids), self._speculation(prompt, sampling, beside), prompt.dropped, prompt.cut)
            slot = self._slot(role)
            session = slot.pool.acquire(prompt.ids, self._model, self._window)
            try:
                room = slot.budget.room(prompt, sampling)
                chances: deque[TokenProbability] = deque()
                steps = self._generate(prompt, sampling, session, room, meter.speculation, chances)
                yield from self._steps(steps, prompt, stopper, deadline, meter, chances)
                return
            except OutOfMemoryError as short:
                if short.said or rebuild is None or not slot.shorten():
                    raise
            finally:
                slot.pool.release(session)
            prompt = rebuild()

    def _relieve(self) -> None:
        """Give back all memory but the weights'."""
        log.warning("memory ran out: what was read so far is forgotten")
        for slot in self._slots.values():
            slot.pool.evict()
        release()

    def _steps(
        self,
        steps: Iterator[Prefilled | int],
        prompt: Prompt,
        stopper: Stopper,
        deadline: float | None,
        meter: Meter,
        chances: deque[TokenProbability],
    ) -> Steps:
        """``chances`` has that of each token that a step gives, where they were asked for."""
        tokens: list[TokenProbability] = []  # those that no text was shown of yet
        text = Detokenizer(self.tokenizer, skip=len(prompt.heal.encode()))
        cause: Cause | None = None
        for step in steps:
            shown = ""
            if isinstance(step, Prefilled):
                meter.prefilled(step)
            elif step in prompt.stop_ids:
                cause = "end"
                break
            else:
                meter.completion_tokens += 1
                tokens += [chances.popleft()] if chances else []
                shown = stopper.feed(text.feed(step))
            cause = stopper.cause or ("deadline" if deadline and time.perf_counter() > deadline else None)
            yield TextChunk(shown, tuple(tokens)) if shown else None
            if shown:
                tokens = []
            if cause:
                break
        if not stopper.cause and (rest := stopper.feed(text.finish()) + stopper.finish()):
            yield TextChunk(rest, tuple(tokens))
        yield Finished(meter.outcome(stopper.cause or cause or ("rule" if stopper.trimmed else "length")))

    def _speculation(self, prompt: Prompt, sampling: Sampling, beside: str) -> Speculation | None:
        """Texts are encoded when the first draft is made, after the first token."""
        if self._draft_length is None or not sampling.drafts:
            return None

        def ids(text: str) -> list[int]:
            return self.tokenizer.encode_continuation(clean(text[:DRAFTED_FROM])) if text else []

        never = self._vocabulary.silent | prompt.stop_ids
        prediction = partial(ids, sampling.prediction)
        return Speculation(self._draft_length, never, prediction, (ids(text) for text in (beside,)))

    def _generate(
        self,
        prompt: Prompt,
        sampling: Sampling,
        session: KVSession,
        room: int,
        speculation: Speculation | None,
        chances: deque[TokenProbability],
    ) -> Iterator[Prefilled | int]:
        sampler = self._sampler(prompt, sampling)
        if prompt.heal:
            sampler = healed(sampler, Healing(self._vocabulary, self.tokenizer, prompt.heal))
        if sampling.logprobs is not None:
            sampler = recorded(sampler, sampling.logprobs, self.tokenizer.piece_bytes, chances.append)

        def begin(said: list[int]) -> Iterator[Prefilled | int]:
            ids, left = [*prompt.ids, *said], room - len(said)
            return generate(
                self._model, session, ids, sampler, max_tokens=left, chunk=self._chunk, speculation=speculation
            )

        return enduring(begin, self._relieve)

    def _sampler(self, prompt: Prompt, sampling: Sampling) -> Sampler:
        sampler = make_sampler(sampling.temperature, sampling.top_p, sampling.seed)
        if sampling.min_tokens:
            sampler = unending(sampler, prompt.stop_ids, sampling.min_tokens, self._model.config.vocab_size)
        return reciting(sampler, sampling.forced) if sampling.forced else sampler
