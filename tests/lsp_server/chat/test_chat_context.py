"""Attachments for mentions, and files that are never attached."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lsp_server.chat.attachments import Attachment, LeftOut, Mention
from lsp_server.chat.chat_context import AttachmentError, ChatContext, SelectedLines, gather_attachments
from lsp_server.context.cross_file import OpenFile

AREA = "def area(width):\n    return width * 2\n\n\ndef other():\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with private files, next to a file outside it."""
    workspace = tmp_path / "work"
    for name, text in {
        "a.py": "x = 1\r\n",
        "lib/area.py": AREA,
        "secret/k.pem": "KEY",
        ".env": "KEY",
        "hidden.py": "KEY",
        "excluded.py": "KEY",
        ".gitignore": "hidden.py\n",
        ".git/config": "url = https://token@host\n",
        "../outside.py": "KEY",
    }.items():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(text, newline="")
    (workspace / "bytes.py").write_bytes(b"\xff\xfe")
    os.mkfifo(workspace / "pipe.py")  # reading it would block forever
    (workspace / "out.py").symlink_to("../outside.py")
    (workspace / "notes.txt").symlink_to(".git/config")
    return workspace


def chat_context(folder: Path, *opened: OpenFile, **more) -> ChatContext:
    return ChatContext([folder], ("excluded.py",), opened, **more)


def document(path: Path, text: str) -> OpenFile:
    return OpenFile(path.as_uri(), path, "python", text)


async def attachments(name: str, context: ChatContext) -> list[Attachment]:
    kind, _, rest = name.removeprefix("#").partition(":")
    return (await gather_attachments(Mention(kind, rest), context))[0]  # type: ignore[arg-type]


async def refusal(name: str, context: ChatContext) -> str:
    with pytest.raises(AttachmentError) as refused:
        await attachments(name, context)
    return str(refused.value)


async def test_file_is_named_relative_to_the_workspace(folder: Path) -> None:
    assert await attachments("#file:a.py", chat_context(folder)) == [Attachment("a.py", "x = 1\n", "python")]
    assert await attachments("#file:lib/../lib/area.py", chat_context(folder)) == [
        Attachment("lib/area.py", AREA, "python")
    ]
    assert await attachments(f"#file:{folder}/a.py", chat_context(folder)) == [Attachment("a.py", "x = 1\n", "python")]


async def test_open_file_has_the_text_of_the_editor(folder: Path) -> None:
    opened = document(folder / "a.py", "x = 2\n")
    assert await attachments("#file:a.py", chat_context(folder, opened)) == [Attachment("a.py", "x = 2\n", "python")]


KEYS = "the file's name says that it may hold keys or passwords"
IGNORED = "a .gitignore or .codellamaignore names the file or a folder it lies in"
TOOLS = "it lies in a folder that tools fill"
OUTSIDE = "lies outside the workspace folders. Only files inside them can be attached."


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".env", f"#file:.env is not shown to the model: {KEYS}."),
        ("secret/k.pem", f"#file:secret/k.pem is not shown to the model: {KEYS}."),
        ("hidden.py", f"#file:hidden.py is not shown to the model: {IGNORED}."),
        ("excluded.py", "#file:excluded.py is not shown to the model: the setting completion.excludedFiles names the"),
        (".git/config", f"#file:.git/config is not shown to the model: {TOOLS}."),
        ("notes.txt", f"#file:notes.txt is not shown to the model: {TOOLS}."),
        ("../outside.py", f"#file:../outside.py {OUTSIDE}"),
        ("out.py", f"#file:out.py {OUTSIDE}"),
        ("/etc/hostname", f"#file:/etc/hostname {OUTSIDE}"),
        ("nobody.py", "#file:nobody.py: no workspace folder has this file."),
        ("lib", "#file:lib: no workspace folder has this file."),
        ("bytes.py", "#file:bytes.py can't be read as text."),
        ("pipe.py", "#file:pipe.py: no workspace folder has this file."),
    ],
)
async def test_private_missing_and_binary_files_are_refused(folder: Path, name: str, why: str) -> None:
    """Symbolic links do not change the rules."""
    assert (await refusal(f"#file:{name}", chat_context(folder))).startswith(why)


async def test_files_need_a_workspace_folder(folder: Path) -> None:
    assert (
        await refusal("#file:a.py", ChatContext([], (), ()))
        == "#file:a.py: no workspace folder is open. Open the folder that holds the file."
    )


