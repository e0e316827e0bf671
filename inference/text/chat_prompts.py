"""Chat prompts in the formats of ChatML, CodeLlama-Instruct (``[INST]``) and CodeLlama-70b-Instruct (``<step>``).

A conversation that is too long keeps its system message and loses its oldest exchanges, several at once, so that the KV
cache of the rest stays valid for a while. A single message that is too long loses its middle. Markers in a user's text
stay text: Meta's reference rejects such messages; here they are encoded so that they differ from the template's. The
first token of an answer may add a space, which is not part of the answer. The catalogue says which model uses which
format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain

from inference.text.prompts import Message, Prompt, PromptError, bos_ids, normalize_text
from inference.text.tokenizer import MAX_CHARS_PER_TOKEN, SLACK, Tokenizer, without_middle
from inference.text.vocabulary import END, STEP

_TAG = re.compile(r"(\[/?IN)(ST\])|(<</?S)(YS>>)")
_SPLIT = "\ud800"
"""Marks where a user's text is split into two encodings. ``clean`` removes this character from the text itself."""

DROP_FRACTION = 2
"""A conversation is shortened by multiples of this fraction (one half) of the room. A cut costs a prefill of the rest:
averaged over the questions until the next cut, one exchange per question; with quarters it would be three."""


def chatml_prompt(tokenizer: Tokenizer, messages: Sequence[Message], budget: int) -> Prompt:
    """Build a ChatML prompt: ``<|im_start|>role\\ncontent<|im_end|>\\n`` for each turn, in any order.

    Source: the ``tokenizer.chat_template`` of SmolLM2-135M-Instruct, the starter.
    Raises ``PromptError`` if the vocabulary has no ChatML markers or there is no message.
    """
    start, end = tokenizer.control_id("<|im_start|>"), tokenizer.control_id("<|im_end|>")
    if start is None or end is None:
        raise PromptError("This model's vocabulary has no ChatML markers, so it cannot chat in that format.")
    if not messages:
        raise PromptError("A conversation needs at least one message.")
    messages, forgotten = _recent(messages, budget)
    newline = tokenizer.encode("\n")
    turns = [[start, *tokenizer.encode(f"{m.role}\n{normalize_text(m.content)}"), end, *newline] for m in messages]
    system = turns.pop(0) if messages[0].role == "system" and len(messages) > 1 else []
    tail = [start, *tokenizer.encode("assistant\n")]
    ids, dropped, cut = _trim(system, turns, turns, tail, budget)
    return Prompt(ids, tokenizer.eos_ids | {end}, dropped=forgotten + dropped, cut=cut)


def llama_prompt(tokenizer: Tokenizer, messages: Sequence[Message], budget: int) -> Prompt:
    """Build a prompt of ``[INST]`` turns, the format of CodeLlama-Instruct 7B, 13B and 34B.

    Every exchange has its own BOS. The system message is part of the first question that is kept.
    Source: facebookresearch/codellama ``llama/generation.py`` (``chat_completion``).
    Raises ``PromptError`` unless the turns alternate user, assistant, ..., user, after at most one system message.
    """
    if tokenizer.control_id(END) is None:
        raise PromptError("This model's vocabulary has no </s>, so it cannot chat in the [INST] format.")
    system, exchanges, forgotten = _exchanges(messages, budget)
    plain = [_inst(tokenizer, *exchange) for exchange in exchanges]
    if system is None:
        ids, dropped, cut = _trim([], plain, plain, [], budget)
    else:
        lead = bos_ids(tokenizer) + _encode(tokenizer, f"[INST] <<SYS>>\n{_split_tags(system)}\n<</SYS>>")
        folded = [_inst_after_system(tokenizer, *exchange) for exchange in exchanges]
        ids, dropped, cut = _trim([], folded, plain, [], budget, lead)
    return Prompt(ids, tokenizer.eos_ids, dropped=forgotten + 2 * dropped, cut=cut)


def step_prompt(tokenizer: Tokenizer, messages: Sequence[Message], budget: int) -> Prompt:
    """Build a prompt of turns that end in ``<step>``, the format of CodeLlama-70b-Instruct. A system turn comes first.

    Source: facebookresearch/codellama ``llama/generation.py`` (``dialog_prompt_tokens``).
    Raises ``PromptError`` if the vocabulary has no ``<step>``, or for turns out of order as in ``llama_prompt``.
    """
    step = tokenizer.control_id(STEP)
    if step is None:
        raise PromptError("This model's vocabulary has no <step>, so it cannot chat in the 70B model's format.")
    system, exchanges, forgotten = _exchanges(messages, budget)

    def turn(role: str, content: str) -> list[int]:
        body = tokenizer.encode(f"\n\n {normalize_text(content).strip()}") if content else []
        return [*tokenizer.encode(f" Source: {role}"), *body, step]

    turns = [turn("user", ask) + ([] if answer is None else turn("assistant", answer)) for ask, answer in exchanges]
    head = bos_ids(tokenizer) + turn("system", system or "")
    tail = tokenizer.encode(" Source: assistant\nDestination: user") + tokenizer.encode("\n\n ")
    ids, dropped, cut = _trim(head, turns, turns, tail, budget)
    return Prompt(ids, tokenizer.eos_ids | {step}, dropped=forgotten + 2 * dropped, cut=cut)


CHAT_PROMPTS: Mapping[str, Callable[[Tokenizer, Sequence[Message], int], Prompt]] = {
    "chatml": chatml_prompt,
    "llama": llama_prompt,
    "step": step_prompt,
}
"""The prompt builder for each ``ChatFormat`` of the catalogue."""


