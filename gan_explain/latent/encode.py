"""From a radiograph to (structure, code): amortised, refined, or by medXGAN's optimisation as the baseline that it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.nets.synthesis import StructureGenerator
from gan_explain.optics import compose
from gan_explain.types import Generator, Removal


def refine(generator: Generator, image: Tensor, structure: Tensor, code: Tensor, lungs: Tensor, steps: int = 50) -> Tensor:
    """Improve an encoded code by gradient: minimise L1 of the composed image to `image` over the code alone (Adam).

    image, structure, lungs (1, 1, H, W), code (1, d) -> (1, d); never worse than the code given.
    """
    best, least = code, float("inf")
    current = code.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([current], 0.05)
    for _ in range(steps + 1):
        loss = F.l1_loss(compose(structure, generator.layer(structure, current, lungs)), image)
        if loss.item() < least:
            best, least = current.detach().clone(), loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best


def optimise(
    synthesis: StructureGenerator, generator: Generator, image: Tensor, lungs: Tensor, steps: int = 1000, seed: int = 0
) -> tuple[Tensor, Tensor, list[float]]:
    """medXGAN's encoding (Dravid et al., CVPRW 2022, arXiv 2204.05376): Adam on (z1, z2) to match one image, here in L2.

    image, lungs (1, 1, H, W) -> z1 (1, z_dim), code (1, d), the loss at every step. A baseline: slow, and only as sharp as the
    structure generator.
    """
    random = torch.Generator().manual_seed(seed)
    z1 = (0.1 * torch.randn(1, synthesis.config.z_dim, generator=random)).to(image).requires_grad_(True)
    z2 = (0.1 * torch.randn(1, generator.code_dim, generator=random)).to(image).requires_grad_(True)
    optimizer = torch.optim.Adam([z1, z2], 0.05)
    history = []
    for _ in range(steps):
        structure = synthesis(z1)
        loss = F.mse_loss(compose(structure, generator.layer(structure, z2, lungs)), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return z1.detach(), z2.detach(), history


@torch.no_grad()
def fitted_strength(generator: Generator, removal: Removal, code: Tensor, lungs: Tensor) -> Tensor:
    """The strength s >= 0 at which the layer of a code's direction u comes closest to what was taken off a radiograph -> (N,).

    s = <tau_found, tau(S, u)> / <tau(S, u), tau(S, u)> over the lungs: least squares in thickness, in closed form (a layer is
    linear in strength). The encoder's own length |c| / sqrt(d) says little of one radiograph (codes are pulled to one length);
    this one is 0 where nothing was taken off. removal and lungs (N, 1, H, W), code (N, d); NaN where the layer is empty.
    """
    length = code.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)
    layer = generator.layer(removal.structure, code / length, lungs)
    common, own = ((each * layer * lungs).flatten(1).sum(1) for each in (removal.tau, layer))
    return torch.where(own > 0, (common / own.clamp(min=1e-12)).clamp(min=0), torch.nan)
