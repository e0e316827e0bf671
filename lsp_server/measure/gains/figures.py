"""From answers to figures: each stage by kind of hole, what each adds to the one before, and confidence.

Pure; shares from 0 to 1. Intervals: 95 %, paired bootstrap over holes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from inference.evaluation.intervals import mean_difference
from inference.evaluation.metrics import exact, first_line, similarity
from lsp_server.completion.confidence import confidence
from lsp_server.measure.gains.asking import Answered
from lsp_server.measure.gains.effects import effects, judged_blocks
from lsp_server.measure.gains.names import Defined
from lsp_server.measure.gains.places import KINDS
from lsp_server.measure.gains.projects import name_of
from lsp_server.measure.gains.stages import STAGES, shaped, texts

OTHER_FILES, OTHER_ENDS = "other files' names", "ends with such names"
THRESHOLDS = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Scores = Mapping[str, Mapping[str, float]]
"""Of one place: by stage, by measure."""


def figures(answered: Sequence[Answered], others: Sequence[Answered], known: Mapping[Path, Defined]) -> dict[str, Any]:
    """All of them; there is at least one answer. ``known`` are the names that each project's files define.

    ``others`` are ends of lines beside these that need another file's name, a group of their own.
    """
    scores = [_scores(one) for one in (*answered, *others)]
    groups = _groups(answered, known) | {OTHER_ENDS: list(range(len(answered), len(scores)))}
    return {
        "holes": len(answered),
        "others": len(others),
        "with_context": sum(one.context is not None for one in answered),
        "groups": {name: _group([scores[n] for n in some]) for name, some in groups.items() if some},
        "rules": [asdict(effect) for effect in effects(answered)],
        "true_blocks": judged_blocks([one.place for one in answered]),
        "confidence": _confidence(answered),
    }


def _scores(one: Answered) -> dict[str, dict[str, float]]:
    return {stage: _measured(text, one.place.middle) for stage, text in texts(one).items()}


def _measured(text: str, middle: str) -> dict[str, float]:
    return {
        "exact": float(exact(text, middle)),
        "similarity": similarity(text, middle),
        "first_line": float(first_line(text, middle)),
        "shown": float(bool(text.strip())),
    }


def _groups(answered: Sequence[Answered], known: Mapping[Path, Defined]) -> dict[str, list[int]]:
    """Places by number: all, by kind, by whether they need another file, and by project."""
    groups: dict[str, list[int]] = {"all": list(range(len(answered)))}
    for kind in KINDS:
        groups[kind] = [n for n, one in enumerate(answered) if one.place.kind == kind]
    groups[OTHER_FILES] = [
        n for n, one in enumerate(answered) if known[one.place.project].elsewhere(one.place, one.question.window)
    ]
    for project in sorted(known):
        groups[f"in {name_of(project)}"] = [n for n, one in enumerate(answered) if one.place.project == project]
    return groups


def _group(scores: Sequence[Scores]) -> dict[str, Any]:
    stages = {stage: _means([one[stage] for one in scores]) for stage in STAGES}
    added = {later: _added(scores, later, sooner) for sooner, later in pairwise(STAGES)}
    return {"holes": len(scores), "stages": stages, "added": added}


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of one stage; ``precision`` is the share of what is shown that is right. Similarity is that of what is shown."""
    means = {name: fmean(one[name] for one in scores) for name in scores[0]}
    near = [one["similarity"] for one in scores if one["shown"]]
    precision = means["exact"] / means["shown"] if near else 0.0
    return means | {"similarity": fmean(near) if near else 0.0, "precision": precision}


def _added(scores: Sequence[Scores], later: str, sooner: str) -> dict[str, dict[str, float]]:
    """What a stage adds to the one before. Similarity where both show something: silence is neither near nor far."""
    both = [one for one in scores if one[later]["shown"] and one[sooner]["shown"]]
    compared = {"exact": scores, "similarity": both, "first_line": scores}
    return {
        name: asdict(mean_difference([one[later][name] for one in some], [one[sooner][name] for one in some]))
        for name, some in compared.items()
        if some
    }


def _confidence(answered: Sequence[Answered]) -> list[dict[str, float]]:
    """Of what the server shows without context, what a threshold would leave."""
    shown = []
    for one in answered:
        if text := shaped(one.place, one.infill).text:
            scores = _measured(text, one.place.middle)
            sure = confidence(one.infill.tokens, one.infill.text, text)
            shown.append((sure, scores["exact"], scores["first_line"]))
    return [_left(shown, threshold) for threshold in THRESHOLDS]


def _left(shown: Sequence[tuple[float, float, float]], threshold: float) -> dict[str, float]:
    """The share still shown, how many of these are right, and how many of all that were right are still shown."""
    kept = [(right, first) for sure, right, first in shown if sure >= threshold]
    right = sum(right for _, right, _ in shown)
    return {
        "threshold": threshold,
        "shown": len(kept) / max(len(shown), 1),
        "right": fmean(right for right, _ in kept) if kept else 0.0,
        "first_line": fmean(first for _, first in kept) if kept else 0.0,
        "kept_right": sum(right for right, _ in kept) / right if right else 0.0,
    }
