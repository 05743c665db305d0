"""What may be wrong with a radiograph: not one at all, one lung, lungs cut off, a film that is turned, mirrored or inverted.

Of 500 real radiographs none is refused; noise and print have two to four times the grain of the grainiest of them. Of 1000 the
heart is called mirrored in 0.7 %, and in 73 % of their mirror images.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.lungs import COLUMNS, ROWS, LungFrame, split_lungs
from gan_explain.pixels import gaussian_blur, resize
from gan_explain.types import DataError, Segmenter

SIDE = 128  # pixels a side at which images are judged
LEAST_LUNG, MOST_LUNG = 0.03, 0.8  # shares of the image: below it no lungs were found, above it hardly lungs
ONE_LUNG = 0.25  # of the larger lung's area: a smaller one does not count
DARKER = 0.08  # at least so much darker are lungs than what lies between them
BETTER = 0.08  # of Dice: how much better lungs must be found on a film that is turned or inverted
CUT = 0.125  # of a side of the image: lungs that touch more of it may be cut off
UPRIGHT = "upright"
SQUEEZED = 2.0  # sides beyond this ratio
GRAIN = 0.45  # share of an image's deviation that a blur of 1.5 in 256 pixels takes away: noise 0.9, print 0.7, films up to 0.25
LEAST_STRUCTURE = 0.03  # of 3631 radiographs none has less than 0.075; shades have up to 0.01
ENDS = 0.85  # share of pixels that are black or white: a drawing, or a window that leaves nothing
HEART = (0.7, 0.35, 0.25, 0.3)  # where a heart makes its lung brighter: down and outwards in it, and how far
MIRRORED = -0.3  # correlation of the difference of the lungs with a heart on its side, below which that is on the other


def doubts(label: str, image: Tensor, lungs: Tensor, segmenter: Segmenter, force: bool = False) -> tuple[str, ...]:
    """Remarks on an image in [0, 1] and its lungs in {0, 1}, (1, 1, H, W) each. DataError, naming `label`, for what is no chest
    radiograph: noise, print, a drawing, an image without lungs; `force` makes a remark of it."""
    share = float(lungs.mean())
    no_film = _no_film(image, share)
    if no_film and not force:
        raise DataError(f"{label}: expected a frontal chest radiograph, {no_film} (--force goes on)")
    small, mask = resize(image, SIDE), (resize(lungs, SIDE) > 0.5)[0, 0].cpu().numpy()
    sides = sorted(int(side.sum()) for side in split_lungs(mask))
    single = sides[0] < ONE_LUNG * max(sides[1], 1)
    faint = not single and _darker(small[0, 0].cpu().numpy(), mask) < DARKER
    height, width = image.shape[-2:]
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    shape = "wide" if width > height else "narrow"
    remarks = [
        (bool(no_film), f"this is no frontal chest radiograph: {no_film}"),
        (share > MOST_LUNG, f"lungs were found on {share:.0%} of the image: this may be no chest radiograph"),
        (single, "only one lung was found: the other may be opaque, cut off, or the view is not frontal"),
        (faint, "the lungs are hardly darker than what lies between them: they may be opaque, or this is no radiograph"),
        (max(int(edge.sum()) for edge in edges) > CUT * SIDE, "the lungs reach the border of the image: they may be cut off"),
        (
            max(height, width) > SQUEEZED * min(height, width),
            f"{width}x{height} pixels: a chest radiograph is hardly ever so {shape}",
        ),
        (
            not single and _heart(image, lungs) < MIRRORED,
            "the heart seems to be on the other side: the film may be mirrored, or the patient has a dextrocardia",
        ),
    ]
    agreement = _agreement(small, segmenter)
    own, best = agreement.pop(UPRIGHT), max(agreement, key=lambda each: agreement[each])
    turned = (f"the film does not look like an upright one: {best}",) if agreement[best] > own + BETTER else ()
    return (*(remark for holds, remark in remarks if holds), *turned)


def _no_film(image: Tensor, share: float) -> str:
    """Why an image is no chest radiograph, where lungs were found on a share of it; "" where nothing says so."""
    at = resize(image, 256)
    grain = float((at - gaussian_blur(at, 1.5)).std() / at.std().clamp(min=1e-6))
    ends = float(((at < 0.02) | (at > 0.98)).float().mean())
    faults = (
        (share < LEAST_LUNG, f"found lungs on {share:.1%} of it"),
        (grain > GRAIN, "found the grain of noise or print"),
        (ends > ENDS, f"{ends:.0%} of it are black or white"),
        (_structure(at) < LEAST_STRUCTURE, "found a smooth shade without structure"),
    )
    return next((fault for holds, fault in faults if holds), "")


def _structure(at: Tensor) -> float:
    """The share of the variance of an image (1, 1, s, s) that no polynomial of third degree in its coordinates explains."""
    small = resize(at, 64).flatten().double()
    small = small - small.mean()
    line = torch.linspace(-1, 1, 64, dtype=torch.float64, device=at.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    basis = torch.stack([(x**i * y**j).flatten() for i in range(4) for j in range(4 - i)], 1)  # (64 * 64, 10)
    explained = torch.linalg.qr(basis).Q.T @ small
    return 1 - float(explained.square().sum() / small.square().sum().clamp(min=1e-12))


def _heart(image: Tensor, lungs: Tensor) -> float:
    """In [-1, 1]: how far the lung on the right of the image is brighter where a heart is than the other, (1, 1, H, W) each."""
    small = resize(image, SIDE // 2)
    frame = LungFrame(lungs, SIDE // 2)
    left, right = frame.to_canonical(small * frame.supports.sum(1, keepdim=True))[0]
    down, out, height, width = HEART
    rows, columns = ((torch.arange(n).to(left) + 0.5) / n for n in (ROWS, COLUMNS))
    heart = torch.exp(-((rows[:, None] - down) / height).square() - ((columns - out) / width).square())
    difference = right - left
    return float(F.cosine_similarity((difference - difference.mean()).flatten(), (heart - heart.mean()).flatten(), dim=0))


def _darker(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Mean brightness between the lungs, row by row, less that in them, both (H, W). Infinite if nothing is between."""
    reached = np.logical_or.accumulate(mask, 1) & np.logical_or.accumulate(mask[:, ::-1], 1)[:, ::-1]
    between = reached & ~mask
    return float(image[between].mean() - image[mask].mean()) if between.any() else np.inf


def _agreement(small: Tensor, segmenter: Segmenter) -> dict[str, float]:
    """How well the lungs are found on an image (1, 1, SIDE, SIDE) as it is, turned and inverted.

    Lungs are well found where those of the mirrored film are theirs mirrored (Dice): a segmenter that has learned upright chests
    agrees with itself on those, and loses its way on others.
    """
    ways = {
        UPRIGHT: [small],
        "it may be turned by 90 degrees": [small.rot90(1, (2, 3)), small.rot90(3, (2, 3))],
        "it may be upside down": [small.rot90(2, (2, 3))],
        "it may be inverted": [1 - small],
    }
    shown = torch.cat([each for images in ways.values() for each in images])
    found, mirrored = segmenter(shown) > 0.5, segmenter(shown.flip(3)).flip(3) > 0.5
    both, either = (found & mirrored).sum((1, 2, 3)), found.sum((1, 2, 3)) + mirrored.sum((1, 2, 3))
    dice = (2 * both / either.clamp(min=1)).tolist()
    return {way: max(dice.pop(0) for _ in images) for way, images in ways.items()}
