"""The AU prior: tables, by-hand vectors, loops, and who is left to the label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import oracles_au_prior as oracle
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.expressions import COMPOUND
from fercleaner.core.numeric import softmax
from fercleaner.core.types import ActionUnits, Samples
from fercleaner.methods.au_prior.au_prior import AuPrior, fused
from fercleaner.methods.au_prior.inference import (
    adapted_rates,
    matched_to,
    mixed,
    region_numbers,
    regions,
    transfer_share,
    unit_evidence,
)
from fercleaner.methods.au_prior.tables import AuTable, prior, read_prior, unit_name
from fercleaner.methods.generated import make_evidence, with_class_order

EIGHT = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
UNITS = tuple(f"AU{unit}" for unit in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26))
TABLE = """
neutral .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05 .05
happiness .10 .10 .10 .10 .51 .10 .10 .10 .10 .85 .10 .10 .10 .10 .10 .10 .85 .10
sadness .60 .10 .85 .10 .50 .10 .10 .10 .26 .10 .10 .85 .67 .10 .10 .10 .10 .10
surprise .85 .85 .10 .66 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .10 .85 .85
fear .85 .57 .85 .63 .10 .10 .10 .10 .10 .10 .10 .10 .10 .85 .10 .10 .85 .33
disgust .10 .10 .31 .10 .10 .10 .85 .85 .10 .10 .10 .10 .85 .10 .10 .26 .10 .10
anger .10 .10 .85 .10 .10 .85 .10 .26 .10 .10 .10 .10 .52 .10 .29 .85 .10 .10
contempt .10 .10 .10 .10 .10 .10 .10 .10 .10 .50 .85 .10 .10 .10 .10 .10 .10 .10
"""
BASE = [0.344, 0.246, 0.401, 0.230, 0.195, 0.188, 0.188, 0.208, 0.114]
BASE += [0.238, 0.188, 0.188, 0.311, 0.188, 0.117, 0.208, 0.375, 0.216]


@pytest.fixture(scope="module")
def pi() -> np.ndarray:
    return np.array([[float(cell) for cell in line.split()[1:]] for line in TABLE.strip().splitlines()])


def face(rest: float | np.ndarray, **active: float) -> np.ndarray:
    """Return p (1, 18) with the named units (AU12=...) and `rest` elsewhere."""
    p = np.broadcast_to(rest, 18).astype(float).copy()
    for unit, value in active.items():
        p[UNITS.index(unit)] = value
    return p[None]


def test_du2014_is_the_published_table(pi):
    table = prior("du2014")
    rates, known = table.rows(EIGHT)
    assert known.all()
    assert table.units == (*UNITS, "U")
    np.testing.assert_allclose(rates[:, :18], pi, atol=1e-12)
    np.testing.assert_allclose(rates[:, 18], [0.05, *[0.10] * 6, 0.75])
    base = table.base_rates(EIGHT)
    np.testing.assert_allclose([base[unit] for unit in UNITS], BASE, atol=6e-4)
    compound, all_known = table.rows(COMPOUND)
    assert all_known.all()
    assert len(table.expressions) == 23
    row = dict(zip(table.units, compound[COMPOUND.index("sadly disgusted")], strict=True))
    listed = {4: 0.85, 10: 0.85, 1: 0.49, 6: 0.61, 9: 0.20, 11: 0.35, 15: 0.54, 17: 0.47, 25: 0.43}
    assert row == {u: listed.get(int(u[2:]) if u != "U" else 0, 0.10) for u in table.units}
    row = dict(zip(table.units, compound[COMPOUND.index("happily surprised")], strict=True))
    assert [row[f"AU{u}"] for u in (1, 2, 12, 25, 5, 26, 4)] == [0.85, 0.85, 0.85, 0.85, 0.64, 0.67, 0.10]


def test_zhang2018_has_the_centers_of_the_ranges():
    table = prior("zhang2018")
    rates, known = table.rows(("anger", "neutral", "contempt"))
    assert known.tolist() == [True, True, False]
    row = dict(zip(table.units, rates[0], strict=True))
    expected = {4: 0.875, 5: 0.875, 23: 0.875, 24: 0.875, 7: 0.625, 17: 0.625}
    assert len(row) == 17
    assert row == {u: expected.get(int(u[2:]), 0.125) for u in table.units}
    assert (rates[1] == 0.125).all()
    assert not rates[2].any()
    counts = {(0.875, 0.625)[i]: (table.rates == (0.875, 0.625)[i]).sum() for i in range(2)}
    assert counts == {0.875: 5 + 6 + 2 + 2 + 3 + 4, 0.625: 1 + 2 + 2 + 2 + 3 + 2}


def test_base_rates_follow_the_class_shares(pi):
    base = prior("du2014").base_rates(("happy", "neutral", "smirk"), [0.75, 0.25, 9.0])
    assert base["AU12"] == pytest.approx(0.75 * 0.85 + 0.25 * 0.05)
    with pytest.raises(InputError, match="knows none of the classes smirk, wink"):
        prior("du2014").base_rates(("smirk", "wink"))


def test_a_table_of_the_user(tmp_path: Path):
    file = tmp_path / "mine.csv"
    text = "expression,12,au04,AU_25_r\nHappy,0.9,0.1,.5\n\nangry,0.1,0.8,0\n"
    for written in (text, "\ufeff" + text, text.replace("expression", ""), text.replace(",", ";"), "sep=,\n" + text):
        file.write_text(written, encoding="utf-8")
        table = prior(str(file))
        assert table.expressions == ("happiness", "anger")
        assert table.units == ("AU12", "AU4", "AU25")
        np.testing.assert_allclose(table.rates, [[0.9, 0.1, 0.5], [0.1, 0.8, 0.0]])
    file.write_bytes(text.encode("utf-16"))
    assert prior(str(file)).units == ("AU12", "AU4", "AU25")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("expression,AU1\nhappy,0.5\nsad,1.5\n", r"row 3: AU1 is '1.5', expected a rate between 0 and 1"),
        ("expression,AU1\nhappy,many\nsad,0.5\n", r"row 2: AU1 is 'many'"),
        ("expression,AU1\n\nhappy,0.5\nsad,many\n", r"row 4: AU1 is 'many'"),
        ("expression,AU1\nhappy,0.5,0.5\nsad,0.5\n", r"row 2: 3 cells, expected 2"),
        ("expression,AU1\nhappy,0.5\nJoy,0.5\n", r"names expression 'happiness' twice"),
        ("expression,AU1,1\nhappy,0.5,0.5\nsad,0.5,0.5\n", r"names action unit 'AU1' twice"),
        ("expression,AU1\nhappy,0.5\n", r"needs a header"),
        ("", r"needs a header"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, message: str):
    file = tmp_path / "bad.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_prior(file)


def test_unknown_tables_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"choose du2014, zhang2018, or a CSV file. Did you mean 'du2014'"):
        prior("du2015")
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        prior(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match=r"shape \(1, 1\), expected \(1, 2\)"):
        AuTable("x", ("anger",), ("AU1", "AU2"), np.zeros((1, 1)))
    assert [unit_name(name) for name in ("AU06", "6", "AU12_c", "valence")] == ["AU6", "AU6", "AU12", "valence"]


def rule_v(p, rates, base=None, class_prior=None, temperature=1.0):
    """Rule V in the units' evidence: softmax(log P(c) + (1 / T) sum_a log ell_a(c))."""
    prior = np.full(len(rates), 1 / len(rates)) if class_prior is None else class_prior
    ell = unit_evidence(p, rates, prior @ np.asarray(rates) if base is None else base)
    return softmax(np.log(prior) + ell.sum(1) / temperature)


