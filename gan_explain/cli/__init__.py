"""The command line: `gan-explain`. Subcommands are imported when they are called."""

from __future__ import annotations

import click

from gan_explain import __version__
from gan_explain.cli.common import HELP, Group


@click.group(
    cls=Group,
    context_settings=HELP,
    lazy={
        "interpolate": ("gan_explain.cli.interpolate:interpolate", "A radiograph from negative to positive, and the response."),
        "explain": ("gan_explain.cli.explain:explain", "Heat maps of a radiograph: where a CNN finds its evidence."),
        "progression": ("gan_explain.cli.progression:progression", "A patient's radiographs over days, measured and charted."),
        "audit": ("gan_explain.cli.audit:audit", "How a CNN responds, with error bars, and what it must not respond to."),
        "merge": ("gan_explain.cli.audit:merge", "Join the shards of an audit."),
        "repair": ("gan_explain.cli.repair:repair", "Train a CNN again with counterfactuals; the audit before and after."),
        "evaluate": ("gan_explain.cli.evaluate:evaluate", "Measure a generator against a target on a split."),
        "train": ("gan_explain.cli:train_group", "Train a segmenter, a target, a generator or synthetic patients."),
        "augment": ("gan_explain.cli.augment:augment", "Make synthetic images of the rare class for training."),
        "bench": ("gan_explain.cli.bench:bench", "Benchmarks of a whole procedure, by name."),
        "data": ("gan_explain.cli.data:data", "What a dataset holds; write the phantom as files."),
        "doctor": ("gan_explain.cli.doctor:doctor", "Is everything here that is needed, and what to do where it is not."),
    },
)
@click.version_option(__version__, prog_name="gan-explain", message="%(prog)s %(version)s")
def main() -> None:
    """What a chest X-ray CNN has learned: a GAN turns a negative radiograph into a positive one while a curve shows the response.

    Exit codes: 0 ok, 1 internal, 2 usage, 3 bad data or checkpoint, 4 target contract, 5 training diverged, 6 disk or memory,
    7 threshold failed, 75 interrupted with a resumable state, 130 interrupted without one.
    """


@click.group(
    "train",
    cls=Group,
    context_settings=HELP,
    lazy={
        "segmenter": ("gan_explain.cli.train.segmenter:segmenter", "The lung segmenter."),
        "target": ("gan_explain.cli.train.target:target", "A CNN to explain, of any architecture, or an independent judge."),
        "generator": ("gan_explain.cli.train.generator:generator", "The disentangling generator: reader, then layers."),
        "free": ("gan_explain.cli.train.free:free", "The free map of a target: an adversary for audits."),
        "structure": ("gan_explain.cli.train.structure:structure", "Healthy lungs as codes, and synthetic patients."),
        "cyclegan": ("gan_explain.cli.train.cyclegan:cyclegan", "Negatives into positives and back, without a target."),
    },
)
def train_group() -> None:
    """Train a part of a checkpoint."""
