"""What a mention brings along, and what it never does."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lsp_server.chat.attachments import Attachment, LeftOut, Mention
from lsp_server.chat.chat_context import ChatContext, RefusedMention, Selected, gather
from lsp_server.context.cross_file import OpenFile

AREA = "def area(width):\n    return width * 2\n\n\ndef other():\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace, beside which there is a file that is nobody's business."""
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
    os.mkfifo(workspace / "pipe.py")  # to read it would be to wait for ever
    (workspace / "out.py").symlink_to("../outside.py")
    (workspace / "notes.txt").symlink_to(".git/config")
    return workspace


def desk(folder: Path, *opened: OpenFile, **more) -> ChatContext:
    return ChatContext([folder], ("excluded.py",), opened, **more)


def document(path: Path, text: str) -> OpenFile:
    return OpenFile(path.as_uri(), path, "python", text)


async def pieces(name: str, given: ChatContext) -> list[Attachment]:
    kind, _, rest = name.removeprefix("#").partition(":")
    return (await gather(Mention(kind, rest), given))[0]  # type: ignore[arg-type]


async def refusal(name: str, given: ChatContext) -> str:
    with pytest.raises(RefusedMention) as refused:
        await pieces(name, given)
    return str(refused.value)


async def test_a_file_is_named_from_the_workspace_on(folder: Path) -> None:
    assert await pieces("#file:a.py", desk(folder)) == [Attachment("a.py", "x = 1\n", "python")]
    assert await pieces("#file:lib/../lib/area.py", desk(folder)) == [Attachment("lib/area.py", AREA, "python")]
    assert await pieces(f"#file:{folder}/a.py", desk(folder)) == [Attachment("a.py", "x = 1\n", "python")]


async def test_what_is_open_counts_as_it_is_in_the_editor(folder: Path) -> None:
    opened = document(folder / "a.py", "x = 2\n")
    assert await pieces("#file:a.py", desk(folder, opened)) == [Attachment("a.py", "x = 2\n", "python")]


KEYS = "the file's name says that it may hold keys or passwords"
IGNORED = "a .gitignore or .codellamaignore names the file or a folder it lies in"
TOOLS = "it lies in a folder that tools fill"
OUTSIDE = "lies outside the folders of this window; only files in them can be named."


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
        ("nobody.py", "#file:nobody.py: there is no such file in the folders of this window."),
        ("lib", "#file:lib: there is no such file in the folders of this window."),
        ("bytes.py", "#file:bytes.py can't be read as text."),
        ("pipe.py", "#file:pipe.py: there is no such file in the folders of this window."),
    ],
)
async def test_files_that_are_not_shown(folder: Path, name: str, why: str) -> None:
    """Whoever asks, and whatever links lead there."""
    assert (await refusal(f"#file:{name}", desk(folder))).startswith(why)


async def test_without_a_folder_no_file_can_be_named(folder: Path) -> None:
    assert (
        await refusal("#file:a.py", ChatContext([], (), ()))
        == "#file:a.py: no folder is open, so no file can be named."
    )


async def test_a_selection(folder: Path) -> None:
    here = document(folder / "a.py", "a\nb\nc\n")
    given = desk(folder, here, current=here, selected=Selected("b\nc\n", 2))
    assert await pieces("#selection", given) == [Attachment("a.py, lines 2 to 3", "b\nc\n", "python")]
    one = replace(given, selected=Selected("b", 2))
    assert await pieces("#selection", one) == [Attachment("a.py, line 2", "b", "python")]
    assert await refusal("#selection", replace(given, selected=None)) == "#selection: nothing is selected."
    assert await refusal("#selection", desk(folder)) == "The request names no open document."


@pytest.mark.parametrize("kind", ["#selection", "#diagnostics"])
async def test_nothing_of_a_private_document_is_shown(folder: Path, kind: str) -> None:
    here = document(folder / ".env", "KEY")
    given = desk(folder, here, current=here, selected=Selected("KEY", 1), diagnostics=["KEY"])
    assert await refusal(kind, given) == f".env is not shown to the model: {KEYS}."


