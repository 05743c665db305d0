"""`gan-explain train ...` and train_gan.py as users run them: two steps on phantoms of 64 pixels."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from gan_explain.cli.exits import DATA, INTERRUPTED, OK, TARGET, USAGE
from gan_explain.cli.train.shared import check_network
from gan_explain.files.checkpoints import load_part, read_config
from gan_explain.nets.free import FreeConfig, FreeMap
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.load import load_network
from gan_explain.nets.segmenter import load_segmenter
from gan_explain.targets import resolve_target, weights_digest
from gan_explain.train.loop import STATE, STATS

Invoke = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]
PHANTOM = ("--data", "phantom:n=40")
BRIEF = ("--steps", 2, "--set", "batch_size=4")
COMMANDS: dict[str, tuple[object, ...]] = {
    "segmenter": (*PHANTOM, "--resolution", 64, *BRIEF),
    "target": (*PHANTOM, "--resolution", 64, *BRIEF, "--segmenter", "everywhere", "--lungs-only"),
    "generator": (
        *PHANTOM, "--preset", "small", "--steps", 2, "--set", "reader.batch_size=4", "--set", "layers.steps=2", "--segmenter",
        "everywhere",
    ),
    "free": (
        *PHANTOM, "--resolution", 64, *BRIEF, "--segmenter", "everywhere", "--target", "brightness_target:Brightness",
        "--set", "network.width=8",
    ),
}  # fmt: skip
STAGES = {"generator": ("reader", "layers")}  # of a command that trains in stages: their folders
FORWARD_ONLY = """
from brightness_target import CONFIG, Bright
from gan_explain.targets import ModuleTarget

def make():
    target = ModuleTarget(Bright(), CONFIG)
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
    assert files(world / "out") >= {"weights.safetensors", "config.json", "run.json"}
    for stage in STAGES.get(kind, ("",)):
        assert files(world / "out" / stage) >= {STATE, STATS, "sheet_000002.png"}
        assert [row["step"] for row in rows(world / "out" / stage)] == [2]
    run = json.loads((world / "out" / "run.json").read_text())
    assert (run["seed"], run["exit"], run["records"], len(run["data"])) == (3, OK, 40, 64)


def test_segmenter_can_be_loaded_and_its_dice_is_told(train: Callable[..., Result], world: Path) -> None:
    result = train("segmenter", "--out", "out", "--json")
    dice = json.loads(result.stdout)["measures"]["dice"]
    assert 0 <= dice["low"] <= dice["value"] <= dice["high"] <= 1
    assert load_segmenter(world / "out").network.config.resolution == 64


def test_target_can_be_explained_and_its_measures_are_told(train: Callable[..., Result], world: Path) -> None:
    result = train("target", "--out", "out", "--set", "part=judge", "--json")
    assert json.loads(result.stdout)["measures"]["auroc"]["n"] > 0
    target = resolve_target(f"checkpoint:{world / 'out'}#judge")
    assert (target.classes, target.positive, target.uses_lungs) == (("normal", "covid"), ("covid",), True)
    assert load_part(world / "out", "judge").config["segmenter"] == "everywhere"


def test_target_on_data_without_a_test_split(train: Callable[..., Result], world: Path) -> None:
    (world / "set").mkdir()
    result = train("target", "--data", "phantom:n=3", "--out", "out", "--set", "batch_size=2")  # too few for three splits
    assert result.exit_code == OK, result.stderr
    assert "no test split: not measured" in result.stdout
    assert (world / "out" / "weights.safetensors").is_file()


def test_target_stops_early_is_calibrated_and_says_so(train: Callable[..., Result], world: Path) -> None:
    wanted = ("save_every=1", "patience=1", "calibrate=true", "balance=weights", "freeze_steps=1")
    asked = ("--steps", 4, *(word for each in wanted for word in ("--set", each)))
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
    assert train("target", "--set", f"sha256={'0' * 64}", "--out", "out").exit_code == USAGE
    (world / "w.pth").write_bytes(b"weights")
    result = train("target", "--arch", "resnet18", "--weights", "w.pth", "--set", f"sha256={'0' * 64}", "--out", "out")
    assert result.exit_code == DATA
    assert "expected SHA-256" in result.stderr
    assert not (world / "out" / "weights.safetensors").exists()


def test_generator_is_trained_in_one_command_and_no_target_is_asked(train: Callable[..., Result], world: Path) -> None:
    result = train("generator", "--data", "phantom:n=60,covid=0.4,pneumonia=0.3", "--out", "out", "--json")
    assert result.exit_code == OK, result.stderr
    part = load_part(world / "out", "generator")
    assert (part.kind, part.config["resolution"], part.config["labels"]) == ("disentangler", 64, ["covid", "pneumonia"])
    network = load_network(world / "out", "generator", "disentangler", GeneratorConfig, Disentangler)
    lungs = torch.zeros(1, 1, 64, 64)
    lungs[..., 8:56, 8:28] = lungs[..., 8:56, 36:56] = 1
    assert network.layer(network.prior(1, torch.Generator().manual_seed(0), "pneumonia"), lungs).shape == lungs.shape
    found = json.loads(result.stdout)["loads"]
    assert found.keys() == {"normal", "covid", "pneumonia"}
    assert all(row["load"] > 0 and row["n"] > 0 for row in found.values())


