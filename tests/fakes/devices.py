"""Devices to run one test on: the CPU always, a CUDA GPU where there is one."""

from __future__ import annotations

import pytest
import torch

ON_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)

DEVICES = ("cpu", pytest.param("cuda", marks=ON_GPU))


def name_of(device: str) -> str:
    """What a person calls it."""
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"
