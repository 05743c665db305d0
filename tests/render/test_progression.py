"""Pictures of a progression: a column a radiograph, a line to its day, a chart a measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain.render.draw import ACCENT, COOL
from gan_explain.render.progression import (
    HEAT,
    LAYER,
    MOST,
    Chart,
    Line,
    Moment,
    Small,
    write_progression,
    write_progressions,
)  # fmt: skip

SIDE = 96


def moment(day: float, positive: bool = True, alpha: float = 0.3) -> Moment:
    maps = torch.zeros(1, 16, 16)
    maps[:, 8:, :8] = alpha
    return Moment(day, torch.full((1, 32, 32), 0.4), torch.ones(1, 32, 32), (maps, maps), ("p 0.50", "a", "b"), positive)


def drawn(path: Path, moments: list[Moment], rows: int = 2) -> np.ndarray:
    charts = (
        Chart("p", (Line("p", [0.1] * len(moments)),), top=1.0, threshold=0.4),
        Chart("s", (Line("s", [float("nan")] * len(moments)),)),
    )
    write_progression(moments, (LAYER, HEAT)[:rows], charts, path, title="somebody", side=SIDE)
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_map_is_coloured_where_it_is(tmp_path: Path) -> None:
    with_layer, without = (drawn(tmp_path / f"{alpha}.png", [moment(0, alpha=alpha), moment(3)]) for alpha in (0.3, 0.0))
    changed = np.flatnonzero((with_layer != without).any((1, 2)))
    assert with_layer.shape == without.shape
    assert changed.size
    assert changed.min() > 66 + SIDE  # below the radiographs


def test_rows_and_columns_grow_the_picture(tmp_path: Path) -> None:
    few = drawn(tmp_path / "few.png", [moment(day) for day in range(5)])
    more = drawn(tmp_path / "more.png", [moment(day) for day in range(6)])
    less = drawn(tmp_path / "less.png", [moment(day) for day in range(5)], rows=1)
    assert more.shape[1] - few.shape[1] > SIDE
    assert few.shape[0] - less.shape[0] > SIDE
    most = drawn(tmp_path / "most.png", [moment(day) for day in range(MOST)])
    assert drawn(tmp_path / "many.png", [moment(day) for day in range(3 * MOST)]).shape == most.shape


def test_one_day_twice_can_be_drawn(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a.png", [moment(2), moment(2)]).size


@pytest.mark.parametrize("positive", [True, False])
def test_the_verdict_has_its_colour(tmp_path: Path, positive: bool) -> None:
    picture = drawn(tmp_path / "a.png", [moment(0, positive), moment(1, positive)]).reshape(-1, 3)
    lines = {tuple(colour): int((picture == colour).all(1).sum()) for colour in (ACCENT, COOL)}
    assert (lines[ACCENT] > lines[COOL]) == positive or not positive
    assert lines[ACCENT if positive else COOL] > 50


def test_a_sheet_of_patients(tmp_path: Path) -> None:
    patients = [Small(f"patient {i}", [0, 3, 9], [0.1, 0.5, 0.9], [0.0, float("nan"), 1.0], 0.4) for i in range(5)]
    heights = []
    for count in (1, 4, 5):
        write_progressions(patients[:count], tmp_path / "s.png", label="p", other="strength")
        with Image.open(tmp_path / "s.png") as picture:
            heights.append(picture.size[1])
    assert heights[0] == heights[1] < heights[2]
