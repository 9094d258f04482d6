"""Inputs for every reader: made up by rule from a source of random choices, damaged at random, read.

`READERS` maps a reader's name to a function of (folder, random): it writes an input into the folder and reads it. What
it raises is judged by who calls: the tests, 200 cases a reader under hypothesis, and `fuzz_readers.py`.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fercleaner.core.types import Samples
from fercleaner.datasets import LAYOUTS, read, recognize
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders.checkpoints import read_state
from fercleaner.encoders.vectors import read_view
from fercleaner.extraction.images import FileImages, decode, read_bytes
from fercleaner.landmarks import PointsFile
from fercleaner.landmarks.au_columns import from_columns
from fercleaner.results import parquet

Random = random.Random
Reader = Callable[[Path, Random], Any]

WORDS = (
    *(
        "happy",
        "Sad",
        "ANGER ",
        "neutral",
        "smirk",
        "",
        "nan",
        "NA",
        "None",
        " ",
        "?",
        "-1",
        "0",
        "3",
        "3.0",
        "03",
        "1e5",
    ),
    *(
        "1e400",
        "-inf",
        "50%",
        "0,5",
        "happy;sad",
        "[1, 0]",
        "a\nb",
        'a"b',
        '"',
        "'x'",
        "\ufeff",
        "caf\u00e9",
        "cafe\u0301",
    ),
    *(
        "\u202ex",
        "\x1b[31m",
        "9" * 40,
        "x" * 300,
        "\u0662",
        "\u00b2",
        "1_000",
        "0x1F",
        "True",
        "unknown",
        "99",
        "\x7f",
        "\r",
    ),
)
COLUMNS = (
    *("image", "label", "id", "split", "group", "site", "box", "happy", "sad", "anger", "unknown", "NF", "emotion"),
    *("left", "top", "right", "bottom", "Unnamed: 0", "pixels", "Usage", "name", "", "label ", "IMAGE", "valence"),
)
IDS = ("a.jpg", "b.jpg", "c.jpg", "00012", "d/e.png", "caf\u00e9.png")
TOKENS = (
    b"\0",
    b"\xff\xfe",
    b"\n",
    b"\r",
    b'"',
    b",",
    b";",
    b"PAR1",
    b"\x93NUMPY",
    b"\x1b",
    b"9" * 30,
    b"nan",
    b"{",
    b"(",
)


def faces(n: int = 6) -> Samples:
    """Return a set that files beside it are matched with."""
    ids = np.array(IDS[:n])
    return Samples(ids, ("happiness", "sadness"), np.eye(2, dtype="f4")[np.arange(n) % 2], np.ones(n, bool), ids)


def damaged(data: bytes, pick: Random) -> bytes:
    """Return bytes with a few cut, changed, repeated or put in; unchanged in four cases of nine."""
    out = bytearray(data)
    for _ in range(pick.choice((0, 0, 0, 0, 1, 1, 2, 4, 16))):
        at = pick.randrange(len(out) + 1)
        kind = pick.randrange(5)
        if kind == 0:
            del out[at : at + pick.choice((1, 4, 64, 10**9))]
        elif kind == 1:
            out[at:at] = pick.choice(TOKENS)
        elif kind == 2 and out:
            out[at % len(out)] = pick.randrange(256)
        elif kind == 3 and out:
            out[at % len(out)] ^= 1 << pick.randrange(8)
        else:
            out[at:at] = out[max(at - 32, 0) : at]
    return bytes(out)


def table_text(pick: Random, columns: tuple[str, ...], cells: tuple[str, ...] = WORDS) -> str:
    """Return a table with columns from a list (now and then one twice), cells from another, quoted or not."""
    names = [pick.choice(columns) for _ in range(pick.randrange(1, 6))]
    names = names if pick.random() < 0.1 else list(dict.fromkeys([*columns[: pick.choice((0, 1, 2, 2, 2))], *names]))
    mark = pick.choice((",", ",", ",", ";", "\t", "|", " "))
    few = [pick.choice(cells[: pick.choice((4, 12, len(cells)))]) for _ in range(3)]  # a set has few classes
    ids = list(IDS)
    pick.shuffle(ids)

    def cell(name: str, row: int) -> str:
        key = name.strip().lower() in ("image", "id", "name", "input")
        text = ids[row % len(ids)] if key and pick.random() < 0.98 else pick.choice(few)
        quoted = pick.random() < 0.1 or (pick.random() < 0.95 and any(c in text for c in f'{mark}"\n\r'))
        return '"' + text.replace('"', '""') + '"' if quoted else text

    rows = [mark.join(cell(name, k) for name in names) for k in range(pick.choice((0, 2, 3, 4, 5, 6)))]
    return pick.choice(("\n", "\n", "\r\n", "\r")).join([mark.join(names), *rows, ""])


def written(folder: Path, name: str, data: bytes | str, pick: Random) -> Path:
    """Write an input, damaged or not, in one of several encodings."""
    if isinstance(data, str):
        data = data.encode(pick.choice(("utf-8",) * 9 + ("utf-8-sig", "utf-16", "latin-1")), errors="replace")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damaged(data, pick))
    return path


def set_of(path: Path, layout: str = "auto") -> Any:
    """Read a set, as what it is or as what it is not."""
    if layout == "auto":
        recognize(path)
    return read(path, layout=layout)


def manifest(folder: Path, pick: Random) -> Any:
    """A manifest of text."""
    return set_of(written(folder, pick.choice(("s.csv", "s.tsv", "s.txt")), table_text(pick, COLUMNS), pick))


def manifest_parquet(folder: Path, pick: Random) -> Any:
    """A manifest in Parquet, of any types."""
    return set_of(written(folder, "s.parquet", parquet_bytes(pick, COLUMNS), pick))


def parquet_bytes(pick: Random, names: tuple[str, ...]) -> bytes:
    """Return a Parquet file with columns of any type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = pick.choice((0, 3, 4, 5, 6))
    few = [pick.choice(WORDS[: pick.choice((4, 12, len(WORDS)))]) for _ in range(3)]
    kinds: dict[str, Callable[[], Any]] = {
        "text": lambda: pa.array([pick.choice((*few, None)) for _ in range(n)], pa.string()),
        "ids": lambda: pa.array(list(IDS[:n]), pa.string()),
        "int": lambda: pa.array([pick.choice((None, 0, 1, -1, 2**62)) for _ in range(n)], pa.int64()),
        "float": lambda: pa.array([pick.choice((None, 0.5, float("nan"), 1e300, 3.0)) for _ in range(n)], pa.float64()),
        "bool": lambda: pa.array([pick.choice((None, True, False)) for _ in range(n)], pa.bool_()),
        "list": lambda: pa.array(
            [pick.choice((None, [], [1.0, 2.0], [1.0, None])) for _ in range(n)], pa.list_(pa.float32())
        ),
        "vectors": lambda: pa.array([[pick.random(), pick.random()] for _ in range(n)], pa.list_(pa.float64())),
        "deep": lambda: pa.array([[[1.0]]] * n, pa.list_(pa.list_(pa.float32()))),
        "struct": lambda: pa.array([{"bytes": b"x", "path": "a"}] * n),
        "bytes": lambda: pa.array([pick.choice((b"x", b"\xff", None)) for _ in range(n)], pa.binary()),
        "category": lambda: pa.array([pick.choice(few) for _ in range(n)]).dictionary_encode(),
        "null": lambda: pa.nulls(n),
        "time": lambda: pa.array([0] * n, pa.timestamp("us")),
        "decimal": lambda: pa.array([None] * n, pa.decimal128(20, 4)),
    }
    first = ("id", "label") if "label" in names else ("id",)
    chosen = list(dict.fromkeys([*first[: pick.choice((0, 1, 2, 2))], *(pick.choice(names) for _ in range(3))]))
    usual = {"id": "ids", "label": "text"}
    columns = [
        kinds[usual[name] if name in usual and pick.random() < 0.9 else pick.choice(list(kinds))]() for name in chosen
    ]
    held = io.BytesIO()
    pq.write_table(pa.table(columns, names=chosen), held, compression=pick.choice(("none", "zstd", "snappy")))
    return held.getvalue()


