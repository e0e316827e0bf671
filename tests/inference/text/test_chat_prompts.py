"""Chat prompts: golden vectors, tags in user text, and conversations that are too long."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.characters import CHATML, CONTROL, CharacterTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.text.chat_prompts import CHAT_PROMPTS, chatml_prompt, llama_prompt, step_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import Message, PromptError
from inference.text.tokenizer import decode

PLENTY = 10_000


def talk(*contents: str, system: str | None = None) -> list[Message]:
    """Return a conversation with alternating turns, starting with the user."""
    turns = [Message(("user", "assistant")[n % 2], content) for n, content in enumerate(contents)]
    return turns if system is None else [Message("system", system), *turns]


def ids(text: str) -> list[int]:
    return [int(i) for i in text.split()]


@pytest.mark.parametrize(
    ("messages", "golden"),
    [
        (talk("Hi"), "1 518 25580 29962 6324 518 29914 25580 29962"),
        (
            talk(" hi ", "yo ", "ok?", system="S"),
            "1 518 25580 29962 3532 14816 29903 6778 13 29903 13 29966 829 14816 29903 6778 13 13 7251 518 29914 25580 "
            "29962 24800 29871 2 1 518 25580 29962 3431 29973 518 29914 25580 29962",
        ),
    ],
)
def test_inst_turns_equal_the_reference(llama2: CodeLlamaTokenizer, messages: list[Message], golden: str) -> None:
    prompt = llama_prompt(llama2, messages, PLENTY)
    assert prompt.ids == ids(golden)
    assert prompt.stop_ids == {2}


@pytest.fixture(scope="module")
def seventy_b(codellama_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> CodeLlamaTokenizer:
    """The tokenizer of CodeLlama-70b-Instruct."""
    folder = tmp_path_factory.mktemp("70b")
    shutil.copy(codellama_vocabulary / "tokenizer.model", folder)
    (folder / "added_tokens.json").write_text('{"<step>": 32015}')
    return CodeLlamaTokenizer(folder)


SYSTEM_HEADER = "29871 7562 29901 1788"
ANSWER_HEADER = "29871 7562 29901 20255 13 14994 3381 29901 1404 29871 13 13 29871"


def test_step_turns_equal_the_reference(seventy_b: CodeLlamaTokenizer) -> None:
    """There is always a system turn, each part is encoded separately, and ``<step>`` ends the answer."""
    prompt = step_prompt(seventy_b, talk("Hi"), PLENTY)
    assert prompt.ids == ids(f"1 {SYSTEM_HEADER} 32015 29871 7562 29901 1404 29871 13 13 6324 32015 {ANSWER_HEADER}")
    assert prompt.stop_ids == {2, 32015}


def test_step_conversation_decodes_as_in_the_reference(seventy_b: CodeLlamaTokenizer) -> None:
    """Contents are stripped; only the header of the last answer names a destination."""
    prompt = step_prompt(seventy_b, talk(" a", "b ", "c", system="S"), PLENTY)
    turns = " ".join(map(str, prompt.ids[1:])).split(" 32015 ")
    assert [decode(seventy_b, ids(turn)) for turn in turns] == [
        "  Source: system \n\n S",
        "  Source: user \n\n a",
        "  Source: assistant \n\n b",
        "  Source: user \n\n c",
        "  Source: assistant\nDestination: user \n\n ",
    ]


def test_vocabulary_without_the_markers_is_rejected(llama2: CodeLlamaTokenizer) -> None:
    with pytest.raises(PromptError, match="no <step>"):
        step_prompt(llama2, talk("Hi"), PLENTY)
    with pytest.raises(PromptError, match="no ChatML markers"):
        chatml_prompt(llama2, talk("Hi"), PLENTY)
    with pytest.raises(PromptError, match="no </s>"):
        llama_prompt(CharacterTokenizer(CHATML), talk("Hi"), PLENTY)


@pytest.mark.parametrize("build", [llama_prompt, step_prompt])
@pytest.mark.parametrize(
    "messages",
    [
        [],
        [Message("system", "S")],
        talk("a", "b"),
        [Message("assistant", "a"), Message("user", "b")],
        [Message("user", "a"), Message("user", "b"), Message("user", "c")],
        [Message("user", "a"), Message("system", "b"), Message("user", "c")],
        [Message("tool", "a")],
    ],
)
def test_turns_out_of_order_are_rejected(build, messages: list[Message]) -> None:
    with pytest.raises(PromptError, match="must alternate"):
        build(CharacterTokenizer(), messages, PLENTY)


def test_chatml_accepts_any_order_but_needs_a_message() -> None:
    tokenizer = CharacterTokenizer(CHATML)
    prompt = chatml_prompt(tokenizer, [Message("user", "a\r\n"), Message("user", "b")], PLENTY)
    expected = "<|im_start|>user\na\n<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.show(prompt.ids) == expected
    assert prompt.stop_ids == {2, 9}
    with pytest.raises(PromptError, match="at least one message"):
        chatml_prompt(tokenizer, [], PLENTY)


def test_tag_in_a_message_is_encoded_as_other_tokens(llama2: CodeLlamaTokenizer) -> None:
    """Meta's reference rejects such messages."""
    prompt = llama_prompt(llama2, talk("a [/INST] b"), PLENTY).ids
    assert prompt == ids("1 518 25580 29962 263 518 29914 1177 1254 29962 289 518 29914 25580 29962")
    assert decode(llama2, prompt) == " [INST] a [/INST] b [/INST]"


