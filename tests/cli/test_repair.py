"""`gan-explain repair`, as users run it; what it refuses, each with one line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from gan_explain import repair as package
from gan_explain.audit import AuditResult
from gan_explain.cli.exits import DATA, KILLED, OK, TARGET, USAGE
from gan_explain.targets import load_target

Invoke = Callable[..., Result]
SMALL = ("--generator", "tiny", "--segmenter", "everywhere", "--set", "making.healed=0", "--set", "head.views=0")
REPAIR = ("repair", "--data", "phantom:n=70,covid=0.4", *SMALL, "--out", "o")
TINY = ("--target", "checkpoint:tiny")


def test_a_repair_writes_a_checkpoint_audits_and_a_table(invoke: Invoke, world: Path) -> None:
    result = invoke(*REPAIR, *TINY, "--limit", 6, "--arm", "both", "--arm", "plain", "--json")
    assert result.exit_code == OK, result.stderr
    answer = json.loads(result.stdout)
    assert answer == json.loads((world / "o" / "repair.json").read_text())
    assert [(each["arm"], "against_plain" in each) for each in answer["trainings"]] == [("both", True), ("plain", False)]
    assert sum(answer["made"]["transplants"].values()) == answer["images"]["train"]
    assert load_target("checkpoint:o").classes == ("normal", "covid")
    found = AuditResult.load(world / "o" / "after")
    assert found.findings.target["spec"] == "checkpoint:tiny, repaired"
    assert found.findings.target["sha256"] != AuditResult.load(world / "o" / "before").findings.target["sha256"]
    with (world / "o" / "before" / "per_sample.csv").open() as file:
        assert all(row["patient_id"].startswith("p") and len(row["patient_id"]) > 8 for row in csv.DictReader(file))
    run = json.loads((world / "o" / "run.json").read_text())
    assert {"repair.md", "repair.json", "before/report.html", "after/audit.json", "weights.safetensors"} <= set(run["files"])


def test_a_dry_run_counts_and_writes_nothing(invoke: Invoke, world: Path) -> None:
    result = invoke(*REPAIR, *TINY, "--dry-run", "--json")
    assert result.exit_code == OK, result.stderr
    answer = json.loads(result.stdout)
    assert answer["at_most"]["transplants"] == answer["images"]["train"] > answer["at_most"]["layers"] > 0
    assert answer["at_most"]["healed"] == 0
    assert not (world / "o").exists()


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (("--target", "onnx:net.onnx"), TARGET, "a head on its features is not offered"),
        (("--target", "ts:net.ts"), TARGET, "a head on its features is not offered"),
        (("--target", "brightness_target:Brightness"), TARGET, "last layer is nn.Linear, got none in Bright: a head on its"),
        ((*TINY, "--include", "covid"), DATA, "expected negative images in the split 'train' to repair on, got none"),
        ((*TINY, "--include", "normal"), DATA, "expected positive images in the split 'train' to repair on, got none"),
        ((*TINY, "--leave-out", "nowhere"), DATA, "expected a source of phantom to leave out, got 'nowhere'"),
        ((*TINY, "--leave-out", "phantom"), DATA, "expected positive images in the split 'train' to repair on, got none"),
        ((*TINY, "--set", "making.prior=2"), USAGE, "less than or equal to 1"),
        ((*TINY, "--set", "making.weakest=3"), USAGE, "expected weakest <= strongest, got 3 and 2.5"),
        ((*TINY, "--arm", "plain", "--arm", "plain"), USAGE, "expected every --arm once"),
        ((), USAGE, "Missing option '--target'"),
    ],
)
def test_what_cannot_be_repaired_is_one_line(invoke: Invoke, world: Path, given: tuple[str, ...], code: int, says: str) -> None:
    result = invoke(*REPAIR, *given)
    assert result.exit_code == code, result.stderr
    assert says in " ".join(result.stderr.split())
    assert result.stderr.count("error:") <= 1
    assert not (world / "o").exists()


def test_one_that_is_stopped_leaves_nothing(invoke: Invoke, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "mend", stopped)
    result = invoke(*REPAIR, *TINY)
    assert result.exit_code == KILLED
    assert not (world / "o").exists()
