"""Chat prompts: the turns of a conversation as each family of chat models was trained to read them.

A conversation too long loses its oldest exchanges, several at once so that what remains stays for a while, and keeps
its system message; one question too long by itself loses its middle. Markers that users write stay text: Meta's
reference refuses such messages, here they are encoded so that they cannot be taken for the template's. An answer's
first token may bring a space of its own, which is no part of it. Knows no weights; which model wants which
format is in the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain

from inference.text.prompts import Message, Prompt, PromptError, begin_ids, clean
from inference.text.tokenizer import MOST_CHARACTERS_A_TOKEN, SLACK, Tokenizer, without_middle
from inference.text.vocabulary import END, STEP

_TAG = re.compile(r"(\[/?IN)(ST\])|(<</?S)(YS>>)")
_BREAK = "\ud800"
"""Where a user's text is split between two encodings; ``clean`` leaves no such character in the text itself."""

DROPPED_AT_ONCE = 2
"""The part of the room (a half) in whose multiples a conversation too long is shortened. What then has to be read anew
comes, spread over the questions until the next time, to as much as one exchange; with quarters it would be three."""


def chatml_prompt(tokenizer: Tokenizer, messages: Sequence[Message], budget: int) -> Prompt:
    """ChatML, as the starter was trained: ``<|im_start|>role\\ncontent<|im_end|>\\n`` for each turn, in any order.

    Source: the ``tokenizer.chat_template`` of SmolLM2-135M-Instruct.
    Raises ``PromptError`` where the vocabulary has no ChatML markers or there is no message.
    """
    start, end = tokenizer.control_id("<|im_start|>"), tokenizer.control_id("<|im_end|>")
    if start is None or end is None:
        raise PromptError("This model's vocabulary has no ChatML markers, so it cannot chat in that format.")
    if not messages:
        raise PromptError("A conversation needs at least one message.")
    messages, forgotten = _recent(messages, budget)
    newline = tokenizer.encode("\n")
    turns = [[start, *tokenizer.encode(f"{m.role}\n{clean(m.content)}"), end, *newline] for m in messages]
    system = turns.pop(0) if messages[0].role == "system" and len(messages) > 1 else []
    tail = [start, *tokenizer.encode("assistant\n")]
    ids, dropped, cut = _fit(system, turns, turns, tail, budget)
    return Prompt(ids, tokenizer.eos_ids | {end}, dropped=forgotten + dropped, cut=cut)


def llama_prompt(tokenizer: Tokenizer, messages: Sequence[Message], budget: int) -> Prompt:
    """``[INST]`` turns, as the 7B, 13B and 34B Instruct models were trained.

    Every exchange has its own BOS; the system message is folded into the first question that is left.
    Source: facebookresearch/codellama ``llama/generation.py`` (``chat_completion``).
    Raises ``PromptError`` unless the turns alternate user, assistant, ..., user, after at most one system message.
    """
    if tokenizer.control_id(END) is None:
        raise PromptError("This model's vocabulary has no </s>, so it cannot chat in the [INST] format.")
    system, exchanges, forgotten = _exchanges(messages, budget)
    plain = [_inst(tokenizer, *exchange) for exchange in exchanges]
    if system is None:
        ids, dropped, cut = _fit([], plain, plain, [], budget)
    else:
        lead = begin_ids(tokenizer) + _encode(tokenizer, f"[INST] <<SYS>>\n{_guard(system)}\n<</SYS>>")
        folded = [_inst_after_lead(tokenizer, *exchange) for exchange in exchanges]
        ids, dropped, cut = _fit([], folded, plain, [], budget, lead)
    return Prompt(ids, tokenizer.eos_ids, dropped=forgotten + 2 * dropped, cut=cut)


def step_prompt(tokenizer: Tokenizer, messages: Sequence[Message], budget: int) -> Prompt:
    """Turns ended by ``<step>``, as the 70B Instruct model was trained; a system turn always comes first.

    Source: facebookresearch/codellama ``llama/generation.py`` (``dialog_prompt_tokens``).
    Raises ``PromptError`` where the vocabulary has no ``<step>``, or for turns out of order as in ``llama_prompt``.
    """
    step = tokenizer.control_id(STEP)
    if step is None:
        raise PromptError("This model's vocabulary has no <step>, so it cannot chat in the 70B model's format.")
    system, exchanges, forgotten = _exchanges(messages, budget)

    def turn(role: str, content: str) -> list[int]:
        body = tokenizer.encode(f"\n\n {clean(content).strip()}") if content else []
        return [*tokenizer.encode(f" Source: {role}"), *body, step]

    turns = [turn("user", ask) + ([] if answer is None else turn("assistant", answer)) for ask, answer in exchanges]
    head = begin_ids(tokenizer) + turn("system", system or "")
    tail = tokenizer.encode(" Source: assistant\nDestination: user") + tokenizer.encode("\n\n ")
    ids, dropped, cut = _fit(head, turns, turns, tail, budget)
    return Prompt(ids, tokenizer.eos_ids | {step}, dropped=forgotten + 2 * dropped, cut=cut)


CHAT_PROMPTS: Mapping[str, Callable[[Tokenizer, Sequence[Message], int], Prompt]] = {
    "chatml": chatml_prompt,
    "llama": llama_prompt,
    "step": step_prompt,
}
"""The builder for each ``ChatFormat`` of the catalogue."""


