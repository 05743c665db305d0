"""The first thing a user reads: what the audit found, in plain sentences with their numbers, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gan_explain.audit.checks import UNKNOWN, Measures, check, movement
from gan_explain.audit.document import Answer, Beside, Check, Findings
from gan_explain.audit.thresholds import CONTROL, FREE_OUTSIDE, LEAST_EVIDENCE, READER, SHORTCUT, SPREAD
from gan_explain.audit.wording import interval, known, listed, number, percent, share
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.registry import Key

PARTS = {"border": "the border", "corners": "the corners", "text": "burned-in text"}  # regions that lie within `outside`
WORTH_NAMING = 0.1  # share of the outside's effect that a part of it must have to be named
SUBGROUP_LEVEL = 0.05  # a corrected p-value at or below it is named

Sentence = Callable[[Findings, Answer, str], str]


def summarise(findings: Findings) -> tuple[str, ...]:
    """Sentences: what fails, then what holds, then what stays open; last, what qualifies all of it."""
    spec, measures = str(findings.target["spec"]), findings.measures
    answers = {each.id: each for each in findings.verdict}
    if not movement(measures)[0]:
        return (_still(measures, spec),)
    order = [name for answer in ("fail", "pass", "abstain") for name in SENTENCES if answers[name].answer == answer]
    short = _in_short(answers, spec)
    lines = [SENTENCES[name](findings, answers[name], "It" if i or short else spec) for i, name in enumerate(order)]
    return (*short, *lines, *_statistic(findings), *_free(measures), *_control(measures), *_subgroups(findings))


def compared(first: Findings, beside: Beside) -> tuple[str, ...]:
    """Sentences on a second target beside the first: which questions they answer differently, and how far apart their curves
    are."""
    one, two = str(first.target["spec"]), str(beside.findings.target["spec"])
    answers = {each.id: each.answer for each in first.verdict}
    changed = [
        f"{each.question} {answers[each.id]} and {each.answer}"
        for each in beside.findings.verdict
        if each.answer != answers[each.id]
    ]
    said = f"Beside it, {two}: the same answers to every question."
    if changed:
        said = f"Beside it, {two} (answers of {one} and of {two}): {'; '.join(changed)}."
    curve = beside.difference
    if curve is None:
        return (said,)
    at = max(range(len(curve.x)), key=lambda i: -abs(curve.x[i] - 1))
    mean, low, high = (column[at] or 0.0 for column in (curve.mean, curve.low, curve.high))
    sign = 1 if mean >= 0 else -1
    ends = sorted((sign * low, sign * high))
    gap = interval(Measure(abs(mean), ends[0], ends[1]))
    return (
        said,
        f"At strength {number(curve.x[at])} of the same layers p of {two} is {'higher' if sign > 0 else 'lower'} by {gap}, "
        f"on {curve.n} images that both call negative.",
    )


def _in_short(answers: Mapping[str, Answer], who: str) -> list[str]:
    """The diagnosis of a target that is blind to opacities, where the audit found what it reads instead."""
    reads = []
    if _differs_by_source(answers["sources"]):
        reads.append("the source of a radiograph")
    if answers["outside"].answer == "fail":
        reads.append("what lies outside the lungs")
    if answers["opacities"].answer != "fail" or not reads:
        return []
    return [f"In short: the calls of {who} follow {listed(reads)}, not opacities in the lungs."]


def _differs_by_source(answer: Answer) -> bool:
    """Whether a target that is not right everywhere is surely worse in one source than in another, by one and the same rate."""
    rates: dict[str, list[Measure]] = {}
    for each in answer.checks:
        rates.setdefault(Key.parse(each.limit.measure).name, []).append(each.found)
    bounds = [
        [(each.low, each.high) for each in rate if each.low is not None and each.high is not None] for rate in rates.values()
    ]
    apart = any(max(low for low, _ in rate) > min(high for _, high in rate) for rate in bounds if rate)
    return bool(answer.answer == "fail" and apart)


def _open(question: str, answer: Answer, who: str) -> str:
    return f"Whether {'it' if who == 'It' else who} {question} stays open: {answer.why}."


def _still(measures: Measures, who: str) -> str:
    spread = check(SPREAD, measures.get(SPREAD.measure))
    if spread.answer != "fail":
        return f"Nothing is judged of {who}: {movement(measures)[1]}."
    return (
        f"{who} gives nearly the same answer whatever it is shown: the standard deviation of p over {spread.found.n} images is "
        f"{interval(spread.found)} (limit: at least {number(SPREAD.threshold)}). There is nothing to judge or to explain."
    )


def _opacities(findings: Findings, answer: Answer, who: str) -> str:
    if answer.answer == "abstain":
        return _open("responds to opacities in the lungs", answer, who)
    rises, slope = answer.checks
    if None in (rises.found.value, slope.found.value):
        return f"{who} does not respond to opacities in the lungs: {answer.why}."
    numbers = (
        f"with opacities rendered into them, p rises in {share(rises.found)} of {rises.found.n} images, "
        f"by {interval(slope.found)} per unit of dose"
    )
    if answer.answer == "pass":
        return f"{who} responds to opacities in the lungs: {numbers}."
    limit = f"(limit: at least {percent(rises.limit.threshold)} % and {number(slope.limit.threshold)})"
    if slope.found.high is not None and slope.found.high < 0:
        found = "takes opacities in the lungs for a sign of health"
    elif rises.answer == "pass":
        found = "responds only faintly to opacities in the lungs"
    elif slope.answer == "pass":
        found = "responds to opacities in the lungs in some images only"
    else:
        found = "does not respond to opacities in the lungs"
    return f"{who} {found}: {numbers} {limit}."


def _outside(findings: Findings, answer: Answer, who: str) -> str:
    if answer.answer == "abstain":
        return _open("ignores what lies outside the lungs", answer, who)
    shortcut = answer.checks[0]
    if answer.answer == "fail" and shortcut.answer != "fail":
        return f"{who} can be moved from outside the lungs: {answer.why}."
    regions = {each.name: each.excess for each in findings.effects if each.kind == "region"}
    inside = f"; its lungs alone by {interval(regions['lungs'])}" if regions.get("lungs", UNKNOWN).value is not None else ""
    images = f"({shortcut.found.n} images"
    if answer.answer == "pass":
        return (
            f"{who} ignores what lies outside the lungs: with the lungs held, the outside of a positive changes p by "
            f"{interval(shortcut.found)} beyond what that of a negative does {images}){inside}."
        )
    way, than = ("raises", "more than") if known(shortcut.found) > 0 else ("changes", "beside")
    least = WORTH_NAMING * abs(known(shortcut.found))
    named = [name for name in regions if name in PARTS and (regions[name].low or 0) > 0 and known(regions[name]) >= least]
    most = f". Of its parts most by {PARTS[named[0]]}, {interval(regions[named[0]])}" if named else ""
    return (
        f"{who} reads what lies outside the lungs: with the lungs held, the outside of a positive {way} p by "
        f"{interval(shortcut.found)} {than} that of a negative {images}; at most {number(SHORTCUT.threshold)} allowed)"
        f"{inside}{most}."
    )


def _sources(findings: Findings, answer: Answer, who: str) -> str:
    if answer.answer == "abstain":
        return _open("is right in every source", answer, who)
    if answer.answer == "pass":
        least = min(answer.checks, key=lambda each: known(each.found))
        return f"{who} is right in every source: lowest is {_rate(least, ',')}."
    broken = [_rate(each, " is") for each in answer.checks if each.answer == "fail"]
    at = percent(answer.checks[0].limit.threshold)
    return f"{who} is not right in every source: {listed(broken)} (limit: at least {at} %)."


def _rate(each: Check, between: str) -> str:
    return f"{each.limit.words}{between} {share(each.found)} of {each.found.n}"


def _informed(findings: Findings, answer: Answer, who: str) -> str:
    if answer.answer == "abstain":
        return _open("tells the labels of these images apart", answer, who)
    area = answer.checks[-1]
    if answer.answer == "pass":
        return f"{who} tells the labels apart: AUROC {interval(area.found)} over {area.found.n} images."
    return f"{who} does not tell the labels of these images apart: {answer.why}."


def _disease(findings: Findings, answer: Answer, who: str) -> str:
    return _follows(answer, who, "rises when real patients' disease is laid on", "a random smooth layer of equal load does")


def _healing(findings: Findings, answer: Answer, who: str) -> str:
    return _follows(answer, who, "falls when the disease is taken off", "taking a random smooth layer of equal load off does")


def _follows(answer: Answer, who: str, what: str, null: str) -> str:
    """Whether p follows the disease: in how many images, by how much, by how much more than under the null."""
    if answer.answer == "abstain":
        return f"Whether p of {'it' if who == 'It' else who} {what} stays open: {answer.why}."
    change, share_, excess = answer.checks
    if None in (change.found.value, share_.found.value, excess.found.value):
        return f"{who} does not follow the disease: {answer.why}."
    way, _, when = what.partition(" ")
    numbers = (
        f"p {way} in {share(share_.found)} of {share_.found.n} images, by {interval(change.found)} on average, "
        f"{_beyond(excess.found)} than {null}"
    )
    if answer.answer == "pass":
        return f"{who} follows the disease: {when}, {numbers}."
    enough = change.answer != "fail" and share_.answer != "fail"
    found = "hardly follows" if (change.found.low or 0) > 0 and not enough else "does not follow"
    tail = " It answers to disease as to any haze: what moves it is the load, not the shape." if enough else ""
    at = f"at least {percent(share_.limit.threshold)} % and {number(change.limit.threshold)}, more than the random layer"
    thing = "the shape of disease" if enough else "the disease"
    return f"{who} {found} {thing}: {when}, {numbers} (limit: {at}).{tail}"


def _beyond(excess: Measure) -> str:
    """0.12 [0.10, 0.14] more; 0.12 [0.10, 0.14] less, where it is below 0."""
    if known(excess) >= 0:
        return f"{interval(excess)} more"
    low, high = (None if end is None else -end for end in (excess.high, excess.low))
    return f"{interval(Measure(-known(excess), low, high))} less"


def _monotone(findings: Findings, answer: Answer, who: str) -> str:
    if answer.answer == "abstain":
        return _open("rises steadily as the disease is turned up", answer, who)
    if answer.answer == "fail":
        return f"{who} does not rise steadily as the disease is turned up: {answer.why}."
    rho = answer.checks[0]
    return f"{who} rises steadily as the disease is turned up: Spearman's rho is {interval(rho.found)} over {rho.found.n} images."


def _explanation(findings: Findings, answer: Answer, who: str) -> str:
    which = "The explanation" if who == "It" else f"The explanation of {who}"
    if answer.answer == "abstain":
        return f"Whether {which[0].lower()}{which[1:]} can be trusted stays open: {answer.why}."
    if answer.answer == "fail":
        return f"{which} should not be trusted: {answer.why}."
    rho = next(each.found for each in answer.checks if each.limit.measure == READER.measure)
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


def _statistic(findings: Findings) -> list[str]:
    """The image statistic that moves the target most, where one does."""
    found = [each for each in findings.effects if each.kind == "statistic"]
    if not found or (found[0].excess.low or 0) <= LEAST_EVIDENCE:
        return []
    name = found[0].name.replace("_", " ")
    return [f"Of the statistics of an image its {name} moves it most: matched to a positive's, by {interval(found[0].excess)}."]


def _free(measures: Measures) -> list[str]:
    """What real disease does, and what a map does that was trained against the target and may act anywhere."""
    names = ("flip.negative", "flip.negative.free", FREE_OUTSIDE.measure)
    real, free, outside = (measures.get(name, UNKNOWN) for name in names)
    if None in (real.value, free.value, outside.value):
        return []
    return [
        f"Real patients' disease turns {share(real)} of the negatives positive, a free map trained against the target "
        f"{share(free)}; {share(outside)} of the free map's effect comes from outside the lungs."
    ]


def _control(measures: Measures) -> list[str]:
    """Whether the audit found the shortcut that was planted for it to find."""
    named, score = measures.get(CONTROL, UNKNOWN).value, measures.get("control.marker.shortcut", UNKNOWN)
    if named is None or score.value is None:
        return []
    verb = "was found and named" if named >= 1 else "was not named"
    return [f"Control: a marker planted as a shortcut {verb} (score {interval(score)})."]


def _subgroups(findings: Findings) -> list[str]:
    tested = [(each.column, each.p_corrected) for each in findings.subgroups if each.p_corrected is not None]
    apart = [f"{column} (p {_p(p)})" for column, p in tested if p <= SUBGROUP_LEVEL]
    alike = [column for column, p in tested if p > SUBGROUP_LEVEL]
    lines = [f"The response differs by {listed(apart)}, corrected for {len(tested)} tests."] if apart else []
    return lines + ([f"No difference of the response by {listed(alike, 'or')} was found."] if alike else [])


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
