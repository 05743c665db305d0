"""The joint objective of CXR-Net, term by term, and a short training through train_target."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gan_explain.data import Dataset
from gan_explain.data.augment import Ranges
from gan_explain.files.checkpoints import load_part
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.cxrnet import CxrNet, CxrNetConfig, mixture
from gan_explain.targets import Preparation, TargetConfig, target_from_part
from gan_explain.train.cxrnet import CxrNetObjective, EvidenceTerms, still_shown, variation
from gan_explain.train.objective import Task
from gan_explain.train.options import usual
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.target import train_target

SIDE = 32
CLASSES = ("normal", "covid")
PREPARE = Preparation(TargetConfig(size=SIDE, channels=1, mean=(0.5,), std=(0.25,)))
TINY = CxrNetConfig(width=4, second_width=4, decoder_widths=(4, 4, 4), dropout=0.0)
STILL = EvidenceTerms(swapped=0.0, mixup=0.0, shared=1.0)


def made(terms: EvidenceTerms = STILL) -> CxrNetObjective:
    return CxrNetObjective(CxrNet(TINY), PREPARE, Task(CLASSES), terms=terms)


def made_as(other: CxrNetObjective) -> CxrNetObjective:
    """One with the same network and every term."""
    return CxrNetObjective(other.network, PREPARE, Task(CLASSES), terms=STILL)


def learning(network: CxrNetObjective) -> set[str]:
    """The parts of the network that a gradient has reached."""
    return {name.partition(".")[0] for name, p in network.network.named_parameters() if p.grad is not None and p.grad.any()}


def test_variation_and_still_shown_by_hand() -> None:
    step = torch.zeros(1, 2, 4, 4)
    step[:, 0, :, 2:] = 1.0  # one edge of four pixels in the first map: 4 of 12 steps to the right
    assert variation(step).item() == pytest.approx(4 / 12)
    p = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.6, 0.3]])
    truth = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    expected = -(math.log(0.2) + 0.5 * math.log(0.4) + 0.5 * math.log(0.7)) / 2
    assert still_shown(p.log() + 3, truth).item() == pytest.approx(expected, rel=1e-5)
    assert still_shown(torch.tensor([[-20.0, 20.0]]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0, abs=1e-6)


def test_each_term_has_its_weight(phantoms: Dataset) -> None:
    batch = phantoms.batch(range(4))
    network = made().eval()
    plain = network(batch.images, batch.lungs, batch)
    x = PREPARE(batch.images)
    first, maps = network.network.look(x)
    second = network.network.through(x, mixture(maps, first))
    truth = torch.tensor([CLASSES.index(label) for label in batch.labels])
    assert plain["first"].item() == pytest.approx(F.cross_entropy(first, truth).item(), rel=1e-5)
    assert plain["second"].item() == pytest.approx(F.cross_entropy(second, truth).item(), rel=1e-5)
    assert plain["area"].item() == pytest.approx(0.1 * 2 * maps.mean().item(), rel=1e-5)
    network.terms = replace(STILL, second=2.0, area=0.2, variation=0.0, dropped=0.0)
    other = network(batch.images, batch.lungs, batch)
    assert set(other) == set(plain) - {"dropped"}
    assert other["second"].item() == pytest.approx(2 * plain["second"].item(), rel=1e-5)
    assert other["area"].item() == pytest.approx(2 * plain["area"].item(), rel=1e-5)
    assert other["variation"].item() == 0


def test_the_map_learns_by_what_it_drops_and_the_encoder_does_not(phantoms: Dataset) -> None:
    batch = phantoms.batch(range(4))
    for shared, expected in ((1.0, {"first", "decoder"}), (0.0, {"decoder"})):
        network = made(replace(STILL, shared=shared))
        network(batch.images, batch.lungs, batch)["dropped"].backward()
        assert learning(network) == expected


def test_another_images_map_teaches_the_second_encoder_alone(phantoms: Dataset) -> None:
    batch = phantoms.batch(range(4))
    network = made(replace(STILL, swapped=1.0))
    network(batch.images, batch.lungs, batch)["second"].backward()
    assert learning(network) == {"second"}


def test_the_first_encoder_may_learn_alone(phantoms: Dataset) -> None:
    batch = phantoms.batch(range(4))
    network = made(replace(STILL, second=0.0, area=0.0, variation=0.0, dropped=0.0))
    terms = network(batch.images, batch.lungs, batch)
    assert terms["first"].item() == pytest.approx(made_as(network)(batch.images, batch.lungs, batch)["first"].item(), rel=1e-5)
    assert set(terms) == {"first"}
    terms["first"].backward()
    assert learning(network) == {"first"}


def test_mixing_is_linear_and_keeps_the_sum_of_the_labels() -> None:
    network = made(replace(STILL, mixup=1.0))
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(-1, 1, 2, 2)
    truth = F.one_hot(torch.arange(4), 4).float()
    mixed, labels = network.mixed(x, truth)
    assert torch.allclose(labels.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed[:, 0, 0, 0], labels @ torch.arange(4.0))
    assert torch.equal(made().mixed(x, truth)[0], x)


def test_another_network_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a CxrNet, got SmallResNet"):
        CxrNetObjective(build(ClassifierConfig()), PREPARE, Task(CLASSES))


def test_training_lowers_the_losses_and_empties_the_map(phantoms: Dataset) -> None:
    config = SupervisedTraining(steps=60, batch_size=8, learning_rate=0.02, ema=0.5, ranges=Ranges(0, 0, 0, 0, 0, 0, 0))
    trainer = SupervisedTrainer(made(replace(STILL, area=1.0)), phantoms, [""] * len(phantoms), config)
    found = [trainer.step(step) for step in range(60)]
    for name in ("first", "second", "area"):
        early, late = (sum(float(each[name]) for each in part) for part in (found[:5], found[-5:]))
        assert late < 0.8 * early, name


def test_a_trained_one_is_an_ordinary_target(phantoms: Dataset, tmp_path: Path) -> None:
    options, training = usual("cxrnet")
    options = replace(options, size=SIDE, patience=2)
    training = replace(training, steps=2, batch_size=4, save_every=1)
    trained = train_target(phantoms, None, tmp_path / "t", options, training)
    back = target_from_part(load_part(tmp_path / "t", "target"))
    assert isinstance(back.network, CxrNet)
    images = phantoms.batch(range(3)).images
    torch.testing.assert_close(back.logits(images), trained.logits(images), atol=2e-2, rtol=2e-2)


def test_the_decoder_learns_alone_at_first(phantoms: Dataset, tmp_path: Path) -> None:
    options, training = usual("cxrnet")
    options = replace(options, size=SIDE, evidence=replace(options.evidence, mixup=0.0))
    still = replace(training, steps=2, batch_size=4, freeze_steps=2, ema=0.0)
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in build(ClassifierConfig(arch="cxrnet", classes=2)).state_dict().items()}
    torch.manual_seed(0)
    after = train_target(phantoms, None, tmp_path / "t", options, still).network.state_dict()
    moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder"}


def test_one_encoder_reads_twice() -> None:
    network = CxrNet(CxrNetConfig(encoder="efficientnet_lite0", dropout=0.0)).eval()
    assert network.second is None
    x = torch.randn(2, 1, 64, 64)
    first, maps = network.look(x)
    torch.testing.assert_close(network.through(x, torch.ones_like(x)), first)
    torch.testing.assert_close(network(x), (first + network.through(x, mixture(maps, first))) / 2)
    kept = torch.full_like(x, 0.5, requires_grad=True)
    network.held(x, kept).sum().backward()
    assert kept.grad is not None
    assert kept.grad.any()
    assert all(p.grad is None for p in network.parameters())
