"""Heat maps: which pixels a model's answer rests on. Every method has one contract, and stands in one dictionary of names."""

from __future__ import annotations

import importlib
import pkgutil

from gan_explain.attribution.base import METHODS, Method, MethodOptions, register
from gan_explain.attribution.cxrnet import CxrNetMap
from gan_explain.attribution.difference import Difference, ReaderMap
from gan_explain.attribution.explanation import Explanation
from gan_explain.attribution.fem import Fem, SpectralFem, spectral_importance
from gan_explain.attribution.grad_cam import GradCam
from gan_explain.attribution.gradients import GradientXInput, IntegratedGradients
from gan_explain.attribution.latent_path import LatentPath
from gan_explain.attribution.lung_cam import LungCam
from gan_explain.attribution.occlusion import Occlusion

__all__ = [
    "METHODS",
    "CxrNetMap",
    "Difference",
    "Explanation",
    "Fem",
    "GradCam",
    "GradientXInput",
    "IntegratedGradients",
    "LatentPath",
    "LungCam",
    "Method",
    "MethodOptions",
    "Occlusion",
    "ReaderMap",
    "SpectralFem",
    "register",
    "spectral_importance",
]

for _file in pkgutil.iter_modules(__path__, f"{__name__}."):  # each enters the methods that it holds
    importlib.import_module(_file.name)
