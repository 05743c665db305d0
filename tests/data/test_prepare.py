"""What a dataset gives of an image and its masks: all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain.data import open_dataset
from gan_explain.data.prepare import inside, prepare, prepare_aligned, read_mask
from gan_explain.types import DataError


@pytest.mark.parametrize("shape", [(40, 40), (300, 200), (7, 500)])
def test_prepare_gives_any_shape_at_any_size(shape: tuple[int, int]) -> None:
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    for size in (16, 65):
        prepared = prepare(array, size)
        assert prepared.shape == (1, size, size)
        assert 0 <= float(prepared.min()) <= float(prepared.max()) <= 1


def test_masks_are_cut_with_their_image() -> None:
    """A disc that is bright in the image and inside in the mask stays one disc, whatever the frame and the mask's own grid."""
    y, x = np.mgrid[0:120, 0:120]
    disc = ((x - 70) ** 2 + (y - 40) ** 2 < 15**2).astype(np.float32)
    frame = ((10, 20), (30, 10))
    framed = np.pad(disc * 0.8 + 0.1 + 0.05 * np.random.default_rng(0).random((120, 120), dtype=np.float32), frame)
    mask = np.pad(disc, frame)
    coarse = mask[::2, ::2]
    for given, least in ((mask, 0.97), (coarse, 0.93)):
        prepared, (lungs, nothing) = prepare_aligned(framed, [given, None], 64)
        assert nothing is None
        assert lungs is not None
        bright = prepared > 0.5
        dice = 2 * float((bright & (lungs > 0)).sum()) / float(bright.sum() + lungs.sum())
        assert dice > least
    assert torch.equal(prepared, prepare(framed, 64))


def test_empty_mask_stays_empty() -> None:
    assert not inside(np.zeros((30, 30), np.float32)).any()


def test_the_whole_image_is_given_whatever_its_sides(layouts: Any) -> None:
    """A wide film whose outer thirds a centre square would cut off, with its mask."""
    x = np.linspace(0, 255, 120).astype(np.uint8)
    film = np.tile(x, (40, 1))
    for name, values in (("a", film), ("b", film[:, ::-1]), ("mask", (film > 200).astype(np.uint8))):
        Image.fromarray(values).save(layouts.root / f"{name}.png")
    layouts.table("manifest.csv", (*layouts.header, "mask"), [(f"{n}.png", n, n, "train", "mask.png") for n in "ab"])
    item = open_dataset(layouts.root, size=60)[0]
    assert torch.allclose(item["image"][0, 30], torch.linspace(0, 1, 60), atol=0.02)
    assert float(item["lungs"].mean()) == pytest.approx(float((film > 200).mean()), abs=0.02)
    assert torch.equal(item["lungs"][0, 0, -12:], torch.ones(12))


def test_frames_are_trimmed_unless_they_are_not() -> None:
    framed = np.zeros((60, 80), np.float32)
    framed[10:50, 20:70] = np.random.default_rng(0).random((40, 50), np.float32)
    assert torch.equal(prepare(framed, 32), prepare(framed[10:50, 20:70], 32))
    assert not prepare(framed, 32, trim=False)[0, :4].any()


LUNGS = np.zeros((60, 80), np.uint8)
LUNGS[10:50, 10:35], LUNGS[10:50, 45:70] = 1, 2  # two lungs


@pytest.mark.parametrize(
    "values",
    [
        LUNGS,  # labels 1 and 2
        np.array([0, 127, 255], np.uint8)[LUNGS],
        np.array([0, 255, 255], np.uint8)[LUNGS],
        np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[LUNGS],  # two colours
        np.array([[0, 0, 0], [0, 0, 128], [128, 128, 0]], np.uint8)[LUNGS],
        np.array([[0, 0, 0, 0], [255, 0, 0, 255], [0, 0, 255, 255]], np.uint8)[LUNGS],  # on a transparent ground
        np.array([0, 1, 2], np.uint16)[LUNGS],
        np.array([0, 30000, 65535], np.uint16)[LUNGS],
        np.array([0, 1, 2], np.int32)[LUNGS],
    ],
)
def test_whatever_is_not_zero_is_inside(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "mask.tif")
    assert np.array_equal(read_mask(tmp_path / "mask.tif"), (LUNGS > 0).astype(np.float32))


def test_palette_and_soft_edges(tmp_path: Path) -> None:
    palette = Image.fromarray(LUNGS, mode="P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 90, 0])
    palette.save(tmp_path / "p.png")
    soft = Image.fromarray(np.array([0, 127, 255], np.uint8)[LUNGS]).resize((320, 240), Image.Resampling.BILINEAR)
    soft.save(tmp_path / "s.png")
    assert np.array_equal(read_mask(tmp_path / "p.png"), (LUNGS > 0).astype(np.float32))
    found = read_mask(tmp_path / "s.png")
    assert set(np.unique(found)) == {0, 1}
    assert abs(float(found.mean()) - float((LUNGS > 0).mean())) < 0.03


@pytest.mark.parametrize("quality", [95, 75, 30])
@pytest.mark.parametrize("values", [[0, 255, 255], [0, 127, 127], [[0, 0, 0], [255, 0, 0], [0, 255, 0]]])
def test_noise_of_jpeg_is_no_lung(tmp_path: Path, values: list[Any], quality: int) -> None:
    drawn = np.asarray(Image.fromarray(LUNGS).resize((320, 240), Image.Resampling.NEAREST))
    Image.fromarray(np.array(values, np.uint8)[drawn]).save(tmp_path / "mask.jpg", quality=quality)
    found = read_mask(tmp_path / "mask.jpg") > 0
    assert (found & (drawn > 0)).sum() > 0.98 * (found | (drawn > 0)).sum()


def test_noise_round_two_values_is_no_lung() -> None:
    noise = np.random.default_rng(0).integers(0, 9, LUNGS.shape)
    values = np.where(LUNGS > 0, 255 - noise, noise).astype(np.float32) / 255
    assert np.array_equal(inside(values), (LUNGS > 0).astype(np.float32))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8), r"got 256 values: 0, 1, 2"),  # a picture
        (np.array([3, 0, 255], np.uint8)[LUNGS], r"got 3 values: 0, 3, 255"),  # noise, or one lung of three
        (np.array([255, 100, 180], np.uint8)[LUNGS], r"got 3 values: 100, 180, 255"),  # which is outside?
        (np.array([255, 0, 0], np.uint8)[LUNGS], "got one that covers all four corners"),
        (np.full((60, 80), 255, np.uint8), "got 1 values: 255"),
    ],
)
def test_a_mask_that_is_none_is_named(tmp_path: Path, values: np.ndarray, says: str) -> None:
    Image.fromarray(values).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=rf"mask\.png: expected a mask of 0 outside and one or more clear values inside, {says}"):
        read_mask(tmp_path / "mask.png")


def test_an_ambiguous_mask_rejects_its_image(layouts: Any) -> None:
    rows = [(f"{i}.png", "covid" if i % 2 else "normal", str(i), "train", "m.png" if i else "0.png") for i in range(21)]
    layouts.disc("m.png")
    layouts.manifest(rows, (*layouts.header, "mask"))
    assert len(open_dataset(layouts.root, size=16)) == 20
