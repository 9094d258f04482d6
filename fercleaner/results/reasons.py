"""One sentence a face: what was decided about its label, and which evidence spoke, the strongest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..core.arrays import Bools, Doubles, Ints
from ..core.evidence import Evidence
from ..core.types import ActionUnits, Posteriors, Refinement, Samples
from ..methods.au_prior.tables import AuTable, prior, unit_name

#: Neighbors counted in the sentence.
COUNTED = 10
#: Pieces of evidence in a sentence at most.
MOST = 4
#: Odds under which evidence says too little to be named.
LEAST_ODDS = 1.5
#: Added to probabilities, and to counts of neighbors, before their odds are taken.
LEAST_PROBABILITY, HALF_A_NEIGHBOR = 0.01, 0.5
#: A given label with at most this probability is as good as ruled out, and that can be the thing to say.
RULED_OUT = 0.05
#: Least agreement (Cohen's kappa) of a source with the refined labels; about 0 by chance.
LEAST_KAPPA = 0.2
#: An action unit belongs to an expression that shows it in at least this share of subjects.
TYPICAL = 0.5
#: Probability from which on a unit can be called high, up to which it can be called missing, and the quantiles of
#: the set that it must reach, or stay within, as well.
HIGH, MISSING = 0.5, 0.1
HIGH_QUANTILE, MISSING_QUANTILE = 2 / 3, 1 / 3
#: A missing unit is worth a word where faces of the expression seldom miss it, and others more often by far.
SELDOM, FAR_ODDS = 0.05, 3.0
#: Units named in one piece of evidence at most.
UNITS = 3
#: Fewest measured faces: the quantiles of fewer say more about them than about the unit.
MEASURED = 50
#: Landmarks and expression disagree from this Jensen-Shannon divergence in bits on (a tenth of FER2013's faces), and
#: that is worth a word where one of them gives the given label at least this.
DISAGREE, LIKELY = 0.1, 0.3


class Question(NamedTuple):
    """What evidence is asked about M faces: does it speak for class `pro` or for class `con`?

    `rows` (M,) are the faces. Where a label was changed, `pro` is the refined class and `con` the given one; where
    it is only in `doubt` (M,), `con` is the given one and `pro` the likeliest other; where none was given (not
    `labeled`, (M,)), `pro` is the refined class and `con` the likeliest other.
    """

    rows: Ints
    pro: Ints
    con: Ints
    doubt: Bools
    labeled: Bools


class Statement(NamedTuple):
    """What one source says of the M faces of a `Question`.

    `strength` (M,) is a log of odds, 0 where it says nothing; `against` (M,) whether that contradicts the decision;
    `text` gives the words for the m-th face.
    """

    strength: Doubles
    against: Bools
    text: Callable[[int], str]


def reasons(evidence: Evidence, refinement: Refinement, table: Ints | None, no_evidence: Bools) -> list[str]:
    """Return a sentence for each face that calls for one: flagged, changed, kept for its class, unlabeled, or without
    evidence; else "".

        labeled sad; refined to happy (0.93); 9 of 10 nearest are happy; AU6+AU12 high; probe gives sad 0.02

    First come the given label and the decision, then up to `MOST` pieces of evidence, the strongest first. Their
    strength is the log of the odds that they give to what they name, and odds under `LEAST_ODDS` to 1 are not
    named; "but" marks what contradicts the decision. A source that does not know the face is not mentioned. What
    is said is what the evidence at hand says, whether or not the method weighed it.

    - Neighbors (`table`): how many of the `COUNTED` nearest labeled ones carry the class. Where nothing else is to be
      named, also how they are divided: "3 of 10 nearest are happy, 3 sad".
    - Posteriors by name, those at hand and those of the method's own sources: "probe says happy (0.95)", or "probe
      gives sad 0.02" where it decides for no class but rules the given one out. "probe" is out of fold. One that
      agrees with the refined labels of the set hardly more than chance would (Cohen's kappa under `LEAST_KAPPA`) is
      left out.
    - Action units: see `unit_statements`.
    - Landmarks against expression, where the method compares them (evidence "disagreement" of `landmark`):
      "landmarks give sad 0.60, expression 0.10".

    Parameters
    ----------
    evidence : Evidence
    refinement : Refinement
    table : (N, k) int64, optional
        Neighbors, as `named_neighbors.nearest_overall` gives them.

    no_evidence : (N,) bool
        Faces for which no view had anything to say. Where the views say why, so does the sentence: "no view of this
        face (truncated image)".

    Cost: about half a second for 30,000 faces of which a third have a sentence.
    """
    samples = evidence.samples
    silent = (no_evidence | _alone(evidence)) & ~_known_otherwise(evidence)
    speak = refinement.flagged | (refinement.label != samples.label) | silent | refinement.stays
    heads = _heads(evidence, refinement, silent)
    question = _question(samples, refinement, np.flatnonzero(speak & ~silent))
    counts = _label_counts(samples, table[question.rows]) if table is not None else None
    statements = _statements(evidence, refinement, counts, question)
    strength = np.stack([s.strength for s in statements]) if statements else np.zeros((0, len(question.rows)))
    order = np.argsort(-strength, axis=0, kind="stable")[:MOST].T.tolist()
    strong = (strength >= np.log(LEAST_ODDS)).T.tolist()
    texts = [""] * len(samples)
    for row in np.flatnonzero(speak & silent).tolist():
        texts[row] = heads(row)
    for m, row in enumerate(question.rows.tolist()):
        parts = [heads(row)]
        for s in order[m]:
            if strong[m][s]:
                but = "but " if statements[s].against[m] else ""
                parts.append(but + statements[s].text(m))
        if len(parts) == 1 and counts is not None and counts[m].any():
            parts.append(_divided(counts[m], samples.classes, int(question.pro[m]), int(question.con[m])))
        texts[row] = "; ".join(parts)
    return texts


def _heads(evidence: Evidence, refinement: Refinement, silent: Bools) -> Callable[[int], str]:
    """Return what gives the first words about a face: the given label and what became of it."""
    samples = evidence.samples
    classes, given, refined = samples.classes, samples.label, refinement.label
    share = refinement.distribution[np.arange(len(samples)), refined]
    stays = refinement.stays

    def head(row: int) -> str:
        note = samples.notes[row] if samples.notes is not None else ""
        first = f"labeled {classes[given[row]]}" if given[row] >= 0 else str(note) or "no label"
        if silent[row]:
            kept = ": the label is kept" if given[row] >= 0 else ""
            return f"{first}; {_why_silent(evidence, row)}" + kept
        if refined[row] != given[row]:
            return f"{first}; refined to {classes[refined[row]]} ({share[row]:.2f})"
        if stays[row]:
            return f"{first}; kept against the evidence, or no face would be {classes[given[row]]}"
        return f"{first}; in doubt, no other label is likelier"

    return head


def _why_silent(evidence: Evidence, row: int) -> str:
    """Return "no view of this face (truncated image)", with what the views noted of it; or that its group is alone."""
    group = evidence.samples.group
    if group is not None and any(view.found[row] for view in evidence.features.values()):
        if len(set(group.tolist())) == 1:
            return "all faces are in one group, and faces of one group never vote for each other"
        return "no face outside its group to compare it with"
    notes = [str(view.notes[row]) for view in evidence.features.values() if view.notes is not None]
    why = ", ".join(dict.fromkeys(filter(None, notes)))
    return f"no view of this face ({why})" if why else "no view of this face"


def _alone(evidence: Evidence) -> Bools:
    """Return which faces have no neighbor in any table, (N,), because all others are of their group."""
    tables = list(evidence.neighbors.values())
    if evidence.samples.group is None or not tables:
        return np.zeros(len(evidence.samples), dtype=np.bool_)
    alone: Bools = np.logical_and.reduce([(table.indices < 0).all(1) for table in tables])
    return alone


def _known_otherwise(evidence: Evidence) -> Bools:
    """Return which faces posteriors or action units know, (N,), whether or not a view does."""
    known = [table.found for table in (*evidence.posteriors.values(), evidence.action_units) if table is not None]
    result: Bools = np.logical_or.reduce([np.zeros(len(evidence.samples), dtype=np.bool_), *known])
    return result


def _question(samples: Samples, refinement: Refinement, rows: Ints) -> Question:
    given, refined = samples.label[rows], refinement.label[rows]
    others = refinement.distribution[rows].astype(np.float64)
    others[np.arange(len(rows)), refined] = -1.0
    runner_up = others.argmax(1)
    doubt, labeled = refined == given, given >= 0
    pro = np.where(doubt, runner_up, refined)
    con = np.where(labeled, given, runner_up)
    return Question(rows, pro, con, doubt, labeled)


def _statements(evidence: Evidence, refinement: Refinement, counts: Ints | None, question: Question) -> list[Statement]:
    """Return what each source at hand says; of equally strong ones the first here comes first in the sentence."""
    found: list[Statement] = []
    if counts is not None:
        found.append(_from_neighbors(counts, question, evidence.samples.classes))
    if evidence.action_units is not None:
        found.extend(unit_statements(evidence.action_units, _au_table(refinement), refinement, question))
    for name, posterior in sorted({**evidence.posteriors, **refinement.posteriors}.items()):
        if kappa(posterior, refinement.label) >= LEAST_KAPPA:
            found.append(_from_posterior(name, posterior, question))
    if {"disagreement", "expression", "landmarks"} <= refinement.evidence.keys():
        found.append(_from_spaces(refinement, question))
    return found


def weighed(support: Doubles, floor: float, question: Question) -> tuple[Ints, Doubles, Bools]:
    """Return the class to name (M,), the log odds (M,) in favor of saying it, and whether it contradicts (M,).

    The odds of two classes are (q_a + floor) / (q_b + floor), q being `support` (M, C), shares or counts. With t
    the class of most support (`pro` of equals):

    - t = pro: pro is named with the odds of pro to con. Of a changed label con is named instead where it is ruled
      out (a share of at most `RULED_OUT`) and pro has less than half.
    - t elsewhere: t is named, against the decision, with the odds of t to pro; but con, for it, where that is ruled
      out and the odds of pro to con are greater.
    - In doubt: t is named, with its odds to con, or against the doubt where it is con, with those to the next.
    """
    m = np.arange(len(support))
    total = support.sum(1)
    q = support / np.where(total > 0, total, 1.0)[:, None]
    pro, con = q[m, question.pro], q[m, question.con]
    top = np.where(pro >= q.max(1), question.pro, q.argmax(1))
    level = np.log(support + floor)
    leads = level[m, question.pro] - level[m, question.con]
    trails = level[m, top] - level[m, question.pro]
    agrees = top == question.pro
    ruled_out = question.labeled & (con <= RULED_OUT) & (top != question.con)
    by_con = ruled_out & np.where(agrees, pro < 0.5, leads > trails)
    named = np.where(by_con, question.con, top)
    strength = np.where(agrees | by_con, leads, trails)
    against = ~(agrees | by_con)

    rest = level.copy()
    rest[m, question.con] = -np.inf
    kept = top == question.con
    over_con = level[m, top] - np.where(kept, rest.max(1), level[m, question.con])
    named = np.where(question.doubt, top, named)
    strength = np.where(question.doubt, over_con, strength)
    against = np.where(question.doubt, kept, against)
    return named, np.where(total > 0, strength, 0.0), against


def _label_counts(samples: Samples, table: Ints) -> Ints:
    """Return how many of the `COUNTED` nearest labeled neighbors of each row of `table` carry each class, (M, C)."""
    label = samples.label
    speaks = (table >= 0) & (label[table] >= 0)
    speaks &= speaks.cumsum(1) <= COUNTED
    c = len(samples.classes)
    rows = np.broadcast_to(np.arange(len(table))[:, None], table.shape)
    flat = rows[speaks] * c + label[table[speaks]]
    return np.bincount(flat, minlength=len(table) * c).reshape(len(table), c).astype(np.int64)


def _from_neighbors(counts: Ints, question: Question, classes: Sequence[str]) -> Statement:
    named, strength, against = weighed(counts.astype(np.float64), HALF_A_NEIGHBOR, question)
    of = counts.sum(1)

    def text(m: int) -> str:
        return f"{counts[m, named[m]]} of {of[m]} nearest are {classes[named[m]]}"

    return Statement(strength, against, text)


def _divided(counts: Ints, classes: Sequence[str], pro: int, con: int) -> str:
    return f"{counts[pro]} of {counts.sum()} nearest are {classes[pro]}, {counts[con]} {classes[con]}"


def _from_posterior(name: str, posterior: Posteriors, question: Question) -> Statement:
    rows, classes = question.rows, posterior.classes
    values = np.where(posterior.found[rows, None], posterior.values[rows], 0.0).astype(np.float64)
    named, strength, against = weighed(values, LEAST_PROBABILITY, question)
    share = values[np.arange(len(rows)), named]
    rules_out = ~question.doubt & (named == question.con) & ~against

    def text(m: int) -> str:
        if rules_out[m]:
            return f"{name} gives {classes[named[m]]} {share[m]:.2f}"
        return f"{name} says {classes[named[m]]} ({share[m]:.2f})"

    return Statement(strength, against, text)


def kappa(posterior: Posteriors, label: Ints) -> float:
    """Return Cohen's kappa of a source's likeliest classes and `label` (N,) over the faces that it knows.

    (agreement - agreement by chance) / (1 - agreement by chance); 0 where chance alone agrees everywhere, or
    where it knows no face.
    """
    c, said, labels = len(posterior.classes), posterior.values[posterior.found].argmax(1), label[posterior.found]
    if not len(said):
        return 0.0
    chance = float(np.bincount(said, minlength=c) @ np.bincount(labels, minlength=c)) / len(said) ** 2
    return (float((said == labels).mean()) - chance) / (1.0 - chance) if chance < 1 else 0.0


def unit_statements(
    units: ActionUnits, table: AuTable, refinement: Refinement, question: Question
) -> tuple[Statement, ...]:
    """Return what action units say for and against each decision: "AU6+AU12 high", "no AU12".

    A unit is named for an expression that it is typical of: a rate of at least `TYPICAL` in `table`.

    - It is high on a face where its probability is at least `HIGH` and lies in the upper third of the measured
      faces. It is named, for class a against b, where it is high at least `LEAST_ODDS` times as often on measured
      faces refined to a as on those refined to b.
    - It is missing where its probability is at most `MISSING` and lies in the lower third. It is named, against
      class a, where at most `SELDOM` of the faces refined to a miss it and those refined to b do `FAR_ODDS` times
      as often.

    So a unit that the detector does not see, or that this set shows otherwise than the table says, is not named.
    The strength is the log of the greatest of these ratios times the quality of the measurement. At most `UNITS`
    high ones are named, those of the greatest ratios. The expression is added ("AU1+AU2 high as in surprise") where
    the sentence does not name it otherwise. With fewer than `MEASURED` measured faces nothing is said.
    """
    names = [unit_name(name) for name in units.names]
    columns = [i for i, name in enumerate(names) if name.startswith("AU") and name in table.units]
    columns.sort(key=lambda i: (len(names[i]), names[i]))
    if units.found.sum() < MEASURED or not columns:
        return ()
    names = [names[i] for i in columns]
    p = units.probability[:, columns].astype(np.float64)
    low, high = np.quantile(p[units.found], [MISSING_QUANTILE, HIGH_QUANTILE], axis=0)
    shown, missed = (p >= HIGH) & (p >= high), (p <= MISSING) & (p <= low)
    rates, _ = table.rows(refinement.classes)
    typical = rates[:, [table.units.index(name) for name in names]] >= TYPICAL
    showing, missing = (_log_shares(flags, refinement, units.found) for flags in (shown, missed))

    rows, known = question.rows, units.found[question.rows]
    quality = np.where(known, units.quality[rows], 0.0)

    def for_class(a: Ints, b: Ints) -> Doubles:
        ratio = showing[a] - showing[b]
        return np.where(shown[rows] & typical[a] & (ratio >= np.log(LEAST_ODDS)), ratio, 0.0)

    def against_class(a: Ints, b: Ints) -> Doubles:
        ratio = missing[b] - missing[a]
        seldom = (missing[a] <= np.log(SELDOM)) & (ratio >= np.log(FAR_ODDS))
        return np.where(missed[rows] & typical[a] & seldom, ratio, 0.0)

    pro, con, changed = question.pro, question.con, ~question.doubt
    # A missing unit is named only for classes that the sentence names: given ones, and refined ones.
    yes = for_class(pro, con), against_class(con, pro) * question.labeled[:, None]
    no = for_class(con, pro), against_class(pro, con) * changed[:, None]
    cases = ((yes, pro, question.doubt, False), (no, con, ~question.labeled, True))
    return tuple(
        Statement(
            quality * np.maximum(present.max(1), absent.max(1)),
            np.full(len(rows), against),
            _unit_words(names, present, absent, refinement.classes, about, unnamed),
        )
        for (present, absent), about, unnamed, against in cases
    )


def _log_shares(flags: Bools, refinement: Refinement, found: Bools) -> Doubles:
    """Return the log of how often each unit is flagged on measured faces refined to each class, (C, A).

    To the faces of each class one is added that stands for half a flagged and half an unflagged face more among all.
    """
    member = ((refinement.label[:, None] == np.arange(len(refinement.classes))) & found[:, None]).astype(np.float64)
    overall = (flags[found].sum(0) + 0.5) / (found.sum() + 1.0)
    result: Doubles = np.log((member.T @ flags + overall) / (member.sum(0)[:, None] + 1.0))
    return result


def _unit_words(
    names: Sequence[str], present: Doubles, absent: Doubles, classes: Sequence[str], about: Ints, unnamed: Bools
) -> Callable[[int], str]:
    def text(m: int) -> str:
        best = np.argsort(-present[m], kind="stable")[:UNITS]
        high = "+".join(names[a] for a in sorted(best.tolist()) if present[m, a] > 0)
        parts = [f"{high} high" + (f" as in {classes[about[m]]}" if unnamed[m] else "")] if high else []
        parts += [f"no {names[a]}" for a in np.flatnonzero(absent[m] > 0).tolist()[:UNITS]]
        return ", ".join(parts)

    return text


def _au_table(refinement: Refinement) -> AuTable:
    """Return the table that the method went by, or the one that methods use by default."""
    name = refinement.params.get("table") if refinement.method == "au-prior" else None
    return prior(str(name or "du2014"))


def _from_spaces(refinement: Refinement, question: Question) -> Statement:
    """Return where landmarks and expression differ about the given label; they cannot both support the decision."""
    apart, expression, landmarks = (
        refinement.evidence[name][question.rows].astype(np.float64)
        for name in ("disagreement", "expression", "landmarks")
    )
    odds = np.abs(np.log(landmarks + LEAST_PROBABILITY) - np.log(expression + LEAST_PROBABILITY))
    worth = question.labeled & (apart >= DISAGREE) & (np.fmax(expression, landmarks) >= LIKELY)
    strength = np.where(worth, odds, 0.0)
    given = question.con

    def text(m: int) -> str:
        return f"landmarks give {refinement.classes[given[m]]} {landmarks[m]:.2f}, expression {expression[m]:.2f}"

    return Statement(np.nan_to_num(strength), ~question.doubt, text)
