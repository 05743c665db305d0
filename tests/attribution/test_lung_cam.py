"""Lung-cropped CAM: the class activation map where that is defined, nothing outside the lungs, the truth in its caption."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.attribution import GradCam
from gan_explain.attribution.lung_cam import LungCam, lungs_of
from gan_explain.nets.multi_unet import MultiUNet
from gan_explain.nets.segmenter import LungSegmenter
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import TargetError

SIZE = 32
CLASSES = ("normal", "covid")


class Bright(nn.Module):
    """One map, relu(x), as it is; y = z_1 - z_0 = 16 mean(A): Grad-CAM is 16 A / HW."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.convolution.weight)

    def forward(self, x: Tensor) -> Tensor:
        z = 16 * self.convolution(x).relu().mean((1, 2, 3))
        return torch.stack([torch.zeros_like(z), z], 1)


def bright(**options: object) -> ModuleTarget:
    own = {key: options.pop(key) for key in ("segmenter",) if key in options}
    settings = {"classes": CLASSES, "positive": ("covid",), "size": SIZE, "channels": 1} | options
    return ModuleTarget(Bright(), TargetConfig.model_validate(settings), **own)  # type: ignore[arg-type]


def two_sided(left: float, right: float) -> Tensor:
    image = torch.full((1, 1, SIZE, SIZE), left)
    image[..., SIZE // 2 :] = right
    return image


def left_half(count: int = 1) -> Tensor:
    return two_sided(1.0, 0.0).expand(count, -1, -1, -1)


def multi(bias: float = 0.0) -> ModuleTarget:
    """A multi-output U-Net with lungs where its logits happen to lie above `-bias`."""
    net = MultiUNet(3, widths=(4, 8))
    nn.init.constant_(net.unet.head.bias, bias)  # type: ignore[arg-type]
    classes = ("normal", "pneumonia", "covid")
    return ModuleTarget(net, TargetConfig(classes=classes, positive=("covid",), size=SIZE, channels=1, mean=(0.5,), std=(0.25,)))


def test_it_is_the_class_activation_map_cropped_to_the_networks_own_lungs() -> None:
    target, images = multi(), torch.rand(3, 1, SIZE, SIZE)
    net = target.network
    assert isinstance(net, MultiUNet)
    weight = net.head[-1].weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        features = net.unet.encode(2 * images - 1)[-1]
        p = target.logits(images).softmax(1)
    share = p[:, :2] / p[:, :2].sum(1, keepdim=True)  # of the log-odds: d/dz_k = -p_k / (1 - p_covid) for the others
    mixed = weight[2] - share @ weight[:2]  # (N, C)
    cam = torch.einsum("nc,nchw->nhw", mixed, features)[:, None] / features[0, 0].numel()
    cam = F.interpolate(cam.clamp(min=0), (SIZE, SIZE), mode="bilinear", align_corners=False)
    lungs = LungSegmenter(net.unet, SIZE)(images)
    assert 0.05 < float(lungs.mean()) < 0.95
    heat = LungCam().attribute(images, target)
    torch.testing.assert_close(heat, cam * lungs, rtol=1e-4, atol=1e-7)
    assert float(heat.sum()) > 0


def test_its_own_lungs_count_whatever_is_given() -> None:
    images = torch.rand(2, 1, SIZE, SIZE)
    for bias, inside in ((20.0, 1.0), (-20.0, 0.0)):
        lungs, whose = lungs_of(images, multi(bias), left_half(2))
        assert whose == "its own lungs"
        assert bool((lungs == inside).all())
    assert bool((LungCam().attribute(images, multi(-20.0), left_half(2)) == 0).all())
    assert torch.equal(LungCam().attribute(images, whole := multi(20.0)), GradCam().attribute(images, whole))


def test_other_networks_are_cropped_to_the_lungs_given() -> None:
    target, images = bright(), torch.rand(2, 1, SIZE, SIZE)
    heat = LungCam().attribute(images, target, left_half(2))
    assert torch.equal(heat, GradCam().attribute(images, target) * left_half(2))
    assert bool((heat[..., SIZE // 2 :] == 0).all())
    assert bool((heat[..., : SIZE // 2] > 0).any())


def test_the_mask_is_no_part_of_a_whole_image_targets_answer() -> None:
    images = torch.rand(1, 1, SIZE, SIZE)
    inside = LungCam().attribute(images, bright(), left_half())[..., : SIZE // 2]
    assert torch.equal(inside, LungCam().attribute(images, bright(), torch.ones_like(images))[..., : SIZE // 2])


def test_a_lungs_only_target_has_a_segmenter() -> None:
    images = torch.rand(2, 1, SIZE, SIZE)
    target = bright(lungs_only=True, segmenter=lambda images: left_half(len(images)))
    heat = LungCam().attribute(images, target)
    assert torch.equal(heat, LungCam().attribute(images, target, left_half(2)))
    assert bool((heat[..., SIZE // 2 :] == 0).all())


def test_a_segmenter_reads_the_lungs_where_none_are_given() -> None:
    images = torch.rand(2, 1, SIZE, SIZE)
    method = LungCam(segmenter=lambda images: left_half(len(images)))
    assert torch.equal(method.attribute(images, bright()), LungCam().attribute(images, bright(), left_half(2)))


def test_without_lungs_there_is_no_map() -> None:
    for ask in (LungCam().attribute, LungCam().note):
        with pytest.raises(TargetError, match="expected a lung mask"):
            ask(torch.rand(1, 1, SIZE, SIZE), bright())


@pytest.mark.parametrize(
    ("left", "right", "says"), [(0.2, 0.6, "75% of"), (0.5, 0.0, "0% of"), (0.0, 0.5, "100% of"), (0.0, 0.0, "no")]
)
def test_what_was_cropped_away_is_told(left: float, right: float, says: str) -> None:
    note = LungCam().note(two_sided(left, right), bright(), left_half())
    assert note.startswith(f"{says} heat" if says == "no" else f"{says} the heat cropped away")
    assert note.endswith("(lungs of a segmenter), 32 × 32 cells")


def test_the_share_is_a_mean_over_images_with_heat() -> None:
    images = torch.cat([two_sided(0.2, 0.6), two_sided(0.4, 0.4), two_sided(0.0, 0.0)])
    assert LungCam().note(images, bright(), left_half(3)).startswith("62% of the heat")  # (.75 + .5) / 2


def test_a_layer_can_be_named_and_the_caption_says_whose_lungs() -> None:
    target, images = multi(), torch.rand(1, 1, SIZE, SIZE)
    assert LungCam().note(images, target).endswith("(its own lungs), 8 × 8 cells")
    assert LungCam("unet.stem").note(images, target).endswith("16 × 16 cells")
    with pytest.raises(TargetError, match="layer 'nowhere'"):
        LungCam("nowhere").attribute(images, target)


def test_quantus_asks_without_a_mask() -> None:
    target, images = multi(), torch.rand(2, 1, SIZE, SIZE)
    assert np.array_equal(
        LungCam().as_quantus()(target, images.numpy(), np.array([2, 2])), LungCam().attribute(images, target).numpy()
    )
