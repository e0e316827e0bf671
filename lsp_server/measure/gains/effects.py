"""What each rule of shaping changes, and what the stop rule does, each left out by itself; from the same answers.

Pure. A difference is that of all holes, most of which a rule does not touch. Where a rule drops an answer, or leaving
it out makes one appear, similarity is not compared: showing nothing is no text that is near or far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from inference.evaluation.intervals import Interval, mean_difference
from inference.evaluation.metrics import exact, similarity
from inference.text.stopping import Stopper
from lsp_server.completion.amount import LINE, stop_rule
from lsp_server.completion.shape import RULES, Shaped
from lsp_server.measure.gains.asking import Answered
from lsp_server.measure.gains.places import Place
from lsp_server.measure.gains.stages import shaped

STOP = "stop rule (of blocks)"
MORE = "lines after the first"

Without = Callable[[Answered], str]


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


def effects(answered: Sequence[Answered]) -> list[Effect]:
    """Of every rule, in the order in which they apply; one that changed nothing too."""
    return list(_effects([(one, shaped(one.place, one.infill)) for one in answered]))


def _effects(pairs: Sequence[tuple[Answered, Shaped]]) -> Iterator[Effect]:
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


def _effect(rule: str, pairs: Sequence[tuple[Answered, Shaped]], without: Sequence[str]) -> Effect:
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


def judged_blocks(places: Sequence[Place]) -> dict[str, int]:
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


def cut_blocks(places: Sequence[Place]) -> list[Place]:
    """Those whose true text the stop rule ends too early."""
    return [place for place in places if judged_blocks([place])["cut"]]


def _kept(place: Place) -> str:
    stopper = Stopper(stop_rule(place.snapshot))
    return stopper.feed(place.middle + place.snapshot.after) + stopper.finish()
