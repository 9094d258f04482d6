"""
In a notebook
=============

A refined set and an audit show themselves: put their name at the end of a cell. This page is a notebook; the link at
its end downloads it.
"""

# %%
# A set with known truth to work on: 300 drawn faces, a fifth of them with a wrong label.

import tempfile
from pathlib import Path

import fercleaner
from fercleaner import encoders, landmarks, methods
from fercleaner.demo import draw_dataset
from fercleaner.report import Material, Options

folder = Path(tempfile.mkdtemp())
drawn = draw_dataset(folder / "faces", faces=300)
samples = fercleaner.read(drawn.folder)

# %%
# The refined set as the last line of a cell: counts with their intervals, the classes, and the ten faces of lowest
# quality with the reason in words.

sources = fercleaner.Sources(encoders=[encoders.build("hog")], landmarks=landmarks.build(f"points:{drawn.landmarks}"))
refined = fercleaner.refine(samples, methods.build("consensus"), sources)
refined

# %%
# Its columns are NumPy arrays, in the order of its ids: pick, count and plot as usual.

doubtful = refined.quality < 0.1
print(f"{doubtful.sum()} labels below quality 0.1, {(doubtful & refined.changed).sum()} of them changed")
for row in doubtful.nonzero()[0][:5]:
    print(f"{refined.ids[row]}: {refined.reason[row]}")

# %%
# The audit, in a frame of its own: the same page that ``fercleaner audit`` writes. ``made.table`` has a row a face and
# a column a check, ``made.to_dict()`` all that the page says, ``made.write("audit")`` writes it to a folder.

made = fercleaner.audit(refined, Material(samples=samples), Options(title="drawn faces", shown=40))
made

# %%

print({check: found for check, found in made.summary()["checks"].items() if found})
