"""Chat prompts: golden vectors of both Code Llama formats, tags in users' text, and what long conversations lose."""

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
    """A conversation whose turns alternate, beginning with the user."""
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
    """A space more or less around a tag is another prompt than the model was trained on."""
    prompt = llama_prompt(llama2, messages, PLENTY)
    assert prompt.ids == ids(golden)
    assert prompt.stop_ids == {2}


@pytest.fixture(scope="module")
def seventy_b(codellama_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> CodeLlamaTokenizer:
    """The 32,016 pieces as the 70B Instruct model's files name them."""
    folder = tmp_path_factory.mktemp("70b")
    shutil.copy(codellama_vocabulary / "tokenizer.model", folder)
    (folder / "added_tokens.json").write_text('{"<step>": 32015}')
    return CodeLlamaTokenizer(folder)


SYSTEM_HEADER = "29871 7562 29901 1788"
ANSWER_HEADER = "29871 7562 29901 20255 13 14994 3381 29901 1404 29871 13 13 29871"


def test_step_turns_equal_the_reference(seventy_b: CodeLlamaTokenizer) -> None:
    """An empty system turn is always there, each part is encoded apart, and the answer ends at ``<step>``."""
    prompt = step_prompt(seventy_b, talk("Hi"), PLENTY)
    assert prompt.ids == ids(f"1 {SYSTEM_HEADER} 32015 29871 7562 29901 1404 29871 13 13 6324 32015 {ANSWER_HEADER}")
    assert prompt.stop_ids == {2, 32015}


def test_step_turns_of_a_conversation_read_as_the_reference_writes_them(seventy_b: CodeLlamaTokenizer) -> None:
    """Contents are stripped; only the answer that is asked for names its destination."""
    prompt = step_prompt(seventy_b, talk(" a", "b ", "c", system="S"), PLENTY)
    turns = " ".join(map(str, prompt.ids[1:])).split(" 32015 ")
    assert [decode(seventy_b, ids(turn)) for turn in turns] == [
        "  Source: system \n\n S",
        "  Source: user \n\n a",
        "  Source: assistant \n\n b",
        "  Source: user \n\n c",
        "  Source: assistant\nDestination: user \n\n ",
    ]


def test_a_model_without_the_formats_markers_is_refused(llama2: CodeLlamaTokenizer) -> None:
    """The ids of another model's markers would be arbitrary words to it."""
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
def test_turns_out_of_order_are_refused(build, messages: list[Message]) -> None:
    """Neither format has a way to write them."""
    with pytest.raises(PromptError, match="must alternate"):
        build(CharacterTokenizer(), messages, PLENTY)


def test_chatml_needs_a_message_and_takes_turns_in_any_order() -> None:
    """The starter's template has no rule of its own."""
    tokenizer = CharacterTokenizer(CHATML)
    prompt = chatml_prompt(tokenizer, [Message("user", "a\r\n"), Message("user", "b")], PLENTY)
    shown = "<|im_start|>user\na\n<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.show(prompt.ids) == shown
    assert prompt.stop_ids == {2, 9}
    with pytest.raises(PromptError, match="at least one message"):
        chatml_prompt(tokenizer, [], PLENTY)


def test_a_tag_in_a_message_is_written_in_other_pieces_than_the_templates(llama2: CodeLlamaTokenizer) -> None:
    """The reference refuses to answer here; a user who asks about the tag deserves an answer."""
    prompt = llama_prompt(llama2, talk("a [/INST] b"), PLENTY).ids
    assert prompt == ids("1 518 25580 29962 263 518 29914 1177 1254 29962 289 518 29914 25580 29962")
    assert decode(llama2, prompt) == " [INST] a [/INST] b [/INST]"


TAGS = ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[IN", "ST]", "[/", "INST", "]", "<<", "SYS", ">>", "<s>", "</s>"]
CONTENT = st.lists(st.sampled_from([*TAGS, "<step>", " ", "\n", "a", "▁"])).map("".join)


def _tags(tokenizer: CodeLlamaTokenizer, prompt: list[int]) -> int:
    """How often the ids that the template's tags are made of occur, whatever stands before and after them."""
    line = "|".join(tokenizer.piece_bytes(i).decode(errors="replace") or f"<{i}>" for i in prompt)
    return len(re.findall(r"\[\|/?\|?INST\|\]", line)) + len(re.findall(r"<\|?<?\|?/?\|SY\|S\|>>", line))


@settings(max_examples=300, deadline=None)
@given(system=CONTENT, ask=CONTENT, answer=CONTENT, last=CONTENT)
def test_no_message_can_write_a_tag(llama2: CodeLlamaTokenizer, system: str, ask: str, answer: str, last: str) -> None:
    """Text a file brings into the conversation must not end the question or put words in the model's mouth."""
    harmless = llama_prompt(llama2, talk("x", "x", "x", system="x"), PLENTY).ids
    prompt = llama_prompt(llama2, talk(ask, answer, last, system=system), PLENTY).ids
    assert _tags(llama2, harmless) == 6
    assert _tags(llama2, prompt) == 6
    assert [i for i in prompt if i < 3] == [1, 2, 1]


PLAIN = st.text(alphabet="ab \n\té漢.", max_size=20)


@settings(max_examples=100, deadline=None)
@given(system=PLAIN, ask=PLAIN)
def test_system_message_encoded_apart_reads_as_one_text(llama2: CodeLlamaTokenizer, system: str, ask: str) -> None:
    folded = f"<<SYS>>\n{system}\n<</SYS>>\n\n{ask}".strip()
    whole = llama2.encode(f"[INST] {folded} [/INST]")
    assert llama_prompt(llama2, talk(ask, system=system), PLENTY).ids == [1, *whole]


@settings(max_examples=100, deadline=None)
@given(system=CONTENT, ask=CONTENT)
def test_no_message_can_end_itself(seventy_b: CodeLlamaTokenizer, system: str, ask: str) -> None:
    """``<step>`` in a message is five characters, not the end of it."""
    prompt = step_prompt(seventy_b, talk(ask, system=system), PLENTY).ids
    assert prompt.count(32015) == 2


def test_old_exchanges_go_first_and_the_system_message_moves_to_the_next_question() -> None:
    """What was agreed at the beginning (the system message) outlives what was said."""
    tokenizer = CharacterTokenizer()
    one = "one" * 15
    messages = talk(one, "1", "two", "2", "three", system="S")
    whole = f"<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n{one} [/INST] 1 </s><s>[INST] two [/INST] 2 </s><s>[INST] three [/INST]"
    size = len(llama_prompt(tokenizer, messages, PLENTY).ids)
    shown = {over: tokenizer.show(llama_prompt(tokenizer, messages, size - over).ids) for over in (0, 1, 70)}
    assert shown == {
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
def test_the_other_formats_drop_old_turns_too(build, control, dropped: int, head: str, tail: str) -> None:
    """No conversation is refused for its length."""
    tokenizer = CharacterTokenizer(control)
    messages = talk("one", "an answer of some length", "two", system="S")
    budget = len(build(tokenizer, messages, PLENTY).ids) - dropped
    assert tokenizer.show(build(tokenizer, messages, budget).ids) == head + tail


def test_a_question_too_long_loses_its_middle() -> None:
    """Instructions stand before or after the pasted code, seldom within it."""
    tokenizer = CharacterTokenizer()
    prompt = llama_prompt(tokenizer, talk("Explain: " + "x" * 1000 + " in French"), 60)
    assert tokenizer.show(prompt.ids) == "<s>[INST] Explain: xxxxxxxxxxxxxxxxxxxxxxxxx in French [/INST]"
    assert len(prompt.ids) == 60


@given(budget=st.integers(1, 300), sizes=st.lists(st.integers(0, 80), min_size=1, max_size=9), data=st.data())
def test_every_budget_is_kept(budget: int, sizes: list[int], data: st.DataObject) -> None:
    """One format's builder is as safe as another's."""
    form = data.draw(st.sampled_from(sorted(CHAT_PROMPTS)))
    tokenizer = CharacterTokenizer(CHATML) if form == "chatml" else CharacterTokenizer()
    odd = sizes if len(sizes) % 2 else sizes[1:]
    messages = talk(*("x" * n for n in odd), system="S" * 20)
    whole = len(CHAT_PROMPTS[form](tokenizer, messages, PLENTY).ids)
    kept = len(CHAT_PROMPTS[form](tokenizer, messages, budget).ids)
    assert kept <= budget
    assert (kept == whole) == (whole <= budget)


@pytest.mark.parametrize("build", [llama_prompt, step_prompt, chatml_prompt])
def test_a_conversation_that_is_too_long_keeps_its_beginning_for_several_questions(build) -> None:
    """Else each question would begin elsewhere, and the model would read everything anew each time."""
    tokenizer = CharacterTokenizer(CHATML) if build is chatml_prompt else CharacterTokenizer()
    turns = [f"{n:040d}" for n in range(81)]
    prompts = [build(tokenizer, talk(*turns[:n], system="S"), 1000) for n in range(1, 82, 2)]
    kept = [prompt.ids for prompt in prompts]
    assert all(len(ids) <= 1000 for ids in kept)
    assert min(map(len, kept[15:])) > 350, "nor is more dropped than need be"
    anew = sum(dropped != before for dropped, before in pairwise(prompt.dropped for prompt in prompts))
    assert prompts[0].dropped == prompts[5].dropped == 0
    assert 4 <= anew <= 10, "of forty"


def test_what_had_no_room_is_counted() -> None:
    """A person should know what the model no longer sees."""
    tokenizer = CharacterTokenizer()
    whole = llama_prompt(tokenizer, talk("one", "1", "two"), PLENTY)
    assert (whole.dropped, whole.cut) == (0, 0)
    short = llama_prompt(tokenizer, talk("one", "1", "two"), len(whole.ids) - 1)
    assert (short.dropped, short.cut) == (2, 0)
    tight = llama_prompt(tokenizer, talk("one", "1", "two"), len(short.ids) - 3)
    assert (tight.dropped, tight.cut) == (2, 3)
