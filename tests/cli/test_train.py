"""`gan-explain train ...` and train_gan.py as users run them: two steps on phantoms of 64 pixels."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from gan_explain.checkpoints import load_generator, load_part, load_synthesis, read_config
from gan_explain.cli.exits import DATA, INTERRUPTED, OK, TARGET, USAGE
from gan_explain.cli.train.shared import check_network
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.segmenter import load_segmenter
from gan_explain.targets import resolve_target, weights_digest
from gan_explain.train.loop import STATE, STATS

Invoke = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]
PHANTOM = ("--data", "phantom:n=40")
BRIEF = ("--steps", 2, "--batch-size", 4)
COMMANDS: dict[str, tuple[object, ...]] = {
    "segmenter": (*PHANTOM, "--resolution", 64, *BRIEF),
    "target": (*PHANTOM, "--resolution", 64, *BRIEF, "--segmenter", "everywhere", "--lungs-only"),
    "gan": (
        *PHANTOM, "--resolution", 64, *BRIEF, "--segmenter", "everywhere", "--target", "brightness_target:Brightness",
        "--width", 8, "--code-dim", 4,
    ),
    "synthesis": (
        *PHANTOM, "--resolution", 64, *BRIEF, "--segmenter", "everywhere", "--width", 16, "--z-dim", 4, "--checkpoint", "tiny",
    ),
}  # fmt: skip
FORWARD_ONLY = """
from brightness_target import Brightness
from gan_explain.targets import ModuleTarget

def make():
    target = ModuleTarget(Brightness(), classes=Brightness.classes, positive=Brightness.positive, size=64)
    target.differentiable = False
    return target
