"""Inputs for every reader: made up by rule from a source of random choices, damaged at random, read.

`READERS` maps a reader's name to a function of (folder, random): it writes an input into the folder and reads it. What
it raises is judged by who calls: the tests, 200 cases a reader under hypothesis, and `fuzz_readers.py`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from reader_sets import (
    IDS,
    Random,
    affectnet,
    damaged,
    faces,
    folders,
    huggingface,
    lists,
    manifest,
    manifest_parquet,
    npy_bytes,
    parquet_bytes,
    pixels,
    table_text,
    votes_folders,
    written,
)

from fercleaner.datasets.posteriors import read_posteriors
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders.checkpoints import read_state
from fercleaner.encoders.vectors import read_view
from fercleaner.extraction.images import FileImages, decode, read_bytes
from fercleaner.landmarks import PointsFile
from fercleaner.landmarks.au_columns import from_columns
from fercleaner.results import parquet
from fercleaner.review.exchange import read_decisions

Reader = Callable[[Path, Random], Any]


def _arrays(pick: Random, n: int = 6) -> tuple[Any, ...]:
    rng = np.random.default_rng(pick.randrange(1 << 30))
    rows = rng.normal(size=(n, 4))
    holes = rows.copy()
    holes[pick.randrange(n)] = pick.choice((np.nan, 0.0, np.inf))
    odd = (rows.astype("f2"), rows > 0, rows.astype(complex), np.zeros(()), np.zeros((0, 4)), np.array([["x"] * 4] * n))
    return (rows, rows, holes, rows.astype("i4"), np.zeros((n, 4)), rows.reshape(n, 2, 2), *odd)


def _ids(pick: Random) -> Any:
    text = np.array(IDS)
    odd = (
        text.astype("S", casting="unsafe") if text[-1].isascii() else np.array([b"\xff"] * 6),
        np.arange(6),
        np.zeros(6),
    )
    return pick.choice((text, text, text, *odd, text[:3], np.array(0), np.array([["a"]]), np.array(["a.jpg"] * 6)))


def npz_bytes(pick: Random, **arrays: Any) -> bytes:
    """Return an .npz, now and then with a member too few or of another name."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", pick.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, value in arrays.items():
            if pick.random() < 0.95:
                archive.writestr(
                    f"{name}.npy",
                    damaged(npy_bytes(pick, (value,)), pick) if pick.random() < 0.2 else npy_bytes(pick, (value,)),
                )
    return held.getvalue()


def view(folder: Path, pick: Random) -> Any:
    """A view in one of its three formats."""
    name = pick.choice(("v.npy", "v.npz", "v.parquet"))
    if name == "v.npy":
        data = npy_bytes(pick, _arrays(pick))
    elif name == "v.npz":
        data = npz_bytes(pick, ids=_ids(pick), values=pick.choice(_arrays(pick)))
    else:
        data = parquet_bytes(pick, ("id", "f0", "f1", "label", "vector", "path", "__index_level_0__"))
    return read_view("v", written(folder, name, data, pick), faces())


def landmarks(folder: Path, pick: Random) -> Any:
    """Landmarks in one of their formats."""
    points = np.random.default_rng(0).random((6, 68, 2))
    holes = points.copy()
    holes[1] = np.nan
    kinds = (
        points,
        holes,
        points.reshape(6, 136),
        np.zeros((0, 68, 2)),
        np.zeros((6, 68, 3)),
        np.zeros(()),
        points.astype("U"),
    )
    name = pick.choice(("p.npy", "p.npz", "p.csv", "p.parquet"))
    if name == "p.npy":
        data: bytes | str = npy_bytes(pick, kinds)
    elif name == "p.npz":
        data = npz_bytes(pick, ids=_ids(pick), points=pick.choice(kinds))
    elif name == "p.parquet":
        data = parquet_bytes(pick, ("id", "x0", "y0", "confidence"))
    else:
        names = [f"{axis}{k}" for axis in "xy" for k in range(68)][: pick.choice((136, 136, 135))]
        cells = ("1", "2.5", "", "nan", "1e400", "x") if pick.random() < 0.3 else ("1", "2.5")
        rows = [",".join([pick.choice(IDS), *(pick.choice(cells) for _ in names)]) for _ in range(pick.randrange(4))]
        data = "\n".join([",".join(["image", *names]), *rows])
    return PointsFile(str(written(folder, name, data, pick))).read(faces())


