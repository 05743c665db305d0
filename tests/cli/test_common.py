"""Exit codes, the one error line, run.json, output folders: what every command inherits."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

from gan_explain.cli import common, main
from gan_explain.cli.exits import exit_code
from gan_explain.train.loop import Interrupted
from gan_explain.types import CheckpointError, DataError, TargetError, TrainingDiverged

ERRORS = [
    (RuntimeError("a bug"), 1),
    (click.UsageError("no such option"), 2),
    (DataError("bad file"), 3),
    (CheckpointError("bad checkpoint"), 3),
    (TargetError("bad target"), 4),
    (TrainingDiverged("NaN"), 5),
    (OSError(errno.ENOSPC, "No space left on device"), 6),
    (MemoryError(), 6),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:83] DefaultCPUAllocator: can't allocate memory"), 6),
    (torch.OutOfMemoryError("CUDA out of memory"), 6),
    (common.ThresholdError("flip rate 0.4 is below 0.5"), 7),
    (Interrupted("stopped after step 3"), 75),
    (KeyboardInterrupt(), 130),
]


def failing(error: BaseException | None, *, late: bool = False) -> common.Command:
    @common.command("work", out="result")
    def work(run: common.Run) -> dict[str, object]:
        """Work."""
        if error is not None and not late:
            raise error
        with run.staging() as folder:
            (folder / "part").mkdir()
            (folder / "part" / "a.txt").write_text("a")
            if error is not None:
                raise error
        return {"tensor": torch.tensor([1.0, float("nan")]), "path": Path("x")}

    return work


def training(steps: list[str], error: BaseException | None = None) -> common.Command:
    @common.command("learn", out="result", resume=True)
    def learn(run: common.Run) -> None:
        """Learn."""
        steps.append("resumed" if run.resume else "new")
        (run.folder / "weights").write_text("w")
        if error is not None:
            raise error

    return learn


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda command, *args: CliRunner().invoke(command, list(args))


@pytest.mark.parametrize(
    ("error", "code"), ERRORS, ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else ""
)
@pytest.mark.parametrize("late", [False, True])
def test_every_error_has_its_code_one_line_and_leaves_nothing(
    call: Callable[..., Result], tmp_path: Path, error: BaseException, code: int, late: bool
) -> None:
    assert exit_code(error) == code
    result = call(failing(error, late=late))
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.strip().startswith("error: ")
    assert "\n" not in result.stderr.strip()
    assert list(tmp_path.iterdir()) == []


def test_traceback_on_request(call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_EXPLAIN_TRACEBACK", "1")
    result = call(failing(RuntimeError("a bug")))
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: RuntimeError: a bug")


def test_json_is_one_strict_object_on_stdout(call: Callable[..., Result]) -> None:
    result = call(failing(None), "--json")
    assert json.loads(result.stdout) == {"tensor": [1.0, None], "path": "x"}


def test_files_appear_together_and_run_json_lists_them(call: Callable[..., Result], tmp_path: Path) -> None:
    assert call(failing(None), "--seed", "3").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    run = json.loads((tmp_path / "result" / "run.json").read_text())
    assert run["files"] == ["part/a.txt"]
    assert (run["seed"], run["exit"], run["error"], run["device"]) == (3, 0, None, "cpu")
    assert run["command"] == "work --seed 3"
    assert run["started"] <= run["finished"]


def test_seed_is_set_once_for_all(call: Callable[..., Result]) -> None:
    drawn = []

    @common.command("draw", out="result")
    def draw(run: common.Run) -> None:
        """Draw."""
        import random

        import numpy as np

        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))  # noqa: NPY002

    for seed in ("1", "1", "2"):
        assert call(draw, "--seed", seed).exit_code == 0
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[0], drawn[2], strict=True))


def test_folder_of_others_is_refused(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "thesis.txt").write_text("mine")
    refused = call(failing(None))
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert call(failing(None), "--overwrite").exit_code == 0
    assert (tmp_path / "result" / "thesis.txt").read_text() == "mine"


def test_run_json_of_another_program_does_not_make_a_folder_ours(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "run.json").write_text('{"program": "other", "files": ["run.json"]}')
    assert call(failing(None)).exit_code == 2


def test_names_in_a_damaged_run_json_delete_nothing_outside(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "result").mkdir()
    listed = ["../precious", str(tmp_path / "precious")]
    (tmp_path / "result" / "run.json").write_text(json.dumps({"program": "gan_explain", "files": listed}))
    assert call(failing(None)).exit_code == 0
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_file_in_the_place_of_the_folder(call: Callable[..., Result], tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    result = call(failing(None), "--out", name)
    assert result.exit_code == 6
    assert "expected a folder, got a file" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_training_folder_in_use_needs_a_decision(call: Callable[..., Result], tmp_path: Path) -> None:
    steps: list[str] = []
    assert call(training(steps)).exit_code == 0
    assert call(training(steps)).exit_code == 2
    assert call(training(steps), "--resume").exit_code == 0
    assert call(training(steps), "--overwrite").exit_code == 0
    assert steps == ["new", "resumed", "new"]
    run = json.loads((tmp_path / "result" / "run.json").read_text())
    assert len(run["earlier"]) == 2
    assert all("earlier" not in each for each in run["earlier"])


def test_a_result_does_not_replace_a_training_run(call: Callable[..., Result]) -> None:
    assert call(training([])).exit_code == 0
    refused = call(failing(None))
    assert refused.exit_code == 2
    assert "training run" in refused.stderr


def test_failed_training_says_so_in_run_json(call: Callable[..., Result], tmp_path: Path) -> None:
    assert call(training([], Interrupted("stopped after step 3: continue with --resume"))).exit_code == 75
    run = json.loads((tmp_path / "result" / "run.json").read_text())
    assert run["exit"] == 75
    assert "step 3" in run["error"]
    assert (tmp_path / "result" / "weights").is_file()


def test_training_that_fails_at_once_leaves_nothing(call: Callable[..., Result], tmp_path: Path) -> None:
    @common.command("learn", out="runs/deep/result", resume=True)
    def learn(run: common.Run) -> None:
        """Learn."""
        assert run.folder.is_dir()
        raise DataError("no weights")

    assert call(learn).exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_dry_run_writes_nothing(call: Callable[..., Result], tmp_path: Path) -> None:
    @common.command("work", out="result", resume=True)
    def work(run: common.Run) -> None:
        """Work."""
        assert not run.writes
        with pytest.raises(RuntimeError, match="dry run"):
            _ = run.folder

    result = call(work, "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "dry run: nothing written\n")
    assert call(work, "--dry-run", "--json").stdout == "{}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_cuda_where_there_is_none_is_a_usage_error(call: Callable[..., Result]) -> None:
    result = call(failing(None), "--device", "cuda")
    assert result.exit_code == 2
    assert "no CUDA device" in result.stderr


@pytest.mark.parametrize("args", [["--help"], ["interpolate", "--help"], ["train", "--help"], ["data", "-h"], ["--version"]])
def test_help(args: list[str]) -> None:
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0
    assert result.stderr == ""


def test_unknown_command_and_none() -> None:
    assert CliRunner().invoke(main, ["interpolat"]).exit_code == 2
    assert CliRunner().invoke(main, []).exit_code in (0, 2)


def test_help_does_not_import_torch() -> None:
    code = "import sys; from gan_explain.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
