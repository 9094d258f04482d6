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


POSTERIORS = """
import sys
from pathlib import Path
import numpy as np
import fercleaner as f
from fercleaner.datasets.posteriors import read_posteriors

rng = np.random.default_rng(0)
ids, given = np.array([f"f{i:03d}" for i in range(300)]), np.eye(3, dtype=np.float32)[rng.integers(0, 3, 300)]
samples = f.Samples(ids, ("a", "b", "c"), given, np.ones(300, dtype=bool), np.full(300, ""))
np.save(sys.argv[1], 0.4 * given + 0.6 * rng.dirichlet(np.ones(3), 300))
read_posteriors("p", Path(sys.argv[1]), samples)
print("scipy.optimize" in sys.modules)
"""


def test_posteriors_in_the_order_of_the_classes_are_read_without_scipy(tmp_path):
    words = [sys.executable, "-c", POSTERIORS, str(tmp_path / "p.npy")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
