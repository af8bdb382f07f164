"""The images that the click-to-segment model learns from, each with its objects. Every fifth patient is held out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.jobs.job import JobContext

Array = npt.NDArray[Any]
HELD_OUT_EVERY = 5


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An image with labels.

    Attributes
    ----------
    source, name : str
    image : array (k, j, i), or None
        None where it is made up from the labels.
    labels : array (k, j, i)
        0 is background.
    spacing_mm : (k, j, i)
    objects : tuple of tuple of int
        Label values that make one object together.
    boxes : tuple of ((k, j, i), (k, j, i))
        Of every object, half open.
    held_out : bool
    """

    source: str
    name: str
    image: Array | None
    labels: Array
    spacing_mm: tuple[float, float, float]
    objects: tuple[tuple[int, ...], ...]
    boxes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    held_out: bool


def read_items(ctx: JobContext, data: Path, work: Path) -> list[Item]:
    """Return all items; prepared once into `work`."""
    folder = work / "items"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for n, read in enumerate(_SOURCES):
            ctx.progress(n / len(_SOURCES), "reading")
            for item in read(data):
                _save(folder, item)
        (folder / "done").touch()
    return [_load(path) for path in sorted(folder.glob("*.labels.npy"))]


def _save(folder: Path, item: Item) -> None:
    stem = f"{item.source}-{item.name}"
    np.save(folder / f"{stem}.labels.npy", item.labels)
    if item.image is not None:
        np.save(folder / f"{stem}.image.npy", item.image.astype(np.float32))
    np.savez(
        folder / f"{stem}.about.npz",
        spacing_mm=item.spacing_mm,
        held_out=item.held_out,
        boxes=np.array(item.boxes),
        objects=np.array([(*values, *([-1] * (2 - len(values)))) for values in item.objects]),
    )


def _load(path: Path) -> Item:
    stem = path.name.removesuffix(".labels.npy")
    source, name = stem.split("-", 1)
    about = np.load(path.with_name(f"{stem}.about.npz"))
    image = path.with_name(f"{stem}.image.npy")
    return Item(
        source,
        name,
        np.load(image, mmap_mode="r") if image.exists() else None,
        np.load(path, mmap_mode="r"),
        tuple(about["spacing_mm"].tolist()),
        tuple(tuple(v for v in values if v >= 0) for values in about["objects"].tolist()),
        tuple((tuple(low), tuple(high)) for low, high in about["boxes"].tolist()),
        bool(about["held_out"]),
    )


def _item(
    source: str,
    name: str,
    image: Array | None,
    labels: Array,
    spacing_mm: tuple[float, float, float],
    objects: Sequence[tuple[int, ...]],
    *,
    held_out: bool,
) -> Item:
    found, boxes = [], []
    for values in objects:
        assert len(values) <= 2
        mask = np.isin(labels, values)
        # Fewer voxels than this are no object that anybody would click at.
        if np.count_nonzero(mask) < 30:
            continue
        where = [np.flatnonzero(mask.any(axis=tuple(m for m in range(3) if m != n))) for n in range(3)]
        found.append(values)
        boxes.append((tuple(int(w[0]) for w in where), tuple(int(w[-1]) + 1 for w in where)))
    return Item(source, name, image, labels.astype(np.uint8), spacing_mm, tuple(found), tuple(boxes), held_out)


def _read(path: Path) -> tuple[Array, tuple[float, float, float]]:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    i, j, k = image.GetSpacing()
    return sitk.GetArrayFromImage(image), (k, j, i)


def _nodules(data: Path) -> list[Item]:
    cubes = np.load(data / "lung_nodule_cubes_lidc.npz")
    hu, masks, patients = cubes["hu"], cubes["mask"], cubes["patient"]
    order = np.argsort(patients)
    return [
        _item("nodule", str(patients[n]), hu[n], masks[n], (1, 1, 1), [(1,)], held_out=place % HELD_OUT_EVERY == 0)
        for place, n in enumerate(order)
    ]


def _hippocampi(data: Path) -> list[Item]:
    items = []
    for place, path in enumerate(sorted((data / "hippocampus_msd/images").glob("*.nii.gz"))):
        image, spacing = _read(path)
        labels, _ = _read(data / "hippocampus_msd/labels" / path.name)
        name = path.name.removesuffix(".nii.gz")
        held_out = place % HELD_OUT_EVERY == 0
        items.append(_item("hippocampus", name, image, labels, spacing, [(1, 2), (1,), (2,)], held_out=held_out))
    return items


def _sarcomas(data: Path) -> list[Item]:
    items = []
    for path in sorted((data / "soft_tissue_sarcoma").glob("*_mask.nii.gz")):
        name = path.name.removesuffix("_mask.nii.gz")
        image, spacing = _read(path.with_name(f"{name}.nii.gz"))
        labels, _ = _read(path)
        patient = int(re.findall(r"\d+", name)[0])
        items.append(_item("sarcoma", name, image, labels, spacing, [(1,)], held_out=patient % HELD_OUT_EVERY == 0))
    return items


def _brains(data: Path) -> list[Item]:
    """Label maps, half the size of the head each way around; the values are renumbered to fit a byte."""
    items = []
    for path in sorted((data / "brain_label_maps_synthseg").glob("*.nii.gz")):
        labels, spacing = _read(path)
        known = np.unique(labels.astype(np.int32))
        small = np.searchsorted(known, labels.astype(np.int32)).astype(np.uint8)
        inside = np.argwhere(small[::4, ::4, ::4] > 0) * 4
        low, high = inside.min(axis=0), inside.max(axis=0) + 4
        small = small[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        number = {int(value): n for n, value in enumerate(known)}
        structures = [4, 5, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 28]
        structures += [43, 44, 47, 49, 50, 51, 52, 53, 54, 58, 60]
        objects: list[tuple[int, ...]] = [(number[v],) for v in structures if v in number]
        objects += [(number[a], number[b]) for a, b in ((10, 28), (12, 13), (49, 60), (51, 52), (7, 8), (46, 47))]
        items.append(_item("brain", path.name[:15], None, small, spacing, objects, held_out=False))
    return items


def _organs(data: Path) -> list[Item]:
    folder = data.parent / "data/nifti"
    image, spacing = _read(folder / "totalseg_example_ct_3mm.nii.gz")
    labels, _ = _read(folder / "totalseg_example_auto_seg_117_3mm.nii.gz")
    objects = [(int(v),) for v in np.unique(labels) if v]
    return [_item("organ", "totalseg", image, labels, spacing, objects, held_out=False)]


def _ms_lesions(data: Path) -> list[Item]:
    """One patient, held out whole."""
    from scipy.ndimage import label

    folder = data.parent / "data/nifti/ms_patient07"
    gold, spacing = _read(folder / "GOLD.nii.gz")
    parts, count = label(gold > 0, np.ones((3, 3, 3)))
    volume = float(np.prod(spacing))
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * volume
    large = [n for n in range(1, count + 1) if sizes[n] > 100.0]
    labels = np.zeros(gold.shape, np.uint8)
    for value, part in enumerate(large, start=1):
        labels[parts == part] = value
    image, _ = _read(folder / "FLAIR.nii.gz")
    objects = [(n,) for n in range(1, len(large) + 1)]
    return [_item("ms", "patient07_FLAIR", image, labels, spacing, objects, held_out=True)]


_SOURCES: tuple[Callable[[Path], list[Item]], ...] = (_nodules, _hippocampi, _sarcomas, _brains, _organs, _ms_lesions)