def test_rule_v_by_hand():
    two = [[0.85, 0.10], [0.10, 0.85]]
    ell = np.exp(unit_evidence([[0.9, 0.2]], two))[0]
    np.testing.assert_allclose(ell, [[1.639098, 0.360902], [1.413534, 0.586466]], atol=1e-6)
    np.testing.assert_allclose(rule_v([[0.9, 0.2]], two), [[0.916294, 0.083706]], atol=1e-6)


SMILE = {"AU12": 0.9, "AU6": 0.7, "AU25": 0.8}
VECTORS = [
    ({**SMILE, "rest": "base"}, 1, [0.005, 0.809, 0.033, 0.043, 0.043, 0.012, 0.012, 0.045]),
    (SMILE, 1, [0.010, 0.967, 0.001, 0.001, 0.000, 0.000, 0.000, 0.020]),
    (SMILE, 2, [0.076, 0.740, 0.020, 0.020, 0.013, 0.014, 0.010, 0.107]),
    (
        {"AU1": 0.9, "AU2": 0.8, "AU5": 0.8, "AU25": 0.9, "AU26": 0.6},
        1,
        [0.000, 0.001, 0.000, 0.969, 0.030, 0.000, 0.000, 0.000],
    ),
    (
        {"AU1": 0.9, "AU2": 0.8, "AU5": 0.8, "AU25": 0.9, "AU26": 0.6},
        2,
        [0.011, 0.019, 0.006, 0.809, 0.142, 0.003, 0.002, 0.009],
    ),
    ({"AU4": 0.8}, 1, [0.697, 0.021, 0.071, 0.001, 0.008, 0.021, 0.083, 0.097]),
    ({"AU4": 0.8, "AU7": 0.7, "AU24": 0.6}, 2, [0.132, 0.030, 0.055, 0.008, 0.019, 0.040, 0.652, 0.064]),
    ({}, 2, [0.551, 0.085, 0.041, 0.022, 0.014, 0.058, 0.044, 0.183]),
]


