"""A heat map with what it is of: it shows itself in a notebook and is saved as a picture with its numbers."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from gan_explain.files.temporaries import write_bytes
from gan_explain.render.draw import enlarge, png
from gan_explain.render.heat import HeatMap, full_colour, lay

SIDE = 384  # pixels of an image in the picture


@dataclass(frozen=True)
class Explanation:
    """`map` (1, H, W) is the heat over `image` (C, H, W), in `unit`, of `classes`, as `method` found it; below zero, where it is
    `signed`, is evidence against them. `note` says how it was made, `caveat` what it does not say."""

    image: Tensor
    map: Tensor
    method: str
    title: str
    classes: tuple[str, ...]
    signed: bool = False
    unit: str = ""
    note: str = ""
    caveat: str = ""

    @property
    def column(self) -> HeatMap:
        """The map as `render.heat` draws it."""
        notes = (self.note,) if self.note else ()
        return HeatMap(self.title, self.map, notes, self.caveat, self.signed, full_colour(self.map), self.unit)

    def picture(self, side: int = SIDE) -> Image.Image:
        """The image, and the map over it, side by side. An image that is not in [0, 1] is drawn from its least to its largest."""
        gray = self.image.mean(0, keepdim=True)
        low, high = float(gray.min()), float(gray.max())
        if low < 0 or high > 1:
            gray = (gray - low) / max(high - low, 1e-12)
        drawn = enlarge(gray, side)
        return Image.fromarray(np.concatenate([drawn, np.asarray(lay(drawn, self.column))], axis=1))

    def _repr_png_(self) -> bytes:
        return png(self.picture())

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write heat.png, heat.npy (float32, H x W, unscaled) and heat.json into a directory; FileExistsError if it is there."""
        folder = Path(directory)
        folder.mkdir(parents=True)
        values = io.BytesIO()
        np.save(values, self.map[0].numpy(), allow_pickle=False)
        told: dict[str, Any] = {"method": self.method, "classes": self.classes, "unit": self.unit, "signed": self.signed}
        text = json.dumps({**told, "note": self.note, "caveat": self.caveat}, indent=2) + "\n"
        for name, content in (("heat.npy", values.getvalue()), ("heat.json", text.encode()), ("heat.png", self._repr_png_())):
            write_bytes(folder / name, content)
