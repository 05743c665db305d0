"""The one look of every picture: colours, font, enlarged frames, the heat of a layer, text on a canvas."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gan_explain.files.temporaries import write_bytes
from gan_explain.optics import opacity
from gan_explain.pixels import to_uint8
from gan_explain.response import Response

Rgb = tuple[int, int, int]
Pixels = NDArray[np.uint8]  # (H, W, 3)

BACKGROUND: Rgb = (14, 17, 22)
PANEL: Rgb = (21, 25, 32)
LINE: Rgb = (52, 59, 70)
MUTED: Rgb = (139, 148, 160)
TEXT: Rgb = (230, 235, 241)
ACCENT: Rgb = (255, 159, 64)  # positive, layers
COOL: Rgb = (94, 190, 224)  # negative, second curve
FAINTEST = 0.15  # opacity that full colour stands for, at least: a faint layer stays faint


@contextmanager
def own_style() -> Iterator[None]:
    """Matplotlib's own settings in the block, whatever a matplotlibrc or a notebook says (LaTeX, other fonts and sizes)."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """matplotlib's DejaVu Sans, which has Greek letters, at a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def fit(text: str, width: int, size: int) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def hexadecimal(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def enlarge(image: Tensor, side: int) -> Pixels:
    """(1, H, W) in [0, 1] -> (side, side, 3) gray pixels, bicubic; one that is not square in the middle of black."""
    gray = np.asarray(_fitted(Image.fromarray(to_uint8(image.squeeze(0))), side))
    return np.repeat(gray[:, :, None], 3, axis=2)


def smooth(values: Tensor, side: int) -> NDArray[np.float32]:
    """A (1, H, W) map -> (side, side) float, bicubic, placed as `enlarge` places its image."""
    return np.asarray(_fitted(Image.fromarray(values.squeeze(0).detach().cpu().float().numpy()), side), dtype=np.float32)


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    """A picture at its own aspect ratio in the middle of a square of zeros."""
    scale = side / max(picture.size)
    width, height = (max(1, round(scale * each)) for each in picture.size)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    if width == height:
        return resized
    square = Image.new(picture.mode, (side, side))
    square.paste(resized, ((side - width) // 2, (side - height) // 2))
    return square


@dataclass(frozen=True)
class Axis:
    """What changes along a traversal: the label of the curve's axis, the symbol before its values, the title of its heat map."""

    label: str
    symbol: str
    layer: str = "layer of pathology"


STRENGTH = Axis("strength λ", "λ")
BETWEEN = Axis("from the code of A (t = 0) to the code of B (t = 1)", "t")
BLEND = Axis("strength λ, from the image (λ = 0) to its translation (λ = 1)", "λ", "what the translation changes")
HEALED = Axis("strength λ, from the healed image (λ = 0) to the radiograph (λ = 1)", "λ", "what healing takes away")
AXES = {"between": BETWEEN, "to_positive": BLEND, "to_negative": HEALED}  # of a pathology; others grow along STRENGTH


def axis_of(traversal: Response) -> Axis:
    return AXES.get(traversal.pathology, STRENGTH)


@dataclass(frozen=True)
class Heat:
    """The layer of each frame as opacity: `alpha` (L, 1, H, W) in (-1, 1), `scale`, the opacity of full colour, and `signed`."""

    alpha: Tensor
    scale: float
    signed: bool

    def over(self, gray: Pixels, index: int) -> Pixels:
        return overlay(gray, smooth(self.alpha[index], gray.shape[0]), self.scale)

    @property
    def low(self) -> str:
        """The text left of the colour bar."""
        return f"{-self.scale:.2f}" if self.signed else "0"


def heat(traversal: Response) -> Heat:
    """Opacity along a traversal: 1 - exp(-lambda tau) where strength scales one layer, else what the frames themselves say, their
    share of the way from the structure to white (or black)."""
    if axis_of(traversal) == STRENGTH:
        alpha = torch.stack([opacity(traversal.layer, float(s)) for s in traversal.strengths])
    else:
        S, gain = traversal.structure[None], traversal.frames.stack() - traversal.structure[None]
        alpha = torch.where(gain >= 0, gain / (1 - S).clamp(min=0.02), gain / S.clamp(min=0.02))
    alpha = alpha.detach().cpu().float()
    largest = float(np.percentile(alpha.abs().amax(0).numpy(), 99.5))
    return Heat(alpha, max(FAINTEST, largest), bool((alpha < -1e-3).any()))


@cache
def _ramp() -> tuple[Pixels, Pixels]:
    """256 colours each for opacity added (inferno without its black end) and taken away (blue to white)."""
    positions = np.linspace(0, 1, 256)
    inferno = matplotlib.colormaps["inferno"](0.3 + 0.65 * positions)[:, :3] * 255
    cold = np.stack([np.interp(positions, (0, 0.6, 1), levels) for levels in ((20, 60, 200), (70, 150, 235), (190, 220, 255))], 1)
    return inferno.astype(np.uint8), cold.astype(np.uint8)


def overlay(gray: Pixels, alpha: NDArray[np.float32], scale: float) -> Pixels:
    """Lay a heat map over gray pixels (H, W, 3): alpha (H, W) in (-1, 1), full colour at |alpha| = scale."""
    share = (np.abs(alpha) / scale).clip(0, 1)
    index = (share * 255).astype(np.uint8)
    warm, cold = _ramp()
    colour = np.where((alpha >= 0)[:, :, None], warm[index], cold[index])
    weight = (0.85 * share**0.7)[:, :, None]
    blended: Pixels = (gray * (1 - weight) + colour * weight + 0.5).astype(np.uint8)
    return blended


def canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (width, height), BACKGROUND)
    return picture, ImageDraw.Draw(picture)


def heat_bar(width: int, height: int, signed: bool = False) -> Image.Image:
    """A horizontal colour bar from no opacity (`signed`: from full opacity taken away) to full colour, over mid gray."""
    values = np.tile(np.linspace(-1 if signed else 0, 1, width, dtype=np.float32), (height, 1))
    return Image.fromarray(overlay(np.full((height, width, 3), 40, np.uint8), values, 1.0))


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG without metadata."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def write_png(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture, whole or not at all."""
    write_bytes(path, png(picture))
