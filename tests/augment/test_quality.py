"""The rule that synthetic images must pass, and near copies, on images where the answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.augment.quality import Duplicates, Rule, contrast_of, signature, tally
from gan_explain.targets import ModuleTarget, TargetConfig


class Mean(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 40 * (x.mean((1, 2, 3)) - 0.5)


def half(images: Tensor) -> Tensor:
    """Lungs are where the image is bright."""
    return (images > 0.5).float()


def test_each_fault_is_found() -> None:
    target = ModuleTarget(Mean(), TargetConfig(positive=("covid",), size=8, channels=1))
    source = torch.zeros(1, 1, 8, 8)
    source[..., :4] = 0.9  # lungs: the left half
    lungs = half(source)
    rule = Rule(target, half, (0.1, 0.5))
    brighter = source.clone()
    brighter[..., 4:] = 0.4
    darker = source.clone()
    darker[..., 4:] = 0.05
    moved = source.flip(3) * 0.5 + 0.45
    flat = torch.full_like(source, 0.7)
    images = torch.cat([brighter, darker, source, moved, flat])
    every = [each.expand(5, -1, -1, -1) for each in (source, lungs)]
    assert rule.faults(images, *every) == ["", "not_positive", "unchanged", "anatomy", "contrast"]
    assert Rule(None, half, (0.1, 0.5)).faults(images, *every)[1] == ""
    assert tally(["", "anatomy", "anatomy", "contrast"]) == {"anatomy": 2, "contrast": 1}


def test_contrast_range_is_that_of_the_positives() -> None:
    images = torch.stack([torch.tensor([[0.0, 1.0]]), torch.tensor([[0.4, 0.6]])])[:, None]
    low, high = contrast_of(images)
    assert low == pytest.approx(0.5 * 0.2 * 0.5**0.5)
    assert high == pytest.approx(2 * 0.5**0.5)


def test_a_copy_is_found_whatever_its_gain() -> None:
    torch.manual_seed(0)
    positives = torch.rand(6, 1, 32, 32)
    seen = Duplicates(positives, list("aabbcc"))
    assert 0 < seen.threshold < 1
    assert seen(positives[2:3] * 0.5 + 0.2) == "copy_of_real"
    fresh = torch.rand(1, 1, 32, 32)
    assert seen(fresh) == ""
    assert seen(fresh * 0.9) == "copy_of_synthetic"
    assert seen(torch.rand(1, 1, 32, 32)) == ""


def test_threshold_is_half_the_distance_of_patients_not_of_images() -> None:
    torch.manual_seed(0)
    one, other = torch.rand(2, 1, 1, 32, 32)
    seen = Duplicates(torch.cat([one, one * 0.9, other]), ["a", "a", "b"])
    distance = float((signature(one) - signature(other)).norm())
    assert seen.threshold == pytest.approx(distance / 2, rel=1e-3)
    assert Duplicates(one, ["a"]).threshold == 0.1


def test_signature_is_the_correlation() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 1, 1, 32, 32)
    correlation = float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
    assert float((signature(a) - signature(b)).square().sum()) == pytest.approx(2 - 2 * correlation, rel=1e-4)
