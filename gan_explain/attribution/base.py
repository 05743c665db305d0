"""What every heat-map method shares: its contract, its name, the number it explains, and the callable that Quantus takes."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_explain.attribution.explanation import Explanation
from gan_explain.attribution.model import Chosen, PlainModel, chosen_classes, opened
from gan_explain.pixels import check_images
from gan_explain.targets import device_of
from gan_explain.types import Generator, Segmenter, Target, TargetError

Floats = NDArray[np.float32]
Layer = str | nn.Module  # by its name in the network, or itself; "": the method's own choice


@dataclass(frozen=True)
class MethodOptions:
    """What a method may be told; each takes those that its constructor has parameters for (`Method.of`).

    `layer`: the one to look at; `generator`: the disentangling generator of methods that show its layers; `seed` of what is
    drawn; `label`: whose pathology is added to a negative; `segmenter`: what reads the lungs where a method needs them and is
    given none."""

    layer: Layer = ""
    generator: Generator | None = None
    seed: int = 0
    label: str = "covid"
    segmenter: Segmenter | None = None


class Method(ABC):
    """A heat-map method (Captum's convention): fulfils `types.Explainer`.

    `title` stands over its map and `caveat`, one or two sentences, below it: what the map does not say; `unit` stands by its
    colour bar. `signed` maps have evidence against the explained classes below zero. A method that `uses_generator` shows
    layers of a disentangling generator. One that `needs_gradients` refuses a target that only runs forward; one that
    `needs_target` asks for more than logits: a `types.Target`, no plain module.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str]
    caveat: ClassVar[str]
    unit: ClassVar[str] = ""
    signed: ClassVar[bool] = False
    uses_generator: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False
    needs_target: ClassVar[bool] = False

    @classmethod
    def of(cls, options: MethodOptions) -> Self:
        """The method with what of `options` its constructor takes."""
        taken = inspect.signature(cls).parameters
        return cls(**{each.name: getattr(options, each.name) for each in fields(options) if each.name in taken})

    def attribute(
        self, images: Tensor, model: Target | nn.Module, lungs: Tensor | None = None, *, target: Chosen = None
    ) -> Tensor:
        """Heat of the log-odds of a set of classes: images -> the same shape, finite; a map without channels is repeated.

        `model` is a `types.Target`, which takes images (N, 1, H, W) in [0, 1], or any `nn.Module`, which gets its images
        (N, C, H, W) as they are, in eval mode; what it gives is taken for logits (N, K), or told to be a softmax. `target` is the
        class to explain: an index, a name, a set of them, or a tensor (N,) with one index an image; by default the positive set
        of a `types.Target`. `lungs` (N, 1, H, W) is the mask read once from the images, for a target that reads the lungs only
        and for methods that ask for it; without one the target's own segmenter reads it. Raises TargetError for a model that the
        method cannot look into, ValueError for images or classes that it does not have.
        """
        return self._asked(images, model, lungs, target)[0].expand_as(images)

    def explain(
        self, image: Tensor, model: Target | nn.Module, lungs: Tensor | None = None, *, target: Chosen = None
    ) -> Explanation:
        """`attribute` of one image (1, C, H, W), with what it is of, to be shown and saved. Colours are added up."""
        if len(image) != 1:
            raise ValueError(f"expected one image (1, C, H, W), got {tuple(image.shape)}")
        heat, explained, chosen, note = self._asked(image, model, lungs, target, noted=True)
        inside = chosen[0].tolist()
        return Explanation(
            image=image[0].detach().float().cpu(),
            map=heat[0].sum(0, keepdim=True).cpu(),
            method=self.name or type(self).__name__,
            title=self.title,
            classes=tuple(name for name, taken in zip(explained.classes, inside, strict=True) if taken),
            signed=self.signed,
            unit=self.unit,
            note=note,
            caveat=self.caveat,
        )

    def _asked(
        self, images: Tensor, model: Target | nn.Module, lungs: Tensor | None, target: Chosen, *, noted: bool = False
    ) -> tuple[Tensor, Target, Tensor, str]:
        """Heat (N, 1 or C, H, W), the model as a target, the classes (N, K) explained, and the note where it is asked for."""
        with opened(model):
            images, lungs = images.clone(), None if lungs is None else lungs.clone()  # none of inference mode's
            explained = model if isinstance(model, Target) else PlainModel(model, images)
            if self.needs_target and isinstance(explained, PlainModel):
                raise TargetError(f"{self.name} needs a target, not a plain module: gan_explain.as_target(model, ...) makes one")
            chosen = chosen_classes(explained, target, len(images)).to(images.device)
            mask = held(images, explained, lungs)
            self._check(images, explained)
            heat = finite(self.heat(images, explained, mask, chosen), self.name)
            return heat, explained, chosen, self.note(images, explained, lungs, chosen) if noted else ""

    def _check(self, images: Tensor, target: Target) -> None:
        """ValueError for images of another shape or range, TargetError for a target without the gradients that are needed."""
        if not isinstance(target, PlainModel):
            check_images(images)
        if self.needs_gradients and not target.differentiable:
            raise TargetError(f"{self.name} needs a target with gradients; this one only runs forward")

    def note(self, images: Tensor, target: Target, lungs: Tensor | None = None, chosen: Tensor | None = None) -> str:
        """How the maps of these images were made, in a few words for a caption; "" where there is nothing to say."""
        return ""

    @abstractmethod
    def heat(self, images: Tensor, target: Target, lungs: Tensor | None, chosen: Tensor) -> Tensor:
        """What a method is: heat (N, 1, H, W) or (N, C, H, W) of `chosen` (N, K) bool: some, not all, of each image's classes.

        `images` are checked before, and that the heat is finite after."""

    def as_quantus(self) -> Callable[..., Floats]:
        """The `explain_func` that Quantus (Hedstrom et al., JMLR 2023, arXiv 2202.06861) expects.

        explain(model, inputs (N, C, H, W), targets (N,)) -> (N, C, H, W): `attribute` of the classes `targets`, one index an
        image. Quantus' other arguments (device, ...) have no say here.
        """

        def explain(model: Target | nn.Module, inputs: Any, targets: Any, **_: object) -> Floats:
            images = torch.as_tensor(np.asarray(inputs), dtype=torch.float32).to(device_of(model))
            indices = torch.as_tensor(np.asarray(targets)).long().reshape(-1)
            heat: Floats = self.attribute(images, model, target=indices).cpu().numpy()
            return heat

        return explain


