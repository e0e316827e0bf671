"""A user's adapters: their folder, their facts, and enabling them per workspace."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import platformdirs
import pytest

from inference.models import adapter_store, store
from inference.models.adapter_store import Adapter, AdapterError, AdapterMissingError, AdapterNameError
from inference.models.catalog import CATALOG, STARTER


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Separate folders of adapters and models for one test."""
    monkeypatch.setenv(adapter_store.FOLDER_VARIABLE, str(tmp_path / "adapters"))
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "adapters"


FACTS = {"created": "2026-01-02T03:04:05+00:00", "files": 12, "tokens": 3456, "before": 9.5, "after": 4.25}


def make(folder: Path, base: str | None = None, tuning: dict | None = None) -> Path:
    """Make a folder that looks like an adapter; with ``tuning``, like one from `codellama-ls tune`."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    (folder / "adapter_model.safetensors").write_bytes(b"0123456789")
    if tuning is not None:
        (folder / "tuning.json").write_text(json.dumps({"format": 1} | tuning))
    return folder


def install_model(model_id: str, source: str) -> None:
    with store.locked(model_id, on_wait=lambda: None), store.installing(model_id, source, 0) as staging:
        (staging.checkpoint / "config.json").write_text("{}")


def test_default_folder_is_in_the_users_data(monkeypatch):
    """Adapters can't be downloaded again, unlike models, which are in the cache."""
    monkeypatch.delenv(adapter_store.FOLDER_VARIABLE)
    assert adapter_store.adapters_folder() == Path(platformdirs.user_data_dir("codellama-ls", False)) / "adapters"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b", "auto", "starter", "CodeLlama-7b"])
def test_invalid_and_reserved_names_are_refused(name):
    """A request's `model` names an adapter or a model, and the setting `auto` is neither."""
    with pytest.raises(AdapterNameError, match="can't name an adapter"):
        adapter_store.location(name)


def test_facts_of_tuning_are_read(root):
    folder = make(root / "mine", "/elsewhere", {"base": "starter", "base_source": "v1"} | FACTS)
    assert adapter_store.find("mine") == Adapter("mine", folder, "starter", "v1", **FACTS)


@pytest.mark.parametrize(
    ("named", "base"),
    [
        ("codellama/CodeLlama-7b-hf", "codellama-7b"),
        ("somebody/llama", "somebody/llama"),
        ("{models}/starter", "starter"),
        ("/elsewhere/starter", ""),
        ("./checkpoints/1", ""),
        (None, ""),
    ],
)
def test_base_of_a_foreign_adapter_comes_from_its_config(root, tmp_path, named, base):
    """A path counts only if it is that of an installed model."""
    make(root / "mine", named and named.replace("{models}", str(tmp_path / "models")))
    assert adapter_store.find("mine").base == base


def test_broken_adapters_are_listed_with_their_problem(root):
    """Users can see and remove them. Temporary folders begin with a dot."""
    make(root / "b")
    (make(root / "a") / "adapter_config.json").write_text("{")
    (make(root / "c") / "adapter_model.safetensors").unlink()
    make(root / "d", tuning={"format": 2})
    make(root / ".e.partial")
    found = adapter_store.installed()
    assert list(found) == ["a", "b", "c", "d"]
    assert found["a"].problem.startswith(f"{root}/a/adapter_config.json can't be read (")
    assert found["b"].problem == ""
    assert found["c"].problem == f"The adapter in {root}/c lacks adapter_model.safetensors."
    assert found["d"].problem.endswith("has a tuning.json of another version of this program. Tune it again.")


def test_no_adapters_is_an_empty_list():
    assert adapter_store.installed() == {}


def test_missing_adapter_names_the_command_that_lists_them():
    with pytest.raises(AdapterMissingError, match=r"no adapter 'mine'\. `codellama-ls adapters` lists"):
        adapter_store.find("mine")


def test_adapter_of_another_model_is_refused(root):
    make(root / "mine", tuning={"base": "starter"})
    make(root / "unknown")
    adapter_store.check_usable(adapter_store.find("mine"), STARTER)
    adapter_store.check_usable(adapter_store.find("unknown"), CATALOG["codellama-7b"])
    with pytest.raises(AdapterError, match=r"'mine' was trained on starter, not on codellama-7b\. Use it with that"):
        adapter_store.check_usable(adapter_store.find("mine"), CATALOG["codellama-7b"])


def test_adapter_of_another_version_of_its_base_is_refused(root):
    """The base may have been pulled again since, with other weights."""
    make(root / "mine", tuning={"base": "starter", "base_source": "wheel 1"})
    install_model("starter", "wheel 1")
    adapter_store.check_usable(adapter_store.find("mine"), STARTER)
    install_model("starter", "wheel 2")
    with pytest.raises(
        AdapterError, match=r"another version of starter \(wheel 1, where wheel 2 is installed\)\. Tune it again"
    ):
        adapter_store.check_usable(adapter_store.find("mine"), STARTER)


def test_nearest_enabled_folder_wins(root, tmp_path):
    """A repository inside a folder of repositories may have its own adapter."""
    for name in ("outer", "inner"):
        make(root / name)
    adapter_store.enable("outer", tmp_path / "code")
    adapter_store.enable("inner", tmp_path / "code" / "project")
    assert adapter_store.enabled_for(tmp_path / "code" / "project" / "src") == "inner"
    assert adapter_store.enabled_for(tmp_path / "code" / "projects") == "outer"
    assert adapter_store.enabled_for(tmp_path / "code") == "outer"
    assert adapter_store.enabled_for(tmp_path) is None


