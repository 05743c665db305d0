"""The first thing a user reads: what the audit found, in plain sentences with their numbers, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gan_explain.audit.checks import Measures, check, movement
from gan_explain.audit.thresholds import CONTROL, LEAST_EVIDENCE, SHORTCUT, SPREAD
from gan_explain.audit.wording import interval, listed, number, percent, share

PARTS = {"border": "the border", "corners": "the corners", "text": "burned-in text"}  # regions that lie within `outside`
WORTH_NAMING = 0.1  # share of the outside's effect that a part of it must have to be named
SUBGROUP_LEVEL = 0.05  # a corrected p-value at or below it is named

Entry = Mapping[str, Any]
Sentence = Callable[[Mapping[str, Any], Entry, str], str]


def summarise(document: Mapping[str, Any]) -> list[str]:
    """Sentences for an audit document: what fails, then what holds, then what stays open; last, what qualifies all of it.

    Reads provenance.target.spec, measures and verdict and, where they are there, evidence and subgroups.
    """
    spec, measures = str(document["provenance"]["target"]["spec"]), document["measures"]
    answers: dict[str, Entry] = {each["id"]: each for each in document["verdict"]}
    if not movement(measures)[0]:
        return [_still(measures, spec)]
    order = [name for answer in ("fail", "pass", "abstain") for name in SENTENCES if answers[name]["answer"] == answer]
    short = _in_short(answers, spec)
    lines = [SENTENCES[name](document, answers[name], "It" if i or short else spec) for i, name in enumerate(order)]
    return [
        *short,
        *lines,
        *_statistic(document),
        *_free(measures),
        *_control(measures),
        *_subgroups(document),
    ]


def compared(document: Mapping[str, Any]) -> list[str]:
    """Sentences on a second target beside the first: which questions they answer differently, and how far apart their curves are.

    Reads compare.target.spec, compare.verdict and compare.difference too.
    """
    other = document["compare"]
    first, second = str(document["provenance"]["target"]["spec"]), str(other["target"]["spec"])
    answers = {each["id"]: each["answer"] for each in document["verdict"]}
    changed = [
        f"{each['question']} {answers[each['id']]} and {each['answer']}"
        for each in other["verdict"]
        if each["answer"] != answers[each["id"]]
    ]
    lines = [f"Beside it, {second}: the same answers to every question."]
    if changed:
        lines = [f"Beside it, {second} (answers of {first} and of {second}): {'; '.join(changed)}."]
    curve = other["difference"]
    if curve is not None:
        at = max(range(len(curve["x"])), key=lambda i: -abs(curve["x"][i] - 1))
        sign = 1 if curve["mean"][at] >= 0 else -1
        ends = sorted((sign * curve["low"][at], sign * curve["high"][at]))
        gap, way = {"value": abs(curve["mean"][at]), "low": ends[0], "high": ends[1]}, "higher" if sign > 0 else "lower"
        lines.append(
            f"At strength {number(curve['x'][at])} of the same layers p of {second} is {way} by {interval(gap)}, "
            f"on {curve['n']} images that both call negative."
        )
    return lines


def _in_short(answers: Mapping[str, Entry], who: str) -> list[str]:
    """The diagnosis of a target that is blind to opacities, where the audit found what it reads instead."""
    reads = []
    if _differs_by_source(answers["sources"]):
        reads.append("the source of a radiograph")
    if answers["outside"]["answer"] == "fail":
        reads.append("what lies outside the lungs")
    if answers["opacities"]["answer"] != "fail" or not reads:
        return []
    return [f"In short: the calls of {who} follow {listed(reads)}, not opacities in the lungs."]


def _differs_by_source(answer: Entry) -> bool:
    """Whether a target that is not right everywhere is surely worse in one source than in another, by one and the same rate."""
    rates: dict[str, list[Entry]] = {}
    for each in answer["checks"]:
        rates.setdefault(each["measure"].partition("[")[0], []).append(each)
    sure = [[each for each in rate if each["low"] is not None] for rate in rates.values()]
    apart = any(max(each["low"] for each in rate) > min(each["high"] for each in rate) for rate in sure if rate)
    return bool(answer["answer"] == "fail" and apart)


def _open(question: str, answer: Entry, who: str) -> str:
    return f"Whether {'it' if who == 'It' else who} {question} stays open: {answer['why']}."


def _still(measures: Measures, who: str) -> str:
    spread = check(SPREAD, measures.get(SPREAD.measure))
    if spread["answer"] != "fail":
        return f"Nothing is judged of {who}: {movement(measures)[1]}."
    return (
        f"{who} gives nearly the same answer whatever it is shown: the standard deviation of p over {spread['n']} images is "
        f"{interval(spread)} (asked: at least {number(SPREAD.threshold)}). There is nothing to judge or to explain."
    )


def _opacities(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    if answer["answer"] == "abstain":
        return _open("responds to opacities in the lungs", answer, who)
    rises, slope = answer["checks"]
    if None in (rises["value"], slope["value"]):
        return f"{who} does not respond to opacities in the lungs as asked: {answer['why']}."
    numbers = (
        f"with opacities rendered into them, p rises in {share(rises)} of {rises['n']} images, "
        f"by {interval(slope)} per unit of dose"
    )
    if answer["answer"] == "pass":
        return f"{who} responds to opacities in the lungs: {numbers}."
    asked = f"(asked: at least {percent(rises['threshold'])} % and {number(slope['threshold'])})"
    if slope["high"] is not None and slope["high"] < 0:
        found = "takes opacities in the lungs for a sign of health"
    elif rises["answer"] == "pass":
        found = "responds only faintly to opacities in the lungs"
    elif slope["answer"] == "pass":
        found = "responds to opacities in the lungs in some images only"
    else:
        found = "does not respond to opacities in the lungs"
    return f"{who} {found}: {numbers} {asked}."


def _outside(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    if answer["answer"] == "abstain":
        return _open("ignores what lies outside the lungs", answer, who)
    shortcut = answer["checks"][0]
    if answer["answer"] == "fail" and shortcut["answer"] != "fail":
        return f"{who} can be moved from outside the lungs: {answer['why']}."
    regions = {each["name"]: each["excess"] for each in document.get("evidence", ()) if each["kind"] == "region"}
    inside = f"; its lungs alone by {interval(regions['lungs'])}" if regions.get("lungs", {}).get("value") is not None else ""
    images = f"({shortcut['n']} images"
    if answer["answer"] == "pass":
        return (
            f"{who} ignores what lies outside the lungs: with the lungs held, the outside of a positive changes p by "
            f"{interval(shortcut)} beyond what that of a negative does {images}){inside}."
        )
    way, than = ("raises", "more than") if shortcut["value"] > 0 else ("changes", "beside")
    least = WORTH_NAMING * abs(shortcut["value"])
    named = [
        name for name in regions if name in PARTS and (regions[name].get("low") or 0) > 0 and regions[name]["value"] >= least
    ]
    most = f". Of its parts most by {PARTS[named[0]]}, {interval(regions[named[0]])}" if named else ""
    return (
        f"{who} reads what lies outside the lungs: with the lungs held, the outside of a positive {way} p by "
        f"{interval(shortcut)} {than} that of a negative {images}; at most {number(SHORTCUT.threshold)} allowed){inside}{most}."
    )


def _sources(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    if answer["answer"] == "abstain":
        return _open("is right in every source", answer, who)
    if answer["answer"] == "pass":
        least = min(answer["checks"], key=lambda each: float(each["value"]))
        return f"{who} is right in every source: lowest is {least['words']}, {share(least)} of {least['n']}."
    broken = [f"{each['words']} is {share(each)} of {each['n']}" for each in answer["checks"] if each["answer"] == "fail"]
    return (
        f"{who} is not right in every source: {listed(broken)} (asked: at least {percent(answer['checks'][0]['threshold'])} %)."
    )


def _informed(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    if answer["answer"] == "abstain":
        return _open("tells the labels of these images apart", answer, who)
    area = answer["checks"][-1]
    if answer["answer"] == "pass":
        return f"{who} tells the labels apart: AUROC {interval(area)} over {area['n']} images."
    return f"{who} does not tell the labels of these images apart: {answer['why']}."


def _disease(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    return _follows(answer, who, "rises when real patients' disease is laid on", "a random smooth layer of equal load does")


def _healing(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    return _follows(answer, who, "falls when the disease is taken off", "taking a random smooth layer of equal load off does")


def _follows(answer: Entry, who: str, what: str, null: str) -> str:
    """Whether p follows the disease: in how many images, by how much, by how much more than under the null."""
    if answer["answer"] == "abstain":
        return f"Whether p of {'it' if who == 'It' else who} {what} stays open: {answer['why']}."
    change, share_, excess = answer["checks"]
    if None in (change["value"], share_["value"], excess["value"]):
        return f"{who} does not follow the disease as asked: {answer['why']}."
    way, _, when = what.partition(" ")
    numbers = (
        f"p {way} in {share(share_)} of {share_['n']} images, by {interval(change)} on average, {_beyond(excess)} than {null}"
    )
    if answer["answer"] == "pass":
        return f"{who} follows the disease: {when}, {numbers}."
    enough = change["answer"] != "fail" and share_["answer"] != "fail"
    found = "hardly follows" if (change["low"] or 0) > 0 and not enough else "does not follow"
    tail = " It answers to disease as to any haze: what moves it is the load, not the shape." if enough else ""
    asked = f"(asked: at least {percent(share_['threshold'])} % and {number(change['threshold'])}, more than the random layer)"
    thing = "the shape of disease" if enough else "the disease"
    return f"{who} {found} {thing}: {when}, {numbers} {asked}.{tail}"


def _beyond(excess: Entry) -> str:
    """0.12 [0.10, 0.14] more; 0.12 [0.10, 0.14] less, where it is below 0."""
    if excess["value"] >= 0:
        return f"{interval(excess)} more"
    low, high = (None if excess[end] is None else -excess[end] for end in ("high", "low"))
    return f"{interval({'value': -excess['value'], 'low': low, 'high': high})} less"


def _monotone(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    if answer["answer"] == "abstain":
        return _open("rises steadily as the disease is turned up", answer, who)
    if answer["answer"] == "fail":
        return f"{who} does not rise steadily as the disease is turned up: {answer['why']}."
    rho = answer["checks"][0]
    return f"{who} rises steadily as the disease is turned up: Spearman's rho is {interval(rho)} over {rho['n']} images."


def _explanation(document: Mapping[str, Any], answer: Entry, who: str) -> str:
    which = "The explanation" if who == "It" else f"The explanation of {who}"
    if answer["answer"] == "abstain":
        return f"Whether {which[0].lower()}{which[1:]} can be trusted stays open: {answer['why']}."
    if answer["answer"] == "fail":
        return f"{which} should not be trusted: {answer['why']}."
    rho = next(each for each in answer["checks"] if each["measure"] == "reader.veils.rho")
    return (
        f"{which} passes its checks: both ends are the image itself, the load that is read follows the load that is rendered "
        f"(Spearman's rho {interval(rho)}), other networks see the disease too, and flips persist."
    )


SENTENCES: Mapping[str, Sentence] = {
    "disease": _disease,
    "healing": _healing,
    "opacities": _opacities,
    "outside": _outside,
    "sources": _sources,
    "informed": _informed,
    "monotone": _monotone,
    "explanation": _explanation,
}


def _statistic(document: Mapping[str, Any]) -> list[str]:
    """The image statistic that moves the target most, where one does."""
    found = [each for each in document.get("evidence", ()) if each["kind"] == "statistic"]
    if not found or (found[0]["excess"].get("low") or 0) <= LEAST_EVIDENCE:
        return []
    name = found[0]["name"].replace("_", " ")
    return [
        f"Of the statistics of an image its {name} moves it most: matched to a positive's, by {interval(found[0]['excess'])}."
    ]


def _free(measures: Measures) -> list[str]:
    """What real disease does, and what a map does that was trained against the target and may act anywhere."""
    real, free, outside = (measures.get(name, {}) for name in ("flip.negative", "flip.negative.free", "free.outside_share"))
    if any(each.get("value") is None for each in (real, free, outside)):
        return []
    return [
        f"Real patients' disease turns {share(real)} of the negatives positive, a free map trained against the target "
        f"{share(free)}; {share(outside)} of the free map's effect comes from outside the lungs."
    ]


def _control(measures: Measures) -> list[str]:
    """Whether the audit found the shortcut that was planted for it to find."""
    named, score = measures.get(CONTROL, {}).get("value"), measures.get("control.marker.shortcut", {})
    if named is None or score.get("value") is None:
        return []
    verb = "was found and named" if named >= 1 else "was not named"
    return [f"Control: a marker planted as a shortcut {verb} (score {interval(score)})."]


def _subgroups(document: Mapping[str, Any]) -> list[str]:
    tested = [each for each in document.get("subgroups", ()) if each["p_corrected"] is not None]
    apart = [f"{each['column']} (p {_p(each['p_corrected'])})" for each in tested if each["p_corrected"] <= SUBGROUP_LEVEL]
    alike = [str(each["column"]) for each in tested if each["p_corrected"] > SUBGROUP_LEVEL]
    lines = [f"The response differs by {listed(apart)}, corrected for {len(tested)} tests."] if apart else []
    return lines + ([f"No difference of the response by {listed(alike, 'or')} was found."] if alike else [])


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
