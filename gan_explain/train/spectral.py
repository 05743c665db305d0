"""Training with spectral importance as augmentation: every other image of a batch has its important frequencies emphasised.

Gebreamlak et al., "Leveraging Explainability methods in Spectral Domain for Data Augmentation and efficient training of CNN
classifiers for Covid-19 Detection", IPTA 2023 (hal-04684288). First a CNN is trained on log-magnitude spectra, then FEM on it
gives each image a mask over frequencies (`attribution.fem`), and a second CNN is trained on images, alternately as they are and
filtered by their mask (`data.spectral`). The published summary leaves open how they alternate: here the 1st, 3rd, ... image of
every batch is as it is and the 2nd, 4th, ... is filtered, so that each step sees both and a resumed run needs no state of it.
Nothing is filtered when the trained network is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from gan_explain.attribution.fem import K, spectral_importance
from gan_explain.data.spectral import HIGH, LOW, GaussianLowPass, Transform
from gan_explain.settings import Settings
from gan_explain.targets import ModuleTarget

Filter = Literal["none", "gaussian", "importance"]
FILTERS: tuple[Filter, ...] = get_args(Filter)


@dataclass(frozen=True, kw_only=True)
class SpectralOptions(Settings):
    """The importance is that of a network that reads spectra, trained before for `spectrum_steps` steps."""

    TITLE: ClassVar = "Spectral augmentation"

    filter: Annotated[Filter, Field(description="What every other training image goes through.")] = "none"
    low: Annotated[float, Field(ge=0, description="What frequencies of importance 0 are multiplied by.")] = LOW
    high: Annotated[float, Field(gt=0, description="What frequencies of importance 1 are multiplied by.")] = HIGH
    k: Annotated[float, Field(ge=0, description="Threshold of FEM, in standard deviations.")] = K
    layer: Annotated[str, Field(description="Layer for FEM; else the last block of 7 x 7 cells.")] = ""
    sigma: Annotated[float, Field(ge=0, description="Of the Gaussian filter, in pixels.")] = 1.0
    spectrum_arch: Annotated[str | None, Field(description="Of the network that reads spectra; else --arch.")] = None
    spectrum_steps: Annotated[int, Field(ge=1, description="Updates of the network that reads spectra.")] = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ValueError(f"expected low <= high, got {self.low} and {self.high}")

    def transform(self, spectrum: ModuleTarget | None) -> Transform | None:
        """What the images go through; importance is that of a `spectrum` target, and only it needs one."""
        if self.filter == "none":
            return None
        if self.filter == "gaussian":
            return GaussianLowPass(self.sigma)
        if spectrum is None:
            raise ValueError("expected a target that reads the spectrum for the importance filter, got none")
        return spectral_importance(spectrum, layer=self.layer, k=self.k, low=self.low, high=self.high)
