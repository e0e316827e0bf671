"""Which pieces of other files go with a request, and which never do."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.text.prompts import Snippet
from lsp_server.context.cross_file import Context, OpenFile
from lsp_server.disk import privacy
from lsp_server.snapshot import Position, Snapshot, take

AREA = "def rectangle_area(width, height):\n    return width * height\n"
NOISE = "def send_letter(address):\n    post_office.send(address)\n"


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def at(path: Path, text: str) -> Snapshot:
    """The cursor stands at ``|``."""
    before, _, after = text.partition("|")
    place = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return take(before + after, place, "utf-32", uri=path.as_uri(), language="python")


def opened(path: Path, text: str) -> OpenFile:
    return OpenFile(path.as_uri(), path, "python", text.replace("|", ""))


def gathered(root: Path, text: str, *others: OpenFile, limit: int = 2_000, **given) -> list[Snippet]:
    """What goes with a request in ``root``/main.py; the window is that whole file."""
    main = root / "main.py"
    context = Context(given.pop("may_read", lambda path: privacy(path, []) is None), **given)
    files = [opened(main, text), *others]
    return list(context.snippets(at(main, text), text.replace("|", ""), files, root, limit))


def test_the_piece_that_speaks_of_the_same_comes_first(tmp_path: Path) -> None:
    others = opened(tmp_path / "noise.py", NOISE), opened(tmp_path / "lib" / "area.py", AREA)
    assert gathered(tmp_path, "width = 3\nx = rectangle_area(|", *others) == [Snippet("lib/area.py", AREA[:-1])]


def test_what_an_import_names_is_read_from_the_disk(tmp_path: Path) -> None:
    """Nobody has to open a file for its names to be known."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "area.py").write_text(AREA + "\n\n" + NOISE)
    chunks = gathered(tmp_path, "from pkg.area import rectangle_area\nx = rectangle_area(|")
    assert chunks == [Snippet("pkg/area.py", AREA[:-1])]


def test_an_open_file_is_shown_as_it_is_in_the_editor(tmp_path: Path) -> None:
    (tmp_path / "area.py").write_text("def rectangle_area(old):\n    return old\n")
    chunks = gathered(tmp_path, "import area\nx = area.rectangle_area(|", opened(tmp_path / "area.py", AREA))
    assert chunks == [Snippet("area.py", AREA[:-1])]


def test_what_the_window_shows_is_not_shown_again(tmp_path: Path) -> None:
    """Chunks like the text around the cursor distort a completion."""
    assert gathered(tmp_path, AREA + "x = rectangle_area(|", opened(tmp_path / "copy.py", AREA)) == []


def test_the_limit_is_kept(tmp_path: Path) -> None:
    others = [opened(tmp_path / f"{n}.py", f"def area_{n}(width):\n    return width * {n}{n}{n}\n") for n in range(9)]
    chunks = gathered(tmp_path, "width = area(|", *others, limit=100)
    assert 0 < sum(len(chunk.text) for chunk in chunks) <= 100


@pytest.mark.parametrize("name", ["area.pem", ".env", "ignored.py", "ours.py", "secrets.py"])
def test_no_private_file_reaches_a_prompt(tmp_path: Path, name: str) -> None:
    """Neither because it is open nor because it is imported (complaint 32 of other assistants' users)."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / ".codellamaignore").write_text("ours.py\n")
    (tmp_path / name).write_text(AREA)
    text = f"from {Path(name).stem} import rectangle_area\nx = rectangle_area(|"
    assert gathered(tmp_path, text, opened(tmp_path / name, AREA)) == []
    assert gathered(tmp_path, text, opened(tmp_path / name, AREA), may_read=lambda _: True) != []


def test_a_link_to_a_private_file_is_as_private(tmp_path: Path) -> None:
    (tmp_path / "area.pem").write_text(AREA)
    (tmp_path / "area.py").symlink_to(tmp_path / "area.pem")
    assert gathered(tmp_path, "import area\nx = rectangle_area(|", opened(tmp_path / "area.py", AREA)) == []


def test_chunks_stay_while_the_person_types_and_change_when_they_go_on(tmp_path: Path) -> None:
    """Each change would make the engine read its prompt anew."""
    clock = Clock()
    context = Context(lambda _: True, clock=clock)
    area, noise = opened(tmp_path / "area.py", AREA), opened(tmp_path / "noise.py", NOISE)
    main = tmp_path / "main.py"

    def chunks(text: str) -> list[str]:
        files = [opened(main, text), area, noise]
        return [chunk.path for chunk in context.snippets(at(main, text), text.replace("|", ""), files, tmp_path, 2_000)]

    assert chunks("x = rectangle_area(|") == ["area.py"]
    clock.now = 4.0
    assert chunks("x = rectangle_area(1)\nsend_letter(|") == ["area.py"]
    clock.now = 10.0
    assert chunks("x = 1\nsend_letter(|") == ["noise.py"]
    assert chunks("x = 1\n" + "\n" * 20 + "rectangle_area(|") == ["area.py"]


def test_a_file_that_has_just_been_excluded_is_shown_no_longer(tmp_path: Path) -> None:
    """Nor is more than a limit that has just been lowered: whoever takes new settings says so."""
    main, area, allowed = tmp_path / "main.py", opened(tmp_path / "area.py", AREA), [True]
    context, text = Context(lambda _: allowed[0], clock=Clock()), "x = rectangle_area(|"

    def chunks() -> tuple[Snippet, ...]:
        return context.snippets(at(main, text), text.replace("|", ""), [opened(main, text), area], tmp_path, 2_000)

    assert chunks()
    allowed[0] = False
    context.invalidate()
    assert chunks() == ()


def test_an_edit_in_another_open_file_counts_at_once(tmp_path: Path) -> None:
    """Also where the person did not ask for anything there: a rename by the editor, say."""
    context, main, area = Context(lambda _: True, clock=Clock()), tmp_path / "main.py", tmp_path / "area.py"
    text = "x = rectangle_area(|"
    for defined in (AREA, AREA, AREA.replace("height", "depth")):
        files = [opened(main, text), opened(area, defined)]
        chunks = context.snippets(at(main, text), text.replace("|", ""), files, tmp_path, 2_000)
        assert chunks == (Snippet("area.py", defined[:-1]),)


def test_a_source_that_comes_late_is_left_out(tmp_path: Path) -> None:
    """A key's answer does not wait for a slow disk."""
    (tmp_path / "area.py").write_text(AREA)
    clock = Clock()

    def slow(path: Path) -> bool:
        clock.now += 1.0
        return True

    text = "import area\nx = rectangle_area(send_letter(|"
    chunks = gathered(tmp_path, text, opened(tmp_path / "noise.py", NOISE), clock=clock, may_read=slow)
    assert [chunk.path for chunk in chunks] == ["area.py"]


def test_a_closed_document_is_forgotten(tmp_path: Path) -> None:
    context = Context(lambda _: True)
    main, area = tmp_path / "main.py", opened(tmp_path / "area.py", AREA)
    snapshot = at(main, "x = rectangle_area(|")
    assert context.snippets(snapshot, "", [opened(main, "x"), area], tmp_path, 2_000) != ()
    context.forget(area.uri)
    assert context.snippets(snapshot, "", [opened(main, "x")], tmp_path, 2_000) == ()
