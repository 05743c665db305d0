"""The audit as one HTML file that opens offline: document, rows and pictures in, a page out; no model, no data, no network.

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
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gan_explain.audit.report import charts, words
from gan_explain.audit.report.pictures import Picture, encode
from gan_explain.audit.report.rows import COLUMNS, Line, lines, used
from gan_explain.files.text import printable
from gan_explain.render.curves import positive_label
from gan_explain.types import DataError

__all__ = ["Picture", "render_report"]

SCHEMA_VERSIONS = (1,)
# curve: what it is called, its tone, whether its x is the dose of rendered opacities
CURVES = {
    "negative": ("negatives under real patients' disease", 0, False),
    "negative.free": ("negatives under the free map", 1, False),
    "healed": ("positives, healed at λ = 0", 2, False),
    "probe": ("negatives, rendered opacities", 3, True),
}
_EMPTY: dict[str, Any] = {
    "summary": [], "provenance": {}, "measures": {}, "curves": {}, "subgroups": [], "evidence": [], "controls": [], "verdict": [],
    "compare": None, "pictures": [],
}  # fmt: skip


def render_report(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], pictures: Sequence[Picture]) -> str:
    """The page of an audit.

    `document` is audit.json, `rows` its per-sample table (values as numbers or as a CSV reader gives them), `pictures` what the
    viewer shows. DataError for a document that is no audit or of another schema; ValueError for pictures that do not fit the
    rows or the strengths.
    """
    doc = _checked(document)
    for picture in pictures:
        if not 0 <= picture.row < len(rows):
            raise ValueError(f"picture {picture.id}: expected a row from 0 to {len(rows) - 1}, got {picture.row}")
    provenance = doc["provenance"]
    target = provenance.get("target") or {}
    ordered = lines(rows, [group["column"] for group in doc["subgroups"]])
    rank = {line.row: line.rank for line in ordered}
    strengths = {p.way: _strengths(doc, p) for p in pictures}
    encoded = encode(sorted(pictures, key=lambda p: rank[p.row]), strengths)
    y_label = positive_label(target.get("positive") or ["positive"])
    point = words.finite(target.get("operating_point"))
    data = {
        "yLabel": y_label,
        "point": point,
        "strengths": strengths,
        "bands": {way: doc["curves"].get(way) for way in strengths},
        "scale": encoded.scale,
        "pictures": [each | {"name": _names(ordered, each["row"])} for each in encoded.pictures],
    }
    style, script = (_asset(f"report.{kind}") for kind in ("css", "js"))
    return _environment().get_template("report.html").render(
        doc=doc,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(embed(data)),
        title=f"Audit of {target.get('spec', 'a target')}",
        target=target,
        y_label=y_label,
        point=point,
        curves=_series(doc["curves"]),
        columns=used(ordered, COLUMNS),
        lines=ordered,
        shown={each["row"]: index for index, each in reversed(list(enumerate(encoded.pictures)))},
        side=encoded.side,
        left_out=encoded.left_out,
        pairs=[(name, f"{name}.free") for name in doc["measures"] if f"{name}.free" in doc["measures"]],
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


def _checked(document: Mapping[str, Any]) -> dict[str, Any]:
    if document.get("kind") != "audit" or document.get("schema_version") not in SCHEMA_VERSIONS:
        found = f"kind {document.get('kind')!r}, schema_version {document.get('schema_version')!r}"
        raise DataError(f"expected an audit of schema_version {SCHEMA_VERSIONS[-1]}, got {found}")
    return {key: document[key] if document.get(key) is not None else empty for key, empty in _EMPTY.items()}


def _strengths(doc: Mapping[str, Any], picture: Picture) -> list[float]:
    """The strengths of a picture's way: of its curve, else of the audit."""
    curve = doc["curves"].get(picture.way)
    found = list(curve["x"] if curve else doc["provenance"].get("strengths") or [])
    if len(found) != len(picture.probability):
        raise ValueError(f"picture {picture.id}: expected {len(found)} probabilities, got {len(picture.probability)}")
    return found


def _names(ordered: Sequence[Line], row: int) -> dict[str, Any]:
    found = next(line for line in ordered if line.row == row)
    return {key: found.text.get(key, "") for key in ("patient_id", "path", "source", "label", "called")} | {"rank": found.rank}


def _series(curves: Mapping[str, Any]) -> dict[str, list[charts.Series]]:
    """The curves that are there, apart by what their x is."""
    found: dict[str, list[charts.Series]] = {"strength": [], "dose": []}
    for name, (label, tone, dose) in CURVES.items():
        if curves.get(name):
            found["dose" if dose else "strength"].append(charts.Series(curves[name], label, tone))
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
    environment.filters |= {"number": words.number, "interval": words.interval, "label": words.label}
    return environment
