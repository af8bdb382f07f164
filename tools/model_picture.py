"""Write the three planes of a saved workspace as one small picture, as the program draws them; no display is needed.

``medviewer analyze STUDY -o results --task brain_anatomy`` writes the workspace, then
``python tools/model_picture.py results/workspace.mvw picture.png``. The planes go through the first finding, or through
the middle of the largest segment; ``--zoom 3`` enlarges around it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import medviewer as mv
from medviewer.core.geometry import Vec3, vec3
from medviewer.core.view_state import LabelLook, Plane, WindowLevel
from medviewer.core.workspace import Workspace
from medviewer.render.slice_scene import SliceScene

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
GAP = 6


def main(arguments: list[str]) -> int:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--at", type=float, nargs=3, help="LPS mm, instead of the finding or segment")
    parser.add_argument("--zoom", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=280, help="pixels of one plane")
    parser.add_argument("--window", type=float, nargs=2, help="center and width")
    options = parser.parse_args(arguments)
    workspace = mv.open_workspace(options.workspace)
    workspace.view.crosshair_lps = vec3(options.at) if options.at else middle(workspace)
    workspace.view.look = LabelLook(style="outline")
    if options.window:
        workspace.view.window = WindowLevel(*options.window)
    tiles = [drawn(workspace, plane, options.size, options.zoom) for plane in PLANES]
    gap = np.full((options.size, GAP, 3), 255, np.uint8)
    row = np.concatenate([tiles[0], gap, tiles[1], gap, tiles[2]], axis=1)
    Image.fromarray(row).quantize(200).save(options.picture, optimize=True)
    return 0


def middle(workspace: Workspace) -> Vec3:
    """Return where the first finding is, or the largest segment, or the middle of the image; LPS mm."""
    volume, segmentation = workspace.active, workspace.active_segmentation
    assert volume is not None
    assert segmentation is not None
    if boxes := workspace.boxes(volume.id):
        return boxes[0].center_lps
    masks = [segmentation.mask(segment.value) for segment in segmentation.segments]
    if not masks:
        return volume.geometry.center_lps
    where = np.argwhere(max(masks, key=np.count_nonzero))
    return vec3(volume.geometry.index_to_lps(where[len(where) // 2][::-1]))


def drawn(workspace: Workspace, plane: Plane, size: int, zoom: float) -> np.ndarray:
    """Return one plane, (size, size, 3)."""
    scene = SliceScene(workspace, plane, lambda: None)
    scene.resize(size, size)
    if scene.frame is not None and zoom != 1:
        x, y = scene.frame.lps_to_display(workspace.view.crosshair_lps)
        scene.pan_by(size / 2 - x, size / 2 - y)
        scene.zoom_by(zoom, size / 2, size / 2)
    pixels = scene.render()
    rgb = np.stack([pixels >> shift & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8)
    scene.close()
    return rgb


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
