"""``codellama-ls pull owner/name`` from a fake hub, and its failures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
from fakes.hub import COMMIT, FakeHub
from support.fixtures_hub import SHARDS, failure, pull_tiny

from inference.commands import pull_command
from inference.download.checkpoint_source import PullError
from inference.download.hub import look_up
from inference.models import store
from inference.models.catalog import CATALOG


def test_pull_installs_only_the_needed_files(hub: FakeHub, published: Path) -> None:
    """Weights of other frameworks and pictures are not downloaded."""
    for name in ("README.md", "pytorch_model-00001-of-00001.bin", "consolidated.safetensors", "picture.png"):
        (hub.folder / name).write_bytes(b"not needed")
    assert pull_tiny() == pull_command.OK
    folder = store.installed("tiny")
    names = {path.name for path in published.iterdir()}
    assert {path.name for path in folder.iterdir()} == names | {"manifest.json"}
    assert all((folder / name).read_bytes() == (published / name).read_bytes() for name in names)
    assert sorted(path.name for path in store.models_folder().iterdir()) == [
        ".accepted-licences.json",
        ".tiny.lock",
        "tiny",
    ]
    assert not any("not needed" in request.path or "README" in request.path for request in hub.seen)


def test_real_process_sends_the_token_only_to_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    """Weights are redirected to another origin, which gets no token. Nothing else is requested."""
    hub.token = "hf_secret"
    environment = os.environ | {"HF_TOKEN": "hf_secret", "HOME": str(tmp_path)}
    for variable in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        environment.pop(variable, None)
    command = [sys.executable, "-m", "lsp_server", "pull", "owner/name", "--as", "tiny", "--accept-licence"]
    done = subprocess.run(
        command,
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(f"Installed tiny in {store.location('tiny')}.\n")
    assert {request.token for request in hub.seen if not request.path.startswith("/cdn/")} == {"Bearer hf_secret"}
    assert {request.token for request in hub.seen if request.path.startswith("/cdn/")} == {None}
    known = ("/api/models/owner/name", f"/owner/name/resolve/{COMMIT}/", "/cdn/")
    assert [request.path for request in hub.seen if not request.path.startswith(known)] == []


def test_lost_connection_is_resumed(hub: FakeHub, published: Path) -> None:
    hub.cuts[SHARDS[1]] = [10_000, 20_000]
    assert pull_tiny() == pull_command.OK
    assert hub.ranges(SHARDS[1]) == [None, "bytes=10000-", "bytes=30000-"]
    assert (store.installed("tiny") / SHARDS[1]).read_bytes() == (published / SHARDS[1]).read_bytes()


def test_second_pull_resumes_the_first(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither complete files nor received bytes are requested again."""
    hub.cuts[SHARDS[1]] = [10_000, 0]
    size = (hub.folder / SHARDS[1]).stat().st_size
    assert failure(capsys) == (
        f"The connection was lost while downloading {SHARDS[1]} of owner/name, at 10,000 of {size:,} bytes. "
        "Run the same command again to resume."
    )
    hub.seen.clear()
    assert pull_tiny() == pull_command.OK
    assert hub.ranges(SHARDS[0]) == []
    assert hub.ranges(SHARDS[1]) == ["bytes=10000-"]
    assert hub.ranges(SHARDS[2]) == [None]
    store.verify("tiny", full=True)


