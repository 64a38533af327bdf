"""Views of an embedding space in two or three dimensions, from plain arrays of unit vectors.

Two kinds. *Linear* views (`gap_axes`, `pca`) are exact: straight axes, on which every vector, also
a new one, has its place. *UMAP* keeps neighbours together as well as it can and says nothing else:
distances between its clusters mean nothing, and a new vector is only placed near its like. What is
really near is asked of the full space: `neighbours`, `true_on_map`, `trustworthiness`.
"""

from clip_lab.maps.coordinates import open_coordinates, read_signature, save_coordinates
from clip_lab.maps.layout import LaidOut, umap_view
from clip_lab.maps.linear import LinearView, Placed, gap_axes, pca, towards_each_other
from clip_lab.maps.neighbours import Found, Neighbours, neighbours, true_on_map, trustworthiness

__all__ = [
    "Found",
    "LaidOut",
    "LinearView",
    "Neighbours",
    "Placed",
    "gap_axes",
    "neighbours",
    "open_coordinates",
    "pca",
    "read_signature",
    "save_coordinates",
    "towards_each_other",
    "true_on_map",
    "trustworthiness",
    "umap_view",
]
