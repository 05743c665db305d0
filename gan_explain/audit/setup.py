"""What an audit is about: the CNN, what looks at it, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Subject:
    """The target and everything that is turned on it. `free`: the generator that may act anywhere, where there is one; `judges`:
    independent CNNs; `label`: whose codes the prior draws; `perceptual`: LPIPS, where its backbone is at hand."""

    target: Target
    generator: Generator
    segmenter: Segmenter
    free: Generator | None = None
    judges: Mapping[str, Target] = field(default_factory=dict)
    label: str = "covid"
    perceptual: Perceptual | None = None

    def setup(self, plan: Plan) -> Setup:
        """The parts as the measures take them."""
        shuffled = shuffled_target(self.target, plan.seed) if isinstance(self.target, ModuleTarget) else None
        return Setup(
            self.generator, self.target, self.segmenter, dict(self.judges), plan.strengths, plan.seed, self.label,
            self.perceptual, shuffled,
        )  # fmt: skip

    def free_setup(self, plan: Plan) -> Setup | None:
        """The same with the generator that may act anywhere."""
        if self.free is None:
            return None
        return Setup(self.free, self.target, self.segmenter, {}, plan.strengths, plan.seed, self.label)
