"""A radiograph as it came: its pixels at their own size, its lungs, and how it was read."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_explain.counterfactual.doubts import doubts
from gan_explain.image import Picture, clip_percentile, read_picture, trim_box
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.pixels import check_images, quantize16
from gan_explain.types import DataError, Segmenter

logger = logging.getLogger(__name__)

SMALLEST = 64  # pixels a side that an image must have
COLOURFUL = 0.05  # mean distance of the colour channels above which an image is taken for a photograph
Source = str | os.PathLike[str] | Picture | bytes | np.ndarray[Any, Any] | Image.Image | Tensor


@dataclass(frozen=True)
class Radiograph:
    """image (1, 1, H, W) in [0, 1] on the 16-bit grid, whole and at its own size; lungs (1, 1, H, W) in {0, 1}.

    `sha256` is that of the file's bytes (of the pixels where there is no file). `fit` says what was done to the pixels: the size
    that came, rows and columns that were trimmed, the percentiles that became 0 and 1, and the size kept. `remarks` are what may
    be wrong with it (`doubts`). ValueError for an image or lungs of another shape or range.
    """

    name: str
    image: Tensor
    lungs: Tensor
    sha256: str
    fit: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_images(self.image)
        if len(self.image) != 1 or self.lungs.shape != self.image.shape:
            shapes = f"{tuple(self.image.shape)} and {tuple(self.lungs.shape)}"
            raise ValueError(f"expected an image and lungs (1, 1, H, W) of one size, got {shapes}")

    def to(self, device: torch.device) -> Radiograph:
        return replace(self, image=self.image.to(device), lungs=self.lungs.to(device))


def read_radiograph(
    source: Source,
    *,
    segmenter: Segmenter | None = None,
    size: int | None = None,
    trim: bool = True,
    name: str | None = None,
    force: bool = False,
) -> Radiograph:
    """Read one frontal chest radiograph: a path (PNG, JPEG, TIFF, BMP, GIF, DICOM), a file read before (`image.read_picture`),
    its bytes, an array (H, W), a PIL image.

    Uniform borders are trimmed (`trim`), the 0.5 and 99.5 percentiles become 0 and 1; nothing is cropped. `size` is the longer
    side to work at, in pixels; None keeps the radiograph's own. Without a `segmenter` the shipped one finds the lungs.

    Raises DataError for what is no frontal chest radiograph: unreadable, below 64 pixels a side, of one gray, in colour, without
    lungs; `force` lets the last two pass. ValueError for an array that is not (H, W), not finite, or not in [0, 1].
    """
    if size is not None and size < SMALLEST:
        raise ValueError(f"expected a size of at least {SMALLEST} pixels, got {size}")
    picture = _picture(source)
    array, label = picture.pixels, name or picture.name
    if picture.colourfulness > COLOURFUL and not force:
        raise DataError(f"{label}: expected a gray radiograph, got a colour photograph (--force uses its brightness)")
    height, width = array.shape
    if min(height, width) < SMALLEST:
        raise DataError(f"{label}: expected an image of at least {SMALLEST}x{SMALLEST} pixels, got {width}x{height}")
    rows, columns = trim_box(array) if trim else (slice(0, height), slice(0, width))
    cut = np.ascontiguousarray(array[rows, columns])
    image = torch.from_numpy(clip_percentile(cut))[None, None]
    if not bool(image.any()):
        raise DataError(f"{label}: expected a radiograph, got an image of one gray")
    if size is not None and size != max(image.shape[-2:]):
        scale = size / max(image.shape[-2:])
        to = [max(SMALLEST, round(side * scale)) for side in image.shape[-2:]]
        image = torch.nn.functional.interpolate(image, to, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    image = quantize16(image)
    segmenter = segmenter or _shipped_segmenter()
    lungs = segmenter(image).to(image)
    remarks = doubts(label, image, lungs, segmenter, force)
    fit = {
        "size": [height, width], "rows": [rows.start, rows.stop], "columns": [columns.start, columns.stop],
        "percentiles": [0.5, 99.5], "kept": list(image.shape[-2:]),
    }  # fmt: skip
    for remark in remarks:
        logger.warning("%s: %s", label, remark)
    return Radiograph(label, image, lungs, picture.sha256, fit, remarks)


@cache
def _shipped_segmenter() -> Segmenter:
    return load_segmenter()


def _picture(source: Source) -> Picture:
    """Pixels, a name and the SHA-256 of whatever a radiograph comes as."""
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | os.PathLike):
        return read_picture(source)
    if isinstance(source, Image.Image):
        buffer = io.BytesIO()
        source.save(buffer, format="PNG")
        source = buffer.getvalue()
    if isinstance(source, bytes):
        with tempfile.TemporaryFile() as file:
            file.write(source)
            file.seek(0)
            return read_picture("bytes", file)
    array = np.asarray(source.detach().cpu() if isinstance(source, Tensor) else source)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected an array (H, W) of numbers, got {type(source).__name__} of {array.dtype}")
    largest = {"uint8": 255, "uint16": 65535}.get(array.dtype.name, 1)
    array = array.astype(np.float32) / np.float32(largest)
    if array.ndim > 2 and array.size == array.shape[-1] * array.shape[-2]:
        array = array.reshape(array.shape[-2:])  # (1, 1, H, W) -> (H, W)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"expected an array (H, W), got {np.shape(source)}")
    if not (array.min() >= 0 and array.max() <= 1):  # NaN is neither
        raise ValueError(f"expected finite values in [0, 1], got {array.min():g} to {array.max():g}")
    return Picture("array", array, 0.0, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest())
