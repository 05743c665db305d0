"""Patients of whom everything is known: even lungs under a layer whose thickness is known, and a generator that reads it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from gan_explain.data import Dataset
from gan_explain.data.dataset import Compact, Memory, compact
from gan_explain.lungs import LungFrame, support
from gan_explain.nets.layers import unit_strength
from gan_explain.optics import bounded, compose
from gan_explain.types import Record

SIZE, GRID = 64, 64
GROUND = 0.3  # brightness of every structure


def two_lungs(images: Tensor) -> Tensor:
    mask = torch.zeros_like(images)
    mask[..., 12:52, 8:28] = 1
    mask[..., 12:52, 36:56] = 1
    return mask


class KnownGenerator:
    """Reads the thickness that lies on structures of brightness GROUND, and draws one soft spot in each lung; a code's first
    entry says how far down."""

    code_dim, resolution, labels = 4, SIZE, ("covid",)

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        tau = torch.log((1 - GROUND) / (1 - images).clamp(min=1e-4)).clamp(min=0)
        return bounded(tau * (support(lungs) > 0), images)

    def encode(self, tau: Tensor, lungs: Tensor) -> Tensor:
        maps = LungFrame(lungs, GRID).to_canonical(tau)
        rows = torch.linspace(-1, 1, maps.shape[-2]).view(1, 1, -1, 1)
        down = (maps * rows).sum((1, 2, 3)) / maps.sum((1, 2, 3)).clamp(min=1e-6)
        return unit_strength(torch.stack([down, torch.ones_like(down), 0 * down, 0 * down], 1))

    def layer(self, codes: Tensor, lungs: Tensor) -> Tensor:
        strength = codes.square().mean(1).sqrt().view(-1, 1, 1, 1)
        down = (codes[:, 0] / strength.flatten().clamp(min=1e-6)).view(-1, 1, 1, 1)
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 24), indexing="ij")
        spot = torch.exp(-8 * ((rows - 0.4 * down) ** 2 + columns**2))  # (N, 1, 40, 24)
        frame = LungFrame(lungs, GRID)
        return frame.to_image((0.6 * strength * spot).expand(-1, 2, -1, -1), (lungs.shape[-2], lungs.shape[-1]))

    def move(self, tau: Tensor, lungs: Tensor, others: Tensor) -> Tensor:
        return LungFrame(others, GRID).to_image(LungFrame(lungs, GRID).to_canonical(tau), (others.shape[-2], others.shape[-1]))

    def prior_noise(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.code_dim, generator=generator)

    def from_noise(self, noise: Tensor, label: str) -> Tensor:
        return unit_strength(noise)

    def prior(self, n: int, generator: torch.Generator, label: str = "covid") -> Tensor:
        return self.from_noise(self.prior_noise(n, generator), label)


def patient(record: Record, size: int) -> Compact:
    """An even chest; those with covid have a layer of the prior on it, of a strength of their own."""
    i = int(record.extra["index"])
    image = torch.full((1, 1, size, size), GROUND)
    if record.label == "covid":
        generator = KnownGenerator()
        tau = generator.layer(severity(i) * generator.prior(1, torch.Generator().manual_seed(i)), two_lungs(image))
        image = compose(image, tau)
    return compact(image[0], severity=severity(i) if record.label == "covid" else 0.0)


def severity(i: int) -> float:
    return 0.5 + i // 2 % 6 / 6


def patients(count: int) -> Dataset:
    """Half of them normal, half with covid, in sources a and b by turns of four."""
    labels = ("normal", "covid")
    records = [
        Record(f"{i}.png", labels[i % 2], f"patient {i}", "test", "ab"[i // 2 % 2], extra={"index": str(i)}) for i in range(count)
    ]
    return Dataset(Path("known"), records, Memory(patient, SIZE))


@pytest.fixture(scope="module")
def known() -> SimpleNamespace:
    return SimpleNamespace(generator=KnownGenerator(), lungs=two_lungs, patients=patients, size=SIZE, ground=GROUND)
