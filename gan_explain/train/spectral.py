"""Training with spectral importance as augmentation: every other image of a batch has its important frequencies emphasised.

Gebreamlak et al., "Leveraging Explainability methods in Spectral Domain for Data Augmentation and efficient training of CNN
classifiers for Covid-19 Detection", IPTA 2023 (hal-04684288). First a CNN is trained on log-magnitude spectra, then FEM on it
gives each image a mask over frequencies (`attribution.fem`), and a second CNN is trained on images, alternately as they are and
filtered by their mask (`data.spectral`). The published summary leaves open how they alternate: here the 1st, 3rd, ... image of
every batch is as it is and the 2nd, 4th, ... is filtered, so that each step sees both and a resumed run needs no state of it.
Nothing is filtered when the trained network is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gan_explain.attribution.fem import K, spectral_importance
from gan_explain.data import Batch, Dataset
from gan_explain.data.spectral import HIGH, LOW, GaussianLowPass, Transform
from gan_explain.files.checkpoints import CONFIG, load_part
from gan_explain.targets import ModuleTarget, Preparation, target_from_part
from gan_explain.train.loop import STATE, LoopConfig
from gan_explain.train.supervised import SupervisedConfig
from gan_explain.train.target import MakeObjective, TargetObjective, TargetOptions, train_target
from gan_explain.types import Segmenter

Filter = Literal["none", "gaussian", "importance"]
FILTERS: tuple[Filter, ...] = get_args(Filter)


class AlternatingObjective(TargetObjective):
    """A target's cross-entropy, every other image of the batch put through `transform`."""

    def __init__(
        self,
        network: nn.Module,
        prepare: Preparation,
        classes: Sequence[str],
        group: bool,
        smoothing: float,
        class_weights: Tensor | None = None,
        *,
        transform: Transform,
    ) -> None:
        super().__init__(network, prepare, classes, group, smoothing, class_weights)
        self.transform = transform

    def forward(self, images: Tensor, masks: Tensor, batch: Batch) -> dict[str, Tensor]:
        return super().forward(alternated(images, masks, self.transform), masks, batch)


@torch.no_grad()
def alternated(images: Tensor, masks: Tensor, transform: Transform) -> Tensor:
    """Images (N, 1, H, W), the 2nd, 4th, ... transformed."""
    images = images.clone()
    images[1::2] = transform(images[1::2], masks[1::2]).to(images)
    return images


def alternating(transform: Transform) -> MakeObjective:
    """What `train_target` takes as `make_objective`."""
    return partial(AlternatingObjective, transform=transform)


@dataclass(frozen=True)
class SpectralOptions:
    """filter: what every other image goes through; low, high: gains at importance 0 and 1; k: FEM's threshold; layer: the one
    that FEM looks at ("": `SpectralFem` finds it); sigma: of the Gaussian, in pixels."""

    filter: Filter = "importance"
    low: float = LOW
    high: float = HIGH
    k: float = K
    layer: str = ""
    sigma: float = 1.0

    def objective(self, spectrum: ModuleTarget | None) -> MakeObjective:
        """How a network is trained with this filter; importance is that of a `spectrum` target, and only it needs one."""
        if self.filter == "none":
            return TargetObjective
        if self.filter == "gaussian":
            return alternating(GaussianLowPass(self.sigma))
        if spectrum is None:
            raise ValueError("expected a target that reads the spectrum for the importance filter, got none")
        return alternating(spectral_importance(spectrum, layer=self.layer, k=self.k, low=self.low, high=self.high))


def train_spectral(
    dataset: Dataset,
    segmenter: Segmenter | None,
    out: Path,
    options: TargetOptions,
    spectral: SpectralOptions,
    config: SupervisedConfig,
    loop: LoopConfig,
    *,
    spectrum: TargetOptions,
    spectrum_steps: int,
    resume: bool = False,
) -> ModuleTarget:
    """Train a classifier with a filter and write checkpoint `out`; for the importance filter first a target that reads spectra,
    checkpoint `out`/spectrum, for `spectrum_steps` steps. A finished one there is taken as it is when resuming.

    Raises as `train_target` does.
    """
    reader = None
    if spectral.filter == "importance":
        place = out / "spectrum"
        if resume and (place / CONFIG).is_file():
            reader = target_from_part(load_part(place, spectrum.part), segmenter)
        else:
            reader = train_target(
                dataset, segmenter, place, replace(spectrum, domain="spectrum"), replace(config, steps=spectrum_steps),
                replace(loop, steps=spectrum_steps), resume=resume and (place / STATE).is_file(),
            )  # fmt: skip
        reader = reader.to(config.device)
    return train_target(
        dataset, segmenter, out, options, config, loop, resume=resume and (out / STATE).is_file(),
        make_objective=spectral.objective(reader),
    )  # fmt: skip
