"""`gan-explain explain`: heat maps of one radiograph, for any CNN, side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import click
from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.models import default_target, generator_facts, load_target, target_facts
from gan_explain.cli.names import shown_name
from gan_explain.cli.options import ARGUMENT
from gan_explain.cli.words import Force, Layer, Methods, ModelOptions, Resolution, Trim

if TYPE_CHECKING:
    from torch import Tensor

    from gan_explain.attribution import Method
    from gan_explain.counterfactual import Radiograph
    from gan_explain.nets.segmenter import LungSegmenter
    from gan_explain.render.heat import Explained, HeatMap
    from gan_explain.types import Target

DEFAULT_RESOLUTION = 224  # of a target that does not say its input size
ALL = "all"
SIDE = 384  # of an image in the figure, in pixels


@dataclass(frozen=True)
class Made:
    """A method and what it made of the image: heat (1, 1, H, W), and how."""

    method: Method
    heat: Tensor
    note: str


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """Which maps of which image."""

    TITLE: ClassVar = "Heat maps"
    image: Annotated[Path, Field(description="PNG, JPEG or DICOM file."), ARGUMENT]
    method: Methods = ("grad_cam",)
    layer: Layer = ""
    resolution: Resolution = None
    trim: Trim = True
    force: Force = False


@common.command("explain", out="out/explain")
def explain(run: common.Run, options: ExplainOptions, models: ModelOptions) -> dict[str, Any]:
    """Show where in IMAGE, a PNG, JPEG or DICOM file, a CNN finds evidence for its positive set, with one heat map a method.

    The whole image is explained, square or not. Writes heat.png (the radiograph, each map over it with its colour bar and
    what it does not say), METHOD.npy (float32, H x W, unscaled), lungs.png and run.json.
    """
    from gan_explain import render
    from gan_explain.counterfactual import read_radiograph
    from gan_explain.counterfactual.respond import probability
    from gan_explain.metrics.pointing import relevance_mass
    from gan_explain.nets.segmenter import load_segmenter
    from gan_explain.render.heat import Explained

    chosen = _chosen(options.method)
    lungs_of = load_segmenter(models.segmenter).to(run.device)
    radiograph = read_radiograph(options.image, segmenter=lungs_of, trim=options.trim, force=options.force)
    spec = models.target or default_target(models.generator)
    explained = load_target(run, spec, models, lungs_of)
    shown = shown_name(run, options.image, radiograph.sha256)
    run.record(
        data={shown: radiograph.sha256}, target=target_facts(spec, explained), fit=radiograph.fit, remarks=radiograph.remarks
    )
    x, lungs = (each.to(run.device) for each in _at(radiograph, options.resolution or _input_size(explained)))
    share, p = float(lungs.mean()), probability(explained, x, lungs)
    methods = _methods(run, chosen, options.layer, models.generator, lungs_of)
    maps, left_out = _maps(methods, explained, x, lungs, strict=options.method != (ALL,))
    inside = {name: float(relevance_mass(made.heat, lungs)) for name, made in maps.items()}
    notes = {name: _notes(made.note, inside[name], share, explained) for name, made in maps.items()}
    label, point = render.positive_label(explained.positive), explained.operating_point
    if not run.dry_run:
        columns = [_column(made, notes[name]) for name, made in maps.items()]
        _write(run, Explained(radiograph.image[0], shown, label, p, point, lungs[0].cpu(), radiograph.remarks), columns, maps)
    run.say(f"{shown}: {label} {p:.3f}, called {'positive' if p >= point else 'negative'} (operating point {point:.2f})")
    for name in maps:
        run.say(f"{name}: {'; '.join(notes[name])}")
    for name, reason in left_out.items():
        run.say(f"left out: {name}: {reason}")
    return {
        "out": None if run.dry_run else run.out,
        "positive": explained.positive,
        "probability": p,
        "operating_point": point,
        "lung_share": share,
        "remarks": radiograph.remarks,
        "methods": {
            name: {
                "note": made.note,
                "largest": float(made.heat.abs().max()),
                "sum": float(made.heat.double().sum()),
                "share_in_lungs": inside[name],
            }
            for name, made in maps.items()
        },
        "left_out": left_out,
    }


def _chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """The methods of --method, each once. UsageError for a name that is none."""
    from gan_explain.attribution import METHODS

    chosen = tuple(METHODS) if names == (ALL,) else tuple(dict.fromkeys(names))
    if not chosen or any(name not in METHODS for name in chosen):
        raise click.UsageError(f"--method {','.join(names)}: expected one or more of {', '.join(METHODS)}, or {ALL}")
    return chosen


def _methods(run: common.Run, chosen: tuple[str, ...], layer: str, generator: str, segmenter: LungSegmenter) -> dict[str, Method]:
    """The methods, with the generator where one of them uses it."""
    from gan_explain.attribution import METHODS, MethodOptions
    from gan_explain.nets.load import load_generator

    layers = None
    if any(METHODS[name].uses_generator for name in chosen):
        layers = load_generator(generator).to(run.device)
        run.record(generator=generator_facts(generator))
    label = "covid" if layers is None else layers.labels[0]
    settings = MethodOptions(layer, layers, run.seed, label=label, segmenter=segmenter)
    return {name: METHODS[name].of(settings) for name in chosen}


def _write(run: common.Run, shown: Explained, columns: Sequence[HeatMap], maps: Mapping[str, Made]) -> None:
    """The figure, each map and the lungs, in the output folder."""
    from gan_explain.files.temporaries import write_bytes
    from gan_explain.image import write_png16
    from gan_explain.render.heat import write_heat

    with run.staging() as folder:
        write_heat(shown, columns, folder / "heat.png", SIDE)
        for name, made in maps.items():
            write_bytes(folder / f"{name}.npy", _npy(made.heat[0, 0]))
        if shown.lungs is not None:
            write_png16(shown.lungs, folder / "lungs.png")
    run.say(f"written to {run.out}")


def _at(radiograph: Radiograph, side: int) -> tuple[Tensor, Tensor]:
    """A radiograph and its lungs (1, 1, H, W) with a longer side of `side` pixels."""
    from torch.nn.functional import interpolate

    from gan_explain.pixels import quantize16

    size = radiograph.image.shape[-2:]
    to = [max(1, round(each * side / max(size))) for each in size]
    image = interpolate(radiograph.image, to, mode="bilinear", antialias=True, align_corners=False)
    return quantize16(image), interpolate(radiograph.lungs, to, mode="nearest-exact")


def _maps(
    methods: Mapping[str, Method], target: Target, x: Tensor, lungs: Tensor, *, strict: bool
) -> tuple[dict[str, Made], dict[str, str]]:
    """What each method makes of the image, and why others make nothing of this target. TargetError, naming the method, for the
    first that does not where `strict`, and where none is left."""
    from gan_explain.types import TargetError

    maps: dict[str, Made] = {}
    left_out: dict[str, str] = {}
    for name, method in methods.items():
        try:
            maps[name] = Made(method, method.attribute(x, target, lungs), method.note(x, target, lungs))
        except TargetError as error:
            if strict:
                raise TargetError(f"--method {name}: {error}") from error
            left_out[name] = str(error)
    if not maps:
        raise TargetError(f"no method can explain this target: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}")
    return maps, left_out


def _column(made: Made, notes: tuple[str, ...]) -> HeatMap:
    from gan_explain.render.heat import HeatMap, full_colour

    return HeatMap(
        made.method.title,
        made.heat[0].cpu(),
        notes,
        made.method.caveat,
        made.method.signed,
        full_colour(made.heat),
        made.method.unit,
    )


def _input_size(target: Target) -> int:
    """The side of a target's own input, so that nothing is resized twice."""
    prepare = getattr(target, "prepare", None)
    size = getattr(prepare, "size", None)
    return int(size) if isinstance(size, int) else DEFAULT_RESOLUTION


def _notes(note: str, inside: float, area: float, target: Target) -> tuple[str, ...]:
    """How a map was made, how much of it lies in the lungs, and what heat outside means for a CNN that does not look there."""
    if inside != inside:
        return tuple(filter(None, (note, "no heat: nothing here speaks for the positive set")))
    share = f"{inside:.0%} of the heat in the lungs ({area:.0%} of the image)"
    alone = getattr(getattr(target, "prepare", None), "lungs_only", target.uses_lungs)  # one that sees a cut reads the lungs too
    blind = "this CNN sees the lungs alone: heat outside is overhang" if alone and inside < 0.995 else ""
    return tuple(filter(None, (note, share, blind)))


def _npy(values: Tensor) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, values.cpu().float().numpy(), allow_pickle=False)
    return buffer.getvalue()
