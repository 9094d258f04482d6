"""Sites together: better than alone, none spoiled by one that lies or leaves, and nobody's faces seen by another."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run
from federation_cases import CLASSES, QUIET, SMALL, faces, site

from fercleaner.evaluation.metrics import average_precision
from fercleaner.federation import simulate
from fercleaner.federation.participant import Participant
from fercleaner.federation.simulate import federate, finish, participants
from fercleaner.federation.terms import Conditions, Settings, SiteError, agree
from fercleaner.methods import build
from fercleaner.pipeline.inputs import Callbacks, Sources
from fercleaner.results import parquet

SIZES = {"large": 400, "middle": 200, "small": 40, "tiny": 15}


@cache
def sites():
    return {name: site(name, n, wrong=0.3 if name == "middle" else 0.2, seed=5) for name, n in SIZES.items()}


def area(refined, truth):
    wrong = refined.given_label != truth
    return average_precision(-refined.quality.astype(float), wrong)


@cache
def ended(how="honest"):
    """Return the refined sets by site where `middle` behaves in some way."""

    def tamper(update, number):
        rng = np.random.default_rng(number)
        if update.site != "middle" or how == "honest":
            return update
        if how == "absent":
            return update if number < 3 else None
        if how == "nan":
            return replace(update, steps=update.steps * np.float32(np.nan))
        if how == "scaled":
            return replace(update, steps=update.steps * np.float32(-1e4), faces=10**9)
        return replace(update, steps=update.steps[:, :, rng.permutation(len(CLASSES))])

    everyone = [here for here, _ in sites().values()]
    done = federate(everyone, SMALL, tamper=tamper)
    return finish(everyone, done, Callbacks()), done


def alone(name):
    here, _ = sites()[name]
    return here.finish(np.zeros((SMALL.columns + 2, len(CLASSES)), dtype=np.float32), 0)


def test_a_small_site_gains_and_a_large_one_loses_nothing():
    refined, _ = ended()
    gained = {name: area(refined[name], truth) - area(alone(name), truth) for name, (_, truth) in sites().items()}
    assert gained["small"] > 0.05
    assert min(gained.values()) > -0.02


def test_a_site_too_small_to_give_is_helped_all_the_same():
    refined, done = ended()
    assert done.sent["tiny"] < 500 < done.received["tiny"]
    assert refined["tiny"].metadata["federation"]["gave"] is False
    assert refined["tiny"].metadata["federation"]["share"] > 0.9
    truth = sites()["tiny"][1]
    assert area(refined["tiny"], truth) > area(alone("tiny"), truth)


@pytest.mark.parametrize("how", ["absent", "nan", "scaled", "shuffled"])
def test_a_site_that_leaves_or_lies_does_not_spoil_the_others(how):
    refined, done = ended(how)
    for name, slack in (("large", 0.02), ("small", 0.07)):  # 40 faces: one right label ranked higher is .06
        truth = sites()[name][1]
        assert area(refined[name], truth) > area(alone(name), truth) - slack
    assert (len(done.refused) == SMALL.rounds) == (how == "nan")
    if how == "nan":
        assert done.refused[0].startswith("Round 1: Site 'middle' sent NaN")


def test_the_same_sites_give_the_same_bits():
    everyone = [here for here, _ in sites().values()]
    assert np.array_equal(ended()[1].heads, federate(everyone[::-1], SMALL).heads)


def test_class_orders_differ_and_nothing_changes():
    turned = ("neutral", "anger", "happiness", "fear")
    one, _ = site("a", 120, seed=1)
    plain, _ = site("b", 120, seed=2)
    other, _ = site("b", 120, seed=2, classes=turned)
    before, after = federate([one, plain], SMALL), federate([one, other], SMALL)
    assert np.allclose(before.heads, after.heads, atol=1e-5)
    a, b = (here.shared(before.head_of(here.name)).values for here in (plain, other))
    assert np.allclose(a, b[:, [turned.index(name) for name in CLASSES]], atol=1e-5)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (
            {"classes": (*CLASSES, "disgust")},
            "Site 'odd' has another class set than the federation: it has disgust besides. .*disgust= leaves",
        ),
        ({"width": 7}, "Site 'odd': view 'v' has 7 columns; the federation's has 10"),
        (
            {"encoder": "other"},
            r"Site 'odd': view 'v' comes from another encoder \([0-9a-f]{16}\) than .*\(none: a file",
        ),
    ],
)
def test_a_site_that_does_not_fit_is_named(odd, message):
    with pytest.raises(SiteError, match=message):
        federate([site("first", 60)[0], site("odd", 60, **odd)[0]], SMALL)


def test_other_random_features_are_noticed():
    first, second = site("a", 60)[0], site("b", 60)[0]
    terms = agree([first.hello(), second.hello()], SMALL)
    with pytest.raises(SiteError, match="random features drawn here"):
        first.begin(replace(terms, seed=1), 0)


def test_too_few_sites_or_faces_are_an_error():
    with pytest.raises(SiteError, match="1 of 2 sites have the 20 labeled faces"):
        federate([site("a", 60)[0], site("b", 12)[0]], SMALL)
    with pytest.raises(SiteError, match="Two sites are called 'a'"):
        agree([site("a", 60)[0].hello()] * 2, SMALL)
    with pytest.raises(SiteError, match="columns is 63; expected an even number"):
        Settings(columns=63)


def test_any_method_can_be_a_sites_own():
    samples, view, truth = faces("a", 60, seed=3)
    sources, conditions = Sources(views=(view,)), Conditions(SMALL.least_faces)
    own = Participant("a", samples, build("hypergraph", {}), sources, QUIET, Callbacks(), conditions)
    refined = own_and_large(own)
    assert refined.metadata["method"] == "hypergraph"
    assert area(refined, truth) > 0.8


def own_and_large(own):
    done = federate([own, sites()["large"][0]], SMALL)
    return finish([own], done, Callbacks())["a"]


def test_a_view_of_landmarks_alone_is_refused():
    samples, view, _ = faces("a", 60)
    alone = Sources(views=(replace(view, view="landmarks"),))
    with pytest.raises(SiteError, match="landmarks alone"):
        Participant("a", samples, build("consensus", {}), alone, QUIET, Callbacks())


def test_notes_say_which_site_they_are_of():
    samples, view, _ = faces("all", 120)
    where = np.array(["north", "south"])[np.arange(120) % 2]
    missing = replace(view, found=np.arange(120) != 2, values=np.where(np.arange(120)[:, None] != 2, view.values, 0))
    said: list[str] = []
    sources = Sources(views=(missing,))
    participants(samples.replacing(site=where), build("consensus", {}), sources, QUIET, Callbacks(note=said.append))
    assert any(text.startswith("Site 'north': v: 1 of 60 faces have none") for text in said)
    assert all(text.startswith(("Site 'north': ", "Site 'south': ")) for text in said)


def test_each_site_of_a_set_sees_its_own_rows_alone():
    samples, view, _ = faces("all", 150)
    where = np.array(["north", "south", ""])[np.arange(150) % 3]
    here = participants(
        samples.replacing(site=where), build("consensus", {}), Sources(views=(view,)), QUIET, Callbacks()
    )
    assert [one.name for one in here] == ["north", "south"]
    for number, one in enumerate(here):
        rows = np.arange(150) % 3 == number
        assert np.array_equal(one.samples.ids, samples.ids[rows])
        assert np.array_equal(one.views["v"].values, view.values[rows])


def test_the_command_writes_a_file_a_site(tmp_path):
    labeled_vectors(tmp_path, n=240, wrong=30)
    rows = (tmp_path / "faces.csv").read_text().splitlines()
    where = ["ward", *("A/1" if i % 3 else "B" for i in range(240))]
    (tmp_path / "faces.csv").write_text("\n".join(f"{row},{place}" for row, place in zip(rows, where, strict=True)))
    common = ["--view", f"v={tmp_path}/v.npy", "--rounds", "3", "--columns", "32"]
    done = run("federate", tmp_path / "faces.csv", "--site-by", "ward", "--out", tmp_path / "sites", *common)
    assert "A/1" in done.stdout
    refined = parquet.load(tmp_path / "sites" / "A_1.refined.parquet")
    assert len(refined) == 160
    assert refined.metadata["federation"]["rounds"] == 3
    assert (tmp_path / "sites" / "messages" / "B" / "messages.log").exists()
    again = fails("federate", tmp_path / "faces.csv", "--site-by", "ward", "--out", tmp_path / "sites", *common)
    assert "exists already" in again
    assert "names no sites" in fails("federate", tmp_path / "faces.csv", "--out", tmp_path / "other", *common)


def test_two_sites_whose_files_would_be_one_are_an_error():
    samples, *_ = faces("all", 4)
    with pytest.raises(SiteError, match="Sites 'a/b' and 'a_b' would write the same file 'a_b'"):
        simulate.file_names(samples.replacing(site=np.array(["a/b", "a_b", "c", "c"])))
