"""transformers' ``generate()`` on an installed model, as a process that benchmarks measure beside the engine.

The protocol is JSON, one object a line. First ``{"ready": true, "format": ...}`` or ``{"error": ...}`` on stdout. Then,
for each ``{"prompt": [ids], "tokens": N}`` on stdin, one ``{"token": id}`` per token and ``{"done": N}``.
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
from inference.models.loader import FormatOrAuto, read_transformers
from inference.models.shape import FORMATS
from inference.server.model_manager import ModelChoice, choose_models
from inference.system import machine

Send = Callable[[dict[str, Any]], None]


class TokenStreamer:
    """Sends each token as ``generate()`` puts it (the interface of transformers' ``BaseStreamer``)."""

    def __init__(self, send: Send) -> None:
        self._send, self._prompt_seen, self.count = send, False, 0

    def put(self, value: torch.Tensor) -> None:
        """Receive the prompt first, then each token."""
        if self._prompt_seen:
            self.count += 1
            self._send({"token": int(value.flatten()[-1])})
        self._prompt_seen = True

    def end(self) -> None:
        """Required by the interface."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve requests until stdin ends. Return exit status 1 if the model can't be loaded."""
    parser = argparse.ArgumentParser(description="Measure transformers' generate(): JSON lines on stdin and stdout.")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS])
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine does
    send = _open_output()
    try:
        form, model = _load(args.model, args.format)
    except Exception as error:
        send({"error": str(error)})
        return 1
    send({"ready": True, "format": form})
    for line in sys.stdin:
        send({"done": generate_tokens(model, json.loads(line), send)})
    return 0


@torch.inference_mode()
def generate_tokens(model: Any, request: dict[str, Any], send: Send) -> int:
    """Generate exactly the requested number of tokens, greedily. Return their count."""
    ids = torch.tensor([request["prompt"]], device=model.device)
    streamer, count = TokenStreamer(send), request["tokens"]
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
    """Return the format the engine would use for this model, and the model in it."""
    model_id = canonical(name)
    chosen = choose_models(ModelChoice(model_id, model_id))[0]
    form = chosen.form(wanted, machine.look().best)
    held: FormatOrAuto = "nf4" if form == "nf4-double" else form  # type: ignore[assignment]
    return form, read_transformers(chosen.checkpoint.folder, held)


def _open_output() -> Send:
    """Return a function that writes to the real stdout, and redirect everything else there to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    return send


if __name__ == "__main__":
    sys.exit(main())
