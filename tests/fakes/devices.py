"""Devices to run one test on: the CPU always, a CUDA GPU where there is one."""

from __future__ import annotations

import pytest
import torch

ON_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)

DEVICES = ("cpu", pytest.param("cuda", marks=ON_GPU))


def needs(*modules: str) -> None:
    """Skip the test where a module is missing: on a GPU machine with packages of its own (`make gpu PYTHON=...`)."""
    for module in modules:
        pytest.importorskip(module, reason=f"needs {module}, which this Python does not have")


def name_of(device: str) -> str:
    """Return the device's name for test ids."""
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"
