"""What a site asks of the terms, what a rehearsal shows of it, and heads that a site does not take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cli_runs import labeled_vectors, run
from federation_cases import NAMES, SMALL, Direct, Driven, site, sites

from fercleaner.federation.client import knock, take_part
from fercleaner.federation.coordinator import Plan
from fercleaner.federation.messages import MessageLog, decode, of_heads, text_of
from fercleaner.federation.participant import rehearsed
from fercleaner.federation.simulate import federate
from fercleaner.federation.terms import PROTOCOL, Conditions, Settings, SiteError, agree

FEWER = r"Site 'one' sends sums over at least 20 faces; under the coordinator's terms 10 are enough\. No step was sent"
OTHER = r"Site 'one' takes part under --aggregate robust; the coordinator joins steps by secure\. No step was sent"


@pytest.mark.parametrize(("other", "message"), [({"least_faces": 10}, FEWER), ({"aggregate": "secure"}, OTHER)])
def test_a_site_holds_its_conditions_whatever_the_terms_say(other, message):
    here = sites()
    terms = agree([one.hello() for one in here], replace(SMALL, **other))
    with pytest.raises(SiteError, match=message):
        here[0].begin(terms, 0)
    with pytest.raises(SiteError, match="has too few labeled faces to send anything"):
        here[0].update(np.zeros(terms.shape, dtype=np.float32))


def test_terms_that_are_stricter_in_faces_are_taken():
    here = sites()
    here[0].begin(agree([one.hello() for one in here], replace(SMALL, least_faces=30)), 0)
    assert here[0].gives


def test_conditions_are_settings_that_can_be():
    with pytest.raises(SiteError, match="least_faces is 0"):
        Conditions(0)
    with pytest.raises(SiteError, match="aggregate is 'both'"):
        Conditions(20, "both")


class Asked:
    """A link without a network, which notes what is asked of its coordinator."""

    def __init__(self, coordinator, name):
        self._coordinator, self._name, self.asked = coordinator, name, []

    def get(self, path):
        self.asked.append(path)
        return self._coordinator.status(self._name)

    def post(self, path, body):
        raise AssertionError(f"{path} was sent")


@pytest.mark.parametrize(("other", "message"), [({"least_faces": 10}, FEWER), ({"aggregate": "secure"}, OTHER)])
def test_a_site_does_not_join_where_it_would_refuse_the_terms(tmp_path, other, message):
    coordinator = Driven(tmp_path / "state", Plan(3, replace(SMALL, **other))).coordinator
    link = Asked(coordinator, "one")
    with pytest.raises(SiteError, match=message):
        take_part(sites()[0], link, MessageLog(tmp_path / "log"))
    assert link.asked == ["/status"]
    assert not coordinator.hellos
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("said", [{"began": True, "round": 0}, ["began"]])
def test_a_coordinator_of_another_version_is_said_to_be_one(tmp_path, said):
    link = Asked(Driven(tmp_path / "state", Plan(3, SMALL)).coordinator, "one")
    link._coordinator.status = lambda site: said
    with pytest.raises(SiteError, match=r"does not say where things stand\. Use the same version"):
        take_part(sites()[0], link, MessageLog(tmp_path / "log"))


@pytest.mark.parametrize("older", [{"protocol": 2}, {}])
def test_a_coordinator_of_another_protocol_is_said_to_be_one_before_a_set_is_read(tmp_path, older):
    link = Asked(Driven(tmp_path / "state", Plan(3, SMALL)).coordinator, "one")
    stands = {name: value for name, value in link._coordinator.status("one").items() if name != "protocol"}
    link._coordinator.status = lambda site: stands | older
    said = rf"'one' speaks protocol {PROTOCOL}, the coordinator (2|an older one)\. Use the same"
    with pytest.raises(SiteError, match=said):
        knock("one", link, Conditions())


def test_a_rehearsal_shows_the_class_frequencies_that_leave():
    here = site("this site", 60)[0]
    text = rehearsed(here)[1]
    said = text.split("of them the step on class frequencies, first head: ")[1].split()
    assert sum(map(float, said)) == pytest.approx(1, abs=0.01)  # from heads of zeros: the frequencies themselves


@pytest.mark.parametrize("aggregate", ["robust", "secure"])
def test_a_rehearsal_shows_what_a_federation_sends(tmp_path, aggregate):
    """Kinds, fields, shapes and sizes are those of the messages that leave the site among five."""
    if aggregate == "secure":
        pytest.importorskip("cryptography")
    names = ("this site", "b", "c", "d", "e")
    here = [site(name, 60 + 20 * number, seed=number, aggregate=aggregate)[0] for number, name in enumerate(names)]
    wanted = Settings(rounds=1, least_faces=SMALL.least_faces, aggregate=aggregate)
    federate(here, wanted, log=tmp_path)
    sent = {}
    for file in (tmp_path / "this_site").glob("*.msg"):
        message = decode(file.read_bytes(), "x")
        sent[message.kind] = text_of(message, file.stat().st_size)
    shown = {text.partition(",")[0]: text for text in rehearsed(site("this site", 60, aggregate=aggregate)[0])[:-1]}
    assert list(shown) == (["hello", "update"] if aggregate == "robust" else ["hello", "key", "masked"])
    assert set(shown) == set(sent)
    for kind, text in shown.items():
        assert [_shape(line) for line in text.splitlines()[1:]] == [
            _shape(line) for line in sent[kind].splitlines()[1:]
        ]
        assert abs(_size(text) - _size(sent[kind])) < 30  # an attempt's name


def _shape(line):
    return line.partition(", from")[0] if " x " in line else line.partition(":")[0]


def _size(text):
    return int(text.split()[1].replace(",", ""))


def test_a_rehearsal_below_the_sites_own_least_shows_hello_alone():
    here = site("small", 60)[0]
    here.conditions = Conditions(61)
    assert rehearsed(here)[1:] == ["Nothing else: 60 labeled faces with a vector are fewer than 61."]


def test_the_dry_run_of_the_command_is_of_its_options(tmp_path):
    pytest.importorskip("cryptography")
    labeled_vectors(tmp_path, n=60)
    common = ["site", tmp_path / "faces.csv", "--view", f"v={tmp_path}/v.npy", "--method", "hypergraph", "--dry-run"]
    said = run(*common, "--aggregate", "secure").stdout
    assert "key, " in said
    assert "masked: 4 x 1026 x 4 uint32" in said
    assert "update, " not in said
    assert "60 labeled faces with a vector are fewer than 61" in run(*common, "--least-faces", "61").stdout


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ((), ""),
        (("--least-faces", 80), ""),
        (("--least-faces", 20, "--aggregate", "secure"), " --least-faces 20 --aggregate secure"),
    ],
)
def test_the_coordinator_names_a_command_whose_conditions_it_meets(tmp_path, monkeypatch, asked, more):
    pytest.importorskip("cryptography")
    from fercleaner.federation.server import Server

    monkeypatch.setattr(Server, "run", lambda self, stay: self.server_close())
    done = run("coordinate", "--sites", 3, "--state", tmp_path, "--listen", "127.0.0.1:0", *asked)
    assert f"--key FILE{more}\n" in done.stderr


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda shape: np.full(shape, np.nan, dtype=np.float32), "The heads hold NaN or infinity"),
        (
            lambda shape: np.zeros(shape[1:], dtype=np.float32),
            r"The heads have shape \(1, 4\); the terms say \(1, 66, 4\)",
        ),
    ],
)
def test_a_site_does_not_finish_with_a_head_that_is_broken(head, message):
    here = sites()
    done = federate(here, replace(SMALL, rounds=1))
    with pytest.raises(SiteError, match=message):
        here[0].finish(head(done.heads.shape[1:]), 1)
    with pytest.raises(SiteError, match="Site 'one' has not begun"):
        sites()[0].finish(done.head_of("one"), 1)


def test_a_site_that_waits_asks_less_and_less_often_until_something_is_due(tmp_path, monkeypatch):
    run, waits = Driven(tmp_path, Plan(2, replace(SMALL, rounds=1))), []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 9:
            run.join("two")
            run.begin("two")
        if len(waits) == 11:
            run.send("two")

    monkeypatch.setattr("fercleaner.federation.client.time.sleep", sleep)
    take_part(run.sites["one"], Direct(run.coordinator, "one"), MessageLog(tmp_path / "one"))
    assert waits[:8] == pytest.approx([1.25**n for n in range(7)] + [4.0])
    assert waits[8:] == pytest.approx([4.0, 1.0, 1.25])


def test_a_site_takes_no_more_heads_than_it_needs(tmp_path):
    run = Driven(tmp_path, Plan(2, replace(SMALL, rounds=1)))
    run.join("one", "two")
    run.begin("one", "two")
    with pytest.raises(SiteError, match=r"The heads have shape \(2, 66, 4\); the terms say \(1, 66, 4\)"):
        run.sites["one"].update(run.coordinator.heads)
    run.send("one")
    run.send("two")
    link = Direct(run.coordinator, "one")
    link.get = lambda path: Direct.get(link, path) if path != "/heads" else of_heads(run.coordinator.heads, 1)
    with pytest.raises(SiteError, match=r"The heads have shape \(2, 66, 4\); the terms say \(1, 66, 4\)"):
        take_part(run.sites["one"], link, MessageLog(tmp_path / "one"))


def test_a_site_that_is_asked_for_nothing_is_told_so(tmp_path):
    run = Driven(tmp_path, Plan(3, SMALL))
    run.join(*NAMES)
    assert run.coordinator.roster("one") == {"asked": False}
