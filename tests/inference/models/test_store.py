"""A model is installed atomically, and a damaged one is never returned."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from inference.models import store


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder))
    return folder


def install(content: str = "weights", **options: int) -> None:
    with (
        store.locked("tiny", on_wait=lambda: pytest.fail("nobody else installs")),
        store.installing("tiny", "a test", options.get("bytes_needed", 0)) as staging,
    ):
        (staging.work / "download").write_text("not part of the model")
        (staging.checkpoint / "model.safetensors").write_text(content)
        (staging.checkpoint / "config.json").write_text("{}")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other cache folders")
def test_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform's cache folder, so that cleaners and backups treat it as a cache."""
    monkeypatch.delenv(store.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert store.location("tiny") == Path("/somewhere/cache/codellama-ls/models/tiny")


def test_missing_model_names_the_command_to_install_it() -> None:
    with pytest.raises(store.ModelMissingError) as error:
        store.installed("tiny")
    assert str(error.value) == "The model 'tiny' is not installed. Run `codellama-ls pull tiny`."


def test_installed_model_has_only_the_staged_files(models: Path) -> None:
    install()
    folder = store.installed("tiny")
    assert folder == models / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "manifest.json", "model.safetensors"]
    assert sorted(path.name for path in models.iterdir()) == [".tiny.lock", "tiny"]


def test_folders_are_private(models: Path) -> None:
    """Some licences forbid redistribution; other users of the machine must not get the weights by accident."""
    install()
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (models, models / "tiny")] == [0o700, 0o700]


def test_manifest_lists_size_and_hash_of_each_file() -> None:
    install("abc")
    manifest = json.loads((store.installed("tiny") / "manifest.json").read_text())
    assert manifest["source"] == "a test"
    assert manifest["files"]["model.safetensors"] == {
        "bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_failed_installation_changes_nothing(models: Path) -> None:
    install("first")
    with pytest.raises(RuntimeError), store.installing("tiny", "a test", 0) as staging:
        (staging.checkpoint / "model.safetensors").write_text("second")
        raise RuntimeError
    assert (store.installed("tiny") / "model.safetensors").read_text() == "first"
    assert sorted(path.name for path in models.iterdir()) == [".tiny.lock", "tiny"]


def test_second_installation_replaces_the_first() -> None:
    install("first")
    install("second")
    assert (store.installed("tiny") / "model.safetensors").read_text() == "second"


KILLED = """
import sys
from inference.models import store
with store.locked("tiny", on_wait=sys.exit), store.installing("tiny", "killed", 0) as staging:
    (staging.checkpoint / "model.safetensors").write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""


def test_killed_installation_is_cleaned_up_by_the_next(models: Path) -> None:
    """A killed process can't clean up: its remains must neither count as a model nor fill the disk."""
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (models / ".tiny.partial").is_dir()
    with pytest.raises(store.ModelMissingError):
        store.installed("tiny")
    install()
    assert sorted(path.name for path in models.iterdir()) == [".tiny.lock", "tiny"]


def test_kill_between_the_two_renames_loses_no_model(models: Path) -> None:
    """The next attempt restores the old model."""
    install("first")
    (models / "tiny").rename(models / ".tiny.replaced")
    with pytest.raises(RuntimeError), store.installing("tiny", "a test", 0):
        raise RuntimeError
    assert (store.installed("tiny") / "model.safetensors").read_text() == "first"


def damaged() -> str:
    with pytest.raises(store.ModelDamagedError) as error:
        store.installed("tiny")
    return str(error.value)


def test_truncated_file_is_found_by_its_size() -> None:
    install("weights")
    os.truncate(store.location("tiny") / "model.safetensors", 3)
    assert damaged() == (
        "The installed model 'tiny' is damaged (model.safetensors has 3 bytes instead of 7). "
        "Run `codellama-ls pull tiny --force`."
    )


def test_deleted_file_is_found() -> None:
    install()
    (store.location("tiny") / "config.json").unlink()
    assert "(config.json is missing)" in damaged()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "files": {"a": {}}}', "\xff"])
def test_unreadable_manifest_means_damaged(content: str) -> None:
    install()
    (store.location("tiny") / "manifest.json").write_text(content, "latin-1")
    assert "(its manifest.json can't be read)" in damaged()


def test_manifest_of_another_format_is_refused() -> None:
    """A later version may use another layout; this one must not load it by chance."""
    install()
    manifest = store.location("tiny") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 2}))
    assert "(it has format 2, this version reads format 1)" in damaged()


def test_only_the_full_check_finds_changed_content() -> None:
    install("weights")
    store.verify("tiny", full=True)
    (store.location("tiny") / "model.safetensors").write_text("weighty")
    store.verify("tiny")
    with pytest.raises(store.ModelDamagedError, match=r"the content of model\.safetensors has changed"):
        store.verify("tiny", full=True)


def test_full_check_reports_progress() -> None:
    install("weights")
    seen: list[tuple[int, int]] = []
    store.verify("tiny", full=True, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 9), (9, 9)]  # config.json has two bytes, the weights seven


def test_full_disk_is_reported_before_any_download(models: Path) -> None:
    with pytest.raises(store.StoreError) as error:
        install(bytes_needed=10**18)
    assert str(error.value).startswith("Installing 'tiny' takes 1000000000.0 GB while it runs, but ")
    assert str(error.value).endswith("Make room, or set CODELLAMA_LS_MODELS to a folder on a larger disk.")
    assert not (models / ".tiny.partial").exists()


@pytest.mark.parametrize("name", ["../tiny", "a/b", "", ".tiny", "tiny\n"])
def test_name_can_not_leave_the_models_folder(name: str) -> None:
    with pytest.raises(store.StoreError, match="can't name a model"):
        store.location(name)


def test_second_installer_is_notified_and_waits() -> None:
    held, finish, order = threading.Event(), threading.Event(), []

    def first() -> None:
        with store.locked("tiny", on_wait=lambda: order.append("first waits")):
            held.set()
            finish.wait()
            order.append("first is done")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait()

    def on_wait() -> None:
        order.append("second waits")
        finish.set()

    with store.locked("tiny", on_wait):
        order.append("second has it")
    thread.join()
    assert order == ["second waits", "first is done", "second has it"]


def test_models_do_not_wait_for_each_other() -> None:
    with store.locked("tiny", pytest.fail), store.locked("tiny-python", pytest.fail):
        pass