METHODS: dict[str, type[Method]] = {}  # a name, as --method takes it, to a method
Kind = TypeVar("Kind", bound=type[Method])


def register(name: str) -> Callable[[Kind], Kind]:
    """Decorator of a `Method`: enters it in `METHODS` under a name."""

    def enter(method: Kind) -> Kind:
        method.name = name
        METHODS[name] = method
        return method

    return enter


def explained_set(target: Target, chosen: Tensor | None, images: Tensor) -> Tensor:
    """The classes explained of each of images: those `chosen` (N or more, K), else the target's positive set; (N, K) bool."""
    return (chosen_classes(target, None, len(images)) if chosen is None else chosen[: len(images)]).to(images.device)


def held(images: Tensor, target: Target, lungs: Tensor | None) -> Tensor | None:
    """The mask that stays as it is while a method changes the images: the one given, else what the segmenter of a lungs-only
    target reads in them; None for a target that sees the whole image."""
    segmenter = getattr(target, "segmenter", None)
    return segmenter(images) if lungs is None and target.uses_lungs and segmenter is not None else lungs


def log_odds(logits: Tensor, chosen: Tensor) -> Tensor:
    """log p / (1 - p) of a set of classes, p its summed softmax: logits (N, K), chosen (N, K) bool -> (N,).

    It does not saturate where p does. For two classes it is the difference of their logits."""
    inside = logits.masked_fill(~chosen, -torch.inf).logsumexp(1)
    return inside - logits.masked_fill(chosen, -torch.inf).logsumexp(1)


def answer(target: Target) -> Callable[[Tensor, Tensor | None, Tensor], Tensor]:
    """The number that is explained, as a function that captum can call: (images (N, C, H, W), masks for the target or None,
    chosen (N, K) bool) -> log-odds (N,), float64. Masks and chosen go as captum's additional_forward_args, which it repeats with
    the images."""

    def of(images: Tensor, masks: Tensor | None, chosen: Tensor) -> Tensor:
        return log_odds(target.logits(images, masks).double(), chosen)

    return of


def finite(heat: Tensor, what: str) -> Tensor:
    """The heat as float32, cut off from the graph. TargetError, naming `what` it is of, where it is NaN or infinite."""
    heat = heat.detach().float()
    if not bool(torch.isfinite(heat).all()):
        raise TargetError(f"{what}: expected finite heat, got NaN or infinity")
    return heat
