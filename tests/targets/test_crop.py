"""The square round the lungs: found, cut out, put back."""

from __future__ import annotations

import torch

from gan_explain.targets import ModuleTarget, Preparation, TargetConfig
from gan_explain.targets.crop import cut, lung_square, put_back


def box(n: int = 1, side: int = 32) -> torch.Tensor:
    mask = torch.zeros(n, 1, side, side)
    mask[..., 8:16, 4:20] = 1  # rows 8 to 15, columns 4 to 19: centre (12, 12), longer side 16
    return mask


def test_the_square_by_hand() -> None:
    assert lung_square(box(), 1.0).tolist() == [[2 * 12 / 32 - 1, 2 * 12 / 32 - 1, 0.5]]
    assert lung_square(box(), 1.5)[0, 2] == 0.75
    mixed = torch.cat([torch.zeros(1, 1, 32, 32), box()])
    assert lung_square(mixed, 1.5).tolist()[0] == [0, 0, 1]  # an empty mask: the whole image


def test_a_cut_is_what_lies_there() -> None:
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(cut(images, lung_square(box(2), 1.0), 16), images[..., 4:20, 4:20], atol=1e-5, rtol=1e-4)
    whole = torch.tensor([[0.0, 0.0, 1.0]])
    torch.testing.assert_close(cut(images[:1], whole, 32), images[:1], atol=1e-5, rtol=1e-4)


def test_what_is_put_back_lies_where_it_was() -> None:
    images = torch.rand(1, 1, 32, 32)
    square = lung_square(box(), 1.0)
    back = put_back(cut(images, square, 16), square, 32, 32)
    torch.testing.assert_close(back[..., 5:19, 5:19], images[..., 5:19, 5:19], atol=1e-5, rtol=1e-4)
    assert float(back[..., 21:, :].abs().max()) == 0


def test_a_cropped_target_sees_the_square_alone() -> None:
    prepare = Preparation(TargetConfig(size=16, channels=1, crop=1.0))
    images = torch.rand(1, 1, 32, 32, requires_grad=True)
    shown = prepare(images, box())
    assert shown.shape == (1, 1, 16, 16)
    shown.sum().backward()
    assert images.grad is not None
    seen = images.grad.abs() > 1e-6
    assert bool(seen[..., 5:19, 5:19].all())
    assert not bool(seen[..., 22:, :].any())


def test_a_cut_may_be_scaled_for_training() -> None:
    images = torch.rand(2, 1, 32, 32)
    wider = Preparation(TargetConfig(size=16, channels=1, crop=1.5))(images, box(2))
    torch.testing.assert_close(Preparation(TargetConfig(size=16, channels=1, crop=1.0))(images, box(2), 1.5), wider)


def test_a_cropped_target_reads_its_own_segmenter_and_says_so_in_its_configuration() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2))
    made = ModuleTarget(
        network, TargetConfig(positive=("covid",), size=16, crop=1.0, channels=1), segmenter=lambda images: box(len(images))
    )
    images = torch.rand(3, 1, 32, 32)
    assert made.uses_lungs
    torch.testing.assert_close(made.logits(images), made.logits(images, box(3)))
    assert (made.config.crop, made.config.lungs_only) == (1.0, False)
