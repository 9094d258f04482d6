"""The Parquet file: exact round trip, same bytes, whole or not at all, clear words where it is not ours."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core import files
from fercleaner.core.errors import InputError, StoreError
from fercleaner.core.files import check_writable
from fercleaner.results import parquet
from fercleaner.results.parquet import RefinedSet

CLASSES = ("anger", "ヨロコビ", "neutral")


def make(n: int = 6, c: int = 3, seed: int = 0, classes: tuple[str, ...] = CLASSES, **changes: object) -> RefinedSet:
    """A set with unlabelled rows, soft labels, empty and full neighbor lists, missing evidence, unicode."""
    rng = np.random.default_rng(seed)
    labeled = np.arange(n) % 4 != 3
    given_ = np.where(labeled[:, None], rng.dirichlet(np.ones(c), n), 0).astype(np.float32)
    ids = [f"train/顔 {i:05d}é.png" for i in range(n)]
    drift = rng.normal(size=n).astype(np.float32)
    drift[::2] = np.nan
    fields: dict[str, object] = {
        "ids": ids,
        "paths": ["" if i % 5 == 4 else f"/data/{name}" for i, name in enumerate(ids)],
        "split": ["train" if i % 2 else "" for i in range(n)],
        "classes": classes,
        "labeled": labeled,
        "given": given_,
        "distribution": rng.dirichlet(np.ones(c), n).astype(np.float32),
        "weight": rng.random(n, dtype=np.float32),
        "quality": rng.random(n, dtype=np.float32),
        "flagged": labeled & (rng.random(n) < 0.5),
        "changed": labeled & (rng.random(n) < 0.5),
        "reason": ["" if i % 2 else "9 of 10 neighbors: neutral; ≥ 0.9" for i in range(n)],
        "neighbors_for": tuple(tuple(ids[j] for j in rng.integers(0, n, i % 6)) for i in range(n)),
        "neighbors_against": tuple(tuple(ids[j] for j in rng.integers(0, n, (i + 3) % 6)) for i in range(n)),
        "evidence": {"vote": rng.random(n, dtype=np.float32), "drift": drift},
        "metadata": {"method": "hypergraph", "params": {"k": 30, "tags": ["a", "ß"]}, "seed": 0, "views": []},
    }
    return RefinedSet(**{**fields, **changes})  # type: ignore[arg-type]


def assert_equal(one: RefinedSet, other: RefinedSet) -> None:
    for field in dataclasses.fields(RefinedSet):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype.kind == b.dtype.kind, field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name, strict=a.dtype.kind != "U")
        elif field.name == "evidence":
            assert set(a) == set(b)
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name, strict=True)
        else:
            assert a == b, field.name


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


def test_round_trip_is_exact(tmp_path):
    refined = make(23)
    parquet.write(refined, tmp_path / "größe.parquet")
    assert_equal(refined, parquet.load(tmp_path / "größe.parquet"))
    assert leftovers(tmp_path) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_round_trip_of_any_text(tmp_path_factory, texts):
    n = len(texts)
    lists = tuple(tuple(texts[:i]) for i in range(n))
    refined = make(
        n, ids=[f"{i}{text}" for i, text in enumerate(texts)], paths=texts, split=texts, reason=texts,
        neighbors_for=lists, neighbors_against=lists, metadata={"text": texts},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("text") / "refined.parquet"
    parquet.write(refined, path)
    assert_equal(refined, parquet.load(path))


@pytest.mark.parametrize("labeled", [True, False])
def test_round_trip_of_no_rows_and_of_all_or_none_labeled(tmp_path, labeled):
    empty = np.zeros(0)
    columns = "ids paths split labeled weight quality flagged changed reason neighbors_for neighbors_against"
    nothing = make(0, given=np.zeros((0, 3)), distribution=np.zeros((0, 3)), evidence={"vote": empty})
    assert all(len(getattr(nothing, name)) == 0 for name in columns.split())
    parquet.write(nothing, tmp_path / "none.parquet")
    assert_equal(nothing, parquet.load(tmp_path / "none.parquet"))

    eye = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    no = np.zeros(4, dtype=bool)
    one = make(4, labeled=~no if labeled else no, given=eye * labeled, flagged=no, changed=no, evidence={})
    parquet.write(one, tmp_path / "one.parquet")
    assert_equal(one, parquet.load(tmp_path / "one.parquet"))


def test_the_same_set_gives_the_same_bytes(tmp_path):
    parquet.write(make(40), tmp_path / "a.parquet")
    turned = {"views": [], "seed": 0, "params": {"tags": ("a", "ß"), "k": 30}, "method": "hypergraph"}
    evidence = make(40).evidence
    parquet.write(
        make(40, metadata=turned, evidence={name: evidence[name] for name in reversed(evidence)}),
        tmp_path / "b.parquet",
    )
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    parquet.write(make(40, seed=1), tmp_path / "c.parquet")
    assert (tmp_path / "a.parquet").read_bytes() != (tmp_path / "c.parquet").read_bytes()


def test_columns_are_those_of_the_schema_table_and_absent_values_are_null(tmp_path):
    refined = make(8)
    parquet.write(refined, tmp_path / "r.parquet")
    schema = pq.read_schema(tmp_path / "r.parquet")
    fixed = [name for name, _, _ in parquet.SCHEMA_TABLE[:-1]]
    assert schema.names == [*fixed, "evidence_drift", "evidence_vote"]
    arrow = {"list<float>": "list<element: float>", "list<string>": "list<element: string>"}
    for name, kind, meaning in parquet.SCHEMA_TABLE[:-1]:
        assert str(schema.field(name).type).replace("item:", "element:") == arrow.get(kind, kind), name
        assert meaning
    frame = pd.read_parquet(tmp_path / "r.parquet")
    assert frame["id"].tolist() == refined.ids.tolist()
    assert frame["given_label"].isna().tolist() == (~refined.labeled).tolist()
    assert frame["given"].isna().tolist() == (~refined.labeled).tolist()
    assert frame["path"].isna().tolist() == [text == "" for text in refined.paths.tolist()]
    drift = pq.read_table(tmp_path / "r.parquet")["evidence_drift"].to_pylist()
    assert [value is None for value in drift] == np.isnan(refined.evidence["drift"]).tolist()
    assert frame["label"].tolist() == [CLASSES[i] for i in refined.label]
    np.testing.assert_array_equal(np.stack(frame["distribution"].to_numpy()), refined.distribution)
    assert [tuple(row) for row in frame["neighbors_for"]] == list(refined.neighbors_for)
    header = json.loads(schema.metadata[b"fercleaner"])
    assert header["schema"] == parquet.SCHEMA
    assert header["classes"] == list(CLASSES)
    assert header["method"] == "hypergraph"
    assert pq.ParquetFile(tmp_path / "r.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_labels_are_indices_and_minus_one_where_unlabeled():
    refined = make(8)
    assert (refined.label == refined.distribution.argmax(1)).all()
    assert (refined.given_label[~refined.labeled] == -1).all()
    assert (refined.given_label[refined.labeled] == refined.given[refined.labeled].argmax(1)).all()
    assert not refined.distribution.flags.writeable


def test_refuses_to_overwrite_without_force(tmp_path):
    path = tmp_path / "r.parquet"
    path.write_text("older")
    for call in (lambda: parquet.write(make(), path), lambda: check_writable(path, False)):
        with pytest.raises(StoreError, match=r"r\.parquet exists already\. Overwrite it with --force"):
            call()
    assert path.read_text() == "older"
    check_writable(path, overwrite=True)
    assert path.read_text() == "older"
    parquet.write(make(), path, overwrite=True)
    assert_equal(make(), parquet.load(path))
    assert leftovers(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "r.parquet"
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path.write_text("another run")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match="exists already: it appeared while this run was writing"):
        parquet.write(make(), path)
    assert path.read_text() == "another run"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            errno.ENOSPC,
            r"the disk is full\. Free some space, or choose another name\. The older file is unchanged",
        ),
        (errno.EIO, r"cannot be written: .*Choose another name"),
    ],
)
def test_a_write_that_fails_leaves_the_older_file(tmp_path, monkeypatch, code, message):
    path = tmp_path / "r.parquet"
    parquet.write(make(), path)
    before = path.read_bytes()

    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match=message):
        parquet.write(make(seed=1), path, overwrite=True)
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to set")
def test_a_write_that_really_runs_out_of_room(tmp_path):
    script = (
        "import resource, sys; sys.path.insert(0, sys.argv[2]); import test_store\n"
        "from fercleaner.results import parquet\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: parquet.write(test_store.make(2000), sys.argv[1])\n"
        "except parquet.StoreError as error: print(error); sys.exit(1)\n"
    )
    path = tmp_path / "r.parquet"
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(here)],
        capture_output=True, text=True, cwd=here.parents[1], env={**os.environ, "PYTHONPATH": str(here.parents[1])},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "r.parquet cannot be written: File too large. Choose another name." in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_next_write_sweeps_what_a_killed_one_left(tmp_path):
    old, fresh = (tmp_path / f".fercleaner-{name}.tmp" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * files.STALE_SECONDS
    os.utime(old, (long_ago, long_ago))
    parquet.write(make(), tmp_path / "r.parquet")
    assert (old.exists(), fresh.exists()) == (False, True)


def test_interrupted_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        parquet.write(make(), tmp_path / "r.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named_early(tmp_path, monkeypatch):
    with pytest.raises(StoreError, match=r"the folder .*absent does not exist\. Make it, or choose another name"):
        check_writable(tmp_path / "absent" / "r.parquet")
    with pytest.raises(StoreError, match=r"is a folder\. Name a file in it, such as .*refined\.parquet"):
        check_writable(tmp_path)
    with pytest.raises(StoreError, match="is not a regular file"):
        check_writable("/dev/null", overwrite=True)

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    for call in (check_writable, lambda path: parquet.write(make(), path)):
        with pytest.raises(StoreError, match=r"the folder cannot be written \(Permission denied\)"):
            call(tmp_path / "r.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_link_keeps_pointing_to_the_file(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "r.parquet").symlink_to(tmp_path / "big" / "r.parquet")
    parquet.write(make(), tmp_path / "r.parquet")
    assert (tmp_path / "r.parquet").is_symlink()
    assert_equal(make(), parquet.load(tmp_path / "big" / "r.parquet"))


def test_a_column_that_is_too_large_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet.arrow, "MOST", 3)
    with pytest.raises(StoreError, match=r"more than 2 GiB of text or 2 billion numbers\. Refine the set in parts"):
        parquet.write(make(), tmp_path / "r.parquet")
    assert not list(tmp_path.iterdir())


def test_text_that_is_not_unicode_is_refused(tmp_path):
    refined = make(2, ids=["a\udcff.png", "b.png"], neighbors_for=((), ()), neighbors_against=((), ()))
    with pytest.raises(StoreError, match=r"'a\\udcff\.png' is not valid Unicode .* Rename the file"):
        parquet.write(refined, tmp_path / "r.parquet")
    assert list(tmp_path.iterdir()) == []


def test_load_says_what_is_wrong_with_a_file(tmp_path):
    path = tmp_path / "r.parquet"
    with pytest.raises(StoreError, match=r"no such file\. Write one with fercleaner refine"):
        parquet.load(path)
    with pytest.raises(StoreError, match="is a folder"):
        parquet.load(tmp_path)
    for text in ("id,label\n1,2\n", ""):
        path.write_text(text)
        with pytest.raises(StoreError, match="is not a Parquet file"):
            parquet.load(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(StoreError, match="is Parquet, but not written by fercleaner"):
        parquet.load(path)


def rewrite(path: Path, header: dict[str, object] | None = None, **columns: object) -> None:
    """Write the table again with another header, or with columns dropped (None) or replaced."""
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.remove_column(place) if values is None else table.set_column(place, name, pa.array(values))
    if header is not None:
        table = table.replace_schema_metadata({parquet.METADATA_KEY: json.dumps(header).encode()})
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": {"schema": 2, "classes": ["a"]}}, r"has schema 2; .* reads up to 1\. Upgrade fercleaner"),
        ({"header": {"classes": ["a"]}}, "is damaged: its metadata cannot be read"),
        ({"header": {"schema": 1, "classes": ["a", "b"]}}, "row 0 holds 3 numbers for 2 classes"),
        ({"weight": None}, "is damaged: column 'weight' is missing"),
        ({"weight": [2.0] * 6}, r"weight must lie in \[0, 1\]"),
        ({"weight": ["heavy"] * 6}, "is damaged: .*heavy"),
        ({"id": ["a"] * 6}, "id 'a' is there twice"),
        ({"id": [None, *"abcde"]}, "column 'id' holds nulls"),
        ({"distribution": [[0.2, 0.2, 0.2]] * 6}, "row 0 is not a distribution"),
    ],
)
def test_load_refuses_what_it_cannot_trust(tmp_path, change, message):
    path = tmp_path / "r.parquet"
    parquet.write(make(), path)
    rewrite(path, **change)
    with pytest.raises(StoreError, match=message):
        parquet.load(path)


def test_load_finds_every_kind_of_damage(tmp_path):
    path = tmp_path / "r.parquet"
    parquet.write(make(200), path)
    whole = path.read_bytes()
    good = make(200)
    for cut in (4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match="damaged"):
            parquet.load(path)
    outcomes = []
    for place in range(4, len(whole) - 4, 41):  # pages, and the footer with class names and metadata
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert_equal(good, parquet.load(path))
            outcomes.append("equal")
        except StoreError:
            outcomes.append("refused")
    # A flipped bit is found, or lies where it changes nothing; it never changes a value silently.
    assert outcomes.count("refused") > 0.8 * len(outcomes)


def test_a_change_that_parquet_cannot_see_is_refused(tmp_path):
    """Pages have checksums of their own; names of classes, metadata and rewritten columns have the digest alone."""
    path = tmp_path / "r.parquet"
    parquet.write(make(), path)
    head = json.loads(pq.read_schema(path).metadata[parquet.METADATA_KEY])
    changes = [
        {"header": {**head, "classes": ["fear", *head["classes"][1:]]}},
        {"header": {**head, "method": "another"}},
        {"header": {**head, "digest": "0" * 64}},
        {"reason": ["because"] * 6},
        {"neighbors_for": [["a"]] * 6},
        {"evidence_vote": [0.5] * 6},
        {"flagged": [False] * 6},
    ]
    for change in changes:
        parquet.write(make(), path, overwrite=True)
        rewrite(path, **change)
        with pytest.raises(StoreError, match="is damaged: its contents do not give the digest that it carries"):
            parquet.load(path)


def test_a_file_from_before_there_was_a_digest_is_read_with_a_note(tmp_path, caplog):
    path = tmp_path / "r.parquet"
    parquet.write(make(), path)
    head = json.loads(pq.read_schema(path).metadata[parquet.METADATA_KEY])
    assert len(head.pop("digest")) == 64
    rewrite(path, header=head)
    assert_equal(make(), parquet.load(path))
    assert f"{path} carries no digest" in caplog.text


def test_the_digest_is_of_what_the_columns_say_not_of_how_they_lie(tmp_path):
    table = pa.table({"a": pa.array(["x", None, "longer", ""]), "b": pa.array([[1.0], None, [], [2.0, 3.0]])})
    typed = table.cast(pa.schema([("a", pa.string()), ("b", pa.list_(pa.float32()))]))
    cut = pa.concat_tables([typed.slice(0, 1), typed.slice(1, 3)])
    assert parquet.digest_of(typed, "{}") == parquet.digest_of(cut, "{}")
    others = [
        {"a": ["x", "", "longer", ""]},
        {"a": ["xl", None, "onger", ""]},
        {"b": [[1.0], [], [], [2.0, 3.0]]},
        {"b": [[1.0, 2.0], None, [], [3.0]]},
    ]
    for other in others:
        columns = {**{name: typed[name].to_pylist() for name in ("a", "b")}, **other}
        assert parquet.digest_of(pa.table(columns, schema=typed.schema), "{}") != parquet.digest_of(typed, "{}")


def test_added_columns_are_ignored_and_wider_types_accepted(tmp_path):
    path = tmp_path / "r.parquet"
    parquet.write(make(), path)
    table = pq.read_table(path)
    table = table.append_column("my_note", pa.array(["x"] * 6))
    table = table.set_column(8, "weight", table["weight"].cast(pa.float64()))
    pq.write_table(table, path)
    assert_equal(make(), parquet.load(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.ones(5)}, r"RefinedSet.weight has shape \(5,\), expected \(6,\)"),
        ({"evidence": {"vote": np.ones(5)}}, r"RefinedSet.vote has shape \(5,\)"),
        ({"evidence": {"vote": np.full(6, np.inf)}}, "evidence 'vote' holds infinity"),
        ({"quality": np.full(6, np.nan)}, r"quality must lie in \[0, 1\]"),
        ({"neighbors_for": ((),)}, "neighbors_for has 1 rows for 6 faces"),
        ({"labeled": np.zeros(6, bool)}, "given must be zero where"),
        ({"flagged": np.ones(6, bool)}, "can be neither flagged nor changed"),
        ({"classes": ("a", "a", "b")}, "class names must be unique: a, a, b"),
        ({"metadata": {"x": {1, 2}}}, "must hold JSON types only"),
        ({"metadata": {"x": float("nan")}}, "must hold JSON types only"),
        ({"metadata": {"classes": []}}, "the key 'classes' belongs to the file"),
    ],
)
def test_a_set_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        make(**change)


def test_a_set_of_the_usual_size_is_loaded_as_it_was(tmp_path):
    n = 28_709
    ids = [f"images/{i:05d}.png" for i in range(n)]
    near = tuple(tuple(ids[(i + j) % n] for j in range(5)) for i in range(n))
    refined = make(n, ids=ids, paths=ids, neighbors_for=near, neighbors_against=near)
    parquet.write(refined, tmp_path / "r.parquet")
    assert parquet.load(tmp_path / "r.parquet").neighbors_for == near
