"""A radiograph as it came: its pixels at their own size, its lungs, and how it was read."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_explain.image import FloatImage, clip_percentile, colourfulness, quantize16, read_image, resize, trim_box
from gan_explain.segmenter import load_segmenter
from gan_explain.types import DataError, Segmenter

logger = logging.getLogger(__name__)

SMALLEST = 64  # pixels a side that an image must have
COLOURFUL = 0.05  # mean distance of the colour channels above which an image is taken for a photograph
LEAST_LUNG = 0.03  # share of the image below which no lungs were found
Source = str | os.PathLike[str] | bytes | np.ndarray[Any, Any] | Image.Image | Tensor


@dataclass(frozen=True)
class Radiograph:
    """image (1, 1, H, W) in [0, 1] on the 16-bit grid, whole and at its own size; lungs (1, 1, H, W) in {0, 1}.

    `sha256` is that of the file's bytes (of the pixels where there is no file). `fit` says what was done to the pixels: the size
    that came, rows and columns that were trimmed, the percentiles that became 0 and 1, and the size kept. `remarks` are what may
    be wrong with it (one lung, cut-off lungs).
    """

    name: str
    image: Tensor
    lungs: Tensor
    sha256: str
    fit: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Radiograph:
        return Radiograph(self.name, self.image.to(device), self.lungs.to(device), self.sha256, self.fit, self.remarks)


def read_radiograph(
    source: Source,
    *,
    segmenter: Segmenter | None = None,
    size: int | None = None,
    trim: bool = True,
    name: str | None = None,
    force: bool = False,
) -> Radiograph:
    """Read one frontal chest radiograph: a path (PNG, JPEG, TIFF, BMP, GIF, DICOM), its bytes, an array (H, W), a PIL image.

    Uniform borders are trimmed (`trim`), the 0.5 and 99.5 percentiles become 0 and 1; nothing is cropped. `size` is the longer
    side to work at, in pixels; None keeps the radiograph's own. Without a `segmenter` the shipped one finds the lungs.

    Raises DataError for what is no frontal chest radiograph: unreadable, below 64 pixels a side, a colour photograph, no lungs;
    `force` lets the last two pass. ValueError for an array that is not two-dimensional, not finite, or not in [0, 1].
    """
    array, label, digest = _pixels(source, force)
    label = name or label
    height, width = array.shape
    if min(height, width) < SMALLEST:
        raise DataError(f"{label}: expected an image of at least {SMALLEST}x{SMALLEST} pixels, got {width}x{height}")
    rows, columns = trim_box(array) if trim else (slice(0, height), slice(0, width))
    cut = np.ascontiguousarray(array[rows, columns])
    image = torch.from_numpy(clip_percentile(cut))[None, None]
    if size is not None and size != max(image.shape[-2:]):
        scale = size / max(image.shape[-2:])
        to = [max(SMALLEST, round(side * scale)) for side in image.shape[-2:]]
        image = torch.nn.functional.interpolate(image, to, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    image = quantize16(image)
    lungs = (segmenter or load_segmenter())(image).to(image)
    remarks = _check_lungs(label, lungs, force)
    fit = {
        "size": [height, width], "rows": [rows.start, rows.stop], "columns": [columns.start, columns.stop],
        "percentiles": [0.5, 99.5], "kept": list(image.shape[-2:]),
    }  # fmt: skip
    for remark in remarks:
        logger.warning("%s: %s", label, remark)
    return Radiograph(label, image, lungs, digest, fit, remarks)


def _pixels(source: Source, force: bool) -> tuple[FloatImage, str, str]:
    """(H, W) in [0, 1], a name, and the SHA-256 of what came."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        array = read_image(path)
        colour = colourfulness(path)
        if colour > COLOURFUL and not force:
            raise DataError(f"{path}: expected a gray radiograph, got a colour photograph (--force uses its brightness)")
        with path.open("rb") as file:
            return array, str(path), hashlib.file_digest(file, "sha256").hexdigest()
    if isinstance(source, Image.Image):
        buffer = io.BytesIO()
        source.save(buffer, format="PNG")
        source = buffer.getvalue()
    if isinstance(source, bytes):
        return _from_bytes(source, force)
    array = np.asarray(source.detach().cpu() if isinstance(source, Tensor) else source)
    if array.dtype == np.uint8:
        array = array.astype(np.float32) / np.float32(255)
    elif array.dtype == np.uint16:
        array = array.astype(np.float32) / np.float32(65535)
    array = array.squeeze() if array.ndim > 2 else array
    if array.ndim != 2:
        raise ValueError(f"expected an array (H, W), got {np.shape(source)}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise ValueError(f"expected values in [0, 1], got {array.min():g} to {array.max():g}")
    return array, "array", hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _from_bytes(data: bytes, force: bool) -> tuple[FloatImage, str, str]:
    """What `_pixels` says of a file's bytes: they are read as the file would be."""
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".image") as file:
        file.write(data)
        file.flush()
        array, _, digest = _pixels(file.name, force)
    return array, "bytes", digest


def _check_lungs(label: str, lungs: Tensor, force: bool) -> tuple[str, ...]:
    """DataError where there are no lungs; remarks on lungs that are cut off, or one that is missing."""
    from gan_explain.lungs import split_lungs

    share = float(lungs.mean())
    if share < LEAST_LUNG and not force:
        raise DataError(f"{label}: expected a frontal chest radiograph, found lungs on {share:.1%} of it (--force goes on)")
    small = (resize(lungs, 128) > 0.5)[0, 0].cpu().numpy()
    sides = sorted(int(side.sum()) for side in split_lungs(small))
    remarks = []
    if sides[0] < 0.25 * max(sides[1], 1):
        remarks.append("only one lung was found: the other may be opaque, cut off, or the view is not frontal")
    edges = [small[0], small[-1], small[:, 0], small[:, -1]]
    if any(int(edge.sum()) > 128 // 16 for edge in edges):
        remarks.append("the lungs reach the border of the image: they may be cut off")
    return tuple(remarks)
