"""The phantom: its causes are known, so what is rendered must be those causes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_explain import optics
from gan_explain.data import PhantomSpec, open_dataset, render_phantom
from gan_explain.data.phantom import FULL_LOAD
from gan_explain.types import DataError

SIZE = 64


@pytest.mark.parametrize("label", ["covid", "pneumonia"])
@pytest.mark.parametrize("index", range(8))
def test_lesions_lie_inside_the_lungs_and_load_is_severity(label: str, index: int) -> None:
    for severity in (0.15, 0.5, 1.0):
        phantom = render_phantom(0, index, SIZE, label, severity)
        outside = phantom.lungs == 0
        assert not phantom.tau[outside].any()
        assert not phantom.lesion[outside].any()
        assert np.array_equal(phantom.image[outside], phantom.structure[outside])
        assert phantom.tau.sum() / phantom.lungs.sum() == pytest.approx(severity * FULL_LOAD, rel=1e-6)
        assert 0 < phantom.lesion.sum() < phantom.lungs.sum()
        assert phantom.lesion[np.unravel_index(phantom.tau.argmax(), phantom.tau.shape)] == 1


def test_image_is_the_structure_seen_through_the_layer() -> None:
    phantom = render_phantom(0, 3, SIZE, "covid", 0.8)
    structure, tau = (torch.from_numpy(array)[None, None] for array in (phantom.structure, phantom.tau))
    assert torch.allclose(optics.compose(structure, tau), torch.from_numpy(phantom.image)[None, None], atol=1e-12)
    assert phantom.image.min() >= 0
    assert phantom.image.max() <= 1


def test_opacity_grows_with_severity_in_one_and_the_same_patient() -> None:
    phantoms = [render_phantom(0, 5, SIZE, "covid", severity) for severity in (0.0, 0.1, 0.3, 0.6, 1.0)]
    brightness = [float(phantom.image[phantom.lungs > 0].mean()) for phantom in phantoms]
    assert brightness == sorted(brightness)
    assert brightness[-1] - brightness[0] > 0.1
    healthy = render_phantom(0, 5, SIZE)
    for phantom in phantoms:
        assert np.array_equal(phantom.structure, healthy.structure)
    assert np.array_equal(healthy.image, healthy.structure)
    assert render_phantom(0, 5, SIZE, "normal", 0.7).severity == 0


def test_covid_is_bilateral_peripheral_and_low() -> None:
    half = SIZE // 2
    loads, weighted, plain = [], [], []
    for index in range(20):
        phantom = render_phantom(1, index, SIZE, "covid", 0.5)
        loads.append((phantom.tau[:, :half].sum(), phantom.tau[:, half:].sum()))
        y, x = np.mgrid[0:SIZE, 0:SIZE]
        away = abs(x - half)
        weighted.append([np.average(field, weights=phantom.tau) for field in (y, away)])
        plain.append([np.average(field, weights=phantom.lungs) for field in (y, away)])
    assert min(min(pair) / max(pair) for pair in loads) > 0.1
    lower, outer = np.mean(weighted, axis=0) - np.mean(plain, axis=0)
    assert lower > 0.05 * SIZE
    assert outer > 0.02 * SIZE


def test_pneumonia_has_one_side() -> None:
    for index in range(8):
        tau = render_phantom(0, index, SIZE, "pneumonia", 0.3).tau
        left, right = tau[:, : SIZE // 2].sum(), tau[:, SIZE // 2 :].sum()
        assert min(left, right) < 0.02 * max(left, right)


def test_anatomy_is_a_chest() -> None:
    """Dark lungs in a brighter body, bright spine and heart, the right lung larger, air beside the trunk."""
    for index in range(12):
        phantom = render_phantom(2, index, SIZE)
        image, lungs = phantom.structure, phantom.lungs > 0
        half = SIZE // 2
        assert 0.15 < lungs.mean() < 0.45
        assert lungs[:, :half].sum() > 1.05 * lungs[:, half:].sum()
        assert image[lungs].mean() < image[~lungs & (image > 0.1)].mean() - 0.1
        assert image[SIZE // 2 : SIZE - 8, half - 3 : half + 3].mean() > 0.8  # spine and heart
        assert image[SIZE // 2 :, [0, -1]].mean() < 0.4


def test_same_seed_same_image_other_index_other_patient() -> None:
    first = render_phantom(0, 0, SIZE, "covid", 0.5, marker=True)
    assert np.array_equal(first.image, render_phantom(0, 0, SIZE, "covid", 0.5, marker=True).image)
    for seed, index in ((0, 1), (1, 0)):
        other = render_phantom(seed, index, SIZE)
        assert np.abs(first.structure - other.structure).mean() > 0.02


def test_a_larger_image_is_the_same_patient() -> None:
    small, large = render_phantom(0, 4, 64, "covid", 0.7), render_phantom(0, 4, 192, "covid", 0.7)
    for name, most in (("image", 0.02), ("tau", 0.02), ("lungs", 0.02), ("lesion", 0.03)):
        reduced = getattr(large, name).reshape(64, 3, 64, 3).mean((1, 3))
        assert np.abs(reduced - getattr(small, name)).mean() < most


def test_marker_lies_outside_the_lungs_and_changes_nothing_else() -> None:
    for index in range(12):
        for size in (32, 64, 128):
            plain, marked = (render_phantom(0, index, size, marker=marker) for marker in (False, True))
            assert marked.marker.any()
            assert not (marked.marker * marked.lungs).any()
            changed = marked.image != plain.image
            assert not changed[marked.marker == 0].any()
            assert changed.mean() < 0.03


def test_marker_prevalence_is_as_asked_in_each_class() -> None:
    data = open_dataset("phantom:n=1000,marker_covid=0.8,marker_normal=0.05", size=SIZE)
    for label, prevalence in (("covid", 0.8), ("normal", 0.05)):
        marked = [record.extra["marker"] == "1" for record in data.records if record.label == label]
        assert np.mean(marked) == pytest.approx(prevalence, abs=0.04)


def test_dataset_of_phantoms() -> None:
    data = open_dataset("phantom:n=24", size=32, seed=7)
    assert data.classes == ("covid", "normal")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [18, 2, 4]
    batch = data.batch()
    assert bool(batch.has_lungs.all())
    assert batch.severity is not None
    assert batch.lesion is not None
    positive = torch.tensor([label == "covid" for label in batch.labels])
    assert torch.equal(batch.severity > 0, positive)
    assert torch.equal(batch.lesion.flatten(1).any(1), positive)
    assert not (batch.lesion * (1 - batch.lungs)).any()
    again = open_dataset("phantom:n=8", size=32, seed=7)
    assert torch.equal(again[3]["image"], data[3]["image"])  # n does not matter
    assert open_dataset("phantom", size=32).fingerprint() != data.fingerprint()
    assert len(open_dataset("phantom", size=32)) == PhantomSpec().n


def test_three_classes_in_their_shares() -> None:
    data = open_dataset("phantom:n=200,covid=0.3,pneumonia=0.2", size=16)
    counts = {label: sum(record.label == label for record in data.records) for label in data.classes}
    assert counts == {
        "covid": pytest.approx(60, abs=2),
        "pneumonia": pytest.approx(40, abs=2),
        "normal": pytest.approx(100, abs=2),
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("phantom:m=3", "marker_covid"),
        ("phantom:n=many", "expected a number for n"),
        ("phantom:n=0", "n >= 1"),
        ("phantom:covid=1.5", "shares"),
        ("phantom:covid=nan", "shares"),
        ("phantom:covid=0.7,pneumonia=0.7", "covid \\+ pneumonia"),
        ("phantom:n=3,n=4", "at most once"),
        ("phantom:covid=0", "at least two classes"),
    ],
)
def test_faulty_specs_are_named(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        open_dataset(spec, size=16)
    assert str(error.value).startswith(spec)
