"""`gan-explain train cyclegan` as users run it: two steps on phantoms of 32 pixels, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from gan_explain.cli.exits import DATA, OK, USAGE
from gan_explain.files.checkpoints import load_part
from gan_explain.nets.cyclegan import multiply_adds
from gan_explain.nets.load import load_cyclegan
from gan_explain.train.loop import STATE, STATS

Invoke = Callable[..., Result]
TINY = ("batch_size=2", "network.width=8", "network.blocks=1")
BRIEF = ("--data", "phantom:n=40", "--resolution", 32, "--steps", 2, *(word for each in TINY for word in ("--set", each)))


@pytest.fixture
def train(invoke: Invoke) -> Callable[..., Result]:
    return lambda *more: invoke("train", "cyclegan", *BRIEF, *more)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tensorboard"}


def test_a_run_leaves_a_checkpoint_and_says_how_it_was_made(train: Callable[..., Result], world: Path) -> None:
    result = train("--out", "out", "--json")
    assert result.exit_code == OK, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["checkpoint"], answer["part"], answer["label"], answer["steps"]) == ("out", "cyclegan", "covid", 2)
    assert answer["negatives"] > 2
    assert answer["positives"] > 2
    assert files(world / "out") == {"weights.safetensors", "config.json", "run.json", STATE, STATS, "sheet_000002.png"}
    run = json.loads((world / "out" / "run.json").read_text())
    assert run["sides"]["positives"] == answer["positives"]
    network = load_cyclegan(world / "out")
    assert (network.resolution, network.config.width, network.config.blocks) == (32, 8, 1)
    assert run["multiply_adds"] == multiply_adds(network.config)
    assert load_part(world / "out", "cyclegan").kind == "cyclegan"


def test_lungs_are_held_on_demand(train: Callable[..., Result], world: Path) -> None:
    assert train("--out", "out", "--set", "anatomy=2", "--segmenter", "everywhere").exit_code == OK
    assert json.loads((world / "out" / STATS).read_text())["anatomy"] >= 0
    result = train("--out", "other", "--set", "anatomy=2", "--segmenter", "nothing")
    assert result.exit_code == DATA
    assert "no checkpoint 'nothing'" in result.stderr
    assert not (world / "other").exists()


def test_resume_goes_on(train: Callable[..., Result], world: Path) -> None:
    assert train("--out", "out").exit_code == OK
    assert train("--out", "out").exit_code == USAGE
    assert train("--out", "out", "--resume", "--steps", 3).exit_code == OK
    rows = [json.loads(line)["step"] for line in (world / "out" / STATS).read_text().splitlines()]
    assert rows == [2, 3]


def test_a_preset_gives_way_to_what_was_given_and_nothing_else(
    invoke: Invoke, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def train(*args: object, **more: object) -> None:
        seen.append(args[4])

    monkeypatch.setattr("gan_explain.train.gan.cyclegan.train_cyclegan", train)
    for out, more in (("a", ()), ("b", ("--set", "cycle=6")), ("c", ("--preset", "gpu"))):
        assert invoke("train", "cyclegan", "--data", "phantom:n=40", *more, "--out", out).exit_code == OK
    rates = [(each.learning_rate, each.cycle, each.identity, each.steps) for each in seen]
    assert rates == [(6e-4, 5.0, 1.0, 3000), (6e-4, 6.0, 1.0, 3000), (2e-4, 10.0, 5.0, 60000)]


def test_what_it_prints_next_works(train: Callable[..., Result], invoke: Invoke, negative: Path) -> None:
    result = train("--out", "out")
    command = result.stdout.splitlines()[-1].partition("next: gan-explain ")[2].replace("IMAGE", str(negative)).split()
    shown = invoke(*command, "--force", "--strengths", 3, "--picture-size", 256)
    assert shown.exit_code == OK, shown.stderr


def test_presets_and_a_dry_run(invoke: Invoke, world: Path) -> None:
    for preset, steps in (("cpu", 3000), ("gpu", 60000)):
        result = invoke("train", "cyclegan", "--data", "phantom:n=40", "--preset", preset, "--dry-run", "--json")
        assert result.exit_code == OK, result.stderr
        assert json.loads(result.stdout)["steps"] == steps
    assert not (world / "runs").exists()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (
            ("--include", "normal"),
            DATA,
            "expected two classes to train on, normal and one other (choose with --include), got normal",
        ),
        (("--include", "covid"), DATA, "normal and one other (choose with --include), got covid"),
        (("--data", "phantom:n=60,covid=0.3,pneumonia=0.3"), DATA, "got covid, normal, pneumonia"),
        (("--data", "phantom:n=6,covid=0.17"), DATA, "phantom: expected at least two training images"),
        (("--include", "nowhere:covid"), DATA, "no record fits"),
        (("--resolution", 33), USAGE, "multiple of the fold"),
        (("--set", "learning_rate=0"), USAGE, "learning_rate"),
        (("--set", "batch_size=0"), USAGE, "batch_size"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(
    train: Callable[..., Result], world: Path, options: tuple[object, ...], code: int, says: str
) -> None:
    before = files(world)
    result = train(*options)
    assert result.exit_code == code, result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert files(world) == before


def test_a_positive_class_of_one_image_is_refused(invoke: Invoke, world: Path, save_image: Callable[..., Path]) -> None:
    (world / "set").mkdir()
    rows = ["path,label,patient_id,split"]
    for i in range(5):
        save_image(world / "set" / f"{i}.png", 0.3 + 0.1 * i)
        rows.append(f"{i}.png,{'covid' if i == 4 else 'normal'},p{i},train")
    (world / "set" / "manifest.csv").write_text("\n".join(rows) + "\n")
    result = invoke("train", "cyclegan", "--data", "set/manifest.csv", "--resolution", 32, "--steps", 1, "--out", "out")
    assert result.exit_code == DATA
    assert "expected at least two training images of covid, got 1" in result.stderr
    assert not (world / "out").exists()