TAGS = ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[IN", "ST]", "[/", "INST", "]", "<<", "SYS", ">>", "<s>", "</s>"]
CONTENT = st.lists(st.sampled_from([*TAGS, "<step>", " ", "\n", "a", "▁"])).map("".join)


def _tags(tokenizer: CodeLlamaTokenizer, prompt: list[int]) -> int:
    """Count the occurrences of the token sequences that form the template's tags."""
    line = "|".join(tokenizer.piece_bytes(i).decode(errors="replace") or f"<{i}>" for i in prompt)
    return len(re.findall(r"\[\|/?\|?INST\|\]", line)) + len(re.findall(r"<\|?<?\|?/?\|SY\|S\|>>", line))


@settings(max_examples=300, deadline=None)
@given(system=CONTENT, ask=CONTENT, answer=CONTENT, last=CONTENT)
def test_no_message_can_contain_a_tag(
    llama2: CodeLlamaTokenizer, system: str, ask: str, answer: str, last: str
) -> None:
    """Text from a file in the chat must not end the question or forge an answer."""
    harmless = llama_prompt(llama2, talk("x", "x", "x", system="x"), PLENTY).ids
    prompt = llama_prompt(llama2, talk(ask, answer, last, system=system), PLENTY).ids
    assert _tags(llama2, harmless) == 6
    assert _tags(llama2, prompt) == 6
    assert [i for i in prompt if i < 3] == [1, 2, 1]


PLAIN = st.text(alphabet="ab \n\té漢.", max_size=20)


@settings(max_examples=100, deadline=None)
@given(system=PLAIN, ask=PLAIN)
def test_separate_system_message_gives_the_same_ids(llama2: CodeLlamaTokenizer, system: str, ask: str) -> None:
    folded = f"<<SYS>>\n{system}\n<</SYS>>\n\n{ask}".strip()
    whole = llama2.encode(f"[INST] {folded} [/INST]")
    assert llama_prompt(llama2, talk(ask, system=system), PLENTY).ids == [1, *whole]


@settings(max_examples=100, deadline=None)
@given(system=CONTENT, ask=CONTENT)
def test_no_message_can_contain_the_step_token(seventy_b: CodeLlamaTokenizer, system: str, ask: str) -> None:
    prompt = step_prompt(seventy_b, talk(ask, system=system), PLENTY).ids
    assert prompt.count(32015) == 2


