"""Synthetic images with known truth, for the demo, the tutorials, the tests and the benchmarks.

- `make_thorax`, `make_brain`: a chest CT and a T1 brain MR, deterministic by seed, at any matrix.
- `write_series`: a phantom as an uncompressed DICOM series.
- `write_demo_study`: phantom, series and truth in one folder.
- `spheres_volume`, `letter_f`: small and fast, for tests.
"""

from medviewer.phantoms.brain import make_brain
from medviewer.phantoms.dicom_writer import write_series
from medviewer.phantoms.model import DemoStudy, Nodule, Phantom, Progress
from medviewer.phantoms.shapes import letter_f, oblique_geometry, spheres_volume
from medviewer.phantoms.study import write_demo_study
from medviewer.phantoms.thorax import make_thorax

__all__ = [
    "DemoStudy",
    "Nodule",
    "Phantom",
    "Progress",
    "letter_f",
    "make_brain",
    "make_thorax",
    "oblique_geometry",
    "spheres_volume",
    "write_demo_study",
    "write_series",
]
