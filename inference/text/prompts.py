"""Prompts as token ids, never as strings: completion from a prefix, and chat.

Knows no weights and no requests; torch-free, so that a client of a foreign server can build the same ids.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference.text.tokenizer import Tokenizer

TRIM_BLOCK = 256
"""A prompt too long loses whole blocks from its far end, so that its start, and with it the KV cache, moves rarely."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads, and how it is to answer.

    Attributes:
        ids: the tokens to prefill.
        heal: text that the answer must begin with and that is not part of it (see ``generation.healing``).
        stop_ids: ids that end the answer.
    """

    ids: list[int]
    stop_ids: frozenset[int]
    heal: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``role`` is system, user or assistant."""

    role: str
    content: str


class PromptError(ValueError):
    """The request cannot be put to this model; the message says why and what to do."""


def completion_prompt(tokenizer: Tokenizer, prefix: str, budget: int) -> Prompt:
    """Continue ``prefix``; of a prompt longer than ``budget`` tokens the far end is dropped.

    Trailing blanks are held out of the prompt and given back by healing: BPE vocabularies join them with the word that
    follows, so a prompt that ends in them asks for a token sequence the model has never seen.
    """
    stem = prefix.rstrip(" \t")
    if not stem:
        return Prompt(_begin(tokenizer) + tokenizer.encode(prefix), tokenizer.eos_ids)
    ids = tokenizer.encode(stem)
    begin = _begin(tokenizer)
    return Prompt(begin + trim_start(ids, budget - len(begin)), tokenizer.eos_ids, heal=prefix[len(stem) :])


def chatml_prompt(tokenizer: Tokenizer, messages: list[Message]) -> Prompt:
    """ChatML, as the starter was trained: ``<|im_start|>role\\ncontent<|im_end|>\\n`` for each turn.

    Source: the ``tokenizer.chat_template`` of SmolLM2-135M-Instruct.
    Raises ``PromptError`` where the vocabulary has no ChatML markers.
    """
    start, end = tokenizer.control_id("<|im_start|>"), tokenizer.control_id("<|im_end|>")
    if start is None or end is None:
        raise PromptError("This model's vocabulary has no ChatML markers, so it cannot chat in that format.")
    newline = tokenizer.encode("\n")
    ids: list[int] = []
    for message in messages:
        ids += [start, *tokenizer.encode(f"{message.role}\n{message.content}"), end, *newline]
    ids += [start, *tokenizer.encode("assistant\n")]
    return Prompt(ids, tokenizer.eos_ids | {end})


def trim_start(ids: list[int], budget: int) -> list[int]:
    """Drop whole blocks from the front until ``budget`` tokens are left."""
    if len(ids) <= budget:
        return ids
    dropped = -(-(len(ids) - budget) // TRIM_BLOCK) * TRIM_BLOCK
    return ids[min(dropped, len(ids) - 1) :] if dropped < len(ids) else ids[-max(budget, 1) :]


def _begin(tokenizer: Tokenizer) -> list[int]:
    return [] if tokenizer.bos_id is None else [tokenizer.bos_id]
