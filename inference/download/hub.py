"""Checkpoints on the Hugging Face Hub (or the server in ``HF_ENDPOINT``): list, download, verify.

Files are downloaded here because ``huggingface_hub`` (2.4) restarts a file after an interruption; here the download
resumes, also in a later process. Everything the hub sends is untrusted: a commit becomes a folder name, file names
become paths, sizes say how much to download. Listings are validated, and a file longer than listed is cut off.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from inference.download import hub_http
from inference.download.checkpoint_source import DESCRIPTION, PullError, description
from inference.download.hub_http import endpoint
from inference.models import store
from inference.models.manifest import sha256
from inference.system.terminal import OnProgress


class HubRepository:
    """One repository of the hub at one commit, a ``CheckpointSource``.

    Downloads are kept under ``model_id`` until they are complete, so that they survive an interruption.
    """

    def __init__(self, name: str, commit: str, listed: Mapping[str, ListedFile], licence: str, model_id: str) -> None:
        self.name = name
        self.version = commit
        self.licence = licence
        self.files: Mapping[str, int] = {file: entry.bytes for file, entry in listed.items()}
        self.hashes: Mapping[str, str] = {file: one.sha256 for file, one in listed.items() if one.sha256}
        self._listed = listed
        self._model_id = model_id

    def fetch_description(self) -> Path:
        self._download(description(self.files), lambda done, total: None)
        return self._kept

    def missing_bytes(self, names: Sequence[str]) -> int:
        return sum(self.files[name] - min(self.files[name], self._received(name)) for name in names)

    def fetch(self, names: Sequence[str], into: Path, on_progress: OnProgress) -> None:
        self._download(names, on_progress)
        for name in names:
            (self._kept / name).rename(into / name)

    def close(self) -> None:
        store.remove_download(self._model_id)

    @cached_property
    def _kept(self) -> Path:
        return store.download_folder(self._model_id, self.version)

    def _received(self, name: str) -> int:
        """Return the bytes of a file that are on the disk."""
        paths = (self._kept / name, self._part(name))
        return next((path.stat().st_size for path in paths if path.exists()), 0)

    def _part(self, name: str) -> Path:
        return self._kept / f"{name}.part"

    def _download(self, names: Sequence[str], on_progress: OnProgress) -> None:
        total = sum(self.files[name] for name in names)
        with _explain_errors(self.name):
            check_sizes(names, self._listed)
            for name in names:
                if not (self._kept / name).exists():
                    before = total - self.missing_bytes(names) - self._received(name)
                    self._fetch_file(name, lambda here, before=before: on_progress(before + here, total))
                    self._verify(name)
                    self._part(name).rename(self._kept / name)

    def _fetch_file(self, name: str, on_bytes: Callable[[int], None]) -> None:
        """Download one file. After a lost connection, resume as long as each attempt makes progress."""
        from huggingface_hub.errors import HfHubHTTPError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

        if self._received(name) > self.files[name]:
            self._part(name).unlink()
        self._part(name).touch(mode=0o600)
        while self._received(name) != self.files[name]:
            before = self._received(name)
            try:
                self._stream(name, before, on_bytes)
                cause = None
            except HfHubHTTPError:
                raise
            except HTTPError as error:
                cause = error
            if self._received(name) <= before:
                raise PullError(
                    f"The connection was lost while downloading {name} of {self.name}, at {before:,} of "
                    f"{self.files[name]:,} bytes. Run the same command again to resume."
                ) from cause

    def _stream(self, name: str, start: int, on_bytes: Callable[[int], None]) -> None:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self.name, name, revision=self.version, endpoint=endpoint())
        with hub_http.get(url, **({"Range": f"bytes={start}-"} if start else {})) as response:
            resumed = response.status_code == 206  # a server that ignores ranges sends everything
            with self._part(name).open("ab" if resumed else "wb") as part:
                for block in response.iter_raw():
                    part.write(block[: self.files[name] - part.tell() + 1])
                    if part.tell() > self.files[name]:
                        self._reject_excess(name)
                    on_bytes(part.tell())

    def _reject_excess(self, name: str) -> None:
        """Remove a file that is longer than listed, and raise PullError."""
        self._part(name).unlink()
        raise PullError(
            f"The hub sent more of {name} than the {self.files[name]:,} bytes that it lists. The download was stopped "
            "and removed. Run the same command again, or check HF_ENDPOINT."
        )

    def _verify(self, name: str) -> None:
        """Compare the hash of a downloaded file with the listed one. Remove a damaged file and raise PullError."""
        listed, part = self._listed[name], self._part(name)
        if listed.sha256:
            wrong = sha256(part) != listed.sha256
        else:
            wrong = listed.blob is not None and _blob(part.read_bytes()) != listed.blob
        if wrong:
            part.unlink()
            raise PullError(
                f"{name} of {self.name} is damaged: its hash is not the one that the hub lists. The file was removed. "
                "Run the same command again to download it."
            )


def look_up(hub_id: str, model_id: str, revision: str | None = None) -> HubRepository:
    """List a repository of the hub at ``revision``, by default the newest one. Raises PullError."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub.utils import validate_repo_id

    with _explain_errors(hub_id):
        validate_repo_id(hub_id)
        at = f"/revision/{revision}" if revision else ""
        found = parse_listing(hub_http.read(f"{endpoint()}/api/models/{hub_id}{at}?blobs=True"))
        if revision not in (None, found.commit):
            raise ListingError(f"it returned commit {found.commit} instead of {revision}")
    return HubRepository(hub_id, found.commit, found.files, found.licence, model_id)


