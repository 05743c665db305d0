"""What a repair is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gan_explain.data.augment import Ranges
from gan_explain.repair.plan import KINDS, Kind
from gan_explain.settings import Settings
from gan_explain.train.head import MIRRORED, HeadTraining
from gan_explain.train.supervised import SupervisedTraining

Arm = Literal["both", "layers", "transplants", "classical", "plain"]
Depth = Literal["head", "all"]
MADE: dict[str, tuple[Kind, ...]] = {
    "plain": (), "classical": (), "layers": ("layers",), "transplants": ("transplants",), "both": KINDS,
}  # fmt: skip
STRONG = Ranges(rotate=16.0, scale=0.2, shift=0.1, gamma=0.7, contrast=0.4, blur=2.0, noise=0.05, flip=0.5)


@dataclass(frozen=True, kw_only=True)
class Making(Settings):
    """How counterfactual training images are made. A healed positive is used where its load is at most `left`, and at most
    `left_share` of what was there, and the judge of its source calls it normal."""

    weakest: Annotated[float, Field(ge=0, le=10, description="Least strength of a layer.")] = 0.7
    strongest: Annotated[float, Field(ge=0, le=10, description="Largest strength of a layer.")] = 2.5
    prior: Annotated[float, Field(ge=0, le=1, description="Share of the layers that is drawn from the prior.")] = 0.25
    donors: Annotated[int, Field(ge=1, description="Positives of a source that layers are taken from, at most.")] = 200
    least_load: Annotated[float, Field(ge=0, description="Load from which a positive gives its layer, or can be healed.")] = 0.02
    healed: Annotated[int, Field(ge=0, description="Positives of a source that are tried to be healed, at most.")] = 200
    left: Annotated[float, Field(ge=0, description="Largest load that may be left on a healed image.")] = 0.02
    left_share: Annotated[float, Field(ge=0, le=1, description="The same, as a share of what was there.")] = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weakest > self.strongest:
            raise ValueError(f"expected weakest <= strongest, got {self.weakest:g} and {self.strongest:g}")


@dataclass(frozen=True, kw_only=True)
class RepairOptions(Settings):
    """`arms`: the first one's first seed is the mended CNN. The seeds are `seed`, `seed` + 1, ... `limit`: images of the test
    split that are measured, drawn by name. `share` is of depth "all": weights between those audited and those trained keep more
    of what the CNN knew (Wortsman et al., CVPR 2022, arXiv 2109.01903)."""

    TITLE: ClassVar = "Repair"

    arms: tuple[Arm, ...] = ("both",)
    depth: Depth = "head"
    seeds: Annotated[int, Field(ge=1)] = 1
    leave_out: tuple[str, ...] = ()
    limit: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    share: Annotated[float, Field(gt=0, le=1, description="How far from the audited weights to the trained ones (all).")] = 1.0
    making: Making = field(default_factory=Making)
    head: HeadTraining = field(default_factory=HeadTraining)
    training: SupervisedTraining = field(
        default_factory=lambda: SupervisedTraining(steps=400, learning_rate=1e-3, ema=0.97, ranges=MIRRORED)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.arms or len(set(self.arms)) != len(self.arms) or not set(self.arms) <= set(MADE):
            raise ValueError(f"expected different arms of {', '.join(MADE)}, got {', '.join(self.arms) or 'none'}")
