"""`gan-explain audit` and `merge` on a few phantoms and a target that is known in full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from gan_explain.files.checkpoints import save_part
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.free import FreeConfig, FreeMap
from gan_explain.targets import TargetConfig

Invoke = Callable[..., Result]
MODELS = ("--generator", "tiny", "--segmenter", "everywhere", "--target", "brightness_target:Brightness", "--judges", "none")
DATA = ("--data", "phantom:n=80", "--limit", 10)
QUICK = (*MODELS, *DATA, "--quick", "--strengths", 21)
FILES = ["audit.json", "curves.csv", "patient_salt", "per_sample.csv", "report.html", "run.json"]


def findings(world: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world / "a" / "audit.json").read_text())["findings"]
    return found


def test_the_summary_comes_first_and_everything_is_written(invoke: Invoke, world: Path) -> None:
    result = invoke("audit", *MODELS, *DATA, "--by", "source", "--out", "a")
    assert result.exit_code == 0, result.stderr
    document = findings(world)
    assert result.stdout.splitlines()[0] == document["summary"][0]
    assert result.stdout.splitlines()[-1] == "10 images; report: a/report.html"
    assert sorted(path.name for path in (world / "a").iterdir() if path.is_file()) == FILES
    run = json.loads((world / "a" / "run.json").read_text())
    assert run["images"] == 10
    assert set(document["provenance"]["generator"]) == {"checkpoint", "sha256"}
    assert document["provenance"]["free"] is False


def with_free(root: Path, name: str) -> None:
    """A target as that of `tiny`, and a free map that was trained against nothing."""
    torch.manual_seed(1)
    target = TargetConfig(arch="small", classes=("normal", "covid"), positive=("covid",), size=64, channels=1)
    network = build(ClassifierConfig(arch="small", classes=2, channels=1))
    save_part(root / name, "target", "target", target.model_dump(mode="json"), network.state_dict())
    config = FreeConfig(resolution=64, width=8)
    save_part(root / name, "free", "free", config.model_dump(mode="json"), FreeMap(config).state_dict())


def test_the_free_map_of_the_targets_checkpoint_stands_beside_real_disease(invoke: Invoke, world: Path) -> None:
    with_free(world, "mine")
    given = ("audit", "--generator", "tiny", "--segmenter", "everywhere", *DATA, "--quick", "--json", "--out", "a")
    result = invoke(*given, "--target", "checkpoint:mine")
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    assert set(printed) == {"summary", "verdict", "measures"}
    assert "causal.outside_share.free" in printed["measures"]
    provenance = findings(world)["provenance"]
    assert provenance["generator"]["checkpoint"] == "tiny"
    assert provenance["free"] is True
    assert len(provenance["target"]["sha256"]) == 64
    assert invoke(*given, "--target", "checkpoint:tiny").exit_code == 0
    assert findings(world)["provenance"]["free"] is False
    assert invoke(*given, "--target", "checkpoint:tiny", "--free", "mine").exit_code == 0
    assert findings(world)["provenance"]["free"] is True


def test_two_runs_give_the_same_bytes_and_so_do_shards(invoke: Invoke, world: Path) -> None:
    quick = (*QUICK, "--salt", "salt")
    for out in ("a", "b"):
        assert invoke("audit", *quick, "--out", out).exit_code == 0
    for i in (1, 2):
        result = invoke("audit", *quick, "--shard", f"{i}/2", "--out", f"shard{i}")
        assert result.exit_code == 0, result.stderr
        assert not (world / f"shard{i}" / "report.html").exists()
    result = invoke("merge", "shard2", "shard1", "--out", "c")
    assert result.exit_code == 0, result.stderr
    for path in (world / "a").rglob("*"):
        if path.is_file() and path.name != "run.json":
            for other in ("b", "c"):
                assert (world / other / path.relative_to(world / "a")).read_bytes() == path.read_bytes(), path


def test_shards_beside_each_other_share_a_salt_and_conclusions_do_not_depend_on_it(invoke: Invoke, world: Path) -> None:
    assert invoke("audit", *QUICK, "--out", "a").exit_code == 0
    for i in (1, 2):
        assert invoke("audit", *QUICK, "--shard", f"{i}/2", "--out", f"s/shard{i}").exit_code == 0
    assert sorted(path.name for path in (world / "s").iterdir()) == ["patient_salt", "shard1", "shard2"]
    assert invoke("merge", "s/shard1", "s/shard2", "--out", "b").exit_code == 0
    assert (world / "a" / "audit.json").read_bytes() == (world / "b" / "audit.json").read_bytes()
    whole, joined = ((world / out / "per_sample.csv").read_text().splitlines() for out in ("a", "b"))
    assert whole[0] == joined[0]
    assert whole[1:] != joined[1:]  # other salts, other names
    assert invoke("audit", *QUICK, "--shard", "2/2", "--out", "other/shard2").exit_code == 0
    refused = invoke("merge", "s/shard1", "other/shard2", "--out", "c")
    assert refused.exit_code == 3
    assert "--salt FILE" in refused.stderr
    assert not (world / "c").exists()


def test_a_second_target_stands_beside_the_first(invoke: Invoke, world: Path) -> None:
    result = invoke("audit", *QUICK, "--compare", "checkpoint:tiny", "--positive", "covid", "--out", "a")
    assert result.exit_code == 0, result.stderr
    compare = json.loads((world / "a" / "audit.json").read_text())["compare"]["findings"]
    assert compare["provenance"]["target"]["spec"] == "checkpoint:tiny"
    assert compare["provenance"]["target"]["classes"] == ["normal", "covid"]
    assert len(compare["verdict"]) == 8


def test_fail_on_ends_with_7_and_the_report_is_there(invoke: Invoke, world: Path) -> None:
    result = invoke("audit", *QUICK, "--fail-on", "explanation", "--fail-on", "abstain", "--out", "a")
    assert result.exit_code == 7, result.stderr
    assert "failed: explanation" in result.stderr.splitlines()[-1]
    assert (world / "a" / "report.html").is_file()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--data", "nowhere"), 3, "nowhere"),
        (("--shard", "3/2"), 2, "I from 1 to N"),
        (("--shard", "1/2", "--fail-on", "any"), 2, "gan-explain merge"),
        (("--fail-on", "everything"), 2, "everything"),
        (("--by", "sex"), 2, "--by sex"),
        (("--free", "tiny"), 3, "'free'"),
        (("--generator", "nowhere"), 3, "nowhere"),
        (("--strengths", "20"), 2, "--strengths"),
        (("--target", "brightness_target:WrongShape"), 4, "(4, 2)"),
        (("--target", "brightness_target:NotANumber"), 4, "NaN"),
        (("--target", "brightness_target:no_network"), 4, "int"),
        (("--target", "brightness_target:Raises"), 4, "my own trouble"),
        (("--target", "brightness_target:Batchwise"), 4, "independent of the batch"),
        (("--compare", "brightness_target:NotANumber"), 4, "NaN"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    invoke: Invoke, world: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    result = invoke("audit", *QUICK, *args, "--out", "a")
    assert result.exit_code == code, result.stderr
    assert says in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (world / "a").exists()


def test_merge_refuses_what_is_no_shard(invoke: Invoke, world: Path) -> None:
    (world / "empty").mkdir()
    result = invoke("merge", "empty", "--out", "c")
    assert result.exit_code == 3
    assert "shard.json" in result.stderr
    assert not (world / "c").exists()


def test_a_dry_run_writes_nothing(invoke: Invoke, world: Path) -> None:
    result = invoke("audit", *QUICK, "--dry-run", "--out", "a")
    assert result.exit_code == 0, result.stderr
    assert "10 images" in result.stdout
    assert not (world / "a").exists()
