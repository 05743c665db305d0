"""A radiograph as it came: its pixels at their own size, its lungs, and how it was read."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_explain.counterfactual.doubts import doubts
from gan_explain.image import Picture, clip_percentile, digest_of, picture_of, read_picture, trim_box
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.pixels import check_images, quantize16
from gan_explain.types import Brief, DataError, Origin, Segmenter

logger = logging.getLogger(__name__)

SMALLEST = 64  # pixels a side that an image must have
LUMA = (0.299, 0.587, 0.114)  # brightness of red, green and blue (ITU-R 601), as Pillow has it
COLOURFUL = 0.05  # mean distance of the colour channels above which an image is taken for a photograph
Source = str | os.PathLike[str] | Picture | bytes | IO[bytes] | np.ndarray[Any, Any] | Image.Image | Tensor


@dataclass(frozen=True, repr=False)
class Radiograph(Brief):
    """image (1, 1, H, W) in [0, 1] on the 16-bit grid, whole and at its own size; lungs (1, 1, H, W) in {0, 1}.

    `sha256` is that of the file's bytes (of the pixels where there is no file). `fit` says what was done to the pixels: the size
    that came, rows and columns that were trimmed, the percentiles that became 0 and 1, and the size kept. `remarks` are what may
    be wrong with it (`doubts`). `origin` is the file, where it was read from a path. ValueError for an image or lungs of another
    shape or range.
    """

    name: str
    image: Tensor
    lungs: Tensor
    sha256: str
    fit: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    origin: Origin | None = None

    def __post_init__(self) -> None:
        check_images(self.image)
        if len(self.image) != 1 or self.lungs.shape != self.image.shape:
            shapes = f"{tuple(self.image.shape)} and {tuple(self.lungs.shape)}"
            raise ValueError(f"expected an image and lungs (1, 1, H, W) of one size, got {shapes}")

    def to(self, device: torch.device) -> Radiograph:
        return replace(self, image=self.image.to(device), lungs=self.lungs.to(device))

    def _repr_png_(self) -> bytes:
        from gan_explain.render import draw, strip

        return draw.png(strip.draw_radiograph(self.image[0], self.lungs[0], "; ".join((self.name, *self.remarks))))


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
    its bytes, a file opened in binary mode, a PIL image, or an array or tensor: (H, W), (H, W, 1) or (H, W, 3) of uint8, uint16
    or floats in [0, 1].

    Uniform borders are trimmed (`trim`), which is logged and stands in `fit`; the 0.5 and 99.5 percentiles become 0 and 1;
    nothing is cropped. `size` is the longer side to work at, in pixels; None keeps the radiograph's own. Without a `segmenter`
    the shipped one finds the lungs.

    Raises DataError for what is no frontal chest radiograph: unreadable, below 64 pixels a side, of one gray, in colour, noise,
    print, without lungs; `force` lets the last four pass. ValueError for an array of another shape, not finite, or not in [0, 1].
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
    image = torch.from_numpy(np.ascontiguousarray(clip_percentile(array[rows, columns])))[None, None]
    if image.shape[-2:] != array.shape:
        logger.info("%s: uniform borders trimmed: %dx%d of %dx%d pixels kept", label, *image.shape[:1:-1], width, height)
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
    kept = (rows.start, rows.stop), (columns.start, columns.stop)
    origin = Origin(picture.path, picture.sha256, *kept) if picture.path else None
    return Radiograph(label, image, lungs, picture.sha256, fit, remarks, origin)


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
        return picture_of(source)
    if hasattr(source, "read"):
        source, name = source.read(), str(getattr(source, "name", "file"))
    else:
        name = "bytes"
    if isinstance(source, bytes | bytearray | memoryview):
        with tempfile.TemporaryFile() as file:
            file.write(source)
            file.seek(0)
            return read_picture(name, file)
    return _of_array(np.asarray(source.detach().cpu() if isinstance(source, Tensor) else source))


def _of_array(array: np.ndarray[Any, Any]) -> Picture:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected an image: a path, bytes, a binary file, an array of numbers, got an array of {array.dtype}")
    came = array.shape
    unit = array.astype(np.float32) / np.float32({"uint8": 255, "uint16": 65535}.get(array.dtype.name, 1))
    if not unit.size or not (unit.min() >= 0 and unit.max() <= 1):  # NaN is neither
        among = f"{unit.min():g} to {unit.max():g}" if unit.size else f"an array {came}"
        raise ValueError(f"expected an array of finite values in [0, 1] (or uint8, uint16), got {among}")
    colourfulness = 0.0
    if unit.ndim == 3 and unit.shape[2] == 3:
        colourfulness = float(np.abs(unit - unit.mean(2, keepdims=True)).mean())
        unit = (unit @ np.array(LUMA, np.float32)).clip(0, 1)
    elif unit.ndim == 3 and unit.shape[2] == 1:
        unit = unit[..., 0]
    elif unit.ndim > 2 and unit.size == unit.shape[-1] * unit.shape[-2]:
        unit = unit.reshape(unit.shape[-2:])  # (1, 1, H, W) -> (H, W)
    if unit.ndim != 2:
        raise ValueError(f"expected an array (H, W), (H, W, 1) or (H, W, 3), got {came}")
    return Picture("array", unit, colourfulness, digest_of(unit))
