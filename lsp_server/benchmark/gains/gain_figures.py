"""Figures of ``gains``: each stage by kind of hole, its effect over the stage before, each rule, and confidence.

All stages use the same completions. Where a line is missing, every stage is cut after its first line. Of a block, the
stages without our rules show everything up to the end token or the token limit. Rules and the stop rule are also
left out one at a time. Shares are from 0 to 1, intervals 95 % (paired bootstrap over holes). Similarity is compared
only where both sides show text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from inference.evaluation.intervals import Interval, mean_difference
from inference.evaluation.scoring import exact, first_line, similarity
from inference.text.stopping import Stopper
from lsp_server.benchmark.gains.completions import CompletedHole, GainCompletion
from lsp_server.benchmark.gains.gain_holes import KINDS, DefinedNames, GainHole
from lsp_server.benchmark.gains.projects import project_name
from lsp_server.completion.confidence import confidence
from lsp_server.completion.postprocess.rules import RULES, Postprocessed, Rule, postprocess
from lsp_server.completion.stop_rule import LINE, stop_rule

PREFIX, INFILL, SHAPED, CONTEXT = STAGES = ("prefix-only", "infill", "+ stop rules and shaping", "+ context")


def stage_texts(answered: CompletedHole) -> dict[str, str]:
    """Return the text that each stage shows; empty for none."""
    hole, infill = answered.hole, answered.infill
    shown = {
        PREFIX: answered.prefix.text,
        INFILL: infill.text,
        SHAPED: postprocessed(hole, infill).text,
        CONTEXT: postprocessed(hole, answered.context or infill).text,
    }
    return shown if hole.kind == "block" else {stage: text.partition("\n")[0] for stage, text in shown.items()}


def postprocessed(
    hole: GainHole, answer: GainCompletion, rules: Sequence[tuple[str, Rule]] = RULES, *, stop: bool = True
) -> Postprocessed:
    """Apply the stop rule, unless ``stop`` is False, and post-process, as the server does."""
    stopper = Stopper(stop_rule(hole.snapshot)) if stop else Stopper()
    text = stopper.feed(answer.text) + stopper.finish()
    cut = answer.cause == "length" and not stopper.trimmed
    return postprocess(hole.snapshot, text, cut=cut, rules=rules)


STOP = "stop rule (of blocks)"
MORE = "lines after the first"

Without = Callable[[CompletedHole], str]


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of one rule.

    Attributes:
        holes: holes where the rule applies.
        touched: holes where the text differs without the rule.
        dropped: of these, holes where the rule leaves no text.
        righted: holes that are right only with the rule.
        wronged: holes that are right only without the rule.
        exact: difference in exact match.
        similarity: difference in edit similarity.
    """

    rule: str
    holes: int
    touched: int
    dropped: int
    righted: int
    wronged: int
    exact: Interval
    similarity: Interval


def effects(answered: Sequence[CompletedHole]) -> list[Effect]:
    """Return the effect of every rule, in order of application."""
    return list(_effects([(one, postprocessed(one.hole, one.infill)) for one in answered]))


def _effects(pairs: Sequence[tuple[CompletedHole, Postprocessed]]) -> Iterator[Effect]:
    blocks = [pair for pair in pairs if pair[0].hole.kind == "block"]
    lines = [pair for pair in pairs if pair[0].hole.kind != "block"]
    if blocks:
        yield _effect(STOP, blocks, [postprocessed(one.hole, one.infill, stop=False).text for one, _ in blocks])
    for name, some in (("", pairs), (", where a line is missing", lines), (", where a block is", blocks)):
        if some:
            yield _effect(MORE + name, some, [_first_line(full.text) for _, full in some])
    for name in dict.fromkeys(name for name, _ in RULES):
        rules = [rule for rule in RULES if rule[0] != name]
        texts = [postprocessed(a.hole, a.infill, rules).text if name in full.rules else full.text for a, full in pairs]
        yield _effect(name, pairs, texts)


def _first_line(text: str) -> str:
    """Return the first line that is not blank, with the blanks before it."""
    stripped = text.lstrip()
    return text[: len(text) - len(stripped)] + stripped.partition("\n")[0]


def _effect(rule: str, pairs: Sequence[tuple[CompletedHole, Postprocessed]], without: Sequence[str]) -> Effect:
    """Compare with ``without``, the texts without the rule."""
    compared = [(one.hole.middle, full.text, text) for (one, full), text in zip(pairs, without, strict=True)]
    right = [(exact(shown, middle), exact(text, middle)) for middle, shown, text in compared]
    near = [
        (similarity(shown, middle), similarity(text, middle)) if shown and text else (0.0, 0.0)
        for middle, shown, text in compared
    ]
    return Effect(
        rule,
        holes=len(compared),
        touched=sum(shown != text for _, shown, text in compared),
        dropped=sum(not shown and text != "" for _, shown, text in compared),
        righted=sum(a and not b for a, b in right),
        wronged=sum(b and not a for a, b in right),
        exact=_difference(right),
        similarity=_difference(near),
    )


def _difference(pairs: Sequence[tuple[float, float]]) -> Interval:
    return mean_difference([a for a, _ in pairs], [b for _, b in pairs])


