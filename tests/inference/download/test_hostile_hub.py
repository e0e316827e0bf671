"""An untrusted hub: validated listings, bounded downloads, a protected token."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.hub import COMMIT, FakeHub
from support.fixtures_hub import SHARDS, failure, pull_tiny

from inference.commands import pull_command
from inference.download import hub as hub_module
from inference.download import hub_http
from inference.download.checkpoint_source import PullError
from inference.download.hub import ListingError, look_up, parse_listing
from inference.models import store
from inference.models.catalog import CATALOG

OTHER = "f" * 40


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "commit", ["../../../planted", "/planted", "main", "", COMMIT + "\n", COMMIT.upper(), COMMIT[:12], None, 5, ["a"]]
)
def test_invalid_commit_is_rejected(hub: FakeHub, capsys, tmp_path: Path, commit: object) -> None:
    """The folder of a download is named after the commit, and folders beside it are removed."""
    store.models_folder().mkdir()
    (store.models_folder() / "other").mkdir()
    before = everything_below(tmp_path)
    hub.changes["sha"] = commit
    message = failure(capsys)
    assert message.startswith(f"{hub.url} does not respond like a Hugging Face Hub for owner/name (it names ")
    assert message.endswith("). Nothing was downloaded. Check HF_ENDPOINT.")
    assert everything_below(tmp_path) - before == {"models/.tiny.lock"}
    assert before <= everything_below(tmp_path)


@pytest.mark.parametrize("version", ["../other", "/tmp/x", "..", "a/b", ""])
def test_store_keeps_no_download_outside_its_folder(hub: FakeHub, version: str) -> None:
    with pytest.raises(store.StoreError, match="can't name a version"):
        store.download_folder("tiny", version)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", "evil\n", "evil\x1b[2J", "", "a//b"]
)
def test_unsafe_file_name_is_rejected(hub: FakeHub, capsys, name: str) -> None:
    hub.changes["siblings"] = [*hub.listing()["siblings"], {"rfilename": name, "size": 5}]  # type: ignore[misc]
    message = failure(capsys)
    assert "(it names a file " in message
    assert message.isprintable()


@pytest.mark.parametrize("size", [-1, 1.5, "5", True])
def test_invalid_size_is_rejected(hub: FakeHub, capsys, size: object) -> None:
    hub.changes["siblings"] = [{"rfilename": "config.json", "size": size}]
    assert "(it says that a file has " in failure(capsys)


@pytest.mark.parametrize(("name", "limit"), [("config.json", "MAX_DESCRIPTION_BYTES"), (SHARDS[0], "MAX_FILE_BYTES")])
def test_listed_size_beyond_the_limit_is_rejected(hub: FakeHub, capsys, monkeypatch, name: str, limit: str) -> None:
    """The limit is lowered so that the free disk space does not matter."""
    monkeypatch.setattr(hub_module, limit, 10 << 20)
    large = {"rfilename": name, "size": getattr(hub_module, limit) + 1}
    others = [one for one in hub.listing()["siblings"] if one["rfilename"] != name]  # type: ignore[attr-defined]
    hub.changes["siblings"] = [*others, large]
    assert f"it says that {name!r} has " in failure(capsys)
    assert hub.ranges(SHARDS[0]) == []


def test_listed_total_beyond_the_limit_is_rejected(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_TOTAL_BYTES", 100_000)
    assert "it says that the checkpoint has " in failure(capsys)
    assert hub.ranges(SHARDS[0]) == []


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"5", b'{"sha": 5}', b'{"siblings": 5}', b"[" * 100_000])
def test_malformed_listing_is_rejected(content: bytes) -> None:
    with pytest.raises(ListingError):
        parse_listing(content)


@pytest.mark.parametrize("name", ["config.json", SHARDS[1]])
def test_file_longer_than_listed_is_cut_off(hub: FakeHub, capsys, name: str) -> None:
    size = (hub.folder / name).stat().st_size
    hub.longer[name] = 50_000_000
    message = failure(capsys)
    assert message.startswith(
        f"The hub sent more of {name} than the {size:,} bytes that it lists. The download was stopped"
    )
    kept = store.models_folder().rglob("*")
    assert sum(path.stat().st_size for path in kept if path.is_file()) < 2_000_000
    hub.longer.clear()
    assert pull_tiny() == pull_command.OK


def test_endless_listing_is_cut_off(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setattr(hub_http, "MAX_RESPONSE", 1000)
    assert failure(capsys) == f"{hub.url} sent a response of more than 1,000 bytes. Check HF_ENDPOINT."


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
def test_token_is_sent_over_http_only_to_this_machine(monkeypatch, address: str, clear: bool) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert hub_http.sends_in_clear() == clear
    assert ("is not sent to" in hub_http.unsent_token_notice()) == clear


def test_unsent_token_is_reported(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("inference.remote.http_client._is_loopback", lambda host: False)
    assert pull_tiny() == pull_command.OK
    assert {request.token for request in hub.seen} == {None}
    assert f"Your Hugging Face token is not sent to {hub.url}: plain http is not encrypted." in capsys.readouterr().err


def test_denied_access_mentions_the_unsent_token(hub: FakeHub, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("inference.remote.http_client._is_loopback", lambda host: False)
    hub.token = "hf_secret"
    assert "set HF_ENDPOINT to an https address" in failure(capsys)


def test_token_does_not_follow_a_redirect_to_another_host(hub: FakeHub, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert pull_tiny() == pull_command.OK
    assert {request.token for request in hub.seen if request.path.startswith("/cdn/")} == {None}
    assert "Bearer hf_secret" in {request.token for request in hub.seen}


def test_pinned_revision_is_pulled_from_a_moved_repository(hub: FakeHub) -> None:
    hub.older.add(OTHER)
    found = look_up("owner/name", "tiny", OTHER)
    assert found.version == OTHER
    found.fetch_description()
    paths = [request.path for request in hub.seen if not request.path.startswith("/cdn/")]
    assert paths[0] == f"/api/models/owner/name/revision/{OTHER}"
    assert all(path.startswith(f"/owner/name/resolve/{OTHER}/") for path in paths[1:])


def test_response_with_another_revision_is_rejected(hub: FakeHub) -> None:
    hub.changes["sha"] = OTHER
    with pytest.raises(PullError, match=f"returned commit {OTHER} instead of {COMMIT}"):
        look_up("owner/name", "tiny", COMMIT)


def test_pinned_revision_of_the_catalogue_is_requested(hub: FakeHub, capsys) -> None:
    row = CATALOG["codellama-7b"]
    hub.name = row.hub
    assert pull_command.main(["codellama-7b", "--accept-licence"]) == pull_command.FAILED
    assert capsys.readouterr().err.startswith(
        f"{row.hub} no longer has the revision that this version of codellama-ls pins. Update codellama-ls, or pull "
        "a copy of the repository by its own name with --as.\n"
    )


def test_other_repository_has_no_pinned_revision(hub: FakeHub) -> None:
    pull_command.main(["owner/name", "--as", "codellama-7b", "--accept-licence"])
    assert hub.seen[0].path == "/api/models/owner/name"


def test_moved_repository_is_reported_at_the_next_pull(hub: FakeHub, capsys, monkeypatch) -> None:
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
