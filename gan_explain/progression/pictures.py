"""Pictures of progressions: one patient in full, many as small charts."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from gan_explain.progression.result import OPACITY_ABOVE, Progression, Visit
from gan_explain.render import positive_label
from gan_explain.render.draw import ACCENT, COOL
from gan_explain.render.progression import HEAT, LAYER, Chart, Line, Moment, Small, write_progression, write_progressions


def write_patient(progression: Progression, path: str | os.PathLike[str], *, side: int = 200) -> None:
    """Radiographs of one patient with layers and heat above, charts over the days below. Needs the pictures of the visits."""
    rows = (LAYER,) if progression.no_heat else (LAYER, HEAT)
    moments = [
        Moment(
            day=visit.day, image=visit.image, lungs=visit.lungs, maps=(visit.alpha, visit.heat)[: len(rows)],
            captions=_captions(progression, visit)[: 1 + len(rows)], positive=visit.probability >= progression.operating_point,
        )
        for visit in progression.visits
    ]  # fmt: skip
    labels = "/".join(dict.fromkeys(visit.record.label for visit in progression.visits))
    rho = progression.correlation("opacity_load", "probability")
    ends = "" if math.isnan(rho) else f"; Spearman of the load with p: {rho:+.2f} (n = {len(moments)})"
    title = f"{progression.patient} ({labels}; {progression.split} split){ends}"
    write_progression(moments, rows, _charts(progression), path, title=title, side=side)


def write_patients(progressions: Sequence[Progression], path: str | os.PathLike[str]) -> None:
    """All patients as small charts: p and the opacity load over the days."""
    small = []
    for each in progressions:  # cross-fitted ones have targets, and operating points, of their own
        rho = each.correlation("opacity_load", "probability")
        text = "" if math.isnan(rho) else f"  ρ {rho:+.2f}"
        p, load = each.series("probability"), each.series("opacity_load")
        small.append(Small(f"{each.patient}, {each.split}{text}", each.days, p, load, each.operating_point))
    write_progressions(small, path, label=positive_label(progressions[0].positive), other="opacity load")


def _captions(progression: Progression, visit: Visit) -> tuple[str, ...]:
    return (
        f"p {visit.probability:.2f}   load {visit.opacity_load:.2f}",
        f"α ≥ {OPACITY_ABOVE:g} in {visit.opacity_area:.0%} of the lungs",
        f"hot in {visit.grad_cam_area:.0%} of the lungs" if not progression.no_heat else "",
    )


def _charts(progression: Progression) -> tuple[Chart, ...]:
    classes, series = progression.classes, progression.series
    lines = [Line(positive_label(progression.positive), series("probability"))]
    if "covid" in classes and progression.positive != ("covid",):
        at = classes.index("covid")
        lines.append(Line("p(covid)", [visit.class_probability[at] for visit in progression.visits], COOL, dashed=True))
    areas = [Line("opacity layer", series("opacity_area"), ACCENT)]
    if not progression.no_heat:
        areas.append(Line("Grad-CAM", series("grad_cam_area"), COOL, dashed=True))
    return (
        Chart("probability", tuple(lines), top=1.0, threshold=progression.operating_point),
        Chart("opacity load", (Line("mean τ over the lungs", series("opacity_load")),)),
        Chart("share of the lungs", tuple(areas)),
    )
