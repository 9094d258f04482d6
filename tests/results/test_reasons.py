"""The sentences about faces: against loops, and one by one as a reader meets them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_reasons import nearest, sentence

from fercleaner.core.evidence import Evidence
from fercleaner.core.types import ActionUnits, Features, Posteriors, Refinement, Samples
from fercleaner.methods.au_prior.tables import prior
from fercleaner.results.reasons import COUNTED, MOST, kappa, reasons

NAMES = ("anger", "happiness", "neutral", "sadness")
UNITS = ("AU4", "AU6", "AU12", "AU15", "AU25", "U")
SAD, HAPPY = [0, 0, 0, 1], [0, 1, 0, 0]


def make(seed, n=160, c=4, k=14):
    """Random evidence that is right more often than not, of all kinds, with gaps; and what the loops need of it."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, c, n)
    labeled = rng.random(n) > 0.2
    label = np.where(rng.random(n) < 0.6, truth, rng.integers(0, c, n))
    given = np.where(labeled[:, None], np.eye(c)[label], 0).astype(np.float32)
    ids = np.array([f"face {i:03d}" for i in range(n)])
    samples = Samples(ids, NAMES[:c], given, labeled, np.full(n, ""))
    sharp = rng.dirichlet(np.full(c, 0.5), n) + 0.6 * np.eye(c)[truth]
    spaces = {"disagreement": rng.random(n) * 0.3, "expression": rng.random(n), "landmarks": rng.random(n)}
    spaces = {name: np.where(labeled, values, np.nan).astype(np.float32) for name, values in spaces.items()}
    flagged = labeled & (rng.random(n) < 0.4)
    refinement = Refinement(
        ids, NAMES[:c], sharp / sharp.sum(1, keepdims=True), np.ones(n), np.ones(n), flagged, "any", {}, spaces
    )
    table = np.full((n, k), -1)
    for i in range(n):
        alike = [j for j in range(n) if j != i and (truth[j] == truth[i] or rng.random() < 0.2)]
        others = rng.permutation(alike)[: rng.integers(0, k + 1)]
        table[i, : len(others)] = others
    posteriors = {}
    for name, right in (("probe", 1.0), ("builtin", 2.0), ("nonsense", 0.0)):
        values = rng.dirichlet(np.full(c, 0.4), n) + right * np.eye(c)[truth]
        found = rng.random(n) < 0.8
        values = np.where(found[:, None], values / values.sum(1, keepdims=True), 0).astype(np.float32)
        posteriors[name] = Posteriors(name, ids, NAMES[:c], values, found)
    rates, _ = prior("du2014").rows(NAMES[:c])
    columns = [prior("du2014").units.index(name) for name in UNITS]
    active = rng.random((n, len(UNITS))) < rates[truth][:, columns]
    found = rng.random(n) < 0.8
    p = np.where(active, rng.uniform(0.4, 1, active.shape), rng.uniform(0, 0.3, active.shape)).astype(np.float32)
    units = ActionUnits(ids, UNITS, p * found[:, None], found, (rng.uniform(0.5, 1, n) * found).astype(np.float32))
    return samples, refinement, table, posteriors, units


def for_loops(units, refinement):
    """Return what `oracles_reasons.units_of` takes: names without "U", what is high, missing, typical."""
    names, p = UNITS[:-1], units.probability[:, :-1].astype(np.float64)
    low, high = np.quantile(p[units.found], [1 / 3, 2 / 3], axis=0)
    table = prior("du2014")
    typical = [[table.rows([c])[0][0, table.units.index(name)] >= 0.5 for name in names] for c in refinement.classes]
    shown, missed = ((p >= 0.5) & (p >= high)).tolist(), ((p <= 0.1) & (p <= low)).tolist()
    quality = units.quality.astype(np.float64).tolist()
    label = refinement.label.tolist()
    return names, p.tolist(), units.found.tolist(), quality, shown, missed, typical, label, refinement.classes


