"""The request of Code Llama's model card in its deployed form: ``POST /score`` and ``codellama-ls infer``.

Torch-free. Unknown fields are refused rather than ignored: who mistypes ``temperature`` should not be answered without.

Source: the sample input of the model card; the parameters are those of transformers' ``generate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference.generation.answer import Sampling
from inference.serving.fields import WireError, short
from inference.serving.wire import MAX_TOKENS_LIMIT

MOST_INPUTS = 64

DEFAULT_NEW_TOKENS = 100

PARAMETERS = ("max_new_tokens", "do_sample", "temperature", "top_p", "seed")


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Texts to continue, each by itself and with the same sampling."""

    inputs: tuple[str, ...]
    sampling: Sampling
    model: str = ""


def parse_score(body: Any) -> ScoreRequest:
    """Check a parsed body. Raises ``WireError``, whose message and ``param`` say where the first mistake is."""
    fields = _object(body, "", ("input_data", "model"))
    data = _object(fields.get("input_data"), "input_data", ("input_string", "parameters"))
    return ScoreRequest(_inputs(data.get("input_string")), _sampling(data.get("parameters")), short(fields, "model"))


def _object(value: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    named = f"'{where}'" if where else "The request"
    if not isinstance(value, dict):
        raise WireError(f"{named} must be an object with {' and '.join(known)}.", where or None)
    for name in value:
        if name not in known:
            path = f"{where}.{name}" if where else name
            raise WireError(f"'{path}' is not known here; there is {', '.join(known)}.", path)
    return value


def _inputs(value: Any) -> tuple[str, ...]:
    where = "input_data.input_string"
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_INPUTS:
        raise WireError(f"'{where}' must be a list of 1 to {MOST_INPUTS} strings.", where)
    for n, text in enumerate(value):
        if not isinstance(text, str) or not text:
            raise WireError(f"'{where}[{n}]' must be a string that is not empty.", f"{where}[{n}]")
    return tuple(value)


def _sampling(value: Any) -> Sampling:
    fields = _object({} if value is None else value, "input_data.parameters", PARAMETERS)
    sample = fields.get("do_sample", False)
    if not isinstance(sample, bool):
        raise _wrong("do_sample", "true or false")
    temperature = _number(fields, "temperature", 1.0, 0, 2)
    return Sampling(
        max_tokens=_number(fields, "max_new_tokens", DEFAULT_NEW_TOKENS, 1, MAX_TOKENS_LIMIT, whole=True),
        temperature=temperature if sample else 0.0,
        top_p=_number(fields, "top_p", 1.0, 0, 1),
        seed=_number(fields, "seed", None, -(2**63), 2**63 - 1, whole=True),
    )


def _number(fields: Mapping[str, Any], name: str, default: Any, low: float, high: float, *, whole: bool = False) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    right = type(value) is int or (type(value) is float and not whole)
    if not right or not low <= value <= high:
        raise _wrong(name, f"{'a whole number' if whole else 'a number'} from {low} to {high}")
    return value


def _wrong(name: str, wanted: str) -> WireError:
    where = f"input_data.parameters.{name}"
    return WireError(f"'{where}' must be {wanted}.", where)
