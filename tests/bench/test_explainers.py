"""Heat maps side by side: known maps of a known target get the figures worked out on paper, whatever the size of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gan_explain.attribution import GradCam, Method, MethodOptions
from gan_explain.bench import explainers_rows as bench
from gan_explain.bench.explainers_rows import Row
from gan_explain.bench.explainers_table import COLUMNS, grouped, leads, leads_markdown, markdown, measures
from gan_explain.data import Batch, Dataset, open_dataset
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import DataError, Target

SIZE = 32


class Brightness(nn.Module):
    """The log-odds are the mean brightness, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1), 20.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x.mean((1, 2, 3)) - 0.4) * self.weight[0, 0]


class Fixed(Method):
    """A map made of the images alone."""

    title = "fixed"
    caveat = "It does not look at the target."

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        return self.make(images)


def everywhere(images: Tensor) -> Tensor:
    return torch.ones_like(images)


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return open_dataset("phantom:n=40,covid=0.5", size=SIZE)


@pytest.fixture(scope="module")
def target() -> ModuleTarget:
    return ModuleTarget(Brightness(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1))


@pytest.fixture(scope="module")
def cnn() -> ModuleTarget:
    with torch.random.fork_rng():
        torch.set_rng_state(torch.Generator().manual_seed(4).get_state())
        network = build(ClassifierConfig(arch="small", classes=2, channels=1))
    return ModuleTarget(network, TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1))


def rows_of(
    dataset: Dataset, target: Target, methods: dict[str, Method], batch_size: int = 3, baseline: str = "mean"
) -> list[Row]:
    batches = bench.questions(dataset, target, everywhere, batch_size)
    stand_in = bench.baseline_of(baseline, target, dataset)
    return list(bench.explained(methods, target, batches, stand_in, name="it", steps=4, seed=0))


def test_only_positives_with_a_lesion_are_asked_about(phantoms: Dataset, target: ModuleTarget) -> None:
    found = bench.positives(phantoms, target, None, 0)
    assert len(found) == 20
    assert {record.label for record in found.records} == {"covid"}
    few = bench.positives(phantoms, target, 5, 0)
    assert len(few) == 5
    assert few.records == bench.positives(phantoms, target, 5, 0).records
    with pytest.raises(DataError, match="covid"):
        bench.positives(phantoms.where(lambda record: record.label == "normal"), target, None, 0)