@pytest.mark.parametrize("seed", range(8))
def test_sentences_equal_the_loops(seed):
    samples, refinement, table, posteriors, units = make(seed, c=2 if seed == 7 else 4)
    texts = reasons(Evidence(samples, {}, {}, posteriors, None, units), refinement, table, np.zeros(160, dtype=bool))
    loops = for_loops(units, refinement)
    heard = ("builtin", "probe")
    expected = [
        sentence(
            i,
            samples.classes,
            samples.label.tolist(),
            refinement.distribution.astype(np.float64).tolist(),
            refinement.flagged.tolist(),
            [False] * 160,
            nearest(samples.label.tolist(), i, table[i].tolist(), len(samples.classes)),
            [
                (name, posteriors[name].values[i].astype(np.float64).tolist() if posteriors[name].found[i] else None)
                for name in heard
            ],
            loops,
            [float(refinement.evidence[name][i]) for name in ("disagreement", "expression", "landmarks")],
        )
        for i in range(160)
    ]
    assert texts == expected
    assert "" in texts
    assert COUNTED == 10
    together = " | ".join(texts)
    for words in (
        "nearest are",
        "probe says",
        "builtin says",
        " high",
        "but ",
        "in doubt",
        "landmarks give",
        "no label",
    ):
        assert words in together
    assert "nonsense" not in together
    assert max(text.count("; ") for text in texts) == 1 + MOST


def test_loops_meet_every_kind_of_sentence():
    texts = []
    for seed in range(8):
        samples, refinement, table, posteriors, units = make(seed)
        texts += reasons(Evidence(samples, {}, {}, posteriors, None, units), refinement, table, np.zeros(160, bool))
    together = " | ".join(texts)
    for words in ("probe gives", "no AU", "high as in", "but AU", "but landmarks", "but probe"):
        assert words in together, words


def small(given, refined, flagged=None, **fields):
    given = np.asarray(given, dtype=np.float32)
    n = len(given)
    ids = np.array([f"f{i}" for i in range(n)])
    samples = Samples(ids, NAMES, given, given.sum(1) > 0, np.full(n, ""), notes=fields.pop("notes", None))
    flags = np.zeros(n, dtype=bool) if flagged is None else np.asarray(flagged)
    refinement = Refinement(ids, NAMES, refined, np.ones(n), np.ones(n), flags, fields.pop("method", "any"), **fields)
    return samples, refinement


def source(name, samples, rows):
    values = np.asarray(rows, dtype=np.float32)
    return Posteriors(name, samples.ids, NAMES, values, values.sum(1) > 0)


def test_witnesses_of_the_method_are_named_too():
    samples, refinement = small([SAD, SAD, HAPPY, SAD], [HAPPY, HAPPY, HAPPY, SAD])
    own = source("probe", samples, [HAPPY, [0] * 4, HAPPY, SAD])
    answer = replace(refinement, posteriors={"probe": own})
    no_evidence = np.zeros(4, dtype=bool)
    texts = reasons(Evidence(samples), answer, None, no_evidence)
    assert texts[0] == "labeled sadness; refined to happiness (1.00); probe says happiness (1.00)"
    assert texts[1:] == reasons(Evidence(samples), refinement, None, no_evidence)[1:]


def test_the_first_words():
    given = [SAD, HAPPY, HAPPY, HAPPY, [0, 0, 0, 0], SAD, SAD]
    refined = [[0, 0.83, 0, 0.17], HAPPY, HAPPY, HAPPY, HAPPY, SAD, [0, 0.1, 0.42, 0.48]]
    notes = np.array(["", "", "", "", "cannot be read", "", ""])
    samples, refinement = small(given, refined, [True, False, False, False, False, False, True], notes=notes)
    table = np.array([[1, 2, 3, 5], [2, 3, 0, -1], [-1] * 4, [-1] * 4, [1, 2, -1, -1], [-1] * 4, [-1] * 4])
    no_evidence = np.array([False, False, False, False, False, True, False])
    assert reasons(Evidence(samples), refinement, table, no_evidence) == [
        "labeled sadness; refined to happiness (0.83); 3 of 4 nearest are happiness",
        "",
        "",
        "",
        "cannot be read; refined to happiness (1.00); 2 of 2 nearest are happiness",
        "labeled sadness; no view of this face: the label is kept",
        "labeled sadness; in doubt, no other label is likelier",
    ]
    doubt = [0.1, 0.4, 0.1, 0.4]
    samples, refinement = small([SAD, [0, 0, 0, 0]], [doubt, doubt])
    assert reasons(Evidence(samples), refinement, None, np.array([False, True])) == [
        "labeled sadness; refined to happiness (0.40)",
        "no label; no view of this face",
    ]


