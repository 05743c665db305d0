"""Synthetic positives for a training split: made by a generator, checked, and never let into val or test; and spectral filters as
transforms of training images."""

from gan_explain.augment.makers import CycleMaker, LayerMaker, Made, Maker
from gan_explain.augment.quality import Duplicates, Rule
from gan_explain.augment.synthesise import Synthesis, Synthetic, shortfall, synthesise
from gan_explain.augment.write import as_records, joined, write_synthetic
from gan_explain.data.spectral import GaussianLowPass, SpectralImportance

__all__ = [
    "CycleMaker",
    "Duplicates",
    "GaussianLowPass",
    "LayerMaker",
    "Made",
    "Maker",
    "Rule",
    "SpectralImportance",
    "Synthesis",
    "Synthetic",
    "as_records",
    "joined",
    "shortfall",
    "synthesise",
    "write_synthetic",
]
