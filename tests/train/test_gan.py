"""The GAN's objective: named finite terms, gradients that reach what they should and nothing else, and the terms by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_explain.checkpoints import load_generator
from gan_explain.data import Dataset
from gan_explain.nets.discriminator import Discriminator, DiscriminatorConfig
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.targets import ModuleTarget
from gan_explain.train import gan
from gan_explain.train.gan import (
    Cells,
    DiscriminatorObjective,
    GanTrainer,
    GanTraining,
    GeneratorObjective,
    adopt,
    cost,
    darkest,
    draw_step,
    likeness,
    smooth_patches,
    train_gan,
    variation,
)
from gan_explain.train.loop import LoopConfig
from gan_explain.train.masks import MaskedDataset
from gan_explain.types import CheckpointError, DataError, Record, TargetError

SIDE, DIM, HALF = 32, 4, 3
NETWORK = GeneratorConfig(resolution=SIDE, width=8, code_dim=DIM)
TRAINING = GanTraining(steps=4, batch_size=2 * HALF, width=8)
TERMS = {
    "to_positive", "to_negative", "adversarial", "reconstruction", "cycle", "fixed_point", "code", "kl", "sparsity", "variation",
    "residual", "diversity",
}  # fmt: skip


class Setting:
    """A generator objective and one batch."""

    def __init__(self, target: ModuleTarget, confine: str = "lungs") -> None:
        config = GeneratorConfig.model_validate({**NETWORK.model_dump(), "confine": confine})
        self.network, self.target = Disentangler(config), target
        self.judge = Discriminator(DiscriminatorConfig(resolution=SIDE, cells=2, width=8))
        self.objective = GeneratorObjective(self.network, target, self.judge, TRAINING)
        self.images = torch.rand(2 * HALF, 1, SIDE, SIDE)
        self.lungs = torch.zeros_like(self.images)
        self.lungs[..., 6:26, 4:28] = 1
        self.draws = draw_step(HALF, HALF, DIM, torch.Generator().manual_seed(0))

    def losses(self, ramp: float = 1.0) -> tuple[dict[str, Tensor], Tensor]:
        n = HALF
        cells, judged = torch.tensor([1] * n + [0] * n), torch.ones(2 * n)
        losses, fakes = self.objective(
            self.images[:n], self.images[n:], self.lungs[:n], self.lungs[n:], cells, judged, self.draws, ramp
        )
        return losses, fakes


@pytest.fixture
def setting(brightness: ModuleTarget) -> Setting:
    return Setting(brightness)


def reached(parameters: object) -> bool:
    return any(p.grad is not None and bool((p.grad != 0).any()) for p in parameters)  # type: ignore[attr-defined]


# -- the objective ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confine", ["lungs", "free"])
def test_terms_are_named_finite_and_not_negative(brightness: ModuleTarget, confine: str) -> None:
    losses, fakes = Setting(brightness, confine).losses()
    assert losses.keys() >= TERMS
    for name, value in losses.items():
        assert value.shape == (), name
        assert math.isfinite(value.item()), name
        assert value.item() >= 0, name
    assert fakes.shape == (2 * HALF, 1, SIDE, SIDE)
    assert not fakes.requires_grad
    assert 0 <= fakes.min().item() <= fakes.max().item() <= 1


def test_only_the_generator_is_trained(setting: Setting) -> None:
    assert {id(p) for p in setting.objective.parameters()} == {id(p) for p in setting.network.parameters()}
    setting.judge.requires_grad_(False)
    torch.stack(list(setting.losses()[0].values())).sum().backward()
    assert not reached(setting.target.parameters())
    assert not reached(setting.judge.parameters())
    assert all(reached([p]) for p in setting.network.parameters())


def test_the_target_moves_both_directions_from_the_first_step(setting: Setting) -> None:
    """At ramp 0 the removal of a positive and the layer of a negative already follow the target."""
    losses, _ = setting.losses(ramp=0.0)
    losses["to_negative"].backward(retain_graph=True)
    assert reached(setting.network.tau_removed.parameters())
    assert not reached(setting.network.tau_added.parameters())
    losses["to_positive"].backward()
    assert reached(setting.network.tau_added.parameters())


def test_terms_under_which_nothing_is_best_wait_for_the_ramp(setting: Setting) -> None:
    early, late = setting.losses(ramp=0.0)[0], setting.losses(ramp=1.0)[0]
    for name in ("reconstruction", "cycle", "fixed_point"):
        assert early[name].item() == 0, name
        assert late[name].item() > 0, name
    assert early["to_positive"].item() == late["to_positive"].item()


def test_the_objective_is_deterministic(setting: Setting) -> None:
    one, two = setting.losses()[0], setting.losses()[0]
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in two.items()}


def test_fakes_of_a_confined_generator_keep_the_outside(setting: Setting) -> None:
    fakes = setting.losses()[1]
    outside = setting.lungs == 0
    assert torch.equal(fakes[outside], setting.images[outside])
    assert not torch.equal(fakes, setting.images)


class Table(nn.Module):
    """Three logits that do not depend on the image."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[0.0, 1.0, 2.0]]).expand(len(x), -1)


