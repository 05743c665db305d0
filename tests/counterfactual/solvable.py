"""A generator and a target that can be solved on paper."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gan_explain.counterfactual import Radiograph
from gan_explain.optics import headroom
from gan_explain.pixels import quantize16

SIDE = 32


class Uniform:
    """The layer of a code is ln 2 times its first number, everywhere in the lungs: strength 1 halves the darkness. It reads half
    of what could be taken off, where `reads` says so."""

    code_dim, resolution, labels = 2, SIDE, ("covid",)

    def __init__(self, reads: bool = False) -> None:
        self.reads = reads

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        return 0.5 * headroom(images) * lungs * self.reads

    def encode(self, tau: Tensor, lungs: Tensor) -> Tensor:
        return torch.ones(len(tau), 2)

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        return math.log(2) * codes[:, :1, None, None] * lungs

    def move(self, tau: Tensor, lungs: Tensor, others: Tensor) -> Tensor:
        return (tau * lungs).sum((2, 3), keepdim=True) / lungs.sum((2, 3), keepdim=True) * others

    def prior_noise(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    def from_noise(self, noise: Tensor, label: str) -> Tensor:
        return 0.5 + noise.sigmoid()

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return self.from_noise(self.prior_noise(n, generator), label)


class Brightness(nn.Module):
    """Logits of the mean brightness b: (normal, flu, covid) = (0, 20 (b - 0.6), 20 (b - 0.6))."""

    def forward(self, x: Tensor) -> Tensor:
        z = 20 * (x.mean((1, 2, 3)) - 0.6)
        return torch.stack([torch.zeros_like(z), z, z], dim=1)


def answer(brightness: float) -> float:
    """p(covid) of `Brightness`."""
    z = 20 * (brightness - 0.6)
    return math.exp(z) / (1 + 2 * math.exp(z))


def radiograph(image: Tensor, lungs: Tensor | None = None, name: str = "x") -> Radiograph:
    """An image (1, 1, H, W), by default all of it lungs."""
    return Radiograph(name, quantize16(image), torch.ones_like(image) if lungs is None else lungs, "0" * 64)


def flat(brightness: float, side: int = SIDE) -> Radiograph:
    return radiograph(torch.full((1, 1, side, side), brightness))
