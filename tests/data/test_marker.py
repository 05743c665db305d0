"""Markers come in the shares asked for, stay with their image, and change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_explain.data import open_dataset
from gan_explain.data.marker import draw_marker, glyph, planted
from gan_explain.types import Record


def is_covid(record: Record) -> bool:
    return record.label == "covid"


def shares(records: tuple[Record, ...]) -> tuple[float, float]:
    marked = [[r.extra["marker"] == "1" for r in records if is_covid(r) == side] for side in (True, False)]
    return float(np.mean(marked[0])), float(np.mean(marked[1]))


def test_each_class_gets_its_share_and_the_original_stays() -> None:
    plain = open_dataset("phantom:n=1000", size=32)
    marked = planted(plain, is_covid, 0.8)
    assert shares(marked.records) == pytest.approx((0.8, 0.05), abs=0.04)
    assert shares(plain.records) == (0, 0)
    assert [r.path for r in marked.records] == [r.path for r in plain.records]


def test_a_marker_is_seen_in_its_images_and_only_there() -> None:
    plain = open_dataset("phantom:n=40", size=64)
    marked = planted(plain, is_covid, 1.0, 0.0)
    before, after = plain.batch(), marked.batch()
    changed = (after.images != before.images).flatten(1).any(1)
    assert changed.tolist() == [is_covid(r) for r in plain.records]
    assert torch.equal(after.images[~changed], before.images[~changed])
    assert bool((after.images >= before.images).all())
    difference = (after.images != before.images).float()
    assert float(difference.mean((1, 2, 3)).max()) < 0.03
    assert not difference[..., 16:, :].any()
    assert not (difference * before.lungs).any()
    assert torch.equal(after.lungs, before.lungs)


def test_it_is_drawn_by_image_whatever_the_order_or_selection() -> None:
    data = open_dataset("phantom:n=60", size=32)
    whole = planted(data, is_covid, 0.5, 0.3, seed=3)
    part = planted(data.split("test"), is_covid, 0.5, 0.3, seed=3)
    assert part.fingerprint() == whole.split("test").fingerprint()
    assert torch.equal(part.batch().images, whole.split("test").batch().images)
    assert planted(data, is_covid, 0.5, 0.3, seed=4).fingerprint() != whole.fingerprint()


def test_it_is_burned_into_real_radiographs(cxr: object) -> None:
    data = open_dataset(str(cxr), size=64).where(lambda r: r.path.endswith(("_0001.jpg", "_0002.jpg")))
    marked = planted(data, lambda r: True, 1.0)
    assert len(data) > 1
    changed = marked.batch().images - data.batch().images
    assert bool(changed.flatten(1).any(1).all())
    assert float(changed.min()) == 0


def test_a_phantom_that_had_one_keeps_it() -> None:
    data = open_dataset("phantom:n=20,marker_covid=1", size=32)
    marked = planted(data, is_covid, 0.0, 0.0)
    assert shares(marked.records) == (1, 0)
    assert torch.equal(marked.batch().images, data.batch().images)


def test_letters_scale_with_the_image() -> None:
    assert glyph("R", 64).shape == (7, 5)
    assert glyph("L", 256).shape == (28, 20)
    token = draw_marker(np.random.default_rng(0), 128)
    assert token.shape == (128, 128)
    assert set(np.unique(token)) == {0.0, 1.0}


@pytest.mark.parametrize("wrong", [(1.5, 0.0), (0.5, -0.1)])
def test_shares_outside_the_unit_interval_are_named(wrong: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected shares"):
        planted(open_dataset("phantom:n=4", size=16), is_covid, *wrong)
