"""What is refused, and in which words; what is answered only where somebody asks for it."""

from __future__ import annotations

import pytest

from lsp_server.completion.gate import GateInput, refusal_reason
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Position, take

SETTINGS = CompletionSettings(disabled_languages=("markdown",), max_file_chars=1000)


def refused(text: str, given: GateInput, uri: str = "file:///a.py", language: str = "python") -> str:
    """The cursor stands at ``|``."""
    before, _, after = text.partition("|")
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return refusal_reason(take(before + after, position, "utf-32", uri=uri, language=language), SETTINGS, given)


@pytest.mark.parametrize("invoked", [True, False])
@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("x = |", {"uri": "git:/a.py?ref=HEAD"}, "'git:' documents are not written by hand"),
        ("x = |", {"uri": "output:tasks"}, "'output:' documents are not written by hand"),
        ("x = |", {"language": "markdown"}, "the setting completion.disabledLanguages names 'markdown'"),
        ("x" * 1001, {}, "the document has 1,001 characters, more than completion.maxFileChars allows"),
        ("  \n|\n", {}, "the document is empty"),
    ],
)
def test_some_documents_are_refused_however_they_are_asked_for(text, options, why, invoked):
    assert refused(text, GateInput(invoked), **options) == why


@pytest.mark.parametrize("invoked", [True, False])
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"private": "secret"}, "the file's name says that it may hold keys or passwords"),
        ({"private": "ignored"}, "a .gitignore or .codellamaignore names the file or a folder it lies in"),
        ({"private": "excluded"}, "the setting completion.excludedFiles names the file"),
        ({"misplaced": True}, "the entry selected in the editor's completion list is not at the cursor"),
    ],
)
def test_what_the_disk_says_is_obeyed_by_hand_too(given, why, invoked):
    assert refused("x = |", GateInput(invoked, **given)) == why


@pytest.mark.parametrize("uri", ["file:///a.py", "untitled:Untitled-1", "vscode-notebook-cell:/n.ipynb#W1"])
def test_documents_that_people_write(uri):
    assert refused("x = |", GateInput(), uri=uri) == ""


@pytest.mark.parametrize("text", ["x = |", "|", "f(|)", "f(a|), b]", "x = |y", "x|.y", "f(|x)", "def f():|\n    x"])
def test_places_where_people_type(text):
    assert refused(f"a = 1\n{text}", GateInput()) == ""


def test_in_a_file_that_cannot_be_written_only_by_hand():
    """A person may try it on a library's file; nobody types there."""
    assert refused("x = |", GateInput(read_only=True)) == "the file is read-only"
    assert refused("x = |", GateInput(invoked=True, read_only=True)) == ""


def test_within_a_word_only_by_hand():
    """A key there is a correction; grey text would jump about."""
    assert refused("na|me", GateInput()) == "the cursor is inside a word"
    assert refused("na|me", GateInput(invoked=True)) == ""


@pytest.mark.parametrize(("text", "ok"), [("f(|)", True), ("f(|);", True), ("f(|  ", True), ("f(| + 1)", False)])
def test_before_other_text_a_model_that_does_not_infill_is_asked_only_by_hand(text, ok):
    why = "text follows the cursor on its line, and the model was not trained to infill"
    assert refused(text, GateInput(infills=False)) == ("" if ok else why)
    assert refused(text, GateInput(invoked=True, infills=False)) == ""
