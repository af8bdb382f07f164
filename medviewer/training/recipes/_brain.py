"""Heads made of label maps: deform a map, give every tissue a brightness, and blur, bias and spoil it as scanners do.

A network that has seen only such heads reads any contrast and resolution, for it never saw the same one twice.

References
----------
Billot et al., SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining, Medical
Image Analysis 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from medviewer.core.errors import InputError
from medviewer.jobs.job import JobContext

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

#: The last maps are held out.
HELD_OUT = 2
POOL = 108
#: Voxels of 1 mm of a prepared head.
BOX = (176, 208, 176)
#: Left label → right label (FreeSurfer), in the order of the outputs.
PAIRS = {2: 41, 3: 42, 4: 43, 5: 44, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54, 26: 58, 28: 60}
MIDLINE = (14, 15, 16, 24)
#: What the maps hold beside the outputs: lesions, vessels and choroid plexus (left: right), and the rest of the head.
_EXTRA_PAIRS = {25: 57, 30: 62, 136: 163, 137: 164}
_HEAD = (72, 85, 502, 506, 507, 508, 509, 511, 512, 514, 515, 516, 530)
#: Every label of a map; the place in this tuple is its code in prepared maps.
LABELS: tuple[int, ...] = (
    0, *PAIRS, *PAIRS.values(), *MIDLINE, *_EXTRA_PAIRS, *_EXTRA_PAIRS.values(), *_HEAD,
)  # fmt: skip
CODE = {label: code for code, label in enumerate(LABELS)}
#: Values of the outputs: FreeSurfer's label → channel, 0 being everything else.
OUTPUTS = {label: n + 1 for n, label in enumerate((*PAIRS, *PAIRS.values(), *MIDLINE))}
_COUNTED_AS = {25: 2, 57: 41, 136: 4, 163: 43, 137: 5, 164: 44, 30: 2, 62: 41, 72: 24}

_SWAP = {**PAIRS, **_EXTRA_PAIRS}
_SWAP |= {right: left for left, right in _SWAP.items()}

#: Tissues that share a brightness, and that brightness, 0..1, in common contrasts.
TISSUES: dict[str, tuple[int, ...]] = {
    "white": (2,), "cortex": (3,), "ventricle": (4, 5, 14, 15), "fluid": (24, 72), "cerebellar_white": (7,),
    "cerebellar_cortex": (8,), "thalamus": (10,), "caudate": (11, 26), "putamen": (12,), "pallidum": (13,),
    "hippocampus": (17, 18), "ventral": (28,), "stem": (16, 512), "lesion": (25,), "vessel": (30,),
    "plexus": (136, 137), "nerve": (85, 530), "spine": (502,), "eye": (506,), "muscle": (507,), "lens": (508,),
    "mucosa": (509,), "skin": (511,), "dura": (514,), "bone": (515,), "marrow": (516,), "air": (0,),
}  # fmt: skip
_NAMES = tuple(TISSUES)
_CONTRASTS: dict[str, tuple[float, ...]] = {
    #      wh   cx   vent fl   cbw  cbc  th   cd   pu   pa   hi   vd   st   les  ves  plx  ner  spi  eye  mus  len  muc
    #      skin dura bone mar  air
    "t1": (.80, .56, .16, .18, .78, .54, .67, .58, .63, .73, .56, .71, .74, .60, .40, .35, .65, .40, .20, .42, .40, .45,
           .90, .40, .10, .65, .02),
    "t1c": (.74, .54, .16, .20, .72, .54, .63, .57, .60, .68, .55, .66, .68, .65, .80, .85, .62, .45, .22, .45, .42,
            .85, .85, .90, .10, .60, .02),
    "t2": (.34, .48, .95, .93, .36, .50, .42, .44, .41, .30, .50, .37, .38, .65, .20, .75, .40, .35, .93, .20, .30, .75,
           .60, .25, .06, .40, .02),
    "flair": (.50, .66, .10, .14, .52, .66, .58, .62, .58, .50, .68, .54, .54, .90, .25, .45, .45, .30, .12, .30, .30,
              .60, .45, .30, .06, .35, .02),
    "pd": (.58, .74, .72, .72, .60, .75, .66, .70, .67, .55, .74, .60, .62, .85, .40, .75, .60, .45, .80, .50, .50, .75,
           .85, .45, .08, .60, .03),
    "ct": (.36, .47, .09, .10, .37, .47, .46, .48, .49, .50, .45, .42, .41, .30, .55, .55, .40, .80, .15, .70, .90, .45,
           .10, .62, 1.0, 1.0, .00),
}  # fmt: skip


def look_up(values: Mapping[int, int], default: int | None = None) -> Codes:
    """Return a table from codes to values; labels that `values` does not name give `default`, or their own code."""
    return np.array([values.get(label, CODE[label] if default is None else default) for label in LABELS], np.uint8)


#: Code → output channel; code → code of the other side; code → tissue.
OUTPUT_OF_CODE = look_up({**OUTPUTS, **{label: OUTPUTS[other] for label, other in _COUNTED_AS.items()}}, 0)
MIRROR_OF_CODE = look_up({label: CODE[other] for label, other in _SWAP.items()})
TISSUE_OF_CODE = look_up(
    {
        label: n
        for n, members in enumerate(TISSUES.values())
        for member in members
        for label in {member, _SWAP.get(member, member)}
    }
)
#: Codes of brain and ventricles, without the fluid around it.
BRAIN_OF_CODE = (OUTPUT_OF_CODE > 0) & (OUTPUTS[24] != OUTPUT_OF_CODE)
#: Output channel → channel of the other side.
MIRROR_OF_OUTPUT = np.array([0] + [OUTPUTS[_SWAP.get(label, label)] for label in OUTPUTS], np.uint8)


def read_map(path: Path) -> Codes:
    """Return a label map as codes, axes (head, back, left)."""
    import SimpleITK as sitk

    labels = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")).astype(np.int64)
    table = np.zeros(max(LABELS) + 1, np.uint8)
    for label, code in CODE.items():
        table[label] = code
    return table[np.where(labels < table.size, labels, 0)]


def deform(codes: Codes, rng: np.random.Generator, shape: Sequence[int]) -> Codes:
    """Return a box around the brain of a map that was turned, stretched and bent; its labels are some of the map's.

    Parameters
    ----------
    codes : shape (k, j, i), 1 mm
    rng : Generator
    shape : (k, j, i)
        Voxels of the box.
    """
    inside = np.argwhere(BRAIN_OF_CODE[codes[::4, ::4, ::4]]) * 4.0
    center = (inside.min(0) + inside.max(0)) / 2 + rng.uniform(-8, 8, 3)
    angles = np.radians(rng.normal(0, 8, 3))
    matrix = np.diag(1 / (rng.uniform(0.9, 1.15) * rng.uniform(0.93, 1.07, 3))) + rng.normal(0, 0.02, (3, 3))
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    where = torch.empty((3, *shape))
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    k, j, i = (a.view([-1 if n == axis else 1 for n in range(3)]) for axis, a in enumerate(axes))
    bends = [(5, float(rng.uniform(0, 5))), (12, float(rng.uniform(0, 2)))]
    for axis in range(3):
        row = [float(v) for v in matrix[axis]]
        where[axis] = k * row[0] + j * row[1] + i * row[2] + float(center[axis])
        for cells, most in bends:
            where[axis] += smooth_noise(rng, shape, cells) * most
        where[axis] = (where[axis] * 2 + 1) / codes.shape[axis] - 1
    grid = torch.stack((where[2], where[1], where[0]), dim=-1)[None]
    source = torch.from_numpy(codes.astype(np.float32))[None, None]
    found = F.grid_sample(source, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return found[0, 0].to(torch.uint8).numpy()


def heads(ctx: JobContext, data: Path, folder: Path) -> tuple[Codes, Codes]:
    """Return deformed heads of the maps to train on, and of those held out, ``(n, k, j, i)`` at 1 mm; made once."""
    maps = sorted((data / "brain_label_maps_synthseg").glob("*.nii.gz"))
    if len(maps) <= HELD_OUT:
        raise InputError(
            f"{data.name} holds {len(maps)} label maps of heads; at least {HELD_OUT + 1} are needed.",
            hint="Give the folder that holds brain_label_maps_synthseg/*.nii.gz.",
            code="E_TRAINING_DATA",
        )
    train, held_out = maps[:-HELD_OUT], maps[-HELD_OUT:]
    return make_pool(ctx, folder / "pool", train, POOL, BOX, 1), make_pool(ctx, folder / "check", held_out, 4, BOX, 2)


def make_pool(
    ctx: JobContext, folder: Path, maps: Sequence[Path], count: int, shape: Sequence[int], seed: int
) -> npt.NDArray[np.uint8]:
    """Return ``(count, k, j, i)`` deformed maps, mapped from a file that is made once and finished where it was cut.

    Map n is made of ``maps[n % len(maps)]`` and the seed ``(seed, n)``, whatever was made before it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, mark = folder / "pool.npy", folder / "pool.done"
    done = int(mark.read_text()) if mark.exists() and path.exists() else 0
    if done < count:
        made = np.lib.format.open_memmap(
            path, mode="r+" if done else "w+", dtype=np.uint8, shape=None if done else (count, *shape)
        )
        read: dict[Path, Codes] = {}
        for n in range(done, count):
            ctx.progress(n / count, f"Deforming label map {n + 1} of {count}")
            source = maps[n % len(maps)]
            if source not in read:
                read[source] = read_map(source)
            made[n] = deform(read[source], np.random.default_rng((seed, n)), shape)
            if n % 10 == 9 or n == count - 1:
                made.flush()
                mark.write_text(str(n + 1))
    pool: Codes = np.load(path, mmap_mode="r")
    return pool


