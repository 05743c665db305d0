"""`gan-explain data`: what a dataset holds, and any dataset (the phantom too) written as a folder with a manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from gan_explain.cli import common
from gan_explain.cli.datasets import open_screened
from gan_explain.cli.options import ARGUMENT
from gan_explain.cli.words import Resolution

if TYPE_CHECKING:
    from gan_explain.data import Dataset


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """The dataset, and how large its images are written."""

    TITLE: ClassVar = "Data"
    path: Annotated[str, Field(description="Folder, manifest CSV, or phantom[:n=400,...]."), ARGUMENT] = "phantom"
    resolution: Resolution = 128


@common.command("data", out=None, without=("device", "salt"))
def data(run: common.Run, options: InspectOptions) -> dict[str, object]:
    """Count what the dataset at PATH holds, per split, source and label; check that it can be used.

    PATH is a folder, a manifest CSV or phantom[:n=400,...]. With --out its images, masks and manifest.csv are written there.
    Files that cannot be read are named, and with --out listed in rejects.csv.
    """
    from gan_explain.data.export import export
    from gan_explain.data.remarks import pixel_remarks

    dataset = open_screened(run, options.path, options.resolution or 128)
    if run.writes:
        with run.staging() as folder:
            run.record(data=dataset.fingerprint())
            export(dataset, folder)
    counts = count(dataset)
    run.say(_table(counts))
    patients = len({record.patient_id for record in dataset.records})
    run.say(f"{len(dataset)} images of {patients} patients; fingerprint {dataset.fingerprint()[:16]}")
    rows = [{"split": a, "source": b, "label": c, "images": n} for (a, b, c), n in sorted(counts.items())]
    remarks = [*dataset.remarks, *pixel_remarks(dataset)]
    for remark in remarks:
        run.say(remark)
    found = {"images": len(dataset), "patients": patients, "fingerprint": dataset.fingerprint()}
    return {**found, "counts": rows, "remarks": remarks}


def count(dataset: Dataset) -> Counter[tuple[str, str, str]]:
    """Images by (split, source, label)."""
    return Counter((record.split, record.source, record.label) for record in dataset.records)


def _table(counts: Counter[tuple[str, str, str]]) -> str:
    """Counts as text: a row for each source and label, a column for each split."""
    from gan_explain.types import SPLITS

    rows = sorted({(source, label) for _, source, label in counts})
    text = [["source", "label", *SPLITS]]
    text += [[source or "-", label, *(str(counts[split, source, label]) for split in SPLITS)] for source, label in rows]
    text.append(["total", "", *(str(sum(n for (s, _, _), n in counts.items() if s == split)) for split in SPLITS)])
    widths = [max(len(row[i]) for row in text) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in text
    )
