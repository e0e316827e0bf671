"""``codellama-ls pull owner/name`` against a stand-in hub: the whole road, and every way in which it can break off."""

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
from inference.download.hub import look_up
from inference.download.wheel import PullError
from inference.models import store
from inference.models.catalog import CATALOG


def test_a_whole_pull_installs_what_is_needed_and_nothing_else(hub: FakeHub, published: Path) -> None:
    """Neither other frameworks' weights nor pictures are downloaded; what is, is the repository's to the byte."""
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


def test_a_pull_in_a_process_of_its_own(hub: FakeHub, tmp_path: Path) -> None:
    """The real command with nothing but the environment: endpoint and token reach the hub, and only the hub.

    The token stays off the other origin that weights are redirected to; nothing else is asked for.
    """
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


def test_a_cut_connection_is_taken_up_again_by_itself(hub: FakeHub, published: Path) -> None:
    hub.cuts[SHARDS[1]] = [10_000, 20_000]
    assert pull_tiny() == pull_command.OK
    assert hub.ranges(SHARDS[1]) == [None, "bytes=10000-", "bytes=30000-"]
    assert (store.installed("tiny") / SHARDS[1]).read_bytes() == (published / SHARDS[1]).read_bytes()


def test_a_pull_that_broke_off_goes_on_where_it_was(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """Calling again asks neither for the files that are there nor for the bytes that are."""
    hub.cuts[SHARDS[1]] = [10_000, 0]
    size = (hub.folder / SHARDS[1]).stat().st_size
    assert failure(capsys) == (
        f"The connection was cut while {SHARDS[1]} of owner/name came, at 10,000 of {size:,} bytes: "
        "run the same command again, it goes on from there."
    )
    hub.seen.clear()
    assert pull_tiny() == pull_command.OK
    assert hub.ranges(SHARDS[0]) == []
    assert hub.ranges(SHARDS[1]) == ["bytes=10000-"]
    assert hub.ranges(SHARDS[2]) == [None]
    store.verify("tiny", full=True)


def test_progress_counts_the_bytes_that_are_here(hub: FakeHub, tmp_path: Path) -> None:
    """Of all files together; what an earlier attempt brought counts from the start."""
    found = look_up("owner/name", "tiny")
    total = sum(found.files[shard] for shard in SHARDS)
    hub.cuts[SHARDS[1]] = [10_000, 0]
    with pytest.raises(PullError):
        found.bring(SHARDS, tmp_path, lambda done, of: None)
    assert found.still_needed(SHARDS) == total - found.files[SHARDS[0]] - 10_000
    seen: list[tuple[int, int]] = []
    found.bring(SHARDS, tmp_path, lambda done, of: seen.append((done, of)))
    assert seen[0][0] > found.files[SHARDS[0]] + 10_000
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_another_commit_is_not_mixed_with_what_was_kept(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cuts[SHARDS[1]] = [10_000, 0]
    failure(capsys)
    monkeypatch.setattr("fakes.hub.COMMIT", "f" * 40)
    hub.seen.clear()
    assert pull_tiny() == pull_command.OK
    assert hub.ranges(SHARDS[0]) == hub.ranges(SHARDS[1]) == [None]


def test_a_gated_model_without_a_token(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.token = "hf_secret"
    assert failure(capsys) == (
        f"The hub does not show owner/name to everybody (401): accept the model's licence on {hub.url}/owner/name, "
        "make a token there, and run this again with HF_TOKEN set to it. (A misspelt name gets the same answer.)"
    )


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_not(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.refusal = (status, "GatedRepo")
    assert failure(capsys) == (
        f"The hub refuses owner/name to this HF_TOKEN ({status}): check that the token is valid and may read the "
        f"model, and accept the model's licence on {hub.url}/owner/name with the token's account."
    )


def test_a_model_that_does_not_exist(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.refusal = (404, "RepoNotFound")
    assert failure(capsys) == f"There is no model owner/name on {hub.url}, or a file of it is gone: check the name."


def test_a_hub_in_trouble(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.refusal = (503, "")
    assert failure(capsys) == "The hub answered 503 when asked for owner/name: try again later."


def test_an_unreachable_hub(hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens on that port."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = failure(capsys)
    assert said.startswith("http://127.0.0.1:9 can't be reached (")
    assert said.endswith(
        "): check the network and HTTPS_PROXY, or fetch the files on another machine and pull their folder with --as."
    )


def test_offline_mode_is_said(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert failure(capsys) == "HF_HUB_OFFLINE is set, so the hub can't be asked: unset it to pull."
    assert hub.seen == []


def test_too_little_disk_is_said_before_the_weights_come(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    assert failure(capsys).startswith("Installing 'tiny' takes 0.0 GB while it runs, but ")
    assert all(hub.ranges(shard) == [] for shard in SHARDS)


def test_a_disk_that_fills_up_meanwhile(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``/dev/full`` is a disk without room: every write to it fails as on a full one."""
    full = store.kept("tiny", COMMIT) / f"{SHARDS[0]}.part"
    full.symlink_to("/dev/full")
    assert failure(capsys) == (
        f"The disk with {store.models_folder()} is full: make room and run the same command again, it goes on from "
        f"there; or set {store.FOLDER_VARIABLE} to a folder on a larger disk."
    )
    full.unlink()
    assert pull_tiny() == pull_command.OK


@pytest.mark.parametrize("name", [SHARDS[2], "config.json"])
def test_a_file_that_came_damaged_is_not_kept(hub: FakeHub, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """The hub lists a hash of every file; large ones by SHA-256, small ones by git's."""
    hub.damaged.add(name)
    assert failure(capsys) == (
        f"{name} of owner/name came damaged (its hash is not the one the hub lists) and was removed: "
        "run the same command again to download it anew."
    )
    hub.damaged.clear()
    assert pull_tiny() == pull_command.OK


def test_a_model_of_the_catalogue_has_its_place_on_the_hub(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main(["codellama-7b"]) == pull_command.FAILED
    revision = CATALOG["codellama-7b"].revision
    assert [request.path for request in hub.seen] == [f"/api/models/codellama/CodeLlama-7b-hf/revision/{revision}"]
    assert capsys.readouterr().err.startswith("There is no model codellama/CodeLlama-7b-hf on ")


def test_an_unknown_repository_needs_a_name(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command.main(["owner/name"]) == pull_command.USAGE
    assert capsys.readouterr().err == (
        "Say what owner/name is: --as codellama-7b for example, or --as a new name for another model.\n"
    )
    assert hub.seen == []


def test_a_licence_is_shown_and_accepted_once(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """A script that did not accept it gets nothing; who did is not asked again."""
    arguments = ["owner/name", "--as", "tiny"]
    shown = f"This model is under the licence: llama2, {hub.url}/owner/name\n"
    assert pull_command.main(arguments) == pull_command.FAILED
    assert capsys.readouterr().err == (
        f"{shown}The licence was not accepted, so nothing was pulled: --accept-licence accepts it.\n"
    )
    assert [request.path for request in hub.seen] == ["/api/models/owner/name"]
    assert pull_command.main([*arguments, "--accept-licence"]) == pull_command.OK
    assert capsys.readouterr().err.startswith(shown)
    assert pull_command.main([*arguments, "--force"]) == pull_command.OK
    assert "is under the licence" not in capsys.readouterr().err


def test_an_open_licence_asks_nothing(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.licence = "apache-2.0"
    assert pull_command.main(["owner/name", "--as", "tiny"]) == pull_command.OK
    assert "is under the licence" not in capsys.readouterr().err


def test_a_model_that_is_not_in_the_catalogue_is_repaired_from_where_it_came(hub: FakeHub) -> None:
    """The sentence about a damaged model says to pull it by its id."""
    assert pull_tiny() == pull_command.OK
    (store.location("tiny") / SHARDS[0]).write_bytes(b"")
    assert pull_command.main(["tiny", "--force"]) == pull_command.OK
    store.verify("tiny", full=True)