def contrast(rng: np.random.Generator, kinds: Sequence[str] = (), random: float = 0.5) -> tuple[str, Floats, Floats]:
    """Return what was imitated, and the brightness of every tissue and its spread, about 0..1.

    Parameters
    ----------
    rng : Generator
    kinds : sequence of str
        Which contrasts are imitated; all of them when empty.
    random : float
        How often a contrast is drawn that no scanner ever made.
    """
    n = len(_NAMES)
    if rng.random() < random:
        mean = rng.uniform(0, 1, n)
        if rng.random() < 0.3:
            mean[_NAMES.index("fluid")] = mean[_NAMES.index("ventricle")]
        kind = "random"
    else:
        kind = str(rng.choice(list(kinds or _CONTRASTS)))
        spread = 0.015 if kind == "ct" else 0.05
        mean = np.array(_CONTRASTS[kind]) + rng.normal(0, spread, n)
        if kind == "ct":
            mean = (mean - rng.uniform(-0.05, 0.15)) / rng.uniform(0.6, 1.2)
        elif rng.random() < 0.3:
            mean[_NAMES.index("skin")] = mean[_NAMES.index("marrow")] = rng.uniform(0.1, 0.3)
    if rng.random() < 0.6:
        mean[_NAMES.index("air")] = 0.0
    deviation = rng.uniform(0.005, 0.05) * rng.uniform(0.3, 1.5, n)
    return kind, mean.clip(0, 1.5).astype(np.float32), deviation.astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], cells: int | Sequence[int]) -> torch.Tensor:
    """Return a smooth field of deviation about 1 on a grid, made of `cells` points along each axis."""
    points = (cells,) * 3 if isinstance(cells, int) else tuple(cells)
    coarse = torch.from_numpy(rng.standard_normal((1, 1, *points), dtype=np.float32))
    return F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]


