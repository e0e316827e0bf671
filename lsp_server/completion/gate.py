"""Whether a request may be answered at all, and if not, why not, in words. Pure: what is on the disk is told to it.

What may not be shown to the model is refused however it is asked for; what is only unwelcome is answered by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Snapshot

WRITTEN = frozenset({"file", "untitled", "vscode-notebook-cell"})
"""URI schemes of documents that a person writes; others are old revisions, output, settings pages."""

Private = Literal["secret", "ignored", "excluded", "unclear"]

PRIVATE: dict[Private | None, str] = {
    "secret": "the file's name says that it may hold keys or passwords",
    "ignored": "a .gitignore or .codellamaignore names the file or a folder it lies in",
    "excluded": "the setting completion.excludedFiles names the file",
    "unclear": "it is not clear whether an ignore file names it: one can't be used, or takes too long",
}
"""Why a file must not reach a model, in words."""
_CLOSERS = re.compile(r"[\s)\]}>\"'`;,:]*")


@dataclass(frozen=True, slots=True)
class GateInput:
    """What a snapshot does not know.

    Attributes:
        invoked: asked for by hand.
        infills: whether the model was trained to write what stands before other text.
        private: why the file must not reach a model, if so.
        read_only: the file can't be written.
        misplaced: the editor's list has an entry selected that does not stand at the cursor.
    """

    invoked: bool = False
    infills: bool = True
    private: Private | None = None
    read_only: bool = False
    misplaced: bool = False


def refusal(snapshot: Snapshot, settings: CompletionSettings, given: GateInput) -> str:
    """Why this request is not answered, or an empty string."""
    return _of_document(snapshot, settings, given) or ("" if given.invoked else _of_place(snapshot, given))


def _of_document(snapshot: Snapshot, settings: CompletionSettings, given: GateInput) -> str:
    scheme = snapshot.uri.partition(":")[0].lower()
    size = len(snapshot.before) + len(snapshot.after)
    language = snapshot.language
    rules = (
        (scheme not in WRITTEN, f"'{scheme}:' documents are not written by hand"),
        (given.private, PRIVATE.get(given.private, "")),
        (language in settings.disabled_languages, f"the setting completion.disabledLanguages names '{language}'"),
        (size > settings.max_file_chars, f"the document has {size:,} characters, more than completion.maxFileChars"),
        (given.misplaced, "what is selected in the editor's list does not stand on the cursor's line"),
        (not snapshot.before.strip() and not snapshot.after.strip(), "the document is empty"),
    )
    return next((why for holds, why in rules if holds), "")


def _of_place(snapshot: Snapshot, given: GateInput) -> str:
    """Where a person who merely types wants no suggestion."""
    left, right = snapshot.left[-1:], snapshot.right
    if given.read_only:
        return "the file is read-only"
    if _is_word(left) and _is_word(right[:1]):
        return "the cursor stands within a word"
    if not given.infills and not _CLOSERS.fullmatch(right):
        return "text follows on the line, and the model was not trained to infill"
    return ""


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
