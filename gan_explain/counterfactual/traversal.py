"""A traversal as a result: frames of one structure and the target's response, which shows, saves and loads itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_explain.counterfactual.saved import SEGMENTER, load_response, save_response
from gan_explain.response import Response

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Traversal(Response):
    """The response along frames of one structure; fields as `Response` has them."""

    def plot(self, width: int = 1000, height: int = 620) -> Figure:
        """The response curve as a matplotlib figure, sizes in pixels."""
        from gan_explain.render.curves import curve_figure

        return curve_figure(self, width, height)

    def save(self, folder: str | os.PathLike[str], *, dicom: bool | str = False, segmenter: str = SEGMENTER) -> None:
        """Write frames (16-bit PNG), curve (CSV), layer and code into a new or empty folder, from which `load_traversal` reads
        them again.

        With `dicom` (extra `dicom`) also traversal.dcm, layer.dcm and lungs.dcm, which name the `segmenter`. They refer to the
        DICOM file that the radiograph was read from by its path; "patient" copies the patient's tags from there, True or "image"
        leaves them empty. FileExistsError where the folder holds anything, DataError where that file is another by now."""
        save_response(self, folder, dicom, segmenter)

    def _repr_png_(self) -> bytes:
        from gan_explain.render import draw, strip

        return draw.png(strip.draw_strip(self))


def load_traversal(folder: str | os.PathLike[str]) -> Traversal:
    """Read a traversal that `Traversal.save` wrote; its frames are read when they are asked for.

    DataError, naming the file, when something is missing or damaged."""
    return Traversal(**vars(load_response(folder)))
