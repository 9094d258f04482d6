"""
Sites with noise of their own
=============================

Where faces come from several clients or annotator pools, each pool has its own mistakes.
"""

# %%
# Two pools label the same kind of faces. Pool "a" calls every third fearful face surprised; pool "b" calls every third
# surprised face fearful.

import matplotlib.pyplot as plt
import numpy as np

import fercleaner
from fercleaner import methods
from fercleaner.noise.transition import transition_matrix

classes = ("surprise", "fear", "happiness", "neutral")
rng = np.random.default_rng(0)
n = 800
true = rng.integers(0, len(classes), n)
site = np.where(rng.random(n) < 0.5, "a", "b")
values = rng.normal(size=(len(classes), 12))[true] + 1.1 * rng.normal(size=(n, 12))
given = true.copy()
given[(site == "a") & (true == 1) & (rng.random(n) < 0.35)] = 0
given[(site == "b") & (true == 0) & (rng.random(n) < 0.35)] = 1

# %%
# ``site`` is a column of a manifest (``--site-by COLUMN`` names it), or a field of ``Samples``. Faces of all sites are
# neighbors of one another; only the noise is learned a site at a time.

ids = [f"{place}-{row:03d}" for row, place in enumerate(site)]
samples = fercleaner.Samples(
    ids=ids,
    classes=classes,
    given=np.eye(len(classes), dtype=np.float32)[given],
    labeled=np.ones(n, dtype=bool),
    paths=[""] * n,
    site=site,
)
features = fercleaner.Features("vectors", ids, values.astype(np.float32), np.ones(n, dtype=bool), {})
sources = fercleaner.Sources(views=[features])
method = methods.build("hypergraph", {"gamma": "1"})
with_sites = fercleaner.refine(samples, method, sources)
without = fercleaner.refine(samples.replacing(site=None), method, sources)
for name, refined in (("with sites", with_sites), ("without", without)):
    print(f"{name:10s} accuracy {(refined.label == true).mean():.3f} (given {(given == true).mean():.3f})")

# %%
# What each pool does to labels, as the refined labels tell it, beside the truth.

figure, axes = plt.subplots(2, 2, figsize=(7.5, 6.5), sharex=True, sharey=True)
for row, place in zip(axes, ("a", "b"), strict=True):
    rows = site == place
    for axis, (name, labels) in zip(row, {"estimated": with_sites.label, "true": true}.items(), strict=True):
        matrix = transition_matrix(given[rows], labels[rows], len(classes))
        axis.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
        for (i, j), share in np.ndenumerate(matrix):
            axis.text(j, i, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.5 else "black")
        axis.set_title(f"pool {place}, {name} (%)")
        axis.set_xticks(range(len(classes)), classes, rotation=30)
        axis.set_yticks(range(len(classes)), classes)
figure.supylabel("class")
figure.supxlabel("given label")
figure.tight_layout()
