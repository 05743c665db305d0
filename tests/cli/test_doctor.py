"""`gan-explain doctor`: every fault is planted once, and named with what to do; the exit code says which kind it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from gan_explain import doctor as ward
from gan_explain.cli import main
from gan_explain.doctor import CHECKPOINT, GIB, INSTALLATION, OK, PROBLEM, RESOURCES, WARNING, Finding

REQUIRES = [
    "torch>=2.11",
    "numpy>=2.0",
    'pydicom>=3.0; extra == "dicom"',
    'pylibjpeg>=2.0; extra == "dicom"',
    'onnxruntime>=1.20; extra == "onnx"',
]


def versions(**known: str) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    return version


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*args: object, **named: object) -> Any:
        raise error

    return call


def test_this_machine_passes_but_for_what_its_resources_allow(tmp_path: Path) -> None:
    findings = ward.examine(tmp_path / "out")
    assert [each for each in findings if each.state == PROBLEM and each.code != RESOURCES] == []
    assert {each.name for each in findings} >= {"python", "torch", "packages", "ffmpeg", "gpu", "memory", "checkpoint phantom64"}
    assert all(bool(each.advice) == (each.state != OK) for each in findings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("version", "state"), [((3, 10, 9), PROBLEM), ((3, 11, 0), OK), ((3, 14, 1), OK)])
def test_python(version: tuple[int, ...], state: str) -> None:
    assert ward.python(version).state == state


@pytest.mark.parametrize(
    ("torch", "wanted", "state"),
    [
        ("2.11.0+cu128", ["numpy", "torch (==2.11.0)"], OK),
        ("2.11.0", ["torch==2.11.0"], OK),
        ("2.15.0", ["torch (>=2.14.0)"], OK),
        ("2.12.0", ["torch==2.11.0"], PROBLEM),
        ("2.13.1", ["torch (>=2.14.0)"], PROBLEM),
        ("2.12.0", ["numpy"], OK),
    ],
)
def test_torch_and_torchvision_of_different_releases(torch: str, wanted: list[str], state: str) -> None:
    found = ward.torch_pair(versions(torch=torch, torchvision="0.26.0"), lambda name: wanted)
    assert found.state == state
    assert found.found.startswith(f"{torch} with torchvision 0.26.0")


def test_torch_that_is_missing_or_broken() -> None:
    assert "torchvision is not installed" in ward.torch_pair(versions(torch="2.11.0")).found
    broken = ward.torch_pair(load=raising(OSError("libcudart.so: cannot open\nshared object")))
    assert broken.state == PROBLEM
    assert "cannot open shared object" in broken.found
    without = SimpleNamespace(ops=SimpleNamespace(nms=raising(RuntimeError("operator torchvision::nms does not exist"))))
    real = __import__("torch")
    found = ward.torch_pair(load=lambda name: real if name == "torch" else without)
    assert found.state == PROBLEM
    assert "nms" in found.found


def test_packages_that_are_missing_or_too_old() -> None:
    assert ward.dependencies(REQUIRES, versions(torch="2.11", numpy="2.0.0"))[0].state == OK
    old, gone = ward.dependencies(REQUIRES, versions(torch="2.9.1"))
    assert (old.state, old.found, old.advice) == (PROBLEM, "torch 2.9.1, expected 2.11 or newer", "pip install 'torch>=2.11'")
    assert gone.found == "numpy is not installed"


def test_extras_are_optional_but_whole() -> None:
    found = {each.name: each for each in ward.extras(REQUIRES, versions(pydicom="3.0.1", onnxruntime="1.19.2"))}
    assert found["extra dicom"].state == WARNING  # there in part
    assert "pylibjpeg is not installed" in found["extra dicom"].found
    assert found["extra onnx"].state == WARNING
    assert found["extra onnx"].advice == "pip install 'gan_explain[onnx]'"
    nothing = ward.extras(REQUIRES, versions())
    assert [each.state for each in nothing if each.name != "extra xrv"] == [OK, OK, OK]
    assert "gan_explain[dicom]" in nothing[0].found


@pytest.mark.parametrize("kind", ["missing", "no program", "fails"])
def test_ffmpeg_that_does_not_run(tmp_path: Path, kind: str) -> None:
    (tmp_path / "text").write_text("no program")
    program = {
        "missing": raising(RuntimeError("No ffmpeg exe could be found")),
        "no program": lambda: str(tmp_path / "text"),
        "fails": lambda: shutil.which("false"),
    }[kind]
    found = ward.ffmpeg(program)  # type: ignore[arg-type]
    assert found.state == WARNING
    assert "IMAGEIO_FFMPEG_EXE" in found.advice


def cuda(available: bool, built: str | None, fault: Exception | None = None) -> Any:
    device = SimpleNamespace(
        is_available=lambda: available,
        get_device_name=lambda i: "NVIDIA X",
        get_device_properties=lambda i: SimpleNamespace(total_memory=80 * GIB),
    )
    ones = raising(fault) if fault else lambda n, device: __import__("torch").ones(n)
    return SimpleNamespace(cuda=device, version=SimpleNamespace(cuda=built), ones=ones)


def test_gpu() -> None:
    good = ward.gpu(cuda(True, "12.8"))
    assert (good.state, good.found) == (OK, "NVIDIA X, 80 GiB, CUDA 12.8")
    assert ward.gpu(cuda(True, "12.8", RuntimeError("no kernel image is available"))).state == PROBLEM
    assert ward.gpu(cuda(False, None), lambda: False).state == OK
    assert "built for CUDA" in ward.gpu(cuda(False, None), lambda: True).advice
    assert "driver" in ward.gpu(cuda(False, "12.8"), lambda: True).advice


@pytest.mark.parametrize(("free", "state"), [(GIB, PROBLEM), (3 * GIB, WARNING), (8 * GIB, OK)])
def test_memory(free: int, state: str) -> None:
    found = ward.memory(lambda: free)
    assert (found.state, found.code if state == PROBLEM else RESOURCES) == (state, RESOURCES)


def test_memory_of_a_container_is_its_limit(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable:   800 kB\n")
    assert ward._available_memory(tmp_path / "meminfo", tmp_path) == 800 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert ward._available_memory(tmp_path / "meminfo", tmp_path) == 800 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert ward._available_memory(tmp_path / "meminfo", tmp_path) == 4000
    assert ward._available_memory(tmp_path / "nothing", tmp_path / "nothing") > GIB // 4


@pytest.mark.parametrize(("free", "state"), [(GIB // 4, PROBLEM), (GIB, WARNING), (50 * GIB, OK)])
def test_disk(tmp_path: Path, free: int, state: str) -> None:
    assert ward.disk(tmp_path / "deep" / "out", lambda place: free).state == state
    assert list(tmp_path.iterdir()) == []


def test_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    found = ward.disk(tmp_path / "file" / "below")
    assert (found.state, found.code) == (PROBLEM, RESOURCES)
    assert "is a file" in found.found
    assert ward.disk(tmp_path, raising(OSError("Stale file handle"))).state == PROBLEM


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two folders of a small checkpoint."""
    shipped = Path(ward.__file__).parent.parent / "checkpoints" / "phantom64"
    for name in ("good", "bad"):
        shutil.copytree(shipped, tmp_path / "store" / name)
    return tmp_path / "store"


