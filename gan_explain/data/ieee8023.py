"""The `metadata.csv` layout of ieee8023/covid-chestxray-dataset (Cohen et al. 2020, https://arxiv.org/abs/2006.11988).

Only frontal X-rays are kept (PA, AP, AP Supine, ...). `finding` is a path such as `Pneumonia/Viral/COVID-19`, in older editions a
list such as `COVID-19, ARDS`; its parts are compared whole. Findings that say nothing (`todo`, `Unknown`) are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from gan_explain.data.copies import same_patients
from gan_explain.data.manifest import check_relative, read_table
from gan_explain.data.splits import split_by_patient
from gan_explain.labels import canonical
from gan_explain.types import DataError, Record

REQUIRED = ("patientid", "finding", "view", "filename")
FRONTAL = frozenset({"pa", "ap"})
UNSAID = frozenset({"", "todo", "unknown"})
EXTRA = {"view": "view", "sex": "sex", "age": "age", "offset": "offset_days", "license": "license", "finding": "finding"}
LABELS = {  # the first row that meets a part of the finding names its label
    "covid": {"covid-19"},
    "normal": {"no finding", "normal"},
    "viral_pneumonia": {"viral", "sars", "mers-cov", "influenza", "varicella", "herpes", "h1n1"},
    "bacterial_pneumonia": {
        *("bacterial", "streptococcus", "klebsiella", "e.coli", "legionella", "mycoplasma", "nocardia", "chlamydophila"),
        *("staphylococcus", "mrsa", "mycoplasma bacterial pneumonia"),
    },
    "other_pneumonia": {"pneumonia", "fungal", "pneumocystis", "aspergillosis", "lipoid", "aspiration"},
}


def label_of(finding: str) -> str:
    """`Pneumonia/Viral/COVID-19` -> covid, `No Finding` -> normal, `Tuberculosis` -> tuberculosis, `todo` -> empty."""
    parts = [part.strip().lower() for part in re.split(r"[/,]", finding)]
    named = (label for label, names in LABELS.items() if names.intersection(parts))
    return next(named, "" if parts[0] in UNSAID else canonical(parts[0]))


def read_metadata(path: Path, seed: int) -> list[Record]:
    """The frontal X-rays of a metadata.csv with a usable finding, split by patient. DataError: columns, paths, nothing left."""
    rows = read_table(path, REQUIRED, any_case=True)
    records = []
    for line, row in enumerate(rows, start=2):
        label = label_of(row["finding"])
        view = row["view"].lower().split()
        if not label or not view or view[0] not in FRONTAL or row.get("modality", "X-ray").lower() not in ("x-ray", "xray", ""):
            continue
        file = "/".join(filter(None, (row.get("folder", "images"), row["filename"])))
        check_relative(file, path.parent, f"{path}: row {line}: column filename")
        extra = {name: row.get(column, "") for column, name in EXTRA.items()}
        records.append(Record(file, label, f"ieee8023-{row['patientid']}", "", "ieee8023", extra=extra))
    if not records:
        raise DataError(f"{path}: expected frontal X-rays (view PA or AP) with a finding, found none in {len(rows)} rows")
    return split_by_patient(same_patients(records, path.parent), seed)
