"""Training synthetic patients: what they are trained on, and that both stages come closer to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig
from gan_explain.nets.load import load_synthesis
from gan_explain.nets.synthesis import LOW, SynthesisConfig
from gan_explain.optics import bounded, take_off
from gan_explain.pixels import resize
from gan_explain.train.gan.synthesis import StageObjective, SynthesisTrainer, SynthesisTraining, structures, train_synthesis
from gan_explain.types import DataError

NETWORK = SynthesisConfig(resolution=64, z_dim=4, low_width=8, width=16)
BRIEF = SynthesisTraining(steps=2, batch_size=2, low_batch=4, low_steps=1, width=8)


class Healer:
    """Reads the same thin layer everywhere."""

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        return bounded(0.1 * lungs, images)


def test_structures_are_the_normals_and_the_healed(phantoms: Dataset) -> None:
    def of(label: str) -> Tensor:
        return phantoms.where(lambda record: record.label == label).batch().images

    assert torch.equal(structures(phantoms), of("normal"))
    both = structures(phantoms, Healer(), torch.ones_like)  # type: ignore[arg-type]
    ill = of("covid")
    assert torch.equal(both, torch.cat([of("normal"), take_off(ill, bounded(torch.full_like(ill, 0.1), ill))]))


def test_too_few_negatives(phantoms: Dataset) -> None:
    with pytest.raises(DataError, match="more than 4 negatives .* got 4"):
        SynthesisTrainer(torch.rand(4, 1, 64, 64), NETWORK, BRIEF)


def test_both_stages_start_from_the_data_and_step(tmp_path: Path) -> None:
    real = torch.rand(12, 1, 64, 64)
    trainer = SynthesisTrainer(real, NETWORK, BRIEF)
    codes = trainer.network.encode(real)
    torch.testing.assert_close(codes.var(0), torch.ones(4), atol=1e-3, rtol=0)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    terms = trainer.step(0)
    assert terms.keys() == {
        f"{stage}_{term}" for stage in ("anatomy", "detail") for term in ("adversarial", "pixels", "range", "discriminator", "r1")
    }
    assert all(torch.isfinite(value) for value in terms.values())
    changed = {key.split(".")[0] for key, value in trainer.network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"anatomy", "detail"}
    for key in ("anatomy.encoder", "anatomy.centre"):  # the codes of images do not drift
        assert torch.equal(trainer.network.state_dict()[key], before[key])
    assert "anatomy_r1" not in trainer.step(1)


def test_the_pixel_term_holds_the_first_outputs_to_their_images() -> None:
    judge = Discriminator(DiscriminatorConfig(resolution=32, width=8))
    objective = StageObjective(nn.Identity(), judge, "stage", pixels=10.0, adversarial=0.5)
    inputs = torch.rand(4, 1, 32, 32)
    exact, fake = objective(inputs, inputs[:2], seed=0)
    assert exact["stage_pixels"].item() == 0
    assert exact["stage_range"].item() == 0
    assert torch.equal(fake, inputs)
    off = objective(inputs, inputs[:2] + 0.25, seed=0)[0]
    assert off["stage_pixels"].item() == pytest.approx(2.5, rel=1e-4)
    outside = objective(inputs + 1, inputs[:2], seed=0)[0]
    assert outside["stage_range"].item() > 1
    assert not any(parameter is own for parameter in judge.parameters() for own in objective.parameters())


def test_training_brings_codes_closer_to_their_images(phantoms: Dataset, tmp_path: Path) -> None:
    real = resize(structures(phantoms), 64)
    config = SynthesisTraining(steps=20, batch_size=2, low_batch=8, low_steps=1, width=8, ema=0.5, r1_every=100)
    fresh = SynthesisTrainer(real, NETWORK, config).network

    def error(network: nn.Module) -> float:
        with torch.no_grad():
            return (resize(network(network.encode(real)), LOW) - resize(real, LOW)).abs().mean().item()  # type: ignore[operator]

    train_synthesis(real, tmp_path / "s", NETWORK, config)
    assert error(load_synthesis(tmp_path / "s")) < 0.9 * error(fresh)