def test_neighbors_that_decide_nothing_are_told_as_divided():
    samples, refinement = small([SAD, SAD, HAPPY, [1, 0, 0, 0]], [HAPPY, SAD, HAPPY, [1, 0, 0, 0]])
    table = np.array([[1, 2, 3], [-1] * 3, [-1] * 3, [-1] * 3])
    text = reasons(Evidence(samples), refinement, table, np.zeros(4, dtype=bool))[0]
    assert text == "labeled sadness; refined to happiness (1.00); 1 of 3 nearest are happiness, 1 sadness"
    nobody = reasons(Evidence(samples), refinement, np.full((4, 3), -1), np.zeros(4, dtype=bool))[0]
    assert nobody == "labeled sadness; refined to happiness (1.00)"


def agreeing(rows, repeat=25):
    """Return given and refined rows of the faces to test, and behind them as many happy and sad ones as said."""
    return [row[0] for row in rows] + [HAPPY, SAD] * repeat, [row[1] for row in rows] + [HAPPY, SAD] * repeat


def test_posteriors_are_named_and_the_stronger_comes_first():
    given, refined = agreeing([(SAD, [0, 0.93, 0, 0.07]), (SAD, HAPPY), (SAD, HAPPY), (SAD, [0, 0.45, 0, 0.55])])
    samples, refinement = small(given, refined, [True] * 4 + [False] * 50)
    rest = [HAPPY, SAD] * 25
    posteriors = {
        "builtin": source("builtin", samples, [[0, 0.95, 0, 0.05], [0] * 4, [0.1, 0.1, 0.1, 0.7], HAPPY, *rest]),
        "probe": source(
            "probe",
            samples,
            [[0.3, 0.34, 0.34, 0.02], [0.4, 0.38, 0.2, 0.02], [0.1, 0.6, 0.1, 0.2], [0, 0.3, 0, 0.7], *rest],
        ),
    }
    texts = reasons(Evidence(samples, posteriors=posteriors), refinement, None, np.zeros(54, dtype=bool))
    assert texts[:4] == [
        # odds .96 / .06 of the one, .35 / .03 of the other
        "labeled sadness; refined to happiness (0.93); builtin says happiness (0.95); probe gives sadness 0.02",
        # anger is a little likelier than happiness there: what counts is that sadness is ruled out
        "labeled sadness; refined to happiness (1.00); probe gives sadness 0.02",
        "labeled sadness; refined to happiness (1.00); but builtin says sadness (0.70); probe says happiness (0.60)",
        "labeled sadness; in doubt, no other label is likelier; builtin says happiness (1.00); "
        "but probe says sadness (0.70)",
    ]
    assert texts[4:] == [""] * 50


def test_a_witness_that_agrees_by_chance_alone_is_not_heard():
    given, refined = agreeing([(SAD, HAPPY)])
    samples, refinement = small(given, refined)
    always_happy = source("builtin", samples, [HAPPY] * 51)
    swapped = source("builtin", samples, [HAPPY, *[SAD, HAPPY] * 25])
    for other in (always_happy, swapped):
        evidence = Evidence(samples, posteriors={"builtin": other})
        assert (
            reasons(evidence, refinement, None, np.zeros(51, dtype=bool))[0]
            == "labeled sadness; refined to happiness (1.00)"
        )
    assert kappa(always_happy, refinement.label) == 0
    assert kappa(swapped, refinement.label) < 0
    assert kappa(source("builtin", samples, [[0] * 4] * 51), refinement.label) == 0


