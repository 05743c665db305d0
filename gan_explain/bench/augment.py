"""Do synthetic positives help where real ones are few? Classifiers from scratch, arm against arm, on held-out patients.

For every regime (20 COVID images for training, say) and seed the same images train every arm:

    none         images as they come, no augmentation
    classical    half of the draws positives (oversampling), random geometry, gamma, contrast, blur and noise
    cyclegan     classical, a share of the positive draws being translated negatives
    gan          classical, a share of the positive draws wearing a layer of the disentangling generator
    both         classical, that share from both in equal parts

The CycleGAN is trained on the regime's images alone. Nothing is trained for the layers: the disentangling generator is one for
every regime, layers are those that it reads on the regime's positives, and a share of its prior, which has seen the layers of its
own training set (with `gan_prior` 0 none is drawn). Lungs come from a segmenter that must not have seen COVID images either (one
trained on `kermany`).
Networks, steps and draws are the same in every arm; only the images that the positive draws come from differ.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from gan_explain.augment import CycleMaker, LayerMaker, Maker, Synthesis, Synthetic, joined, synthesise
from gan_explain.bench.augment_table import entries, markdown
from gan_explain.bench.few import CLASSES, POSITIVE, STILL, classifier, few_positives, shares
from gan_explain.bench.given import Given, Outcome
from gan_explain.bench.resample import Row, answers, as_json, collected
from gan_explain.data import Dataset, belongs
from gan_explain.metrics.opacity_probe import DOSES, opacity_probe
from gan_explain.nets.cyclegan import CycleGanConfig
from gan_explain.targets import ModuleTarget
from gan_explain.train.gan.cyclegan import CycleGanTraining, train_cyclegan
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.training import quiet, stream
from gan_explain.types import DataError, Generator, Segmenter

logger = logging.getLogger(__name__)
ADULTS = ("nih:normal", "ieee8023:normal", "ieee8023:covid")  # of the data, where no other are asked for
Arm = Literal["none", "classical", "cyclegan", "gan", "both"]
ARMS: tuple[Arm, ...] = ("none", "classical", "cyclegan", "gan", "both")
GENERATORS = {"cyclegan": ("cyclegan",), "gan": ("gan",), "both": ("cyclegan", "gan")}


@dataclass(frozen=True)
class Case:
    """One regime and seed."""

    images: int
    seed: int


@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on but regime, seed and data. Steps of a batch each; `synthetic`: share of the positive
    draws; `count`: synthetic images of each generator; `sources`: what the layers are laid on; strengths: ranges of lambda;
    `gan_prior`: share of the layers that are drawn from the prior; `generator`: the checkpoint that `Fixed.generator` is of.

    Chosen on val with one seed (100) of the 20-image regime that is not in the table. What made the difference is the strength: a
    full translation is called positive anyway and teaches nothing, half of one lies where the classifier is unsure."""

    arch: str = "small"
    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 2e-3
    cyclegan_steps: int = 300
    cyclegan_batch: int = 2
    cyclegan_width: int = 32
    cyclegan_strength: tuple[float, float] = (0.25, 0.6)
    gan_strength: tuple[float, float] = LayerMaker.span
    gan_prior: float = 0.5
    generator: str = "disease"
    sources: str = "negatives"
    count: int = 150
    synthetic: float = 0.5
    least_dice: float = 0.75


@dataclass(frozen=True)
class Options(Settings):
    """What is measured: `regime`: IMAGES:SEEDS; `segmenter` of the generators (one that saw no covid image) is the command's."""

    regime: tuple[str, ...] = ("20:5", "10:2", "40:2", "80:2")
    arm: tuple[Arm, ...] = ARMS
    resolution: Annotated[int, Field(ge=32, le=512)] = 64
    probe_segmenter: str = "lungs128"

    def __post_init__(self) -> None:
        self.cases()

    def cases(self) -> list[Case]:
        """One regime and seed after the other. ValueError for a regime that is none."""
        found: list[Case] = []
        for each in self.regime:
            images, _, seeds = each.partition(":")
            if not images.isdigit() or not seeds.isdigit() or int(images) < 2 or int(seeds) < 1:
                raise ValueError(f"regime: expected IMAGES:SEEDS with at least two images and one seed, got {each!r}")
            found += [Case(int(images), seed) for seed in range(int(seeds))]
        return found