def test_generator_at_another_resolution_keeps_the_shape_of_its_preset(train: Callable[..., Result], world: Path) -> None:
    assert train("generator", "--resolution", 128, "--out", "out").exit_code == OK
    config = load_part(world / "out", "generator").config
    assert (config["resolution"], config["grid"], config["backbone"]) == (128, 64, "small")


def test_free_map_lies_beside_its_target_and_says_whose_it_is(train: Callable[..., Result], world: Path) -> None:
    assert train("target", "--out", "out").exit_code == OK
    spec = f"checkpoint:{world / 'out'}"
    assert train("free", "--target", spec, "--out", "out", "--overwrite").exit_code == OK
    assert read_config(world / "out")["parts"].keys() == {"target", "free"}
    part = load_part(world / "out", "free")
    assert part.kind == "free"
    assert part.origin == {"target": spec, "target_sha256": weights_digest(resolve_target(spec)), "positive": ["covid"]}
    assert part.origin["target_sha256"] != weights_digest(resolve_target("checkpoint:tiny"))
    network = load_network(world / "out", "free", "free", FreeConfig, FreeMap)
    assert network.layer(torch.rand(1, 1, 96, 80)).shape == (1, 1, 96, 80)


@pytest.mark.parametrize("kind", ["free", "generator"])
def test_a_seed_is_a_result(train: Callable[..., Result], world: Path, kind: str) -> None:
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert train(kind, "--out", out, "--seed", seed).exit_code == OK
    a, b, c = (read_config(world / out)["sha256"] for out in "abc")
    assert a == b != c


def test_include_leaves_the_others_out(train: Callable[..., Result], world: Path) -> None:
    data = ("--data", "phantom:n=40,covid=0.3,pneumonia=0.3", "--include", "phantom:normal", "--include", "covid")
    assert train("target", *data, "--out", "out").exit_code == OK
    assert load_part(world / "out", "target").config["classes"] == ["normal", "covid"]
    assert json.loads((world / "out" / "run.json").read_text())["records"] < 35


def test_weights_of_losses_can_be_set(train: Callable[..., Result], world: Path) -> None:
    assert train("free", "--out", "out", "--set", "size=0", "--set", "smoothness=0.5").exit_code == OK
    assert rows(world / "out")[-1]["size"] == 0
    assert rows(world / "out")[-1]["smoothness"] > 0
    assert train("generator", "--out", "g", "--set", "reader.clear=0").exit_code == OK
    assert rows(world / "g" / "reader")[-1]["clear"] == 0
    assert rows(world / "g" / "reader")[-1]["rendered"] > 0


# -- resuming -----------------------------------------------------------------------------------------------------------------


def test_resume_goes_on_and_a_folder_in_use_needs_a_decision(train: Callable[..., Result], world: Path) -> None:
    assert train("free", "--out", "out").exit_code == OK
    first = read_config(world / "out")["sha256"]
    assert train("free", "--out", "out").exit_code == USAGE
    assert train("free", "--out", "out", "--resume", "--steps", 3).exit_code == OK
    assert [row["step"] for row in rows(world / "out")] == [2, 3]
    assert read_config(world / "out")["sha256"] != first
    assert train("free", "--out", "out", "--overwrite").exit_code == OK
    assert [row["step"] for row in rows(world / "out")] == [2]
    assert read_config(world / "out")["sha256"] == first


def test_resume_of_another_configuration(train: Callable[..., Result], world: Path) -> None:
    assert train("free", "--out", "out").exit_code == OK
    result = train("free", "--out", "out", "--resume", "--set", "network.width=16")
    assert result.exit_code == DATA
    assert result.stderr.splitlines()[-1].startswith("error: out/state.pt: expected a training state of this configuration")


def test_a_finished_stage_is_not_repeated(train: Callable[..., Result], world: Path) -> None:
    reader, layers = (world / "out" / stage for stage in STAGES["generator"])
    assert train("generator", "--out", "out").exit_code == OK
    before, first = (reader / STATE).read_bytes(), read_config(world / "out")["sha256"]
    assert train("generator", "--out", "out", "--resume").exit_code == OK
    assert read_config(world / "out")["sha256"] == first
    assert train("generator", "--out", "out", "--resume", "--set", "layers.steps=3").exit_code == OK
    assert (reader / STATE).read_bytes() == before
    assert [row["step"] for row in rows(layers)] == [2, 3]
    assert read_config(world / "out")["sha256"] != first


def test_layers_begin_again_where_the_reader_has_learned_more(train: Callable[..., Result], world: Path) -> None:
    reader, layers = (world / "out" / stage for stage in STAGES["generator"])
    assert train("generator", "--out", "out").exit_code == OK
    assert train("generator", "--out", "out", "--resume", "--steps", 3, "--set", "layers.steps=3").exit_code == OK
    assert [row["step"] for row in rows(reader)] == [2, 3]
    assert [row["step"] for row in rows(layers)] == [3]


