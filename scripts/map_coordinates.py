"""Make the points of the dashboard's maps for the built-in models, for the package.

    python scripts/map_coordinates.py [NAME ...]    after a model's weights changed
    python scripts/map_coordinates.py --check       says whose are out of date, changes nothing

UMAP repeats itself on one machine only, so another machine's file differs, and is as good.
"""

import argparse
import sys

import numpy as np

import clip_lab
from clip_lab.map_collections import ModelMap, map_of
from clip_lab.maps import LinearView, save_coordinates, trustworthiness, umap_view
from clip_lab.pretrained import names


def coordinates(model_map: ModelMap) -> dict[str, np.ndarray]:
    """Points of every view, and which pictures are classified right; UMAP computed anew."""
    vectors, is_text = model_map.vectors, model_map.content.is_text
    arrays: dict[str, np.ndarray] = {"right": model_map.right}
    for name in ("gap", "pca"):
        view = model_map.view(name, 3)
        assert isinstance(view, LinearView)
        arrays[name] = view.project(vectors)  # in two dimensions: the first two columns
    for dimensions in (2, 3):
        arrays[f"umap{dimensions}"] = umap_view(vectors, is_text, dimensions).points
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description="Points of the maps, for the package")
    parser.add_argument("names", nargs="*", default=names(), help="models; all if left out")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for name in options.names:
        model_map = map_of(clip_lab.load(name, "cpu"))
        if options.check:
            stale += [] if model_map.is_shipped else [name]
            continue
        arrays = coordinates(model_map)
        save_coordinates(model_map.file, model_map.signature, arrays)
        size = model_map.file.stat().st_size / 1000
        print(f"{name}: {len(model_map.content):,} rows, {size:.0f} KB")
        for view in ("gap", "pca", "umap2", "umap3"):
            print(
                f"  {view}: trustworthiness {trustworthiness(arrays[view], model_map.vectors):.3f}"
            )
    if stale:
        sys.exit(f"No coordinates for the weights of: {', '.join(stale)}. Run without --check.")


if __name__ == "__main__":
    main()