@dataclass(frozen=True)
class Fixed:
    """What no arm trains: the segmenter that reads the makers' lungs, and the generator of layers, where an arm has one."""

    segmenter: Segmenter
    generator: Generator | None = None


@dataclass(frozen=True)
class Held:
    """Held-out images. `asked`: those of val and test whose p is recorded; `probed`: test negatives for the opacity probe, with
    their `lungs`."""

    asked: Dataset
    probed: Dataset
    lungs: torch.Tensor


def hold(dataset: Dataset, segmenter: Segmenter) -> Held:
    """What is asked of every classifier: val and test, and the test negatives' lungs (for measuring only)."""
    asked = dataset.where(lambda record: record.split != "train")
    probed = asked.where(lambda r: r.split == "test" and r.label == "normal")
    if not len(probed):
        raise DataError(f"{dataset.root}: expected normal images in the test split, got none")
    images = probed.batch().images
    return Held(asked, probed, torch.cat([segmenter(part) for part in images.split(64)]))


def rows(
    case: Case, train: Dataset, held: Held, fixed: Fixed, settings: Settings, arms: Sequence[str] = ARMS
) -> Iterator[dict[str, Any]]:
    """One result an arm: p of the held-out images, the opacity probe, what was synthesised, seconds."""
    few = few_positives(train, case.images, case.seed)
    plain = SupervisedTraining(
        steps=settings.steps, batch_size=settings.batch_size, learning_rate=settings.learning_rate, seed=case.seed
    )
    made: dict[str, Synthesis] = {}
    for arm in sorted(arms, key=list[str](ARMS).index):
        started, data, weights = time.monotonic(), few, shares(0)
        if arm in GENERATORS:
            for name in GENERATORS[arm]:
                if name not in made:
                    made[name] = made_by(name, few, fixed, settings, case)
            data = joined(few, mixed([made[n].images for n in GENERATORS[arm]]), POSITIVE[0])
            weights = shares(settings.synthetic)
        config = replace(plain, ranges=STILL) if arm == "none" else plain
        target = trained(data, config, None if arm == "none" else weights, settings, case)
        yield {
            "images": case.images, "seed": case.seed, "arm": arm, "settings": as_json(settings),
            "seconds": round(time.monotonic() - started, 1), **answered(target, held),
            "synthetic": {n: described(made[n]) for n in GENERATORS.get(arm, ())},
        }  # fmt: skip


def trained(
    data: Dataset, config: SupervisedTraining, weights: Mapping[str, float] | None, settings: Settings, case: Case
) -> ModuleTarget:
    """A classifier whose first weights depend on the case alone: arms start from the same network."""
    with stream(1000 * case.images + case.seed):
        return classifier(data, settings.arch, config, weights)


def made_by(name: str, few: Dataset, fixed: Fixed, settings: Settings, case: Case) -> Synthesis:
    """Synthetic positives made of the regime's negatives by one of the generators.

    Where no image passes the rule the arm has none, and is the classical one; its row says so.
    """
    build = {"cyclegan": cycle_maker, "gan": layer_maker}[name]
    with stream(1000 * case.images + case.seed + 500):
        maker = build(few, fixed, settings, case)
    try:
        return synthesise(
            few, maker, settings.count, positive=POSITIVE, segmenter=fixed.segmenter, least_dice=settings.least_dice,
            seed=case.seed,
        )  # fmt: skip
    except DataError as error:
        logger.warning("%s", error)
        return Synthesis((), settings.count, 0, {"none passed": 1})


