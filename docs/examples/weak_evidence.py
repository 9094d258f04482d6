"""
When not to trust a changed label
=================================

Refined labels are only as good as the views that judge them. With clear views wrong labels are mended and right ones
stay. With weaker ones right labels are overruled too.
"""

# %%
# The same 400 faces and labels, seen ever less clearly. A fifth of the labels is wrong.

import matplotlib.pyplot as plt
import numpy as np

import fercleaner
from fercleaner import methods

classes = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
rng = np.random.default_rng(1)
n = 400
true = rng.choice(len(classes), n, p=(0.1, 0.05, 0.05, 0.35, 0.15, 0.1, 0.2))
given = true.copy()
wrong = rng.choice(n, n // 5, replace=False)
given[wrong] = (given[wrong] + rng.integers(1, len(classes), len(wrong))) % len(classes)
ids = [f"face-{row:04d}" for row in range(n)]
samples = fercleaner.Samples(
    ids=ids,
    classes=classes,
    given=np.eye(len(classes), dtype=np.float32)[given],
    labeled=np.ones(n, dtype=bool),
    paths=[""] * n,
)
centers, blur = rng.normal(size=(len(classes), 16)), rng.normal(size=(n, 16))

# %%
# For each blur: how many wrong labels were mended, how many right ones were overruled.

blurs = (0.6, 1.0, 1.5, 2.0, 4.0)
mended, overruled = [], []
for size in blurs:
    values = (centers[true] + size * blur).astype(np.float32)
    view = fercleaner.Features("vectors", ids, values, np.ones(n, dtype=bool), {})
    refined = fercleaner.refine(samples, methods.build("hypergraph"), fercleaner.Sources(views=[view]))
    mended.append(int(((given != true) & (refined.label == true)).sum()))
    overruled.append(int(((given == true) & (refined.label != true)).sum()))
    print(f"blur {size:3.1f}: {mended[-1]:3d} mended, {overruled[-1]:3d} overruled of {n}")

# %%
# Where the lines come close, refined labels are hardly better than given ones. Where views say hardly more of the
# labels than chance would, the method leaves all labels as they are. On your own set no such curve can be drawn, but
# two things can be done: label a few hundred faces again and run ``fercleaner evaluate``, or let ``fercleaner trial``
# say which method finds labels that were flipped on purpose. Rare classes go first: their faces have few neighbors of
# their own class.

figure, axis = plt.subplots(figsize=(6, 4))
axis.plot(blurs, mended, "o-", label="wrong labels mended")
axis.plot(blurs, overruled, "s-", label="right labels overruled")
axis.axhline(len(wrong), color="gray", linestyle=":", label="wrong labels")
axis.set_xlabel("spread of a class, in units of the distance between classes")
axis.set_ylabel("faces")
axis.legend()
figure.tight_layout()
