"""The audit as one HTML file that opens offline: document, samples and pictures in, a page out; no model, no data, no network.

The page allows nothing but its own style and script, by their hashes (Content Security Policy, https://www.w3.org/TR/CSP3/), and
`data:` images. Every text is escaped by jinja2; what the script reads is JSON in a data block, in which <, >, & and the line
separators U+2028 and U+2029 are escaped. No name ever becomes an address, and marks that turn the direction of writing around are
shown as their escapes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gan_explain.audit.document import Curve, Document, Findings, as_json
from gan_explain.audit.report import charts, words
from gan_explain.audit.report.pictures import encode
from gan_explain.audit.report.rows import COLUMNS, Line, lines, used
from gan_explain.evaluate.gathered import Picture
from gan_explain.evaluate.samples import Sample
from gan_explain.files.text import printable
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import Key
from gan_explain.render.curves import positive_label

# curve: what it is called, its tone, whether its x is the dose of rendered opacities
CURVES = {
    "negative": ("negatives under real patients' disease", 0, False),
    "negative.free": ("negatives under the free map", 1, False),
    "healed": ("positives, healed at λ = 0", 2, False),
    "probe": ("negatives, rendered opacities", 3, True),
}
MAIN = ("auroc", "rise", "flip.negative", "heal.fall", "opacity_probe.slope", "shortcut")  # figures of a summary


def render_report(document: Document, rows: Sequence[Sample], pictures: Sequence[Picture]) -> str:
    """The page of an audit. ValueError for pictures that do not fit the samples or the strengths."""
    doc = document.findings
    for picture in pictures:
        if not 0 <= picture.row < len(rows):
            raise ValueError(f"picture {picture.id}: expected a row from 0 to {len(rows) - 1}, got {picture.row}")
    target = doc.target
    ordered = lines(rows, [group.column for group in doc.subgroups])
    rank = {line.row: line.rank for line in ordered}
    strengths = {p.way: _strengths(doc, p) for p in pictures}
    encoded = encode(sorted(pictures, key=lambda p: rank[p.row]), strengths)
    y_label = positive_label(target.get("positive") or ["positive"])
    point = words.finite(target.get("operating_point"))
    data = {
        "yLabel": y_label,
        "point": point,
        "strengths": strengths,
        "bands": {way: as_json(doc.curves.get(way)) for way in strengths},
        "scale": encoded.scale,
        "pictures": [each | {"name": _names(ordered, each["row"])} for each in encoded.pictures],
    }
    style, script = (_asset(f"report.{kind}") for kind in ("css", "js"))
    return _environment().get_template("report.html").render(
        doc=doc,
        compare=document.compare,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(embed(data)),
        title=f"Audit of {target.get('spec', 'a target')}",
        target=target,
        y_label=y_label,
        point=point,
        curves=_series(doc.curves),
        columns=used(ordered, COLUMNS),
        lines=ordered,
        shown={each["row"]: index for index, each in reversed(list(enumerate(encoded.pictures)))},
        side=encoded.side,
        left_out=encoded.left_out,
        pairs=_pairs(doc.measures),
        charts=charts,
        words=words,
        Series=charts.Series,
    )  # fmt: skip


def embed(data: object) -> str:
    """JSON that cannot end its element: <, >, & and line separators as \\u escapes; numbers that are not finite as null."""
    text = json.dumps(_plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def _plain(data: object) -> object:
    if isinstance(data, Mapping):
        return {str(k): _plain(v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(v) for v in data]
    if isinstance(data, str):
        return printable(data)
    return words.finite(data) if isinstance(data, float) else data


def render_summary(findings: Findings) -> str:
    """Summary, verdict and main figures as a piece of HTML, without scripts; every text is escaped."""
    main = {name: findings.measures[name] for name in MAIN if name in findings.measures}
    return _environment().get_template("summary.html").render(doc=findings, main=main, words=words)


def _pairs(measures: Mapping[str, Measure]) -> list[tuple[str, str]]:
    """Measures under real disease, and the same under the free map."""
    free = {name: str(replace(Key.parse(name), variant="free")) for name in measures}
    return [(name, other) for name, other in free.items() if other in measures and other != name and name in measures]


def _strengths(doc: Findings, picture: Picture) -> list[float]:
    """The strengths of a picture's way: of its curve, else of the audit."""
    curve = doc.curves.get(picture.way)
    found = list(curve.x if curve else doc.provenance.get("strengths") or [])
    if len(found) != len(picture.probability):
        raise ValueError(f"picture {picture.id}: expected {len(found)} probabilities, got {len(picture.probability)}")
    return found


def _names(ordered: Sequence[Line], row: int) -> dict[str, Any]:
    found = next(line for line in ordered if line.row == row)
    return {key: found.text.get(key, "") for key in ("patient_id", "path", "source", "label", "called")} | {"rank": found.rank}


def _series(curves: Mapping[str, Curve | None]) -> dict[str, list[charts.Series]]:
    """The curves that are there, apart by what their x is."""
    found: dict[str, list[charts.Series]] = {"strength": [], "dose": []}
    for name, (label, tone, dose) in CURVES.items():
        curve = curves.get(name)
        if curve:
            found["dose" if dose else "strength"].append(charts.Series(curve, label, tone))
    return found


def _asset(name: str) -> str:
    text = resources.files("gan_explain.audit.report").joinpath("templates", name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")  # the parser of HTML does the same, and the hash is of what it leaves


def _policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    own = f"style-src {source(style)}; script-src {source(script)}"
    return f"default-src 'none'; img-src data:; {own}; base-uri 'none'; form-action 'none'"


def _visible(value: object) -> object:
    """What a page shows of a value: plain text without marks that nobody sees."""
    return printable(value) if type(value) is str else value


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {
        "number": words.number,
        "interval": words.interval,
        "label": words.label,
        "direction": words.direction,
    }
    return environment
