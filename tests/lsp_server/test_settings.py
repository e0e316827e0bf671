"""Settings are validated; invalid ones are reported and get their defaults."""

from __future__ import annotations

import pytest

from lsp_server.settings import CompletionSettings, EngineSettings, Settings, parse_settings


def test_missing_settings_get_their_defaults():
    assert parse_settings(None) == (Settings(), [])


def test_values_are_taken():
    raw = {"codellama": {"completion": {"maxTokens": 7, "enabled": False}, "engine": {"graceSeconds": 3}}}
    settings, problems = parse_settings(raw)
    assert problems == []
    assert settings.completion == CompletionSettings(max_tokens=7, enabled=False)
    assert settings.engine == EngineSettings(grace_seconds=3.0)


def test_lists_are_taken():
    settings, problems = parse_settings({"completion": {"disabledLanguages": ["c", "go"], "excludedFiles": []}})
    assert (settings.completion, problems) == (CompletionSettings(disabled_languages=("c", "go")), [])


def test_invalid_pattern_is_reported_and_others_are_kept():
    settings, problems = parse_settings({"completion": {"excludedFiles": ["*.sql", "build\\"]}})
    assert settings.completion.excluded_files == ("*.sql", "build\\")
    assert problems == [
        "Setting 'completion.excludedFiles' contains 'build\\\\', which is not a valid pattern and is ignored."
    ]


def test_too_many_patterns_are_reported():
    _, problems = parse_settings({"completion": {"excludedFiles": [f"{n}.sql" for n in range(6_000)]}})
    (problem,) = problems
    assert "too many patterns: no file is sent to the model" in problem


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (3, "Setting 'codellama' must be an object. Its defaults are used."),
        ({"completion": []}, "Setting 'completion' must be an object. Its defaults are used."),
        ({"colour": 1}, "Unknown setting 'colour' is ignored."),
        ({"completion": {"max": 1}}, "Unknown setting 'completion.max' is ignored."),
        (
            {"completion": {"maxTokens": 0}},
            "Setting 'completion.maxTokens' must be a number from 1 to 1024, not 0. The default 64 is used.",
        ),
        (
            {"completion": {"maxTokens": True}},
            "Setting 'completion.maxTokens' must be a number from 1 to 1024, not true. The default 64 is used.",
        ),
        (
            {"completion": {"enabled": 1}},
            "Setting 'completion.enabled' must be true or false, not 1. The default true is used.",
        ),
        (
            {"engine": {"format": "gguf"}},
            "Setting 'engine.format' must be one of auto, fp32, bf16, int8, int4, nf4, nf4-double, "
            'not "gguf". The default "auto" is used.',
        ),
        (
            {"completion": {"excludedFiles": ["*.sql", 1]}},
            "Setting 'completion.excludedFiles' must be a list of strings, not [\"*.sql\", 1]. The default [] is used.",
        ),
        (
            {"completion": {"disabledLanguages": "python"}},
            "Setting 'completion.disabledLanguages' must be a list of strings, not \"python\". The default [] is used.",
        ),
        ({"engine": {"model": 7}}, "Setting 'engine.model' must be a string, not 7. The default \"starter\" is used."),
    ],
)
def test_invalid_value_is_reported_and_defaulted(raw, problem):
    assert parse_settings(raw) == (Settings(), [problem])
