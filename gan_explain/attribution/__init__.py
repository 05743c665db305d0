"""Heat maps: which pixels a target's answer rests on. Every method has one contract, and stands in one dictionary of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gan_explain.attribution.base import Method
from gan_explain.attribution.cxrnet import CxrNetMap
from gan_explain.attribution.difference import Difference, ReaderMap
from gan_explain.attribution.fem import Fem, SpectralFem, spectral_importance
from gan_explain.attribution.grad_cam import GradCam
from gan_explain.attribution.gradients import GradientXInput, IntegratedGradients
from gan_explain.attribution.latent_path import LatentPath
from gan_explain.attribution.lung_cam import LungCam
from gan_explain.attribution.occlusion import Occlusion
from gan_explain.types import Generator, Segmenter


@dataclass(frozen=True)
class MethodOptions:
    """What a method may be told, each taking what it needs. `layer`: the one to look at ("": the method's own choice);
    `generator`: the disentangling generator of methods that show its layers; `seed` of what is drawn; `label`: whose pathology is
    added to a negative; `segmenter`: what reads the lungs where a method needs them and is given none."""

    layer: str = ""
    generator: Generator | None = None
    seed: int = 0
    label: str = "covid"
    segmenter: Segmenter | None = None


class Maker(Protocol):
    def __call__(self, options: MethodOptions = ...) -> Method: ...


PLAIN = MethodOptions()
# A name, as --method takes it, to a function of the options.
METHODS: dict[str, Maker] = {
    "grad_cam": lambda options=PLAIN: GradCam(options.layer),
    "lung_cam": lambda options=PLAIN: LungCam(options.layer, options.segmenter),
    "cxrnet": lambda options=PLAIN: CxrNetMap(),
    "fem": lambda options=PLAIN: Fem(options.layer),
    "spectral_fem": lambda options=PLAIN: SpectralFem(options.layer),
    "integrated_gradients": lambda options=PLAIN: IntegratedGradients(),
    "gradient_x_input": lambda options=PLAIN: GradientXInput(),
    "occlusion": lambda options=PLAIN: Occlusion(),
    "latent_path": lambda options=PLAIN: LatentPath(options.generator, options.segmenter, seed=options.seed, label=options.label),
    "difference": lambda options=PLAIN: Difference(options.generator, options.segmenter, seed=options.seed, label=options.label),
    "reader": lambda options=PLAIN: ReaderMap(options.generator, options.segmenter),
}

__all__ = [
    "METHODS",
    "CxrNetMap",
    "Difference",
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
    "spectral_importance",
]
