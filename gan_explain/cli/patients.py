"""Patients for `interpolate`: from a radiograph, from (z1, z2), or between two radiographs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gan_explain.cli.models import Models, Radiograph, probability

if TYPE_CHECKING:
    from torch import Tensor

    from gan_explain.latent.translate import Direction, Translator
    from gan_explain.nets.synthesis import StructureGenerator
    from gan_explain.render import Axis
    from gan_explain.types import Traversal

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patient:
    """One traversal and where it came from: `input` is p(x), `original` (1, H, W) the image where it is not a frame itself."""

    name: str
    traversal: Traversal
    pathology: str
    input: float
    original: Tensor | None = None


def strengths_between(low: float, high: float, steps: int) -> Tensor:
    """(steps,) even strengths; where 1 lies between them, the one nearest to it is moved there: that frame has a name."""
    import torch

    strengths = torch.linspace(low, high, steps)
    if steps > 2 and low < 1 < high:
        strengths[1 + int((strengths[1:-1] - 1).abs().argmin())] = 1.0
    return strengths


def _code(
    models: Models, structure: Tensor, lungs: Tensor, pathology: str | None, reference: Tensor | None, seed: int
) -> tuple[Tensor, str]:
    """The pathology asked for as a code (1, d), and its name; the prior's where nothing minimal crosses."""
    from gan_explain.latent.pathology import minimal_code, prior_code

    if reference is not None:
        return reference, "from"
    if pathology == "minimal":
        code = minimal_code(models.generator, models.target, structure, lungs, seed, label=models.label)
        if code is not None:
            return code, "minimal"
        logger.warning("no pathology that was tried crosses the operating point: showing one of the prior")
    return prior_code(models.generator, seed, models.label).to(models.device), "prior"


def of_radiograph(
    models: Models, radiograph: Radiograph, pathology: str | None, reference: Tensor | None, strengths: Tensor, seed: int
) -> Patient:
    """A negative under a chosen pathology; a positive healed, then under its own (or the chosen) one."""
    from gan_explain.latent.traverse import traverse

    generator, x, lungs = models.generator, radiograph.image, radiograph.lungs
    if radiograph.probability < models.target.operating_point:
        code, kind = _code(models, x, lungs, pathology, reference, seed)
        traversal = traverse(generator, models.target, x, code, lungs, strengths)
        return Patient(radiograph.name, _on_cpu(traversal), kind, radiograph.probability)
    removal = generator.remove(x, lungs)
    if pathology is None:
        code, kind = generator.encode(x, lungs), "own"
    else:
        code, kind = _code(models, removal.structure, lungs, pathology, reference, seed)
    traversal = traverse(generator, models.target, removal.structure, code, lungs, strengths, float(removal.clamped))
    return Patient(radiograph.name, _on_cpu(traversal), kind, radiograph.probability, x[0].cpu())


def synthetic(
    models: Models, synthesis: StructureGenerator, pathology: str | None, reference: Tensor | None, strengths: Tensor, seed: int
) -> Patient:
    """Patient number `seed`: structure from z1, pathology from z2, both ~ N(0, I)."""
    import torch

    from gan_explain.latent.synthetic import draw_structure
    from gan_explain.latent.traverse import traverse

    z1 = torch.randn(1, synthesis.config.z_dim, generator=torch.Generator().manual_seed(seed))
    structure, lungs = draw_structure(synthesis, models.generator, models.segmenter, z1.to(models.device))
    code, kind = _code(models, structure, lungs, pathology, reference, seed)
    traversal = traverse(models.generator, models.target, structure, code, lungs, strengths)
    return Patient(f"synthetic patient {seed}", _on_cpu(traversal), kind, probability(models, structure, lungs))


def translated(models: Models, translator: Translator, radiograph: Radiograph, strengths: Tensor) -> tuple[Patient, Axis]:
    """A negative on its way to the CycleGAN's positive, or a positive from the CycleGAN's negative to itself."""
    from gan_explain.latent.translate import translate
    from gan_explain.render import BLEND, HEALED

    negative = radiograph.probability < models.target.operating_point
    way: Direction = "positive" if negative else "negative"
    traversal = translate(translator, models.target, radiograph.image, radiograph.lungs, strengths, way)
    original = None if negative or bool((strengths == 1).any()) else radiograph.image[0].cpu()
    patient = Patient(radiograph.name, _on_cpu(traversal), f"to_{way}", radiograph.probability, original)
    return patient, BLEND if negative else HEALED


def between_two(models: Models, pair: tuple[Radiograph, Radiograph], steps: int) -> Patient:
    """From the code of A to that of B on the (healed) structure of A; the code of a negative is 0, which is what 0 means."""
    import torch

    from gan_explain.latent.traverse import traverse_between

    codes = []
    for each in pair:
        code = models.generator.encode(each.image, each.lungs)
        negative = each.probability < models.target.operating_point
        codes.append(torch.zeros_like(code) if negative else code)
    first = pair[0]
    healthy = first.probability < models.target.operating_point
    structure = first.image if healthy else models.generator.remove(first.image, first.lungs).structure
    positions = torch.linspace(0, 1, steps)
    traversal = traverse_between(models.generator, models.target, structure, (codes[0], codes[1]), first.lungs, positions)
    name = f"{first.name} to {pair[1].name}"
    return Patient(name, _on_cpu(traversal), "between", first.probability, None if healthy else first.image[0].cpu())


def _on_cpu(traversal: Traversal) -> Traversal:
    names = ("frames", "strengths", "probability", "class_probability", "layer", "structure", "lungs", "code")
    moved: dict[str, Any] = {name: getattr(traversal, name).cpu() for name in names}
    return replace(traversal, **moved)
