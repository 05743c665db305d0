"""The latency benchmark on small untrained networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.bench.latency import FRAMES, SHIFT_FRAMES, enlarged, full_size, latency, latent_shift
from gan_explain.counterfactual import Radiograph
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.targets import ModuleTarget, TargetConfig


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))


class Even(nn.Module):
    """Structures of one brightness."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 1, generator=generator)

    def forward(self, z: Tensor) -> Tensor:
        return z.sigmoid().view(-1, 1, 1, 1).expand(-1, 1, 64, 64)


@pytest.fixture
def generator() -> Disentangler:
    config = GeneratorConfig(resolution=64, grid=32, backbone="small", width=8, layer_width=8, code_dim=8)
    return Disentangler(config).requires_grad_(False).eval()


@pytest.fixture
def radiograph() -> Radiograph:
    return Radiograph("it", torch.rand(1, 1, 64, 64), torch.ones(1, 1, 64, 64), "", {})


TARGET = ModuleTarget(Mean(), TargetConfig(positive=("covid",), size=64, channels=1))


def test_all_ways_are_timed_and_fewer_steps_are_said_to_be_fewer(generator: Disentangler, radiograph: Radiograph) -> None:
    found = latency(generator, Even(), TARGET, radiograph, repeats=3, optimise_steps=2, shift=False)
    assert found.frames == FRAMES == 33
    assert 0 < found.fastest <= found.transition <= found.slowest
    assert found.steps_run == 2
    assert found.extrapolated
    assert found.speedup == pytest.approx(found.optimisation * 500 / found.transition)
    assert found.latent_shift is None
    assert found.resolution == 64


def test_latent_shift_follows_the_gradient() -> None:
    """An autoencoder that halves and doubles, and a mean: the frames' means rise evenly."""

    class Half(nn.Module):
        def encode(self, x: Tensor) -> Tensor:
            return x / 2

        def decode(self, z: Tensor, size: torch.Size) -> Tensor:
            return 2 * z

    class Column(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3))[:, None]

    means = latent_shift(Half(), Column(), torch.rand(1, 1, 8, 8)).mean((1, 2, 3))
    assert len(means) == SHIFT_FRAMES
    torch.testing.assert_close(means.diff(), means.diff()[:1].expand(SHIFT_FRAMES - 1), rtol=1e-3, atol=1e-3)
    assert float(means[1] - means[0]) > 0


def test_a_radiograph_is_timed_at_its_own_size_with_all_that_is_written(
    generator: Disentangler, radiograph: Radiograph, tmp_path: Path
) -> None:
    large = enlarged(radiograph, 100, 80)
    assert large.image.shape == large.lungs.shape == (1, 1, 100, 80)
    made, written = full_size(generator, TARGET, large, tmp_path / "out")
    assert made > 0
    assert written > 0
    assert (tmp_path / "out" / "strip.png").is_file()
    assert list((tmp_path / "out").glob("*.gif"))
