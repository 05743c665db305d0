"""The film: its pictures, its files, and what happens without ffmpeg."""

from __future__ import annotations

import logging
import subprocess
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain.counterfactual import Traversal
from gan_explain.render import write_film
from gan_explain.render.draw import enlarge
from gan_explain.render.video import HEAD, MARGIN, compose_film
from gan_explain.response import Frames

SIDE = 256


def test_pictures_show_frame_layer_and_point(traversal: Traversal) -> None:
    pictures = list(compose_film(traversal, side=SIDE))
    assert len(pictures) == 7
    assert pictures[0].shape[0] % 2 == pictures[0].shape[1] % 2 == 0
    rows, left, right = slice(HEAD, HEAD + SIDE), slice(MARGIN, MARGIN + SIDE), slice(2 * MARGIN + SIDE, 2 * MARGIN + 2 * SIDE)
    for picture, frame in zip(pictures, traversal.frames, strict=True):
        assert (picture[rows, left] == enlarge(frame, SIDE)).all()
    assert (pictures[0][rows, right] == pictures[0][rows, left]).all()
    assert (pictures[-1][rows, right] != pictures[-1][rows, left]).any()


def test_point_moves_right_and_up(traversal: Traversal) -> None:
    pictures = [picture.astype(int) for picture in compose_film(traversal, side=SIDE)]
    plot = slice(3 * MARGIN + 2 * SIDE, None)
    centres = []
    for picture in pictures[1:-1]:
        changed = np.abs(picture - pictures[0])[HEAD + 40 : HEAD + SIDE, plot].sum(2)
        white = (picture[HEAD + 40 : HEAD + SIDE, plot].min(2) > 200) & (changed > 100)
        centres.append(np.argwhere(white).mean(0))
    assert (np.diff([x for _, x in centres]) > 0).all()
    assert (np.diff([y for y, _ in centres]) < 0).all()


def test_both_files_play(traversal: Traversal, tmp_path: Path) -> None:
    assert write_film(traversal, tmp_path, fps=10, side=SIDE) == ["transition.mp4", "transition.gif"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["transition.gif", "transition.mp4"]
    with Image.open(tmp_path / "transition.gif") as gif:
        assert gif.n_frames == 7  # type: ignore[attr-defined]
        assert gif.info["loop"] == 0
    film = str(tmp_path / "transition.mp4")
    count, seconds = imageio_ffmpeg.count_frames_and_secs(film)
    assert count == 8 + 5 + 8  # 0.8 s of rest at either end
    assert seconds == pytest.approx(2.1)
    about = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", film], capture_output=True, text=True, check=False).stderr
    assert "h264" in about
    assert "yuv420p" in about
    assert "creation_time" not in about


def test_gif_keeps_the_grays(traversal: Traversal, tmp_path: Path) -> None:
    write_film(traversal, tmp_path, side=SIDE)
    width = round(960 / (4 * MARGIN + 2 * SIDE + round(SIDE * 1.35 / 2) * 2) * SIDE)
    with Image.open(tmp_path / "transition.gif") as gif:
        first = np.asarray(gif.convert("RGB"))
    panel = first[60:200, 20 : width - 20].astype(int)
    assert np.abs(panel - 64).max() <= 3


def test_without_ffmpeg_there_is_a_gif(
    traversal: Traversal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/does/not/exist")
    with caplog.at_level(logging.WARNING):
        assert write_film(traversal, tmp_path, side=SIDE) == ["transition.gif"]
    assert "no MP4" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["transition.gif"]


def test_broken_ffmpeg_leaves_no_half_film(
    traversal: Traversal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    (tmp_path / "film").mkdir()
    assert write_film(traversal, tmp_path / "film", side=SIDE) == ["transition.gif"]
    assert [path.name for path in (tmp_path / "film").iterdir()] == ["transition.gif"]
    assert "no MP4" in caplog.text


def test_same_traversal_gives_the_same_bytes(traversal: Traversal, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        write_film(traversal, tmp_path / name, side=SIDE)
    for kind in ("mp4", "gif"):
        assert (tmp_path / "a" / f"transition.{kind}").read_bytes() == (tmp_path / "b" / f"transition.{kind}").read_bytes()


def test_too_small_a_film(traversal: Traversal, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 256"):
        write_film(traversal, tmp_path, side=100)


def test_a_large_film_is_the_film_of_its_small_frames(traversal: Traversal) -> None:
    """Not square either: the image stands in the middle of its place."""
    large = torch.full((1, 1200, 900), 0.25)
    film = replace(traversal, frames=Frames(lambda i: large, 7), structure=large, layer=large, lungs=large)
    for picture in compose_film(film, side=SIDE):
        panel = picture[HEAD : HEAD + SIDE, MARGIN : MARGIN + SIDE]
        assert (panel[:, 32:224] == 64).all()
        assert (panel[:, :32] == 0).all()
