"""Packing matrices in 4 and 8 bits: exact round trips, and errors of at most the quantisation step."""

from __future__ import annotations

import pytest
import torch

from inference.native.packed_weights import fits, pack, packed_shape, unpack

GENERATOR = torch.Generator().manual_seed(3)


@pytest.mark.parametrize("bits", [4, 8])
def test_values_on_the_grid_survive_exactly(bits):
    """Every code in every row and column: a mistake in the layout would show."""
    codes = torch.randint(0, 2**bits, (32, 96), generator=GENERATOR).float()
    codes.view(32, 3, 32)[..., 0], codes.view(32, 3, 32)[..., 1] = 0, 2**bits - 1
    weight = codes * 0.25 - 2
    packed = pack(weight, bits)
    assert packed.shape == packed_shape(32, 96, bits) == (2, 3, 64 * bits + 64)
    assert torch.equal(unpack(packed, bits), weight)


@pytest.mark.parametrize(("bits", "share"), [(4, 0.08), (8, 0.005)])
def test_random_weights_come_back_within_half_a_step(bits, share):
    weight = torch.randn(48, 128, generator=GENERATOR)
    error = (unpack(pack(weight, bits), bits) - weight).square().mean().sqrt()
    assert error < share


def test_group_without_a_range_is_exact():
    """Its scale is zero; nothing is divided by it."""
    weight = torch.zeros(16, 64)
    weight[:, 32:] = 0.5
    for bits in (4, 8):
        assert torch.equal(unpack(pack(weight, bits), bits), weight)


def test_large_matrices_packed_in_parts_are_the_same():
    weight = torch.randn(4096 + 32, 32, generator=GENERATOR)
    assert torch.equal(pack(weight, 4)[-2:], pack(weight[-32:], 4))


def test_only_whole_blocks_fit():
    assert fits(32_016, 4096)
    assert not fits(32_017, 4096)
    assert not fits(32, 48)
