"""
Your own vectors, no pictures
=============================

Faces that may not be shared can stay where they are: vectors, ids and labels are enough.
"""

# %%
# Vectors of 400 faces from two networks that see different things, here made up: seven clusters in one space, and the
# same faces in another space where two classes lie on top of one another. A fifth of the labels is wrong.

import matplotlib.pyplot as plt
import numpy as np

import fercleaner
from fercleaner import methods

classes = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
rng = np.random.default_rng(0)
n = 400
true = rng.integers(0, len(classes), n)
centers = rng.normal(size=(len(classes), 16))
first = centers[true] + 0.8 * rng.normal(size=(n, 16))
blurred = rng.normal(size=(len(classes), 24))
blurred[1] = blurred[0]  # this network cannot tell fear from surprise
second = blurred[true] + 0.8 * rng.normal(size=(n, 24))
given = true.copy()
wrong = rng.choice(n, n // 5, replace=False)
given[wrong] = (given[wrong] + rng.integers(1, len(classes), len(wrong))) % len(classes)

# %%
# ``Samples`` holds the ids and the labels, ``Features`` a view each. Rows go by id. On the command line the same is
# ``fercleaner refine faces.csv --view first=first.npy --view second=second.npy``.

ids = [f"face-{row:04d}" for row in range(n)]
samples = fercleaner.Samples(
    ids=ids,
    classes=classes,
    given=np.eye(len(classes), dtype=np.float32)[given],
    labeled=np.ones(n, dtype=bool),
    paths=[""] * n,
)


def view(name, values):
    """Return a view in which every face was found."""
    return fercleaner.Features(name, ids, values.astype(np.float32), np.ones(n, dtype=bool), {"encoder": name})


def refined_with(*views):
    """Return the refined set that these views lead to."""
    return fercleaner.refine(samples, methods.build("hypergraph"), fercleaner.Sources(views=views))


# %%
# One view, the other, and both. Several views that see different things are better than one.

tried = {
    "first": refined_with(view("first", first)),
    "second": refined_with(view("second", second)),
    "both": refined_with(view("first", first), view("second", second)),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 3), sharey=True)
is_wrong = given != true
for axis, (name, refined) in zip(axes, tried.items(), strict=True):
    bins = np.linspace(0, 1, 21)
    axis.hist([refined.quality[~is_wrong], refined.quality[is_wrong]], bins, stacked=True, label=["right", "wrong"])
    axis.set_title(f"{name}: accuracy {(refined.label == true).mean():.3f}, given {(given == true).mean():.3f}")
    axis.set_xlabel("label quality")
axes[0].set_ylabel("faces")
axes[0].legend()
figure.tight_layout()
