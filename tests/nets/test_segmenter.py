"""Hard masks from logits: two lungs, no holes, no crumbs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.files.checkpoints import save_part
from gan_explain.nets.segmenter import LungSegmenter, load_segmenter
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.types import CheckpointError

SIDE = 32


class Drawn(nn.Module):
    """Stands in for the U-Net: logits +5 inside a drawn mask (N, 1, 32, 32), -5 outside; keeps what it was shown."""

    config = UNetConfig(resolution=SIDE)

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask, self.seen = mask, torch.empty(0)
        self.weight = nn.Parameter(torch.zeros(()))  # says where the network lies

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return 10 * self.mask - 5


def boxes(*corners: tuple[int, int, int, int]) -> Tensor:
    """A mask (1, 1, 32, 32) of boxes top, bottom, left, right."""
    mask = torch.zeros(1, 1, SIDE, SIDE)
    for top, bottom, left, right in corners:
        mask[..., top:bottom, left:right] = 1
    return mask


def segment(mask: Tensor, side: int = SIDE) -> Tensor:
    return LungSegmenter(Drawn(mask))(torch.rand(len(mask), 1, side, side))  # type: ignore[arg-type]


LEFT, RIGHT = (4, 28, 2, 14), (4, 28, 18, 30)


def test_two_lungs_stay_as_they_are() -> None:
    assert torch.equal(segment(boxes(LEFT, RIGHT)), boxes(LEFT, RIGHT))


@pytest.mark.parametrize("images", [torch.zeros(1, 3, 9, 9), torch.zeros(9, 9), torch.full((1, 1, 9, 9), torch.nan)])
def test_images_of_another_shape_or_range_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        LungSegmenter(Drawn(boxes(LEFT)))(images)  # type: ignore[arg-type]


def test_the_last_digits_of_resizing_are_no_matter() -> None:
    assert torch.equal(LungSegmenter(Drawn(boxes(LEFT)))(torch.full((1, 1, SIDE, SIDE), -4e-7)), boxes(LEFT))  # type: ignore[arg-type]


def test_the_two_largest_regions_are_kept() -> None:
    assert torch.equal(segment(boxes(LEFT, RIGHT, (0, 2, 0, 32))), boxes(LEFT, RIGHT))


def test_a_crumb_is_no_second_lung() -> None:
    assert torch.equal(segment(boxes(LEFT, (0, 3, 28, 31))), boxes(LEFT))


def test_holes_are_filled_and_bays_are_not() -> None:
    holed = boxes(LEFT, RIGHT)
    holed[..., 10:14, 5:8] = 0  # a hole
    holed[..., 10:14, 27:30] = 0  # open to the side
    expected = boxes(LEFT, RIGHT)
    expected[..., 10:14, 27:30] = 0
    assert torch.equal(segment(holed), expected)


def test_no_lungs_stay_none_and_do_not_disturb_others() -> None:
    both = torch.cat([boxes(), boxes(LEFT, RIGHT)])
    assert torch.equal(segment(both), both)


@pytest.mark.parametrize("side", [16, 64, 100])
def test_any_size_in_the_same_size_out(side: int) -> None:
    found = segment(boxes(LEFT, RIGHT), side)
    assert found.shape == (1, 1, side, side)
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert float(found.mean()) == pytest.approx(float(boxes(LEFT, RIGHT).mean()), abs=0.04)


def test_network_sees_its_own_resolution_and_no_gradient_leaves() -> None:
    drawn = Drawn(boxes(LEFT))
    images = torch.rand(1, 1, 80, 80, requires_grad=True)
    mask = LungSegmenter(drawn)(images)  # type: ignore[arg-type]
    assert drawn.seen.shape == (1, 1, SIDE, SIDE)
    assert not mask.requires_grad


def test_a_saved_segmenter_comes_back(tmp_path: Path) -> None:
    config = UNetConfig(resolution=SIDE, widths=(4, 8))
    network = UNet(config).eval()
    save_part(tmp_path / "s", "segmenter", "segmenter", config.model_dump(mode="json"), network.state_dict())
    back = load_segmenter(tmp_path / "s")
    images = torch.rand(2, 1, SIDE, SIDE)
    assert torch.equal(back(images), LungSegmenter(network)(images))
    assert not any(p.requires_grad for p in back.parameters())
    assert not any(module.training for module in back.modules())


def test_a_part_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_part(tmp_path / "s", "segmenter", "target", {}, {})
    with pytest.raises(CheckpointError, match="of kind 'segmenter', got 'target'"):
        load_segmenter(tmp_path / "s")


def test_soft_is_the_networks_probability_and_has_a_gradient() -> None:
    network = UNet(UNetConfig(resolution=SIDE, widths=(4, 8))).eval()
    images = torch.rand(2, 1, SIDE, SIDE, requires_grad=True)
    soft = LungSegmenter(network).soft(images)
    torch.testing.assert_close(soft, network(images).sigmoid())
    soft.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert LungSegmenter(network).soft(torch.rand(1, 1, 50, 50)).shape == (1, 1, 50, 50)
