"""
From a folder to a refined file
===============================

Draw a set with wrong labels, refine it, and look at the faces that are most likely labeled wrong.
"""

# %%
# A set to work on: 420 drawn faces in RAF-DB's layout, a fifth of them with a wrong label. With your own set, this step
# falls away: ``fercleaner.read("my-folder")`` recognizes the layout.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import fercleaner
from fercleaner import encoders, landmarks, methods
from fercleaner.demo import draw_dataset

folder = Path(tempfile.mkdtemp())
drawn = draw_dataset(folder / "faces", faces=420)
samples = fercleaner.read(drawn.folder)
print(f"{len(samples)} faces, classes: {', '.join(samples.classes)}")

# %%
# Evidence: a simple descriptor of the picture, and the 68 points that the faces were drawn with. Each is a view. The
# method looks at the nearest neighbors of each face in each view.

sources = fercleaner.Sources(
    encoders=[encoders.build("hog")],
    landmarks=landmarks.build(f"points:{drawn.landmarks}"),
)
refined = fercleaner.refine(samples, methods.build("hypergraph"), sources)
fercleaner.write(refined, folder / "faces.refined.parquet")
print(f"flagged {refined.flagged.sum()}, changed {refined.changed.sum()} of {len(refined)}")

# %%
# The sixteen faces of lowest quality. Here the truth is known: a green title says that the given label is wrong indeed,
# a red one that a right label was doubted.

truth = fercleaner.read_truth(drawn.clean_labels, refined.classes)
true_label = truth.label[truth.rows_of(refined.ids, refined.paths)]

figure, axes = plt.subplots(2, 8, figsize=(12, 3.9))
for axis, row in zip(axes.flat, np.argsort(refined.quality)[:16], strict=True):
    axis.imshow(Image.open(refined.paths[row]))
    given, label = refined.classes[refined.given_label[row]], refined.classes[refined.label[row]]
    wrong = refined.given_label[row] != true_label[row]
    axis.set_title(f"{given}\n→ {label}", fontsize=9, color="green" if wrong else "red")
    axis.axis("off")
figure.suptitle("Given label → refined label, lowest quality first")
figure.tight_layout()

# %%
# The same as figures: how well wrong labels are found, and what the refined labels are worth.

figures = fercleaner.evaluate(refined, truth).to_dict()
for name in ("noise_rate", "average_precision", "auroc", "given_accuracy", "refined_accuracy"):
    print(f"{name:18s} {figures[name]:.3f}")
