"""An audit end to end on phantoms: shards join to the bit, nothing is random, what is known in advance comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from markupsafe import escape
from torch import Tensor

import gan_explain as gx
from gan_explain.audit import AuditOptions, AuditResult, Shard, conclude, gather, union
from gan_explain.audit.thresholds import IDS
from gan_explain.data import Dataset, open_dataset
from gan_explain.lungs import support
from gan_explain.metrics.change import Models
from gan_explain.metrics.nulls import ConstantTarget
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.optics import bounded
from gan_explain.pixels import gaussian_blur
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import DataError, Target

SIZE = 64
PLAN = AuditOptions(
    strengths=tuple(np.linspace(0, 1.5, 21).tolist()), codes=3, bootstrap=50, show=4, by=("source", "severity"), donors=2
)


class Brightness(ConstantTarget):
    """p is a sigmoid of the mean brightness of the part of the image that it looks at."""

    def __init__(self, middle: float, rows: slice = slice(None), slope: float = 60) -> None:
        for name, value in {"middle": middle, "rows": rows, "slope": slope}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "classes", ("normal", "covid"))
        object.__setattr__(self, "positive", ("covid",))

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        z = self.slope * (images[:, :, self.rows].mean((1, 2, 3)) - self.middle)  # type: ignore[attr-defined]
        return torch.stack([torch.zeros_like(z), z], 1)


def whole(images: Tensor) -> Tensor:
    mask = torch.zeros_like(images)
    mask[..., 16:52, 8:28] = 1
    mask[..., 16:52, 36:56] = 1
    return mask


class Thickness(Disentangler):
    """Reads what is brighter than the median of the lungs, smoothly; its prior is untrained."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(GeneratorConfig(resolution=SIZE, grid=32, backbone="small", width=8, layer_width=8, code_dim=8))

    def read(self, images: Tensor, lungs: Tensor) -> Tensor:
        middle = torch.stack([x[m > 0].median() for x, m in zip(images, lungs, strict=True)]).view(-1, 1, 1, 1)
        above = gaussian_blur((images - middle).clamp(min=0), 3.0)
        return bounded(2 * above * support(lungs), images)


class Brighter:
    """A free map: a haze over the whole image."""

    def layer(self, images: Tensor) -> Tensor:
        return torch.full_like(images, 0.2)


def audited(models: Models, dataset: Dataset, options: AuditOptions, **more: Any) -> AuditResult:
    return conclude(gather(models, dataset, options, **more))


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return open_dataset("phantom:n=40,marker_covid=0.5", size=SIZE)


@pytest.fixture(scope="module")
def subject(phantoms: Dataset) -> Models:
    generator = Thickness().requires_grad_(False).eval()
    middle = float(phantoms.batch().images.mean())
    judges = {"upper": cast(Target, Brightness(middle, slice(0, 40))), "lower": cast(Target, Brightness(middle, slice(24, 64)))}
    return Models(generator, cast(Target, Brightness(middle + 0.02)), whole, judges, Brighter())


@pytest.fixture(scope="module")
def result(subject: Models, phantoms: Dataset) -> AuditResult:
    return audited(subject, phantoms, PLAN)


def test_every_curve_and_question_is_there(result: AuditResult, phantoms: Dataset) -> None:
    document = result.findings
    assert [each.id for each in result.verdict] == list(IDS)
    for name in ("negative", "negative.free", "healed"):
        curve = document.curves[name]
        assert curve is not None
        assert len(curve.x) == len(curve.mean) == 21
        assert all(low <= mean <= high for low, mean, high in zip(curve.low, curve.mean, curve.high, strict=True))
    assert len(result.samples) == len(phantoms)
    assert [sample.place for sample in result.samples] == list(range(len(phantoms)))
    assert {each.column for each in document.subgroups} == {"source", "severity"}
    json.dumps(result.as_json(), allow_nan=False)


def test_curves_begin_at_the_images_own_p_and_rise_by_what_the_table_says(result: AuditResult) -> None:
    first = result.curves["negative"]
    for row in result.samples:
        if row.called == "negative":
            assert first[row.place][0] == pytest.approx(row["p"], abs=1e-6)
    assert result.measures["rise"].value == pytest.approx(
        np.mean([row["rise"] for row in result.samples if "rise" in row.values])
    )
    assert result.findings.curves["negative"].mean[-1] > result.findings.curves["negative"].mean[0]


