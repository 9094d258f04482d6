"""A drawn stand-in for a facial-expression dataset: faces, landmarks, action units and noise are all known.

actions   which action units an expression shows, and how labels are confused
faces     shape and pose of a head -> control points, of which 68 are the landmarks
looks     colors of a person, conditions of a picture
canvas    curves and layers
skin, features, drawing   control points -> picture
dataset   all of it -> a RAF-DB folder
replacing   which files a demo wrote
"""

from .dataset import DemoSummary, draw_dataset

__all__ = ["DemoSummary", "draw_dataset"]
