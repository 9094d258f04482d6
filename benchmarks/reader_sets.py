"""Inputs for the readers of sets, and what inputs are made from: words, columns, damage (see `reader_cases.py`)."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fercleaner.core.types import Samples
from fercleaner.datasets import LAYOUTS, read, recognize

Random = random.Random

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

    table = pa.table({"image": list(IDS), "label": pa.array([0, 1, 2, 0, None, pick.choice((2, 2, 2, 5))], pa.int64())})
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
