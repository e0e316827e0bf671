"""Cross-file context: the snippets for a request, and the files that are never read."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.text.prompts import Snippet
from lsp_server.context.cross_file import CrossFileCollector, OpenFile
from lsp_server.disk import privacy
from lsp_server.snapshot import Position, Snapshot, take

AREA = "def rectangle_area(width, height):\n    return width * height\n"
NOISE = "def send_letter(address):\n    post_office.send(address)\n"


class Clock:
    """A clock that tests advance."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def at(path: Path, text: str) -> Snapshot:
    """Return the snapshot with the cursor at ``|``."""
    before, _, after = text.partition("|")
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return take(before + after, position, "utf-32", uri=path.as_uri(), language="python")


def opened(path: Path, text: str) -> OpenFile:
    return OpenFile(path.as_uri(), path, "python", text.replace("|", ""))


def snippets_for(root: Path, text: str, *others: OpenFile, limit: int = 2_000, **given) -> list[Snippet]:
    """Return the snippets for a request in ``root``/main.py, whose window is the whole file."""
    main = root / "main.py"
    context = CrossFileCollector(given.pop("may_read", lambda path: privacy(path, []) is None), **given)
    files = [opened(main, text), *others]
    return list(context.snippets(at(main, text), text.replace("|", ""), files, root, limit))


def test_most_relevant_snippet_comes_first(tmp_path: Path) -> None:
    others = opened(tmp_path / "noise.py", NOISE), opened(tmp_path / "lib" / "area.py", AREA)
    assert snippets_for(tmp_path, "width = 3\nx = rectangle_area(|", *others) == [Snippet("lib/area.py", AREA[:-1])]


def test_imported_file_is_read_from_disk(tmp_path: Path) -> None:
    """It need not be open in the editor."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "area.py").write_text(AREA + "\n\n" + NOISE)
    snippets = snippets_for(tmp_path, "from pkg.area import rectangle_area\nx = rectangle_area(|")
    assert snippets == [Snippet("pkg/area.py", AREA[:-1])]


def test_open_file_is_used_with_unsaved_changes(tmp_path: Path) -> None:
    (tmp_path / "area.py").write_text("def rectangle_area(old):\n    return old\n")
    snippets = snippets_for(tmp_path, "import area\nx = area.rectangle_area(|", opened(tmp_path / "area.py", AREA))
    assert snippets == [Snippet("area.py", AREA[:-1])]


def test_text_of_the_window_is_not_repeated(tmp_path: Path) -> None:
    """Snippets that equal the text around the cursor distort a completion."""
    assert snippets_for(tmp_path, AREA + "x = rectangle_area(|", opened(tmp_path / "copy.py", AREA)) == []


def test_snippets_keep_the_limit(tmp_path: Path) -> None:
    others = [opened(tmp_path / f"{n}.py", f"def area_{n}(width):\n    return width * {n}{n}{n}\n") for n in range(9)]
    snippets = snippets_for(tmp_path, "width = area(|", *others, limit=100)
    assert 0 < sum(len(snippet.text) for snippet in snippets) <= 100


@pytest.mark.parametrize("name", ["area.pem", ".env", "ignored.py", "ours.py", "secrets.py"])
def test_no_private_file_reaches_a_prompt(tmp_path: Path, name: str) -> None:
    """Neither an open file nor an imported one (complaint 32 of other assistants' users)."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / ".codellamaignore").write_text("ours.py\n")
    (tmp_path / name).write_text(AREA)
    text = f"from {Path(name).stem} import rectangle_area\nx = rectangle_area(|"
    assert snippets_for(tmp_path, text, opened(tmp_path / name, AREA)) == []
    assert snippets_for(tmp_path, text, opened(tmp_path / name, AREA), may_read=lambda _: True) != []


def test_link_to_a_private_file_is_private(tmp_path: Path) -> None:
    (tmp_path / "area.pem").write_text(AREA)
    (tmp_path / "area.py").symlink_to(tmp_path / "area.pem")
    assert snippets_for(tmp_path, "import area\nx = rectangle_area(|", opened(tmp_path / "area.py", AREA)) == []


def test_snippets_are_reused_until_the_cursor_moves(tmp_path: Path) -> None:
    """With each change the engine has to read its prompt again."""
    clock = Clock()
    context = CrossFileCollector(lambda _: True, clock=clock)
    area, noise = opened(tmp_path / "area.py", AREA), opened(tmp_path / "noise.py", NOISE)
    main = tmp_path / "main.py"

    def snippets(text: str) -> list[str]:
        files = [opened(main, text), area, noise]
        return [
            snippet.path for snippet in context.snippets(at(main, text), text.replace("|", ""), files, tmp_path, 2_000)
        ]

    assert snippets("x = rectangle_area(|") == ["area.py"]
    clock.now = 4.0
    assert snippets("x = rectangle_area(1)\nsend_letter(|") == ["area.py"]
    clock.now = 10.0
    assert snippets("x = 1\nsend_letter(|") == ["noise.py"]
    assert snippets("x = 1\n" + "\n" * 20 + "rectangle_area(|") == ["area.py"]


def test_invalidate_drops_a_newly_excluded_file(tmp_path: Path) -> None:
    """Changed settings invalidate the last snippets."""
    main, area, allowed = tmp_path / "main.py", opened(tmp_path / "area.py", AREA), [True]
    context, text = CrossFileCollector(lambda _: allowed[0], clock=Clock()), "x = rectangle_area(|"

    def snippets() -> tuple[Snippet, ...]:
        return context.snippets(at(main, text), text.replace("|", ""), [opened(main, text), area], tmp_path, 2_000)

    assert snippets()
    allowed[0] = False
    context.invalidate()
    assert snippets() == ()


def test_edit_in_another_open_file_is_used(tmp_path: Path) -> None:
    """Also without a request in that file, as after a rename by the editor."""
    context, main, area = CrossFileCollector(lambda _: True, clock=Clock()), tmp_path / "main.py", tmp_path / "area.py"
    text = "x = rectangle_area(|"
    for defined in (AREA, AREA, AREA.replace("height", "depth")):
        files = [opened(main, text), opened(area, defined)]
        snippets = context.snippets(at(main, text), text.replace("|", ""), files, tmp_path, 2_000)
        assert snippets == (Snippet("area.py", defined[:-1]),)


def test_late_source_is_left_out(tmp_path: Path) -> None:
    """A completion does not wait for a slow disk."""
    (tmp_path / "area.py").write_text(AREA)
    clock = Clock()

    def slow(path: Path) -> bool:
        clock.now += 1.0
        return True

    text = "import area\nx = rectangle_area(send_letter(|"
    snippets = snippets_for(tmp_path, text, opened(tmp_path / "noise.py", NOISE), clock=clock, may_read=slow)
    assert [snippet.path for snippet in snippets] == ["area.py"]


def test_closed_document_is_forgotten(tmp_path: Path) -> None:
    context = CrossFileCollector(lambda _: True)
    main, area = tmp_path / "main.py", opened(tmp_path / "area.py", AREA)
    snapshot = at(main, "x = rectangle_area(|")
    assert context.snippets(snapshot, "", [opened(main, "x"), area], tmp_path, 2_000) != ()
    context.forget(area.uri)
    assert context.snippets(snapshot, "", [opened(main, "x")], tmp_path, 2_000) == ()
