"""Walking a structure: under a layer of growing strength, or on the way between two codes; every frame is shown to the target."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import torch
from torch import Tensor

from gan_explain.counterfactual.checks import BETWEEN, check_parts, check_pathology, check_radiographs
from gan_explain.counterfactual.disentangle import Disentangled, disentangle
from gan_explain.counterfactual.frames import layered, layered_each
from gan_explain.counterfactual.pathology import Pathology, PathologyOptions, between, choose
from gan_explain.counterfactual.radiograph import Radiograph
from gan_explain.counterfactual.respond import positive_probability, probability, respond
from gan_explain.counterfactual.traversal import Traversal
from gan_explain.pixels import quantize16
from gan_explain.response import Frames
from gan_explain.types import Generator, Target

logger = logging.getLogger(__name__)

MOST = 1.5  # strength of the last frame
NOWHERE = "the target calls neither image positive: there is no pathology to go from or to"
Strengths = int | Sequence[float] | Tensor


def even_strengths(low: float, high: float, count: int) -> Tensor:
    """(count,) even strengths; where 1 lies between them, the one nearest to it is moved there: that frame has a name."""
    strengths = torch.linspace(low, high, count, dtype=torch.float32)
    if count > 2 and low < 1 < high:
        strengths[1 + int((strengths[1:-1] - 1).abs().argmin())] = 1.0
    return strengths


def as_strengths(strengths: Strengths) -> Tensor:
    """A number of frames from 0 to 1.5, or the strengths themselves -> (L,). ValueError for what is neither."""
    return _row(strengths, MOST, math.inf)


def _row(strengths: Strengths, last: float, most: float) -> Tensor:
    """A number of strengths from 0 to `last`, or a row of them that grows from 0 or more to `most` or less -> (L,)."""
    if isinstance(strengths, int):
        if strengths < 2:
            raise ValueError(f"expected at least two strengths, got {strengths}")
        return even_strengths(0.0, last, strengths)
    try:
        found = torch.as_tensor(strengths, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected a number of strengths or a row of them, got {strengths!r}") from error
    fits = found.ndim == 1 and len(found) and bool(torch.isfinite(found).all())
    if not fits or float(found[0]) < 0 or float(found[-1]) > most or not bool((found.diff() >= 0).all()):
        limits = "of 0 or more" if math.isinf(most) else f"from 0 to {most:g}"
        raise ValueError(f"expected a row of growing strengths {limits}, got {found.tolist()}")
    return found


@overload
def traverse(
    generator: Generator, target: Target, radiograph: Radiograph, *, pathology: str | None = ..., seed: int = ...,
    strengths: Strengths = ..., label: str | None = ..., reference: Radiograph | None = ...,
) -> Traversal: ...  # fmt: skip
@overload
def traverse(
    generator: Generator, target: Target, radiograph: Sequence[Radiograph], *, pathology: str | None = ..., seed: int = ...,
    strengths: Strengths = ..., label: str | None = ..., reference: Radiograph | None = ...,
) -> list[Traversal]: ...  # fmt: skip
def traverse(
    generator: Generator,
    target: Target,
    radiograph: Radiograph | Sequence[Radiograph],
    *,
    pathology: str | None = None,
    seed: int = 0,
    strengths: Strengths = 33,
    label: str | None = None,
    reference: Radiograph | None = None,
) -> Traversal | list[Traversal]:
    """Turn a pathology up on a radiograph and chart what the target makes of every frame; a list in, a list out.

    `pathology` is a name of `PATHOLOGIES` or "between"; None takes "own" for a radiograph that the target calls positive, "prior"
    for one that it calls negative. A negative is its own structure: its frame at strength 0 is the radiograph. A positive's own
    layer is taken off: its own frame at strength 1 is the radiograph. `reference` is the other patient of "from" and "between";
    the latter goes from the code of the radiograph's pathology to that of the reference's, and `strengths` are then positions in
    [0, 1]. `label` names the prior, by default the generator's first; patients of a list are given seeds `seed`, `seed` + 1, ...
    Raises ValueError for an unknown pathology or label and for strengths that do not grow from 0 or more; TypeError for what is
    no generator, target or radiograph.
    """
    check_parts(generator, target)
    check_pathology(generator, pathology, label, reference)
    given = [radiograph] if isinstance(radiograph, Radiograph | str) or not isinstance(radiograph, Sequence) else radiograph
    check_radiographs(*given)
    label = label or generator.labels[0]
    found = []
    for i, each in enumerate(given):
        if pathology == BETWEEN and reference is not None:
            found.append(_between(generator, target, (each, reference), strengths))
        else:
            options = PathologyOptions(seed + i, label, reference=reference)
            found.append(_along(generator, target, each, pathology, options, as_strengths(strengths)))
    return found[0] if isinstance(radiograph, Radiograph) else found


def _along(
    generator: Generator, target: Target, radiograph: Radiograph, kind: str | None, options: PathologyOptions, at: Tensor
) -> Traversal:
    """Under one layer at strengths (L,)."""
    before = probability(target, radiograph.image, radiograph.lungs)
    negative = before < target.operating_point
    kind = kind or ("prior" if negative else "own")
    apart = disentangle(generator, radiograph.image, radiograph.lungs)
    if negative and kind != "own":
        apart = apart.untouched()
    found = choose(kind, generator, target, apart, options)
    if found is None:
        logger.warning("%s: no layer that was tried crosses the operating point: showing one of the prior", radiograph.name)
        found = choose("prior", generator, target, apart, options)
        assert found is not None
    return chart(target, apart.structure, found, radiograph, at, before)


def _between(generator: Generator, target: Target, pair: tuple[Radiograph, Radiograph], strengths: Strengths) -> Traversal:
    """On the structure of the first, from its code to the other's; the code of one that is called negative is 0, no disease."""
    positions = _row(strengths, 1.0, 1.0)
    answers = [probability(target, each.image, each.lungs) for each in pair]
    positive = [p >= target.operating_point for p in answers]
    parts: list[Disentangled] = [disentangle(generator, each.image, each.lungs) for each in pair]
    codes = [generator.encode(part.layer, part.lungs) * float(called) for part, called in zip(parts, positive, strict=True)]
    first = parts[0] if positive[0] else parts[0].untouched()
    line = [between((codes[0], codes[1]), s) for s in positions.tolist()]

    def layer(i: int) -> Tensor:
        with torch.no_grad():
            return generator.layer(line[i], first.lungs)[0]

    remarks = () if any(positive) else (NOWHERE,)
    name = f"{pair[0].name} to {pair[1].name}"
    for remark in remarks:
        logger.warning("%s: %s", name, remark)
    last = Pathology(BETWEEN, layer(len(line) - 1)[None], line[-1], remarks=remarks)
    frames = layered_each(first.structure[0], layer, len(line))
    shown = replace(pair[0], name=name, remarks=(*pair[0].remarks, *pair[1].remarks))
    return chart(target, first.structure, last, shown, positions, answers[0], frames)


def chart(
    target: Target,
    structure: Tensor,
    pathology: Pathology,
    radiograph: Radiograph,
    strengths: Tensor,
    before: float,
    frames: Frames | None = None,
) -> Traversal:
    """The target's response along frames; structure (1, 1, H, W), by default under the pathology's layer at each strength."""
    frames = layered(structure[0], pathology.layer[0], strengths) if frames is None else frames
    found = respond(target, frames, radiograph.lungs)
    code = structure.new_zeros(0) if pathology.code is None else pathology.code[0]
    return Traversal(
        frames=frames, strengths=strengths, probability=positive_probability(target, found), class_probability=found,
        layer=pathology.layer[0], structure=quantize16(structure[0]), lungs=radiograph.lungs[0], code=code,
        classes=tuple(target.classes), positive=tuple(target.positive), operating_point=target.operating_point,
        name=radiograph.name, pathology=pathology.kind, input=before, facts=dict(pathology.facts),
        remarks=(*radiograph.remarks, *pathology.remarks), origin=radiograph.origin,
    )  # fmt: skip