def test_evidence_is_the_logit_of_p_less_that_of_the_operating_point(setting: Setting) -> None:
    target = ModuleTarget(Table(), classes=("normal", "flu", "covid"), positive=("flu", "covid"), size=8, operating_point=0.3)
    objective = GeneratorObjective(setting.network, target, setting.judge, TRAINING)
    images = torch.rand(2, 1, 8, 8)
    p = target.probability(images)
    expected = torch.logit(p) - math.log(0.3 / 0.7)
    torch.testing.assert_close(objective.evidence(target, images, None), expected)


def test_draws_follow_the_generator_and_are_what_they_say() -> None:
    def drawn(seed: int) -> gan.Draws:
        return draw_step(200, 50, DIM, torch.Generator().manual_seed(seed))

    draws = drawn(0)
    assert torch.equal(draws.directions, drawn(0).directions)
    assert not torch.equal(draws.directions, drawn(1).directions)
    torch.testing.assert_close(draws.directions.square().mean(1), torch.ones(200))
    assert draws.noise.shape == (50, DIM)
    assert 0.2 <= draws.strengths.min().item() <= draws.strengths.max().item() <= 1.5
    assert (draws.strengths == 1).float().mean().item() == pytest.approx(0.7, abs=0.1)


# -- its terms by hand --------------------------------------------------------------------------------------------------------


def test_dense_spots_cost_more_than_wide_haze() -> None:
    haze, spot = torch.full((1, 1, 8, 8), 0.1), torch.zeros(1, 1, 8, 8)
    spot[..., :2, :2] = 1.6  # the same sum
    assert cost(spot).sum().item() > 1.5 * cost(haze).sum().item()
    assert torch.equal(cost(-haze), cost(haze))


def test_variation_of_a_ramp_does_not_depend_on_resolution() -> None:
    found = []
    for side in (64, 128, 256):
        ramp = torch.linspace(0, 1, side).expand(1, 1, side, side)
        found.append(variation(ramp).item())
    assert found == pytest.approx([1 / 128] * 3, rel=0.03)
    assert variation(torch.ones(1, 1, 8, 8)).item() == 0


def test_the_clearest_tenth_is_that_of_the_lungs_alone() -> None:
    lungs = torch.zeros(2, 1, 10, 11)
    lungs[0, ..., :10, :10] = 1
    images = torch.zeros(2, 1, 10, 11)
    images[0, ..., :10] = torch.linspace(0.2, 0.7, 100).view(10, 10)  # darker outside
    found = darkest(images, lungs)
    assert found.shape == (2, 1, 1, 1)
    assert found.flatten().tolist() == pytest.approx([0.25, 0.0], abs=1e-3)  # 0 where there are no lungs


