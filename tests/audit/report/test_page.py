"""The audit's page without a browser: what is in it, in which order, and that nothing in it can run or call."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_explain.audit.document import Document, Findings
from gan_explain.audit.report.page import embed, render_report
from gan_explain.audit.report.pictures import FAINTEST, encode
from gan_explain.audit.report.rows import COLUMNS, lines, used
from gan_explain.audit.report.words import bound, finite, interval, label, number, p_value, sentence
from gan_explain.audit.thresholds import Limit
from gan_explain.evaluate.samples import Sample
from gan_explain.metrics.measure import Measure
from gan_explain.types import Record

ATTACK = '"><img src=x onerror="alert(1)"></script><script>alert(2)</script>'
ADDRESSES = {"href", "src", "action", "formaction", "srcset", "data", "poster"}


class Page(HTMLParser):
    """Elements with their attributes in order, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.code: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in ("script", "style") and data.strip():
            self.code.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def render(audit: Any) -> str:
    return render_report(audit.document, audit.rows, audit.pictures)


def payload(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def decode(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as file:
        return np.asarray(file).astype(int)


def test_summary_and_verdict_come_first_and_every_section_is_there(audit: Any) -> None:
    page = render(audit)
    order = ["verdict", "curves", "viewer", "effects", "patients", "subgroups", "controls", "compare", "measures", "methods"]
    places = [page.index(f'<section id="{name}"') for name in order]
    assert places == sorted(places)
    assert page.index(audit.document.findings.summary[0]) < page.index("Responds to opacities in the lungs?") < places[1]
    assert {a["href"] for a in Page(page).of("a")} >= {f"#{name}" for name in order}


def test_numbers_of_the_document_are_on_the_page(audit: Any) -> None:
    page = render(audit)
    texts = ['0.480</b> <span class="ci">[0.390, 0.570]', "at least 0.750", "within ±0.050", "n = 91", "no judges were given"]
    texts += ["= 0.020 corrected", "no map was trained against this target", "−0.020", "something.new", "checkpoint:another less"]
    for text in texts:
        assert text in page, text


def test_same_input_gives_the_same_page(audit: Any) -> None:
    assert render(audit) == render(copy.deepcopy(audit))


def test_policy_allows_the_page_s_own_style_and_script_and_no_more(audit: Any) -> None:
    page = Page(render(audit))
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    style, _, script = page.code
    for kind, text in (("style-src", style), ("script-src", script)):
        assert f"{kind} 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert "eval(" not in script
    assert "innerHTML" not in script


def test_nothing_inline_and_no_address_leaves_the_page(audit: Any) -> None:
    for tag, attributes in Page(render(audit)).elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", (tag, name)
            if name in ADDRESSES:
                assert value is not None
                assert value.startswith("#") or value == "data:,", (tag, name, value)


def test_texts_of_others_stay_texts(audit: Any, audit_of: Callable[..., Any], document_of: Callable[..., Any]) -> None:
    attack = json.dumps(ATTACK)[1:-1]
    document = json.loads(json.dumps(audit.json).replace("made-up", attack).replace("nih", attack))
    poisoned = document["findings"]
    for part in ("why", "question", "id"):
        poisoned["verdict"][0][part] = ATTACK
    poisoned["subgroups"][0]["groups"] = {ATTACK: poisoned["subgroups"][0]["groups"]["F"]}
    poisoned["measures"][ATTACK] = {"value": None, "reason": ATTACK}
    poisoned["effects"][0]["name"] = poisoned["controls"][0]["what"] = poisoned["summary"][0] = ATTACK
    named = audit_of(names=[ATTACK, "javascript:alert(1)", "a/../../b</script>", "\u2028\u2029&amp;"])
    clean, page = Page(render(audit)), Page(render_report(document_of(document), named.rows, named.pictures))
    assert len(page.of("script")) == len(clean.of("script")) == 2
    assert page.of("img") == []
    assert {a["href"] for a in page.of("a")} == {a["href"] for a in clean.of("a")}


def test_data_block_cannot_be_ended() -> None:
    text = embed({"a": "</script><!--\u2028\u2029&", "b": [math.nan, math.inf, 1.5, True, None, 3]})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": "</script><!--\u2028\u2029&", "b": [None, None, 1.5, True, None, 3]}


def test_pictures_come_worst_first_and_decode_to_what_they_were(audit: Any) -> None:
    data = payload(render(audit))
    assert [p["name"]["rank"] for p in data["pictures"]] == sorted(p["name"]["rank"] for p in data["pictures"])
    for each in data["pictures"]:
        original = next(p for p in audit.pictures if p.id == each["id"])
        assert np.abs(decode(each["structure"]) - original.structure * 255).max() < 12  # JPEG
        assert np.abs(decode(each["layer"]) / 255 * each["white"] - original.layer).max() <= 0.51 * each["white"] / 255
        assert each["probability"] == pytest.approx(original.probability)


def test_layer_that_darkens_keeps_its_sign(audit: Any) -> None:
    picture = replace(audit.pictures[0], layer=-audit.pictures[0].layer)
    found = encode([picture], {"negative": [0.0] * 21}).pictures[0]
    assert found["signed"]
    assert np.abs((decode(found["layer"]) - 128) / 127 * found["white"] - picture.layer).max() <= 0.51 * found["white"] / 127


def test_full_colour_is_one_scale_and_never_for_a_faint_layer(audit: Any) -> None:
    strengths = {"negative": [0.0] * 20 + [1.5], "healed": [0.0] * 20 + [1.5]}
    layer = np.full((32, 32), 0.8, np.float32)
    assert encode([replace(p, layer=layer) for p in audit.pictures], strengths).scale == round(1 - math.exp(-1.2), 2)
    assert encode([replace(p, layer=layer / 100) for p in audit.pictures], strengths).scale == FAINTEST
    assert encode([], strengths).scale == FAINTEST


def test_pictures_shrink_until_they_fit_and_are_left_out_only_then(audit: Any) -> None:
    rng = np.random.default_rng(0)
    picture = replace(audit.pictures[0], structure=rng.random((200, 160), np.float32), layer=rng.random((200, 160), np.float32))
    strengths = {"negative": [0.0] * 21}
    whole = encode([picture] * 4, strengths)
    assert (whole.side, whole.left_out, whole.pictures[0]["width"], whole.pictures[0]["height"]) == (200, 0, 160, 200)
    size = sum(len(p["structure"]) + len(p["layer"]) for p in whole.pictures)
    smaller = encode([picture] * 4, strengths, size // 2)
    assert (smaller.side, smaller.left_out) == (128, 0)
    least = encode([picture] * 4, strengths, 20_000)
    assert (least.side, len(least.pictures) + least.left_out) == (64, 4)
    assert 0 < least.left_out < 4


@pytest.mark.slow
def test_two_hundred_large_patients_stay_below_15_mb(audit_of: Callable[..., Any]) -> None:
    audit = audit_of(200, 16)
    noise = np.random.default_rng(0).random((512, 512), np.float32)  # nothing compresses worse
    page = render_report(audit.document, audit.rows, [replace(p, structure=noise, layer=noise) for p in audit.pictures])
    assert len(page.encode()) < 15_000_000
    assert len(payload(page)["pictures"]) == 200


def test_page_of_nothing_but_a_target(audit: Any) -> None:
    page = render_report(Document(Findings(summary=("Nothing to say.",), curves=dict.fromkeys(("negative", "probe")))), [], [])
    assert "Nothing to say." in page
    assert 'id="viewer"' not in page
    assert payload(page)["pictures"] == []
    rows_only = render_report(replace(audit.document, compare=None), audit.rows, [])
    assert 'id="compare"' not in rows_only


@pytest.mark.parametrize("key", ["summary", "measures", "subgroups", "effects", "controls", "verdict", "provenance", "curves"])
def test_any_part_may_be_missing(audit: Any, document_of: Callable[..., Any], key: str) -> None:
    findings = {name: part for name, part in audit.json["findings"].items() if name != key}
    if key == "curves":
        findings["provenance"]["strengths"] = list(range(21))
    document = document_of({**audit.json, "findings": findings})
    assert "</html>" in render_report(document, audit.rows, audit.pictures)


def test_measures_without_a_value_anywhere(audit: Any, document_of: Callable[..., Any]) -> None:
    document = copy.deepcopy(audit.json)
    findings, none = document["findings"], {"value": None, "reason": "nobody looked"}
    findings["measures"] = dict.fromkeys(findings["measures"], none)
    for entry in findings["effects"]:
        entry.update(excess=none, positive=none, negative=none)
    for control in findings["controls"]:
        control.update(measure=none, ok=None)
    for check in (check for entry in findings["verdict"] for check in entry["checks"]):
        check.update(found=none, answer="abstain")
    findings["provenance"]["target"]["operating_point"] = None
    page = render_report(document_of(document), [replace(row, values={}) for row in audit.rows], [])
    assert "nobody looked" in page
    assert "None" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "nan" not in re.findall(r">([^<]*)<", page)


def test_picture_that_does_not_fit_is_refused(audit: Any) -> None:
    picture = audit.pictures[0]
    for broken, message in (
        (replace(picture, row=99), "expected a row from 0 to 11, got 99"),
        (replace(picture, probability=[0.1]), "expected 21 probabilities, got 1"),
        (replace(picture, layer=picture.layer[:5]), "expected structure and layer"),
        (replace(picture, layer=picture.layer * np.nan), "expected finite"),
    ):
        with pytest.raises(ValueError, match=message):
            render_report(audit.document, audit.rows, [broken])


def sample(patient: str, called: str = "", by: dict[str, str] | None = None, **values: float) -> Sample:
    found = {name.replace("__", "."): value for name, value in values.items()}
    return Sample(Record("", "", patient, ""), called=called, by=by or {}, values=found)


def test_rows_are_ranked_worst_first() -> None:
    rows = [
        sample("rises", rise=0.9), sample("positive", rise=math.nan, flip__healed=1.0),
        sample("never", rise=0.5, monotonicity__never_crosses=1.0), sample("little", rise=0.2),
        sample("ill for ever", flip__healed=0.0),
    ]  # fmt: skip
    found = lines(rows)
    assert [line.text["patient_id"] for line in found] == ["never", "little", "rises", "ill for ever", "positive"]
    assert [line.rank for line in found] == [1, 2, 3, 4, 5]
    assert found[0].text["crossing.lambda"] == "never"
    assert found[0].tags == ("never crosses",)
    assert found[3].text["flip.healed"] == "no"


def test_columns_that_say_nothing_are_left_out_and_those_asked_for_stand_after_called() -> None:
    found = lines([sample("a", "positive", {"sex": "F"}, p=0.5)], ["sex", "source"])
    assert [column.key for column in used(found, COLUMNS)] == ["patient_id", "called", "sex", "p"]
    assert found[0].text["called"] == "positive"


def test_words() -> None:
    assert (number(0.12345), number(-0.0004), number(-0.02), number(None), number(1234.5), number(123.45)) == (
        "0.123", "0.000", "−0.020", "–", "1,234", "123.5"
    )  # fmt: skip
    assert finite("nan") is None
    assert finite("0.5") == 0.5
    assert finite([1]) is None
    assert interval(Measure(1.0, None, 2.0)) == ""
    assert bound(Limit("x", "within", 0.05, "x")) == "within ±0.050"
    assert (p_value(0.0005), p_value(0.01)) == ("< 0.001", "= 0.010")
    assert label("rise.free") == "rise of p under real patients' disease, λ = 0 to 1 (free map)"
    assert label("who.knows") == "who.knows"
    assert sentence(["a", "b", "c"]) == "a, b and c"
