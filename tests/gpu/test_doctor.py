"""The doctor's report on a machine with a working GPU."""

from __future__ import annotations

import pytest
import torch
from fakes.devices import needs

from inference.client.engine_process import EngineOptions
from inference.doctor import hardware
from inference.system import machine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_gpu_is_found_and_its_four_bit_kernels_work():
    needs("bitsandbytes")
    facts = hardware.probe_torch(EngineOptions())
    (gpu,) = hardware.check_gpu(machine.look(), hardware.driver(), facts)
    assert (gpu.name, gpu.verdict) == ("GPU", "ok"), gpu.text
    assert torch.cuda.get_device_name() in gpu.text
    kernels = next(hardware.check_kernels(facts))
    assert (kernels.verdict, kernels.text) == ("ok", "bitsandbytes' 4-bit kernels work on the GPU")
