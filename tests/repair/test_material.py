"""What is made: pixels of the lungs and of the outside, labels, and whose images were used."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import max_pool2d

from gan_explain.data import Dataset
from gan_explain.nets.load import load_generator
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.repair.material import DENSEST, Counterfactuals, Joined, Layers, Named
from gan_explain.repair.plan import Recipe, exchanged, layered, transplanted
from gan_explain.train.masks import MaskedDataset


@pytest.fixture(scope="module")
def train(marked: Dataset) -> MaskedDataset:
    kept = marked.split("train").records[:24]
    return MaskedDataset(marked.where(lambda record: record in kept), load_segmenter("phantom64"))


@pytest.fixture(scope="module")
def layers(train: MaskedDataset) -> Layers:
    found = Layers(load_generator("phantom64"), train)
    found.read([i for i, record in enumerate(train.records) if record.label == "covid"])
    return found


def under_layers(train: MaskedDataset, layers: Layers) -> list[Recipe]:
    donors = {i: "covid" for i, load in layers.loads.items() if load > 0.02}
    bases = [i for i, record in enumerate(train.records) if record.label == "normal"]
    return layered(train.records, donors, bases, span=(0.7, 2.5), prior=0.3, prior_label="covid", seed=0)


def test_a_layer_darkens_nothing_and_stays_in_the_lungs(train: MaskedDataset, layers: Layers) -> None:
    recipes = under_layers(train, layers)
    made, base = Counterfactuals(train, layers, recipes).batch(), train.batch([recipe.base for recipe in recipes])
    change = made.images - base.images
    near = max_pool2d(base.lungs, 9, 1, 4)  # a layer's border is soft
    assert float(change.min()) >= -1e-4
    assert float((change * (1 - near)).abs().max()) < 1e-4
    assert float(change.amax((1, 2, 3)).max()) > 0.1
    through = ((1 - made.images) / (1 - base.images).clamp(min=0.05)).min()
    assert -float(through.log()) <= DENSEST + 1e-3
    assert set(made.labels) == {"covid"}
    assert made.lungs.equal(base.lungs)


def test_a_transplant_leaves_the_lungs_to_the_bit_and_takes_the_outside(train: MaskedDataset, layers: Layers) -> None:
    recipes = transplanted(train.records, range(len(train)), 0)
    made, base = Counterfactuals(train, layers, recipes).batch(), train.batch()
    other = train.batch([recipe.outside for recipe in recipes])
    inside = base.lungs > 0
    assert torch.equal(made.images[inside], base.images[inside])
    assert made.labels == base.labels
    corner = (slice(None), slice(None), slice(0, 3), slice(0, 3))
    assert torch.allclose(made.images[corner], other.images[corner], atol=0.02)


def test_a_healed_image_has_next_to_nothing_left(train: MaskedDataset, layers: Layers) -> None:
    heavy = max(layers.loads, key=layers.loads.__getitem__)
    made = Counterfactuals(train, layers, [Recipe("healed", heavy, "normal")]).batch()
    assert made.labels == ("normal",)
    left = Layers(layers.generator, _One(made))  # type: ignore[arg-type]
    left.read([0])
    assert left.loads[0] < 0.5 * layers.loads[heavy]


class _One:
    """A batch as a dataset."""

    def __init__(self, batch: object) -> None:
        self.batch = lambda indices: batch


def test_images_do_not_depend_on_their_company_and_say_where_they_come_from(train: MaskedDataset, layers: Layers) -> None:
    recipes = [*exchanged(under_layers(train, layers), train.records, 0.5, 0), *transplanted(train.records, range(5), 0)]
    made = Counterfactuals(train, layers, recipes)
    whole = made.batch()
    for i in (0, 3, len(made) - 1):
        assert torch.allclose(made.batch([i]).images[0], whole.images[i], atol=1e-5)
    paths = {record.path for record in train.records}
    for record in made.records:
        assert record.split == "train"
        assert {record.extra["base"], record.extra["donor"] or record.extra["base"]} <= paths
        assert record.extra["outside"] in paths | {""}


def test_sets_are_joined_in_their_order_and_named_by_class(train: MaskedDataset, layers: Layers) -> None:
    made = Counterfactuals(train, layers, transplanted(train.records, range(4), 0))
    named = Named(train, {record.path: record.label.upper() for record in train.records})
    both = Joined(named, made)
    assert len(both) == len(train) + 4
    batch = both.batch([len(train) + 1, 2, len(train), 0])
    assert torch.allclose(batch.images, torch.cat([made.batch([1]).images, train.batch([2]).images, made.batch([0]).images,
                                                   train.batch([0]).images]), atol=1e-6)  # fmt: skip
    assert batch.records == (made.records[1], named.records[2], made.records[0], named.records[0])
    assert named.records[0] == replace(train.records[0], label=train.records[0].label.upper())
