"""The layer autoencoder's training: its terms on paper, which layers it learns from, and what it learns of two kinds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.files.checkpoints import load_part
from gan_explain.lungs import COLUMNS, ROWS, LungFrame
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.load import load_network
from gan_explain.train.gan.layers import (
    FEWEST,
    LayersObjective,
    LayersTrainer,
    LayersTraining,
    read_layers,
    side_by_side,
    train_layers,
)
from gan_explain.train.masks import MaskedDataset
from gan_explain.types import DataError

SIDE, DIM = 32, 4
NETWORK = GeneratorConfig(resolution=SIDE, grid=16, backbone="small", width=8, layer_width=8, code_dim=DIM)
ONES = LayersTraining(again=1, edges=1, moments=1, adversarial=1)
CPU = torch.device("cpu")


# -- terms on paper -----------------------------------------------------------------------------------------------------------


class Given(nn.Module):
    """Says the same whatever it is given."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: Tensor) -> Tensor:
        return self.answer


def terms(codes: Tensor, made: Tensor, maps: Tensor, logits: Tensor, config: LayersTraining = ONES) -> dict[str, float]:
    """Losses where `maps` have `codes` and are decoded as `made`, the drawn ones last, of which a judge says `logits`."""
    autoencoder = nn.ModuleDict({"encoder": Given(codes), "decoder": Given(made)})
    objective = LayersObjective(autoencoder, Given(logits), config)  # type: ignore[arg-type]
    drawn, cells = torch.zeros(len(made) - len(maps), codes.shape[1]), torch.zeros(len(logits), dtype=torch.long)
    losses, fake, seen = objective(maps, drawn, cells, torch.zeros_like(codes))
    assert torch.equal(fake, made[len(maps) :])
    assert torch.equal(seen, codes)
    return {name: float(value) for name, value in losses.items()}


CORNERS = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # mean 0, covariance I


def test_terms_of_what_is_perfect() -> None:
    maps = torch.rand(4, 2, ROWS, COLUMNS)
    found = terms(CORNERS, torch.cat([maps, maps[:2]]), maps, torch.zeros(2, 1))
    assert found == pytest.approx({"again": 0, "edges": 0, "moments": 0, "adversarial": math.log(2)}, abs=1e-6)


def test_terms_by_hand() -> None:
    """Layers of 1 decoded as nothing; codes all (1, 1): mean 1, covariance 0; a judge that is sure of what is drawn."""
    maps = torch.ones(4, 2, ROWS, COLUMNS)
    found = terms(torch.ones(4, 2), torch.zeros(6, 2, ROWS, COLUMNS), maps, torch.full((2, 1), -3.0))
    expected = {"again": math.log(5), "edges": 0, "moments": 1 + 1 / 2, "adversarial": math.log1p(math.exp(3))}
    assert found == pytest.approx(expected, rel=1e-5)


def test_edges_are_differences_of_neighbours_both_ways() -> None:
    """Stripes of 0 and 1 across, which are decoded as nothing."""
    maps = torch.zeros(1, 2, ROWS, COLUMNS)
    maps[..., ::2] = 1
    found = terms(torch.zeros(1, 2), torch.zeros(2, 2, ROWS, COLUMNS), maps, torch.zeros(1, 1))
    assert found["edges"] == pytest.approx(math.log(5), rel=1e-5)
    assert found["again"] == pytest.approx(math.log(5) / 2, rel=1e-5)


def test_weights_multiply_their_terms() -> None:
    maps = torch.ones(4, 2, ROWS, COLUMNS)
    arguments = torch.ones(4, 2), torch.zeros(6, 2, ROWS, COLUMNS), maps, torch.zeros(2, 1)
    once, more = terms(*arguments), terms(*arguments, replace(ONES, again=3.0, moments=0.0))
    assert more == pytest.approx(once | {"again": 3 * once["again"], "moments": 0})


def test_lungs_lie_side_by_side_as_in_an_image() -> None:
    """Inner borders meet in the middle."""
    maps = torch.zeros(1, 2, ROWS, COLUMNS)
    maps[..., 0] = torch.tensor([1.0, 2.0]).view(1, 2, 1)
    picture = side_by_side(maps)
    assert picture.shape == (1, 1, ROWS, 2 * COLUMNS)
    assert picture[0, 0, 0].nonzero().flatten().tolist() == [COLUMNS - 1, COLUMNS]
    assert picture[0, 0, 0, COLUMNS - 1 : COLUMNS + 1].tolist() == [1, 2]


# -- layers that were read ----------------------------------------------------------------------------------------------------


def test_layers_are_those_of_the_diseases_that_the_generator_knows(phantoms: Dataset) -> None:
    network, dataset = Disentangler(NETWORK), MaskedDataset(phantoms, None)
    maps, labels = read_layers(dataset, network, CPU, batch_size=5)
    count = sum(record.label == "covid" for record in phantoms.records)
    assert maps.shape == (count, 2, ROWS, COLUMNS)
    assert labels == ["covid"] * count
    index = [i for i, record in enumerate(phantoms.records) if record.label == "covid"][:3]
    batch = dataset.batch(index)
    expected = LungFrame(batch.lungs, NETWORK.grid).to_canonical(network.read(batch.images, batch.lungs))
    torch.testing.assert_close(maps[:3], expected)


