"""transformers' own ``generate()`` on an installed model's weights, as a process to be measured beside the engine.

Speaks JSON, one object a line. First ``{"ready": true, "format": ...}`` or ``{"error": ...}`` on stdout. Then for each
``{"prompt": [ids], "tokens": N}`` on stdin one ``{"token": id}`` per token and ``{"done": N}``. Knows no trace.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from inference.models.catalog import canonical
from inference.models.loader import Format, read_transformers
from inference.models.shape import FORMATS
from inference.server.model_manager import ModelChoice, choose
from inference.system import machine

Tell = Callable[[dict[str, Any]], None]


class Streamer:
    """Tells each token as ``generate()`` puts it (the interface of transformers' ``BaseStreamer``)."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._prompt_seen, self.count = tell, False, 0

    def put(self, value: torch.Tensor) -> None:
        """Called with the prompt first, then with each token."""
        if self._prompt_seen:
            self.count += 1
            self._tell({"token": int(value.flatten()[-1])})
        self._prompt_seen = True

    def end(self) -> None:
        """All tokens were put."""


def main(argv: Sequence[str] | None = None) -> int:
    """Answer until stdin ends; exit status 1 where the model can't be loaded."""
    parser = argparse.ArgumentParser(description="Measure transformers' generate(): JSON lines on stdin and stdout.")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS])
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine does
    tell = _lines_out()
    try:
        form, model = _load(args.model, args.format)
    except Exception as error:
        tell({"error": str(error)})
        return 1
    tell({"ready": True, "format": form})
    for line in sys.stdin:
        tell({"done": answer(model, json.loads(line), tell)})
    return 0


@torch.inference_mode()
def answer(model: Any, request: dict[str, Any], tell: Tell) -> int:
    """Generate exactly as many tokens as ``request`` asks for, greedily; how many it were."""
    ids = torch.tensor([request["prompt"]], device=model.device)
    streamer, count = Streamer(tell), request["tokens"]
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        min_new_tokens=count,
        max_new_tokens=count,
        pad_token_id=0,
        streamer=streamer,
    )
    return streamer.count


def _load(name: str, wanted: str) -> tuple[str, Any]:
    """The format the engine would use for this model, and the weights in it."""
    one = canonical(name)
    chosen = choose(ModelChoice(one, one))[0]
    form = chosen.form(wanted, machine.look().best)
    held: Format = "nf4" if form == "nf4-double" else form  # type: ignore[assignment]
    return form, read_transformers(chosen.checkpoint.folder, held)


def _lines_out() -> Tell:
    """Writes to the real stdout, which no library may write to any more."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    return tell


if __name__ == "__main__":
    sys.exit(main())