@pytest.mark.parametrize(("active", "temperature", "expected"), VECTORS)
def test_rule_v_full_matrix(pi, active, temperature, expected):
    active = dict(active)
    rest = pi.mean(0) if active.pop("rest", None) else 0.05
    o = rule_v(face(rest, **active), pi, temperature=temperature)[0]
    np.testing.assert_allclose(o, expected, atol=5.1e-4)
    loops = oracle.rule_v(face(rest, **active)[0], pi.tolist(), pi.mean(0).tolist(), temperature)
    np.testing.assert_allclose(o, loops, atol=1e-12)


def test_uninformative_units_change_nothing(pi):
    base = pi.mean(0)
    np.testing.assert_allclose(rule_v(base[None], pi, temperature=0.7), np.full((1, 8), 0.125), atol=1e-12)
    p = np.array([0.5, 0.1, 0.1, 0.05, 0.05, 0.1, 0.05, 0.05])
    np.testing.assert_allclose(rule_v((p @ pi)[None], pi, class_prior=p), p[None], atol=1e-12)
    np.testing.assert_allclose(rule_v(face(0.05, **SMILE), pi, temperature=1e9), np.full((1, 8), 0.125), atol=1e-6)
    extra = rule_v(face(base, **SMILE), pi)
    few = [UNITS.index(unit) for unit in SMILE]
    np.testing.assert_allclose(rule_v(face(base, **SMILE)[:, few], pi[:, few]), extra, atol=1e-12)


def test_regions_by_hand(pi):
    found = regions(unit_evidence(face(0.05, **SMILE), pi), UNITS)
    parts = found.parts[0]
    relative = -(parts * np.log(parts)).sum(1) / np.log(8)
    np.testing.assert_allclose(relative, [0.817, 0.872, 0.961, 0.363], atol=5.1e-4)
    np.testing.assert_allclose(found.weight[0], [0.199, 0.186, 0.169, 0.447], atol=5.1e-4)
    np.testing.assert_allclose(
        found.distribution[0], [0.105, 0.492, 0.083, 0.056, 0.052, 0.061, 0.041, 0.110], atol=5.1e-4
    )
    assert found.disagreement[0] == pytest.approx(0.1458, abs=5.1e-5)
    mix, weight, gap = oracle.regions(
        face(0.05, **SMILE)[0], pi.tolist(), pi.mean(0).tolist(), region_numbers(UNITS).tolist()
    )
    np.testing.assert_allclose(found.distribution[0], mix, atol=1e-12)
    np.testing.assert_allclose(found.weight[0], weight, atol=1e-12)
    assert found.disagreement[0] == pytest.approx(gap, abs=1e-12)