async def test_diagnostics(folder: Path) -> None:
    here = document(folder / "a.py", "x")
    given = desk(folder, here, current=here, diagnostics=["line 1: error: no", "line 2: hint: well"])
    text = "line 1: error: no\nline 2: hint: well"
    assert await pieces("#diagnostics", given) == [Attachment("Diagnostics of a.py", text)]
    none = "#diagnostics: the editor has sent none for this document."
    assert await refusal("#diagnostics", replace(given, diagnostics=())) == none


async def test_what_is_open_without_what_is_private_and_what_nobody_writes(folder: Path) -> None:
    here, env = document(folder / "a.py", "x"), document(folder / ".env", "KEY")
    old = OpenFile("git:/project/b.py", Path("/project/b.py"), "python", "KEY")
    new = OpenFile("untitled:Untitled-1", None, "python", "y")
    found, left_out = await gather(Mention("open"), desk(folder, env, old, new, here, current=here))
    assert found == [Attachment("a.py", "x", "python"), Attachment("A document without a name", "y", "python")]
    assert left_out == [LeftOut(".env", KEYS), LeftOut("b.py", "'git:' documents are not written by hand")]
    nothing = "#open: there is no open document that may be shown to the model."
    assert await refusal("#open", desk(folder, env)) == nothing


async def test_a_symbol_of_an_open_file_and_of_one_that_it_imports(folder: Path) -> None:
    here = document(folder / "main.py", "from lib.area import area\n\n\ndef own():\n    return area(1)\n")
    given = desk(folder, here, current=here)
    assert await pieces("#symbol:own", given) == [
        Attachment("main.py, definition of own", "def own():\n    return area(1)", "python")
    ]
    assert await pieces("#symbol:area", given) == [
        Attachment("lib/area.py, definition of area", "def area(width):\n    return width * 2", "python")
    ]
    nobody = "#symbol:nobody: no open file defines it, and none that the current one imports."
    assert await refusal("#symbol:nobody", given) == nobody


async def test_a_symbol_of_a_private_file_is_not_found(folder: Path) -> None:
    (folder / "hidden.py").write_text(AREA)
    here = document(folder / "main.py", "import hidden\n")
    assert "no open file defines it" in await refusal("#symbol:area", desk(folder, here, current=here))
    opened = document(folder / "hidden.py", AREA)
    assert "no open file defines it" in await refusal("#symbol:area", desk(folder, opened, current=here))


async def test_a_symbol_is_looked_for_beside_imports_that_cannot_be_read(folder: Path) -> None:
    here = document(folder / "main.py", "import bytes\nimport pipe\nimport hidden\nfrom lib.area import area\n")
    (found,) = await pieces("#symbol:area", desk(folder, here, current=here))
    assert found.title == "lib/area.py, definition of area"


async def test_a_diff_needs_a_repository(tmp_path: Path) -> None:
    none = "There is no git repository here, so there is no diff."
    assert await refusal("#diff", ChatContext([tmp_path], (), ())) == none
    assert await refusal("#diff", ChatContext([], (), ())) == none


async def test_a_workspace_that_is_opened_through_a_link_has_the_same_rules(folder: Path, tmp_path: Path) -> None:
    """Its ignore files lie where the link leads, and files may be named by either path."""
    (folder / ".git" / "config").unlink()
    (folder / ".git").rmdir()
    (folder / "in.py").symlink_to("hidden.py")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for name in ("hidden.py", "in.py", f"{folder}/hidden.py"):
        assert await refusal(f"#file:{name}", desk(link)) == f"#file:{name} is not shown to the model: {IGNORED}."
    assert await pieces("#file:a.py", desk(link)) == [Attachment("a.py", "x = 1\n", "python")]