def test_likeness_asks_for_other_layers_where_the_codes_are_others() -> None:
    inside = torch.ones(1, 1, 8, 8)
    left, right = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    left[..., :4], right[..., 4:] = 1, 1
    u, v = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert likeness(left, left, inside, u, v).item() == pytest.approx(1, abs=1e-3)
    assert likeness(left, left, inside, u, u).item() == pytest.approx(0, abs=1e-3)
    assert likeness(left, right, inside, u, v).item() == 0


def test_discriminator_objective_penalises_when_told(setting: Setting) -> None:
    objective = DiscriminatorObjective(setting.judge, TRAINING)
    real, fake, masks, cells = setting.images, setting.images.flip(0), setting.lungs, torch.zeros(2 * HALF, dtype=torch.long)
    assert objective(real, masks, cells, fake, masks, cells, False).keys() == {"discriminator"}
    terms = objective(real, masks, cells, fake, masks, cells, True)
    assert terms.keys() == {"discriminator", "r1"}
    assert terms["r1"].item() > 0
    assert terms["discriminator"].item() == pytest.approx(
        objective(real, masks, cells, real, masks, cells, False)["discriminator"].item(), rel=1e-5
    )  # the same images in another order: real and fake cannot be told apart


# -- cells --------------------------------------------------------------------------------------------------------------------


def records(*groups: tuple[str, str, int]) -> tuple[Record, ...]:
    return tuple(
        Record(f"{source}/{label}/{i}", label, f"{source}{label}{i}", "train", source)
        for source, label, count in groups
        for i in range(count)
    )


def test_changed_images_are_judged_in_the_other_cell_of_their_own_source() -> None:
    enough = gan.MIN_REALS
    cells = Cells(
        records(("a", "normal", enough), ("a", "covid", enough - 1), ("b", "normal", 3)), lambda record: record.label == "covid"
    )
    assert cells.names == [("a", False), ("a", True), ("b", False)]
    first = [0, enough, 2 * enough - 1]  # of a's normals, a's covids, b's normals
    assert cells.of[first].tolist() == [0, 1, 2]
    assert cells.opposite[first].tolist() == [1, 0, -1]
    # a's covids are too few to judge a's layered normals; b has none at all
    assert cells.judged[first].tolist() == [False, True, False]


# -- the trainer --------------------------------------------------------------------------------------------------------------


def test_one_side_only_is_an_error(phantoms: Dataset, brightness: ModuleTarget) -> None:
    normals = MaskedDataset(phantoms.where(lambda record: record.label == "normal"), None)
    with pytest.raises(DataError, match=r"negatives and positives \(covid\) in the training split, got one side only"):
        GanTrainer(normals, brightness, NETWORK, TRAINING)


def test_a_target_without_gradients_is_an_error(masked: MaskedDataset, brightness: ModuleTarget) -> None:
    brightness.differentiable = False  # type: ignore[misc]
    with pytest.raises(TargetError, match="a target with gradients"):
        GanTrainer(masked, brightness, NETWORK, TRAINING)


@pytest.mark.parametrize("judged", [False, True])
def test_a_step_changes_the_generator_and_the_judge_only_where_it_judges(
    masked: MaskedDataset, brightness: ModuleTarget, monkeypatch: pytest.MonkeyPatch, judged: bool
) -> None:
    monkeypatch.setattr(gan, "MIN_REALS", 5 if judged else 1000)
    trainer = GanTrainer(masked, brightness, NETWORK, TRAINING)
    before = {name: [p.detach().clone() for p in net.parameters()] for name, net in trainer.networks().items()}
    slope = brightness.network.slope.detach().clone()  # type: ignore[union-attr, operator]
    terms = trainer.step(0)
    changed = {
        name: any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True))
        for name, net in trainer.networks().items()
    }
    assert changed == {"generator": True, "discriminator": judged}
    assert ("discriminator" in terms) == judged
    assert ("r1" in terms) == judged
    assert (terms["adversarial"].item() > 0) == judged
    assert torch.equal(slope, brightness.network.slope)  # type: ignore[arg-type]
    assert all(p.requires_grad for p in trainer.judge.parameters())
    assert not any(value.requires_grad for value in terms.values())


