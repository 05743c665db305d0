"""Parts of an evaluation: codes that stay with their patient, what is compared with what, masks that move along."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_explain.data import open_dataset
from gan_explain.evaluate.inputs import read_batches, seed_of
from gan_explain.evaluate.samples import persistence
from gan_explain.evaluate.setup import Change, Part, Setup, added, healed, read_part
from gan_explain.image import quantize16
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.metrics.persistence import shift
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.optics import compose

SIZE = 32


class LungsOnly(ConstantTarget):
    """p is the brightness inside the mask it is given, and nothing else."""

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        assert lungs is not None
        return (images * lungs).sum((1, 2, 3)) / lungs.sum((1, 2, 3))


def two_lungs(images: Tensor) -> Tensor:
    mask = torch.zeros_like(images)
    mask[..., 6:26, 4:14] = 1
    mask[..., 6:26, 18:28] = 1
    return mask


@pytest.fixture(scope="module")
def setup() -> Setup:
    torch.manual_seed(0)
    generator = Disentangler(GeneratorConfig(resolution=SIZE, width=8, code_dim=4)).requires_grad_(False).eval()
    return Setup(generator, ConstantTarget(), two_lungs)


@pytest.fixture(scope="module")
def part(setup: Setup) -> Part:
    batch = next(read_batches(open_dataset("phantom:n=6,covid=0.5", size=SIZE), two_lungs, torch.device("cpu"), 6))
    return read_part(setup, batch, torch.zeros(6))


def test_a_seed_stays_with_its_patient_and_differs_from_any_other() -> None:
    seeds = {seed_of(patient, seed) for patient in ("a", "b", "c") for seed in (0, 1)}
    assert len(seeds) == 6
    assert seed_of("a", 0) == seed_of("a", 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_code_depends_on_the_patient_and_not_on_the_batch(setup: Setup) -> None:
    together, alone = setup.codes(("a", "b")), setup.codes(("b",))
    assert torch.equal(together[1:], alone)
    assert not torch.allclose(together[0], together[1])


def test_a_negative_is_compared_with_itself(setup: Setup, part: Part) -> None:
    change = added(setup, part)
    assert torch.equal(change.reference, part.images)
    assert torch.equal(change.counterfactual, quantize16(compose(part.images, change.tau)))


def test_a_healed_positive_is_compared_with_its_reconstruction(setup: Setup, part: Part) -> None:
    change = healed(setup, part)
    assert torch.equal(change.counterfactual, quantize16(part.removal.structure))
    assert torch.equal(change.reference, quantize16(compose(change.counterfactual, change.tau)))
    assert not torch.allclose(change.reference, part.images)


def test_a_shifted_image_is_read_through_a_shifted_mask(part: Part) -> None:
    """Bright lungs on a dark ground, 2 px to the right: through the old mask p falls below p*, through the moved one it stays."""
    target = LungsOnly(operating_point=0.95, uses_lungs=True)
    bright = 0.99 * part.lungs
    seeing = Setup(ConstantTarget(), target, two_lungs)  # type: ignore[arg-type]
    found = persistence(seeing, part, Change(part.images, bright, bright), "")
    assert float(target.probability(shift(bright), part.lungs)[0]) < 0.95
    assert found["persistence.shift"].tolist() == [1.0] * len(part)
