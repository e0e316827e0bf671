"""Workspace adapters over stdio, with the real service and a scripted model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.scripted_model import ScriptedModel
from support.editor_session import EditorSession, editor_session
from support.fixtures_engine import serving

from inference.models import adapter_store


@pytest.fixture
def projects(runtime: Path, tmp_path: Path) -> Path:
    """A folder of projects and two adapters; `first` is enabled for the project of that name."""
    for name in ("first", "second"):
        make(name)
    adapter_store.enable("first", tmp_path / "first")
    return tmp_path


def make(name: str, base: str = "starter") -> None:
    folder = adapter_store.location(name)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    (folder / "tuning.json").write_text(json.dumps({"format": 1, "base": base}))


async def suggested(editor: EditorSession, document: Path | str) -> str:
    """Return the completion at the end of a line."""
    uri = document.as_uri() if isinstance(document, Path) else document
    editor.open("x = ", uri)
    ((text, _),) = await editor.inline(0, 4, uri=uri)
    return text.removeprefix("x = ")


def said(editor: EditorSession) -> list[str]:
    return [message.message for message in editor.client.messages]


async def test_completion_uses_the_adapter_of_the_documents_folder(runtime, projects):
    """Projects without an adapter, and files outside projects, use the model alone."""
    async with serving(runtime, ScriptedModel(["a"])), editor_session() as editor:
        assert await suggested(editor, projects / "first" / "src" / "a.py") == "<first>a"
        assert await suggested(editor, projects / "second" / "a.py") == "a"
        assert await suggested(editor, projects / "a.py") == "a"
        used = [record["adapter"] for record in await editor.trace()]
    assert used == ["first", "", ""]
    assert said(editor) == []


async def test_untitled_document_belongs_to_the_first_workspace_folder(runtime, projects):
    adapter_store.enable("second", Path("/project"))
    async with serving(runtime, ScriptedModel(["a"])), editor_session() as editor:
        assert await suggested(editor, "untitled:Untitled-1") == "<second>a"


async def test_enabling_and_disabling_apply_at_the_next_request(runtime, projects):
    """Running sessions need no restart."""
    document = projects / "first" / "a.py"
    async with serving(runtime, ScriptedModel(["a"])), editor_session() as editor:
        assert await suggested(editor, document) == "<first>a"
        adapter_store.enable("second", projects / "first")
        assert await suggested(editor, document) == "<second>a"
        adapter_store.disable(projects / "first")
        assert await suggested(editor, document) == "a"
    assert said(editor) == []


async def test_retrained_adapter_invalidates_cached_completions(runtime, projects):
    """The adapter's name stays the same."""
    document, answerer = projects / "first" / "a.py", ScriptedModel(["a"])
    async with serving(runtime, answerer), editor_session() as editor:
        for weights in (b"", b"", b"trained"):
            if weights:
                (adapter_store.location("first") / "adapter_model.safetensors").write_bytes(weights)
            assert await suggested(editor, document) == "<first>a"
    assert [line for line in answerer.log if line.startswith("begin")] == ["begin x = "] * 2


@pytest.mark.parametrize(("setting", "text"), [("", "a"), ("second", "<second>a"), ("auto", "<first>a")])
async def test_setting_overrides_the_enabled_adapter(runtime, projects, setting, text):
    settings = {"engine": {"adapter": setting}}
    async with serving(runtime, ScriptedModel(["a"])), editor_session(settings=settings) as editor:
        assert await suggested(editor, projects / "first" / "a.py") == text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "The engine runs 'starter', not 'gone', and there is no adapter 'gone': use one that it runs."),
        ("foreign", "The adapter 'foreign' was trained on codellama-7b, not on starter. Use it with that model."),
        ("broken", "The adapter 'broken' can't be read."),
    ],
)
async def test_unusable_adapter_is_reported_once_and_skipped(runtime, projects, name, why):
    make("foreign", "codellama-7b")
    make("broken")
    settings = {"engine": {"adapter": name}}
    async with serving(runtime, ScriptedModel(["a"])), editor_session(settings=settings) as editor:
        texts = [await suggested(editor, projects / "a.py") for _ in range(3)]
        used = [(record["result"], record["adapter"]) for record in await editor.trace()]
    assert texts == ["a"] * 3
    assert used == [("shown", "")] * 3
    assert said(editor) == [f"codellama-ls: {why} Completion goes on without it."]


async def test_unreadable_workspace_list_is_reported_once_and_skipped(runtime, projects):
    listed = adapter_store.adapters_folder() / ".enabled.json"
    listed.write_text("{}")
    async with serving(runtime, ScriptedModel(["a"])), editor_session() as editor:
        texts = [await suggested(editor, projects / "first" / "a.py") for _ in range(2)]
    assert texts == ["a", "a"]
    (message,) = said(editor)
    assert message.startswith(f"codellama-ls: {listed} is of another version of this program. Delete it")
