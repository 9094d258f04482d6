"""What killed runs left is removed a day later, and nothing else."""

from __future__ import annotations

import os
import time

from fercleaner.core.files import STALE_SECONDS, check_writable, sweep, temporary_name


def test_only_old_temporary_files_and_folders_go(tmp_path):
    old = time.time() - 2 * STALE_SECONDS
    kept = [temporary_name(), "mine.tmp", ".fercleaner-export.json", ".fercleaner-0123.tmp.old"]
    gone = [temporary_name(), temporary_name()]
    for name in [*kept, gone[0]]:
        (tmp_path / name).write_text("half")
    (tmp_path / gone[1]).mkdir()
    (tmp_path / gone[1] / "part").write_text("half")
    for name in [*gone, *kept[1:]]:
        os.utime(tmp_path / name, (old, old))
    check_writable(tmp_path / "out.parquet")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
    sweep(tmp_path / "nowhere")