def test_the_way_from_healed_ends_at_the_image_itself(result: AuditResult) -> None:
    at = int(np.abs(np.array(PLAN.strengths) - 1).argmin())
    strengths = np.array(PLAN.strengths)
    assert strengths[at] == pytest.approx(1, abs=0.04)
    called = {row.place: row for row in result.samples if row.called == "positive"}
    assert called
    for place, row in called.items():
        curve = result.curves["healed"][place]
        assert row["p"] == pytest.approx(np.interp(1.0, strengths, curve), abs=0.02)
        assert row["heal.fall"] == pytest.approx(row["p"] - curve[0], abs=1e-6)
    assert result.measures["exact.one"].value == result.measures["exact.zero"].value == 0


def test_shards_join_to_the_unsharded_audit_to_the_bit(
    subject: Models, phantoms: Dataset, result: AuditResult, tmp_path: Path
) -> None:
    for i in (3, 1, 2):
        gather(subject, phantoms, PLAN, shard=(i, 3)).save(tmp_path / str(i))
    folders = [tmp_path / str(i) for i in (2, 3, 1)]
    shards = [Shard.load(folder) for folder in folders]
    assert all(len(shard.gathered.samples) < len(phantoms) for shard in shards)
    conclude(union(shards, [str(folder) for folder in folders])).save(tmp_path / "joined")
    result.save(tmp_path / "whole")
    for path in sorted((tmp_path / "whole").rglob("*")):
        if path.is_file():
            assert (tmp_path / "joined" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes(), path.name


def test_a_second_audit_is_the_same(subject: Models, phantoms: Dataset, result: AuditResult) -> None:
    assert json.dumps(audited(subject, phantoms, PLAN).as_json()) == json.dumps(result.as_json())


def test_a_patient_does_not_depend_on_the_company(subject: Models, phantoms: Dataset) -> None:
    """What is done to the first ten patients is the same with and without the others; only donors are drawn from the company."""
    few = phantoms.where(lambda record: int(record.extra["index"]) < 10)
    quick = replace(PLAN, quick=True)
    alone, together = gather(subject, few, quick), gather(subject, phantoms, quick)
    for name in ("healed", "probe", "negative.free"):
        assert alone.gathered.curves[name]
        for place, values in alone.gathered.curves[name].items():
            assert together.gathered.curves[name][place] == values


def test_what_was_saved_renders_again_without_models_or_data(result: AuditResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    loaded = AuditResult.load(tmp_path)
    assert loaded.document == result.document
    assert loaded.report() == result.report() == (tmp_path / "report.html").read_text()


def test_the_outside_is_named_where_the_target_looks_there_only(subject: Models, phantoms: Dataset) -> None:
    """Half of the phantoms with covid bear a letter in an upper corner; this target looks at the top rows and nothing else."""
    top = slice(0, 10)
    middle = float(phantoms.batch().images[:, :, top].mean()) + 0.02
    plan = replace(PLAN, marker=None, donors=4)
    found = audited(replace(subject, target=cast(Target, Brightness(middle, top, 200)), judges={}), phantoms, plan)
    outside = {each.name: each.excess.value for each in found.findings.effects}
    assert outside["outside"] > 0.05 > abs(outside["lungs"])
    assert found.measures["opacity_probe.rises"].value == 0
    assert {each.id: each.answer for each in found.verdict}["opacities"] != "pass"


def test_a_constant_target_is_not_explained(subject: Models, phantoms: Dataset) -> None:
    constant = cast(Target, ConstantTarget(0.3, classes=("normal", "covid"), positive=("covid",)))
    found = audited(replace(subject, target=constant), phantoms, PLAN)
    assert np.ptp(found.findings.curves["negative"].mean) < 1e-6
    answers = {each.id: each.answer for each in found.verdict}
    assert answers.pop("informed") != "pass"
    assert set(answers.values()) == {"abstain"}


def test_an_untrained_target_is_not_explained(subject: Models, phantoms: Dataset) -> None:
    torch.manual_seed(0)
    network = build(ClassifierConfig(arch="small", classes=2))
    untrained = ModuleTarget(network, TargetConfig(classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1))
    middle = float(untrained.probability(phantoms.batch().images).median())
    untrained.operating_point = middle  # so that it calls some images negative and some positive
    found = audited(replace(subject, target=untrained, judges={}), phantoms, replace(PLAN, quick=True))
    assert {"negative", "positive"} == {row.called for row in found.samples}
    assert {each.answer for each in found.verdict if each.id != "informed"} == {"abstain"}
    assert "nothing to judge or to explain" in found.summary[0]


def test_a_target_compared_with_itself_differs_nowhere(subject: Models, phantoms: Dataset) -> None:
    found = audited(subject, phantoms, replace(PLAN, quick=True), compare=subject)
    assert found.document.compare is not None
    difference, own = found.document.compare.difference, found.findings.curves["negative"]
    assert difference is not None
    assert own is not None
    assert difference.n == own.n
    assert difference.mean == difference.low == difference.high == (0.0,) * 21


def test_pictures_are_as_many_as_asked_for_with_the_worst_among_them(
    result: AuditResult, subject: Models, phantoms: Dataset
) -> None:
    every = audited(subject, phantoms, replace(PLAN, quick=True, show=500)).pictures
    assert len(result.pictures) == 4
    worst = sorted(every, key=lambda each: each.probability[-1] - each.probability[0])[:2]
    assert {(each.row, each.way) for each in worst} <= {(p.row, p.way) for p in result.pictures}


def test_an_empty_dataset_is_an_error(subject: Models, phantoms: Dataset) -> None:
    with pytest.raises(DataError, match="expected images to audit"):
        audited(subject, phantoms.where(lambda _: False), PLAN)


@pytest.mark.parametrize("damage", ["missing", "twice", "another"])
def test_shards_that_do_not_make_a_whole_are_refused(subject: Models, phantoms: Dataset, damage: str) -> None:
    quick = replace(PLAN, quick=True)
    few = phantoms.where(lambda record: int(record.extra["index"]) < 8)
    first = gather(subject, few, quick, shard=(1, 2))
    other = gather(subject, few, replace(quick, seed=1), shard=(2, 2))
    given: dict[str, list[Any]] = {"missing": [first], "twice": [first, first], "another": [first, other]}
    with pytest.raises(DataError, match="same audit" if damage == "another" else "each of 2 shards once"):
        union(given[damage], ["a", "b"][: len(given[damage])])


@pytest.mark.parametrize("name", ["shard.json", "curves.csv", "features.safetensors", "pictures/pictures.json"])
def test_a_damaged_shard_names_the_file(subject: Models, phantoms: Dataset, tmp_path: Path, name: str) -> None:
    few = phantoms.where(lambda record: int(record.extra["index"]) < 4)
    gather(subject, few, replace(PLAN, quick=True)).save(tmp_path)
    (tmp_path / name).write_bytes(b"\x00damaged")
    with pytest.raises(DataError, match=name):
        Shard.load(tmp_path)


def test_a_damaged_result_names_the_file(result: AuditResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    (tmp_path / "audit.json").write_text("{")
    with pytest.raises(DataError, match=r"audit\.json"):
        AuditResult.load(tmp_path)


def test_an_audit_of_an_older_schema_says_so_in_one_line(result: AuditResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    (tmp_path / "audit.json").write_text(json.dumps({"kind": "audit", "schema_version": 1}))
    with pytest.raises(
        DataError, match=r"audit\.json: expected an audit \(schema 2\), got audit of schema 1; audit again"
    ) as caught:
        AuditResult.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_document_of_another_shape_is_refused(result: AuditResult, tmp_path: Path) -> None:
    result.save(tmp_path)
    document = json.loads((tmp_path / "audit.json").read_text())
    document["findings"]["measures"]["rise"] = {"value": "much"}
    (tmp_path / "audit.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"audit\.json"):
        AuditResult.load(tmp_path)


def test_the_public_face_takes_models_one_by_one(subject: Models, phantoms: Dataset) -> None:
    few = phantoms.where(lambda record: int(record.extra["index"]) < 12)
    quick = replace(PLAN, quick=True)
    assert subject.generator is not None
    assert subject.target is not None
    found = gx.audit(subject.generator, subject.target, few, quick, segmenter=whole, judges=subject.judges, free=subject.free)
    assert found.as_json() == audited(subject, few, quick).as_json()


def test_a_notebook_shows_summary_and_verdict_without_scripts(result: AuditResult) -> None:
    poisoned = replace(result.findings, summary=('<script>alert("1")</script>', *result.summary[1:]))
    page = replace(result, document=replace(result.document, findings=poisoned))._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert all(str(escape(each.question)) in page for each in result.verdict)
    assert "AUROC" in page
    assert len(repr(result)) < 2000


def test_what_is_no_generator_target_or_dataset_is_named() -> None:
    config = GeneratorConfig(resolution=SIZE, grid=32, backbone="small", width=8, layer_width=8, code_dim=8)
    generator, target = Disentangler(config), Brightness(0.5)
    given: list[tuple[Any, Any, Any, str]] = [
        ("cxr", target, "phantom", "expected a generator .*, got 'cxr'"),
        (generator, None, "phantom", "expected a target .*, got NoneType"),
        (generator, target, "phantom", r"expected a dataset \(open_dataset\), got str"),
    ]
    for *parts, says in given:
        with pytest.raises(TypeError, match=says):
            gx.audit(*parts)
