"""The pictures of the audit's report: a structure and a layer each as data URIs, small enough that the page stays one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan_explain.audit.report.words import finite
from gan_explain.evaluate.gathered import Picture

SIDES = (512, 384, 256, 192, 128, 96, 64)  # pixels of a picture's longer side, tried from the largest
BUDGET = 11_000_000  # characters of all pictures together
FAINTEST = 0.15  # opacity that full colour stands for, at least: a faint layer stays faint


@dataclass(frozen=True)
class Encoded:
    """Pictures as JSON, the longer side they are shown at, how many did not fit, and the opacity of full colour."""

    pictures: list[dict[str, Any]]
    side: int
    left_out: int
    scale: float


def encode(pictures: Sequence[Picture], strengths: Mapping[str, Sequence[float]], budget: int = BUDGET) -> Encoded:
    """Encode all at the largest of SIDES that stays within `budget` characters; if none does, leave out the last ones.

    `strengths` has the strengths of each way. Pictures are never enlarged. Full colour stands for the 99.5th percentile of
    |1 - exp(-lambda tau)| over all pictures at the largest strength, so that layers of different patients can be compared.
    """
    for picture in pictures:
        _check(picture)
    scale = _scale(pictures, strengths)
    own = max((max(p.structure.shape) for p in pictures), default=0)
    sides = [min(own, SIDES[0]), *(side for side in SIDES[1:] if side < own)]
    for side in sides:
        encoded, used = [], 0
        for picture in pictures:
            found = _one(picture, strengths[picture.way], side)
            used += len(found["structure"]) + len(found["layer"])
            if used > budget:
                break
            encoded.append(found)
        if len(encoded) == len(pictures):
            break
    return Encoded(encoded, side, len(pictures) - len(encoded), scale)


def _check(picture: Picture) -> None:
    if picture.structure.ndim != 2 or picture.structure.shape != picture.layer.shape:
        raise ValueError(
            f"picture {picture.id}: expected structure and layer (H, W), got {picture.structure.shape} and {picture.layer.shape}"
        )
    if not (np.isfinite(picture.structure).all() and np.isfinite(picture.layer).all()):
        raise ValueError(f"picture {picture.id}: expected finite structure and layer")


def _scale(pictures: Sequence[Picture], strengths: Mapping[str, Sequence[float]]) -> float:
    opacities = [1 - np.exp(-max(strengths[p.way], default=1.0) * np.percentile(np.abs(p.layer), 99.5)) for p in pictures]
    return max(FAINTEST, round(float(np.max(opacities)), 2)) if opacities else FAINTEST


def _one(picture: Picture, strengths: Sequence[float], side: int) -> dict[str, Any]:
    if len(strengths) != len(picture.probability):
        raise ValueError(f"picture {picture.id}: expected {len(strengths)} probabilities, got {len(picture.probability)}")
    structure, layer = _fit(picture.structure, side), _fit(picture.layer, side)
    white = float(np.abs(layer).max()) or 1.0
    signed = bool(layer.min() < -1e-4 * white)
    levels = 128 + 127 * layer / white if signed else 255 * layer / white
    return {
        "id": picture.id,
        "way": picture.way,
        "row": picture.row,
        "p": finite(picture.p),
        "probability": [finite(p) for p in picture.probability],
        "width": structure.shape[1],
        "height": structure.shape[0],
        "white": white,
        "signed": signed,
        "structure": _uri(structure * 255, "JPEG"),
        "layer": _uri(levels, "PNG"),
    }


def _fit(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Reduce to a longer side of at most `side` pixels."""
    height, width = image.shape
    ratio = side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.float32)


def _uri(levels: NDArray[np.float32], kind: str) -> str:
    buffer = io.BytesIO()
    picture = Image.fromarray((levels + 0.5).clip(0, 255).astype(np.uint8))
    if kind == "JPEG":
        picture.save(buffer, format="JPEG", quality=92, optimize=True)
    else:
        picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
