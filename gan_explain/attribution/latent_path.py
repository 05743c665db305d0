"""Latent-path attribution: the response that a target gains along the disentangling generator's own path, pixel by pixel.

    A = sum over steps of dp/dx(x_mid) (x_next - x),      x_lambda = S under the layer lambda tau,  lambda from 0 to 1

with p the probability of the positive set. It is integrated gradients (Sundararajan et al., "Axiomatic Attribution for Deep
Networks", ICML 2017, arXiv 1703.01365) along a path on which every image is a radiograph, in place of the straight line from an
arbitrary baseline; complete, as that is: the map sums to p(x_1) - p(x_0). A path through an autoencoder's latent space is in Jha
et al., "Enhanced Integrated Gradients", Genome Biology 21:149, 2020. Differs: both ends belong to this image, its structure and
its diseased version, one of the two being the image itself; and A is added up over each cell of the grid on which the layer is
drawn, a quarter of the generator's resolution, and shared out among the cell's pixels by how far each of them moves: the layer
moves them together, so the sign of a single one is the noise of a gradient. The generator was trained against no target, so any
target has such a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_explain.attribution.base import Method, explained_set, register
from gan_explain.counterfactual import disentangle
from gan_explain.counterfactual.disentangle import Disentangled
from gan_explain.counterfactual.pathology import PathologyOptions, prior
from gan_explain.optics import compose
from gan_explain.targets import masks_for
from gan_explain.types import Generator, Segmenter, Target

TOLERANCE = 1e-3  # of max(|delta p|, LEAST): how far the sum of a map may be from delta p
LEAST = 0.1
FIRST, MOST = 8, 1024  # steps to begin with, and at most
CHUNK = 32  # steps halved at a time
GRID = 4  # pixels of a generator's resolution in the side of a cell of its layer


@dataclass(frozen=True)
class Paths:
    """N paths from structure to disease, x_lambda = compose(start, lambda tau); start, tau and lungs are (N, 1, H, W).

    `positive` (N,) says which images the target calls positive: the end of their path (lambda = 1) is the image itself, of the
    others its start is."""

    start: Tensor
    tau: Tensor
    lungs: Tensor
    positive: Tensor

    @property
    def end(self) -> Tensor:
        return compose(self.start, self.tau)

    def at(self, index: int, strengths: Tensor) -> Tensor:
        """Images (L, 1, H, W), float64, of one path at strengths (L,) in [0, 1]."""
        return compose(self.start[index].double(), self.tau[index].double(), strengths.view(-1, 1, 1, 1))


@dataclass(frozen=True)
class Walk:
    """One path walked: heat (1, H, W) float64, the probability at both ends, the number of steps."""

    heat: Tensor
    first: float
    last: float
    steps: int

    @property
    def residual(self) -> float:
        """How far the sum of the map is from delta p."""
        return float(self.heat.sum()) - (self.last - self.first)

    @property
    def complete(self) -> bool:
        return abs(self.residual) <= allowed(self.last - self.first)


def allowed(gained: float) -> float:
    """The residual that a complete map may have."""
    return TOLERANCE * max(abs(gained), LEAST)


class GeneratorMethod(Method):
    """What the methods on a generator's layers share: the lungs, and the path of an image.

    An image that the target calls positive is the end of its path: what was read on it is taken off, and laid on again it is the
    image. A negative is the start, and its end carries a layer of the prior, `interpolate`'s default: drawn with `seed` from
    those of `label`. Images keep their size, square or not.
    """

    uses_generator = True
    needs_target = True

    def __init__(
        self, generator: Generator | None = None, segmenter: Segmenter | None = None, *, seed: int = 0, label: str = "covid"
    ) -> None:
        self.generator, self.segmenter, self.seed, self.label = generator, segmenter, seed, label

    def parts(self, images: Tensor, lungs: Tensor | None) -> tuple[Generator, Tensor]:
        """The generator, and the lungs (N, 1, H, W) given or read by the segmenter. ValueError where either is missing."""
        if self.generator is None:
            raise ValueError(f"expected a disentangling generator for {type(self).__name__}, got none")
        if lungs is None and self.segmenter is not None:
            lungs = self.segmenter(images)
        if lungs is None:
            raise ValueError(f"expected a lung mask or a segmenter for {type(self).__name__}, got neither")
        return self.generator, lungs.to(images)

    @torch.no_grad()
    def paths(self, images: Tensor, target: Target, lungs: Tensor | None) -> Paths:
        """The paths of images (N, 1, H, W), on the 16-bit grid; lungs the same, or None. ValueError as `parts` has it."""
        generator, inside = self.parts(images, lungs)
        apart = disentangle(generator, images, inside)
        positive = target.probability(apart.image, masks_for(target, inside)) >= target.operating_point
        start, tau = apart.image.clone(), apart.layer.clone()
        for i in range(len(images)):
            if positive[i]:
                start[i] = apart.structure[i]
            else:
                one = slice(i, i + 1)
                untouched = Disentangled(start[one], start[one], tau[one], inside[one])
                tau[one] = prior(generator, target, untouched, PathologyOptions(self.seed, self.label)).layer
        return Paths(start, tau, inside, positive)


@register("latent_path")
class LatentPath(GeneratorMethod):
    """Latent-path attribution, signed, in units of probability: a map sums to what p gains from the start of the path to its end.

    Midpoint rule. Steps with the largest errors of their own are halved until the map's sum is within half of TOLERANCE, and, so
    that no errors of opposite signs pass for accuracy, all of them without signs within ten times TOLERANCE, of
    max(|delta p|, LEAST); or until there are MOST steps. `note` says what is left.
    """

    title = "latent path"
    caveat = (
        "Probability gained as the generator's layer of disease is laid on; the map sums to it. Evidence that the layer leaves "
        "as it is stays unseen."
    )
    unit = "probability a pixel"
    signed = True
    needs_gradients = True

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """images (N, 1, H, W), chosen (N, K) bool -> (N, 1, H, W). Raises TargetError without gradients."""
        paths, walks = self.walks(images, target, lungs, chosen)
        assert self.generator is not None
        gains = torch.stack([each.heat for each in walks]).float()
        return shared_out(gains, paths.end - paths.start, self.generator.resolution // GRID)

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """The way that was walked and how complete the map is, for the first image."""
        first, mask = images[:1], None if lungs is None else lungs[:1]
        paths, walks = self.walks(first, target, mask, explained_set(target, chosen, first))
        [it] = walks
        sum_ = f"{it.steps} steps, sum off by {abs(it.residual):.0e}{'' if it.complete else ': not complete'}"
        return f"{way_of(paths)}: p {it.first:.3f} to {it.last:.3f}; {sum_}"

    def walks(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> tuple[Paths, list[Walk]]:
        """The paths of images (N, 1, H, W), each walked for a set of classes, chosen (N, K) bool; the lungs are held."""
        paths = self.paths(images, target, lungs)
        return paths, [walk(paths, index, target, chosen[index]) for index in range(len(images))]


def shared_out(gains: Tensor, moved: Tensor, cells: int) -> Tensor:
    """The sum of `gains` (N, 1, H, W) over each of cells x cells squares, shared out within it in proportion to |moved| (the same
    shape): every square keeps its sum, and a pixel that does not move gets nothing. Squares where none does stay as they are."""
    height, width = gains.shape[-2:]
    rows, columns = (torch.arange(side, device=gains.device) * cells // side for side in (height, width))
    where = (rows.view(-1, 1) * cells + columns).flatten().expand(len(gains), -1)  # (N, HW): the square of each pixel

    def over_square(values: Tensor) -> Tensor:
        flat = values.flatten(1).double()
        return flat.new_zeros(len(flat), cells**2).scatter_add_(1, where, flat).gather(1, where).view_as(values)

    total = over_square(moved.abs())
    share = moved.abs().double() / total.clamp(min=1e-30)
    return torch.where(total > 0, over_square(gains) * share, gains.double()).to(gains.dtype)


def way_of(paths: Paths) -> str:
    """What the path of the first image is, for a caption."""
    return (
        "what taking the disease off takes away" if bool(paths.positive[0]) else "called negative, what an added pathology brings"
    )


def walk(paths: Paths, index: int, target: Target, chosen: Tensor) -> Walk:
    """Walk one path for the probability of a set of classes, chosen (K,) bool."""

    def probability(x: Tensor) -> Tensor:
        masks = masks_for(target, paths.lungs[index : index + 1].expand(len(x), -1, -1, -1))
        return (target.logits(x.float(), masks).double().softmax(1) * chosen).sum(1)

    def look(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Each step's heat (M, 1, H, W) and p at its middle (M,)."""
        middle = paths.at(index, (low + high) / 2).float().requires_grad_()
        with torch.enable_grad():
            p = probability(middle)
            [slope] = torch.autograd.grad(p.sum(), middle)
        return slope.double() * (paths.at(index, high) - paths.at(index, low)), p.detach()

    edges = torch.linspace(0, 1, FIRST + 1, dtype=torch.float64, device=paths.start.device)
    with torch.no_grad():
        p = probability(paths.at(index, edges))
    first, last = float(p[0]), float(p[-1])
    low, high, p_low, p_high = edges[:-1], edges[1:], p[:-1], p[1:]
    heat, p_middle = look(low, high)
    while True:
        error = heat.sum((1, 2, 3)) - (p_high - p_low)
        off, spread = float(error.sum().abs()) / allowed(last - first), float(error.abs().sum()) / allowed(last - first)
        count = min(len(error) // 4 + 1, MOST - len(error), CHUNK)
        if (off <= 0.5 and spread <= 10) or count < 1:
            break
        order = error.abs().argsort(descending=True)
        halved, kept = order[:count], order[count:]
        middle = (low[halved] + high[halved]) / 2
        new_low, new_high = torch.cat([low[halved], middle]), torch.cat([middle, high[halved]])
        new_heat, new_p = look(new_low, new_high)
        low, high = torch.cat([low[kept], new_low]), torch.cat([high[kept], new_high])
        p_low = torch.cat([p_low[kept], p_low[halved], p_middle[halved]])
        p_high = torch.cat([p_high[kept], p_middle[halved], p_high[halved]])
        heat, p_middle = torch.cat([heat[kept], new_heat]), torch.cat([p_middle[kept], new_p])
    return Walk(heat.sum(0), first, last, len(error))
