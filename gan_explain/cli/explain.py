"""`gan-explain explain`: heat maps of one radiograph, for any CNN; no generator is involved."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli import common
from gan_explain.cli.models import LEAST_LUNG, SPEC, TRUST_CODE, digest, names, probed, read_gray, target_facts
from gan_explain.cli.names import shown_name

if TYPE_CHECKING:
    from torch import Tensor

    from gan_explain.attribution import Method
    from gan_explain.types import Target

DEFAULT_RESOLUTION = 224  # of a target that does not say its input size


@common.command("explain", out="out/explain")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--method", default="grad_cam", metavar="A,B", help="Heat maps: grad_cam.")
@click.option("--target", default="checkpoint:cxr128", metavar="SPEC", help=SPEC.replace(" [default: the checkpoint's own]", ""))
@click.option("--layer", default="", show_default="the last feature map", metavar="NAME", help="Layer for grad_cam.")
@click.option("--positive", metavar="A+B", help="Classes whose evidence is shown. [default: the target's own positive set]")
@click.option("--classes", metavar="A,B", help="Names of the target's outputs, where it has none.")
@click.option("--segmenter", default="lungs128", metavar="NAME", help="Checkpoint that finds the lungs.")
@click.option(
    "--resolution", type=click.IntRange(32, 2048), help="Side that the image is brought to. [default: the target's input size]"
)
@click.option("--size", type=click.IntRange(192, 1024), default=384, help="Side of an image in the figure, in pixels.")
@click.option("--force", is_flag=True, help="Go on with an image that does not look like a radiograph.")
@TRUST_CODE
def explain(
    run: common.Run,
    image: Path,
    method: str,
    target: str,
    layer: str,
    positive: str | None,
    classes: str | None,
    segmenter: str,
    resolution: int | None,
    size: int,
    force: bool,
    trust_code: bool,
) -> dict[str, Any]:
    """Show where in IMAGE, a PNG or JPEG file, a CNN finds evidence for its positive set, with one heat map a method.

    Writes heat.png (the radiograph, each map over it with its colour bar and what it does not say), METHOD.npy (float32, H x W,
    unscaled), lungs.png and run.json.
    """
    from gan_explain import render
    from gan_explain.attribution import METHODS, MethodOptions
    from gan_explain.image import prepare, write_bytes, write_png16
    from gan_explain.metrics.pointing import relevance_mass
    from gan_explain.render.heat import HeatMap, write_heat
    from gan_explain.segmenter import load_segmenter
    from gan_explain.types import DataError

    chosen = names(method) or ()
    if not chosen or any(name not in METHODS for name in chosen):
        raise click.UsageError(f"--method {method}: expected one or more of {', '.join(METHODS)}")
    array = read_gray(image, force=force)
    lungs_of = load_segmenter(segmenter).to(run.device)
    explained = probed(
        target, run.device, positive=names(positive), classes=names(classes), segmenter=lungs_of, trust_code=trust_code
    )
    shown = shown_name(run, image)
    run.record(data={shown: digest(image)}, target=target_facts(target, explained))
    side = resolution or _input_size(explained)
    x = prepare(array, side)[None].to(run.device)
    lungs = lungs_of(x)
    share = float(lungs.mean())
    if share < LEAST_LUNG and explained.uses_lungs and not force:
        raise DataError(f"{image}: expected a frontal chest radiograph, found lungs on {share:.1%} of it (--force goes on)")
    masks = lungs if explained.uses_lungs else None
    p = _probability(explained, x, masks)
    maps = {name: _map(METHODS[name](MethodOptions(layer, seed=run.seed)), explained, x, masks) for name in dict.fromkeys(chosen)}
    inside = {name: float(relevance_mass(heat, lungs)) for name, (_, heat, _) in maps.items()}
    label, point = render.positive_label(explained.positive), explained.operating_point
    if not run.dry_run:
        columns = [
            HeatMap(made.title, heat[0].cpu(), _notes(note, inside[name], share, explained), made.caveat, made.signed)
            for name, (made, heat, note) in maps.items()
        ]
        with run.staging() as folder:
            write_heat(
                prepare(array, max(side, size)), columns, folder / "heat.png", title=shown, probability=p, label=label,
                operating_point=point, lungs=lungs[0].cpu(), side=size,
            )  # fmt: skip
            for name, (_, heat, _) in maps.items():
                write_bytes(folder / f"{name}.npy", _npy(heat[0, 0]))
            write_png16(lungs[0], folder / "lungs.png")
    run.say(f"{shown}: {label} {p:.3f}, called {'positive' if p >= point else 'negative'} (operating point {point:.2f})")
    for name, (_, _, note) in maps.items():
        run.say(f"{name}: {'; '.join(_notes(note, inside[name], share, explained))}")
    run.say("dry run: nothing written" if run.dry_run else f"written to {run.out}")
    return {
        "out": None if run.dry_run else run.out,
        "positive": explained.positive,
        "probability": p,
        "operating_point": point,
        "lung_share": share,
        "methods": {
            name: {"note": note, "largest": float(heat.abs().max()), "share_in_lungs": inside[name]}
            for name, (_, heat, note) in maps.items()
        },
    }


def _map(method: Method, target: Target, x: Tensor, lungs: Tensor | None) -> tuple[Method, Tensor, str]:
    return method, method.attribute(x, target, lungs), method.note(x, target, lungs)


def _input_size(target: Target) -> int:
    """The side of a target's own input, so that nothing is resized twice."""
    prepare = getattr(target, "prepare", None)
    size = getattr(prepare, "size", None)
    return int(size) if isinstance(size, int) else DEFAULT_RESOLUTION


def _probability(target: Target, x: Tensor, lungs: Tensor | None) -> float:
    import torch

    with torch.no_grad():
        return float(target.probability(x, lungs))


def _notes(note: str, inside: float, area: float, target: Target) -> tuple[str, ...]:
    """How a map was made, how much of it lies in the lungs, and what heat outside means for a CNN that does not look there."""
    if inside != inside:
        return tuple(filter(None, (note, "no heat: nothing here speaks for the positive set")))
    share = f"{inside:.0%} of the heat in the lungs, which are {area:.0%} of the image"
    blind = "this CNN sees the lungs alone: heat outside is overhang" if target.uses_lungs else ""
    return tuple(filter(None, (note, share, blind)))


def _npy(values: Tensor) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, values.cpu().float().numpy(), allow_pickle=False)
    return buffer.getvalue()