def lists(folder: Path, pick: Random) -> Any:
    """RAF-DB's and ExpW's lists."""
    words = (
        "train_00001.jpg",
        "test_2.jpg",
        "my face.png",
        "5",
        "1",
        "12",
        "0",
        "nan",
        "x",
        "60.5",
        "1e400",
        "\x1b",
        "-1",
    )
    name, usual = pick.choice((("EmoLabel/list_patition_label.txt", 1), ("label.lst", 7)))
    rest = words if pick.random() < 0.3 else ("1", "2", "5")

    def line(k: int) -> str:
        fields = [pick.choice(rest) for _ in range(usual if pick.random() < 0.9 else pick.randrange(9))]
        return " ".join([pick.choice((f"train_{k}.jpg", f"my face {k}.png", f"train_{k}.jpg", "x")), *fields])

    text = "\n".join(map(line, range(4)))
    written(folder, name, text, pick)
    return set_of(folder)


def pixels(folder: Path, pick: Random) -> Any:
    """FER2013's csv, with and without FERPlus's votes."""
    faces_ = ("1 2 3 4", "0 0 0 255") if pick.random() < 0.6 else ("1 2 3 4", "1 2", "", "300 1 1 1", "x")
    rows = [f"{pick.choice('0123')},{pick.choice(faces_)},Training" for _ in range(3)]
    written(folder, "fer2013.csv", "\n".join(["emotion,pixels,Usage", *rows]), pick)
    if pick.random() < 0.5:
        header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
        votes = [",".join(["Training", "f", *(str(pick.randrange(10)) for _ in range(10))]) for _ in range(3)]
        written(folder, "fer2013new.csv", "\n".join([header, *votes]), pick)
    return set_of(folder)


