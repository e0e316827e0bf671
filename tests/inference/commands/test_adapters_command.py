"""``codellama-ls adapters``, as a person or a program runs it."""

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
    """Adapters, models and a current folder of this test's own."""
    monkeypatch.setenv(adapter_store.FOLDER_VARIABLE, str(tmp_path / "adapters"))
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    (tmp_path / "code").mkdir()
    monkeypatch.chdir(tmp_path / "code")
    return tmp_path / "adapters"


@pytest.fixture
def mine(saved: Path, root: Path) -> Path:
    """An installed adapter that `tune` made."""
    folder = adapter_store.add(saved, "mine").folder
    tune(folder)
    return folder


def run(capsys, *arguments: str, code: int = 0) -> str:
    """What a command prints: on stdout where it goes well, else on stderr."""
    assert cli.main(["adapters", *arguments]) == code
    printed = capsys.readouterr()
    assert (printed.out if code else printed.err) == ""
    return printed.err if code else printed.out


def test_table_tells_what_each_gained_and_where_it_is_used(capsys, mine, root, saved, tmp_path):
    adapter_store.enable("mine", tmp_path / "code")
    adapter_store.add(saved, "other")
    (adapter_store.location("other") / "adapter_config.json").write_text("[]")
    rows = [re.split(r"  +", line.strip()) for line in run(capsys).splitlines()]
    assert rows[0] == ["adapter", "base", "size", "made", "held-out perplexity", "enabled for"]
    made = datetime.fromisoformat("2026-01-02T03:04:05+00:00").astimezone()
    size = f"{adapter_store.find('mine').bytes / 1e6:.1f} MB"
    assert rows[1] == ["mine", "starter", size, f"{made:%Y-%m-%d %H:%M}", "9.88 -> 4.32", str(tmp_path / "code")]
    assert (rows[2][:2], rows[2][-1]) == (["other", "?"], f"{root}/other/adapter_config.json holds no JSON object.")


def test_programs_are_told_everything(capsys, mine, tmp_path):
    adapter_store.enable("mine", tmp_path / "code")
    (told,) = json.loads(run(capsys, "--json"))
    assert told == {
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


def test_without_adapters_the_command_that_makes_one_is_named(capsys):
    assert run(capsys) == "There are no adapters yet: `codellama-ls tune PATH` makes one of your own code.\n"
    assert run(capsys, "--json") == "[]\n"


def test_enabled_is_the_current_folder_unless_told_otherwise(capsys, mine, tmp_path):
    here, other = tmp_path / "code", tmp_path / "other"
    other.mkdir()
    assert run(capsys, "enable", "mine") == f"Completion in {here} uses the adapter mine from now on.\n"
    run(capsys, "enable", "mine", "--workspace", "../other")
    assert adapter_store.enabled() == {here: "mine", other: "mine"}
    assert run(capsys, "disable") == f"Completion in {here} uses mine no more.\n"
    assert adapter_store.enabled() == {other: "mine"}


def test_mistakes_are_one_sentence_and_change_nothing(capsys, mine, tmp_path):
    here = tmp_path / "code"
    assert run(capsys, "disable", code=1) == f"No adapter was enabled for {here} itself.\n"
    assert run(capsys, "enable", "yours", code=1).startswith("There is no adapter 'yours'")
    assert run(capsys, "enable", "mine", "--workspace", "nowhere", code=1) == f"There is no folder {here}/nowhere.\n"
    assert run(capsys, "remove", "yours", code=1) == "There is no adapter 'yours'.\n"
    assert adapter_store.enabled() == {}


def test_disabling_tells_of_one_that_still_counts(capsys, mine, tmp_path):
    """Nothing would seem to have happened."""
    adapter_store.enable("mine", tmp_path)
    adapter_store.enable("mine", tmp_path / "code")
    rest = "but mine, which is enabled for a folder around it"
    assert run(capsys, "disable") == f"Completion in {tmp_path / 'code'} uses mine no more, {rest}.\n"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1), ("n", 1)])
def test_removing_asks(capsys, mine, monkeypatch, answer, code):
    """What was trained can't be fetched again."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert run(capsys, "remove", "mine", code=code) == ("mine was kept.\n" if code else "Removed mine.\n")
    assert mine.exists() == bool(code)


def test_removing_without_a_person_to_ask_needs_yes(capsys, mine, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    adapter_store.enable("mine", tmp_path)
    assert run(capsys, "remove", "mine", code=1).endswith("add --yes to do it without being asked.\n")
    assert run(capsys, "remove", "mine", "--yes") == "Removed mine.\n"
    assert (adapter_store.installed(), adapter_store.enabled()) == ({}, {})


def test_added_under_its_folders_name_or_another(capsys, saved):
    run(capsys, "add", str(saved))
    assert "adapters enable theirs" in run(capsys, "add", str(saved), "--name", "theirs")
    assert list(adapter_store.installed()) == ["lora", "theirs"]


def test_what_could_not_be_served_is_not_added(capsys, tmp_path):
    dora = save_lora(tmp_path / "dora", tiny_reference(), use_dora=True)
    assert "uses use_dora and can't be served unmerged" in run(capsys, "add", str(dora), code=1)
    assert "can't be read" in run(capsys, "add", str(tmp_path / "nothing"), code=1)
    assert adapter_store.installed() == {}


def test_adapter_of_another_shape_than_its_installed_base_is_not_added(capsys, tmp_path):
    """The fakes differ in width; nothing is compared while the base is not installed."""
    folder = save_lora(tmp_path / "lora", tiny_reference())
    tune(folder, base="own")
    with store.locked("own", on_wait=lambda: None), store.installing("own", "a test", 0) as staging:
        save_llama(staging.checkpoint)
    assert "was trained on another model" in run(capsys, "add", str(folder), code=1)
    tune(folder, base="not-installed")
    run(capsys, "add", str(folder))