def test_labels_count_under_their_own_name_or_their_coarse_one(phantoms: Dataset) -> None:
    names = ("pneumonia", "bacterial_pneumonia", "normal", "covid")
    records = tuple(replace(record, label=names[i % 4]) for i, record in enumerate(phantoms.records))
    dataset = MaskedDataset(phantoms, None)
    dataset.records = records
    known = Disentangler(NETWORK.model_copy(update={"labels": ("covid", "pneumonia")}))
    _, labels = read_layers(dataset, known, CPU)
    assert labels == ["pneumonia", "pneumonia", "covid"] * 12
    assert len(read_layers(dataset, Disentangler(NETWORK.model_copy(update={"labels": ("flu",)})), CPU)[0]) == 0


@pytest.mark.parametrize("count", [0, FEWEST - 1])
def test_too_few_layers_are_an_error(count: int) -> None:
    with pytest.raises(DataError, match=f"at least {FEWEST} radiographs of covid to learn layers from, got {count}"):
        LayersTrainer(torch.rand(count, 2, ROWS, COLUMNS), ["covid"] * count, Disentangler(NETWORK), LayersTraining())


def test_every_label_needs_its_own() -> None:
    network = Disentangler(NETWORK.model_copy(update={"labels": ("covid", "pneumonia")}))
    with pytest.raises(DataError, match="radiographs of pneumonia to learn layers from, got 2"):
        LayersTrainer(torch.rand(22, 2, ROWS, COLUMNS), ["covid"] * 20 + ["pneumonia"] * 2, network, LayersTraining())


# -- the trainer --------------------------------------------------------------------------------------------------------------


def spots(n: int) -> Tensor:
    """Layers with a spot low in both lungs, or high in both, in turn; of thickness 0.5 to 1."""
    rows = (torch.arange(ROWS) + 0.5)[:, None] / ROWS
    columns = (torch.arange(COLUMNS) + 0.5)[None] / COLUMNS
    places = torch.tensor([0.75, 0.25]).repeat(n // 2)[:, None, None] + 0.04 * torch.randn(n, 1, 1)
    spot = torch.exp(-(((rows - places) / 0.15).square() + ((columns - 0.5) / 0.3).square()))
    return ((0.5 + 0.5 * torch.rand(n, 1, 1)) * spot)[:, None].expand(n, 2, ROWS, COLUMNS).contiguous()


def lowness(maps: Tensor) -> Tensor:
    """Share of a layer in the lower half: (N,)."""
    return maps[:, :, ROWS // 2 :].sum((1, 2, 3)) / maps.sum((1, 2, 3))


def test_a_step_trains_encoder_decoder_and_discriminator_alone() -> None:
    network, maps = Disentangler(NETWORK), spots(16)
    training = LayersTrainer(maps, ["covid"] * 16, network, LayersTraining(steps=2, batch_size=8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    judge = [p.detach().clone() for p in training.discriminator.parameters()]
    found = training.step(0)
    assert found.keys() == {"again", "edges", "moments", "adversarial", "discriminator", "r1"}
    assert all(math.isfinite(float(value)) and float(value) >= 0 for value in found.values())
    changed = {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"encoder", "decoder", "prior_mean", "prior_factor"}
    assert any(not torch.equal(a, b) for a, b in zip(judge, training.discriminator.parameters(), strict=True))
    assert all(p.requires_grad for p in training.discriminator.parameters())


def test_two_kinds_of_layers_are_learnt_drawn_and_told_apart(tmp_path: Path) -> None:
    network, maps = Disentangler(NETWORK), spots(64)
    config = LayersTraining(steps=200, batch_size=16, learning_rate=5e-3, ema=0.9)
    training = LayersTrainer(maps, ["covid"] * 64, network, config)
    for step in range(200):
        training.step(step)
    now = {name: value.clone() for name, value in training.network.state_dict().items()}
    training.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()
    assert all(torch.equal(value, now[name]) for name, value in training.network.state_dict().items())
    trained = training.averaged()
    assert not trained.training
    with torch.no_grad():
        codes = trained.encoder(maps)
        again = trained.decoder(codes)
        drawn = trained.decoder(trained.prior(200, torch.Generator().manual_seed(0)))
    average = maps.mean(0, keepdim=True).expand_as(maps)
    assert float((again - maps).abs().mean()) < 0.5 * float((average - maps).abs().mean())
    assert float(torch.corrcoef(torch.stack([lowness(again), lowness(maps)]))[0, 1]) > 0.95
    assert float(drawn.mean()) == pytest.approx(float(maps.mean()), rel=0.35)
    assert 0.15 < float((lowness(drawn) > 0.5).float().mean()) < 0.85  # both kinds are drawn
    low, high = codes[::2].mean(0), codes[1::2].mean(0)
    assert float(torch.cosine_similarity(low, high, dim=0)) < 0.5
    torch.testing.assert_close(trained.prior_mean[0], codes.mean(0))  # the prior is of the averaged codes


def test_training_writes_the_generator_with_its_priors(masked: MaskedDataset, tmp_path: Path) -> None:
    config = LayersTraining(steps=3, batch_size=8)
    trained = train_layers(masked, tmp_path, Disentangler(NETWORK), config, origin={"data": "x"})
    part = load_part(tmp_path, "generator")
    assert (part.kind, part.origin) == ("disentangler", {"data": "x"})
    saved = load_network(tmp_path, "generator", "disentangler", GeneratorConfig, Disentangler)
    draws = [net.prior(4, torch.Generator().manual_seed(0)) for net in (saved, trained)]
    torch.testing.assert_close(draws[0], draws[1], atol=1e-2, rtol=1e-2)  # stored in 16 bits
    assert (tmp_path / "layers" / "stats.jsonl").is_file()