def _inst(tokenizer: Tokenizer, question: str, answer: str | None) -> list[int]:
    """Encode one exchange, or the last question, which has no answer yet."""
    text = f"[INST] {_split_tags(question).strip()} [/INST]"
    return [*bos_ids(tokenizer), *_encode(tokenizer, text + _answer_text(answer)), *_end(tokenizer, answer)]


def _inst_after_system(tokenizer: Tokenizer, question: str, answer: str | None) -> list[int]:
    """Encode the rest of an exchange after BOS, ``[INST]`` and the system message.

    Separate encoding gives the same ids, since no vocabulary of this family merges a line end with other text. So a
    long system message is encoded only once.
    """
    text = f"\n\n{_split_tags(question)}".rstrip() + " [/INST]" + _answer_text(answer)
    parts = text.split(_SPLIT)
    return [*(i for part in parts for i in tokenizer.encode_continuation(part)), *_end(tokenizer, answer)]


def _answer_text(answer: str | None) -> str:
    return "" if answer is None else f" {_split_tags(answer).strip()} "


def _end(tokenizer: Tokenizer, answer: str | None) -> list[int]:
    end = tokenizer.control_id(END)
    return [] if answer is None or end is None else [end]


def _split_tags(content: str) -> str:
    """Mark a split inside each of the template's tags in a user's text, as in ``[IN`` + ``ST]``.

    The tags are ordinary text, not control tokens. Encoded as other tokens, a user's tag differs from the template's.
    """
    return _TAG.sub(rf"\1\3{_SPLIT}\2\4", normalize_text(content))


def _encode(tokenizer: Tokenizer, split_text: str) -> list[int]:
    first, *others = split_text.split(_SPLIT)
    return tokenizer.encode(first) + [i for other in others for i in tokenizer.encode_continuation(other)]


def _recent(messages: Sequence[Message], budget: int) -> tuple[Sequence[Message], int]:
    """Return the messages that may fit into ``budget`` tokens, and the number dropped.

    A message that cannot fit loses its middle. The oldest messages after the system message are dropped in pairs, by
    halves of the room as in ``_first_kept``, so that the start of the prompt stays the same for several questions.
    """
    messages = [Message(m.role, without_middle(m.content, budget)) for m in messages]
    first = 1 if messages and messages[0].role == "system" else 0
    room = (max(budget, 1) + SLACK) * MAX_CHARS_PER_TOKEN
    sizes = [len(m.content) + MAX_CHARS_PER_TOKEN for m in messages[first:]]
    if (excess := sum(sizes) - room) <= 0:
        return messages, 0
    gone = -(-excess // (room // 2)) * (room // 2)
    dropped = (sum(size < gone for size in accumulate(sizes)) + 2) // 2 * 2
    dropped = min(dropped, (len(sizes) - 1) // 2 * 2)
    return [*messages[:first], *messages[first + dropped :]], dropped


def _exchanges(messages: Sequence[Message], budget: int) -> tuple[str | None, list[tuple[str, str | None]], int]:
    """Return the system message or None, questions with their answers (None for the last), and messages dropped."""
    first = 1 if messages and messages[0].role == "system" else 0
    turns = messages[first:]
    if len(turns) % 2 == 0 or any(turn.role != ("user", "assistant")[n % 2] for n, turn in enumerate(turns)):
        raise PromptError(
            "A conversation must alternate between user and assistant, starting and ending with the user. "
            "Only a system message may come before."
        )
    messages, forgotten = _recent(messages, budget)
    system, turns = messages[0].content if first else None, messages[first:]
    answers = [*(turn.content for turn in turns[1::2]), None]
    return system, [(ask.content, answer) for ask, answer in zip(turns[::2], answers, strict=True)], forgotten


def _trim(
    head: list[int],
    leading: list[list[int]],
    following: list[list[int]],
    tail: list[int],
    budget: int,
    lead: Sequence[int] = (),
) -> tuple[list[int], int, int]:
    """Drop the oldest turns until ``budget`` tokens are left. Return the ids, the turns dropped and the tokens cut.

    A turn is encoded as in ``leading`` if it comes first, after ``lead``; otherwise as in ``following``.
    """
    start = _first_kept(leading, following, budget - len(head) - len(tail), len(lead))
    ids = [*head, *lead, *leading[start], *chain(*following[start + 1 :]), *tail]
    left = _drop_middle(ids, max(budget, 1))
    return left, start, len(ids) - len(left)


def _first_kept(leading: list[list[int]], following: list[list[int]], room: int, lead: int) -> int:
    """Return the index of the oldest turn to keep.

    Whole halves of the room are dropped, counted from the first turn. So the prompt keeps its start for several
    questions in a row, and only the new tokens of each need a prefill.
    """
    newest = len(following) - 1
    after = [0, *accumulate(len(turn) for turn in reversed(following))][::-1]  # tokens of turn n and all later ones
    whole = [lead + len(turn) + after[n + 1] for n, turn in enumerate(leading)]
    fits = next((n for n in range(newest) if whole[n] <= room), newest)
    if fits == 0:
        return 0
    block = max(room // DROP_FRACTION, 1)
    dropped = -(-(whole[0] - room) // block) * block
    return next((n for n in range(fits, newest) if after[0] - after[n] >= dropped), newest)


def _drop_middle(ids: list[int], budget: int) -> list[int]:
    """Cut ``ids`` in the middle: the format's tokens and the start and end of the question are at the ends."""
    excess = len(ids) - budget
    return ids if excess <= 0 else ids[: budget - budget // 2] + ids[budget - budget // 2 + excess :]
