"""Prompt templates, built-in and custom, down to the token ids for Code Llama."""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path

import pytest

from inference.text.chat_prompts import llama_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer
from inference.text.prompts import Message
from lsp_server.prompts.templates import FOLDER_VARIABLE, LONGEST, messages_for

FIELDS = {"question": "", "context": "", "code": "", "problems": "", "diff": ""}
TASKS = ["chat", "explain", "chat-fix", "chat-tests", "chat-doc", "commit"]


@pytest.fixture(autouse=True)
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of custom prompts, empty at first."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def user_message(task: str, **fields: str) -> str:
    return messages_for(task, {**FIELDS, **fields})[-1]["content"]


def test_prompts_are_shipped_with_the_package() -> None:
    """The wheel must contain them."""
    files = {one.name for one in resources.files("lsp_server.prompts").iterdir()}
    assert {f"{task}.md" for task in TASKS} <= files


@pytest.mark.parametrize("task", TASKS)
def test_built_in_prompts_fill_every_placeholder(task: str) -> None:
    messages = messages_for(task, {**FIELDS, "code": "CODE", "diff": "DIFF", "question": "QUESTION", "context": "MORE"})
    text = messages[-1]["content"]
    assert "QUESTION" in text and "MORE" in text and "{{" not in text
    assert ("CODE" in text) == (task not in ("chat", "commit"))
    assert [one["role"] for one in messages] in (["user"], ["system", "user"])


def test_paragraphs_with_empty_fields_are_left_out() -> None:
    assert user_message("chat", question="Why?") == "Why?"
    assert user_message("chat", question="Why?", context="a.py:\n```\nx\n```") == "a.py:\n```\nx\n```\n\nWhy?"
    assert user_message("chat-tests", code="CODE").startswith("CODE\n\nWrite tests")


def test_field_values_are_inserted_verbatim() -> None:
    """A file may contain braces, placeholders and the line ``---``."""
    code = "{{question}} {x} {{nothing}} %s \\1\n---\n{{code}}"
    assert user_message("chat", context=code, question="Q") == f"{code}\n\nQ"


def test_custom_prompt_replaces_the_built_in_one(custom: Path) -> None:
    (custom / "chat.md").write_text("Be a pirate.\r\n---\r\nAhoy: {{question}}\r\n", newline="")
    assert messages_for("chat", {**FIELDS, "question": "Hi"}) == [
        {"role": "system", "content": "Be a pirate."},
        {"role": "user", "content": "Ahoy: Hi"},
    ]


def test_without_dashes_there_is_no_system_message(custom: Path) -> None:
    (custom / "chat.md").write_text("{{question}} -- --- ?")
    assert messages_for("chat", {**FIELDS, "question": "Hi"}) == [{"role": "user", "content": "Hi -- --- ?"}]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (b"\xff", "can't be read (UnicodeDecodeError)"),
        (b"System only\n---\n  \n", "has no text for the user message"),
        (b"", "has no text for the user message"),
        (b"x" * (LONGEST + 1), "has more than 20,000 characters"),
        (b"{{questoin}}", "names {{questoin}}, which this task does not have (it has {{code}}, {{context}}, {{diff}},"),
    ],
)
def test_broken_custom_prompt_is_reported_and_not_used(custom: Path, broken: bytes, why: str) -> None:
    built_in = messages_for("chat", {**FIELDS, "question": "Hi"})
    (custom / "chat.md").write_bytes(broken)
    warnings: list[str] = []
    assert messages_for("chat", {**FIELDS, "question": "Hi"}, warnings.append) == built_in
    (text,) = warnings
    assert text.startswith(f"Your prompt {custom / 'chat.md'} {why}")
    assert text.endswith("The built-in prompt is used until you correct it.")


def test_warning_is_logged_once(custom: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise every question would log it."""
    (custom / "explain.md").mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert "Explain what this code does" in user_message("explain")
    assert [record.message for record in caplog.records] == [
        f"Your prompt {custom / 'explain.md'} can't be read (IsADirectoryError). "
        "The built-in prompt is used until you correct it."
    ]


def test_unfilled_placeholder_in_a_built_in_prompt_raises() -> None:
    with pytest.raises(KeyError):
        messages_for("chat", {"question": "Hi"})


CODE = "a.py, line 1:\n```python\nx = {1: 2}\n```"


@pytest.mark.parametrize(
    ("task", "fields", "golden"),
    [
        (
            "chat",
            {"question": "Why?", "context": CODE},
            (
                "1 518 25580 29962 3532 14816 29903 6778 13 3492 1371 263 27922 411 1009 775 29889 673 23359 322 297 "
                "4485 3204 29892 411 775 297 285 9223 10930 393 1024 967 4086 29889 1724 338 297 278 2022 29915 29879 "
                "2066 338 848 29901 437 451 1101 11994 393 2317 727 29889 13 29966 829 14816 29903 6778 13 13 29874 "
                "29889 2272 29892 1196 29871 29896 29901 13 28956 4691 13 29916 353 426 29896 29901 29871 29906 29913 "
                "13 28956 13 13 11008 29973 518 29914 25580 29962"
            ),
        ),
        (
            "explain",
            {"code": CODE},
            (
                "1 518 25580 29962 3532 14816 29903 6778 13 3492 5649 775 304 263 27922 29889 673 23359 322 297 4485 "
                "3204 29889 1724 338 297 278 775 338 848 29901 437 451 1101 11994 393 2317 727 29889 13 29966 829 "
                "14816 29903 6778 13 13 29874 29889 2272 29892 1196 29871 29896 29901 13 28956 4691 13 29916 353 426 "
                "29896 29901 29871 29906 29913 13 28956 13 13 9544 7420 825 445 775 947 29892 4331 491 4331 29889 "
                "14891 825 338 26800 470 2743 297 372 29892 565 3099 338 29889 518 29914 25580 29962"
            ),
        ),
        (
            "commit",
            {"diff": "The staged changes:\n```diff\n+x\n```"},
            (
                "1 518 25580 29962 3532 14816 29903 6778 13 3492 2436 9063 7191 29889 673 411 278 2643 7432 29901 263 "
                "937 1196 310 472 1556 29871 29955 29906 4890 297 278 10112 1230 29892 769 29892 988 372 6911 29892 "
                "385 4069 1196 322 2020 278 1735 471 1754 29889 1724 338 297 278 2923 338 848 29901 437 451 1101 "
                "11994 393 2317 727 29889 13 29966 829 14816 29903 6778 13 13 1576 380 4063 3620 29901 13 28956 12765 "
                "13 29974 29916 13 28956 13 13 6113 967 9063 2643 29889 518 29914 25580 29962"
            ),
        ),
    ],
)
def test_prompt_ids_for_code_llama_are_pinned(
    llama2: CodeLlamaTokenizer, task: str, fields: dict[str, str], golden: str
) -> None:
    """Ids from Meta's reference format and SentencePiece. The system message is part of the first question."""
    messages = [Message(**one) for one in messages_for(task, {**FIELDS, **fields})]
    ids = llama_prompt(llama2, messages, 10_000).ids
    assert ids == [int(one) for one in golden.split()]
