"""Which packages a run loads: those that it needs, since loading torch takes longer than the heads of 10,000 faces."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, tempfile
import numpy as np
import fercleaner as f
from fercleaner.methods import build

rng = np.random.default_rng(0)
true = rng.integers(0, 3, 300)
ids = np.array([f"f{i:03d}" for i in range(300)])
everyone = np.ones(300, dtype=bool)
samples = f.Samples(ids, ("a", "b", "c"), np.eye(3, dtype=np.float32)[true], everyone, np.full(300, ""))
values = (np.eye(3, 40)[true] + 0.3 * rng.normal(size=(300, 40))).astype(np.float32)
values[:9] = values[9:18]
view = f.Features("v", ids, values, everyone)
refined = f.refine(samples, build("threshold"), f.Sources(views=[view]), f.Resources(device="cpu"))
assert refined.metadata["grouped"]
with tempfile.TemporaryDirectory() as folder:
    f.write(refined, folder + "/r.parquet")
    assert f.load(folder + "/r.parquet").ids.tolist() == ids.tolist()
print(sorted({"faiss", "pandas", "scipy", "torch"} & set(sys.modules)))
"""


def test_threshold_runs_on_small_sets_without_torch_faiss_scipy_and_pandas():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