async def test_selection_is_attached_with_its_lines(folder: Path) -> None:
    here = document(folder / "a.py", "a\nb\nc\n")
    context = chat_context(folder, here, current=here, selected=SelectedLines("b\nc\n", 2))
    assert await attachments("#selection", context) == [Attachment("a.py, lines 2 to 3", "b\nc\n", "python")]
    one = replace(context, selected=SelectedLines("b", 2))
    assert await attachments("#selection", one) == [Attachment("a.py, line 2", "b", "python")]
    assert (
        await refusal("#selection", replace(context, selected=None))
        == "#selection: nothing is selected. Select some code first."
    )
    assert await refusal("#selection", chat_context(folder)) == "No document is open. Open one first."


@pytest.mark.parametrize("kind", ["#selection", "#diagnostics"])
async def test_private_document_is_never_attached(folder: Path, kind: str) -> None:
    here = document(folder / ".env", "KEY")
    context = chat_context(folder, here, current=here, selected=SelectedLines("KEY", 1), diagnostics=["KEY"])
    assert await refusal(kind, context) == f".env is not shown to the model: {KEYS}."


async def test_diagnostics_are_attached_one_per_line(folder: Path) -> None:
    here = document(folder / "a.py", "x")
    context = chat_context(folder, here, current=here, diagnostics=["line 1: error: no", "line 2: hint: well"])
    text = "line 1: error: no\nline 2: hint: well"
    assert await attachments("#diagnostics", context) == [Attachment("Diagnostics of a.py", text)]
    none = "#diagnostics: the editor sent no diagnostics for this document."
    assert await refusal("#diagnostics", replace(context, diagnostics=())) == none


async def test_open_skips_private_and_generated_documents(folder: Path) -> None:
    here, env = document(folder / "a.py", "x"), document(folder / ".env", "KEY")
    old = OpenFile("git:/project/b.py", Path("/project/b.py"), "python", "KEY")
    new = OpenFile("untitled:Untitled-1", None, "python", "y")
    found, left_out = await gather_attachments(Mention("open"), chat_context(folder, env, old, new, here, current=here))
    assert found == [Attachment("a.py", "x", "python"), Attachment("A document without a name", "y", "python")]
    assert left_out == [LeftOut(".env", KEYS), LeftOut("b.py", "'git:' documents are not written by hand")]
    nothing = "#open: no open document may be shown to the model."
    assert await refusal("#open", chat_context(folder, env)) == nothing


async def test_symbol_is_found_in_open_and_imported_files(folder: Path) -> None:
    here = document(folder / "main.py", "from lib.area import area\n\n\ndef own():\n    return area(1)\n")
    context = chat_context(folder, here, current=here)
    assert await attachments("#symbol:own", context) == [
        Attachment("main.py, definition of own", "def own():\n    return area(1)", "python")
    ]
    assert await attachments("#symbol:area", context) == [
        Attachment("lib/area.py, definition of area", "def area(width):\n    return width * 2", "python")
    ]
    missing = "#symbol:nobody: no definition in the open files or in files the current one imports."
    assert await refusal("#symbol:nobody", context) == missing


async def test_symbol_of_a_private_file_is_not_found(folder: Path) -> None:
    (folder / "hidden.py").write_text(AREA)
    here = document(folder / "main.py", "import hidden\n")
    assert "no definition in the open files" in await refusal("#symbol:area", chat_context(folder, here, current=here))
    opened = document(folder / "hidden.py", AREA)
    assert "no definition in the open files" in await refusal(
        "#symbol:area", chat_context(folder, opened, current=here)
    )


async def test_symbol_search_skips_unreadable_imports(folder: Path) -> None:
    here = document(folder / "main.py", "import bytes\nimport pipe\nimport hidden\nfrom lib.area import area\n")
    (found,) = await attachments("#symbol:area", chat_context(folder, here, current=here))
    assert found.title == "lib/area.py, definition of area"


async def test_diff_needs_a_repository(tmp_path: Path) -> None:
    none = "There is no git repository here, so there is no diff."
    assert await refusal("#diff", ChatContext([tmp_path], (), ())) == none
    assert await refusal("#diff", ChatContext([], (), ())) == none


async def test_workspace_opened_through_a_link_has_the_same_rules(folder: Path, tmp_path: Path) -> None:
    """Ignore files at the link's target apply, for either form of a path."""
    (folder / ".git" / "config").unlink()
    (folder / ".git").rmdir()
    (folder / "in.py").symlink_to("hidden.py")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for name in ("hidden.py", "in.py", f"{folder}/hidden.py"):
        assert (
            await refusal(f"#file:{name}", chat_context(link)) == f"#file:{name} is not shown to the model: {IGNORED}."
        )
    assert await attachments("#file:a.py", chat_context(link)) == [Attachment("a.py", "x = 1\n", "python")]
