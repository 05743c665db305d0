"""What every heat-map method shares: its contract, the number it explains, and the callable that Quantus takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_explain.pixels import check_images
from gan_explain.targets import device_of
from gan_explain.types import Target, TargetError

Floats = NDArray[np.float32]


class Method(ABC):
    """A heat-map method (Captum's convention): fulfils `types.Explainer`.

    `title` stands over its map and `caveat`, one or two sentences, below it: what the map does not say; `unit` stands by its
    colour bar. `signed` maps have evidence against the positive set below zero. A method that `uses_generator` shows
    layers of a disentangling generator.
    """

    title: ClassVar[str]
    caveat: ClassVar[str]
    unit: ClassVar[str] = ""
    signed: ClassVar[bool] = False
    uses_generator: ClassVar[bool] = False

    def attribute(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> Tensor:
        """Heat of the log-odds of the target's positive set: images (N, 1, H, W) in [0, 1] -> (N, 1, H, W), finite.

        `lungs` (N, 1, H, W) is the mask read once from the images, for a target that reads the lungs only and for methods that
        ask for it; without one the target's own segmenter reads it. Raises TargetError for a target that the method cannot look
        into.
        """
        return self.heat(images, target, held(images, target, lungs), positive_set(target, len(images)).to(images.device))

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None) -> str:
        """How the maps of these images were made, in a few words for a caption; "" where there is nothing to say."""
        return ""

    @abstractmethod
    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """The same for any set of classes, `chosen` (N, K) bool: some, not all, of each image's."""

    def as_quantus(self) -> Callable[..., Floats]:
        """The `explain_func` that Quantus (Hedstrom et al., JMLR 2023, arXiv 2202.06861) expects.

        explain(model, inputs (N, 1, H, W), targets (N,)) -> (N, 1, H, W): heat of the log-odds of the classes `targets`, indices
        into model.classes. `model` is a `types.Target`; a lungs-only one segments the images itself. Quantus' other arguments
        (device, ...) have no say here.
        """

        def explain(model: Target, inputs: Any, targets: Any, **_: object) -> Floats:
            if not isinstance(model, Target):
                raise TargetError(f"expected a target (gan_explain.types.Target) as the model, got {type(model).__name__}")
            images = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
            indices = torch.as_tensor(np.asarray(targets)).long().reshape(-1)
            if indices.shape != (len(images),) or not bool(((indices >= 0) & (indices < len(model.classes))).all()):
                raise ValueError(f"expected {len(images)} class indices below {len(model.classes)}, got {indices.tolist()}")
            chosen = torch.nn.functional.one_hot(indices, len(model.classes)).bool()
            where = device_of(model)
            images = images.to(where)
            heat = self.heat(images, model, held(images, model, None), chosen.to(where))
            result: Floats = heat.cpu().numpy()
            return result

        return explain


def held(images: Tensor, target: Target, lungs: Tensor | None) -> Tensor | None:
    """The mask that stays as it is while a method changes the images: the one given, else what the segmenter of a lungs-only
    target reads in them; None for a target that sees the whole image."""
    segmenter = getattr(target, "segmenter", None)
    return segmenter(images) if lungs is None and target.uses_lungs and segmenter is not None else lungs


def positive_set(target: Target, count: int) -> Tensor:
    """Which of the classes count as positive, once for each of `count` images: (count, K) bool."""
    return torch.tensor([[name in target.positive for name in target.classes]]).expand(count, -1)


def log_odds(logits: Tensor, chosen: Tensor) -> Tensor:
    """log p / (1 - p) of a set of classes, p its summed softmax: logits (N, K), chosen (N, K) bool -> (N,).

    It does not saturate where p does. For two classes it is the difference of their logits."""
    inside = logits.masked_fill(~chosen, -torch.inf).logsumexp(1)
    return inside - logits.masked_fill(chosen, -torch.inf).logsumexp(1)


def answer(target: Target) -> Callable[[Tensor, Tensor | None, Tensor], Tensor]:
    """The number that is explained, as a function that captum can call: (images (N, 1, H, W), masks for the target or None,
    chosen (N, K) bool) -> log-odds (N,), float64. Masks and chosen go as captum's additional_forward_args, which it repeats with
    the images."""

    def of(images: Tensor, masks: Tensor | None, chosen: Tensor) -> Tensor:
        return log_odds(target.logits(images, masks).double(), chosen)

    return of


def check_input(images: Tensor, target: Target, method: str, *, gradients: bool = True) -> None:
    """ValueError for images of another shape or range, TargetError for a target without the gradients that a method needs."""
    check_images(images)
    if gradients and not target.differentiable:
        raise TargetError(f"{method} needs a target with gradients; this one only runs forward")


def finite(heat: Tensor, what: str) -> Tensor:
    """The heat as float32, cut off from the graph. TargetError, naming `what` it is of, where it is NaN or infinite."""
    heat = heat.detach().float()
    if not bool(torch.isfinite(heat).all()):
        raise TargetError(f"{what}: expected finite heat, got NaN or infinity")
    return heat
