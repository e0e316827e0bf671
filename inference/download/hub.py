"""A checkpoint on the Hugging Face Hub, or on whatever ``HF_ENDPOINT`` names: listed, downloaded, verified.

Knows neither the terminal nor what is in the files. Downloads are streamed here because the library (2.4) starts a file
that was cut short over again; a file here is taken up where it ended, also by another process on another day. What the
hub says is untrusted: ``listing`` validates it, and a file that is longer than listed is cut off.

Validate a hub's listing of a repository, before anything is downloaded or named after it.

A listing is untrusted: its commit becomes a folder's name, its file names become paths and its sizes say how much is
downloaded. Pure: no network and no files.
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
from inference.download.checkpoint_source import DESCRIPTION, description
from inference.download.hub_http import endpoint
from inference.download.wheel import PullError
from inference.models import store
from inference.models.manifest import sha256
from inference.system.progress import OnProgress


class Hub:
    """One repository of the hub, at the commit that ``look_up`` found.

    What is downloaded is kept under ``model_id`` until all of it is there, so that it outlives an interruption.
    """

    def __init__(self, name: str, commit: str, listed: Mapping[str, Listed], licence: str, model_id: str) -> None:
        self.name = name
        self.version = commit
        self.licence = licence
        self.files: Mapping[str, int] = {file: entry.bytes for file, entry in listed.items()}
        self.hashes: Mapping[str, str] = {file: one.sha256 for file, one in listed.items() if one.sha256}
        self._listed = listed
        self._model_id = model_id

    def describe(self) -> Path:
        self._download(description(self.files), lambda done, total: None)
        return self._kept

    def still_needed(self, names: Sequence[str]) -> int:
        return sum(self.files[name] - min(self.files[name], self._have(name)) for name in names)

    def bring(self, names: Sequence[str], into: Path, on_progress: OnProgress) -> None:
        self._download(names, on_progress)
        for name in names:
            (self._kept / name).rename(into / name)

    def close(self) -> None:
        store.forget_kept(self._model_id)

    @cached_property
    def _kept(self) -> Path:
        return store.kept(self._model_id, self.version)

    def _have(self, name: str) -> int:
        """Bytes of a file that are here."""
        paths = (self._kept / name, self._part(name))
        return next((path.stat().st_size for path in paths if path.exists()), 0)

    def _part(self, name: str) -> Path:
        return self._kept / f"{name}.part"

    def _download(self, names: Sequence[str], on_progress: OnProgress) -> None:
        total = sum(self.files[name] for name in names)
        with explained(self.name):
            check_sizes(names, self._listed)
            for name in names:
                if not (self._kept / name).exists():
                    before = total - self.still_needed(names) - self._have(name)
                    self._fetch(name, lambda here, before=before: on_progress(before + here, total))
                    self._verify(name)
                    self._part(name).rename(self._kept / name)

    def _fetch(self, name: str, on_bytes: Callable[[int], None]) -> None:
        """Download one file to its end; a cut connection is taken up again as long as each attempt brings something."""
        from huggingface_hub.errors import HfHubHTTPError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

        if self._have(name) > self.files[name]:
            self._part(name).unlink()
        self._part(name).touch(mode=0o600)
        while self._have(name) != self.files[name]:
            before = self._have(name)
            try:
                self._stream(name, before, on_bytes)
                cause = None
            except HfHubHTTPError:
                raise
            except HTTPError as error:
                cause = error
            if self._have(name) <= before:
                raise PullError(
                    f"The connection was cut while {name} of {self.name} came, at {before:,} of {self.files[name]:,} "
                    "bytes: run the same command again, it goes on from there."
                ) from cause

    def _stream(self, name: str, start: int, on_bytes: Callable[[int], None]) -> None:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self.name, name, revision=self.version, endpoint=endpoint())
        with hub_http.get(url, **({"Range": f"bytes={start}-"} if start else {})) as answer:
            resumed = answer.status_code == 206  # a server that ignores ranges sends everything
            with self._part(name).open("ab" if resumed else "wb") as part:
                for block in answer.iter_raw():
                    part.write(block[: self.files[name] - part.tell() + 1])
                    if part.tell() > self.files[name]:
                        self._cut_off(name)
                    on_bytes(part.tell())

    def _cut_off(self, name: str) -> None:
        """Remove a file of which more came than the hub lists."""
        self._part(name).unlink()
        raise PullError(
            f"The hub sends more of {name} than the {self.files[name]:,} bytes that it lists, so the download was cut "
            "off and removed: run the same command again, or check HF_ENDPOINT."
        )

    def _verify(self, name: str) -> None:
        """Compare a file that came with what the hub lists; a damaged one is removed."""
        listed, part = self._listed[name], self._part(name)
        if listed.sha256:
            wrong = sha256(part) != listed.sha256
        else:
            wrong = listed.blob is not None and _blob(part.read_bytes()) != listed.blob
        if wrong:
            part.unlink()
            raise PullError(
                f"{name} of {self.name} came damaged (its hash is not the one the hub lists) and was removed: "
                "run the same command again to download it anew."
            )


def look_up(hub_id: str, model_id: str, revision: str | None = None) -> Hub:
    """Ask the hub what a repository holds, now or at a ``revision``. Raises PullError."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub.utils import validate_repo_id

    with explained(hub_id):
        validate_repo_id(hub_id)
        at = f"/revision/{revision}" if revision else ""
        found = parse(hub_http.read(f"{endpoint()}/api/models/{hub_id}{at}?blobs=True"))
        if revision not in (None, found.commit):
            raise ListingError(f"it answers with commit {found.commit} when asked for {revision}")
    return Hub(hub_id, found.commit, found.files, found.licence, model_id)


