"""The latency benchmark on small untrained networks."""

from __future__ import annotations

import pytest
import torch

from gan_explain.bench.latency import FRAMES, latency
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.synthesis import StructureGenerator, SynthesisConfig
from gan_explain.targets import ModuleTarget


class Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3))


@pytest.mark.filterwarnings("ignore:Converting a tensor")  # of the optimisation, each step
def test_both_ways_are_timed_and_fewer_steps_are_said_to_be_fewer() -> None:
    generator = Disentangler(GeneratorConfig(resolution=32, width=8)).requires_grad_(False).eval()
    synthesis = StructureGenerator(SynthesisConfig(resolution=32, z_dim=4, width=16)).requires_grad_(False).eval()
    target = ModuleTarget(Mean(), positive=("covid",), size=32)
    image, lungs = torch.rand(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    found = latency(generator, synthesis, target, image, lungs, repeats=3, optimise_steps=2)
    assert found.frames == FRAMES == 33
    assert 0 < found.fastest <= found.transition <= found.slowest
    assert found.steps_run == 2
    assert found.extrapolated
    assert found.speedup == pytest.approx(found.optimisation * 500 / found.transition)
    assert found.as_dict()["resolution"] == 32