def cycle_maker(few: Dataset, fixed: Fixed, settings: Settings, case: Case) -> Maker:
    """A CycleGAN between the regime's negatives and positives. Cycle and identity terms weigh less than in the paper: at their
    usual weight 300 steps leave every image as it is."""
    negatives = few.where(lambda record: not belongs(record.label, POSITIVE))
    positives = few.where(lambda record: belongs(record.label, POSITIVE))
    network = CycleGanConfig(resolution=few.size, width=settings.cyclegan_width, blocks=4, judge_width=16)
    config = CycleGanTraining(
        steps=settings.cyclegan_steps, batch_size=settings.cyclegan_batch, learning_rate=5e-4, cycle=3.0, identity=0.5,
        ramp=settings.cyclegan_steps // 3, ema=0.98, seed=case.seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trained_network = train_cyclegan(negatives, positives, Path(folder), network, quiet(config))
    return CycleMaker(trained_network, settings.cyclegan_strength)


def layer_maker(few: Dataset, fixed: Fixed, settings: Settings, case: Case) -> Maker:
    """Layers of the regime's positives, moved lung to lung, and of the prior; nothing is trained. ValueError without one."""
    if fixed.generator is None:
        raise ValueError("expected a generator for the arms that lay layers, got none")
    donors = few.where(lambda record: belongs(record.label, POSITIVE)).batch().images
    return LayerMaker(
        fixed.generator, settings.sources, label=POSITIVE[0], strengths=settings.gan_strength,
        donors=(donors, fixed.segmenter(donors).to(donors)), prior=settings.gan_prior,
    )  # fmt: skip


def mixed(parts: Sequence[Sequence[Synthetic]]) -> list[Synthetic]:
    """As many of each part as the smallest has, so that generators count alike; one part as it is."""
    least = min((len(part) for part in parts if len(part)), default=0)
    return [each for part in parts for each in part[:least]]


def answered(target: ModuleTarget, held: Held) -> dict[str, Any]:
    """p of every held-out image, by path, and of the probed negatives at each dose."""
    batch = held.probed.batch()
    doses = opacity_probe(target, batch.images, held.lungs, batch.patients)
    return {
        "p": answers(target, held.asked),
        "doses": list(DOSES),
        "dosed": {r.path: row for r, row in zip(batch.records, doses.round(5).tolist(), strict=True)},
    }


def described(synthesis: Synthesis) -> dict[str, Any]:
    return {
        "kept": len(synthesis.images), "asked": synthesis.asked, "made": synthesis.made, "dropped": synthesis.dropped,
        "threshold": round(synthesis.threshold, 4),
    }  # fmt: skip


def bench(given: Given, options: Options) -> Outcome:
    """Train and ask every arm of every case that is not there yet; the table."""
    settings = Settings(**{each.name: getattr(options, each.name) for each in fields(Settings)})
    settings = replace(settings, generator=given.generator)
    train, asked = sides(given, options)
    cases = options.cases()[given.shard[0] - 1 :: given.shard[1]]
    for case in cases:
        few_positives(train, case.images, case.seed)
    needs = any("gan" in GENERATORS.get(arm, ()) for arm in options.arm)
    fixed = Fixed(given.load_segmenter(), given.load_generator() if needs else None)
    held = hold(asked, given.load_segmenter(options.probe_segmenter))
    if given.dry_run:
        return Outcome({"cases": len(cases), "train": len(train), "asked": len(asked)})

    def work(is_there: Callable[[Row], bool]) -> Iterator[Row]:
        for case in cases:
            arms = [arm for arm in options.arm if not is_there(asdict(case) | {"arm": arm})]
            yield from rows(case, train, held, fixed, settings, arms)

    found = entries(*collected(given, {"settings": as_json(settings)}, asked, work))
    return Outcome({"entries": [vars(each) for each in found]}, markdown(found))


def sides(given: Given, options: Options) -> tuple[Dataset, Dataset]:
    """What is trained on, and what is asked: held-out images of the same kind, and every other of the positives' source.

    DataError where the first are not normal and covid images."""
    everything = given.dataset(options.resolution, ())
    chosen = given.dataset(options.resolution, given.include or ADULTS)
    found = sorted({record.label for record in chosen.records})
    if found != sorted(CLASSES):
        raise DataError(f"{everything.root}: expected normal and covid images, got {', '.join(found) or 'none'} (see --include)")
    paths = {record.path for record in chosen.records}
    home = {record.source for record in chosen.records if record.label == CLASSES[1]}
    return chosen.split("train"), everything.where(lambda r: r.split != "train" and (r.path in paths or r.source in home))
