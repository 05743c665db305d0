"""Heat of a layer, overlays, sheets, curves and strips: what is drawn says what the numbers say."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain.counterfactual import Counterfactual, Traversal
from gan_explain.render import (
    axis_of,
    positive_label,
    write_curve,
    write_curves,
    write_sheet,
    write_strip,
    write_strips,
)
from gan_explain.render.curves import beside, draw_curve
from gan_explain.render.draw import ACCENT, BETWEEN, BLEND, FAINTEST, HEALED, STRENGTH, enlarge, heat, overlay, smooth
from gan_explain.render.sheet import GAP
from gan_explain.render.strip import draw_counterfactual, pick, verdict
from gan_explain.response import Frames, stored

SIDE, TAU = 16, 0.8  # as in conftest


def read(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def test_heat_is_one_minus_transmission(traversal: Traversal) -> None:
    found = heat(traversal)
    assert found.alpha[0].abs().max() == 0
    assert found.alpha[4, 0, 0, 0] == pytest.approx(1 - math.exp(-TAU))
    assert found.alpha[4, 0, 0, -1] == 0
    assert found.scale == pytest.approx(1 - math.exp(-1.5 * TAU))
    assert not found.signed


def test_heat_read_from_frames_is_the_same(traversal: Traversal) -> None:
    assert torch.allclose(heat(replace(traversal, pathology="between")).alpha, heat(traversal).alpha, atol=1e-4)


def test_faint_layer_stays_faint(traversal: Traversal) -> None:
    assert heat(replace(traversal, layer=traversal.layer / 100)).scale == FAINTEST


def test_layer_that_darkens_is_signed(traversal: Traversal) -> None:
    assert heat(replace(traversal, layer=-traversal.layer)).signed


def test_overlay_leaves_what_has_no_layer_and_warms_or_cools_the_rest() -> None:
    gray = np.full((1, 3, 3), 100, np.uint8)
    pixels = overlay(gray, np.array([[0.0, 0.5, -0.5]], np.float32), 0.5).astype(int)
    assert pixels[0, 0].tolist() == [100, 100, 100]
    assert pixels[0, 1, 0] > pixels[0, 1, 2] + 100
    assert pixels[0, 2, 2] > pixels[0, 2, 0] + 30


def test_positive_label() -> None:
    assert positive_label(("covid",)) == "p(covid)"
    assert positive_label(("covid", "pneumonia")) == "p(covid or pneumonia)"


def test_p_covid_stands_beside_a_union(traversal: Traversal) -> None:
    found = beside(traversal)
    assert found is not None
    assert found[0] == "p(covid)"
    assert found[1] == pytest.approx(0.25 * traversal.probability.numpy())
    assert beside(replace(traversal, positive=("covid",))) is None
    assert beside(replace(traversal, classes=("a", "b", "c"), positive=("c",))) is None


def test_points_of_the_curve_lie_on_it(traversal: Traversal) -> None:
    drawing = draw_curve(traversal, 500, 380)
    assert drawing.pixels.shape == (380, 500, 3)
    assert (np.diff(drawing.points[:, 0]) > 0).all()
    assert (np.diff(drawing.points[:, 1]) < 0).all()  # p rises, y falls
    for x, y in drawing.points[1:-1]:
        assert np.abs(drawing.pixels[round(y), round(x)].astype(int) - ACCENT).max() < 60


def test_faint_curve_is_darker(traversal: Traversal) -> None:
    bright, faint = (draw_curve(traversal, 500, 380, faint=faint) for faint in (False, True))
    x, y = bright.points[4].round().astype(int)
    assert faint.pixels[y, x, 0] < 0.7 * bright.pixels[y, x, 0]


def test_curve_that_never_crosses(traversal: Traversal, tmp_path: Path) -> None:
    flat = replace(traversal, probability=torch.zeros(7))
    assert flat.crossing is None
    write_curve(flat, tmp_path / "flat.png")
    write_curves([flat, traversal], tmp_path / "two.png")
    assert read(tmp_path / "flat.png").shape == read(tmp_path / "two.png").shape == (620, 1000, 3)


def test_pyplot_and_its_global_state_stay_out() -> None:
    code = "import sys, gan_explain.render; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_pick_has_both_ends(traversal: Traversal) -> None:
    assert pick(traversal, 4) == [0, 2, 4, 6]
    assert pick(traversal, 100) == list(range(7))


def test_verdict_is_positive_at_the_operating_point(traversal: Traversal) -> None:
    assert verdict(traversal, 0.4) == ACCENT
    assert verdict(traversal, 0.399) != ACCENT


def test_strip_shows_the_frames(traversal: Traversal, tmp_path: Path) -> None:
    write_strip(traversal, tmp_path / "strip.png", columns=4, side=64)
    pixels = read(tmp_path / "strip.png")
    for column, i in enumerate((0, 2, 4, 6)):
        left = 20 + column * 70
        assert (pixels[22:86, left : left + 64] == enlarge(traversal.frames[i], 64)).all()
    below = pixels[22 + 64 + 44 :][:64]
    assert (below[:, 20:84] == enlarge(traversal.frames[0], 64)).all()  # no layer at strength 0
    assert (below[10:50, 230:250, 0].astype(int) > below[10:50, 230:250, 2].astype(int) + 60).all()  # a warm one at 1.5


def test_strip_with_the_original_first(traversal: Traversal, tmp_path: Path) -> None:
    original = torch.full((1, SIDE, SIDE), 0.9)
    write_strip(traversal, tmp_path / "strip.png", columns=3, side=64, original=(original, 0.7))
    assert (read(tmp_path / "strip.png")[22:86, 20:84] == enlarge(original, 64)).all()


def test_strips_have_a_row_each(traversal: Traversal, tmp_path: Path) -> None:
    write_strips([traversal], tmp_path / "one.png", columns=3, side=64)
    write_strips([traversal] * 3, tmp_path / "three.png", columns=3, side=64)
    one, three = read(tmp_path / "one.png"), read(tmp_path / "three.png")
    assert three.shape[0] - one.shape[0] == 2 * (64 + 24)
    assert three.shape[1] == one.shape[1]


def test_sheet_puts_images_in_their_places(tmp_path: Path) -> None:
    images = torch.linspace(0, 1, 6).view(2, 3, 1, 1, 1).expand(2, 3, 1, 8, 8)
    write_sheet(images, tmp_path / "sheet.png")
    pixels = read(tmp_path / "sheet.png")
    assert pixels.shape == (2 * (8 + GAP) + GAP, 3 * (8 + GAP) + GAP, 3)
    centres = pixels[GAP + 4 :: 8 + GAP, GAP + 4 :: 8 + GAP, 0]
    assert centres.tolist() == [[0, 51, 102], [153, 204, 255]]


def test_sheet_of_uneven_rows_and_labels(tmp_path: Path) -> None:
    image = torch.ones(1, 32, 32)
    write_sheet([[image, image], [image]], tmp_path / "sheet.png", [["a", "b"], ["c"]], ["first", "second"])
    with pytest.raises(ValueError, match="a label an image"):
        write_sheet([[image]], tmp_path / "sheet.png", [["a", "b"]])
    with pytest.raises(ValueError, match="at least one"):
        write_sheet([], tmp_path / "sheet.png")


@pytest.mark.parametrize("pathology", ["to_positive", "to_negative"])
def test_the_heat_of_a_blend_is_what_its_frames_say(pathology: str, traversal: Traversal) -> None:
    """The layer of a blend is a difference of pixels, not an optical thickness: it is not taken for one."""
    start, end = torch.full((1, 4, 4), 0.2), torch.full((1, 4, 4), 0.6)
    end[:, 2:] = 0.1
    frames = torch.stack([start, start + 0.5 * (end - start), end])
    blend = replace(
        traversal, frames=stored(frames), strengths=torch.tensor([0.0, 0.5, 1.0]), layer=end - start, structure=start,
        pathology=pathology,
    )  # fmt: skip
    found = heat(blend)
    assert found.signed
    assert found.alpha[2, 0, 0, 0].item() == pytest.approx(0.4 / 0.8)  # half of the way to white
    assert found.alpha[2, 0, 3, 0].item() == pytest.approx(-0.1 / 0.2)  # half of the way to black
    assert found.alpha[0].abs().max() == 0


def test_the_axis_follows_from_the_pathology(traversal: Traversal) -> None:
    kinds = ("prior", "own", "from", "between", "to_positive", "to_negative")
    axes = [axis_of(replace(traversal, pathology=kind)) for kind in kinds]
    assert axes == [STRENGTH, STRENGTH, STRENGTH, BETWEEN, BLEND, HEALED]


# -- large and not square -----------------------------------------------------------------------------------------------------


def test_an_image_that_is_not_square_keeps_its_shape() -> None:
    wide = torch.full((1, 20, 40), 0.5)
    pixels = enlarge(wide, 64)
    assert pixels.shape == (64, 64, 3)
    assert (pixels[16:48] == 128).all()
    assert (pixels[:16] == 0).all()
    assert (pixels[48:] == 0).all()
    assert (enlarge(wide.transpose(1, 2), 64) == pixels.transpose(1, 0, 2)).all()
    assert (smooth(wide, 64) > 0).sum() == 32 * 64


def test_a_layer_lies_where_it_is_on_an_image_that_is_not_square(traversal: Traversal, tmp_path: Path) -> None:
    structure, layer = torch.full((1, 40, 20), 0.3), torch.zeros(1, 40, 20)
    layer[:, 20:] = 1
    film = replace(traversal, frames=stored(structure.repeat(7, 1, 1, 1)), structure=structure, layer=layer, lungs=layer)
    write_strip(film, tmp_path / "strip.png", columns=2, side=64)
    below = read(tmp_path / "strip.png")[22 + 64 + 44 :][:64, 20 + 70 : 20 + 70 + 64].astype(int)
    warm = below[:, :, 0] > below[:, :, 2] + 60
    assert warm[36:60, 20:44].all()  # the lower half of the image, which is 32 pixels wide
    assert not warm[:28].any()
    assert not warm[:, :14].any()


def test_a_traversal_is_reduced_frame_by_frame(traversal: Traversal) -> None:
    alive, most = 0, 0

    class Counted(torch.Tensor):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def make(i: int) -> torch.Tensor:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return torch.full((1, 300, 200), i / 7).as_subclass(Counted)

    large = torch.zeros(1, 300, 200)
    film = replace(traversal, frames=Frames(make, 7), structure=large, layer=large, lungs=large)
    small = film.reduced(30, [0, 3, 6])
    assert [tuple(frame.shape) for frame in small.frames] == [(1, 30, 20)] * 3
    assert small.strengths.tolist() == [0.0, 0.75, 1.5]
    assert small.layer.shape == small.lungs.shape == (1, 30, 20)
    assert float(small.frames[2].mean()) == pytest.approx(6 / 7)
    assert most < 7


def test_a_counterfactual_is_drawn_beside_its_structure() -> None:
    plain = torch.full((1, 1, 32, 24), 0.4)
    found = Counterfactual(plain, 0.5 * torch.ones_like(plain), plain + 0.2, 0.2, 0.7, True, "prior")
    shown = Image.open(io.BytesIO(found._repr_png_()))
    assert shown.size == (2 * 20 + 3 * 326 - 6, 34 + 320 + 34)
    drawn = draw_counterfactual(plain[0], plain[0], plain[0], "a caption", "prior", side=64)
    assert drawn.size == (2 * 20 + 3 * 70 - 6, 34 + 64 + 34)