def page(hub_id: str) -> str:
    """Return the address of a model's page."""
    return f"{endpoint()}/{hub_id}"


def is_hub_id(text: str) -> bool:
    """Return True if ``text`` has the form of a repository name: ``owner/name``."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text, re.ASCII) is not None


@contextmanager
def _explain_errors(hub_id: str) -> Iterator[None]:
    """Convert the library's errors to PullError."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
        OfflineModeIsEnabled,
    )

    try:
        yield
    except ListingError as error:
        raise PullError(
            f"{endpoint()} does not respond like a Hugging Face Hub for {hub_id} ({error}). Nothing was downloaded. "
            "Check HF_ENDPOINT."
        ) from error
    except OfflineModeIsEnabled as error:
        raise PullError("HF_HUB_OFFLINE is set, so the hub can't be reached. Unset it to pull.") from error
    except HfHubHTTPError as error:
        raise PullError(_status_message(hub_id, error.response), str(error)) from error
    except HFValidationError as error:
        raise PullError(f"{hub_id!r} is not a model name on the hub. Names have the form owner/name.") from error
    except HTTPError as error:
        raise PullError(
            f"{endpoint()} can't be reached ({error}). Check the network and HTTPS_PROXY, or download the files on "
            "another machine and pull their folder with --as."
        ) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise PullError(
            f"The disk with {store.models_folder()} is full. Make room and run the same command again to resume, or "
            f"set {store.FOLDER_VARIABLE} to a folder on a larger disk."
        ) from error


def _status_message(hub_id: str, response: Any) -> str:
    status = response.status_code
    if status in (401, 403) and (reason := hub_http.unsent_token_notice()):
        return f"The hub denies anonymous access to {hub_id} ({status}). {reason}"
    if status in (401, 403) and os.environ.get("HF_TOKEN"):
        return (
            f"The hub denies this HF_TOKEN access to {hub_id} ({status}). Check that the token is valid and may read "
            f"the model, and accept the model's licence on {page(hub_id)} with the token's account."
        )
    if status in (401, 403):
        return (
            f"The hub denies anonymous access to {hub_id} ({status}). Check the name. If it is right, accept the "
            f"model's licence on {page(hub_id)}, create a token there, and run the command again with it in HF_TOKEN."
        )
    if status == 404 and response.headers.get("X-Error-Code") == "RevisionNotFound":
        return (
            f"{hub_id} no longer has the revision that this version of codellama-ls pins. Update codellama-ls, or pull "
            "a copy of the repository by its own name with --as."
        )
    if status == 404:
        return f"There is no model {hub_id} on {endpoint()}, or one of its files is gone. Check the name."
    return f"The hub responded to {hub_id} with status {status}. Try again later."


def _blob(content: bytes) -> str:
    """Return git's hash of a file: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


MAX_DESCRIPTION_BYTES = 64 << 20
"""Size of a file of ``DESCRIPTION``. The largest known one, a tokenizer.json, has about 20 MB."""
MAX_FILE_BYTES = 64 << 30
"""Size of a weights file. Code Llama's have at most 10 GB."""
MAX_TOTAL_BYTES = 512 << 30
"""Size of all files of a checkpoint. A 70B model in 32 bits has 276 GB."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ListingError(Exception):
    """A listing that a genuine hub would not send."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file in a listing.

    Attributes:
        bytes: its size.
        sha256: SHA-256 of a large file.
        blob: git's hash of a small file.
    """

    bytes: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The hub's listing of a repository at one commit."""

    commit: str
    files: Mapping[str, ListedFile]
    licence: str


def parse_listing(content: bytes) -> Listing:
    """Parse the response to ``/api/models/NAME?blobs=true``. Raises ListingError."""
    try:
        response = json.loads(content)
        commit, siblings = response["sha"], response["siblings"]
        files = {_name(one["rfilename"]): _listed(one) for one in siblings if one.get("size") is not None}
        licence = (response.get("cardData") or {}).get("license")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ListingError("it lists no files") from error
    if not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
        raise ListingError(f"it names {_printable(commit)} as a commit")
    return Listing(commit, files, licence if isinstance(licence, str) else "unknown")


def check_sizes(names: Iterable[str], files: Mapping[str, ListedFile]) -> None:
    """Check the listed sizes of the files to download against the limits. Raises ListingError."""
    total = 0
    for name in names:
        size = files[name].bytes
        if size > (MAX_DESCRIPTION_BYTES if name in DESCRIPTION else MAX_FILE_BYTES):
            raise ListingError(f"it says that {_printable(name)} has {size:,} bytes")
        total += size
    if total > MAX_TOTAL_BYTES:
        raise ListingError(f"it says that the checkpoint has {total:,} bytes")


def _name(name: Any) -> str:
    """Return ``name`` if it is a relative path without ``..``, backslashes and control characters."""
    if not isinstance(name, str):
        raise TypeError(name)
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ListingError(f"it names a file {_printable(name)}")
    return name


def _listed(one: Mapping[str, Any]) -> ListedFile:
    size, blob, large = one["size"], one.get("blobId"), one.get("lfs")
    if type(size) is not int or size < 0:
        raise ListingError(f"it says that a file has {_printable(size)} bytes")
    sha256 = large["sha256"] if large else None
    patterns = ((sha256, _SHA256), (blob, _COMMIT))
    if any(
        value is not None and not (isinstance(value, str) and pattern.fullmatch(value)) for value, pattern in patterns
    ):
        raise ListingError("it lists invalid hashes")
    return ListedFile(size, sha256, blob)


def _printable(value: Any) -> str:
    """Return ``value`` for a message, as one printable line of bounded length."""
    return ascii(value)[:80]