def test_where_there_is_no_lesion_mask_the_lungs_count_a_humans_first(
    phantoms: Dataset, target: ModuleTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = bench.positives(phantoms, target, 4, 0)
    [lesions] = list(bench.questions(asked, target, everywhere, 4))
    assert lesions.kinds == ("lesion",) * 4
    whole = Dataset.batch

    def without_lesions(self: Dataset, indices: Sequence[int] | None = None) -> Batch:
        batch = whole(self, indices)
        return replace(batch, lesion=None, has_lungs=torch.tensor([True, False, True, False]))

    monkeypatch.setattr(Dataset, "batch", without_lesions)
    [lungs] = list(bench.questions(asked, target, everywhere, 4))
    assert lungs.kinds == ("lungs, by hand", "lungs, segmented") * 2
    assert bool(lungs.masks[1].all())
    assert not bool(lungs.masks[0].all())
    assert bool(lungs.lungs[0].all())  # what the methods are given is the segmenter's


def test_known_maps_get_the_figures_worked_out_on_paper(phantoms: Dataset, target: ModuleTarget) -> None:
    asked = bench.positives(phantoms, target, 6, 0)
    lesions = asked.batch().lesion
    assert lesions is not None
    share = lesions.flatten(1).mean(1).tolist()
    place = {id_: i for i, id_ in enumerate(asked.batch().images.flatten(1).sum(1).tolist())}

    def perfect(images: Tensor) -> Tensor:
        return torch.stack([lesions[place[total]] for total in images.flatten(1).sum(1).tolist()])

    methods: dict[str, Method] = {
        "perfect": Fixed(perfect), "opposite": Fixed(lambda x: -perfect(x)), "flat": Fixed(torch.ones_like),
        "brightest": Fixed(lambda x: x), "darkest": Fixed(lambda x: 1 - x),
    }  # fmt: skip
    rows = rows_of(asked, target, methods)
    assert len(rows) == 6 * 7
    by = grouped(rows)
    for row in by["it", "perfect"]:
        assert (row.pointing, row.iou, row.mass) == (1, 1, 1)
        assert (row.likeness, row.changed) != (row.likeness, 1)  # it does not look at the target
        assert row.ssim == pytest.approx(1, abs=1e-5)
    for row, area in zip(by["it", "opposite"], share, strict=True):
        assert row.pointing == 0 or area > 0.2  # the positive part is flat: it points nowhere
        assert row.iou == 0
        assert math.isnan(row.mass)
        assert row.as_dict()["mass"] is None
    for row, area in zip(by["it", "flat"], share, strict=True):
        assert (row.pointing, row.iou) == (0, 0)
        assert row.mass == pytest.approx(area)
    for bright, dark in zip(by["it", "brightest"], by["it", "darkest"], strict=True):
        assert bright.deletion < dark.deletion  # of this target the brightest pixels are the evidence
        assert bright.insertion > dark.insertion
        assert bright.road > 0.1 > dark.road
        assert bright.p_baseline == pytest.approx(bright.p, abs=1e-5)  # the mean has the same mean
    assert {row.called for row in rows} <= {"positive", "negative"}
    assert all(row.called == ("positive" if row.p >= 0.5 else "negative") for row in rows)


def test_nothing_depends_on_the_size_of_a_batch(phantoms: Dataset, cnn: ModuleTarget) -> None:
    asked = bench.positives(phantoms, cnn, 5, 0)
    methods: dict[str, Method] = {"grad_cam": GradCam(), "brightest": Fixed(lambda x: x)}
    one, all_ = (sorted(rows_of(asked, cnn, methods, size, "blurred"), key=lambda row: (row.path, row.method)) for size in (1, 5))
    for a, b in zip(one, all_, strict=True):
        left, right = replace(a, ms=0).as_dict(), replace(b, ms=0).as_dict()
        assert left.keys() == right.keys()
        for name, value in left.items():
            # a float of the last digits may put one pixel of nearly equal heat before another
            assert value == (pytest.approx(right[name], abs=5e-3) if isinstance(value, float) else right[name]), name
        assert a.ms > 0 or a.method in bench.REFERENCES


def test_a_map_of_the_network_changes_with_its_weights(phantoms: Dataset, cnn: ModuleTarget) -> None:
    asked = bench.positives(phantoms, cnn, 4, 0)
    by = grouped(rows_of(asked, cnn, {"gradient": _Gradient(), "brightest": Fixed(lambda x: x)}))
    assert [row.changed for row in by["it", "gradient"]] == [1] * 4
    assert [row.changed for row in by["it", "brightest"]] == [0] * 4
    assert [row.likeness for row in by["it", "brightest"]] == pytest.approx([1] * 4)


class _Gradient(Method):
    title = "gradient"
    caveat = "-"
    signed = True

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = images.clone().requires_grad_()
            [slope] = torch.autograd.grad(target.logits(leaf)[:, 1].sum(), leaf)
        return slope


def test_baselines(phantoms: Dataset, target: ModuleTarget) -> None:
    batch = phantoms.batch(range(3))
    lungs = batch.lungs
    by = {name: bench.baseline_of(name, target, phantoms)(batch.images, lungs) for name in bench.BASELINES}
    assert all(each.shape == batch.images.shape for each in by.values())
    assert by["mean"].flatten(1).std(1).amax() == 0
    assert torch.allclose(by["mean"][:, 0, 0, 0], batch.images.mean((1, 2, 3)))
    seen = ModuleTarget(Brightness(), TargetConfig(positive=("covid",), size=SIZE, lungs_only=True, channels=1))
    inside = bench.baseline_of("mean", seen, phantoms)(batch.images, lungs)[:, 0, 0, 0]
    assert torch.allclose(inside, (batch.images * lungs).sum((1, 2, 3)) / lungs.sum((1, 2, 3)))
    negatives = phantoms.where(lambda record: record.label == "normal" and record.split == "train").batch().images
    assert torch.allclose(by["negatives"][2], negatives.mean(0), atol=1e-6)
    assert by["blurred"].diff(dim=3).abs().mean() < 0.7 * batch.images.diff(dim=3).abs().mean()
    with pytest.raises(DataError, match="training split"):
        bench.baseline_of("negatives", target, phantoms.split("test"))
    with pytest.raises(ValueError, match="blurred, mean, negatives"):
        bench.baseline_of("black", target, phantoms)


def test_methods_that_a_target_does_not_allow_are_left_out_with_their_reason(phantoms: Dataset, target: ModuleTarget) -> None:
    [asked] = bench.questions(bench.positives(phantoms, target, 1, 0), target, everywhere, 1)
    found, reasons = bench.usable(["grad_cam", "difference", "occlusion"], MethodOptions(), target, asked)
    assert list(found) == ["occlusion"]
    assert "convolution" in reasons["grad_cam"]
    assert "generator" in reasons["difference"]


def test_noise_says_nothing_and_the_mask_is_where_it_is(phantoms: Dataset, target: ModuleTarget) -> None:
    asked = bench.positives(phantoms, target, 12, 0)
    by = grouped(rows_of(asked, target, {}, 5))
    assert [name for _, name in by] == ["noise", "mask"]
    lesions = asked.batch().lesion
    assert lesions is not None
    noise, mask = by["it", "noise"], by["it", "mask"]
    assert [each.mass for each in noise] == pytest.approx(lesions.flatten(1).mean(1).tolist(), abs=0.03)
    assert sum(each.road for each in noise) / 12 == pytest.approx(0, abs=0.02)
    assert {(each.pointing, each.iou, each.mass) for each in mask} == {(1, 1, 1)}
    assert all(math.isnan(each.changed) and math.isnan(each.ms) for each in (*noise, *mask))


def row(method: str, patient: str, value: float, lower_is_better: float = 0.0) -> Row:
    numbers = dict.fromkeys((*COLUMNS, "p", "p_baseline"), value) | {"deletion": lower_is_better}
    return Row("it", method, f"{patient}.png", patient, "phantom", "covid", "lesion", called="positive", **numbers)


def test_means_leads_and_the_table() -> None:
    rows = [row("difference", f"p{i}", 0.8, 0.2) for i in range(10)]
    rows += [row("grad_cam", f"p{i}", 0.1 * i, 0.5) for i in range(10)]
    rows += [row("fem", f"p{i}", 0.3, 0.1) for i in range(10)]
    by = grouped(rows)
    found = measures(by)
    assert found["it", "grad_cam"]["iou"].value == pytest.approx(0.45)
    assert found["it", "grad_cam"]["iou"].n == 10
    ahead = {each.measure: each for each in leads(by)}
    assert {each.method for each in ahead.values()} == {"difference"}
    assert "ms" not in ahead
    assert (ahead["iou"].best_other, ahead["deletion"].best_other) == ("grad_cam", "fem")
    assert ahead["iou"].ahead.value == pytest.approx(0.35)
    assert ahead["iou"].ahead.low < 0.35 < ahead["iou"].ahead.high
    assert ahead["deletion"].ahead.value == pytest.approx(-0.1)  # more is worse
    lines = markdown(by, found).splitlines()
    assert len(lines) == 2 + 3
    assert lines[2].startswith("| difference | 0.800 [0.800, 0.800] |")
    assert lines[2].endswith("| 10 (10) |")
    assert "| difference | deletion AUC | fem | -0.100 [-0.100, -0.100] | 10 |" in leads_markdown(leads(by))
    assert leads_markdown(leads(grouped(rows[10:]))) == ""
    with pytest.raises(DataError, match="same images"):
        leads(grouped([*rows[:-1], row("fem", "someone else", 0.9)]))
    with pytest.raises(DataError, match="at least one method"):
        grouped([])


def test_maps_of_another_target_count_where_only_a_mask_is_asked() -> None:
    rows = [row("difference", f"p{i}", 0.8, 0.2) for i in range(5)]
    rows += [row("grad_cam", f"p{i}", 0.5, 0.5) for i in range(5)]
    rows += [replace(row("cxrnet", f"p{i}", 0.9, 0.1), target="other") for i in range(5)]
    found = {each.measure: each for each in leads(grouped(rows))}
    assert {name: found[name].best_other for name in ("pointing", "iou", "mass")} == dict.fromkeys(
        ("pointing", "iou", "mass"), "cxrnet (other)"
    )
    assert found["iou"].ahead.value == pytest.approx(-0.1)
    assert found["deletion"].best_other == "grad_cam"
    few = [each for each in rows if each.target == "it" or each.path != "p0.png"]
    assert {each.best_other for each in leads(grouped(few))} == {"grad_cam"}  # not on the same images


def test_two_targets_are_two_groups() -> None:
    rows = [row("grad_cam", "a", 0.5), replace(row("difference", "a", 0.6), target="other")]
    by = grouped(rows)
    assert list(by) == [("it", "grad_cam"), ("other", "difference")]
    assert {each.measure for each in leads(by)} == {"pointing", "iou", "mass"}
    assert "| other | difference |" in markdown(by, measures(by))