def action_units(folder: Path, pick: Random) -> Any:
    """A table of action units."""
    columns = (
        "image",
        "id",
        "input",
        "AU01",
        "AU1_r",
        "au_12_c",
        "AU04_p",
        "U",
        "success",
        "confidence",
        "FaceScore",
        "label",
    )
    cells = ("0", "1", "0.5", "1.0000001", "3", "7", "-0.01", "", "nan", "x", "1e400", "50%")
    if pick.random() < 0.2:
        return from_columns(str(written(folder, "u.parquet", parquet_bytes(pick, columns), pick)), faces())
    return from_columns(str(written(folder, "u.csv", table_text(pick, columns, cells), pick)), faces())


def truth(folder: Path, pick: Random) -> Any:
    """Votes or clean labels, matched with the set."""
    columns = ("image", "id", "happy", "sadness", "Sad", "label", "clean_label", "unknown", "NF", "x")
    cells = ("happy", "sad", "0", "3", "2.5", "", "nan", "smirk", "unknown", "-1", "50%")
    name, data = (
        ("t.parquet", parquet_bytes(pick, columns))
        if pick.random() < 0.2
        else ("t.csv", table_text(pick, columns, cells))
    )
    found = read_truth(written(folder, name, data, pick), ("happiness", "sadness"))
    return found.rows_of(faces().ids, faces().paths)


def posteriors(folder: Path, pick: Random) -> Any:
    """A model's posteriors in one of their formats."""
    name = pick.choice(("q.csv", "q.npy", "q.npz", "q.parquet"))
    columns = ("image", "happy", "sadness", "happiness", "fear", "label", "3", "")
    if pick.random() < 0.5:
        rows = [f"{key},{pick.random():.3f},{pick.random():.3f},x" for key in IDS if '"' not in key and "," not in key]
        data: bytes | str = "\n".join(["image,happy,sadness,note", *rows])
        name = "q.csv"
    elif name == "q.npy":
        values = np.random.default_rng(pick.randrange(1 << 30)).random((6, 2))
        data = npy_bytes(pick, (values, values, *_arrays(pick)))
    elif name == "q.npz":
        classes = np.array(pick.choice((("happiness", "sadness"), ("a", "sad"), ("happy", "happy", "Sad", "fear"))))
        data = npz_bytes(pick, ids=_ids(pick), values=pick.choice(_arrays(pick)), classes=classes)
    elif name == "q.parquet":
        data = parquet_bytes(pick, columns)
    else:
        data = table_text(pick, columns, ("0.5", "0", "1", "0.25", "", "nan", "-1", "50%", "1e400", "x"))
    return read_posteriors("q", written(folder, name, data, pick), faces())


def decisions(folder: Path, pick: Random) -> Any:
    """The log of a review, or the tables that people and tools bring back."""
    if pick.random() < 0.3:
        columns = ("image", "id", "label", "decision", "who", "annotator", "choice", "kind")
        cells = ("happy", "sadness", "skip", "ambiguous", "happy / sad", "not a face", "", "ann", "7")
        return read_decisions([written(folder, "d.csv", table_text(pick, columns, cells), pick)], faces().classes)
    kinds = ("label", "label", "ambiguous", "not a face", "skip", "x", None, 3)
    odd = (None, 3, "x", [], {}, [["happiness"]], True)
    lines = []
    for _ in range(pick.randrange(5)):
        classes = pick.choice((["happiness"], ["sadness"], ["happiness", "sadness"], [], ["smirk"], "happiness", None))
        entry: dict[str, Any] = {
            "at": "2026-03-01T10:22:07.120Z",
            "who": pick.choice(("ann", "ben")),
            "id": pick.choice(IDS),
            "action": "label",
            "before": None,
            "after": {"kind": pick.choice(kinds), "classes": classes},
            "shown": {"given": "sadness", "probability": pick.choice((0.5, float("nan")))},
        }
        if pick.random() < 0.3:
            entry[pick.choice(list(entry))] = pick.choice(odd)
        lines.append(json.dumps(pick.choice((entry, entry, entry, [entry], "x"))))
    deep = pick.choice(("", "", "", "[" * 100_000, '{"id": ' * 50_000))
    name = pick.choice(("d.jsonl", "d.jsonl", "d.json"))
    return read_decisions([written(folder, name, "\n".join([*lines, deep]), pick)], faces().classes)


