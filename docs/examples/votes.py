"""
Votes of several annotators
===========================

Where a set has votes, the given label is a distribution, and so is the refined one.
"""

# %%
# Draw faces and let ten people look at each: most agree with the true expression, some confuse it with a likely one.
# Then keep three votes of the ten, which is what many sets can pay for.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fercleaner
from fercleaner import encoders, methods
from fercleaner.demo import draw_dataset
from fercleaner.evaluation.metrics import jensen_shannon

folder = Path(tempfile.mkdtemp())
drawn = draw_dataset(folder / "faces", faces=300, noise_rate=0.0)
clean = fercleaner.read(drawn.folder)
confused = {"surprise": "fear", "fear": "surprise", "disgust": "anger", "anger": "disgust", "sadness": "neutral",
            "happiness": "neutral", "neutral": "sadness"}  # fmt: skip
rng = np.random.default_rng(0)
count = len(clean.classes)
shares = np.full((count, count), 0.05)
for row, name in enumerate(clean.classes):
    shares[row, clean.classes.index(confused[name])] = 0.2
    shares[row, row] = 0
    shares[row, row] = 1 - shares[row].sum()
ten = np.array([rng.multinomial(10, shares[label]) for label in clean.label])
three = np.array([rng.multivariate_hypergeometric(votes, 3) for votes in ten])

# %%
# A manifest with a column for each class is read as votes. Ties are shared unless ``--votes ties=unlabeled`` says
# otherwise.

manifest = folder / "votes.csv"
rows = [",".join(["image", *clean.classes])]
rows += [",".join([path, *map(str, votes)]) for path, votes in zip(clean.paths, three, strict=True)]
manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
samples = fercleaner.read(manifest, classes=clean.classes)
print(f"layout {samples.layout}; given label of the first face: {np.round(samples.given[0], 2).tolist()}")

# %%
# Refined by what three votes of each face and of its neighbors say, compared with all ten votes.

vectors = np.asarray(np.load(drawn.landmarks)["points"]).reshape(len(clean), -1)
vectors = vectors - vectors.mean(0)
shapes = fercleaner.Features("shape", samples.ids, vectors.astype(np.float32), np.ones(len(samples), bool), {})
sources = fercleaner.Sources(encoders=[encoders.build("hog")], views=[shapes])
refined = fercleaner.refine(samples, methods.build("hypergraph", {"gamma": "1"}), sources)
target = ten / ten.sum(1, keepdims=True)
before = jensen_shannon(samples.given, target)
after = jensen_shannon(refined.distribution, target)

figure, axes = plt.subplots(1, 2, figsize=(11, 3.4))
axes[0].hist([before, after], np.linspace(0, 1, 26), label=["three votes", "refined"])
axes[0].set_xlabel("Jensen-Shannon divergence from ten votes (bits)")
axes[0].set_ylabel("faces")
axes[0].set_title(f"mean: {before.mean():.3f} given, {after.mean():.3f} refined")
axes[0].legend()
face = int(np.argmax(before - after))
place = np.arange(count)
for shift, (name, values) in enumerate(
    {"three votes": samples.given, "refined": refined.distribution, "ten votes": target}.items()
):
    axes[1].bar(place + 0.28 * (shift - 1), values[face], 0.26, label=name)
axes[1].set_xticks(place, clean.classes, rotation=30)
axes[1].set_title("the face that gains most")
axes[1].legend()
figure.tight_layout()