def test_progress_includes_bytes_of_an_earlier_attempt(hub: FakeHub, tmp_path: Path) -> None:
    found = look_up("owner/name", "tiny")
    total = sum(found.files[shard] for shard in SHARDS)
    hub.cuts[SHARDS[1]] = [10_000, 0]
    with pytest.raises(PullError):
        found.fetch(SHARDS, tmp_path, lambda done, of: None)
    assert found.missing_bytes(SHARDS) == total - found.files[SHARDS[0]] - 10_000
    seen: list[tuple[int, int]] = []
    found.fetch(SHARDS, tmp_path, lambda done, of: seen.append((done, of)))
    assert seen[0][0] > found.files[SHARDS[0]] + 10_000
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_partial_files_of_another_commit_are_not_used(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cuts[SHARDS[1]] = [10_000, 0]
    failure(capsys)
    monkeypatch.setattr("fakes.hub.COMMIT", "f" * 40)
    hub.seen.clear()
    assert pull_tiny() == pull_command.OK
    assert hub.ranges(SHARDS[0]) == hub.ranges(SHARDS[1]) == [None]


def test_gated_model_without_a_token(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.token = "hf_secret"
    assert failure(capsys) == (
        f"The hub denies anonymous access to owner/name (401). Check the name. If it is right, accept the model's "
        f"licence on {hub.url}/owner/name, create a token there, and run the command again with it in HF_TOKEN."
    )


@pytest.mark.parametrize("status", [401, 403])
def test_gated_model_with_a_wrong_token(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.refusal = (status, "GatedRepo")
    assert failure(capsys) == (
        f"The hub denies this HF_TOKEN access to owner/name ({status}). Check that the token is valid and may read the "
        f"model, and accept the model's licence on {hub.url}/owner/name with the token's account."
    )


def test_model_that_does_not_exist(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.refusal = (404, "RepoNotFound")
    assert failure(capsys) == f"There is no model owner/name on {hub.url}, or one of its files is gone. Check the name."


def test_server_error_of_the_hub(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.refusal = (503, "")
    assert failure(capsys) == "The hub responded to owner/name with status 503. Try again later."


def test_unreachable_hub(hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    message = failure(capsys)
    assert message.startswith("http://127.0.0.1:9 can't be reached (")
    assert message.endswith(
        "). Check the network and HTTPS_PROXY, or download the files on another machine and pull their folder with "
        "--as."
    )


def test_offline_mode_is_reported(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert failure(capsys) == "HF_HUB_OFFLINE is set, so the hub can't be reached. Unset it to pull."
    assert hub.seen == []


def test_too_little_disk_is_reported_before_the_download(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    assert failure(capsys).startswith("Installing 'tiny' takes 0.0 GB while it runs, but ")
    assert all(hub.ranges(shard) == [] for shard in SHARDS)


def test_disk_that_fills_up_during_the_download(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write to ``/dev/full`` fails as on a full disk."""
    full = store.download_folder("tiny", COMMIT) / f"{SHARDS[0]}.part"
    full.symlink_to("/dev/full")
    assert failure(capsys) == (
        f"The disk with {store.models_folder()} is full. Make room and run the same command again to resume, "
        f"or set {store.FOLDER_VARIABLE} to a folder on a larger disk."
    )
    full.unlink()
    assert pull_tiny() == pull_command.OK


@pytest.mark.parametrize("name", [SHARDS[2], "config.json"])
def test_damaged_download_is_removed(hub: FakeHub, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Large files are checked by SHA-256, small ones by git's hash."""
    hub.damaged.add(name)
    assert failure(capsys) == (
        f"{name} of owner/name is damaged: its hash is not the one that the hub lists. The file was removed. "
        "Run the same command again to download it."
    )
    hub.damaged.clear()
    assert pull_tiny() == pull_command.OK


def test_catalogue_model_is_pulled_from_its_repository(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main(["codellama-7b"]) == pull_command.FAILED
    revision = CATALOG["codellama-7b"].revision
    assert [request.path for request in hub.seen] == [f"/api/models/codellama/CodeLlama-7b-hf/revision/{revision}"]
    assert capsys.readouterr().err.startswith("There is no model codellama/CodeLlama-7b-hf on ")


def test_unknown_repository_needs_an_id(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main(["owner/name"]) == pull_command.USAGE
    assert capsys.readouterr().err == (
        "owner/name needs an id. Add --as codellama-7b if it is that model, or --as with a new id.\n"
    )
    assert hub.seen == []


def test_licence_is_shown_and_accepted_once(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["owner/name", "--as", "tiny"]
    notice = f"This model is under the licence: llama2, {hub.url}/owner/name\n"
    assert pull_command.main(arguments) == pull_command.FAILED
    assert capsys.readouterr().err == (
        f"{notice}The licence was not accepted, so nothing was pulled. Add --accept-licence to accept it.\n"
    )
    assert [request.path for request in hub.seen] == ["/api/models/owner/name"]
    assert pull_command.main([*arguments, "--accept-licence"]) == pull_command.OK
    assert capsys.readouterr().err.startswith(notice)
    assert pull_command.main([*arguments, "--force"]) == pull_command.OK
    assert "is under the licence" not in capsys.readouterr().err


def test_open_licence_needs_no_acceptance(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.licence = "apache-2.0"
    assert pull_command.main(["owner/name", "--as", "tiny"]) == pull_command.OK
    assert "is under the licence" not in capsys.readouterr().err


def test_model_is_repaired_from_its_recorded_source(hub: FakeHub) -> None:
    """The message about a damaged model says to pull it by its id."""
    assert pull_tiny() == pull_command.OK
    (store.location("tiny") / SHARDS[0]).write_bytes(b"")
    assert pull_command.main(["tiny", "--force"]) == pull_command.OK
    store.verify("tiny", full=True)