def test_regions_that_agree_do_not_disagree():
    one = mixed(np.array([[[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]]))
    assert one.disagreement[0] == pytest.approx(0, abs=1e-12)
    apart = mixed(np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    assert apart.disagreement[0] == pytest.approx(1)
    assert apart.weight[0].tolist() == [0.5, 0.5]
    assert region_numbers(("AU4", "AU7", "AU11", "AU26", "U")).tolist() == [0, 1, 2, 3, 3]


def test_transfer_by_hand(pi):
    o = rule_v(face(0.05, **SMILE), pi, temperature=2)
    sad = np.eye(8)[[2]]
    share, decided, plausible = transfer_share(o, sad, limit=0.5)
    assert (decided[0], plausible[0], share[0]) == pytest.approx((0.5305, 0.0271, 0.2581), abs=5.1e-5)
    refined = (1 - share[0]) * sad[0] + share[0] * o[0]
    np.testing.assert_allclose(refined, [0.0197, 0.1910, 0.7471, 0.0051, 0.0033, 0.0035, 0.0027, 0.0276], atol=5.1e-5)
    assert 1 - 0.5 * decided[0] * (1 - plausible[0]) == pytest.approx(0.7419, abs=5.1e-5)
    far = transfer_share(o, sad, limit=0.9)[0][0]
    refined = (1 - far) * sad[0] + far * o[0]
    assert (far, refined[2], refined[1]) == pytest.approx((0.4645, 0.5448, 0.3437), abs=5.1e-5)
    assert transfer_share(o, sad, limit=0.9, measured=0.0)[0][0] == 0
    assert transfer_share(np.full((1, 8), 0.125), sad, limit=0.9)[0][0] == pytest.approx(0, abs=1e-12)
    assert transfer_share(o, np.eye(8)[[1]], limit=0.9)[0][0] == pytest.approx(0, abs=1e-12)


def test_by_hand_face_through_the_method(pi):
    """Rule V at T = 2, transfer at .5: the published y_hat and w, contempt judged, table as it is."""
    ids = np.array(["smile"])
    samples = Samples(ids, EIGHT, np.eye(8)[[2]], np.ones(1, bool), np.array([""]))
    units = ActionUnits(ids, UNITS, face(0.05, **SMILE), np.ones(1, bool), np.ones(1))
    rule = AuPrior(temperature=2.0, transfer=0.5, rounds=0, contempt=True)
    inferred = rule.infer(Evidence(samples, action_units=units))
    # The set's class shares are those of one sad face, so b is sadness's row; compare with the loops.
    np.testing.assert_allclose(
        inferred.distribution[0], oracle.rule_v(face(0.05, **SMILE)[0], pi.tolist(), pi[2].tolist(), 2.0), atol=1e-6
    )
    assert inferred.table.rates == pytest.approx(pi)
    assert inferred.temperature == 2.0


def test_adaptation_by_hand_and_by_loops(pi):
    one = adapted_rates(np.array([[0.85]]), np.ones((100, 1)), np.full((100, 1), 0.6), kappa=50)
    assert one[0, 0] == pytest.approx(0.6833, abs=5e-5)
    held = adapted_rates(np.array([[0.85]]), np.ones((1000, 1)), np.full((1000, 1), 0.1), kappa=1)
    assert held[0, 0] == pytest.approx(0.60)
    rng = np.random.default_rng(0)
    soft, p = rng.dirichlet(np.ones(8), 30), rng.random((30, 18))
    moved = adapted_rates(pi, soft, p, kappa=5.0, reach=0.2)
    np.testing.assert_allclose(moved, oracle.adapted(pi.tolist(), soft.tolist(), p.tolist(), 5.0, 0.2), atol=1e-12)


def test_matching_brings_each_mean_to_its_rate():
    rng = np.random.default_rng(2)
    p = np.stack([rng.beta(1, 6, 300), np.full(300, 0.4)], axis=1)
    out = matched_to(p, np.array([0.3, 0.2]))
    np.testing.assert_allclose(out.mean(0), [0.3, 0.2], atol=1e-6)
    assert (np.diff(out[np.argsort(p[:, 0]), 0]) >= 0).all()
    assert np.ptp(out[:, 1]) == 0
    np.testing.assert_array_equal(matched_to(p[:10], np.array([0.3, 0.2])), p[:10])


@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize("soft", [False, True])
def test_equals_the_loops(rounds, soft):
    evidence = make_evidence(np.random.default_rng(5), 45, 5, soft=soft, missing=0.2).evidence
    units, samples = evidence.action_units, evidence.samples
    table = prior("du2014")
    rates = table.rows(samples.classes)[0][:, [table.units.index(name) for name in units.names]]
    rule = AuPrior(temperature=2.0, rounds=rounds)
    result = rule.refine(Evidence(samples, action_units=units), np.random.default_rng(0))
    given = samples.given.astype(float)
    given[samples.labeled] /= given[samples.labeled].sum(1, keepdims=True)
    expected = oracle.au_prior(
        given.tolist(),
        samples.labeled.tolist(),
        units.probability.astype(float).tolist(),
        units.quality.astype(float).tolist(),
        units.found.tolist(),
        rates.tolist(),
        temperature=2.0,
        transfer_limit=0.9,
        damping=0.5,
        rounds=rounds,
        kappa=0.02,
        reach=0.25,
        doubt=0.5,
    )
    np.testing.assert_allclose(result.distribution, [row[0] for row in expected], atol=2e-6)
    assert result.flagged.tolist() == [row[2] for row in expected]
    for i, (_, weight, _, own) in enumerate(expected):
        if weight is not None:
            assert result.weight[i] == pytest.approx(weight, abs=2e-6)
        if own is not None:
            assert result.evidence["action_units"][i] == pytest.approx(own, abs=2e-6)


def test_flipped_labels_are_found():
    evidence, truth = make_evidence(np.random.default_rng(7), 600, 7, flips=0.2, unlabeled=0.1, missing=0.0)
    alone = replace(evidence, posteriors={}, features={}, neighbors={}, landmarks=None)
    for seen, recall in ((alone, 0.05), (evidence, 0.3)):
        result = AuPrior().refine(seen, np.random.default_rng(0))
        labeled = evidence.samples.labeled
        wrong = labeled & (evidence.samples.label != truth)
        assert wrong[result.flagged].mean() > 0.95
        assert result.flagged[wrong].mean() > recall  # alone, only the plainest cases
        assert result.quality[wrong].mean() + 0.3 < result.quality[labeled & ~wrong].mean()
        assert (result.label == truth)[~labeled].mean() > 0.8
    assert set(result.evidence) == {"action_units", "agreement", "decided", "transfer", "posterior"}


def test_adaptation_helps_where_the_set_differs_from_the_table():
    """A detector that sees AU12 only on half of the smiles: the adapted rate follows, within reach."""
    rng = np.random.default_rng(0)
    n = 800
    truth = rng.integers(0, 2, n)
    table = prior("du2014")
    rates = table.rows(("happiness", "sadness"))[0][:, :18].copy()
    column = UNITS.index("AU12")
    rates[0, column] = 0.5
    p = np.where(rng.random((n, 18)) < rates[truth], 0.9, 0.1)
    ids = np.array([f"{i:04d}" for i in range(n)])
    samples = Samples(ids, ("happiness", "sadness"), np.eye(2)[truth], np.ones(n, bool), np.full(n, ""))
    evidence = Evidence(samples, action_units=ActionUnits(ids, UNITS, p, np.ones(n, bool), np.ones(n)))
    adapted = AuPrior().infer(evidence).table
    assert adapted.rates[0, column] < 0.70
    assert adapted.rates[0, column] >= 0.85 - 0.25 - 1e-9


@pytest.mark.parametrize("name", ["contempt", "Contempt"])
def test_a_label_level_with_contempt_is_left_alone_in_any_order_of_classes(name):
    evidence = replace(make_evidence(np.random.default_rng(9), 80, ("anger", "fear", name)).evidence, posteriors={})
    given = np.eye(3)[np.zeros(80, dtype=np.int64)]
    given[:9], given[9:18] = [0.5, 0, 0.5], [0.5, 0.5, 0]
    evidence = replace(evidence, samples=evidence.samples.replacing(given=given, labeled=np.ones(80, dtype=bool)))
    moved = AuPrior().infer(evidence).judged
    assert not moved[:9].any()
    assert (moved[9:] == evidence.action_units.found[9:]).all()
    turned = AuPrior().infer(with_class_order(evidence, np.array([2, 1, 0]))).judged
    np.testing.assert_array_equal(turned, moved)


def test_who_is_left_to_the_label():
    evidence = make_evidence(np.random.default_rng(9), 80, EIGHT, unlabeled=0.1).evidence
    alone = replace(evidence, posteriors={})
    label = evidence.samples.label
    contempt, found = label == 7, evidence.action_units.found
    result = AuPrior().refine(alone, np.random.default_rng(0))
    kept = evidence.samples.labeled & (contempt | ~found)
    np.testing.assert_allclose(result.distribution[kept], evidence.samples.given[kept], atol=1e-7)
    assert kept.any()
    assert (result.weight[kept] == 1).all()
    assert not result.flagged[kept].any()
    assert (result.distribution[~contempt & evidence.samples.labeled, 7] == 0).all()
    judged = AuPrior(contempt=True).refine(alone, np.random.default_rng(0))
    assert (judged.distribution[contempt & found] != evidence.samples.given[contempt & found]).any()
    no_evidence = replace(evidence.action_units, quality=np.zeros(80))
    result = AuPrior().refine(replace(alone, action_units=no_evidence), np.random.default_rng(0))
    labeled = evidence.samples.labeled
    np.testing.assert_allclose(result.distribution[labeled], evidence.samples.given[labeled], atol=1e-7)
    assert not result.flagged.any()


def test_classes_and_units_it_cannot_use_are_named():
    evidence = make_evidence(np.random.default_rng(0), 20, ("happiness", "smirk", "wink")).evidence
    with pytest.raises(InputError, match=r"judges fewer than two of the classes happiness, smirk, wink"):
        AuPrior().refine(evidence, np.random.default_rng(0))
    evidence = make_evidence(np.random.default_rng(0), 20, ("happiness", "smirk", "anger")).evidence
    result = AuPrior().refine(replace(evidence, posteriors={}), np.random.default_rng(0))
    smirk = evidence.samples.label == 1
    assert (result.label[smirk] == 1).all()
    assert (result.distribution[~smirk & evidence.samples.labeled, 1] == 0).all()
    gaze = ActionUnits(evidence.samples.ids, ("AU61",), np.zeros((20, 1)), np.ones(20, bool), np.ones(20))
    with pytest.raises(InputError, match="none of the units AU61 stands in AU table 'du2014'"):
        AuPrior().refine(replace(evidence, action_units=gaze), np.random.default_rng(0))
    with pytest.raises(InputError, match="needs action units"):
        AuPrior().refine(Evidence(evidence.samples), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aggregate": "all"}, "choose units, regions or both"),
        ({"transfer": 1.1}, r"transfer = 1.1 must lie in \[0, 1\]"),
        ({"kappa": 0.0}, "kappa above 0"),
        ({"rounds": -1}, "rounds must be 0 or more"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(InputError, match=message):
        AuPrior(**change)


def test_fusion_keeps_the_posterior_of_classes_it_cannot_judge():
    o, d = np.array([[0.8, 0.2, 0.0]]), np.array([[0.2, 0.4, 0.4]])
    mixed_ = fused(o, d, np.array([True, True, False]), 0.5)
    score = np.sqrt([0.8 * 0.2, 0.2 * 0.4])
    np.testing.assert_allclose(mixed_, [[*(0.6 * score / score.sum()), 0.4]], atol=1e-12)
    np.testing.assert_allclose(fused(o, d, np.ones(3, bool), 0.0), d, atol=1e-12)