def picture(folder: Path, pick: Random) -> Any:
    """A picture of one of many formats and modes."""
    from PIL import Image

    kinds = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000")
    held = io.BytesIO()
    gray = Image.fromarray(np.random.default_rng(pick.randrange(99)).integers(0, 255, (9, 7)).astype("u1"))
    kind = pick.choice(kinds)
    gray.convert("RGB" if kind == "JPEG2000" else pick.choice(("L", "RGB", "1") if kind != "WEBP" else ("RGB",))).save(
        held, kind
    )
    data = held.getvalue()
    if pick.random() < 0.2:
        white = pick.choice((255, 1023, 65535, 0, 99999))
        head = f"{pick.choice(('P5', 'P2', 'P6', 'Pf'))} {pick.choice((4, 99999, 0))} 2 {white}\n"
        data = head.encode() + data
    return decode(read_bytes(FileImages([str(written(folder, "p.jpg", data, pick))]), 0))


def refined(folder: Path, pick: Random) -> Any:
    """A refined file of ours."""
    return parquet.load(written(folder, "r.parquet", _refined_bytes(pick), pick))


def _refined_bytes(pick: Random) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = pick.randrange(4)
    values: dict[str, Any] = {
        **{name: [f"{name}{i}" for i in range(n)] for name in ("id", "path", "split", "reason")},
        **{name: ["happy"] * n for name in ("given_label", "label")},
        **{name: [[0.5, 0.5]] * n for name in ("given", "distribution")},
        **{name: [True] * n for name in ("labeled", "flagged", "changed")},
        **{name: [0.5] * n for name in ("weight", "quality")},
        **{name: [["id0"]] * n for name in ("neighbors_for", "neighbors_against")},
    }
    for _ in range(pick.choice((0, 1, 2))):
        name = pick.choice(list(values))
        values[name] = [pick.choice((None, 1, 2.5, "x", [None], ["a"], [1.0], True))] * n
    header: Any = {
        "schema": pick.choice((1, 2, "x", 99, None)),
        "classes": pick.choice((["happy", "sad"], 3, "ab", [1, [2]])),
    }
    text = pick.choice((json.dumps(header), "[" * 100_000, "{}", "null", "\udcff".encode(errors="surrogatepass")))
    meta = {b"fercleaner": text if isinstance(text, bytes) else text.encode()}
    held = io.BytesIO()
    pq.write_table(pa.table(values).replace_schema_metadata(meta), held)
    return held.getvalue()


def checkpoint(folder: Path, pick: Random) -> Any:
    """A checkpoint: safetensors or what torch saves."""
    size = pick.choice((4, 10**12, -1))
    head = json.dumps({"w": {"dtype": "F32", "shape": [pick.choice((1, 10**9))], "data_offsets": [0, size]}}).encode()
    data = len(head).to_bytes(8, "little") + head + b"\0" * 4
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00." if pick.random() < 0.5 else b"cos\nsystem\n.")
        archive.writestr("archive/version", b"3\n")
    return read_state(
        written(folder, "w.safetensors", data, pick)
        if pick.random() < 0.5
        else written(folder, "w.pt", held.getvalue(), pick)
    )


READERS: dict[str, Reader] = {
    made.__name__: made
    for made in (
        *(manifest, manifest_parquet, lists, pixels, votes_folders, affectnet, folders, huggingface),
        *(view, landmarks, action_units, truth, posteriors, decisions, picture, refined, checkpoint),
    )
}
