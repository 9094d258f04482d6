"""The review page's server: what it answers, and everything it refuses."""

from __future__ import annotations

import io
import os

import pytest
from PIL import Image
from review_cases import refined_set, with_pictures

pytest.importorskip("starlette", reason="the review page needs starlette")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from starlette.testclient import TestClient

from fercleaner.core.errors import InputError
from fercleaner.review.log import DecisionLog
from fercleaner.review.pictures import ShownPictures
from fercleaner.review.server import PAGE, build
from fercleaner.review.session import Session

TOKEN, PORT = "secret-token", 8123
FEAR = {"kind": "label", "classes": ["fear"]}


def client_of(refined, tmp_path, roots=None, host=f"127.0.0.1:{PORT}"):
    session = Session(refined, DecisionLog(tmp_path / "log.jsonl"), "ann")
    app = build(session, ShownPictures(refined, roots), TOKEN, PORT)
    return TestClient(app, base_url=f"http://{host}"), session


@pytest.fixture
def client(tmp_path):
    return client_of(with_pictures(tmp_path / "set"), tmp_path)[0]


def at(path):
    return f"/{TOKEN}/{path}"


def decision(row, said=FEAR, **more):
    return {"items": [{"row": row, "decision": said}], "action": "label", "window": "w", **more}


def test_the_page_and_its_files_come_with_a_content_policy(client):
    for name in PAGE:
        answer = client.get(at(name))
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert "http://" not in "".join(client.get(at(name)).text for name in PAGE)


def test_a_decision_is_in_the_log_before_the_next_face_comes(client, tmp_path):
    first = client.get(at("api/next?window=w")).json()["face"]
    answer = client.post(at("api/decide"), json=decision(first["row"]))
    assert answer.status_code == 200
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 1
    assert answer.json()["face"]["row"] != first["row"]
    assert answer.json()["progress"]["decided"] == 1
    undone = client.post(at("api/decide"), json={**decision(first["row"], None), "action": "undo", "then": "stay"})
    assert undone.json()["face"]["row"] == first["row"]
    assert undone.json()["face"]["decision"] is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 403),
        (f"/{TOKEN}", 404),
        ("/wrong-token/", 403),
        (f"/{TOKEN[:-1]}/", 403),
        (f"/{TOKEN}x/api/next", 403),
        ("/api/next", 403),
        (f"/{TOKEN}/nothing.js", 404),
        (f"/{TOKEN}/../server.py", 404),
        (f"/{TOKEN}/..%2f..%2fserver.py", 404),
        (f"/{TOKEN}/page/app.js", 404),
        (f"/{TOKEN}/picture/..%2f..%2fetc%2fpasswd", 404),
        (f"/{TOKEN}/picture/-1", 404),
        (f"/{TOKEN}/picture/99999", 404),
        (f"/{TOKEN}/api/face/99999", 400),
        ("/%C3%A9/", 403),
    ],
)
def test_wrong_tokens_and_paths_are_refused(client, path, status):
    answer = client.get(path, follow_redirects=False)
    # The client itself resolves "..": what is left has no token.
    assert answer.status_code in (status, 403)
    assert "def " not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", ""])
def test_other_hosts_are_refused(client, host):
    assert client.get(at(""), headers={"host": host}).status_code == 421


def test_localhost_is_this_machine_too(client):
    assert client.get(at(""), headers={"host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-length": str(10**9)}, 413),
    ],
)
def test_posts_from_elsewhere_are_refused(client, tmp_path, headers, status):
    body = b'{"items": [{"row": 0, "decision": null}], "action": "label", "window": "w"}'
    sent = {"content-type": "application/json", "origin": f"http://127.0.0.1:{PORT}", **headers}
    assert client.post(at("api/decide"), content=body, headers=sent).status_code == status
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'{"items": 3}', b'{"items": [{"row": 1e99, "decision": null}]}', b"\xff"]
)
def test_bodies_that_are_no_decision_are_refused(client, tmp_path, body):
    answer = client.post(at("api/decide"), content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert not (tmp_path / "log.jsonl").exists()


def test_a_full_disk_is_said(client, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = client.post(at("api/decide"), json=decision(0))
    assert answer.status_code == 507
    assert "No space left on device" in answer.json()["error"]


def test_pictures_are_encoded_again(client):
    answer = client.get(at("picture/3"))
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (24, 24)


def test_large_pictures_are_made_smaller(tmp_path):
    path = tmp_path / "set" / "large.png"
    path.parent.mkdir()
    Image.new("RGB", (2000, 1000)).save(path)
    data, kind = ShownPictures(refined_set(1, paths=[path])).read(0)
    assert (Image.open(io.BytesIO(data)).size, kind) == ((512, 256), "image/jpeg")


def test_nothing_outside_the_set_is_opened(tmp_path):
    """A link out of the set, a path out of it, a file that is no picture, a folder: no picture, and no word of it."""
    inside, outside = tmp_path / "set", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    Image.new("L", (8, 8)).save(outside / "private.png")
    Image.new("L", (8, 8)).save(inside / "good.png")
    (inside / "secret.txt").write_text("root:x:0:0")
    (inside / "link.png").symlink_to(outside / "private.png")
    (inside / "folder.png").mkdir()
    (inside / "deep").symlink_to(outside)
    names = ["good.png", "link.png", "deep/private.png", "secret.txt", "folder.png", "missing.png", "nul\0.png"]
    refined = refined_set(len(names), paths=[inside / name for name in names])
    client, _ = client_of(refined, tmp_path)
    answers = [client.get(at(f"picture/{row}")) for row in range(len(names))]
    assert [answer.status_code for answer in answers] == [200, 404, 404, 404, 404, 404, 404]
    assert "outside the set's folder" in answers[1].text
    assert not any("root:" in answer.text for answer in answers)
    paths = [inside / "good.png", outside / "private.png"]
    client, _ = client_of(refined_set(2, paths=paths), tmp_path, roots=[inside])
    assert [client.get(at(f"picture/{row}")).status_code for row in (0, 1)] == [200, 404]
    with pytest.raises(InputError, match="no such folder"):
        ShownPictures(refined, [tmp_path / "nowhere"])


def test_sets_without_pictures_still_have_a_page(tmp_path):
    client, _ = client_of(refined_set(), tmp_path)
    assert client.get(at("picture/0")).status_code == 404
    assert client.get(at("api/next")).json()["face"]


def test_pictures_inside_a_csv_are_shown_by_way_of_the_set(tmp_path):
    from dataset_builders import fer2013

    from fercleaner import read

    samples = read(fer2013(tmp_path / "fer2013.csv", [0, 1, 2, 3], ["Training"] * 4))
    refined = refined_set(ids=samples.ids.tolist()[::-1])
    data, _ = ShownPictures(refined, samples=samples).read(0)
    assert Image.open(io.BytesIO(data)).convert("L").getpixel((0, 0)) == 3
    with pytest.raises(InputError, match=r"are not in the set \(first: 'other'\)"):
        ShownPictures(refined_set(ids=["other"]), samples=samples)
