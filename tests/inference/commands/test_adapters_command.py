"""``codellama-ls adapters``, for users and for programs."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from fakes.byte_llama import tiny_reference
from fakes.lora import save_lora, tune
from fakes.tiny_llama import save_llama

from inference.models import adapter_store, store
from lsp_server import cli


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save_lora(tmp_path_factory.mktemp("saved") / "lora", tiny_reference())


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set folders for adapters and models and a current folder, and return the first."""
    monkeypatch.setenv(adapter_store.FOLDER_VARIABLE, str(tmp_path / "adapters"))
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    (tmp_path / "code").mkdir()
    monkeypatch.chdir(tmp_path / "code")
    return tmp_path / "adapters"


@pytest.fixture
def mine(saved: Path, root: Path) -> Path:
    """Install an adapter as `tune` does."""
    folder = adapter_store.add(saved, "mine").folder
    tune(folder)
    return folder


def run(capsys, *arguments: str, code: int = 0) -> str:
    """Run the command and return its output: stdout if it succeeds, else stderr."""
    assert cli.main(["adapters", *arguments]) == code
    printed = capsys.readouterr()
    assert (printed.out if code else printed.err) == ""
    return printed.err if code else printed.out


def test_table_has_perplexities_and_workspaces(capsys, mine, root, saved, tmp_path):
    adapter_store.enable("mine", tmp_path / "code")
    adapter_store.add(saved, "other")
    (adapter_store.location("other") / "adapter_config.json").write_text("[]")
    rows = [re.split(r"  +", line.strip()) for line in run(capsys).splitlines()]
    assert rows[0] == ["adapter", "base", "size", "created", "held-out perplexity", "enabled for"]
    made = datetime.fromisoformat("2026-01-02T03:04:05+00:00").astimezone()
    size = f"{adapter_store.find('mine').bytes / 1e6:.1f} MB"
    assert rows[1] == ["mine", "starter", size, f"{made:%Y-%m-%d %H:%M}", "9.88 -> 4.32", str(tmp_path / "code")]
    assert (rows[2][:2], rows[2][-1]) == (["other", "?"], f"{root}/other/adapter_config.json holds no JSON object.")


def test_json_has_all_fields(capsys, mine, tmp_path):
    adapter_store.enable("mine", tmp_path / "code")
    (entry,) = json.loads(run(capsys, "--json"))
    assert entry == {
        "name": "mine",
        "folder": str(mine),
        "base": "starter",
        "base_source": None,
        "created": "2026-01-02T03:04:05+00:00",
        "files": 12,
        "tokens": 3456,
        "before": 9.876,
        "after": 4.321,
        "problem": None,
        "bytes": sum(path.stat().st_size for path in mine.iterdir()),
        "enabled": [str(tmp_path / "code")],
    }


def test_empty_list_names_the_tune_command(capsys):
    assert run(capsys) == "No adapters are installed. Run `codellama-ls tune PATH` to train one on your code.\n"
    assert run(capsys, "--json") == "[]\n"


def test_workspace_defaults_to_the_current_folder(capsys, mine, tmp_path):
    here, other = tmp_path / "code", tmp_path / "other"
    other.mkdir()
    assert run(capsys, "enable", "mine") == f"Completion in {here} now uses the adapter mine.\n"
    run(capsys, "enable", "mine", "--workspace", "../other")
    assert adapter_store.enabled() == {here: "mine", other: "mine"}
    assert run(capsys, "disable") == f"Completion in {here} no longer uses mine.\n"
    assert adapter_store.enabled() == {other: "mine"}


def test_mistakes_print_one_line_and_change_nothing(capsys, mine, tmp_path):
    here = tmp_path / "code"
    assert run(capsys, "disable", code=1) == f"codellama-ls: No adapter is enabled for {here} itself.\n"
    assert run(capsys, "enable", "yours", code=1).startswith("codellama-ls: There is no adapter 'yours'")
    assert (
        run(capsys, "enable", "mine", "--workspace", "nowhere", code=1)
        == f"codellama-ls: There is no folder {here}/nowhere.\n"
    )
    assert run(capsys, "remove", "yours", code=1) == "codellama-ls: There is no adapter 'yours'.\n"
    assert adapter_store.enabled() == {}


def test_disable_names_the_adapter_of_a_parent_folder(capsys, mine, tmp_path):
    """Else disabling would seem to have no effect."""
    adapter_store.enable("mine", tmp_path)
    adapter_store.enable("mine", tmp_path / "code")
    rest = "It now uses mine, which is enabled for a parent folder."
    assert run(capsys, "disable") == f"Completion in {tmp_path / 'code'} no longer uses mine. {rest}\n"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1), ("n", 1)])
def test_remove_asks_for_confirmation(capsys, mine, monkeypatch, answer, code):
    """A trained adapter cannot be downloaded again."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert run(capsys, "remove", "mine", code=code) == ("codellama-ls: mine was kept.\n" if code else "Removed mine.\n")
    assert mine.exists() == bool(code)


def test_remove_without_a_terminal_needs_yes(capsys, mine, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    adapter_store.enable("mine", tmp_path)
    assert run(capsys, "remove", "mine", code=1).endswith("Add --yes to confirm.\n")
    assert run(capsys, "remove", "mine", "--yes") == "Removed mine.\n"
    assert (adapter_store.installed(), adapter_store.enabled()) == ({}, {})


def test_add_uses_the_folders_name_or_the_given_one(capsys, saved):
    run(capsys, "add", str(saved))
    assert "adapters enable theirs" in run(capsys, "add", str(saved), "--name", "theirs")
    assert list(adapter_store.installed()) == ["lora", "theirs"]


def test_unsupported_adapter_is_not_added(capsys, tmp_path):
    dora = save_lora(tmp_path / "dora", tiny_reference(), use_dora=True)
    assert "uses use_dora and can't be served unmerged" in run(capsys, "add", str(dora), code=1)
    assert "can't be read" in run(capsys, "add", str(tmp_path / "nothing"), code=1)
    assert adapter_store.installed() == {}


def test_adapter_with_another_shape_than_its_base_is_not_added(capsys, tmp_path):
    """The shapes are compared only if the base model is installed."""
    folder = save_lora(tmp_path / "lora", tiny_reference())
    tune(folder, base="own")
    with store.locked("own", on_wait=lambda: None), store.installing("own", "a test", 0) as staging:
        save_llama(staging.checkpoint)
    assert "was trained on another model" in run(capsys, "add", str(folder), code=1)
    tune(folder, base="not-installed")
    run(capsys, "add", str(folder))