def test_kappa_by_hand():
    samples, _ = small([SAD] * 5, [SAD] * 5)
    said = source("probe", samples, [HAPPY, HAPPY, SAD, SAD, [0, 0, 0, 0]])
    # 3 of 4 agree; by chance (2 x 1 + 2 x 3) / 16 = .5
    assert kappa(said, np.array([1, 3, 3, 3, 0])) == pytest.approx(0.5)


def measured(samples, rows, quality=1.0, names=("AU12", "au06", "15", "U")):
    values = np.asarray(rows, dtype=np.float32)
    n = len(values)
    return ActionUnits(samples.ids, names, values, np.ones(n, dtype=bool), np.full(n, quality, dtype=np.float32))


SMILE, FROWN, FLAT = [0.9, 0.8, 0.0, 0.9], [0.0, 0.0, 0.9, 0.9], [0.2, 0.2, 0.2, 0.9]


def with_units(rows, faces, quality=1.0, repeat=100, **fields):
    given, refined = agreeing(rows, repeat)
    samples, refinement = small(given, refined, [True] * len(rows) + [False] * 2 * repeat, **fields)
    units = measured(samples, [*faces, *[SMILE, FROWN] * repeat], quality)
    return reasons(Evidence(samples, action_units=units), refinement, None, np.zeros(len(given), bool))[: len(rows)]


def test_units_speak_for_and_against():
    doubt = [0, 0.45, 0, 0.55]
    none = [0, 0, 0, 0]
    rows = [(SAD, HAPPY), (HAPPY, SAD), (SAD, HAPPY), (SAD, doubt), (none, HAPPY), (SAD, HAPPY)]
    assert with_units(rows, [SMILE, SMILE, FROWN, SMILE, [0.9, 0.8, 0.9, 0.9], FLAT]) == [
        "labeled sadness; refined to happiness (1.00); AU6+AU12 high, no AU15",
        "labeled happiness; refined to sadness (1.00); but AU6+AU12 high, no AU15",
        "labeled sadness; refined to happiness (1.00); but AU15 high, no AU6, no AU12",
        "labeled sadness; in doubt, no other label is likelier; AU6+AU12 high as in happiness, no AU15",
        "no label; refined to happiness (1.00); AU6+AU12 high",
        "labeled sadness; refined to happiness (1.00)",
    ]


def test_units_weigh_as_much_as_they_are_trusted():
    assert "AU6+AU12 high" in with_units([(SAD, HAPPY)], [SMILE])[0]
    assert with_units([(SAD, HAPPY)], [SMILE], quality=0.05) == ["labeled sadness; refined to happiness (1.00)"]


def test_units_of_few_faces_and_of_no_use_say_nothing():
    plain = ["labeled sadness; refined to happiness (1.00)"]
    assert with_units([(SAD, HAPPY)], [SMILE], repeat=24) == plain  # 49 measured faces
    assert with_units([(SAD, HAPPY)], [SMILE], repeat=25) == [plain[0] + "; AU6+AU12 high, no AU15"]
    given, refined = agreeing([(SAD, HAPPY)])
    samples, refinement = small(given, refined)
    always = measured(samples, [SMILE] * 51)  # a base rate in place of a measurement
    assert reasons(Evidence(samples, action_units=always), refinement, None, np.zeros(51, bool))[:1] == plain
    strange = measured(samples, [SMILE] * 51, names=("AU98", "AU99", "x", "y"))
    assert reasons(Evidence(samples, action_units=strange), refinement, None, np.zeros(51, bool))[:1] == plain


