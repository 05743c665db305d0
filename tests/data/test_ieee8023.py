"""The metadata.csv layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan_explain.data import open_dataset
from gan_explain.data.ieee8023 import label_of
from gan_explain.types import DataError

HEADER = ("patientid", "offset", "sex", "age", "finding", "view", "modality", "folder", "filename", " url", "license")


def row(patient: str, finding: str, view: str, name: str, modality: str = "X-ray") -> tuple[str, ...]:
    return (patient, "3", "F", "60", finding, view, modality, "images", name, "http://x, y", "CC BY")


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("Pneumonia/Viral/COVID-19", "covid"),
        ("COVID-19, ARDS", "covid"),
        ("No Finding", "normal"),
        ("Pneumonia/Viral/SARS", "viral_pneumonia"),
        ("SARS", "viral_pneumonia"),
        ("Pneumonia/Bacterial/Klebsiella", "bacterial_pneumonia"),
        ("Streptococcus", "bacterial_pneumonia"),
        ("Mycoplasma Bacterial Pneumonia", "bacterial_pneumonia"),
        ("Pneumonia/Fungal/Pneumocystis", "other_pneumonia"),
        ("Pneumonia", "other_pneumonia"),
        ("Tuberculosis", "tuberculosis"),
        ("not COVID-19 at all", "not_covid-19_at_all"),  # whole words, not substrings
        ("todo", ""),
        ("Unknown", ""),
        ("", ""),
    ],
)
def test_findings_become_labels(finding: str, label: str) -> None:
    assert label_of(finding) == label


def test_only_frontal_x_rays_with_a_finding_are_kept(tmp_path: Path, layouts: Any) -> None:
    kept = [
        row("1", "Pneumonia/Viral/COVID-19", "PA", "a.png"),
        row("1", "Pneumonia/Viral/COVID-19", "AP Supine", "b.png"),
        row("2", "No Finding", "AP", "c.png"),
    ]
    dropped = [
        row("1", "Pneumonia/Viral/COVID-19", "L", "lateral.png"),
        row("3", "Pneumonia/Viral/COVID-19", "Axial", "ct.png", "CT"),
        row("4", "todo", "PA", "todo.png"),
        row("5", "Pneumonia", "Paper", "word.png"),
    ]
    layouts.table("metadata.csv", HEADER, kept + dropped)
    for name in "abc":
        layouts.picture(f"images/{name}.png")
    data = open_dataset(tmp_path, size=16)
    assert [record.path for record in data.records] == ["images/a.png", "images/b.png", "images/c.png"]
    first, second, _ = data.records
    assert first.split == second.split  # one patient
    assert (first.source, first.patient_id, first.extra["offset_days"]) == ("ieee8023", "ieee8023-1", "3")
    assert open_dataset(tmp_path / "metadata.csv", size=16).records == data.records


def test_the_first_edition_had_no_folder_and_no_modality(tmp_path: Path, layouts: Any) -> None:
    rows = [("1", "COVID-19", "PA", "a.png"), ("2", "No Finding", "PA", "b.png"), ("2", "No Finding", "CT", "c.png")]
    layouts.table("metadata.csv", ("Patientid", "finding", "view", "filename"), rows)
    layouts.picture("images/a.png")
    layouts.picture("images/b.png")
    assert len(open_dataset(tmp_path, size=16)) == 2


def test_faults_are_named(tmp_path: Path, layouts: Any) -> None:
    layouts.table("metadata.csv", HEADER, [row("1", "No Finding", "L", "a.png")])
    with pytest.raises(DataError, match="metadata.csv: expected frontal X-rays"):
        open_dataset(tmp_path, size=16)
    layouts.table("metadata.csv", HEADER, [row("1", "No Finding", "PA", "../../a.png")])
    with pytest.raises(DataError, match="inside it"):
        open_dataset(tmp_path, size=16)
    layouts.table("metadata.csv", ("patientid", "finding", "view"), [("1", "COVID-19", "PA")])
    with pytest.raises(DataError, match="missing: filename"):
        open_dataset(tmp_path, size=16)