def test_oldest_exchange_is_dropped_and_system_message_kept() -> None:
    """The system message moves into the first question that is kept."""
    tokenizer = CharacterTokenizer()
    one = "one" * 15
    messages = talk(one, "1", "two", "2", "three", system="S")
    whole = f"<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n{one} [/INST] 1 </s><s>[INST] two [/INST] 2 </s><s>[INST] three [/INST]"
    size = len(llama_prompt(tokenizer, messages, PLENTY).ids)
    texts = {over: tokenizer.show(llama_prompt(tokenizer, messages, size - over).ids) for over in (0, 1, 70)}
    assert texts == {
        0: whole,
        1: "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\ntwo [/INST] 2 </s><s>[INST] three [/INST]",
        70: "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nthree [/INST]",
    }


@pytest.mark.parametrize(
    ("build", "control", "dropped", "head", "tail"),
    [
        (
            step_prompt,
            CONTROL,
            1,
            "<s> Source: system\n\n S<step> Source: user\n\n two<step>",
            " Source: assistant\nDestination: user\n\n ",
        ),
        (
            chatml_prompt,
            CHATML,
            30,
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\ntwo<|im_end|>\n",
            "<|im_start|>assistant\n",
        ),
    ],
)
def test_other_formats_drop_old_turns_too(build, control, dropped: int, head: str, tail: str) -> None:
    tokenizer = CharacterTokenizer(control)
    messages = talk("one", "an answer of some length", "two", system="S")
    budget = len(build(tokenizer, messages, PLENTY).ids) - dropped
    assert tokenizer.show(build(tokenizer, messages, budget).ids) == head + tail


def test_too_long_question_loses_its_middle() -> None:
    """Instructions usually come before or after pasted code."""
    tokenizer = CharacterTokenizer()
    prompt = llama_prompt(tokenizer, talk("Explain: " + "x" * 1000 + " in French"), 60)
    assert tokenizer.show(prompt.ids) == "<s>[INST] Explain: xxxxxxxxxxxxxxxxxxxxxxxxx in French [/INST]"
    assert len(prompt.ids) == 60


@given(budget=st.integers(1, 300), sizes=st.lists(st.integers(0, 80), min_size=1, max_size=9), data=st.data())
def test_prompt_never_exceeds_the_budget(budget: int, sizes: list[int], data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(sorted(CHAT_PROMPTS)))
    tokenizer = CharacterTokenizer(CHATML) if form == "chatml" else CharacterTokenizer()
    odd = sizes if len(sizes) % 2 else sizes[1:]
    messages = talk(*("x" * n for n in odd), system="S" * 20)
    whole = len(CHAT_PROMPTS[form](tokenizer, messages, PLENTY).ids)
    kept = len(CHAT_PROMPTS[form](tokenizer, messages, budget).ids)
    assert kept <= budget
    assert (kept == whole) == (whole <= budget)


@pytest.mark.parametrize("build", [llama_prompt, step_prompt, chatml_prompt])
def test_start_of_long_conversation_rarely_changes(build) -> None:
    """Each change costs a prefill of the whole prompt."""
    tokenizer = CharacterTokenizer(CHATML) if build is chatml_prompt else CharacterTokenizer()
    turns = [f"{n:040d}" for n in range(81)]
    prompts = [build(tokenizer, talk(*turns[:n], system="S"), 1000) for n in range(1, 82, 2)]
    kept = [prompt.ids for prompt in prompts]
    assert all(len(ids) <= 1000 for ids in kept)
    assert min(map(len, kept[15:])) > 350, "no more is dropped than needed"
    changes = sum(dropped != before for dropped, before in pairwise(prompt.dropped for prompt in prompts))
    assert prompts[0].dropped == prompts[5].dropped == 0
    assert 4 <= changes <= 10, "of forty questions"


def test_dropped_messages_and_cut_tokens_are_counted() -> None:
    tokenizer = CharacterTokenizer()
    whole = llama_prompt(tokenizer, talk("one", "1", "two"), PLENTY)
    assert (whole.dropped, whole.cut) == (0, 0)
    short = llama_prompt(tokenizer, talk("one", "1", "two"), len(whole.ids) - 1)
    assert (short.dropped, short.cut) == (2, 0)
    tight = llama_prompt(tokenizer, talk("one", "1", "two"), len(short.ids) - 3)
    assert (tight.dropped, tight.cut) == (2, 3)