def test_workspace_paths_are_resolved(root, tmp_path, monkeypatch):
    """Editors send real paths; users type links and relative paths."""
    make(root / "mine")
    (tmp_path / "code").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "code")
    monkeypatch.chdir(tmp_path)
    adapter_store.enable("mine", Path("link"))
    assert adapter_store.enabled() == {tmp_path / "code": "mine"}
    assert adapter_store.enabled_for(tmp_path / "link" / "a") == "mine"
    assert adapter_store.disable(Path("code")) == "mine"
    assert adapter_store.enabled() == {}


def test_disabling_without_an_enabled_adapter_changes_nothing(root, tmp_path):
    make(root / "mine")
    adapter_store.enable("mine", tmp_path)
    assert adapter_store.disable(tmp_path / "inside") is None
    assert adapter_store.enabled() == {tmp_path: "mine"}


def test_broken_adapter_can_not_be_enabled(root, tmp_path):
    (make(root / "broken") / "adapter_model.safetensors").unlink()
    for name, message in (("missing", "There is no adapter 'missing'"), ("broken", "lacks adapter_model.safetensors")):
        with pytest.raises(AdapterError, match=message):
            adapter_store.enable(name, tmp_path)
    assert adapter_store.enabled() == {}


def test_file_of_enabled_adapters_is_private(root, tmp_path):
    """It contains folder names."""
    make(tmp_path / "mine")
    adapter_store.add(tmp_path / "mine", "mine")
    adapter_store.enable("mine", tmp_path)
    assert stat.S_IMODE((root / ".enabled.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert sorted(path.name for path in root.iterdir()) == [".enabled.json", ".lock", "mine"]


def test_concurrent_enabling_loses_nothing(root, tmp_path):
    """For example from two terminals."""
    make(root / "mine")
    threads = [threading.Thread(target=adapter_store.enable, args=("mine", tmp_path / str(n))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert adapter_store.enabled() == {tmp_path / str(n): "mine" for n in range(12)}


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "workspaces": {}}', '{"format": 1}'])
def test_unreadable_list_of_workspaces_is_reported_and_kept(root, tmp_path, content):
    make(root / "mine")
    (root / ".enabled.json").write_text(content)
    for ask in (adapter_store.enabled_for, lambda folder: adapter_store.enable("mine", folder)):
        with pytest.raises(AdapterError, match=r"enabled\.json"):
            ask(tmp_path)
    assert (root / ".enabled.json").read_text() == content


def test_removed_adapter_is_disabled_everywhere(root, tmp_path):
    for name in ("mine", "other"):
        make(root / name)
    adapter_store.enable("mine", tmp_path / "a")
    adapter_store.enable("other", tmp_path / "b")
    adapter_store.remove("mine")
    assert list(adapter_store.installed()) == ["other"]
    assert adapter_store.enabled() == {tmp_path / "b": "other"}
    with pytest.raises(AdapterMissingError):
        adapter_store.remove("mine")


def test_only_the_files_of_an_adapter_are_added(root, tmp_path):
    """Training leaves optimiser states and checkpoints beside them."""
    given = make(tmp_path / "given", "starter", FACTS)
    (given / "README.md").write_text("A card.")
    (given / "optimizer.pt").write_bytes(b"x")
    (given / "checkpoint-1").mkdir()
    (root / ".mine.partial").mkdir(parents=True)  # left by a killed process
    assert adapter_store.add(given, "mine") == Adapter("mine", root / "mine", "starter", **FACTS)
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "tuning.json"]
    assert sorted(path.name for path in (root / "mine").iterdir()) == names
    assert not (root / ".mine.partial").exists()


def test_replacing_keeps_the_workspaces_that_use_it(root, tmp_path):
    """For example after training it again under the same name."""
    make(root / "mine", tuning={"tokens": 1})
    adapter_store.enable("mine", tmp_path)
    adapter_store.add(make(tmp_path / "given", tuning={"tokens": 2}), "mine", replace=True)
    assert (adapter_store.find("mine").tokens, adapter_store.enabled_for(tmp_path)) == (2, "mine")
    assert sorted(path.name for path in root.iterdir()) == [".enabled.json", ".lock", "mine"]


def test_kill_between_the_two_renames_loses_no_adapter(root, tmp_path):
    make(root / ".mine.replaced", tuning={"tokens": 1})
    with pytest.raises(AdapterError, match="There is an adapter 'mine' already"):
        adapter_store.add(make(tmp_path / "given"), "mine")
    assert adapter_store.find("mine").tokens == 1


def test_adding_replaces_only_on_request(root, tmp_path):
    make(root / "mine")
    with pytest.raises(AdapterError, match=r"There is an adapter 'mine' already\. Remove it first"):
        adapter_store.add(make(tmp_path / "given"), "mine")
    assert adapter_store.find("mine").tokens == 0


def test_too_long_name_is_refused():
    """Otherwise the file system's error would end the request."""
    with pytest.raises(AdapterNameError, match="at most 200 characters, not 20000"):
        adapter_store.location("a" * 20_000)
