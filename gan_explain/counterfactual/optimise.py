"""medXGAN's encoding (Dravid et al., CVPRW 2022, arXiv 2204.05376): Adam on (z1, z2), a baseline for amortised reading."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_explain.counterfactual.synthetic import StructureNetwork
from gan_explain.optics import compose
from gan_explain.types import Generator

RATE, START = 0.05, 0.1  # of Adam; the first codes are so much of a draw


def optimise(
    network: StructureNetwork, generator: Generator, image: Tensor, lungs: Tensor, steps: int = 1000, seed: int = 0
) -> tuple[Tensor, Tensor, list[float]]:
    """Match one image by its structure and its layer, here in L2: image and lungs (1, 1, H, W) at the structure generator's size
    -> z1 (1, z_dim), z2 (1, d), and the loss at every step. Slow, and only as sharp as the structure generator."""
    random = torch.Generator().manual_seed(seed)
    z1 = (START * network.sample(1, random)).to(image).requires_grad_(True)
    z2 = (START * generator.prior_noise(1, random)).to(image).requires_grad_(True)
    optimizer = torch.optim.Adam([z1, z2], RATE)
    history = []
    for _ in range(steps):
        loss = F.mse_loss(compose(network(z1), generator.layer(z2, lungs)), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return z1.detach(), z2.detach(), history
