"""Watch what a chest X-ray CNN makes of COVID-19: a disentangling GAN turns pathology up, frame by frame.

    import gan_explain as gx

    x = gx.read_radiograph("a.png")
    t = gx.load_target("checkpoint:cxr128")
    gx.traverse(gx.load_generator(), t, x).save("film")

Everything public is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_explain.attribution import METHODS
    from gan_explain.audit import audit
    from gan_explain.counterfactual import counterfactual, read_radiograph, traverse
    from gan_explain.data import open_dataset
    from gan_explain.nets.load import load_generator
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.targets import as_target, load_target

__version__ = "0.1.0"
PUBLIC = {
    "METHODS": "gan_explain.attribution",
    "as_target": "gan_explain.targets",
    "audit": "gan_explain.audit",
    "counterfactual": "gan_explain.counterfactual",
    "load_generator": "gan_explain.nets.load",
    "load_segmenter": "gan_explain.nets.segmenter",
    "load_target": "gan_explain.targets",
    "open_dataset": "gan_explain.data",
    "read_radiograph": "gan_explain.counterfactual",
    "traverse": "gan_explain.counterfactual",
}
__all__ = [
    "METHODS",
    "as_target",
    "audit",
    "counterfactual",
    "load_generator",
    "load_segmenter",
    "load_target",
    "open_dataset",
    "read_radiograph",
    "traverse",
]


def __getattr__(name: str) -> object:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})


class _Face(ModuleType):
    """A function may have the name of the package that it is in: importing the package does not hide it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