def white_noise(rng: np.random.Generator, shape: Sequence[int]) -> torch.Tensor:
    """Return noise of deviation 1; torch draws it several times faster than NumPy."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return torch.randn(tuple(shape), generator=generator)


def spoil(
    image: torch.Tensor, rng: np.random.Generator, voxel_mm: float, thickest_mm: float = 7.0, gamma: float = 0.25
) -> torch.Tensor:
    """Return an image as a scanner would have made it: coil bias, thick slices, blur or sharpening, gamma, noise.

    Parameters
    ----------
    image : float tensor, shape (k, j, i)
        About 0..1.
    rng : Generator
    voxel_mm, thickest_mm : float
        Of the grid, and of the thickest slices that are imitated.
    gamma : float
        How much the curve from brightness to brightness varies.
    """
    shape = tuple(image.shape)
    if rng.random() < 0.8:
        image = image * torch.exp(smooth_noise(rng, shape, int(rng.integers(2, 5))) * float(rng.uniform(0, 0.3)))
    if rng.random() < 0.5:
        blurred = F.avg_pool3d(image[None, None], 3, stride=1, padding=1, count_include_pad=False)[0, 0]
        image = torch.lerp(image, blurred, float(rng.uniform(-0.7, 1.0)))
    noise = white_noise(rng, shape) * float(rng.uniform(0, 0.04)) if rng.random() < 0.8 else None
    if rng.random() < 0.4:
        axis, thick = int(rng.integers(3)), float(rng.uniform(voxel_mm * 1.2, thickest_mm))
        image = _thick_slices(image, axis, thick / voxel_mm, noise)
    elif noise is not None:
        image = (image + noise).abs()
    peak = float(image.max())
    return (image / max(peak, 1e-6)).clamp(min=0) ** float(np.exp(rng.normal(0, gamma))) * peak


def _thick_slices(image: torch.Tensor, axis: int, factor: float, noise: torch.Tensor | None) -> torch.Tensor:
    """Return the mean over slices `factor` voxels thick, with noise of those slices, back on the grid."""
    size = list(image.shape)
    few = list(size)
    few[axis] = max(2, round(size[axis] / factor))
    slices = F.interpolate(image[None, None], size=few, mode="area")
    if noise is not None:
        part = [slice(None)] * 3
        part[axis] = slice(0, few[axis])
        slices = (slices + noise[tuple(part)]).abs()
    return F.interpolate(slices, size=size, mode="trilinear", align_corners=False)[0, 0]


def strip(codes: Codes, rng: np.random.Generator, grid: int) -> npt.NDArray[np.bool_]:
    """Return what a skull stripping leaves of a map on its grid of every `grid`-th voxel: brain, and some rim."""
    rim = int(rng.integers(0, 3)) if grid > 1 else int(rng.integers(0, 6))
    closed = ~grown(~grown(BRAIN_OF_CODE[codes], 2), 2)
    return grown(closed, rim)


def grown(mask: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """Return a mask grown by some voxels along every axis."""
    mask = mask.copy()
    for _ in range(steps):
        for axis in range(3):
            view, old = np.moveaxis(mask, axis, 0), np.moveaxis(mask.copy(), axis, 0)
            view[1:] |= old[:-1]
            view[:-1] |= old[1:]
    return mask


class HeadRecipe:
    """What recipes that learn from made heads share.

    Attributes
    ----------
    pool, check
        Deformed label maps to learn from, and those held out.
    """

    learning_rate = 1e-3
    weight_decay = 1e-4

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work

    def prepare(self, ctx: JobContext) -> None:
        """Deform the label maps, once for all recipes."""
        self.pool, self.check = heads(ctx, self.data, self.work.parent / "brain_heads")
