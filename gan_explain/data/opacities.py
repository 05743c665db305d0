"""Rendered disease: layers of known thickness over lungs, from faint haze to dense consolidation, to teach a reader with.

A layer is made of up to three patches and, at times, haze of whole lungs. A patch is A sigmoid((f - q) / w): f a Gaussian random
field of a drawn correlation length plus a drawn leaning (to the base, the outer border, one side), q the threshold that leaves a
drawn share of the lungs, w from sharp to soft. So places, sizes, edges and outlines vary on their own. The family is wide on
purpose: a reader learns what it is shown of, and real disease is wider than any renderer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.data.augment import similarity
from gan_explain.lungs import enlarge, lung_coordinates, shrink, support
from gan_explain.pixels import gaussian_blur


@dataclass(frozen=True)
class Opacities:
    """Ranges that are drawn from; shares are chances. Thickness is that of the densest part of a patch."""

    empty: float = 0.25  # share of layers with nothing on them
    patches: int = 3  # at most
    faint: tuple[float, float] = (0.08, 0.5)  # thickness of ground glass
    dense: tuple[float, float] = (0.5, 1.8)  # thickness of consolidation
    consolidated: float = 0.3  # share of patches that are dense
    haze: tuple[float, float] = (0.05, 0.7)  # thickness of haze over whole lungs
    hazy: float = 0.3  # share of layers with it
    area: tuple[float, float] = (0.03, 0.7)  # share of the lungs that a patch covers
    length: tuple[float, float] = (1 / 32, 1 / 5)  # correlation length of a patch's field, of the side
    edge: tuple[float, float] = (0.15, 1.2)  # softness w, in deviations of the field
    one_sided: float = 0.4  # share of patches in one lung alone
    textured: float = 0.4  # share of layers with a fine texture
    texture: float = 0.3  # its relative depth, at most


def draw_opacities(lungs: Tensor, grid: int, random: torch.Generator, ranges: Opacities = Opacities()) -> Tensor:
    """Lungs (N, 1, H, W) in {0, 1} -> layers tau (N, 1, grid, grid) >= 0, soft at the border of the lungs as a reader's are.

    Numbers are drawn on the device of `random`.
    """
    n, device = len(lungs), lungs.device
    inside = shrink(lungs, grid)
    where = lung_coordinates(lungs, grid)  # (N, 2, g, g): down, across

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(shape, generator=random, device=random.device)).to(device)

    def spread(low: float, high: float, *shape: int) -> Tensor:
        """Evenly in the logarithm."""
        return (low * (high / low) ** torch.rand(shape, generator=random, device=random.device)).to(device)

    def chance(share: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=random, device=random.device) < share).to(device, torch.float32)

    k = ranges.patches
    noise = torch.randn((n, k + 1, grid, grid), generator=random, device=random.device).to(device)
    fields = _fields(noise, spread(*ranges.length, n, k + 1) * grid)
    side = where[:, 1:].sign() * uniform(-1, 1, n, 1, 1, 1).sign()  # (N, 1, g, g): one lung positive
    lean = uniform(-0.5, 1.2, n, k, 1, 1) * where[:, :1] + uniform(-0.4, 0.8, n, k, 1, 1) * where[:, 1:].abs()
    lean = lean + 4 * chance(ranges.one_sided, n, k, 1, 1) * side
    f = fields[:, :k] + uniform(0, 1, n, k, 1, 1) * lean
    threshold = _quantile(f, inside, 1 - spread(*ranges.area, n, k))
    w = spread(*ranges.edge, n, k, 1, 1)
    dense = chance(ranges.consolidated, n, k, 1, 1)
    thickness = dense * uniform(*ranges.dense, n, k, 1, 1) + (1 - dense) * spread(*ranges.faint, n, k, 1, 1)
    count = torch.randint(0, k + 1, (n,), generator=random, device=random.device).to(device)
    shown = (torch.arange(k, device=device) < count[:, None]).float()[:, :, None, None]
    patches = thickness * shown * torch.sigmoid((f - threshold) / w.clamp(min=1e-3))
    hazy = torch.maximum(chance(ranges.hazy, n, 1, 1, 1), (count == 0).float().view(-1, 1, 1, 1))
    haze = (
        hazy * spread(*ranges.haze, n, 1, 1, 1) * (1 + 0.4 * fields[:, k:] + 0.4 * uniform(-1, 1, n, 1, 1, 1) * side).clamp(min=0)
    )
    tau = patches.pow(3).sum(1, keepdim=True).clamp(min=1e-12).pow(1 / 3) + haze  # overlapping patches do not add up
    full = 1 - chance(ranges.empty, n, 1, 1, 1)
    return gaussian_blur(full * (tau - 1e-4).clamp(min=0), 0.5 * grid / 64) * support(inside)


def textured(tau: Tensor, size: tuple[int, int], random: torch.Generator, ranges: Opacities = Opacities()) -> Tensor:
    """Layers (N, 1, g, g) enlarged to (N, 1, H, W), some with a texture finer than the grid, which leaves its means about as they
    are: vessels and bronchi in a consolidation, reticulation in haze."""
    n, device = len(tau), tau.device
    large = enlarge(tau, size)
    deep, some, fineness = (torch.rand((n, 1, 1, 1), generator=random, device=random.device).to(device) for _ in range(3))
    fine = torch.randn((n, 1, *size), generator=random, device=random.device).to(device)
    fine = gaussian_blur(fine, (0.6 + 1.4 * float(fineness[0])) * size[0] / 256)
    depth = ranges.texture * deep * (some < ranges.textured)
    return large * (1 + depth * fine / fine.std().clamp(min=1e-6)).clamp(min=0)


def _fields(noise: Tensor, length: Tensor) -> Tensor:
    """White noise (N, K, g, g) -> Gaussian fields of unit deviation with correlation lengths (N, K) in cells, by the spectrum."""
    g = noise.shape[-1]
    rows = torch.fft.fftfreq(g, device=noise.device)[:, None]
    columns = torch.fft.rfftfreq(g, device=noise.device)[None]
    square = rows.square() + columns.square()
    kernel = torch.exp(-2 * (torch.pi * length[..., None, None]).square() * square / 2)
    field: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) * kernel, s=(g, g))
    return field / field.std((2, 3), keepdim=True).clamp(min=1e-6)


def _quantile(values: Tensor, inside: Tensor, share: Tensor) -> Tensor:
    """The value below which a share (N, K) of the lungs lies: values (N, K, g, g), inside (N, 1, g, g) -> (N, K, 1, 1)."""
    mask = (inside > 0.5).expand_as(values).flatten(2)
    count = mask.sum(2)
    ordered = torch.where(mask, values.flatten(2), torch.inf).sort(dim=2).values
    at = (share * (count - 1)).round().long().clamp(min=0)
    found = ordered.gather(2, at[..., None])
    return torch.where(torch.isfinite(found), found, 0.0)[..., None]


@dataclass(frozen=True)
class Tones:
    """How differently the same chest may be exposed and processed: ranges of gamma, S-curve, unsharp mask, blur and noise."""

    gamma: float = 0.4  # exponent exp(+-gamma)
    curve: float = 3.0  # steepness of a sigmoid curve, at most
    sharpen: float = 1.0  # weight of the unsharp mask, at most
    blur: float = 1.2  # pixels at 256 px
    noise: float = 0.02


def draw_tones(images: Tensor, random: torch.Generator, tones: Tones = Tones()) -> Tensor:
    """Images (N, 1, H, W) in [0, 1], each with a tone of its own; blur and sharpening are one for the batch."""
    n, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand((n, 1, 1, 1), generator=random, device=random.device)).to(device)

    x = images.clamp(1e-4, 1) ** uniform(-tones.gamma, tones.gamma).exp()
    k, middle = uniform(0.1, tones.curve), uniform(0.35, 0.65)
    low, high = torch.sigmoid(-k * middle), torch.sigmoid(k * (1 - middle))
    x = (torch.sigmoid(k * (x - middle)) - low) / (high - low)
    kind = float(torch.rand((), generator=random, device=random.device))
    sigma = images.shape[-1] / 256 * (0.3 + tones.blur * float(torch.rand((), generator=random, device=random.device)))
    if kind < 0.3:
        x = gaussian_blur(x, sigma)
    elif kind < 0.6:
        x = x + uniform(0, tones.sharpen) * (x - gaussian_blur(x, 2 * sigma))
    x = x + uniform(0, tones.noise) * torch.randn(x.shape, generator=random, device=random.device).to(device)
    return x.clamp(0, 1)


def move(
    images: Tensor, masks: Tensor, random: torch.Generator, rotate: float = 7, scale: float = 0.12, shift: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Images and masks (N, 1, H, W), each turned, scaled and shifted on its own; borders are continued."""
    n = len(images)

    def uniform(half: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=random, device=random.device) * 2 - 1) * half

    angle, size, offset = uniform(rotate, n).deg2rad(), 1 + uniform(scale, n), uniform(2 * shift, n, 2)
    where = F.affine_grid(similarity(angle, size, offset).to(images), list(images.shape), align_corners=False)
    images = F.grid_sample(images, where, padding_mode="border", align_corners=False).clamp(0, 1)
    return images, F.grid_sample(masks, where, mode="nearest", padding_mode="zeros", align_corners=False)
