"""One radiograph on the other side: a negative under a layer, a positive healed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_explain.counterfactual.checks import check_parts, check_pathology, check_radiographs
from gan_explain.counterfactual.disentangle import disentangle, laid
from gan_explain.counterfactual.pathology import PathologyOptions, check_kind, choose
from gan_explain.counterfactual.radiograph import Radiograph
from gan_explain.counterfactual.respond import probability
from gan_explain.pixels import quantize16
from gan_explain.types import Brief, Generator, Target


@dataclass(frozen=True, repr=False)
class Counterfactual(Brief):
    """structure, layer and image (1, 1, H, W): `image` is the radiograph on the other side, at strength 1 of `layer` for a
    negative, at strength 0 for a positive. before, after: p of the positive set. `flipped`: whether the target's call changed."""

    structure: Tensor
    layer: Tensor
    image: Tensor
    before: float
    after: float
    flipped: bool
    pathology: str

    def _repr_png_(self) -> bytes:
        from gan_explain.render import draw, strip

        call = "the call changed" if self.flipped else "the call stayed"
        caption = f"p = {self.before:.2f} before, {self.after:.2f} after: {call}"
        return draw.png(strip.draw_counterfactual(self.structure[0], self.layer[0], self.image[0], caption, self.pathology))


def counterfactual(
    generator: Generator,
    target: Target,
    radiograph: Radiograph,
    *,
    pathology: str = "prior",
    seed: int = 0,
    label: str | None = None,
    reference: Radiograph | None = None,
) -> Counterfactual:
    """A radiograph that the target calls negative under a `pathology` at strength 1; one that it calls positive with what was
    read on it taken off. Whether p follows is a finding about the target, not a promise."""
    check_parts(generator, target)
    check_kind(pathology)
    check_pathology(generator, pathology, label, reference)
    check_radiographs(radiograph)
    before = probability(target, radiograph.image, radiograph.lungs)
    apart = disentangle(generator, radiograph.image, radiograph.lungs)
    if before >= target.operating_point:
        structure, layer, kind = apart.structure, apart.layer, "own"
        image = quantize16(structure)
    else:
        apart, options = apart.untouched(), PathologyOptions(seed, label or generator.labels[0], reference=reference)
        found = choose(pathology, generator, target, apart, options) or choose("prior", generator, target, apart, options)
        assert found is not None
        structure, layer, kind = apart.image, found.layer, found.kind
        image = laid(structure, layer)
    after = probability(target, image, radiograph.lungs)
    flipped = (before >= target.operating_point) != (after >= target.operating_point)
    return Counterfactual(structure, layer, image, before, after, flipped, kind)
