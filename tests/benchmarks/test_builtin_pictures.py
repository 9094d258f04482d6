"""How the builtin model is judged on a folder of pictures: read as any set is, and nothing left out in silence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fercleaner.core.errors import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not (BENCHMARKS / "train_builtin.py").is_file():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
import builtin_pictures as pictures  # noqa: E402
import evaluate_builtin  # noqa: E402

LABELS = ("happy", "Sadness", "surprised", "ANGRY", "neutral", "happy")


def faces(count: int = len(LABELS)) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (count, 6, 6), dtype=np.uint8)
    return [Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC) for one in small]


def table(path: Path, rows: list[tuple[str, ...]], header: str = "image,label") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


def judged(folder: Path, truth: Path, **options: Any) -> dict[str, Any]:
    return pictures.judge_folder(folder, truth, None, None, "none", **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for k, face in enumerate(faces()):
        face.save(tmp_path / "set" / f"{k}.png")
    return tmp_path / "set"


@pytest.fixture
def rows() -> list[tuple[str, ...]]:
    return [(f"{k}.png", label) for k, label in enumerate(LABELS)]


def test_pictures_are_read_as_the_package_reads_them(folder: Path, rows: list[tuple[str, ...]], tmp_path: Path) -> None:
    """16 bits, floats, palettes and a turn by EXIF change nothing: the same faces give the same figures."""
    plain = judged(folder, table(tmp_path / "a.csv", rows))
    other = tmp_path / "other" / "Sub"
    other.mkdir(parents=True)
    gray = [np.asarray(face) for face in faces()]
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(gray[0].astype(np.uint16) * 257).save(other / "0.PNG")
    Image.fromarray(gray[1].astype(np.float32) / np.float32(255)).save(other / "1.tif")
    Image.fromarray(gray[2]).convert("RGBA").save(other / "2.png")
    Image.fromarray(gray[3]).transpose(Image.Transpose.ROTATE_90).save(other / "3.png", exif=turned)
    Image.fromarray(gray[4]).convert("P").save(other / "4.gif")
    Image.fromarray(gray[5]).save(other / "5.webp", lossless=True)
    names = ("0.PNG", "1.tif", "2.png", "3.png", "4.gif", "5.webp")
    found = judged(
        other.parent,
        table(tmp_path / "b.csv", [(f"Sub/{name}", label) for name, label in zip(names, LABELS, strict=True)]),
    )
    assert found == plain
    assert plain["judged"] == len(LABELS)
    assert plain["classes"] == ["neutral", "happiness", "surprise", "sadness", "anger"]


def test_what_is_not_judged_is_counted_and_told(
    folder: Path, rows: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "text.png").write_text("no picture")
    Image.new("L", (2000, 20)).save(folder / "long.png")
    more = [(name, "fear") for name in ("cut.png", "text.png", "gone.png", "long.png")]
    found = judged(folder, table(tmp_path / "t.csv", [*rows[:-1], *more, ("5.png", "")]))
    assert found["not judged"] == {
        reason: {"pictures": 1, "first": first}
        for reason, first in {
            "truncated image": "cut.png",
            "not an image": "text.png",
            "file not found": "gone.png",
            "picture is too elongated": "long.png",
            "no truth": "5.png",
        }.items()
    }
    assert (found["pictures"], found["judged"], found["faces found"]) == (10, 5, 6)
    said = capsys.readouterr().err
    assert "Not judged: 1 of 10 pictures, file not found (first: gone.png)." in said
    assert judged(folder, table(tmp_path / "t.csv", rows[:5]))["without a row in the table"] == 4
    assert "4 pictures of" in capsys.readouterr().err


def test_what_the_model_learned_from_is_told(
    folder: Path,
    rows: list[tuple[str, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fercleaner.encoders import builtin

    shown = np.stack([builtin.prepare_face(np.asarray(face)) for face in faces()[:2]])
    monkeypatch.setattr(builtin, "_training_digests", lambda: builtin.picture_digests(shown))
    assert judged(folder, table(tmp_path / "t.csv", rows))["trained on"] == 2
    assert "2 of 6 pictures trained the model" in capsys.readouterr().err


def test_given_labels_are_judged_and_none_wrong_is_no_figure(
    folder: Path, rows: list[tuple[str, ...]], tmp_path: Path
) -> None:
    right = table(tmp_path / "t.csv", [(*row, row[1]) for row in rows], "image,label,given")
    assert judged(folder, right)["as a judge of labels"] == {
        "labels": "as given",
        "wrong": 0.0,
        "average_precision": None,
    }
    wrong = table(
        tmp_path / "t.csv", [*((*row, row[1]) for row in rows[:5]), ("5.png", "happy", "sad")], "image,label,given"
    )
    assert judged(folder, wrong)["as a judge of labels"]["wrong"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (("3", "0", "4", "1", "2", "3"), {}, r"holds numbers \(0, 1, 2, 3, 4\), which say no expression.*--classes"),
        (("happy", "sad", "bored", "sad", "sad", "sad"), {}, "row 4: label 'bored' .*--alias bored="),
        (("happy",) * 6, {}, "at least 2 classes"),
        (("happy", "sad", "sad", "sad", "sad", "sad"), {"alias": {"happy": ""}, "classes": ["happy", "sad"]}, "have 1"),
        (("cat", "dog", "cat", "dog", "cat", "dog"), {}, "None of the 6 pictures"),
    ],
)
def test_tables_that_cannot_judge_say_why(
    folder: Path, tmp_path: Path, labels: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    truth = table(tmp_path / "t.csv", [(f"{k}.png", label) for k, label in enumerate(labels)])
    with pytest.raises(InputError, match=message):
        judged(folder, truth, **options)


def test_numbers_and_other_words_are_named(
    folder: Path, rows: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = judged(folder, table(tmp_path / "t.csv", rows))
    codes = table(tmp_path / "c.csv", [(f"{k}.png", code) for k, code in enumerate("345063")])
    assert judged(folder, codes, classes=["fer2013"])["recalls"] == plain["recalls"]
    words = table(tmp_path / "w.csv", [*((n, f"x{w}") for n, w in rows[:5]), ("5.png", "unclear")])
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(evaluate_builtin, "write", lambda result, args: seen.append(result))
    alias = [f"--alias=x{label}={label}" for label in LABELS[:5]]
    argv = ["evaluate_builtin.py", "--pictures", str(folder), "--truth", str(words), "--crop", "none"]
    monkeypatch.setattr(sys, "argv", [*argv, *alias, "--alias=unclear="])
    evaluate_builtin.main()
    assert seen[0]["judged"] == 5
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit, match="label 'unclear' can be a class of its own"):
        evaluate_builtin.main()