def test_batches_hold_as_many_negatives_as_positives(
    masked: MaskedDataset, brightness: ModuleTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = GanTrainer(masked, brightness, NETWORK, TRAINING)
    drawn: list[str] = []
    batch = masked.batch

    def spy(indices: list[int]) -> object:
        drawn.extend(masked.records[i].label for i in indices)
        return batch(indices)

    monkeypatch.setattr(masked, "batch", spy)
    trainer.step(0)
    assert drawn == ["normal"] * HALF + ["covid"] * HALF


def test_reals_are_judged_in_their_own_cell_and_fakes_in_the_opposite_one(
    masked: MaskedDataset, brightness: ModuleTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan, "MIN_REALS", 5)
    trainer = GanTrainer(masked, brightness, NETWORK, TRAINING)
    assert trainer.cells.names == [("phantom", False), ("phantom", True)]
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(trainer.adding, "forward", _spy(trainer.adding.forward, seen))
    monkeypatch.setattr(trainer.judging, "forward", _spy(trainer.judging.forward, seen))
    trainer.step(0)
    (_, _, _, _, cells, judged, _, ramp), (images, _, own, fakes, _, theirs, penalise) = seen
    assert cells.tolist() == theirs.tolist() == [1] * HALF + [0] * HALF
    assert own.tolist() == [0] * HALF + [1] * HALF
    assert judged.tolist() == [1.0] * (2 * HALF)
    assert (ramp, penalise) == (0.0, True)
    assert images.shape == fakes.shape
    assert not torch.equal(images, fakes)


def _spy(forward: Callable[..., object], seen: list[tuple[Any, ...]]) -> Callable[..., object]:
    """The same function; its arguments are kept."""

    def call(*args: object) -> object:
        seen.append(args)
        return forward(*args)

    return call


def test_training_writes_a_part_with_a_prior_and_leaves_the_log(
    masked: MaskedDataset, brightness: ModuleTarget, tmp_path: Path
) -> None:
    trained = train_gan(masked, brightness, tmp_path / "g", NETWORK, TRAINING, LoopConfig(steps=2, log_every=1))
    assert not torch.equal(trained.prior_mean, torch.zeros_like(trained.prior_mean))
    saved = load_generator(tmp_path / "g", "lungs")
    for key, value in trained.state_dict().items():
        torch.testing.assert_close(saved.state_dict()[key], value, atol=2e-3, rtol=1e-3)  # stored in 16 bits
    rows = [json.loads(line) for line in (tmp_path / "g" / "stats.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0].keys() >= TERMS | {"seconds"}


def test_random_patches_are_layers_and_differ() -> None:
    patches = smooth_patches(torch.randn(4, 1, 7, 7, generator=torch.Generator().manual_seed(0)), 64)
    assert patches.shape == (4, 1, 64, 64)
    assert float(patches.min()) == 0
    assert float(patches.amax((1, 2, 3)).min()) > 0.05
    assert not torch.equal(patches[0], patches[1])


# -- from another generator ---------------------------------------------------------------------------------------------------


def labelled(*labels: str) -> Disentangler:
    return Disentangler(NETWORK.model_copy(update={"labels": labels}))


def test_weights_are_adopted_and_priors_by_label() -> None:
    start, network = labelled("covid", "flu"), labelled("tb", "flu")
    start.prior_mean[:] = torch.tensor([[1.0], [2.0]])
    adopt(network, start)
    for mine, theirs in zip(network.parameters(), start.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert network.prior_mean[:, 0].tolist() == [0.0, 2.0]
    other = Disentangler(NETWORK.model_copy(update={"width": 16, "confine": "free"}))
    with pytest.raises(CheckpointError, match="same shape to start from, got one of confine free, width 16"):
        adopt(network, other)
