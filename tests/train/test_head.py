"""The last layer alone: features by hand, a network that gives one logit, what has no such layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Batch, Dataset, open_dataset
from gan_explain.metrics.logistic import Logistic
from gan_explain.stats import auroc
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.train.head import HeadTraining, features_of, fit_head, trainable, with_head
from gan_explain.train.masks import in_batches
from gan_explain.train.objective import Task
from gan_explain.types import TargetError

TASK = Task(("normal", "covid"))


class Cells(nn.Module):
    """Means of a 4 x 4 grid, then a linear layer."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.last = nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.pool(x).flatten(1))
        return found


def target_of(network: nn.Module, **more: object) -> ModuleTarget:
    config = TargetConfig(classes=("normal", "covid"), positive=("covid",), size=32, channels=1).model_copy(update=more)
    return ModuleTarget(network, config)


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return open_dataset("phantom:n=160,covid=0.5", size=32)


def p_of(target: ModuleTarget, dataset: Dataset) -> tuple[Tensor, list[bool]]:
    batches: list[Batch] = list(in_batches(dataset))
    p = torch.cat([target.probability(batch.images) for batch in batches])
    return p, [record.label == "covid" for record in dataset.records]


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_fitted_layer_tells_the_classes_and_the_target_stays_as_it_was(phantoms: Dataset, outputs: int) -> None:
    target = target_of(Cells(outputs), temperature=3.0, operating_point=0.2)
    before = {name: value.clone() for name, value in target.network.state_dict().items()}
    found = fit_head(target, phantoms.split("train"), phantoms.split("val"), TASK, HeadTraining(views=1))
    assert auroc(*p_of(found, phantoms.split("test"))) > 0.8
    assert (found.temperature, found.operating_point) == (1.0, 0.5)
    assert found.network.last.out_features == outputs  # type: ignore[union-attr]
    assert all(torch.equal(value, before[name]) for name, value in target.network.state_dict().items())


def test_features_are_what_the_layer_reads_and_views_are_drawn_by_seed(phantoms: Dataset) -> None:
    target, few = target_of(Cells()), phantoms.split("val")
    found = features_of(target, few, HeadTraining(views=2, batch_size=5))
    images = few.batch().images
    assert found.shape == (3, len(few), 16)
    assert found[0] == pytest.approx(nn.functional.adaptive_avg_pool2d(images, 4).flatten(1).numpy(), abs=1e-6)
    assert np.array_equal(found, features_of(target, few, HeadTraining(views=2, batch_size=5)))
    assert not np.allclose(found[1], found[2])
    assert not np.allclose(found[1], features_of(target, few, HeadTraining(views=2, batch_size=5, seed=1))[1])


def test_weights_count(phantoms: Dataset) -> None:
    """Images of weight 0 are not learned from: with labels exchanged among them nothing changes."""
    train, val, target = phantoms.split("train"), phantoms.split("val"), target_of(Cells())
    weights = np.ones(len(train))
    weights[::2] = 0
    half = train.where(lambda record: record in train.records[1::2])
    both = [fit_head(target, train, val, TASK, HeadTraining(views=0), weights=weights)]
    both.append(fit_head(target, half, val, TASK, HeadTraining(views=0), weights=np.ones(len(half))))
    first, second = (p_of(each, phantoms.split("test"))[0] for each in both)
    assert float((first - second).abs().max()) < 0.2  # standardised by other images
    assert float((first - p_of(target, phantoms.split("test"))[0]).abs().max()) > 0.2


def test_the_layer_is_the_regression() -> None:
    random = np.random.default_rng(0)
    w = random.normal(size=(2, 16))
    model = Logistic(random.normal(size=16), random.uniform(0.5, 2, 16), w - w.mean(0), np.array([0.3, -0.3]))
    images = torch.rand(5, 1, 32, 32)
    features = nn.functional.adaptive_avg_pool2d(images, 4).flatten(1).double().numpy()
    for outputs in (1, 2):
        found = with_head(target_of(Cells(outputs)), model)
        assert found.probability(images).numpy() == pytest.approx(model.probability(features)[:, 1], abs=1e-5)


class Squashed(Cells):
    """The last linear layer does not give the logits."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).tanh()


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "is nn.Linear, got Conv2d in Sequential"),
        (Squashed(), "last linear layer gives the logits, got Squashed"),
    ],
)
def test_what_has_no_such_layer_is_refused(network: nn.Module, says: str) -> None:
    with pytest.raises(TargetError, match=f"{says}: a head on its features is not offered"):
        trainable(target_of(network))
    assert trainable(target_of(Cells()))
