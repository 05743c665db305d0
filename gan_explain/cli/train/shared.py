"""What the training commands share: how given options become a configuration, and what is told in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from gan_explain.cli.options import laid_on, overridden_all
from gan_explain.cli.run import Run
from gan_explain.cli.words import TrainOptions

if TYPE_CHECKING:
    from gan_explain.data import Dataset
    from gan_explain.targets import ModuleTarget
    from gan_explain.types import Segmenter

SAID = ("steps", "seed", "device", "resolution")  # by options of their own


def configured(run: Run, training: Any, options: TrainOptions) -> Any:
    """A training, preset or usual, with the steps, seed and device that were given laid on it."""
    return laid_on(training, {"steps": options.steps, "seed": run.seed, "device": str(run.device)})


def settings(options: TrainOptions, *parts: tuple[str, Any], but: Sequence[str] = ()) -> list[Any]:
    """Configurations, (prefix, configuration) each, with --set laid on them."""
    return overridden_all(parts, options.set, but=(*SAID, *but))


def check_network(network: Callable[[], object]) -> None:
    """UsageError when no network can be built from the options; takes no memory and no random numbers."""
    import torch

    try:
        with torch.device("meta"):
            network()
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def measured(run: Run, measures: Mapping[str, Any]) -> dict[str, object]:
    from gan_explain.metrics.measure import format_table

    run.say(format_table(measures))
    return {"measures": measures}


def reported(run: Run, trained: ModuleTarget, test: Dataset, lungs: Segmenter, part: str) -> dict[str, Any]:
    """Measure a classifier on test images, print tables and how it was made; what --json prints. Nothing without such images."""
    from gan_explain.evaluate import classification
    from gan_explain.files.checkpoints import read_config
    from gan_explain.metrics.confusion import format_confusion

    if not len(test):
        run.say("no test split: not measured")
        return {"measures": {}}
    found = classification(trained, test, lungs, seed=run.seed)
    made = read_config(run.folder)["parts"][part].get("origin", {})
    printed = measured(run, found.measures)
    assert found.confusion is not None
    run.say(format_confusion(found.confusion))
    if made:
        run.say(f"made with {json.dumps(made)}")
    return printed | {"confusion": found.confusion.as_json(), "made_with": made}
