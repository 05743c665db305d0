"""What an audit is about: the CNN, what looks at it, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from gan_explain.data import Dataset
from gan_explain.evaluate.donors import PatientLayers
from gan_explain.evaluate.features import Extractor
from gan_explain.evaluate.setup import STRENGTHS, Setup
from gan_explain.metrics.nulls import shuffled_target
from gan_explain.metrics.proximity import Perceptual
from gan_explain.targets import ModuleTarget
from gan_explain.types import Generator, Segmenter, Target


@dataclass(frozen=True)
class Plan:
    """How to audit. `by`: columns to compare subgroups by; `quick`: curves, flips, shares, transplants and the probe only;
    `show`: pictures to keep; `codes`: on one patient, for diversity; `donors`: of each class, for a transplant; `transplanted`:
    about how many patients receive transplants; `marker`: share of positives with a marker in the positive control, None for
    none; `bootstrap`: resamples."""

    strengths: tuple[float, ...] = STRENGTHS
    seed: int = 0
    by: tuple[str, ...] = ()
    quick: bool = False
    show: int = 200
    codes: int = 16
    donors: int = 4
    transplanted: int = 128
    marker: float | None = 0.8
    bootstrap: int = 1000


class FreeLayer(Protocol):
    """A map that was trained against the target and may act anywhere: an adversary."""

    def layer(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) in [0, 1] -> signed tau (N, 1, H, W)."""
        ...


@dataclass(frozen=True)
class Subject:
    """The target and everything that is turned on it. `free`: a map that was trained against it, where there is one; `judges`:
    independent CNNs; `label`: whose codes the prior draws; `perceptual`: LPIPS, where its backbone is at hand; `extractor`: whose
    features serve for realism, by default those of the first judge."""

    target: Target
    generator: Generator
    segmenter: Segmenter
    free: FreeLayer | None = None
    judges: Mapping[str, Target] = field(default_factory=dict)
    label: str = "covid"
    perceptual: Perceptual | None = None
    extractor: Extractor | None = None

    def setup(self, plan: Plan, dataset: Dataset) -> Setup:
        """The parts as the measures take them; the dataset's positives give their layers."""
        return Setup(
            generator=self.generator,
            target=self.target,
            segmenter=self.segmenter,
            donors=PatientLayers(self.generator, dataset, self.target, self.segmenter, plan.seed),
            judges=dict(self.judges),
            strengths=plan.strengths,
            seed=plan.seed,
            label=self.label,
            perceptual=self.perceptual,
            shuffled=shuffled_target(self.target, plan.seed) if isinstance(self.target, ModuleTarget) else None,
        )
