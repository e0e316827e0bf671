"""A hub that is not trusted: what it lists names no path, more bytes than listed are cut off, the token stays here."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.hub import COMMIT, FakeHub
from support.fixtures_hub import SHARDS, failure, pull_tiny

from inference.commands import pull_command
from inference.download import hub as listing
from inference.download import hub_http
from inference.download.hub import ListingError, look_up, parse
from inference.models import store
from inference.models.catalog import CATALOG

OTHER = "f" * 40


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "commit", ["../../../planted", "/planted", "main", "", COMMIT + "\n", COMMIT.upper(), COMMIT[:12], None, 5, ["a"]]
)
def test_commit_that_is_no_hash_is_refused(hub: FakeHub, capsys, tmp_path: Path, commit: object) -> None:
    """The folder of a download is named after it, and folders beside it are removed."""
    store.models_folder().mkdir()
    (store.models_folder() / "other").mkdir()
    before = everything_below(tmp_path)
    hub.changes["sha"] = commit
    said = failure(capsys)
    assert said.startswith(f"{hub.url} does not answer like a Hugging Face Hub about owner/name (it names ")
    assert said.endswith("), so nothing was downloaded: check HF_ENDPOINT.")
    assert everything_below(tmp_path) - before == {"models/.tiny.lock"}
    assert before <= everything_below(tmp_path)


@pytest.mark.parametrize("version", ["../other", "/tmp/x", "..", "a/b", ""])
def test_store_keeps_no_download_outside_its_folder(hub: FakeHub, version: str) -> None:
    with pytest.raises(store.StoreError, match="can't name a version"):
        store.kept("tiny", version)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", "evil\n", "evil\x1b[2J", "", "a//b"]
)
def test_file_name_that_is_no_plain_path_is_refused(hub: FakeHub, capsys, name: str) -> None:
    hub.changes["siblings"] = [*hub.listing()["siblings"], {"rfilename": name, "size": 5}]  # type: ignore[misc]
    said = failure(capsys)
    assert "(it names a file " in said
    assert said.isprintable()


@pytest.mark.parametrize("size", [-1, 1.5, "5", True])
def test_size_that_is_no_number_of_bytes_is_refused(hub: FakeHub, capsys, size: object) -> None:
    hub.changes["siblings"] = [{"rfilename": "config.json", "size": size}]
    assert "(it says that a file has " in failure(capsys)


@pytest.mark.parametrize(("name", "most"), [("config.json", "LARGEST_DESCRIPTION"), (SHARDS[0], "LARGEST_FILE")])
def test_declared_size_beyond_the_limit_is_refused(hub: FakeHub, capsys, monkeypatch, name: str, most: str) -> None:
    """The limit is lowered to one for which every disk has room."""
    monkeypatch.setattr(listing, most, 10 << 20)
    large = {"rfilename": name, "size": getattr(listing, most) + 1}
    others = [one for one in hub.listing()["siblings"] if one["rfilename"] != name]  # type: ignore[attr-defined]
    hub.changes["siblings"] = [*others, large]
    assert f"it says that {name!r} has " in failure(capsys)
    assert hub.ranges(SHARDS[0]) == []


def test_declared_total_beyond_the_limit_is_refused(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setattr(listing, "LARGEST_ALL", 100_000)
    assert "it says that the checkpoint has " in failure(capsys)
    assert hub.ranges(SHARDS[0]) == []


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"5", b'{"sha": 5}', b'{"siblings": 5}', b"[" * 100_000])
def test_listing_of_another_form_is_refused(content: bytes) -> None:
    with pytest.raises(ListingError):
        parse(content)


@pytest.mark.parametrize("name", ["config.json", SHARDS[1]])
def test_file_that_goes_on_beyond_its_size_is_cut_off(hub: FakeHub, capsys, name: str) -> None:
    size = (hub.folder / name).stat().st_size
    hub.longer[name] = 50_000_000
    said = failure(capsys)
    assert said.startswith(
        f"The hub sends more of {name} than the {size:,} bytes that it lists, so the download was cut"
    )
    kept = store.models_folder().rglob("*")
    assert sum(path.stat().st_size for path in kept if path.is_file()) < 2_000_000
    hub.longer.clear()
    assert pull_tiny() == pull_command.OK


def test_listing_without_end_is_cut_off(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setattr(hub_http, "LARGEST_ANSWER", 1000)
    assert failure(capsys) == f"{hub.url} sends an answer without end: check HF_ENDPOINT."


@pytest.mark.parametrize(
    ("address", "clear"),
    [
        ("http://hub.example.org", True),
        ("HTTP://hub.example.org:8080/", True),
        ("http://192.168.0.7", True),
        ("http://localhost:8080", False),
        ("http://127.0.0.1", False),
        ("http://[::1]:80", False),
        ("https://hub.example.org", False),
        ("http://localhost.example.org", True),
    ],
)
def test_token_goes_over_http_to_this_machine_only(monkeypatch, address: str, clear: bool) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert hub_http.in_the_clear() == clear
    assert ("is not sent to" in hub_http.withheld()) == clear


def test_token_is_not_sent_in_clear_and_the_user_is_told(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("inference.remote.http_client._is_loopback", lambda host: False)
    assert pull_tiny() == pull_command.OK
    assert {request.token for request in hub.seen} == {None}
    assert f"Your Hugging Face token is not sent to {hub.url}: plain http is not encrypted." in capsys.readouterr().err


def test_refusal_names_the_token_that_was_not_sent(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("inference.remote.http_client._is_loopback", lambda host: False)
    hub.token = "hf_secret"
    assert "set HF_ENDPOINT to an https address" in failure(capsys)


def test_token_does_not_follow_a_redirect_to_another_host(hub: FakeHub, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert pull_tiny() == pull_command.OK
    assert {request.token for request in hub.seen if request.path.startswith("/cdn/")} == {None}
    assert "Bearer hf_secret" in {request.token for request in hub.seen}


def test_pinned_revision_is_pulled_though_the_repository_moved(hub: FakeHub) -> None:
    hub.older.add(OTHER)
    found = look_up("owner/name", "tiny", OTHER)
    assert found.version == OTHER
    found.describe()
    asked = [request.path for request in hub.seen if not request.path.startswith("/cdn/")]
    assert asked[0] == f"/api/models/owner/name/revision/{OTHER}"
    assert all(path.startswith(f"/owner/name/resolve/{OTHER}/") for path in asked[1:])


def test_answer_with_another_revision_than_the_pinned_is_refused(hub: FakeHub) -> None:
    hub.changes["sha"] = OTHER
    with pytest.raises(pull_command.PullError, match=f"answers with commit {OTHER} when asked for {COMMIT}"):
        look_up("owner/name", "tiny", COMMIT)


def test_catalogue_pins_reach_the_hub(hub: FakeHub, capsys) -> None:
    row = CATALOG["codellama-7b"]
    hub.name = row.hub
    assert pull_command.main(["codellama-7b", "--accept-licence"]) == pull_command.FAILED
    assert capsys.readouterr().err.startswith(
        f"{row.hub} no longer has the revision that this version pins: update codellama-ls, or pull a copy of the "
        "repository by its own name with --as.\n"
    )


def test_pinned_revision_is_not_asked_of_another_repository(hub: FakeHub) -> None:
    pull_command.main(["owner/name", "--as", "codellama-7b", "--accept-licence"])
    assert hub.seen[0].path == "/api/models/owner/name"


def test_repository_that_moved_is_told_at_the_next_pull(hub: FakeHub, capsys, monkeypatch) -> None:
    assert pull_tiny() == pull_command.OK
    assert pull_tiny("--force") == pull_command.OK
    assert "has moved" not in capsys.readouterr().err
    monkeypatch.setattr("fakes.hub.COMMIT", OTHER)
    assert pull_tiny("--force") == pull_command.OK
    moved = f"owner/name has moved from revision {COMMIT} (installed) to {OTHER}; "
    assert f"{moved}its weights have not changed.\n" in capsys.readouterr().err


def test_changed_weights_are_named(hub: FakeHub, capsys, monkeypatch) -> None:
    assert pull_tiny() == pull_command.OK
    shard = hub.folder / SHARDS[1]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setattr("fakes.hub.COMMIT", OTHER)
    capsys.readouterr()
    assert pull_tiny("--force") == pull_command.OK
    assert f"these files have changed: {SHARDS[1]}.\n" in capsys.readouterr().err
