"""``codellama-ls stats``: tables, JSON and erasing."""

from __future__ import annotations

import json
import time
from contextlib import closing

import pytest

from lsp_server import cli
from lsp_server.usage_statistics.storage import DAY, StatisticsStore, SuggestionRow, statistics_path


def store(*rows: SuggestionRow) -> None:
    with closing(StatisticsStore()) as storage:
        storage.write([(row, True) for row in rows])


def row(n: int, language: str = "python", days_ago: float = 0.0, **changes) -> SuggestionRow:
    return SuggestionRow(**{"id": n, "at": time.time() - days_ago * DAY, "language": language, "model": "starter",
                  "invoked": False, "latency_ms": 100.0 * n, "characters": 10, **changes})  # fmt: skip


def printed(capsys, *arguments: str) -> str:
    assert cli.main(["stats", *arguments]) == 0
    return capsys.readouterr().out


def test_table_has_rows_for_all_and_per_language(runtime, capsys):
    store(
        row(1, fate="accepted", taken=1234, kept=True),
        row(2, fate="partly", taken=4, kept=False),
        row(3),
        row(4, "go", fate="typed"),
    )
    rows = [line.split() for line in printed(capsys).splitlines()[:4]]
    assert [" ".join(cells) for cells in rows] == [
        "last 30 days shown accepted partly accepted typed kept saved ms",
        "all 4 1 (25%) 1 (25%) 1 (25%) 1 (50%) 1,238 200 / 400",
        "python 3 1 (33%) 1 (33%) 0 (0%) 1 (50%) 1,238 200 / 300",
        "go 1 0 (0%) 0 (0%) 1 (100%) – 0 400 / 400",
    ]


def test_several_models_have_a_row_each(runtime, capsys):
    store(row(1), row(2, model="codellama-7b"))
    assert [line.split()[0] for line in printed(capsys).splitlines()[1:5]] == [
        "all",
        "python",
        "codellama-7b",
        "starter",
    ]


def test_json_has_the_figures_of_the_period(runtime, capsys):
    store(row(1, days_ago=8, fate="accepted"), row(2))
    assert json.loads(printed(capsys, "--json"))["all"]["acceptance"] == 0.5
    week = json.loads(printed(capsys, "--json", "--days", "7"))
    assert (week["days"], week["all"]["shown"], week["all"]["acceptance"]) == (7, 1, 0.0)


def test_empty_statistics_print_a_sentence(runtime, capsys):
    assert printed(capsys).startswith("No suggestion was shown in the last 30 days")
    assert not statistics_path().exists()


def test_erase_deletes_all_rows(runtime, capsys):
    store(row(1))
    assert printed(capsys, "--erase") == "The statistics are erased.\n"
    assert json.loads(printed(capsys, "--json"))["all"]["shown"] == 0
    assert printed(capsys, "--erase") == "The statistics are erased.\n"


def test_damaged_file_prints_one_sentence(runtime, capsys):
    statistics_path().parent.mkdir(mode=0o700, parents=True)
    statistics_path().write_bytes(b"no database" * 1000)
    assert cli.main(["stats"]) == 1
    assert capsys.readouterr().err == (
        f"codellama-ls: {statistics_path()} is damaged; `codellama-ls stats --erase` begins a new one.\n"
    )


@pytest.mark.parametrize("days", ["0", "91"])
def test_days_out_of_range_are_refused(runtime, capsys, days):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["stats", "--days", days])
    assert exit_.value.code == 2
    assert "--days must be from 1 to 90" in capsys.readouterr().err