def test_a_generator_whose_reader_alone_is_there_goes_on_with_the_layers(train: Callable[..., Result], world: Path) -> None:
    assert train("generator", "--out", "out").exit_code == OK
    first = read_config(world / "out")["sha256"]
    shutil.rmtree(world / "out" / "layers")
    assert train("generator", "--out", "out", "--resume").exit_code == OK
    assert read_config(world / "out")["sha256"] == first
    shutil.rmtree(world / "out" / "reader")
    result = train("generator", "--out", "out", "--resume")
    assert result.exit_code == DATA
    assert "reader/state.pt: no state to resume from" in result.stderr


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
        ("free", ("--include", "normal"), DATA, "got one side only"),
        ("free", ("--target", "forward_only:make"), TARGET, "a target with gradients"),
        ("free", ("--target", "forward_only:make", "--dry-run"), TARGET, "training a free map needs a target with gradients"),
        ("free", ("--segmenter", "nothing"), DATA, "no checkpoint 'nothing'"),
        ("free", ("--segmenter", "nothing", "--dry-run"), DATA, "no checkpoint 'nothing'"),
        ("free", ("--resolution", 100), USAGE, "multiple of 16 and a width that is a multiple of 8, got 100 and 8"),
        ("free", ("--set", "network.width=12"), USAGE, "multiple of 8, got 64 and 12"),
        ("free", ("--set", "size"), USAGE, "--set size: expected NAME=VALUE with a name of adversarial"),
        ("free", ("--set", "size=nan"), USAGE, "--set size=nan"),
        ("free", ("--set", "steps=3"), USAGE, "--set steps=3"),
        ("free", ("--set", "seed=1"), USAGE, "--set seed=1"),
        ("free", ("--set", "learning_rate=0"), USAGE, "learning_rate"),
        ("free", ("--set", "save_every=0"), USAGE, "save_every"),
        ("free", ("--set", "batch_size=2"), USAGE, "batch_size"),
        ("target", ("--set", "part=.."), USAGE, "--set part=.."),
        ("generator", ("--include", "normal"), DATA, "expected at least 8 radiographs of a disease"),
        ("generator", ("--include", "covid"), DATA, "expected radiographs labelled normal"),
        ("generator", ("--segmenter", "nothing", "--dry-run"), DATA, "no checkpoint 'nothing'"),
        ("generator", ("--resolution", 100), USAGE, "multiple of 32 and a grid of a half, a quarter or an eighth of it, got 100"),
        ("generator", ("--set", "order=1"), USAGE, "--set order=1: expected NAME=VALUE with a name of layers.adversarial"),
        (
            "generator",
            ("--set", "reader.steps=3"),
            USAGE,
            "--set reader.steps=3: expected NAME=VALUE with a name of layers.adversarial",
        ),
        ("generator", ("--target", "checkpoint:tiny"), USAGE, "--target"),
        ("segmenter", ("--resolution", 100), USAGE, "multiple of 16, got 100"),
        ("target", ("--arch", "resnet9000"), USAGE, "resnet9000"),
        ("target", ("--positive", "flu"), DATA, "positive set"),
        ("target", ("--positive", "flu", "--dry-run"), DATA, "positive set"),
        ("generator", ("--set", "network.width=0", "--dry-run"), USAGE, "width: expected at least 1, got 0"),
        ("target", ("--set", "learning_rate=-1"), USAGE, "learning_rate"),
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
    check_network(lambda: Disentangler(GeneratorConfig(backbone="small", width=8)))
    assert torch.equal(torch.get_rng_state(), before)


# -- as users run it ----------------------------------------------------------------------------------------------------------


def words(*args: object) -> list[str]:
    return [str(arg) for arg in args]


def test_script_stops_at_a_signal_and_can_be_resumed(world: Path, train: Callable[..., Result]) -> None:
    command = words(sys.executable, ROOT / "train_gan.py", *COMMANDS["generator"], "--steps", 100000, "--out", "out")
    reader = world / "out" / "reader"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not (reader / STATS).is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED, errors
    assert output == ""
    last = re.search(r"error: stopped after step (\d+): continue with --resume", errors.splitlines()[-1])
    assert last, errors
    steps = int(last[1])
    assert json.loads((world / "out" / "run.json").read_text())["exit"] == INTERRUPTED
    assert train("generator", "--out", "out", "--resume", "--steps", steps + 1).exit_code == OK
    assert rows(reader)[-1]["step"] == steps + 1
    assert rows(world / "out" / "layers")[-1]["step"] == 2
    assert load_part(world / "out", "generator").kind == "disentangler"


@pytest.mark.slow
def test_script_runs_unchanged_under_torchrun(world: Path) -> None:
    command = words(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, ROOT / "train_gan.py")
    done = subprocess.run(
        [*command, *words(*COMMANDS["generator"], "--out", "out", "--json")], env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == OK, done.stderr[-3000:]
    assert json.loads(done.stdout)["part"] == "generator"
    assert files(world / "out") == {"weights.safetensors", "config.json", "run.json", "reader", "layers"}
    for stage in STAGES["generator"]:
        assert [row["step"] for row in rows(world / "out" / stage)] == [2]
