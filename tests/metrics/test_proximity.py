from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision.models import alexnet

from gan_explain.metrics.proximity import l1, outside_change, perceptual, sparsity, ssim
from gan_explain.types import CheckpointError


def test_equal_images_are_at_no_distance() -> None:
    x = torch.rand(3, 1, 32, 32)
    assert l1(x, x).tolist() == sparsity(x, x).tolist() == [0, 0, 0]
    assert torch.equal(ssim(x, x), torch.ones(3))


def test_distances_on_paper() -> None:
    x = torch.zeros(2, 1, 20, 20)
    y = x.clone()
    y[0, 0, :10] = 0.2
    y[1] = 0.05
    assert l1(x, y).tolist() == pytest.approx([0.1, 0.05])
    assert sparsity(x, y).tolist() == pytest.approx([0.5, 0.0])


def test_each_sample_has_its_own_ssim() -> None:
    x = torch.rand(2, 1, 32, 32)
    y = torch.stack([x[0], 1 - x[1]])
    assert ssim(x, y)[0] == 1
    assert ssim(x, y)[1] < 0


def test_change_outside_counts_only_where_the_mask_is_zero() -> None:
    x = torch.zeros(1, 1, 8, 8)
    inside = torch.zeros(1, 1, 8, 8)
    inside[..., :4] = 0.3  # a feathered edge is inside
    y = x.clone()
    y[..., 2] = 0.9
    assert outside_change(x, y, inside).tolist() == [0]
    y[..., 6] = 0.25
    assert outside_change(x, y, inside).tolist() == [0.25]


def test_lpips_needs_a_local_backbone_and_grows_with_the_change(tmp_path: Path) -> None:
    safetensors.torch.save_file(alexnet().state_dict(), tmp_path / "alex.safetensors")
    measure = perceptual(tmp_path / "alex.safetensors")
    x = torch.rand(1, 1, 64, 64)
    near, far = (x + 0.02 * torch.randn_like(x)).clamp(0, 1), torch.rand(1, 1, 64, 64)
    assert measure(x, x).tolist() == [0]
    assert 0 < measure(x, near) < measure(x, far)
    with pytest.raises(CheckpointError, match="no such weights file"):
        perceptual(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="vgg"):
        perceptual(tmp_path / "alex.safetensors", "vgg")
