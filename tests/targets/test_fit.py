"""What a target is shown of an image that is not square: all of it, unless its user says otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.targets import ModuleTarget, Preparation, TargetConfig

WIDE = torch.zeros(1, 1, 20, 40)
WIDE[..., 0, :] = 0.25  # the top row
WIDE[..., :, 0] = 1.0  # the column on the left


def shown(fit: str, images: Tensor = WIDE, lungs: Tensor | None = None, size: int = 40, **more: object) -> Tensor:
    config = TargetConfig.model_validate({"size": size, "channels": 1, "fit": fit, **more})
    x: Tensor = Preparation(config)(images, lungs)
    return x


def test_by_default_the_whole_image_is_squeezed() -> None:
    assert TargetConfig().fit == "squeeze"
    x = shown("squeeze")
    assert float(x[0, 0, 10, 0]) == 1.0
    assert float(x[0, 0, 0, 20]) == pytest.approx(0.25)
    assert torch.equal(x[..., 1:], torch.cat([x[..., 1:2]], 3).expand(-1, -1, -1, 39))


def test_pad_puts_black_above_and_below_and_crop_keeps_the_centre() -> None:
    x = shown("pad")
    assert float(x[..., :10, :].abs().max()) == float(x[..., 30:, :].abs().max()) == 0
    assert torch.equal(x[..., 10:30, :], WIDE)
    assert torch.equal(shown("crop", size=20), WIDE[..., 10:30])
    tall = WIDE.mT
    assert torch.equal(shown("pad", tall)[..., 10:30], tall)
    assert torch.equal(shown("crop", tall, size=20), tall[..., 10:30, :])


@pytest.mark.parametrize("crop", [0.0, 1.5])
def test_of_a_square_image_nothing_changes(crop: float) -> None:
    images, lungs = torch.rand(2, 1, 50, 50), torch.zeros(2, 1, 50, 50)
    lungs[..., 10:40, 8:44] = 1
    squeezed, *others = (shown(fit, images, lungs, crop=crop, lungs_only=True) for fit in ("squeeze", "pad", "crop"))
    assert all(torch.equal(squeezed, other) for other in others)


def test_lungs_and_their_square_follow_the_fit() -> None:
    images, lungs = torch.linspace(0, 1, 40).expand(1, 1, 20, 40), torch.zeros(1, 1, 20, 40)
    lungs[..., 5:15, 15:25] = 1
    for fit in ("pad", "crop"):
        cut = shown(fit, images, lungs, size=10, crop=1.0)
        torch.testing.assert_close(cut, images[..., 5:15, 15:25], atol=0.01, rtol=0)
    inside = shown("pad", torch.rand(1, 1, 20, 40), lungs, lungs_only=True)
    assert bool((inside[..., 15:25, 15:25] != 0).all())
    assert int((inside != 0).sum()) == 100


@pytest.mark.parametrize("crop", [0.0, 1.0])
@pytest.mark.parametrize("fit", ["squeeze", "pad", "crop"])
def test_a_map_is_laid_where_the_network_saw_it(fit: str, crop: float) -> None:
    images, lungs = torch.zeros(1, 1, 48, 80), torch.zeros(1, 1, 48, 80)
    images[..., 20:24, 44:48] = 1  # a spot off the centre
    lungs[..., 12:36, 28:52] = 1
    prepare = Preparation(TargetConfig.model_validate({"size": 48, "channels": 1, "fit": fit, "crop": crop}))
    back = prepare.laid_over(prepare(images, lungs), 48, 80, lungs)
    assert back.shape == images.shape
    row, column = divmod(int(back.argmax()), 80)
    assert row in range(20, 24)
    assert column in range(44, 48)
    ends = prepare.laid_over(torch.ones(1, 1, 6, 6), 48, 80)
    assert torch.allclose(ends, torch.ones_like(ends)) is (fit != "crop")
    if fit == "crop":
        assert float(ends[..., :16].abs().max()) == float(ends[..., 64:].abs().max()) == 0


def test_what_is_cut_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    for fit, share in (("squeeze", 0.0), ("pad", 0.0), ("crop", 1 - 664 / 1152)):
        config = TargetConfig.model_validate({"positive": ("covid",), "size": 8, "channels": 1, "fit": fit})
        target = ModuleTarget(network, config)
        assert target.prepare.unseen(1152, 664) == pytest.approx(share)
        assert target.prepare.unseen(100, 100) == 0
        for _ in range(2):
            target.logits(torch.rand(1, 1, 1152, 664))
        target.logits(torch.rand(1, 1, 40, 40))
        assert target.config.fit == fit
    assert [record.getMessage() for record in caplog.records] == [
        "the target sees the centre of an image: 42 % of this one is cut off (fit crop)"
    ]
