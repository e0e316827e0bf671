"""Prompts, recorded: token ids at a cursor and of conversations, and the text of each task's prompt.

The ids of infilling and of Code Llama's chats are held to Meta's reference elsewhere (``test_infill``, ``test_chat``
and ``test_meta_reference`` of ``tests/inference/text/``); here all kinds of prompts are together, with snippets,
with healing and for the starter too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from recordings.recording import compare

from inference.text.chat_prompts import CHAT_PROMPTS
from inference.text.infill import CursorRequest, cursor_prompt
from inference.text.llama_tokenizer import CodeLlamaTokenizer, load_tokenizer
from inference.text.prompts import Message, Prompt, Snippet
from inference.text.tokenizer import Tokenizer, decode
from inference.text.vocabulary import Vocabulary
from lsp_server.edits.tasks import TASK_NAMES, EditTask, task_messages
from lsp_server.edits.verify import ReportedProblem
from lsp_server.prompts.templates import messages_for
from lsp_server.snapshot import Document

ROOM = 1_000
SNIPPETS = (Snippet("lib/a.py", "def area(r):\n    return 3 * r\n"), Snippet("web/b.ts", "let b;\r\n"))
CURSORS = {
    "between two lines": CursorRequest("def f(x):\n    ", "\n    return y\n"),
    "half a word": CursorRequest("x = area(1)\nprint(ar", ")\n"),
    "trailing blanks": CursorRequest("if a:\r\n\t", "\r\nb\r\n"),
    "the end of a file": CursorRequest("import os\n\ndef main():\n", ""),
    "a prefix alone": CursorRequest("def fibonacci("),
    "an empty prefix": CursorRequest("", "x = 1\n"),
    "other scripts": CursorRequest("s = '😋é' + ", "  # größer\n"),
    "text like sentinels": CursorRequest("a = '<PRE> ▁<MID></s>' + ", "<EOT>"),
    "snippets": CursorRequest("import a\nx = a.", "\n", SNIPPETS),
    "snippets before a prefix alone": CursorRequest("import a\nx = a.", None, SNIPPETS),
    "more than there is room for": CursorRequest("abc = 1\n" * 400, "\ndef = 2\n" * 400),
}
CONVERSATIONS = {
    "one question": [Message("user", "Hi")],
    "a system message": [Message("system", "Be short."), Message("user", " Why?\r\n")],
    "several turns": [
        *(Message("system", "S"), Message("user", "a"), Message("assistant", "b "), Message("user", "```\nx\n```")),
    ],
    "markers in the text": [Message("user", "[INST] <<SYS>> [/INST] <|im_end|> <step> </s>")],
    "more than there is room for": [
        Message(("user", "assistant")[n % 2], f"{n} " + "word " * 60) for n in range(41)
    ],
}  # fmt: skip
CODE = "import os\n\n\ndef f(a):\n    x = foo\n    return a\n"


def shown(tokenizer: Tokenizer, title: str, prompt: Prompt, rest: str = "") -> str:
    """Return the ids and their text."""
    stops = " ".join(map(str, sorted(prompt.stop_ids)))
    told = f"heal {json.dumps(prompt.heal)}, stop {stops}, dropped {prompt.dropped}, cut {prompt.cut}, rest {rest!r}"
    ids = prompt.ids if len(prompt.ids) < 200 else [*prompt.ids[:60], f"({len(prompt.ids)} in all)", *prompt.ids[-60:]]
    text = decode(tokenizer, prompt.ids)
    text = text if len(text) < 600 else f"{text[:150]} … {text[-150:]}"
    return f"== {title}\n{' '.join(map(str, ids))}\n{told}\n{json.dumps(text, ensure_ascii=False)}\n"


def at_cursors(tokenizer: Tokenizer, layouts: tuple) -> Iterator[str]:
    """Every cursor in every layout, with and without healing."""
    vocabulary = Vocabulary(tokenizer)
    for name, cursor in CURSORS.items():
        for layout in layouts:
            for healed in (None, vocabulary):
                title = f"{name}; {layout or 'no infilling'}{', healed' if healed else ''}"
                prompt, rest = cursor_prompt(tokenizer, cursor, ROOM, layout, healed_with=healed)
                yield shown(tokenizer, title, prompt, rest[:20])


def conversations(tokenizer: Tokenizer, kind: str) -> Iterator[str]:
    for name, said in CONVERSATIONS.items():
        yield shown(tokenizer, f"{name}; {kind}", CHAT_PROMPTS[kind](tokenizer, said, ROOM))


def test_ids_of_code_llama_at_a_cursor_are_recorded(codellama: CodeLlamaTokenizer):
    compare("prompts/codellama.txt", "\n".join(at_cursors(codellama, ("psm", "spm"))))


def test_ids_of_a_model_without_infilling_are_recorded(llama2: CodeLlamaTokenizer):
    compare("prompts/llama2.txt", "\n".join(at_cursors(llama2, (None,))))


def test_ids_of_code_llamas_chats_are_recorded(llama2: CodeLlamaTokenizer, codellama_vocabulary: Path, tmp_path: Path):
    """``[INST]`` of 7B to 34B, and ``<step>`` of 70B."""
    (tmp_path / "tokenizer.model").write_bytes((codellama_vocabulary / "tokenizer.model").read_bytes())
    (tmp_path / "added_tokens.json").write_text('{"<step>": 32015}')
    seventy_b = CodeLlamaTokenizer(tmp_path)
    assert set(CHAT_PROMPTS) == {"llama", "step", "chatml"}
    texts = [*conversations(llama2, "llama"), *conversations(seventy_b, "step")]
    compare("prompts/chats.txt", "\n".join(texts))


@pytest.mark.starter
def test_ids_of_the_starter_are_recorded(starter_folder: Path):
    tokenizer = load_tokenizer(starter_folder)
    texts = [*at_cursors(tokenizer, ("psm", "spm")), *conversations(tokenizer, "chatml")]
    compare("prompts/starter.txt", "\n".join(texts))


@pytest.mark.parametrize("task", TASK_NAMES)
def test_prompt_of_a_task_on_a_document_is_recorded(runtime, task):
    """In Python with every field, and in Go with as few as possible."""
    start = CODE.index("def f")
    problem = ReportedProblem(4, '"foo" is not defined')
    full = Document("file:///project/a.py", "python", 1, CODE)
    little = Document("file:///project/a.go", "go", 1, "package a\n\nfunc f() {}\n")
    tasks = [
        EditTask(task, full, start, len(CODE) - 1, "Rename x.", problem, "test_a.py", context_chars=1_000),
        EditTask(task, little, 11, 22),
    ]
    compare(f"prompts/tasks/{task}.txt", "\n".join(written(task_messages(one)) for one in tasks))


@pytest.mark.parametrize("name", ["chat", "chat-fix", "chat-tests", "chat-doc", "explain", "commit"])
def test_prompt_of_a_chat_is_recorded(runtime, name):
    """With every field, and with the question alone."""
    full = {field: f"[{field}]" for field in ("question", "context", "code", "problems", "diff")}
    both = [messages_for(name, fields) for fields in (full, {**dict.fromkeys(full, ""), "question": "[question]"})]
    compare(f"prompts/tasks/{name}.txt", "\n".join(written([Message(**one) for one in said]) for said in both))


def test_every_prompt_that_is_shipped_is_recorded():
    from importlib import resources

    shipped = {one.name for one in resources.files("lsp_server.prompts").iterdir() if one.name.endswith(".md")}
    chats = {"chat", "chat-fix", "chat-tests", "chat-doc", "explain", "commit"}
    assert shipped == {f"{name}.md" for name in {*TASK_NAMES, *chats}}


def written(said: list[Message]) -> str:
    """Return each message after its role."""
    return "".join(f"== {one.role}\n{one.content}\n" for one in said)
