"""The stages of a completion, made from the same answers: what a person would have seen with each part and without.

Pure. All stages are told what is missing: where it is a line, each is cut after its first; how much to write the server
decides by syntax, and that is judged by itself (``effects``). Of a block a peer without our rules shows all that the
model wrote, up to its end token or the most tokens an answer may have.
"""

from __future__ import annotations

from collections.abc import Sequence

from inference.text.stopping import Stopper
from lsp_server.completion.amount import stop_rule
from lsp_server.completion.shape import RULES, Rule, Shaped, shape
from lsp_server.measure.gains.asking import Answer, Answered
from lsp_server.measure.gains.places import Place

PREFIX, INFILL, SHAPED, CONTEXT = STAGES = ("prefix-only", "infill", "+ stop rules and shaping", "+ context")


def texts(answered: Answered) -> dict[str, str]:
    """What each stage shows; empty for nothing."""
    place, infill = answered.place, answered.infill
    shown = {
        PREFIX: answered.prefix.text,
        INFILL: infill.text,
        SHAPED: shaped(place, infill).text,
        CONTEXT: shaped(place, answered.context or infill).text,
    }
    return shown if place.kind == "block" else {stage: text.partition("\n")[0] for stage, text in shown.items()}


def shaped(place: Place, answer: Answer, rules: Sequence[tuple[str, Rule]] = RULES, *, stop: bool = True) -> Shaped:
    """As the server shows it: ended by the stop rule, where that had not been applied yet, and put into shape."""
    stopper = Stopper(stop_rule(place.snapshot)) if stop else Stopper()
    text = stopper.feed(answer.text) + stopper.finish()
    cut = answer.cause == "length" and not stopper.trimmed
    return shape(place.snapshot, text, cut=cut, rules=rules)
