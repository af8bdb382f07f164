"""FLAIR images of heads: made of label maps, or real ones, both with lesions put in.

Everything is brightness over that of white matter. A real image teaches what cortex, skull and artefacts look like;
what a rule cannot tell from a lesion in it is `UNSURE`, and nothing is learnt from there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from medviewer.ai.intensity import normalise
from medviewer.ai.model_grid import ModelGrid
from medviewer.ai.predictor import open_model, predict
from medviewer.core.volume import Volume
from medviewer.io.places import bundled
from medviewer.jobs.job import JobContext, SubContext
from medviewer.training.recipes import _brain as brain
from medviewer.training.recipes import _brain_measures as measures
from medviewer.training.recipes._brain_lesions import Lesions, add_lesions

Patch = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]

#: How images are brought to one scale; white matter lies near 0.
_UNIT, _LEAST, _MOST = 0.25, -4.0, 8.0
SCHEME = {"kind": "peak", "unit": _UNIT, "low": _LEAST, "high": _MOST}
UNSURE = 255
#: Where real FLAIR images lie beside the training data; none of them is measured on.
REAL = (
    ("registration/ms_long_patient01/study1_FLAIR.nii.gz", ""),
    ("registration/ms_long_patient01/study2_FLAIR.nii.gz", ""),
    ("dicom/brain_mr_4series_PGBM-003.zip", "FLAIR"),
)
#: Brightness of a tissue over white matter, from and to, around what those images have.
_RANGES = {
    "white": (1.0, 1.0), "cortex": (1.08, 1.38), "ventricle": (0.05, 0.4), "fluid": (0.08, 0.45),
    "cerebellar_white": (0.88, 1.1), "cerebellar_cortex": (1.05, 1.3), "thalamus": (0.82, 1.08), "caudate": (0.95, 1.2),
    "putamen": (0.9, 1.15), "pallidum": (0.72, 1.0), "hippocampus": (1.0, 1.35), "ventral": (0.78, 1.02),
    "stem": (0.8, 1.05), "lesion": (1.0, 1.15), "vessel": (0.3, 1.0), "plexus": (0.4, 1.7), "nerve": (0.6, 1.0),
    "spine": (0.3, 0.8), "eye": (0.1, 0.4), "muscle": (0.2, 0.7), "lens": (0.2, 0.8), "mucosa": (0.5, 1.8),
    "skin": (0.3, 2.5), "dura": (0.2, 0.9), "bone": (0.05, 0.15), "marrow": (0.2, 2.0), "air": (0.0, 0.05),
}  # fmt: skip
_NAMES = tuple(brain.TISSUES)
_LOW, _HIGH = (np.array([_RANGES[name][n] for name in _NAMES], np.float32) for n in (0, 1))
_VENTRICLES = [brain.CODE[label] for label in (4, 43)]
_CORTEX = [brain.CODE[label] for label in (3, 42, 8, 47)]
#: Inside these, and off the cortex, what is a little bright may be a lesion.
_DEEP = [brain.CODE[label] for label in (2, 41, 4, 43, 5, 44, 7, 46, 10, 49, 11, 50, 12, 51, 28, 60, 16)]
_CODE_OF_OUTPUT = np.zeros(len(brain.OUTPUTS) + 1, np.uint8)
for _label, _value in brain.OUTPUTS.items():
    _CODE_OF_OUTPUT[_value] = brain.CODE[_label]


def made(head: brain.Codes, rng: np.random.Generator, shape: tuple[int, int, int], masses: float) -> Patch:
    """Return a patch of a label map as FLAIR, normalised, and its labels.

    Parameters
    ----------
    head : shape (k, j, i), 1 mm
    rng : Generator
    shape : (k, j, i)
        Of the patch.
    masses : float
        How often there is a mass.
    """
    inside = brain.BRAIN_OF_CODE[head[::4, ::4, ::4]]
    center = np.array(np.unravel_index(int(rng.choice(np.flatnonzero(inside))), inside.shape)) * 4
    corner = [int(np.clip(c - n // 2, 0, have - n)) for c, n, have in zip(center, shape, head.shape, strict=True)]
    codes = head[tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=True))]
    codes = np.ascontiguousarray(codes[:, :, ::-1] if rng.random() < 0.5 else codes)
    lesions = add_lesions(codes, rng, masses)
    image, grey = _tissues(codes, rng)
    image = _with(image, lesions, grey, rng)
    kept = brain.strip(codes, rng, 1) if rng.random() < 0.6 else np.ones(shape, bool)
    image = brain.spoil(torch.from_numpy(image * kept / 2), rng, 1.0, 5.0, gamma=0.0).numpy() * 2
    if rng.random() < 0.8:
        image *= kept
    return _scaled(image, rng), np.where(kept, lesions.label, 0).astype(np.uint8)


def real_patch(
    head: npt.NDArray[np.float32], rng: np.random.Generator, shape: tuple[int, int, int], masses: float
) -> Patch:
    """Return a patch of a real image, turned and stretched a little, with lesions put in; see `made`.

    Parameters
    ----------
    head : shape (3, k, j, i), 1 mm
        Brightness over white matter, codes, and where one is `UNSURE`; see `read_real`.
    """
    inside = brain.BRAIN_OF_CODE[head[1, ::4, ::4, ::4].astype(np.uint8)]
    center = np.array(np.unravel_index(int(rng.choice(np.flatnonzero(inside))), inside.shape)) * 4.0
    matrix = np.diag(np.exp(rng.normal(0, 0.1, 3))) + rng.normal(0, 0.07, (3, 3))
    matrix[:, 2] *= rng.choice([-1, 1])
    size = np.array(head.shape[1:])
    # grid_sample has x (i) first, and -1 .. 1 along every axis.
    affine = np.zeros((3, 4), np.float32)
    affine[:, :3] = (matrix * np.array(shape)[None] / size[:, None])[::-1, ::-1]
    affine[:, 3] = ((2 * center + 1) / size - 1)[::-1]
    grid = F.affine_grid(torch.from_numpy(affine)[None], [1, 1, *shape], align_corners=False)
    source = torch.from_numpy(head)[None]
    image = F.grid_sample(source[:, :1], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0, 0].numpy()
    rest = F.grid_sample(source[:, 1:], grid, mode="nearest", padding_mode="zeros", align_corners=False)[0].numpy()
    codes, unsure = rest[0].astype(np.uint8), rest[1] > 0
    lesions = add_lesions(codes, rng, masses)
    image = _with(image, lesions, float(rng.uniform(1.1, 1.3)), rng)
    kept = brain.strip(codes, rng, 1) if rng.random() < 0.5 else np.ones(shape, bool)
    image = brain.spoil(torch.from_numpy(image * kept / 2), rng, 1.0, 4.0, gamma=0.0).numpy() * 2 * kept
    label = np.where(unsure & (lesions.label == 0), UNSURE, lesions.label)
    return _scaled(image, rng), np.where(kept, label, 0).astype(np.uint8)


def read_real(ctx: JobContext, images: Path, folder: Path) -> list[npt.NDArray[np.float32]]:
    """Return the real images that are at hand, each (3, k, j, i) as `real_patch` takes it; prepared once."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for n, (name, title) in enumerate(REAL):
        path = folder / f"{n}.npy"
        if not path.exists() and (images / name).exists():
            part = SubContext(ctx, n / len(REAL), (n + 1) / len(REAL))
            np.save(path, _prepared(part, measures.open_volume(part, images / name, title)))
        if path.exists():
            found.append(np.load(path))
    return found