def _inst(tokenizer: Tokenizer, ask: str, answer: str | None) -> list[int]:
    """Encode one exchange; without an answer, the question to be answered."""
    text = f"[INST] {_guard(ask).strip()} [/INST]"
    return [*begin_ids(tokenizer), *_encode(tokenizer, text + _said(answer)), *_end(tokenizer, answer)]


def _inst_after_lead(tokenizer: Tokenizer, ask: str, answer: str | None) -> list[int]:
    """Encode what follows BOS, ``[INST]`` and the system message in an exchange.

    Encoded apart, so that a long system message is encoded once: no vocabulary of this family joins a line end with
    anything.
    """
    text = f"\n\n{_guard(ask)}".rstrip() + " [/INST]" + _said(answer)
    parts = text.split(_BREAK)
    return [*(i for part in parts for i in tokenizer.encode_continuation(part)), *_end(tokenizer, answer)]


def _said(answer: str | None) -> str:
    return "" if answer is None else f" {_guard(answer).strip()} "


def _end(tokenizer: Tokenizer, answer: str | None) -> list[int]:
    end = tokenizer.control_id(END)
    return [] if answer is None or end is None else [end]


def _guard(content: str) -> str:
    """Cut the template's tags in a user's text in two, as ``[IN`` + ``ST]``.

    These tags are no tokens of their own but ordinary text, so writing them in other pieces is what tells them apart.
    """
    return _TAG.sub(rf"\1\3{_BREAK}\2\4", clean(content))


def _encode(tokenizer: Tokenizer, guarded: str) -> list[int]:
    first, *others = guarded.split(_BREAK)
    return tokenizer.encode(first) + [i for other in others for i in tokenizer.encode_continuation(other)]


def _recent(messages: Sequence[Message], budget: int) -> tuple[Sequence[Message], int]:
    """Return the messages that may fit into ``budget`` tokens, and how many were dropped.

    Messages that cannot fit are cut in their middle. The oldest go, after the system message and in pairs. As in
    ``_first_left`` what goes is counted from the beginning in halves, and one beginning stays for several questions.
    """
    messages = [Message(m.role, without_middle(m.content, budget)) for m in messages]
    first = 1 if messages and messages[0].role == "system" else 0
    room = (max(budget, 1) + SLACK) * MOST_CHARACTERS_A_TOKEN
    sizes = [len(m.content) + MOST_CHARACTERS_A_TOKEN for m in messages[first:]]
    if (excess := sum(sizes) - room) <= 0:
        return messages, 0
    gone = -(-excess // (room // 2)) * (room // 2)
    dropped = (sum(size < gone for size in accumulate(sizes)) + 2) // 2 * 2
    dropped = min(dropped, (len(sizes) - 1) // 2 * 2)
    return [*messages[:first], *messages[first + dropped :]], dropped


def _exchanges(messages: Sequence[Message], budget: int) -> tuple[str | None, list[tuple[str, str | None]], int]:
    """Return the system message, if any, questions with their answers (the last has none yet), and messages dropped."""
    first = 1 if messages and messages[0].role == "system" else 0
    turns = messages[first:]
    if len(turns) % 2 == 0 or any(turn.role != ("user", "assistant")[n % 2] for n, turn in enumerate(turns)):
        raise PromptError(
            "A conversation must alternate between user and assistant, beginning and ending with the user; "
            "only a system message may stand before it."
        )
    messages, forgotten = _recent(messages, budget)
    system, turns = messages[0].content if first else None, messages[first:]
    answers = [*(turn.content for turn in turns[1::2]), None]
    return system, [(ask.content, answer) for ask, answer in zip(turns[::2], answers, strict=True)], forgotten


def _fit(
    head: list[int],
    leading: list[list[int]],
    following: list[list[int]],
    tail: list[int],
    budget: int,
    lead: Sequence[int] = (),
) -> tuple[list[int], int, int]:
    """Drop the oldest turns until ``budget`` tokens are left: these, how many turns went, and tokens cut from the rest.

    ``leading`` holds each turn as it is written behind ``lead`` where it comes first, ``following`` as elsewhere.
    """
    start = _first_left(leading, following, budget - len(head) - len(tail), len(lead))
    ids = [*head, *lead, *leading[start], *chain(*following[start + 1 :]), *tail]
    left = _drop_middle(ids, max(budget, 1))
    return left, start, len(ids) - len(left)


def _first_left(leading: list[list[int]], following: list[list[int]], room: int, lead: int) -> int:
    """The oldest turn that stays.

    What goes is counted from the very beginning, in whole halves of the room. So one beginning stays for several
    questions in a row, and of each only what is new has to be read.
    """
    newest = len(following) - 1
    after = [0, *accumulate(len(turn) for turn in reversed(following))][::-1]  # tokens of turn n and all later ones
    whole = [lead + len(turn) + after[n + 1] for n, turn in enumerate(leading)]
    fits = next((n for n in range(newest) if whole[n] <= room), newest)
    if fits == 0:
        return 0
    block = max(room // DROPPED_AT_ONCE, 1)
    dropped = -(-(whole[0] - room) // block) * block
    return next((n for n in range(fits, newest) if after[0] - after[n] >= dropped), newest)


def _drop_middle(ids: list[int], budget: int) -> list[int]:
    """What frames the prompt, and the question's first and last words, are at its ends."""
    excess = len(ids) - budget
    return ids if excess <= 0 else ids[: budget - budget // 2] + ids[budget - budget // 2 + excess :]
