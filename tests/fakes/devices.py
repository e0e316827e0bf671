"""Devices to run a test on: the CPU, and a CUDA GPU if there is one."""

from __future__ import annotations

import pytest
import torch

ON_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)

DEVICES = ("cpu", pytest.param("cuda", marks=ON_GPU))


def needs(*modules: str) -> None:
    """Skip the test if a module is missing, as on a GPU machine with other packages (`make gpu PYTHON=...`)."""
    for module in modules:
        pytest.importorskip(module, reason=f"needs {module}, which this Python lacks")


def name_of(device: str) -> str:
    """Return the device's name for test ids."""
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"
