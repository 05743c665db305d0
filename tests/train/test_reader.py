"""The reader's training: its terms on paper, what they move, and a small reader that finds a planted veil."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.files.checkpoints import load_part
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.load import load_network
from gan_explain.optics import compose
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.reader import (
    BEND,
    INNER,
    MARGIN,
    SCALE,
    ReaderObjective,
    ReaderTrainer,
    ReaderTraining,
    _distance,
    load,
    order_loss,
    outer,
    train_reader,
)
from gan_explain.types import DataError

SIDE = 32
NETWORK = GeneratorConfig(resolution=SIDE, grid=16, backbone="small", width=8, layer_width=8, code_dim=4)
TERMS = {"rendered", "additive", "healed", "clear", "order"}
ONES = ReaderTraining(rendered=1, additive=1, healed=1, clear=1, order=1)
CLEAR = 0.3  # brightness of the lungs below
YES = torch.tensor([True])


# -- terms on paper -----------------------------------------------------------------------------------------------------------


def even(*thickness: float) -> Tensor:
    """A flat layer for each number, on a grid of 4."""
    return torch.tensor(thickness).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


def test_load_is_the_mean_over_the_lungs() -> None:
    inside = torch.zeros(1, 1, 4, 4)
    inside[..., :2] = 1
    tau = torch.where(inside > 0, 0.5, 9.0)
    assert load(tau, inside).item() == pytest.approx(0.5)
    assert load(tau, torch.zeros_like(inside)).item() == 0


def between(a: float, b: float) -> float:
    """The distance of two thicknesses: mostly the square of their gap on a logarithmic scale."""
    gap = abs(math.log1p(4 * a) - math.log1p(4 * b)) / 4
    return BEND * gap**2 + gap / 4


def test_distance_by_hand() -> None:
    inside = torch.ones(1, 1, 4, 4)
    assert _distance(even(0.7), even(0.7), inside, YES).item() == 0
    nothing_or_one = BEND * (math.log(5) / 4) ** 2 + math.log(5) / 16
    assert _distance(even(1.0), even(0.0), inside, YES).item() == pytest.approx(nothing_or_one)
    assert _distance(even(0.0), even(1.0), inside, YES).item() == pytest.approx(nothing_or_one)
    half = torch.cat([torch.ones(1, 1, 4, 2), torch.zeros(1, 1, 4, 2)], -1)
    wrong_outside = torch.cat([torch.zeros(1, 1, 4, 2), torch.ones(1, 1, 4, 2)], -1)
    assert _distance(wrong_outside, even(0.0), half, YES).item() == 0


def test_what_is_unsure_is_read_as_thick_as_it_is_on_average() -> None:
    """Nothing three times of four, else 0.5: the nearest layer to all four is not nothing, as it would be by absolute values."""
    inside, truth = torch.ones(4, 1, 4, 4), even(0.0, 0.0, 0.0, 0.5)
    every = torch.tensor([True] * 4)
    losses = {read: _distance(even(*[read] * 4), truth, inside, every).item() for read in (0.0, 0.05, 0.1, 0.5)}
    assert min(losses, key=lambda read: losses[read]) in (0.05, 0.1)


def test_distance_is_a_mean_over_the_chosen_ones() -> None:
    a, b, inside = even(1.0, 5.0, 0.0), even(0.0, 0.0, 0.0), torch.ones(3, 1, 4, 4)
    assert _distance(a, b, inside, torch.tensor([True, False, True])).item() == pytest.approx(between(1, 0) / 2)
    assert _distance(a, b, inside, torch.tensor([False] * 3)).item() == 0


def test_order_by_hand() -> None:
    """Loads of 0.3 against 0.1: 0.1 above the margin, two scales."""
    one = torch.zeros(2, dtype=torch.long)
    healthy = torch.tensor([False, True])
    found = order_loss(torch.tensor([0.3, 0.1]), healthy, one)
    assert found.item() == pytest.approx(math.log1p(math.exp((MARGIN - 0.2) / SCALE)), rel=1e-5)
    swapped = order_loss(torch.tensor([0.1, 0.3]), healthy, one)
    assert swapped.item() == pytest.approx(math.log1p(math.exp((MARGIN + 0.2) / SCALE)), rel=1e-5)


def test_order_compares_within_a_source_only() -> None:
    healthy, source = torch.tensor([False, True, False, True]), torch.tensor([0, 0, 1, 1])
    loads = torch.tensor([0.9, 0.1, 0.3, 0.2])
    pairs = [F.softplus(torch.tensor((MARGIN - gap) / SCALE)) for gap in (0.8, 0.1)]
    assert order_loss(loads, healthy, source).item() == pytest.approx(float(sum(pairs)) / 2, rel=1e-4)
    assert order_loss(loads, healthy, torch.arange(4)).item() == 0
    assert order_loss(loads, torch.ones(4, dtype=torch.bool), source).item() == 0


def test_sources_count_the_same_however_many_pairs_they_have() -> None:
    """Three pairs of one source, each a tie, and one of another, far apart."""
    healthy = torch.tensor([False, True, True, True, False, True])
    source = torch.tensor([0, 0, 0, 0, 1, 1])
    loads = torch.tensor([0.1, 0.1, 0.1, 0.1, 5.0, 0.0])
    assert order_loss(loads, healthy, source).item() == pytest.approx(math.log1p(math.exp(MARGIN / SCALE)) / 2, rel=1e-4)


def test_the_middle_of_the_chest_does_not_count_as_outer() -> None:
    """Two lungs as wide as the gap between them: coordinates are standard deviations from the middle."""
    lungs = torch.zeros(1, 1, 60, 60)
    lungs[..., 10:30] = lungs[..., 30:50] = 1  # evenly from -20 to 20: a deviation is 20 / sqrt 3
    found = outer(lungs, 60)[0, 0, 30]
    deviation = 20 / math.sqrt(3)
    expected = [min(1.0, max(0.0, (abs(x - 29.5) / deviation - INNER[0]) / (INNER[1] - INNER[0]))) for x in range(10, 50)]
    assert found[10:50].tolist() == pytest.approx(expected, abs=0.05)
    assert float(found[28:32].max()) == 0
    assert float(found[10]) == 1


class Constant(nn.Module):
    """A reader that reads one number on anything."""

    grid = SIDE

    def __init__(self, thickness: float) -> None:
        super().__init__()
        self.thickness = nn.Parameter(torch.tensor(thickness))

    def forward(self, images: Tensor, lungs: Tensor) -> Tensor:
        return self.thickness * lungs


class Oracle(nn.Module):
    """A reader that knows that lungs are of one brightness."""

    grid = SIDE

    def forward(self, images: Tensor, lungs: Tensor) -> Tensor:
        return ((1 - CLEAR) / (1 - images).clamp(min=1e-6)).log().clamp(min=0)


def scene() -> tuple[Tensor, ...]:
    """A healthy radiograph and one with a layer of 0.6 on half of it; a flat layer of 0.4 is laid on both, and half of what is
    read is taken off."""
    clear = torch.full((2, 1, SIDE, SIDE), CLEAR)
    disease = torch.zeros_like(clear)
    disease[1, ..., : SIDE // 2] = 0.6
    tau = torch.full_like(clear, 0.4)
    healthy, source = torch.tensor([True, False]), torch.tensor([0, 0])
    return compose(clear, disease), torch.ones_like(clear), tau, tau, healthy, source, torch.full((2, 1, 1, 1), 0.5)


def terms(reader: nn.Module, config: ReaderTraining = ONES) -> dict[str, float]:
    losses = ReaderObjective(reader, config)(*scene())  # type: ignore[arg-type]
    return {name: value.item() for name, value in losses.items()}


def test_terms_of_a_reader_that_sees_nothing() -> None:
    found = terms(Constant(0.0))
    missed = between(0.4, 0)
    assert found == pytest.approx(
        {"rendered": missed, "additive": missed, "healed": 0, "clear": 0, "order": math.log1p(math.exp(MARGIN / SCALE))}, rel=1e-4
    )


def test_terms_of_a_reader_that_always_sees_the_same() -> None:
    """0.05, which can lie on either image: too little where 0.4 is laid, too much where half is taken off and where there is
    nothing."""
    found = terms(Constant(0.05))
    assert found == pytest.approx(
        {
            "rendered": between(0.05, 0.4), "additive": between(0.05, 0.45), "healed": between(0.05, 0.025),
            "clear": between(0.05, 0), "order": math.log1p(math.exp(MARGIN / SCALE)),
        },
        rel=1e-3,
    )  # fmt: skip


def test_a_reader_that_knows_the_structure_has_hardly_a_loss() -> None:
    """All of what is laid is read; only the edge of a layer, which cannot be taken off, is missed."""
    found = terms(Oracle())
    assert found["rendered"] == pytest.approx(0, abs=1e-5)
    assert found["clear"] == pytest.approx(0, abs=1e-5)
    assert found["additive"] < 0.02
    assert found["healed"] < 0.02
    assert found["order"] == pytest.approx(math.log1p(math.exp((MARGIN - 0.3) / SCALE)), abs=0.02)


def test_weights_multiply_their_terms() -> None:
    once = terms(Constant(0.1))
    twice = terms(Constant(0.1), replace(ONES, rendered=2.0, order=0.0))
    assert twice == pytest.approx(once | {"rendered": 2 * once["rendered"], "order": 0})


@pytest.mark.parametrize(("name", "sign"), [("rendered", 1), ("additive", 1), ("clear", -1)])
def test_what_each_term_asks_for(name: str, sign: int) -> None:
    """More where 0.4 is laid, less where nothing is."""
    reader = Constant(0.1)
    ReaderObjective(reader, ONES)(*scene())[name].backward()  # type: ignore[arg-type]
    assert reader.thickness.grad is not None
    assert -sign * reader.thickness.grad.item() > 0


def test_without_diseased_radiographs_there_is_nothing_to_add_to_or_heal() -> None:
    images, lungs, tau, fine, _, source, share = scene()
    losses = ReaderObjective(Constant(0.1), ONES)(images, lungs, tau, fine, torch.ones(2, dtype=torch.bool), source, share)  # type: ignore[arg-type]
    assert [losses[name].item() for name in ("additive", "healed", "order")] == [0, 0, 0]
    assert losses["rendered"].item() > 0


# -- the trainer --------------------------------------------------------------------------------------------------------------


def trainer(dataset: MaskedDataset, **options: object) -> ReaderTrainer:
    return ReaderTrainer(dataset, Disentangler(NETWORK), ReaderTraining(**({"steps": 4, "batch_size": 4} | options)))  # type: ignore[arg-type]


def test_without_healthy_radiographs_there_is_nothing_to_render_on(phantoms: Dataset) -> None:
    ill = MaskedDataset(phantoms.where(lambda record: record.label == "covid"), None)
    with pytest.raises(DataError, match="expected radiographs labelled normal"):
        trainer(ill)
    nothing = MaskedDataset(phantoms.where(lambda _: False), None)
    with pytest.raises(DataError):
        trainer(nothing)


def test_a_step_trains_the_reader_alone(masked: MaskedDataset) -> None:
    training = trainer(masked, order=0.1)
    whole = training.whole
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    found = training.step(0)
    assert found.keys() == TERMS
    assert all(math.isfinite(value.item()) and value.item() >= 0 and not value.requires_grad for value in found.values())
    changed = {name.split(".")[0] for name, value in whole.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"reader"}


def test_the_deepest_pretrained_levels_learn_in_the_later_steps(masked: MaskedDataset) -> None:
    network = Disentangler(NETWORK.model_copy(update={"backbone": "efficientnet_lite0"}))
    made = ReaderTrainer(masked, network, ReaderTraining(steps=4, batch_size=2, encoder_rate=1e-4, tuned=1, frozen=0.5))
    assert [group["lr"] for group in made.optimizers["reader"].param_groups] == [2e-3, 1e-4]
    levels = [{k: v.clone() for k, v in level.state_dict().items()} for level in network.reader.encoder.levels]

    def moved() -> list[bool]:
        now = [level.state_dict() for level in network.reader.encoder.levels]
        return [any(not torch.equal(v, new[k]) for k, v in old.items()) for old, new in zip(levels, now, strict=True)]

    for step in range(2):
        made.step(step)
    assert moved() == [False] * 5
    for step in range(2, 4):
        made.step(step)
    assert moved() == [False] * 4 + [True]


def test_without_a_rate_the_pretrained_half_stays_as_it_is(masked: MaskedDataset) -> None:
    network = Disentangler(NETWORK.model_copy(update={"backbone": "efficientnet_lite0"}))
    made = ReaderTrainer(masked, network, ReaderTraining(encoder_rate=0.0))
    assert len(made.optimizers["reader"].param_groups) == 1
    assert not any(p.requires_grad for p in network.reader.encoder.parameters())


def test_the_average_is_what_comes_out_and_a_sheet_changes_nothing(masked: MaskedDataset, tmp_path: Path) -> None:
    training = trainer(masked, learning_rate=0.01)
    for step in range(3):
        training.step(step)
    now = {name: value.clone() for name, value in training.network.state_dict().items()}
    training.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()
    assert all(torch.equal(value, now[name]) for name, value in training.network.state_dict().items())
    shadow = {name: value.clone() for name, value in training.ema.shadow.items()}
    averaged = training.averaged()
    assert not averaged.training
    assert all(torch.equal(value, shadow[name]) for name, value in averaged.reader.state_dict().items())
    assert any(not torch.equal(shadow[name], now[name]) for name in now)


def test_a_small_reader_finds_a_veil_on_healthy_lungs(masked: MaskedDataset, tmp_path: Path) -> None:
    """A minute's training in seconds: the load that is read follows the load of a veil in one lung, and where it lies."""
    torch.manual_seed(0)
    config = ReaderTraining(steps=150, batch_size=8, learning_rate=1e-2, ema=0.9, seed=1)
    trained = train_reader(masked, tmp_path, Disentangler(NETWORK), config, origin={"data": "x"})
    batch = masked.batch([i for i, record in enumerate(masked.records) if record.label == "normal"][:16])
    left = batch.lungs * (torch.arange(SIDE) < SIDE // 2)
    loads = []
    with torch.no_grad():
        for thickness in (0.0, 0.4, 0.8, 1.2):
            tau = trained.read(compose(batch.images, thickness * left), batch.lungs)
            loads.append([load(tau * part, part) for part in (left, batch.lungs - left)])
    seen, other = (torch.stack([each[i] for each in loads]) for i in (0, 1))  # (thicknesses, images) of either lung
    assert float((seen.diff(dim=0) > 0).float().mean()) > 0.9
    assert float((seen[3] - seen[0] > 2 * (other[3] - other[0])).float().mean()) > 0.9
    assert float(seen[3].mean()) > 3 * float(seen[0].mean())
    part = load_part(tmp_path, "generator")
    assert (part.kind, part.origin) == ("disentangler", {"data": "x"})
    saved = load_network(tmp_path, "generator", "disentangler", GeneratorConfig, Disentangler)
    with torch.no_grad():
        torch.testing.assert_close(
            saved.read(batch.images, batch.lungs), trained.read(batch.images, batch.lungs), atol=1e-2, rtol=1e-2
        )
