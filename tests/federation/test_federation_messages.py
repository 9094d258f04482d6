"""All that travels: whole or refused, and nothing of a face in it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from federation_cases import SMALL, site

from fercleaner.federation import messages
from fercleaner.federation.features import median_distance, unit_views
from fercleaner.federation.messages import KINDS, Message, MessageLog, check_leaving, decode, encode, text_of
from fercleaner.federation.simulate import federate
from fercleaner.federation.terms import PROTOCOL, Hello, SiteError


def update(shape=(2, 9, 3)):
    steps = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Message("update", {"site": "ä b", "part": 0, "faces": 70, "round": 3}, {"steps": steps})


def test_a_message_comes_back_as_it_was():
    back = decode(encode(update()), "site 'x'")
    assert back.kind == "update"
    assert dict(back.fields) == dict(update().fields)
    assert np.array_equal(back.arrays["steps"], update().arrays["steps"])
    assert encode(back) == encode(update())


@pytest.mark.parametrize("place", [0, 9, 40, 150, -1])
def test_an_altered_byte_is_seen(place):
    data = bytearray(encode(update()))
    data[place] ^= 1
    with pytest.raises(SiteError, match="site 'x'"):
        decode(bytes(data), "site 'x'")


@pytest.mark.parametrize("size", [0, 5, 47, 200])
def test_a_message_cut_off_is_seen(size):
    with pytest.raises(SiteError, match="site 'x'"):
        decode(encode(update())[:size], "site 'x'")


def test_any_header_is_refused_or_read_but_never_a_crash():
    rng = np.random.default_rng(0)
    headers = [
        b"",
        b"[]",
        b"{}",
        b'{"kind": 3, "fields": {}, "arrays": {}}',
        b'{"kind": "hello", "fields": 1}',
        b"\xff",
        b"[" * 100_000,
    ]
    headers += [
        json.dumps({"kind": "heads", "fields": {"round": 1}, "arrays": {"heads": s}}).encode()
        for s in ([-1, 4], [2**40, 2**40], ["a"], 3, [4])
    ]
    for header in headers:
        body = messages.MAGIC + len(header).to_bytes(8, "little") + header + rng.bytes(8)
        import hashlib

        with pytest.raises(SiteError):
            decode(body + hashlib.sha256(body).digest(), "site 'x'")


def test_only_known_fields_and_arrays_make_a_message():
    with pytest.raises(SiteError, match="wrong: ids"):
        Message("update", {**update().fields, "ids": ["face.png"]}, update().arrays)
    with pytest.raises(SiteError, match="holds the arrays steps, labels"):
        Message("update", update().fields, {**update().arrays, "labels": np.zeros(3, dtype=np.float32)})
    with pytest.raises(SiteError, match="none of hello, terms, update, heads"):
        Message("labels", {})
    with pytest.raises(SiteError, match=r"faces is 3\.5"):
        Message("update", {**update().fields, "faces": 3.5}, update().arrays)


def test_only_hello_and_update_leave_a_site():
    with pytest.raises(SiteError, match="'heads' does not leave a site"):
        check_leaving(Message("heads", {"round": 1}, {"heads": np.zeros((3, 9, 3), dtype=np.float32)}), None)


def test_a_person_can_read_a_message_before_it_is_sent(tmp_path):
    log = MessageLog(tmp_path / "site")
    data = log.keep(update(), "round-003.msg")
    assert (tmp_path / "site" / "round-003.msg").read_bytes() == data
    text = (tmp_path / "site" / "messages.log").read_text(encoding="utf-8")
    assert "steps: 2 x 9 x 3 float32, from 0 to 53" in text
    assert 'site: "ä b"' in text
    assert log.bytes == len(data)
    assert text_of(update(), len(data)) in text


def test_nothing_of_a_face_leaves_a_site(tmp_path):
    """The wire is watched: kinds, fields, shapes that do not hang on the number of faces, no id, no vector."""
    sites = [site("one", 90, seed=1)[0], site("two", 130, seed=2)[0], site("three", 90, seed=3)[0]]
    done = federate(sites, SMALL, log=tmp_path)
    shapes, sent = set(), 0
    for here in sites:
        files = sorted((tmp_path / here.name).glob("*.msg"))
        assert len(files) == 1 + SMALL.rounds
        assert sum(file.stat().st_size for file in files) == done.sent[here.name]
        for file in files:
            data = file.read_bytes()
            message = decode(data, here.name)
            assert message.kind in ("hello", "update")
            assert set(message.fields) == set(KINDS[message.kind].fields)
            shapes |= {values.shape for values in message.arrays.values()}
            assert b".png" not in data
            rows, _ = unit_views(here.views)
            for vectors in (here.views["v"].values, rows):
                assert not any(row.tobytes() in data for row in vectors[:, :3])
            sent += 1
    assert shapes == {(done.terms.parts - 1, SMALL.columns + 2, 4)}
    assert sent == 3 * (1 + SMALL.rounds)
    hello = decode((tmp_path / "one" / "hello.msg").read_bytes(), "one")
    assert dict(hello.fields) == {
        "site": "one", "classes": ["anger", "fear", "happiness", "neutral"], "views": [["v", 10, "vectors"]],
        "faces": 90, "spread": hello.fields["spread"], "protocol": PROTOCOL,
    }  # fmt: skip


def test_the_spread_that_a_site_tells_is_a_power_of_two():
    here, _ = site("one", 90)
    rows, found = unit_views(here.views)
    told = median_distance(rows, found)
    assert np.log2(told) == np.round(np.log2(told))
    apart = [np.sum((a.astype(float) - b) ** 2) for i, a in enumerate(rows) for b in rows[:i]]
    assert 2**-0.51 < told / np.median(apart) < 2**0.51


def test_a_hello_of_another_version_or_of_impossible_numbers_is_refused():
    said = Hello("x", ("a", "b"), (("v", 3, "vectors"),), 60, 1.0)
    with pytest.raises(SiteError, match="Site 'x' speaks protocol 2, the coordinator 1"):
        messages.to_hello(messages.of_hello(said, 2), 1)
    with pytest.raises(SiteError, match="spread -1"):
        messages.to_hello(messages.of_hello(Hello("x", ("a", "b"), (), 60, -1.0), 1), 1)
    for classes in (("b", "a"), ("a", "a", "b")):
        with pytest.raises(SiteError, match="not in alphabetical order, each once"):
            messages.to_hello(messages.of_hello(Hello("x", classes, (), 60, 1.0), 1), 1)
