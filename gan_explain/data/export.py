"""Any dataset, the phantom too, written as a folder with a manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from gan_explain.data import Dataset, write_manifest
from gan_explain.image import write_png16
from gan_explain.pixels import to_uint8


def export(dataset: Dataset, folder: Path) -> None:
    """Write every image as prepared (16-bit PNG), its masks (8-bit PNG), severity and manifest.csv into a folder."""
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