def _prepared(ctx: JobContext, volume: Volume) -> npt.NDArray[np.float32]:
    grid = ModelGrid.of(volume.geometry, (1.0, 1.0, 1.0))
    array = grid.image(volume.array)
    head = Volume(array, grid.geometry, modality="MR")
    codes = _CODE_OF_OUTPUT[predict(ctx, open_model(bundled("resources") / "models" / "brain_anatomy"), head).labels]
    image = normalise(array, {"kind": "peak", "unit": 1.0, "low": -1.0, "high": 4.0}) + 1
    deep = np.isin(codes, _DEEP) & ~brain.grown(np.isin(codes, _CORTEX), 1)
    unsure = (deep & (image > 1.15)) | ((codes > 0) & brain.grown(image > 1.45, 1))
    return np.stack([image, codes, unsure]).astype(np.float32)


def _tissues(codes: brain.Codes, rng: np.random.Generator) -> tuple[brain.Floats, float]:
    """Return the head without lesions, before the scanner, and the brightness of its cortex."""
    tissue = brain.TISSUE_OF_CODE[codes]
    mean = rng.uniform(_LOW, _HIGH).astype(np.float32)
    if rng.random() < 0.4:
        mean[_NAMES.index("skin")] = mean[_NAMES.index("marrow")] = rng.uniform(0.1, 0.5)
    image = mean[tissue]
    white, fluid = tissue == _NAMES.index("white"), np.isin(tissue, [_NAMES.index("ventricle"), _NAMES.index("fluid")])
    texture = brain.white_noise(rng, codes.shape).numpy() * float(rng.uniform(0, 0.05))
    texture += brain.smooth_noise(rng, codes.shape, 6).numpy() * float(rng.uniform(0, 0.05))
    # Cortex is uneven: insula, cingulum and temporal lobe are as bright as faint lesions.
    uneven = brain.smooth_noise(rng, codes.shape, 6).numpy() * float(rng.uniform(0.02, 0.14))
    image += np.where(white | fluid, texture, texture + uneven).astype(np.float32)
    if rng.random() < 0.4:
        flow = brain.smooth_noise(rng, codes.shape, 7).numpy() - float(rng.uniform(0.5, 2))
        image += fluid * np.clip(flow, 0, 1) * float(rng.uniform(0, 1))
    if rng.random() < 0.7:
        rim = brain.grown(np.isin(codes, _VENTRICLES), 1) & white
        image[rim] += float(rng.uniform(0.0, 0.3))
    return _soft(image, rng), float(mean[_NAMES.index("cortex")])