def count_true_blocks(holes: Sequence[GainHole]) -> dict[str, int]:
    """Count true blocks that the stop rule cuts too early or lets run into the text that follows."""
    found = {"blocks": 0, "cut": 0, "cut_lines": 0, "too_long": 0}
    for hole in holes:
        if hole.kind == "block":
            kept, true = _kept(hole).rstrip(), hole.middle.rstrip()
            found["blocks"] += 1
            found["cut"] += len(kept) < len(true)
            found["cut_lines"] += len(kept) < len(true) and stop_rule(hole.snapshot) == LINE
            found["too_long"] += len(kept) > len(true)
    return found


def cut_blocks(holes: Sequence[GainHole]) -> list[GainHole]:
    """Return the blocks whose true text the stop rule cuts too early."""
    return [hole for hole in holes if count_true_blocks([hole])["cut"]]


def _kept(hole: GainHole) -> str:
    stopper = Stopper(stop_rule(hole.snapshot))
    return stopper.feed(hole.middle + hole.snapshot.after) + stopper.finish()


OTHER_FILES, OTHER_ENDS = "other files' names", "ends with such names"
THRESHOLDS = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Scores = Mapping[str, Mapping[str, float]]
"""Scores of one hole by stage and measure."""


def figures(
    answered: Sequence[CompletedHole], others: Sequence[CompletedHole], known: Mapping[Path, DefinedNames]
) -> dict[str, Any]:
    """Return all figures as JSON. There must be at least one completion.

    ``known`` are the names that each project's files define. ``others`` are additional ends of lines that need another
    file's name; they form a group of their own.
    """
    scores = [_scores(one) for one in (*answered, *others)]
    groups = _groups(answered, known) | {OTHER_ENDS: list(range(len(answered), len(scores)))}
    return {
        "holes": len(answered),
        "others": len(others),
        "with_context": sum(one.context is not None for one in answered),
        "groups": {name: _group([scores[n] for n in some]) for name, some in groups.items() if some},
        "rules": [asdict(effect) for effect in effects(answered)],
        "true_blocks": count_true_blocks([one.hole for one in answered]),
        "confidence": _confidence(answered),
    }


def _scores(one: CompletedHole) -> dict[str, dict[str, float]]:
    return {stage: _measured(text, one.hole.middle) for stage, text in stage_texts(one).items()}


def _measured(text: str, middle: str) -> dict[str, float]:
    return {
        "exact": float(exact(text, middle)),
        "similarity": similarity(text, middle),
        "first_line": float(first_line(text, middle)),
        "shown": float(bool(text.strip())),
    }


def _groups(answered: Sequence[CompletedHole], known: Mapping[Path, DefinedNames]) -> dict[str, list[int]]:
    """Return indexes of holes: all, by kind, those that need another file, and by project."""
    groups: dict[str, list[int]] = {"all": list(range(len(answered)))}
    for kind in KINDS:
        groups[kind] = [n for n, one in enumerate(answered) if one.hole.kind == kind]
    groups[OTHER_FILES] = [
        n for n, one in enumerate(answered) if known[one.hole.project].in_other_files(one.hole, one.question.window)
    ]
    for project in sorted(known):
        groups[f"in {project_name(project)}"] = [n for n, one in enumerate(answered) if one.hole.project == project]
    return groups


def _group(scores: Sequence[Scores]) -> dict[str, Any]:
    stages = {stage: _means([one[stage] for one in scores]) for stage in STAGES}
    added = {later: _added(scores, later, sooner) for sooner, later in pairwise(STAGES)}
    return {"holes": len(scores), "stages": stages, "added": added}


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average one stage. ``precision`` is the share of shown texts that is right; similarity is of shown texts."""
    means = {name: fmean(one[name] for one in scores) for name in scores[0]}
    near = [one["similarity"] for one in scores if one["shown"]]
    precision = means["exact"] / means["shown"] if near else 0.0
    return means | {"similarity": fmean(near) if near else 0.0, "precision": precision}


def _added(scores: Sequence[Scores], later: str, sooner: str) -> dict[str, dict[str, float]]:
    """Compare a stage with the one before; similarity only where both show text."""
    both = [one for one in scores if one[later]["shown"] and one[sooner]["shown"]]
    compared = {"exact": scores, "similarity": both, "first_line": scores}
    return {
        name: asdict(mean_difference([one[later][name] for one in some], [one[sooner][name] for one in some]))
        for name, some in compared.items()
        if some
    }


def _confidence(answered: Sequence[CompletedHole]) -> list[dict[str, float]]:
    """Return the effect of each confidence threshold on completions without context."""
    shown = []
    for one in answered:
        if text := postprocessed(one.hole, one.infill).text:
            scores = _measured(text, one.hole.middle)
            sure = confidence(one.infill.tokens, one.infill.text, text)
            shown.append((sure, scores["exact"], scores["first_line"]))
    return [_left(shown, threshold) for threshold in THRESHOLDS]


def _left(shown: Sequence[tuple[float, float, float]], threshold: float) -> dict[str, float]:
    """Return the share still shown, its precision, and the share of right completions still shown."""
    kept = [(right, first) for sure, right, first in shown if sure >= threshold]
    right = sum(right for _, right, _ in shown)
    return {
        "threshold": threshold,
        "shown": len(kept) / max(len(shown), 1),
        "right": fmean(right for right, _ in kept) if kept else 0.0,
        "first_line": fmean(first for _, first in kept) if kept else 0.0,
        "kept_right": sum(right for right, _ in kept) / right if right else 0.0,
    }
