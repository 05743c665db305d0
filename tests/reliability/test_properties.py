"""Properties that hold for every input, tried on many (the same each time): images, splits, statistics, layers."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import stats as scipy_stats

from gan_explain import stats
from gan_explain.counterfactual.disentangle import disentangle, laid
from gan_explain.counterfactual.respond import respond
from gan_explain.data.prepare import prepare
from gan_explain.data.splits import split_by_patient
from gan_explain.image import FloatImage, read_image, trim_box, write_png16
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.free import FreeConfig, FreeMap
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.pixels import quantize16, to_uint8
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import Record

few = settings(derandomize=True, deadline=None, max_examples=25, database=None)
some = settings(derandomize=True, deadline=None, max_examples=60, database=None)

UNIT = st.floats(0, 1, width=32)
images = arrays.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=UNIT)
numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
names = st.sampled_from(["a", "b", "c", "d", "e"])


# -- images -------------------------------------------------------------------------------------------------------------------


@some
@given(images)
def test_a_16_bit_png_is_read_as_it_was_written(image: FloatImage) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        write_png16(torch.from_numpy(image), path)
        found = torch.from_numpy(read_image(path))
        first = path.read_bytes()
        write_png16(found, path)
        assert path.read_bytes() == first
    assert found.shape == image.shape
    assert torch.equal(found, quantize16(torch.from_numpy(image)))
    assert np.abs(found.numpy() - image).max() <= 0.5 / 65535 + 1e-7


@some
@given(arrays.arrays(np.float32, (4, 5), elements=st.floats(-2, 3, width=32)))
def test_rounding_twice_is_rounding_once(values: FloatImage) -> None:
    once = quantize16(torch.from_numpy(values))
    assert torch.equal(quantize16(once), once)
    assert 0 <= float(once.min()) <= float(once.max()) <= 1
    levels = to_uint8(torch.from_numpy(values))
    assert np.array_equal(to_uint8(torch.from_numpy(levels).float() / 255), levels)
    assert np.abs(levels / 255 - values.clip(0, 1)).max() <= 0.5 / 255 + 1e-6


@some
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 16), st.integers(1, 16))))
def test_an_8_bit_image_is_itself_in_gray_in_rgb_and_in_every_lossless_format(levels: np.ndarray) -> None:
    for mode, kind in (("L", "PNG"), ("RGB", "PNG"), ("L", "TIFF"), ("L", "BMP")):
        buffer = io.BytesIO()
        Image.fromarray(levels).convert(mode).save(buffer, kind)
        with tempfile.NamedTemporaryFile(suffix=f".{kind.lower()}") as file:
            file.write(buffer.getvalue())
            file.flush()
            assert np.array_equal(read_image(file.name), levels.astype(np.float32) / np.float32(255))


@few
@given(images, st.integers(8, 32), st.booleans())
def test_what_is_prepared_is_square_and_within_0_and_1(image: FloatImage, size: int, trim: bool) -> None:
    found = prepare(image, size, trim)
    assert found.shape == (1, size, size)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


@few
@given(arrays.arrays(np.float32, (12, 10), elements=UNIT), st.integers(0, 4), UNIT)
def test_a_frame_comes_off_whatever_its_colour(inside: FloatImage, width: int, level: float) -> None:
    """What is left of a framed image is what is left of the image itself."""
    inside[0, ::2], inside[-1, ::2], inside[::2, 0], inside[::2, -1] = 0, 0, 0, 0
    inside[0, 1::2], inside[-1, 1::2], inside[1::2, 0], inside[1::2, -1] = 1, 1, 1, 1
    framed = np.full((12 + 2 * width, 10 + 2 * width), level, np.float32)
    framed[width : 12 + width, width : 10 + width] = inside
    assert np.array_equal(framed[trim_box(framed)], inside[trim_box(inside)])


# -- splits -------------------------------------------------------------------------------------------------------------------


@some
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["normal", "covid"])), max_size=60), st.integers(0, 5))
def test_a_patient_is_in_one_split_whatever_the_order_of_the_files(drawn: list[tuple[int, str]], seed: int) -> None:
    records = [Record(path=f"{i}.png", label=label, patient_id=f"p{p}", split="") for i, (p, label) in enumerate(drawn)]
    found = split_by_patient(records, seed)
    assert [record.path for record in found] == [record.path for record in records]
    splits = {record.patient_id: record.split for record in found}
    assert all(splits[record.patient_id] == record.split for record in found)
    first = {record.patient_id: record.label for record in reversed(records)}
    for label in ("normal", "covid"):
        of_class = Counter(splits[patient] for patient in first if first[patient] == label)
        count = sum(of_class.values())
        assert set(of_class) <= {"train", "val", "test"}
        assert abs(of_class["test"] - 0.2 * count) <= 1
        assert abs(of_class["val"] - 0.1 * count) <= 1
        assert count < 3 or of_class["test"] >= 1
    if all(label == first[f"p{patient}"] for patient, label in drawn):  # a patient's class does not hang on the order then
        backwards = split_by_patient(list(reversed(records)), seed)
        assert {record.patient_id: record.split for record in backwards} == splits


# -- statistics ---------------------------------------------------------------------------------------------------------------


@some
@given(numbers, st.lists(names, min_size=1, max_size=12))
def test_a_constant_has_no_interval(value: float, patients: list[str]) -> None:
    found = stats.patient_bootstrap([value] * len(patients), patients, n_boot=50)
    assert (found.value, found.low, found.high) == pytest.approx((value,) * 3, rel=1e-12, abs=1e-12)
    assert found.n == len(patients)


@few
@given(st.lists(st.tuples(names, numbers), min_size=1, max_size=20), st.integers(0, 3))
def test_the_fast_bootstrap_of_a_mean_holds_its_mean_within_the_patients_means(drawn: list[tuple[str, float]], seed: int) -> None:
    patients, values = zip(*drawn, strict=True)
    found = stats.patient_bootstrap(values, patients, n_boot=200, seed=seed)
    means = [np.mean([v for p, v in drawn if p == name]) for name in set(patients)]
    assert found.value == pytest.approx(np.mean(values), abs=1e-6)
    assert min(means) - 1e-6 <= found.low <= found.high <= max(means) + 1e-6
    moved = stats.patient_bootstrap(np.array(values) + 5, patients, n_boot=200, seed=seed)
    assert (moved.low, moved.high) == pytest.approx((found.low + 5, found.high + 5), abs=1e-6)


def test_the_bootstrap_of_two_patients_by_hand() -> None:
    """Of two patients with 0 and 1, a quarter of the resamples has a mean of 0, half 0.5, a quarter 1."""
    found = stats.patient_bootstrap([0, 1], ["a", "b"], n_boot=4000, confidence=0.2)
    assert (found.low, found.high) == (0.5, 0.5)
    found = stats.patient_bootstrap([0, 1], ["a", "b"], n_boot=4000, confidence=0.6)
    assert (found.low, found.high) == (0.0, 1.0)


@some
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=20))
def test_spearman_is_scipys_and_sees_ranks_alone(drawn: list[tuple[float, float]]) -> None:
    x, y = (np.array(each) for each in zip(*drawn, strict=True))
    found = stats.spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(found)
        return
    ranks = np.corrcoef(scipy_stats.rankdata(x), scipy_stats.rankdata(y))[0, 1]
    assert found == pytest.approx(ranks, abs=1e-9)
    assert found == pytest.approx(stats.spearman(x**3, 2 * y + 1), abs=1e-9)
    assert stats.spearman(-x, y) == pytest.approx(-found, abs=1e-9)


@some
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8))
def test_holm_by_its_definition(p_values: list[float | None]) -> None:
    """The adjusted p of a hypothesis is the largest (m - j) p_j among those that are no larger than its own, at most 1."""
    found = stats.holm(p_values)
    known = sorted(p for p in p_values if p is not None)
    for p, adjusted in zip(p_values, found, strict=True):
        if p is None:
            assert adjusted is None
        else:
            steps = [(len(known) - j) * known[j] for j in range(len(known)) if known[j] <= p]
            at_least = max(min(1.0, (len(known) - j) * known[j]) for j in range(known.index(p) + 1))
            assert adjusted is not None
            assert at_least - 1e-12 <= adjusted <= min(1.0, max(steps)) + 1e-12


@some
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_and_auroc_from_their_definitions(drawn: list[tuple[int, bool]]) -> None:
    p, positive = np.array([level / 20 for level, _ in drawn]), np.array([each for _, each in drawn])
    places = np.minimum((p * 15).astype(int), 14)
    error = sum((places == b).sum() * abs(p[places == b].mean() - positive[places == b].mean()) for b in set(places)) / len(p)
    assert stats.expected_calibration_error(p, positive) == pytest.approx(error, abs=1e-9)
    if positive.any() and not positive.all():
        pairs = [(a > b) + 0.5 * (a == b) for a in p[positive] for b in p[~positive]]
        assert stats.auroc(p, positive) == pytest.approx(np.mean(pairs))


# -- layers -------------------------------------------------------------------------------------------------------------------


@few
@given(st.integers(0, 2**31 - 1))
def test_both_ends_are_the_image_to_the_bit_for_any_weights(seed: int) -> None:
    torch.manual_seed(seed)
    network = Disentangler(GeneratorConfig(resolution=32, grid=16, backbone="small", width=8, layer_width=8, code_dim=4)).eval()
    free = FreeMap(FreeConfig(resolution=32, width=8)).eval()
    for parameter in (*network.parameters(), *free.parameters()):
        torch.nn.init.normal_(parameter, std=0.5)
    images = quantize16(torch.rand(2, 1, 32, 32))
    lungs = (torch.rand(2, 1, 32, 32) < 0.5).float()
    code = 3 * torch.randn(2, 4)
    apart = disentangle(network, images, lungs)
    assert torch.equal(laid(apart.structure, apart.layer), images)
    assert 0 <= float(apart.structure.min()) <= float(apart.structure.max()) <= 1
    with torch.no_grad():
        assert torch.equal(laid(images, network.layer(0 * code, lungs)), images)
        for tau in (network.layer(code, lungs), free.layer(images)):
            assert torch.equal(laid(images, tau, 0.0), images)
            assert 0 <= float(laid(images, tau).min()) <= float(laid(images, tau).max()) <= 1


@few
@given(st.integers(0, 2**31 - 1), st.integers(1, 12))
def test_a_response_does_not_depend_on_how_frames_are_batched(seed: int, count: int) -> None:
    torch.manual_seed(seed)
    target = ModuleTarget(
        build(ClassifierConfig()), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=32, channels=1)
    )
    frames = torch.rand(count, 1, 32, 32)
    lungs = torch.ones(1, 1, 32, 32)
    whole, parts = respond(target, frames, lungs), torch.cat([respond(target, frame[None], lungs) for frame in frames])
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)