def _soft(image: brain.Floats, rng: np.random.Generator) -> brain.Floats:
    """Return an image whose voxels share what lies between them, as those of a scanner do."""
    source = torch.from_numpy(image)
    mean = F.avg_pool3d(source[None, None], 3, stride=1, padding=1, count_include_pad=False)[0, 0]
    soft: brain.Floats = torch.lerp(source, mean, float(rng.uniform(0.3, 1.0))).numpy()
    return soft


def _with(image: brain.Floats, lesions: Lesions, grey: float, rng: np.random.Generator) -> brain.Floats:
    """Return an image with its lesions; they are brighter than white matter, most of them brighter than any brain."""
    noise = brain.smooth_noise(rng, image.shape, 10).numpy()
    bright = max(1.2, grey - 0.05) + min(float(rng.exponential(0.25)), 1.0)
    image += _soft(lesions.lesion, rng) * (bright + 0.08 * noise - image) * float(rng.uniform(0.8, 1.0))
    if lesions.mass.any():
        rim = grey + float(rng.uniform(0.08, 0.6))
        core = grey + float(rng.uniform(*((-0.7, -0.2) if rng.random() < 0.5 else (0.08, 0.6))))
        inside = np.clip(lesions.core * float(rng.uniform(1, 4)) - float(rng.uniform(0, 0.8)), 0, 1)
        image += lesions.mass * (rim + (core - rim) * inside + 0.1 * noise - image)
    return image.clip(0, None)


def _scaled(image: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return an image as `SCHEME` gives it; where a histogram has its peak varies by some percent."""
    ready = (image / float(rng.normal(0.99, 0.03)) - 1) / _UNIT
    return ready.clip(_LEAST, _MOST).astype(np.float32)