def votes_folders(folder: Path, pick: Random) -> Any:
    """FERPlus's folders."""
    rows = [f'f{i}.png,"(0, 0, 48, 48)",' + ",".join(str(pick.randrange(4)) for _ in range(10)) for i in range(3)]
    written(folder, "FER2013Train/label.csv", "\n".join(rows), pick)
    return set_of(folder)


def affectnet(folder: Path, pick: Random) -> Any:
    """AffectNet's csv, and its folders of .npy."""
    if pick.random() < 0.5:
        header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression"
        points = ";".join(["1.5"] * pick.choice((136, 136, 4)))
        rows = [
            f"1/{i}.jpg,{pick.choice(('1', 'NULL', 'x'))},2,3,4,{points},{pick.choice(WORDS[11:16])}" for i in range(3)
        ]
        written(folder, "training.csv", "\n".join([header, *rows]), pick)
        return set_of(folder, pick.choice(("auto", "affectnet")))
    for i in range(3):
        written(folder, f"train_set/images/{i}.jpg", b"", pick)
        written(folder, f"train_set/annotations/{i}_exp.npy", npy_bytes(pick, (np.array(str(i)), np.array(i))), pick)
        written(folder, f"train_set/annotations/{i}_lnd.npy", npy_bytes(pick, (np.zeros(136), np.zeros((68, 2)))), pick)
    return set_of(folder, pick.choice(("auto", "affectnet-npy")))


def folders(folder: Path, pick: Random) -> Any:
    """A folder per class."""
    parts = (
        "happy",
        "sad",
        "train",
        "test",
        "images",
        "01_anger",
        "@eaDir",
        ".x",
        "nan",
        "3",
        "caf\u00e9",
        "cafe\u0301",
        "a b",
    )
    files = ("a.jpg", "b.JFIF", "c.heic", "d", ".e.jpg", "x\x1b.png", "f.jpg ", "Thumbs.db")
    for _ in range(pick.randrange(8)):
        deep = [pick.choice(parts) for _ in range(pick.choice((0, 1, 1, 2, 3)))]
        written(folder, "/".join([*deep, pick.choice(files)]), b"", pick)
    return set_of(folder, pick.choice(("auto", "auto", *LAYOUTS)))


def huggingface(folder: Path, pick: Random) -> Any:
    """A dataset as save_to_disk writes it, one of its files damaged."""
    import pyarrow as pa

    table = pa.table({"image": list(IDS), "label": pa.array([0, 1, 2, 0, None, 5], pa.int64())})
    held = io.BytesIO()
    with pa.ipc.new_stream(held, table.schema) as stream:
        stream.write_table(table)
    kind = {"names": ["happy", "sad", "anger"], "_type": "ClassLabel"}
    info = {"features": {"image": {"dtype": "string", "_type": "Value"}, "label": kind}}
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "x", "_split": None}
    state |= {"_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False}
    written(folder, "data-00000-of-00001.arrow", held.getvalue(), pick)
    (folder / "dataset_info.json").write_bytes(damaged(json.dumps(info).encode(), pick))
    (folder / "state.json").write_bytes(damaged(json.dumps(state).encode(), pick))
    return set_of(folder)


def npy_bytes(pick: Random, arrays: tuple[Any, ...]) -> bytes:
    """Return one of `arrays` as .npy, now and then with a header that lies."""
    held = io.BytesIO()
    np.save(held, pick.choice(arrays))
    data = held.getvalue()
    if pick.random() < 0.2:
        shape = pick.choice(("(10000000000, 512)", "()", "(-1, 3)", "(0, 0)", "(3,)", "(2**70,)", "("))
        kind = pick.choice(("<f4", "|O", "<U9999999", "|V0", "zz"))
        text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data[-64:]
    return data


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
        *(view, landmarks, action_units, truth, picture, refined, checkpoint),
    )
}
