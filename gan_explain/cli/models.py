"""What the options name, loaded: generator, target, segmenter, judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gan_explain.cli.run import Run
from gan_explain.cli.words import OTHERWISE, ModelOptions

if TYPE_CHECKING:
    import torch

    from gan_explain.nets.cyclegan import CycleGan
    from gan_explain.nets.segmenter import LungSegmenter
    from gan_explain.types import Generator, Segmenter, Target


@dataclass(frozen=True)
class Models:
    """What a command works with, all on one device, frozen."""

    generator: Generator
    target: Target
    segmenter: LungSegmenter
    device: torch.device


def load_models(run: Run, options: ModelOptions) -> Models:
    """Load and check everything that the options name, and note it in run.json.

    Raises CheckpointError and TargetError; the target has passed its contract probe.
    """
    from gan_explain.nets.load import load_generator

    network = load_generator(options.generator).to(run.device)
    found, lungs = _asked(run, options, "generator")
    return Models(network, found, lungs, run.device)


def translates(generator: str) -> bool:
    """Whether the checkpoint that was named for a generator holds a CycleGAN in its place."""
    from gan_explain.files.checkpoints import config_of

    parts = config_of(generator)["parts"]
    return "cyclegan" in parts and "generator" not in parts


def load_translator(run: Run, options: ModelOptions) -> tuple[CycleGan, Target, LungSegmenter]:
    """As `load_models`, for a CycleGAN in place of the generator."""
    from gan_explain.nets.load import load_cyclegan

    network = load_cyclegan(options.generator).to(run.device)
    return (network, *_asked(run, options, "cyclegan"))


def _asked(run: Run, options: ModelOptions, part: str) -> tuple[Target, LungSegmenter]:
    """The target asked for, by default `default_target`, and the segmenter."""
    from gan_explain.nets.segmenter import load_segmenter

    lungs = load_segmenter(options.segmenter).to(run.device)
    spec = options.target or default_target(options.generator)
    found = load_target(run, spec, options, lungs)
    run.record(generator=generator_facts(options.generator, part), target=target_facts(spec, found))
    return found, lungs


def load_target(run: Run, spec: str, options: ModelOptions, segmenter: Segmenter | None) -> Target:
    """The target that a spec names, as the options want it: on the run's device, its contract probed."""
    return probed(
        spec, run.device, positive=options.positive, classes=options.classes, segmenter=segmenter, trust_code=options.trust_code
    )  # fmt: skip


def default_target(generator: str) -> str:
    """The spec of the target that a generator's checkpoint holds, else `OTHERWISE`."""
    from gan_explain.files.checkpoints import config_of

    return f"checkpoint:{generator}" if "target" in config_of(generator)["parts"] else OTHERWISE


def generator_facts(name: str, part: str = "generator") -> dict[str, Any]:
    """What run.json says of a generator."""
    from gan_explain.files.checkpoints import config_of

    return {"name": name, "part": part, "sha256": config_of(name)["sha256"]}


def target_facts(spec: str, target: Target) -> dict[str, Any]:
    """What run.json says of a target; `fit`: how an image that is not square reaches it."""
    from gan_explain.targets import ModuleTarget, weights_digest

    return {
        "spec": spec,
        "sha256": weights_digest(target),
        "classes": target.classes,
        "positive": target.positive,
        "operating_point": target.operating_point,
        "fit": target.config.fit if isinstance(target, ModuleTarget) else None,
    }


def probed(
    spec: str,
    device: torch.device,
    *,
    positive: tuple[str, ...] | None = None,
    classes: tuple[str, ...] | None = None,
    segmenter: Segmenter | None = None,
    trust_code: bool = False,
) -> Target:
    """The target that a spec names, on a device, with its contract probed. Raises TargetError and CheckpointError."""
    from gan_explain.targets import probe, resolve_target

    found: Any = resolve_target(spec, positive=positive, classes=classes, segmenter=segmenter, trust_code=trust_code)
    if hasattr(found, "to"):
        found = found.to(device)
    probe(found)
    target: Target = found
    return target


def named_judges(specs: Sequence[str]) -> list[tuple[str, str]]:
    """Short names for the specs of judges, with the specs: what stands after #, or the whole where that is not unique.

    A checkpoint without a part `target` stands for every target that it holds."""
    from gan_explain.files.checkpoints import config_of

    listed: list[str] = []
    for spec in specs:
        scheme, _, name = spec.partition(":")
        parts = config_of(name)["parts"] if scheme == "checkpoint" and name and "#" not in name else {}
        targets = [part for part, entry in sorted(parts.items()) if entry["kind"] == "target"]
        listed += [f"{spec}#{part}" for part in targets] if targets and "target" not in targets else [spec]
    ends = [spec.rpartition("#")[2] for spec in listed]
    return [(end if ends.count(end) == 1 else spec, spec) for end, spec in zip(ends, listed, strict=True)]


def judge(spec: str, models: Models, trust_code: bool = False) -> Target:
    """An independent CNN, asked for the target's positive set as far as it knows those classes."""
    from gan_explain.targets import resolve_target

    given = resolve_target(spec, segmenter=models.segmenter, trust_code=trust_code)
    shared = tuple(name for name in models.target.positive if name in given.classes)
    other = shared if shared and set(shared) != set(given.positive) else None
    return probed(spec, models.device, positive=other, segmenter=models.segmenter, trust_code=trust_code)
