"""Maps against boxes: on images with known boxes, known maps get the figures worked out on paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gan_explain.attribution import Method
from gan_explain.bench import boxes as bench
from gan_explain.bench.boxes import REFERENCES, Boxed, Row, box_mask, by_map, differences, measured, measures, read_boxes
from gan_explain.counterfactual import Radiograph
from gan_explain.targets import ModuleTarget, TargetConfig
from gan_explain.types import DataError, Record, Target

WIDTH, HEIGHT = 120, 80


class Fixed(Method):
    """A map made of the images alone."""

    title = "fixed"
    caveat = "It does not look at the target."

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make

    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        return self.make(images)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3)) * 0


TARGET = ModuleTarget(Nothing(), TargetConfig(classes=("normal", "covid"), positive=("covid",), size=32, channels=1))


def lungs_of(images: Tensor) -> Tensor:
    """Two lungs that leave a quarter of the height above and below."""
    lungs = torch.zeros_like(images)
    high, wide = images.shape[-2:]
    lungs[..., high // 4 : 3 * high // 4, wide // 8 : 3 * wide // 8] = 1
    lungs[..., high // 4 : 3 * high // 4, 5 * wide // 8 : 7 * wide // 8] = 1
    return lungs


def record(path: str = "a.png", split: str = "test", patient: str = "p") -> Record:
    return Record(path, "other_pneumonia", patient, split, "nih", extra={"age": "50"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images, 120 x 80 pixels that grow brighter from top to bottom, with stripes: a plain shade is no radiograph."""
    for name in ("a.png", "b.png"):
        ramp = np.linspace(40, 200, HEIGHT).astype(np.uint8)[:, None].repeat(WIDTH, 1)
        ramp[:, np.arange(WIDTH) // 10 % 2 == 0] += 40
        Image.fromarray(ramp).save(tmp_path / name)
    return tmp_path


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(("path,x,y,width,height", *rows)) + "\n")
    return path


def test_boxes_are_read_by_image(tmp_path: Path) -> None:
    table = write(tmp_path / "boxes.csv", "b.png,1,2,3,4.5", "a.png,0,0,9,9", "b.png,5,5,2,2")
    found = read_boxes(table, [record("a.png"), record("b.png")])
    assert [each.record.path for each in found] == ["b.png", "a.png"]
    assert found[0].boxes == ((1, 2, 3, 4.5), (5, 5, 2, 2))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("c.png,1,1,1,1", "box 2: expected an image of the manifest, got 'c.png'"),
        ("a.png,1,1,one,1", "box 2: expected x, y, width and height as numbers"),
        ("a.png,1,1,0,1", "the last two above 0"),
        ("a.png,nan,1,1,1", "box 2: expected x, y"),
        ("a.png,1,1,inf,1", "box 2: expected x, y"),
        ("a.png,1,1", "expected 5 cells"),
    ],
)
def test_a_bad_box_is_named(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_boxes(write(tmp_path / "boxes.csv", "a.png,1,1,1,1", row), [record("a.png")])


def test_a_box_keeps_its_place_where_borders_were_trimmed() -> None:
    image = torch.zeros(1, 1, 6, 8)
    fit = {"size": [10, 10], "rows": [2, 8], "columns": [1, 9], "percentiles": [0.5, 99.5], "kept": [6, 8]}
    mask = box_mask([(3, 4, 2, 3)], Radiograph("x", image, image, "", fit))  # columns 3 and 4, rows 4 to 6 of the stored image
    expected = torch.zeros(6, 8)
    expected[2:5, 2:4] = 1
    assert torch.equal(mask[0, 0], expected)
    two = box_mask([(3, 4, 2, 3), (8, 7, 9, 9)], Radiograph("x", image, image, "", fit))
    assert two.sum() == 7
    with pytest.raises(ValueError, match="at its own size"):
        box_mask([(3, 4, 2, 3)], Radiograph("x", image[..., :4], image[..., :4], "", fit))


def test_known_maps_get_the_figures_worked_out_on_paper(root: Path) -> None:
    boxed = [Boxed(record(), ((15, 20, 15, 40),))]  # the left half of the lung on the left: a quarter of the lungs

    def at(x: int, y: int) -> Callable[[Tensor], Tensor]:
        def make(images: Tensor) -> Tensor:
            heat = torch.zeros_like(images)
            heat[..., y, x] = 1
            return heat

        return make

    def left(images: Tensor) -> Tensor:
        return (torch.arange(WIDTH) < 30).float().expand_as(images)

    made = {"left": left, "inside": at(20, 40), "outside": at(100, 40), "beside": at(2, 2), "against": lambda x: -left(x)}
    rows = {row.map: row for row in measured(root, boxed, {name: (Fixed(each), TARGET) for name, each in made.items()}, lungs_of)}
    assert list(rows) == [*made, *REFERENCES]
    assert rows["left"].auroc == 1
    assert rows["left"].share == pytest.approx(0.9, abs=0.1)  # the soft border lies outside of the box
    assert (rows["inside"].share, rows["inside"].pointing) == (1, 1)
    assert (rows["outside"].share, rows["outside"].pointing) == (0, 0)
    assert math.isnan(rows["beside"].share)  # all of it lies away from the lungs
    assert (rows["beside"].pointing, rows["beside"].auroc) == (0, 0.5)
    assert (rows["against"].pointing, rows["against"].auroc) == (0, 0.5)  # evidence against is no heat
    assert rows["even"].share == pytest.approx(0.25, abs=0.03)
    assert (rows["even"].pointing, rows["even"].auroc) == (0.25, 0.5)
    assert rows["depth"].auroc == pytest.approx(0.5, abs=0.01)  # half of a lung is as deep as the other half
    assert rows["depth"].share == pytest.approx(0.25, abs=0.01)
    assert rows["brightness"].auroc == pytest.approx(0.5, abs=0.1)  # as bright as the rest


def test_a_box_beside_the_image_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: expected a box on the image"):
        list(measured(root, [Boxed(record(), ((500, 0, 3, 3),))], {}, lungs_of))


def row(name: str, patient: str, share: float, split: str = "test") -> Row:
    return Row(name, f"{patient}.png", patient, split, share, 1.0, 0.5)


def test_differences_are_paired_and_splits_stand_apart() -> None:
    shares = [0.1, 0.4, 0.5, 0.9]
    rows = [row("reader", f"p{i}", share, "train" if i < 2 else "test") for i, share in enumerate(shares)]
    rows += [row("cam", f"p{i}", share - 0.05, "train" if i < 2 else "test") for i, share in enumerate(shares)]
    rows += [row("odd", f"p{i}", math.nan if i else 0.2, "train" if i < 2 else "test") for i in range(4)]
    assert {name: len(each) for name, each in by_map(rows).items()} == {"reader": 4, "cam": 4, "odd": 4}
    found, ahead = measures(rows, n_boot=200), differences(rows, "reader", n_boot=200)
    assert found["reader"]["share"].value == pytest.approx(0.475)
    assert found["reader"]["share"].by["train"].value == pytest.approx(0.25)
    assert found["odd"]["share"].n == 1
    paired = ahead["reader - cam"]["share"]
    assert [paired.value, paired.low, paired.high] == pytest.approx([0.05] * 3)  # each patient alike
    assert ahead["reader - odd"]["share"].value == pytest.approx(-0.1)
    assert list(ahead) == ["reader - cam", "reader - odd"]
    assert set(ahead["reader - cam"]) == set(bench.MEASURES)