@pytest.mark.parametrize("fault", ["flipped", "cut", "no weights", "no JSON", "newer"])
def test_damaged_checkpoints_are_named(store: Path, fault: str) -> None:
    weights, config = store / "bad" / "weights.safetensors", store / "bad" / "config.json"
    data = weights.read_bytes()
    if fault == "flipped":
        weights.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    elif fault == "cut":
        weights.write_bytes(data[: len(data) // 2])
    elif fault == "no weights":
        weights.unlink()
    else:
        config.write_text("{" if fault == "no JSON" else config.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    bad, good = ward.checkpoints([store])
    assert (good.name, good.state) == ("checkpoint good", OK)
    assert (bad.name, bad.state, bad.code) == ("checkpoint bad", PROBLEM, CHECKPOINT)
    assert str(store / "bad") in bad.found
    assert str(store / "bad") in bad.advice


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    (found,) = ward.checkpoints([tmp_path, tmp_path / "missing"])
    assert (found.state, found.code) == (PROBLEM, CHECKPOINT)
    assert "GAN_EXPLAIN_CHECKPOINTS" in found.advice


def test_the_worst_decides() -> None:
    def of(*codes: int) -> int:
        return ward.worst([Finding("x", PROBLEM, "", "", code) for code in codes])

    assert of() == 0
    assert of(INSTALLATION) == 1
    assert of(INSTALLATION, RESOURCES) == 6
    assert of(RESOURCES, CHECKPOINT, INSTALLATION) == 3
    assert ward.worst([Finding("x", WARNING, "", "", CHECKPOINT), Finding("y", OK, "")]) == 0


def test_the_command_prints_a_line_each_and_ends_with_the_code(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ward, "memory", lambda: Finding("memory", OK, "enough"))
    monkeypatch.setattr(ward, "disk", lambda out: Finding("disk", OK, "enough"))
    monkeypatch.setenv("GAN_EXPLAIN_CHECKPOINTS", str(store))
    monkeypatch.chdir(tmp_path)
    good = CliRunner().invoke(main, ["doctor"])
    assert good.exit_code == 0, good.stdout
    assert all(line.split()[0] in (OK, WARNING) for line in good.stdout.splitlines())
    (store / "bad" / "weights.safetensors").write_bytes(b"")
    bad = CliRunner().invoke(main, ["doctor", "--json"])
    assert bad.exit_code == 3
    answer = json.loads(bad.stdout)
    assert (answer["ok"], answer["exit"]) == (False, 3)
    assert [each["name"] for each in answer["checks"] if each["state"] == PROBLEM] == ["checkpoint bad"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
