"""Redacted logs, JSON values and sentences keep known strings and numbers, and no names."""

from __future__ import annotations

from pathlib import Path

import pytest

import inference
import lsp_server
from inference.doctor.redaction import known_strings, redact_log, redactor

OWN = known_strings((Path(inference.__path__[0]), Path(lsp_server.__path__[0])))
SOURCE = """
log.info("engine started: version %s, process %d", version, pid)
log.info("no lease is left")
log.warning("out of memory: the context is now %d tokens", tokens)
log.info("loaded the adapter %s", name)
"""
WHEN = "2026-01-02 03:04:05,678"


@pytest.mark.parametrize(
    ("line", "shared"),
    [
        (f"{WHEN} INFO __main__ engine started: version 0.1.0, process 7", None),
        (f"{WHEN} INFO __main__ no lease is left", None),
        (f"{WHEN} WARNING inference.engine.sequence out of memory: the context is now 4096 tokens", None),
        (
            f"{WHEN} INFO inference.models.lora loaded the adapter acme-payroll",
            f"{WHEN} INFO inference.models.lora loaded the adapter [left out]",
        ),
        (f"{WHEN} INFO __main__ password = hunter2", f"{WHEN} INFO __main__ [left out]"),
        (f"{WHEN} ERROR uvicorn.error def pay(x): return x", f"{WHEN} ERROR uvicorn.error [left out]"),
        (f"{WHEN} ERROR acme.payroll ran", f"{WHEN} ERROR [left out] [left out]"),
        ("Traceback (most recent call last):", None),
        (
            '  File "/home/al ice/.venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 7, in forward',
            '  File "torch/nn/modules/module.py", line 7, in forward',
        ),
        (
            '  File "/opt/tools/inference/server/process.py", line 7, in _serve',
            '  File "inference/server/process.py", line 7, in _serve',
        ),
        ('  File "/home/alice/inference/payroll.py", line 7, in pay', "[1 line left out]"),
        ("    return salary * 2", "[1 line left out]"),
        ("ValueError: could not parse 'hunter2'", "ValueError: [left out]"),
        (
            "inference.models.store.StoreError: The model 'acme' is not installed",
            "inference.models.store.StoreError: [left out]",
        ),
        ("acme.payroll.SalaryError: 7", "Error: [left out]"),
        ("Fatal Python error: Segmentation fault", None),
        ("Fatal Python error: hunter2", "[1 line left out]"),
        ("Current thread 0x00007f00 (most recent call first):", None),
        ("the engine was ended by SIGKILL", None),
        ("the engine was ended by alice", "[1 line left out]"),
    ],
)
def test_log_lines_keep_only_known_strings(line, shared, tmp_path):
    (tmp_path / "inference" / "server").mkdir(parents=True)
    (tmp_path / "inference" / "server" / "process.py").write_text(SOURCE)
    assert redact_log([line], known_strings((tmp_path / "inference",))) == [shared or line]


def test_adjacent_lines_left_out_are_counted():
    assert redact_log(["a", "", "b", "Traceback (most recent call last):", "c"], OWN) == [
        "[2 lines left out]",
        "Traceback (most recent call last):",
        "[1 line left out]",
    ]


def test_json_keeps_numbers_and_known_strings():
    value = {
        "result": "shown",
        "reason": "x = hunter2",
        "total_ms": 1.5,
        "at": "2026-01-02T03:04:05.678+00:00",
        "a b": 1,
    }
    shared = {"result": "shown", "reason": "[left out]", "total_ms": 1.5, "at": value["at"], "[left out]": 1}
    assert OWN.value([value, None, "codellama-7b", "0.1.0"]) == [shared, None, "codellama-7b", "0.1.0"]


REDACT = redactor(
    ["s3cr3t-t0ken"],
    {"/home/alice": "~", "/home/alice/my models": "<models>"},
    {"alice": "[user]", "Alice Liddell": "[user]", "rabbit-hole": "[host]"},
)


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("16 tokens/s on CPU, 8,192 tokens for completion and/or chat: ok.", None),
        ("`chmod 700 '/home/alice/my models'`", "`chmod 700 '<models>'`"),
        ("in /home/alice/my models/starter.", "in <models>/starter."),
        ("/home/alice is open", "~ is open"),
        ("see /home/alice/work/payroll.py, line 7", "see [path], line 7"),
        ("see /srv/payroll", "see [path]"),
        ("ALICE's files, alice_2, malice", "[user]'s files, [user]_2, malice"),
        ("written by Alice Liddell on rabbit-hole", "written by [user] on [host]"),
        ("with s3cr3t-t0ken", "with [secret]"),
        ("Authorization: Bearer abc", "Authorization: [secret]"),
        ("api_key=abc and HF_TOKEN: def", "api_key=[secret] and HF_TOKEN: [secret]"),
        ("hf_abcdefghijklmnop", "[secret]"),
        ("a1" * 20, "[secret]"),
        ("in scaled_dot_product_attention_forward", None),
        ("alice@example.org, 10.1.2.3, https://example.org/x?y", "[address], [address], [address]"),
    ],
)
def test_sentences_lose_names_paths_and_secrets(text, shared):
    assert REDACT(text) == (shared or text)
