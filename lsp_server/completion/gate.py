"""The gate decides if a completion request is allowed, and gives the reason if not.

Pure: the caller checks the disk. A private or oversized document is refused always. Restrictions on the cursor position
apply to automatic requests only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lsp_server.disk import Private
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Snapshot

EDITABLE_SCHEMES = frozenset({"file", "untitled", "vscode-notebook-cell"})
"""URI schemes of documents that users edit. Others are old revisions, output and settings pages."""

PRIVACY_REASONS: dict[Private | None, str] = {
    "secret": "the file's name says that it may hold keys or passwords",
    "ignored": "a .gitignore or .codellamaignore names the file or a folder it lies in",
    "excluded": "the setting completion.excludedFiles names the file",
    "unclear": "an ignore file that may name the file could not be evaluated",
}
"""Reasons why a file must not reach a model."""
_CLOSERS = re.compile(r"[\s)\]}>\"'`;,:]*")


@dataclass(frozen=True, slots=True)
class GateInput:
    """Facts that the snapshot does not contain.

    Attributes:
        invoked: the user triggered the request explicitly.
        infills: the model was trained to infill.
        private: reason why the file must not reach a model, if any.
        read_only: the user cannot write the file.
        misplaced: the entry selected in the editor's completion list is not at the cursor.
    """

    invoked: bool = False
    infills: bool = True
    private: Private | None = None
    read_only: bool = False
    misplaced: bool = False


def refusal_reason(snapshot: Snapshot, settings: CompletionSettings, given: GateInput) -> str:
    """Return the reason why a request is refused; empty if it is allowed."""
    return _document_reason(snapshot, settings, given) or ("" if given.invoked else _position_reason(snapshot, given))


def _document_reason(snapshot: Snapshot, settings: CompletionSettings, given: GateInput) -> str:
    scheme = snapshot.uri.partition(":")[0].lower()
    size = len(snapshot.before) + len(snapshot.after)
    language = snapshot.language
    rules = (
        (scheme not in EDITABLE_SCHEMES, f"'{scheme}:' documents are not written by hand"),
        (given.private, PRIVACY_REASONS.get(given.private, "")),
        (language in settings.disabled_languages, f"the setting completion.disabledLanguages names '{language}'"),
        (
            size > settings.max_file_chars,
            f"the document has {size:,} characters, more than completion.maxFileChars allows",
        ),
        (given.misplaced, "the entry selected in the editor's completion list is not at the cursor"),
        (not snapshot.before.strip() and not snapshot.after.strip(), "the document is empty"),
    )
    return next((reason for applies, reason in rules if applies), "")


def _position_reason(snapshot: Snapshot, given: GateInput) -> str:
    left, right = snapshot.left[-1:], snapshot.right
    if given.read_only:
        return "the file is read-only"
    if _is_word(left) and _is_word(right[:1]):
        return "the cursor is inside a word"
    if not given.infills and not _CLOSERS.fullmatch(right):
        return "text follows the cursor on its line, and the model was not trained to infill"
    return ""


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
