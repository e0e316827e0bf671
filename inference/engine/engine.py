"""One loaded model that serves requests: build the prompt, prefill, decode, detokenise, stop.

Every completion is a generator: one ``next()`` runs one step of the model and yields an event or None. Closing it
between two steps cancels the request; the tokens read so far stay in the KV cache.
"""

from __future__ import annotations

import logging
from collections import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from inference.api.events import RequestOptions, Sampling, Steps, without_leading_space
from inference.engine.decode import STEP_SECONDS, ChunkSize, Prefilled, generate
from inference.engine.draft_length import DraftLength
from inference.engine.out_of_memory import OutOfMemoryError, resuming
from inference.engine.sequence import ContextBudget, RoleMemory, Sequence
from inference.engine.speculation import Speculation
from inference.models.allocators import release
from inference.models.catalog import Model, Role, why_no_chat
from inference.models.checkpoint import LoadError
from inference.models.language_model import KVPool, KVSession, LanguageModel
from inference.models.lora import AdapterCache
from inference.text.chat_prompts import CHAT_PROMPTS
from inference.text.infill import CursorRequest, cursor_prompt
from inference.text.prompts import Message, Prompt, PromptError, Snippet, normalize_text, prompt_from_ids
from inference.text.stopping import Stopper, StopRule
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

MAX_DRAFT_SOURCE = 65_536
"""Characters of a text that are searched for drafts; encoding them takes less time than two decoding steps."""

CHECKED_TOKENS = 32
"""Tokens that a warm-up reads to check that the logits are finite: few enough for one step."""


@dataclass(frozen=True, slots=True)
class _Request:
    """The part of a request that stays when its prompt is rebuilt for a shorter context.

    Attributes:
        role: the KV pool and context budget to use.
        model: the loaded model, or the same weights under an adapter.
        following: text after the cursor that is not in the prompt and that the completion may repeat.
        rebuild: builds the prompt for the context's current length; None if the prompt is fixed.
    """

    role: Role
    model: LanguageModel
    sampling: Sampling
    stopper: Stopper
    options: RequestOptions
    following: str = ""
    rebuild: Callable[[], Prompt] | None = None


