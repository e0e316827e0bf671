"""The last requests: explanations, table and log file."""

from __future__ import annotations

import json
import stat

import pytest

from inference.api.events import Outcome
from lsp_server.commands import doctor_command
from lsp_server.completion import trace
from lsp_server.completion.trace import RequestLog, TraceRecord
from lsp_server.doctor import last_requests


def record(**changes) -> TraceRecord:
    known = {"uri": "file:///project/my%20file.py", "line": 6, "invoked": False, "at": "2026-01-02T03:04:05.678+00:00"}
    return TraceRecord(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"result": "refused", "reason": "the file is read-only"}, "the file is read-only"),
        ({"result": "empty", "reason": "the model had nothing to add"}, "the model had nothing to add"),
        ({"result": "shown", "outcome": Outcome("end")}, ""),
        ({"result": "shown", "source": "typed"}, "the rest of the displayed suggestion, without a model call"),
        ({"result": "shown", "server": "https://a.example"}, "answered by https://a.example"),
        (
            {"result": "shown", "server": "https://a.example", "source": "typed"},
            "the rest of the displayed suggestion, without a model call",
        ),
        (
            {"result": "shown", "source": "running", "filter": "shape", "outcome": Outcome("deadline")},
            "from a generation begun at an earlier key; changed by: shape; cut at completion.deadlineMs",
        ),
    ],
)
def test_why_explains_a_request(changes, words):
    assert last_requests.explain_request(record(**changes).to_json()) == words


def test_table_shows_position_result_tokens_and_times(runtime, capsys):
    outcome = Outcome("end", prompt_tokens=100, reused_tokens=90, completion_tokens=7)
    RequestLog().add(record(result="shown", shown=12, outcome=outcome, stages={"debounce": 50}, total_ms=123.4))
    assert doctor_command.main(["--last"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert " ".join(row.split()[1:]) == "my file.py:7 typing 12 characters 10 90 7 50 123"


def test_requests_of_all_sessions_newest_last(runtime, capsys):
    for line in range(5):
        RequestLog().add(record(line=line))
    assert doctor_command.main(["--last", "2", "--json"]) == 0
    assert [one["line"] for one in json.loads(capsys.readouterr().out)] == [3, 4]


def test_empty_log_prints_what_to_do(runtime, capsys):
    assert doctor_command.main(["--last"]) == 0
    assert "Check that `codellama-ls --stdio` is set up" in capsys.readouterr().out


def test_log_is_private_and_rotated(runtime, monkeypatch):
    monkeypatch.setattr(trace, "LARGEST", 1000)
    written = RequestLog()
    for line in range(20):
        written.add(record(line=line))
    files = sorted(runtime.glob("requests*"))
    assert [file.name for file in files] == ["requests.before.jsonl", "requests.jsonl"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert all(file.stat().st_size < 2000 for file in files)
    assert [one["line"] for one in trace.last_requests(3)] == [17, 18, 19]


def test_truncated_line_is_skipped(runtime):
    RequestLog().add(record(line=1))
    with (runtime / "requests.jsonl").open("a") as file:
        file.write('{"uri": "fi\n')
    RequestLog().add(record(line=2))
    assert [one["line"] for one in trace.last_requests(10)] == [1, 2]


def test_unwritable_log_is_reported_by_the_doctor(tmp_path, monkeypatch, capsys):
    (tmp_path / "codellama-ls").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    RequestLog().add(record())
    assert doctor_command.main(["--last"]) == 1
    assert str(tmp_path / "codellama-ls") in capsys.readouterr().err
