"""Validate a hub's listing of a repository, before anything is downloaded or named after it.

A listing is untrusted: its commit becomes a folder's name, its file names become paths and its sizes say how much is
downloaded. Pure: no network and no files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inference.fetching.source import DESCRIPTION

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
