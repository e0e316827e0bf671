"""The stages of a completion, made from the same answers: what a person would have seen with each part and without.

Pure. All stages are told what is missing: where it is a line, each is cut after its first; how much to write the server
decides by syntax, and that is judged by itself (``effects``). Of a block a peer without our rules shows all that the
model wrote, up to its end token or the most tokens an answer may have.

What each rule of shaping changes, and what the stop rule does, each left out by itself; from the same answers.

Pure. A difference is that of all holes, most of which a rule does not touch. Where a rule drops an answer, or leaving
it out makes one appear, similarity is not compared: showing nothing is no text that is near or far.

From answers to figures: each stage by kind of hole, what each adds to the one before, and confidence.

Pure; shares from 0 to 1. Intervals: 95 %, paired bootstrap over holes.
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
from lsp_server.benchmark.gains.answers import AnsweredQuestion, GainAnswer
from lsp_server.benchmark.gains.gain_holes import KINDS, Defined, GainHole
from lsp_server.benchmark.gains.projects import name_of
from lsp_server.completion.confidence import confidence
from lsp_server.completion.postprocess.rules import RULES, Postprocessed, Rule, postprocess
from lsp_server.completion.stop_rule import LINE, stop_rule

PREFIX, INFILL, SHAPED, CONTEXT = STAGES = ("prefix-only", "infill", "+ stop rules and shaping", "+ context")


def texts(answered: AnsweredQuestion) -> dict[str, str]:
    """What each stage shows; empty for nothing."""
    place, infill = answered.place, answered.infill
    shown = {
        PREFIX: answered.prefix.text,
        INFILL: infill.text,
        SHAPED: shaped(place, infill).text,
        CONTEXT: shaped(place, answered.context or infill).text,
    }
    return shown if place.kind == "block" else {stage: text.partition("\n")[0] for stage, text in shown.items()}


def shaped(
    place: GainHole, answer: GainAnswer, rules: Sequence[tuple[str, Rule]] = RULES, *, stop: bool = True
) -> Postprocessed:
    """As the server shows it: ended by the stop rule, where that had not been applied yet, and put into shape."""
    stopper = Stopper(stop_rule(place.snapshot)) if stop else Stopper()
    text = stopper.feed(answer.text) + stopper.finish()
    cut = answer.cause == "length" and not stopper.trimmed
    return postprocess(place.snapshot, text, cut=cut, rules=rules)


STOP = "stop rule (of blocks)"
MORE = "lines after the first"

Without = Callable[[AnsweredQuestion], str]


@dataclass(frozen=True, slots=True)
class Effect:
    """Of one rule.

    Attributes:
        holes: where it could have one.
        touched: where leaving it out shows another text.
        dropped: of these, where it leaves nothing.
        righted: right with it, and wrong without.
        wronged: wrong with it, and right without.
        exact: what it adds to exact match.
        similarity: what it adds to edit similarity.
    """

    rule: str
    holes: int
    touched: int
    dropped: int
    righted: int
    wronged: int
    exact: Interval
    similarity: Interval


def effects(answered: Sequence[AnsweredQuestion]) -> list[Effect]:
    """Of every rule, in the order in which they apply; one that changed nothing too."""
    return list(_effects([(one, shaped(one.place, one.infill)) for one in answered]))


def _effects(pairs: Sequence[tuple[AnsweredQuestion, Postprocessed]]) -> Iterator[Effect]:
    blocks = [pair for pair in pairs if pair[0].place.kind == "block"]
    lines = [pair for pair in pairs if pair[0].place.kind != "block"]
    if blocks:
        yield _effect(STOP, blocks, [shaped(one.place, one.infill, stop=False).text for one, _ in blocks])
    for name, some in (("", pairs), (", where a line is missing", lines), (", where a block is", blocks)):
        if some:
            yield _effect(MORE + name, some, [_first_line(full.text) for _, full in some])
    for name in dict.fromkeys(name for name, _ in RULES):
        rules = [rule for rule in RULES if rule[0] != name]
        texts = [shaped(a.place, a.infill, rules).text if name in full.rules else full.text for a, full in pairs]
        yield _effect(name, pairs, texts)


def _first_line(text: str) -> str:
    """The first that says something, and the blanks before it."""
    said = text.lstrip()
    return text[: len(text) - len(said)] + said.partition("\n")[0]


def _effect(rule: str, pairs: Sequence[tuple[AnsweredQuestion, Postprocessed]], without: Sequence[str]) -> Effect:
    """``without`` are the texts that are shown where the rule is left out."""
    told = [(one.place.middle, full.text, text) for (one, full), text in zip(pairs, without, strict=True)]
    right = [(exact(shown, middle), exact(text, middle)) for middle, shown, text in told]
    near = [
        (similarity(shown, middle), similarity(text, middle)) if shown and text else (0.0, 0.0)
        for middle, shown, text in told
    ]
    return Effect(
        rule,
        holes=len(told),
        touched=sum(shown != text for _, shown, text in told),
        dropped=sum(not shown and text != "" for _, shown, text in told),
        righted=sum(a and not b for a, b in right),
        wronged=sum(b and not a for a, b in right),
        exact=_difference(right),
        similarity=_difference(near),
    )


def _difference(pairs: Sequence[tuple[float, float]]) -> Interval:
    return mean_difference([a for a, _ in pairs], [b for _, b in pairs])


def judged_blocks(places: Sequence[GainHole]) -> dict[str, int]:
    """What the stop rule makes of the true blocks, followed by what truly follows: how many it cuts, or lets go on."""
    found = {"blocks": 0, "cut": 0, "cut_lines": 0, "too_long": 0}
    for place in places:
        if place.kind == "block":
            kept, true = _kept(place).rstrip(), place.middle.rstrip()
            found["blocks"] += 1
            found["cut"] += len(kept) < len(true)
            found["cut_lines"] += len(kept) < len(true) and stop_rule(place.snapshot) == LINE
            found["too_long"] += len(kept) > len(true)
    return found


def cut_blocks(places: Sequence[GainHole]) -> list[GainHole]:
    """Those whose true text the stop rule ends too early."""
    return [place for place in places if judged_blocks([place])["cut"]]


def _kept(place: GainHole) -> str:
    stopper = Stopper(stop_rule(place.snapshot))
    return stopper.feed(place.middle + place.snapshot.after) + stopper.finish()


OTHER_FILES, OTHER_ENDS = "other files' names", "ends with such names"
THRESHOLDS = (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Scores = Mapping[str, Mapping[str, float]]
"""Of one place: by stage, by measure."""


def figures(
    answered: Sequence[AnsweredQuestion], others: Sequence[AnsweredQuestion], known: Mapping[Path, Defined]
) -> dict[str, Any]:
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


def _scores(one: AnsweredQuestion) -> dict[str, dict[str, float]]:
    return {stage: _measured(text, one.place.middle) for stage, text in texts(one).items()}


def _measured(text: str, middle: str) -> dict[str, float]:
    return {
        "exact": float(exact(text, middle)),
        "similarity": similarity(text, middle),
        "first_line": float(first_line(text, middle)),
        "shown": float(bool(text.strip())),
    }


def _groups(answered: Sequence[AnsweredQuestion], known: Mapping[Path, Defined]) -> dict[str, list[int]]:
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


def _confidence(answered: Sequence[AnsweredQuestion]) -> list[dict[str, float]]:
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
