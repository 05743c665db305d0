"""`gan-explain data`: what a dataset holds, and any dataset (the phantom too) written as a folder with a manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

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
    path: Annotated[str, ARGUMENT] = "phantom"
    resolution: Resolution = 128


@common.command("data", out=None)
def data(run: common.Run, options: InspectOptions) -> dict[str, object]:
    """Count what the dataset at PATH holds, per split, source and label; check that it can be used.

    PATH is a folder, a manifest CSV or phantom[:n=400,...]. With --out its images, masks and manifest.csv are written there.
    Files that cannot be read are named, and with --out listed in rejects.csv.
    """
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
    for remark in dataset.remarks:
        run.say(remark)
    found = {"images": len(dataset), "patients": patients, "fingerprint": dataset.fingerprint()}
    return {**found, "counts": rows, "remarks": dataset.remarks}


def count(dataset: Dataset) -> Counter[tuple[str, str, str]]:
    """Images by (split, source, label)."""
    return Counter((record.split, record.source, record.label) for record in dataset.records)


def export(dataset: Dataset, folder: Path) -> None:
    """Write every image as prepared (16-bit PNG), its masks (8-bit PNG), severity and manifest.csv into a folder."""
    from PIL import Image

    from gan_explain.data import write_manifest
    from gan_explain.image import write_png16
    from gan_explain.pixels import to_uint8

    for kind in ("images", "masks", "lesions"):
        (folder / kind).mkdir()
    records = []
    for i, record in enumerate(dataset.records):
        item, name, extra = dataset[i], f"{i:05d}.png", dict(record.extra)
        write_png16(item["image"], folder / "images" / name)
        for mask, there, kind in ((item["lungs"], item["has_lungs"], "masks"), (item["lesion"], item["has_lesion"], "lesions")):
            if there:
                Image.fromarray(to_uint8(mask[0])).save(folder / kind / name)
        extra.pop("lesion", None)
        if item["has_lesion"]:
            extra["lesion"] = f"lesions/{name}"
        if item["severity"] == item["severity"]:
            extra["severity"] = f"{item['severity']:.6g}"
        mask_path = f"masks/{name}" if item["has_lungs"] else ""
        records.append(replace(record, path=f"images/{name}", mask=mask_path, extra=extra))
    write_manifest(records, folder / "manifest.csv")


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
