"""`train target` with spectral importance, `bench spectral` and the heat map of a spectrum target, on phantoms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from gan_explain.cli.exits import DATA, OK, TARGET, USAGE
from gan_explain.files.checkpoints import read_config

Invoke = Callable[..., Result]
SMALL = ("--data", "phantom:n=30,covid=0.5", "--set", "resolution=32")
TINY = ("spectral.spectrum_steps=2", "batch_size=4")
BRIEF = (
    "train", "target", "--data", "phantom:n=30,covid=0.5", "--resolution", 32, "--segmenter", "everywhere", "--steps", 2,
    *(word for each in TINY for word in ("--set", each)),
)  # fmt: skip
IMPORTANCE = ("--set", "spectral.filter=importance")
FEW = ("seeds=2", "arch=small", "steps=1", "spectrum_steps=1", "batch_size=4")
QUICK = (*SMALL, *(word for each in FEW for word in ("--set", each)))


@pytest.mark.usefixtures("negative")
def test_both_networks_are_written_and_the_spectrum_has_a_heat_map(invoke: Invoke, world: Path) -> None:
    result = invoke(*BRIEF, *IMPORTANCE, "--out", "out", "--json")
    assert result.exit_code == OK, result.stderr
    assert json.loads(result.stdout)["measures"]
    domains = [read_config(world / folder)["parts"]["target"]["config"]["domain"] for folder in ("out", "out/spectrum")]
    assert domains == ["image", "spectrum"]
    explain = ("explain", "negative.png", "--segmenter", "everywhere", "--force", "--out")
    heat = invoke(*explain, "heat", "--method", "spectral_fem", "--target", "checkpoint:out/spectrum", "--json")
    assert heat.exit_code == OK, heat.stderr
    assert "cycles an image" in json.loads(heat.stdout)["methods"]["spectral_fem"]["note"]
    other = invoke(*explain, "other", "--method", "spectral_fem", "--target", "checkpoint:out")
    assert other.exit_code == TARGET
    assert "needs a target trained on spectra" in other.stderr
    assert invoke(*explain, "fem", "--method", "fem", "--target", "checkpoint:out").exit_code == OK


@pytest.mark.parametrize("chosen", ["none", "gaussian"])
def test_other_filters_need_no_spectrum_network(invoke: Invoke, world: Path, chosen: str) -> None:
    assert invoke(*BRIEF, "--set", f"spectral.filter={chosen}", "--set", "augment=0", "--out", "out").exit_code == OK
    assert not (world / "out" / "spectrum").exists()


def test_what_train_spectral_refuses(invoke: Invoke) -> None:
    assert invoke(*BRIEF, *IMPORTANCE, "--set", "spectral.low=2").exit_code == USAGE
    assert invoke(*BRIEF, *IMPORTANCE, "--set", "spectral.spectrum_arch=huge").exit_code == USAGE
    assert invoke(*BRIEF, *IMPORTANCE, "--positive", "flu", "--out", "no").exit_code == DATA


def test_the_benchmark_goes_on_where_it_stopped(invoke: Invoke, world: Path) -> None:
    first = invoke("bench", "spectral", *QUICK, "--shard", "1/2", "--out", "out")
    assert first.exit_code == OK, first.stderr
    lines = (world / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["arm"] for line in lines] == ["spectrum", "none", "gaussian", "importance"]
    (world / "out" / "results.jsonl").write_text("\n".join(lines[:2]) + "\n")
    again = invoke("bench", "spectral", *QUICK, "--out", "out", "--resume", "--json")
    assert again.exit_code == OK, again.stderr
    rows = [json.loads(line) for line in (world / "out" / "results.jsonl").read_text().splitlines()]
    assert len({(row["arm"], row["seed"]) for row in rows}) == len(rows) == 8
    assert {row["seed"] for row in rows} == {0, 1}
    entry = next(e for e in json.loads(again.stdout)["entries"] if (e["arm"], e["measure"]) == ("importance", "sensitivity"))
    assert entry["seeds"] == 2
    assert set(entry["differences"]) == {"none", "gaussian"}
    other = invoke("bench", "spectral", *QUICK, "--set", "steps=2", "--out", "out", "--resume")
    assert other.exit_code == DATA
    assert "expected results of these settings" in other.stderr
    assert invoke("bench", "spectral", *QUICK, "--set", "colour=blue", "--out", "no").exit_code == USAGE
    assert invoke("bench", "spectral", *QUICK, "--include", "normal", "--out", "no").exit_code == DATA