def page(hub_id: str) -> str:
    """The address of a model's page."""
    return f"{endpoint()}/{hub_id}"


def is_hub_id(text: str) -> bool:
    """Whether this could name a repository: ``owner/name``."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", text, re.ASCII) is not None


@contextmanager
def explained(hub_id: str) -> Iterator[None]:
    """Turn what the library raises into one sentence that says what to do."""
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
            f"{endpoint()} does not answer like a Hugging Face Hub about {hub_id} ({error}), so nothing was "
            "downloaded: check HF_ENDPOINT."
        ) from error
    except OfflineModeIsEnabled as error:
        raise PullError("HF_HUB_OFFLINE is set, so the hub can't be asked: unset it to pull.") from error
    except HfHubHTTPError as error:
        raise PullError(_refusal(hub_id, error.response), str(error)) from error
    except HFValidationError as error:
        raise PullError(f"{hub_id!r} is no name of a model on the hub, which looks like owner/name.") from error
    except HTTPError as error:
        raise PullError(
            f"{endpoint()} can't be reached ({error}): check the network and HTTPS_PROXY, or fetch the "
            "files on another machine and pull their folder with --as.",
        ) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise PullError(
            f"The disk with {store.models_folder()} is full: make room and run the same command again, it goes on "
            f"from there; or set {store.FOLDER_VARIABLE} to a folder on a larger disk."
        ) from error


def _refusal(hub_id: str, answer: Any) -> str:
    status = answer.status_code
    if status in (401, 403) and (reason := hub_http.withheld()):
        return f"The hub does not show {hub_id} to everybody ({status}). {reason}"
    if status in (401, 403) and os.environ.get("HF_TOKEN"):
        return (
            f"The hub refuses {hub_id} to this HF_TOKEN ({status}): check that the token is valid and may read the "
            f"model, and accept the model's licence on {page(hub_id)} with the token's account."
        )
    if status in (401, 403):
        return (
            f"The hub does not show {hub_id} to everybody ({status}): accept the model's licence on {page(hub_id)}, "
            "make a token there, and run this again with HF_TOKEN set to it. (A misspelt name gets the same answer.)"
        )
    if status == 404 and answer.headers.get("X-Error-Code") == "RevisionNotFound":
        return (
            f"{hub_id} no longer has the revision that this version pins: update codellama-ls, or pull a copy of the "
            "repository by its own name with --as."
        )
    if status == 404:
        return f"There is no model {hub_id} on {page('').rstrip('/')}, or a file of it is gone: check the name."
    return f"The hub answered {status} when asked for {hub_id}: try again later."


def _blob(content: bytes) -> str:
    """Git's hash of a file: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


LARGEST_DESCRIPTION = 64 << 20
"""Bytes in a file of ``DESCRIPTION``; the largest known, a tokenizer.json, has some 20 MB."""
LARGEST_FILE = 64 << 30
"""Bytes in a file of weights; Code Llama's have 10 GB at most."""
LARGEST_ALL = 512 << 30
"""Bytes in all files of a checkpoint; a 70B in 32 bits has 276 GB."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ListingError(Exception):
    """A listing that no honest hub sends; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the hub lists it.

    Attributes:
        bytes: its length.
        sha256: of its content, where it is a large file.
        blob: git's hash of its content, where it is a small one.
    """

    bytes: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit, as the hub lists it."""

    commit: str
    files: Mapping[str, Listed]
    licence: str


def parse(content: bytes) -> Listing:
    """Parse the answer of ``/api/models/NAME?blobs=true``. Raises ListingError."""
    try:
        answer = json.loads(content)
        commit, siblings = answer["sha"], answer["siblings"]
        files = {_name(one["rfilename"]): _listed(one) for one in siblings if one.get("size") is not None}
        licence = (answer.get("cardData") or {}).get("license")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ListingError("it lists no files") from error
    if not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
        raise ListingError(f"it names {_quoted(commit)} as a commit")
    return Listing(commit, files, licence if isinstance(licence, str) else "unknown")


def check_sizes(names: Iterable[str], files: Mapping[str, Listed]) -> None:
    """Check the declared sizes of files that are to be downloaded against the limits. Raises ListingError."""
    total = 0
    for name in names:
        size = files[name].bytes
        if size > (LARGEST_DESCRIPTION if name in DESCRIPTION else LARGEST_FILE):
            raise ListingError(f"it says that {_quoted(name)} has {size:,} bytes")
        total += size
    if total > LARGEST_ALL:
        raise ListingError(f"it says that the checkpoint has {total:,} bytes")


def _name(name: Any) -> str:
    """A relative path without ``..``, backslashes and control characters."""
    if not isinstance(name, str):
        raise TypeError(name)
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ListingError(f"it names a file {_quoted(name)}")
    return name


def _listed(one: Mapping[str, Any]) -> Listed:
    size, blob, large = one["size"], one.get("blobId"), one.get("lfs")
    if type(size) is not int or size < 0:
        raise ListingError(f"it says that a file has {_quoted(size)} bytes")
    sha256 = large["sha256"] if large else None
    wanted = ((sha256, _SHA256), (blob, _COMMIT))
    if any(value is not None and not (isinstance(value, str) and form.fullmatch(value)) for value, form in wanted):
        raise ListingError("it lists hashes that are none")
    return Listed(size, sha256, blob)


def _quoted(value: Any) -> str:
    """For a sentence: one printable line of bounded length."""
    return ascii(value)[:80]