"""


@pytest.fixture
def train(invoke: Invoke) -> Callable[..., Result]:
    """train(KIND, *more): the brief command of that kind with more options (the last one counts)."""
    return lambda kind, *more: invoke("train", kind, *COMMANDS[kind], *more)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tensorboard"}


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / STATS).read_text().splitlines()]


# -- what they make -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_a_run_leaves_a_checkpoint_and_says_how_it_was_made(train: Callable[..., Result], world: Path, kind: str) -> None:
    result = train(kind, "--out", "out", "--seed", 3, "--json")
    assert result.exit_code == OK, result.stderr
    assert isinstance(json.loads(result.stdout), dict)
    assert files(world / "out") == {"weights.safetensors", "config.json", "run.json", STATE, STATS, "sheet_000002.png"}
    assert [row["step"] for row in rows(world / "out")] == [2]
    run = json.loads((world / "out" / "run.json").read_text())
    assert (run["seed"], run["exit"], run["records"], len(run["data"])) == (3, OK, 40, 64)


def test_segmenter_can_be_loaded_and_its_dice_is_told(train: Callable[..., Result], world: Path) -> None:
    result = train("segmenter", "--out", "out", "--json")
    dice = json.loads(result.stdout)["measures"]["dice"]
    assert 0 <= dice["low"] <= dice["value"] <= dice["high"] <= 1
    assert load_segmenter(world / "out").network.config.resolution == 64


def test_target_can_be_explained_and_its_measures_are_told(train: Callable[..., Result], world: Path) -> None:
    result = train("target", "--out", "out", "--part", "judge", "--json")
    assert json.loads(result.stdout)["measures"]["auroc"]["n"] > 0
    target = resolve_target(f"checkpoint:{world / 'out'}#judge")
    assert (target.classes, target.positive, target.uses_lungs) == (("normal", "covid"), ("covid",), True)
    assert load_part(world / "out", "judge").config["segmenter"] == "everywhere"


def test_target_on_data_without_a_test_split(train: Callable[..., Result], world: Path) -> None:
    (world / "set").mkdir()
    result = train("target", "--data", "phantom:n=3", "--out", "out", "--batch-size", 2)  # too few for three splits
    assert result.exit_code == OK, result.stderr
    assert "no test split: not measured" in result.stdout
    assert (world / "out" / "weights.safetensors").is_file()


def test_target_stops_early_is_calibrated_and_says_so(train: Callable[..., Result], world: Path) -> None:
    asked = ("--steps", 4, "--save-every", 1, "--patience", 1, "--calibrate", "--balance", "weights", "--freeze-steps", 1)
    result = train("target", "--data", "phantom:n=60", *asked, "--out", "out", "--json")
    assert result.exit_code == OK, result.stderr
    found = json.loads(result.stdout)
    made = load_part(world / "out", "target").origin
    assert found["made_with"] == made
    assert made.keys() == {"balance", "freeze_steps", "early_stopping", "calibration"}
    assert made["early_stopping"]["checks"] == torch.load(world / "out" / STATE, weights_only=True)["step"]
    assert "ece.uncalibrated" in found["measures"]
    assert sum(map(sum, found["confusion"]["all"])) == found["measures"]["accuracy"]["n"]


def test_a_digest_without_a_file_and_one_that_differs(train: Callable[..., Result], world: Path) -> None:
    assert train("target", "--sha256", "0" * 64, "--out", "out").exit_code == USAGE
    (world / "w.pth").write_bytes(b"weights")
    result = train("target", "--arch", "resnet18", "--weights", "w.pth", "--sha256", "0" * 64, "--out", "out")
    assert result.exit_code == DATA
    assert "expected SHA-256" in result.stderr
    assert not (world / "out" / "weights.safetensors").exists()


def test_both_generators_live_in_one_checkpoint(train: Callable[..., Result], world: Path) -> None:
    assert train("gan", "--out", "out").exit_code == OK
    assert train("gan", "--out", "out", "--confine", "free", "--overwrite").exit_code == OK
    assert read_config(world / "out")["parts"].keys() == {"lungs", "free"}
    for confine in ("lungs", "free"):
        network = load_generator(world / "out", confine)
        assert (network.confine, network.resolution, network.config.labels) == (confine, 64, ("covid",))


def test_synthesis_learns_from_the_healed_too(train: Callable[..., Result], world: Path) -> None:
    alone = json.loads(train("synthesis", "--out", "a", "--checkpoint", "", "--json").stdout)["structures"]
    both = json.loads(train("synthesis", "--out", "b", "--json").stdout)["structures"]
    assert 5 < alone < both
    assert load_synthesis(world / "b")(torch.randn(1, 4)).shape == (1, 1, 64, 64)


def test_a_seed_is_a_result(train: Callable[..., Result], world: Path) -> None:
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert train("gan", "--out", out, "--seed", seed).exit_code == OK
    a, b, c = (read_config(world / out)["sha256"] for out in "abc")
    assert a == b != c


def test_include_leaves_the_others_out(train: Callable[..., Result], world: Path) -> None:
    data = ("--data", "phantom:n=40,covid=0.3,pneumonia=0.3", "--include", "phantom:normal", "--include", "covid")
    assert train("target", *data, "--out", "out").exit_code == OK
    assert load_part(world / "out", "target").config["classes"] == ["normal", "covid"]
    assert json.loads((world / "out" / "run.json").read_text())["records"] < 35


def test_weights_of_losses_can_be_set(train: Callable[..., Result], world: Path) -> None:
    assert train("gan", "--out", "out", "--set", "code=0", "--set", "sparsity=0.5").exit_code == OK
    assert rows(world / "out")[-1]["code"] == 0
    assert rows(world / "out")[-1]["sparsity"] > 0


# -- from a generator of another target ---------------------------------------------------------------------------------------

TUNE = (*PHANTOM, *BRIEF, "--segmenter", "everywhere", "--target", "brightness_target:Brightness", "--finetune", "tiny")


def test_finetuning_goes_on_from_a_generator_and_says_so(invoke: Invoke, world: Path, checkpoints: Path) -> None:
    rate = ("--learning-rate", 1e-9)  # what it starts from shows
    for confine in ("lungs", "free"):
        result = invoke("train", "gan", *TUNE, *rate, "--confine", confine, "--out", "out", "--overwrite")
        assert result.exit_code == OK, result.stderr
        before, after = load_generator("tiny", confine), load_generator(world / "out", confine)
        assert after.config == before.config
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
            torch.testing.assert_close(new, old, atol=2e-3, rtol=2e-3, msg=name)  # stored in 16 bits
        origin = load_part(world / "out", confine).origin
        assert origin["finetuned_from"] == {"checkpoint": "tiny", "sha256": read_config(checkpoints / "tiny")["sha256"]}
        assert (origin["target"], origin["positive"]) == ("brightness_target:Brightness", ["covid", "pneumonia"])
    assert json.loads((world / "out" / "run.json").read_text())["origin"]["finetuned_from"]["checkpoint"] == "tiny"
    fresh = invoke("train", "gan", *COMMANDS["gan"], "--width", 8, "--out", "fresh")
    assert fresh.exit_code == OK
    assert "finetuned_from" not in load_part(world / "fresh", "lungs").origin


def test_finetuning_takes_fewer_steps_and_only_the_shape_that_is_there(invoke: Invoke) -> None:
    given = [word for word in TUNE if word not in BRIEF]
    assert json.loads(invoke("train", "gan", *given, "--dry-run", "--json").stdout)["steps"] == 1500
    assert invoke("train", "gan", *TUNE, "--resolution", 64, "--width", 8, "--code-dim", 16, "--dry-run").exit_code == OK
    for option, value in (("--resolution", 128), ("--width", 32), ("--code-dim", 4)):
        result = invoke("train", "gan", *TUNE, option, value)
        assert result.exit_code == USAGE
        assert f"{option} {value}: the generator of --finetune tiny has" in result.stderr


def test_finetuning_can_be_resumed_and_still_says_what_it_came_from(invoke: Invoke, world: Path) -> None:
    assert invoke("train", "gan", *TUNE, "--out", "out").exit_code == OK
    assert invoke("train", "gan", *TUNE, "--out", "out", "--resume", "--steps", 3).exit_code == OK
    assert [row["step"] for row in rows(world / "out")] == [2, 3]
    without = [word for word in TUNE if word not in ("--finetune", "tiny")]
    again = invoke("train", "gan", *without, "--resolution", 64, "--width", 8, "--out", "out", "--resume", "--steps", 4)
    assert again.exit_code == OK, again.stderr
    assert load_part(world / "out", "lungs").origin["finetuned_from"]["checkpoint"] == "tiny"


def test_a_generator_knows_its_target_again(train: Callable[..., Result], invoke: Invoke, world: Path) -> None:
    assert train("target", "--out", "cnn").exit_code == OK
    spec = f"checkpoint:{world / 'cnn'}"
    assert train("gan", "--target", spec, "--out", "out").exit_code == OK
    origin = load_part(world / "out", "lungs").origin
    assert (origin["target"], origin["target_sha256"]) == (spec, weights_digest(resolve_target(spec)))
    assert origin["target_sha256"] != weights_digest(resolve_target("checkpoint:tiny"))


# -- resuming -----------------------------------------------------------------------------------------------------------------


def test_resume_goes_on_and_a_folder_in_use_needs_a_decision(train: Callable[..., Result], world: Path) -> None:
    assert train("gan", "--out", "out").exit_code == OK
    first = read_config(world / "out")["sha256"]
    assert train("gan", "--out", "out").exit_code == USAGE
    assert train("gan", "--out", "out", "--resume", "--steps", 3).exit_code == OK
    assert [row["step"] for row in rows(world / "out")] == [2, 3]
    assert read_config(world / "out")["sha256"] != first
    assert train("gan", "--out", "out", "--overwrite").exit_code == OK
    assert [row["step"] for row in rows(world / "out")] == [2]
    assert read_config(world / "out")["sha256"] == first


def test_resume_of_another_configuration(train: Callable[..., Result], world: Path) -> None:
    assert train("gan", "--out", "out").exit_code == OK
    result = train("gan", "--out", "out", "--resume", "--width", 16)
    assert result.exit_code == DATA
    assert result.stderr.splitlines()[-1].startswith("error: out/state.pt: expected a training state of this configuration")


# -- what they refuse ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_dry_run_writes_nothing(train: Callable[..., Result], world: Path, kind: str) -> None:
    before = files(world)
    assert train(kind, "--dry-run").exit_code == OK
    assert files(world) - {"__pycache__"} == before - {"__pycache__"}


@pytest.mark.parametrize(
    ("kind", "options", "code", "says"),
    [
        *[(kind, ("--include", "nowhere:covid"), DATA, "no record fits --include nowhere:covid") for kind in COMMANDS],
        ("gan", ("--include", "normal"), DATA, "got one side only"),
        ("gan", ("--target", "forward_only:make"), TARGET, "a target with gradients"),
        ("gan", ("--target", "forward_only:make", "--dry-run"), TARGET, "forward_only:make: training a generator needs"),
        ("gan", ("--finetune", "nothing"), DATA, "no checkpoint 'nothing'"),
        ("gan", ("--finetune", "everywhere"), DATA, "no part 'lungs'; it has segmenter"),
        ("gan", ("--finetune", "tiny"), USAGE, "--code-dim 4: the generator of --finetune tiny has 16"),
        ("gan", ("--segmenter", "nothing"), DATA, "no checkpoint 'nothing'"),
        ("gan", ("--segmenter", "nothing", "--dry-run"), DATA, "no checkpoint 'nothing'"),
        ("gan", ("--resolution", 100), USAGE, "multiple of 32, got 100"),
        ("gan", ("--resolution", 480), USAGE, "multiple of 64, got 480"),
        ("gan", ("--width", 12), USAGE, "divisible"),
        ("gan", ("--set", "sparsity"), USAGE, "--set sparsity: expected NAME=NUMBER with a name of adversarial"),
        ("gan", ("--set", "sparsity=nan"), USAGE, "--set sparsity=nan"),
        ("gan", ("--set", "steps=3"), USAGE, "--set steps=3"),
        ("gan", ("--set", "learning_rate=1"), USAGE, "--set learning_rate=1"),
        ("gan", ("--learning-rate", 0), USAGE, "learning-rate"),
        ("gan", ("--save-every", 0), USAGE, "save-every"),
        ("gan", ("--batch-size", 2), USAGE, "batch-size"),
        ("segmenter", ("--resolution", 100), USAGE, "multiple of 16, got 100"),
        ("target", ("--arch", "resnet9000"), USAGE, "resnet9000"),
        ("target", ("--positive", "flu"), DATA, "positive set"),
        ("target", ("--learning-rate", -1), USAGE, "learning-rate"),
        ("synthesis", ("--resolution", 100), USAGE, "resolution"),
        ("synthesis", ("--width", 20), USAGE, "divisible"),
        ("synthesis", ("--z-dim", 40), DATA, "more than 40 negatives"),
        ("synthesis", ("--include", "covid", "--checkpoint", ""), DATA, "more than 4 negatives"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(
    train: Callable[..., Result], world: Path, kind: str, options: tuple[object, ...], code: int, says: str
) -> None:
    (world / "forward_only.py").write_text(FORWARD_ONLY)
    before = files(world) | {"__pycache__"}
    result = train(kind, *options)
    assert result.exit_code == code, result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert files(world) <= before


def test_checking_a_network_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    check_network(lambda: Disentangler(GeneratorConfig(width=8)))
    assert torch.equal(torch.get_rng_state(), before)


# -- as users run it ----------------------------------------------------------------------------------------------------------


def words(*args: object) -> list[str]:
    return [str(arg) for arg in args]


def test_script_stops_at_a_signal_and_can_be_resumed(world: Path, train: Callable[..., Result]) -> None:
    command = words(sys.executable, ROOT / "train_gan.py", *COMMANDS["gan"], "--steps", 100000, "--out", "out")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not (world / "out" / STATS).is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED, errors
    assert output == ""
    last = re.search(r"error: stopped after step (\d+): continue with --resume", errors.splitlines()[-1])
    assert last, errors
    steps = int(last[1])
    assert json.loads((world / "out" / "run.json").read_text())["exit"] == INTERRUPTED
    assert train("gan", "--out", "out", "--resume", "--steps", steps + 1).exit_code == OK
    assert rows(world / "out")[-1]["step"] == steps + 1
    load_generator(world / "out")


@pytest.mark.slow
def test_script_runs_unchanged_under_torchrun(world: Path) -> None:
    command = words(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, ROOT / "train_gan.py")
    done = subprocess.run(
        [*command, *words(*COMMANDS["gan"], "--out", "out", "--json")], env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == OK, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"checkpoint": "out", "part": "lungs"}
    assert files(world / "out") == {"weights.safetensors", "config.json", "run.json", STATE, STATS, "sheet_000002.png"}
    assert [row["step"] for row in rows(world / "out")] == [2]
    load_generator(world / "out")