class Engine:
    """A model, its tokenizer, and the KV sessions it keeps between requests. Not thread-safe."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        row: Model,
        contexts: Mapping[Role, int] | None = None,
        chunk: ChunkSize | None = None,
        drafts: bool = True,
    ) -> None:
        """Serve the roles of ``contexts`` with their tokens of context, by default all that ``row`` was trained for.

        ``drafts=False`` decodes one token per step: the same text without speculation, for benchmarks.
        """
        self.row = row
        self.tokenizer = tokenizer
        trained = min(row.context, model.config.max_position_embeddings)
        roles: tuple[Role, ...] = ("completion", "chat") if row.chat else ("completion",)
        contexts = contexts or dict.fromkeys(roles, trained)
        self._slots: dict[Role, RoleMemory] = {
            role: RoleMemory(ContextBudget(tokens), KVPool(model, tokens)) for role, tokens in contexts.items()
        }
        self._model = model
        self._adapters = AdapterCache(model, self._forget)
        self._vocabulary = Vocabulary(tokenizer)
        self._chunk = chunk or ChunkSize()
        self._draft_length = DraftLength(STEP_SECONDS) if drafts else None

    @property
    def contexts(self) -> Mapping[Role, int]:
        """Tokens of context per role: as planned, or fewer after memory ran out."""
        return {role: slot.budget.context for role, slot in self._slots.items()}

    def complete(
        self,
        prompt: str | list[int],
        suffix: str | None = None,
        sampling: Sampling | None = None,
        rule: StopRule | None = None,
        options: RequestOptions | None = None,
        context: abc.Sequence[Snippet] = (),
    ) -> Steps:
        """Complete between ``prompt`` and ``suffix``.

        A model that cannot infill continues ``prompt``, and stops where its text repeats ``suffix``.

        Args:
            prompt: the text before the cursor, or a whole prompt as token ids.
            suffix: the text after it. None continues ``prompt``; so does "" unless the prompt layout is SPM.
            sampling: how tokens are chosen, and how many.
            rule: where the completion stops.
            options: deadline, adapter and client.
            context: snippets to put in front of a text prompt, as far as they fit.

        Raises:
            PromptError: the prompt is empty or has ids outside the vocabulary.
            AdapterError: the adapter cannot be served.
        """
        options, sampling = options or RequestOptions(), sampling or Sampling()
        model = self._under(options.adapter)
        build = partial(self._completion_prompt, prompt, suffix, sampling, context)
        built, following = build()
        stopper = Stopper(rule or StopRule(), following, sampling.stop)
        request = _Request("completion", model, sampling, stopper, options, following, lambda: build()[0])
        return self._run(built, request)

    def chat(
        self,
        messages: abc.Sequence[Message],
        sampling: Sampling | None = None,
        options: RequestOptions | None = None,
    ) -> Steps:
        """Reply to the last of ``messages``; the other arguments are those of ``complete``.

        Raises PromptError if the model was not trained to chat, AdapterError if the adapter cannot be served.
        """
        if self.row.chat is None:
            raise PromptError(why_no_chat(self.row))
        options, sampling = options or RequestOptions(), sampling or Sampling(max_tokens=512)
        model = self._under(options.adapter)
        layout = CHAT_PROMPTS[self.row.chat]

        def build() -> Prompt:
            return layout(self.tokenizer, messages, self._slot("chat").budget.prompt_tokens(sampling.max_tokens))

        request = _Request("chat", model, sampling, Stopper(stops=sampling.stop), options, rebuild=build)
        return without_leading_space(self._run(build(), request))

    def warm_up(self) -> None:
        """Run each kind of step once: the first of each is far slower than the rest, and may rewrite the weights.

        Every KV pool is filled to its planned length, so that a GPU's memory is taken before other programs take it.
        Raises LoadError if logits are not finite: the weights are damaged.
        """
        for role, slot in self._slots.items():
            ids = [0] * min(2 * self._chunk.tokens, slot.budget.context - 2)
            session = slot.pool.acquire(ids)
            session.reserve(slot.budget.context)
            self._check_finite(session)
            slot.pool.release(session)
            request = _Request(role, self._model, Sampling(max_tokens=2), Stopper(), RequestOptions())
            for _ in self._run(Prompt(ids, frozenset()), request):
                pass
            slot.pool.clear()
        release()

    def _completion_prompt(
        self, prompt: str | list[int], suffix: str | None, sampling: Sampling, context: abc.Sequence[Snippet]
    ) -> tuple[Prompt, str]:
        """Return the prompt, and the text after the cursor that is not in it."""
        slot = self._slot("completion")
        room = slot.budget.prompt_tokens(sampling.max_tokens)
        if not isinstance(prompt, str):
            return self._prompt_of_ids(prompt, sampling.forced, slot.budget), suffix or ""
        layout, cursor = self.row.layout if self.row.infill else None, CursorRequest(prompt, suffix, context)
        return cursor_prompt(self.tokenizer, cursor, room, layout, healed_with=self._vocabulary)

    def _prompt_of_ids(self, ids: abc.Sequence[int], forced: abc.Sequence[int], budget: ContextBudget) -> Prompt:
        return prompt_from_ids(ids, self.tokenizer.eos_ids, self._model.config.vocab_size, budget.context, forced)

    def _run(self, prompt: Prompt, request: _Request) -> Steps:
        """Run one sequence; its KV session returns to the pool however the generation ends.

        If memory runs out before the first token, the role's context is shortened for good and the prompt rebuilt.
        Raises OutOfMemoryError.
        """
        while True:
            if not prompt.ids:
                raise PromptError("There is nothing before the cursor to continue.")
            sequence = self._sequence(prompt, request)
            slot = self._slot(request.role)
            session = slot.pool.acquire(prompt.ids, request.model, request.options.client)
            try:
                room = slot.budget.room(prompt, request.sampling)
                yield from sequence.events(self._generate(sequence, request.model, session, room))
                return
            except OutOfMemoryError as error:
                if error.generated or request.rebuild is None or not slot.shorten():
                    raise
            finally:
                slot.pool.release(session)
            prompt = request.rebuild()

    def _sequence(self, prompt: Prompt, request: _Request) -> Sequence:
        return Sequence(
            prompt,
            request.sampling,
            request.stopper,
            request.options.deadline,
            self.tokenizer,
            self._vocabulary,
            self._speculation(prompt, request.sampling, request.following),
        )

    def _generate(
        self, sequence: Sequence, model: LanguageModel, session: KVSession, room: int
    ) -> Iterator[Prefilled | int]:
        """Yield the model's steps for ``sequence``, at most ``room`` tokens."""

        def begin(generated: list[int]) -> Iterator[Prefilled | int]:
            return generate(
                model,
                session,
                [*sequence.prompt.ids, *generated],
                sequence.sampler,
                max_tokens=room - len(generated),
                chunk=self._chunk,
                speculation=sequence.speculation,
            )

        return resuming(begin, self._evict)

    def _speculation(self, prompt: Prompt, sampling: Sampling, following: str) -> Speculation | None:
        """Return the sequence's drafts. Their sources are encoded at the first draft, after the first token."""
        if self._draft_length is None or not sampling.drafts:
            return None

        def ids(text: str) -> list[int]:
            return self.tokenizer.encode_continuation(normalize_text(text[:MAX_DRAFT_SOURCE])) if text else []

        never = self._vocabulary.silent | prompt.stop_ids
        prediction = partial(ids, sampling.prediction)
        return Speculation(self._draft_length, never, prediction, (ids(text) for text in (following,)))

    def _under(self, adapter: Path | None) -> LanguageModel:
        """Return the model under the adapter in a folder. Raises AdapterError."""
        return self._adapters.get(adapter) if adapter else self._model

    def _check_finite(self, session: KVSession) -> None:
        """Read tokens from all over the vocabulary, then discard them. Raises LoadError."""
        vocabulary = self._model.config.vocab_size
        ids = list(range(0, vocabulary, -(-vocabulary // CHECKED_TOKENS)))[: session.capacity]
        logits = self._model.forward(ids, session, every_position=True)
        session.truncate(0)
        if not logits.isfinite().all():
            raise LoadError(
                f"The weights of {self.row.id} give numbers that are not finite. "
                f"Run `codellama-ls pull {self.row.id} --verify`."
            )

    def _evict(self) -> None:
        """Free all memory but the weights'."""
        log.warning("memory ran out: evicting all KV caches")
        for slot in self._slots.values():
            slot.pool.evict()
        release()

    def _forget(self, model: LanguageModel) -> None:
        for slot in self._slots.values():
            slot.pool.forget(model)

    def _slot(self, role: Role) -> RoleMemory:
        """Return the role's own memory, or that of the other role where a client asks this model by name."""
        return self._slots.get(role) or next(iter(self._slots.values()))