def test_units_of_a_table_of_ones_own(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("expression,AU15,AU12\nhappiness,0.9,0.1\nsadness,0.1,0.9\n")
    rows, swapped = [(SAD, HAPPY)], [FROWN, *[FROWN, SMILE] * 25]
    given, refined = agreeing(rows)
    samples, refinement = small(given, refined, method="au-prior", params={"table": str(file)})
    evidence = Evidence(samples, action_units=measured(samples, swapped))
    text = reasons(evidence, refinement, None, np.zeros(51, bool))[0]
    assert text == "labeled sadness; refined to happiness (1.00); AU15 high, no AU12"


def test_a_face_that_no_view_knows_but_a_witness_does_is_not_called_unseen():
    given, refined = agreeing([(SAD, HAPPY), (SAD, SAD)])
    samples, refinement = small(given, refined)
    rest = [HAPPY, SAD] * 25
    evidence = Evidence(samples, posteriors={"probe": source("probe", samples, [HAPPY, [0] * 4, *rest])})
    no_evidence = np.arange(52) < 2
    assert reasons(evidence, refinement, None, no_evidence)[:2] == [
        "labeled sadness; refined to happiness (1.00); probe says happiness (1.00)",
        "labeled sadness; no view of this face: the label is kept",
    ]


def test_landmarks_against_expression():
    columns = {
        "disagreement": np.array([0.2, 0.05, 0.2, np.nan, 0.2], np.float32),
        "expression": np.array([0.1, 0.1, 0.05, np.nan, 0.6], np.float32),
        "landmarks": np.array([0.6, 0.6, 0.25, np.nan, 0.2], np.float32),
    }
    doubt = [0, 0.45, 0, 0.55]
    samples, refinement = small([SAD] * 5, [HAPPY] * 4 + [doubt], [True] * 5, method="landmark", evidence=columns)
    texts = reasons(Evidence(samples), refinement, None, np.zeros(5, dtype=bool))
    plain = "labeled sadness; refined to happiness (1.00)"
    assert texts == [
        plain + "; but landmarks give sadness 0.60, expression 0.10",
        plain,
        plain,
        plain,
        "labeled sadness; in doubt, no other label is likelier; landmarks give sadness 0.20, expression 0.60",
    ]


def test_a_unit_that_is_low_as_on_most_faces_is_not_called_missing():
    head = "labeled happiness; refined to sadness (1.00)"
    # A third of the faces have 0 there, so .05 is not in the lower third.
    assert with_units([(HAPPY, SAD)], [[0.05, 0.05, 0.2, 0.9]]) == [head]
    assert with_units([(HAPPY, SAD)], [[0.0, 0.05, 0.2, 0.9]]) == [head + "; no AU12"]


def test_a_face_that_nobody_saw_is_told_with_what_its_views_noted():
    given = [SAD, SAD, HAPPY, [0, 0, 0, 0]]
    samples, refinement = small(given, [SAD, SAD, HAPPY, HAPPY])

    def view(name, notes):
        notes = None if notes is None else np.array(notes)
        return Features(name, samples.ids, np.zeros((4, 2)), np.array([False, False, True, False]), {}, notes)

    views = {
        "clip": view("clip", ["truncated image", "file not found", "", "not an image"]),
        "hog": view("hog", ["truncated image", "", "", "no face found"]),
        "own": view("own", None),
    }
    no_evidence = np.array([True, True, False, True])
    assert reasons(Evidence(samples, features=views), refinement, None, no_evidence) == [
        "labeled sadness; no view of this face (truncated image): the label is kept",
        "labeled sadness; no view of this face (file not found): the label is kept",
        "",
        "no label; no view of this face (not an image, no face found)",
    ]


def test_a_label_kept_for_its_class_is_not_called_the_likeliest():
    """Led by its class after all (`Refinement.kept`), under any method and whether or not it is flagged."""
    given, refined = agreeing([(SAD, [0, 0.499, 0, 0.501]), (SAD, [0, 0.42, 0.1, 0.48]), (SAD, [0, 0.49, 0, 0.51])])
    samples, refinement = small(given, refined, [True, True] + [False] * 51)
    refinement = replace(refinement, kept=np.r_[0.3, 0.0, 0.2, np.zeros(50)].astype(np.float32))
    no_evidence = np.zeros(53, dtype=bool)
    stays = "labeled sadness; kept against the evidence, or no face would be sadness"
    assert reasons(Evidence(samples), refinement, None, no_evidence)[:4] == [
        stays, "labeled sadness; in doubt, no other label is likelier", stays, ""
    ]  # fmt: skip
