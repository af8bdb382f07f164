"""Which part of the body an image shows, from a coarse look at its voxels, where tags lie or are missing.

Made to be wrong seldom rather than to answer always: what does not look plainly like one part stays open, and only a
plain contradiction keeps a task from an image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from medviewer.ai.mr_contrast import contrast_seen
from medviewer.ai.patient_grid import PatientGrid, block_mean
from medviewer.core.volume import Volume

Part = Literal["head", "thorax", "abdomen", "limb"]
Mask = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
_BLOCK_MM: Final = 4.0
#: HU: denser than fat and foam; air; lung and not the air beside the patient; bone; brain.
_TISSUE_HU, _AIR_HU, _PURE_AIR_HU, _BONE_HU, _BRAIN_HU = -350.0, -500.0, -960.0, 250.0, (0.0, 90.0)
#: BodyPartExamined (PS3.16 annex L) -> parts in which it lies. Words for more than these are left out.
_WORDS: Final[dict[Part, str]] = {
    "head": "HEAD BRAIN SKULL FACE JAW MAXILLA MANDIBLE ORBIT EYE EAR SINUS NOSE NECK CSPINE HEADNECK HIPPOCAMPUS",
    "thorax": "CHEST THORAX LUNG HEART BREAST RIB STERNUM MEDIASTINUM AORTA ESOPHAGUS TSPINE NECK CSPINE SPINE "
    "SHOULDER CHEST_TO_ABDOMEN CHESTABDOMEN CHESTABDPELVIS CHEST_ABDOMEN CHEST_ABDOMEN_PELVIS CLAVICLE",
    "abdomen": "ABDOMEN ABDOMENPELVIS LIVER SPLEEN KIDNEY PANCREAS COLON BLADDER PROSTATE UTERUS PELVIS LSPINE SSPINE "
    "AORTA SPINE HIP CHEST_TO_ABDOMEN CHESTABDOMEN CHESTABDPELVIS CHEST_ABDOMEN CHEST_ABDOMEN_PELVIS",
    "limb": "EXTREMITY ARM FOREARM ELBOW WRIST HAND FINGER SHOULDER HIP THIGH LEG KNEE ANKLE FOOT TOE FEMUR HUMERUS",
}
#: These say nothing of where.
_ANYWHERE: Final = frozenset({"WHOLEBODY", "WHOLE BODY", "BODY", "PARTIALBODY", "TRUNK"})
_NAMES: Final[dict[Part, str]] = {"head": "a head", "thorax": "a thorax", "abdomen": "an abdomen", "limb": "a limb"}


@dataclass(frozen=True, slots=True)
class BodyLook:
    """What an image looks like.

    Attributes
    ----------
    parts : frozenset of Part
        Which parts may be in it; empty where that is open.
    looks_like : str
        For a sentence: ``a head``.
    why : str
        What was seen, with numbers.
    contrast : str
        Of an MR image of a head: `T1`, `T2` or `FLAIR`; empty where that is open.
    """

    parts: frozenset[Part]
    looks_like: str
    why: str
    contrast: str = ""


def look_at(volume: Volume) -> BodyLook:
    """Look at a volume of CT (in HU) or MR on blocks of about 4 mm; takes some tens of milliseconds, any thread."""
    if volume.modality not in ("CT", "MR") or volume.stacking != "place" or not (volume.in_patient and volume.in_mm):
        return _open("only CT and MR in the patient are looked at")
    grid = PatientGrid.of(volume.geometry)
    down, back, left = grid.factors(_BLOCK_MM)
    slices = grid.turn(volume.array)[down // 2 :: down]
    limits = (-1024.0, 1500.0) if volume.modality == "CT" else (0.0, float(np.finfo(np.float32).max))
    coarse = block_mean(slices, (1, back, left), *limits)
    if min(coarse.shape) < 8:
        return _open("the field of view is too small to tell")
    spacing = (grid.spacing[0] * down, grid.spacing[1] * back, grid.spacing[2] * left)
    if volume.modality == "CT":
        return _look_at_ct(coarse, spacing)
    look = _look_at_mr(coarse, spacing)
    trunk = look.parts and "head" not in look.parts
    return look if trunk else replace(look, contrast=contrast_seen(slices))


def contradiction(look: BodyLook, body_parts: Iterable[str]) -> str:
    """Return why an image is none of the body parts (BodyPartExamined) a task is made for; empty when it may be."""
    words = frozenset(body_parts) - _ANYWHERE
    known = {part: frozenset(text.split()) for part, text in _WORDS.items()}
    wanted = [part for part, its_words in known.items() if its_words & words]
    all_known = words <= frozenset().union(*known.values())
    if not look.parts or not wanted or not all_known or look.parts & frozenset(wanted):
        return ""
    return f"the image looks like {look.looks_like}, not {' or '.join(_NAMES[part] for part in wanted)}"


def _open(why: str) -> BodyLook:
    return BodyLook(frozenset(), "", why)


def _look_at_ct(hu: npt.NDArray[np.float32], spacing: tuple[float, float, float]) -> BodyLook:
    body = _hull(_eroded(hu > _TISSUE_HU))
    voxels = np.maximum(body.sum((1, 2)), 1)
    area_cm2 = voxels * spacing[1] * spacing[2] / 100
    lung = (body & (hu < _AIR_HU) & (hu > _PURE_AIR_HU)).sum((1, 2)) / voxels
    in_bone = _hull(hu > _BONE_HU)
    brain = (body & in_bone & (hu > _BRAIN_HU[0]) & (hu < _BRAIN_HU[1])).sum((1, 2)) / voxels

    def length(of: Mask) -> float:
        return float(of.sum() * spacing[0])

    head_mm = length((brain > 0.45) & (area_cm2 > 60) & (area_cm2 < 320))
    lung_mm = length((lung > 0.15) & (area_cm2 > 60))
    trunk_mm = length((lung < 0.05) & (area_cm2 > 300))
    parts: set[Part] = set()
    names = []
    if head_mm >= 40:
        parts.add("head")
        names.append("a head")
    if lung_mm >= 120:
        parts.add("thorax")
        names.append("a thorax")
    if trunk_mm >= 100:
        # Two thighs have the girth of a belly; and where lung shows besides, its tasks may be meant.
        parts.update(("abdomen", "limb"))
        if lung_mm >= 60:
            parts.add("thorax")
        names.append("an abdomen" if lung_mm else "an abdomen or legs")
    why = (
        f"brain within a skull over {head_mm:.0f} mm, lungs over {lung_mm:.0f} mm, a trunk without lungs over "
        f"{trunk_mm:.0f} mm"
    )
    return BodyLook(frozenset(parts), " and ".join(names), why)


def _look_at_mr(signal: npt.NDArray[np.float32], spacing: tuple[float, float, float]) -> BodyLook:
    bright = signal[signal > 0]
    if not bright.size:
        return _open("there is nothing in it")
    tissue = signal > 0.12 * np.percentile(bright, 99)
    body = _hull(_eroded(tissue))
    area_cm2: _Floats = body.sum((1, 2)) * spacing[1] * spacing[2] / 100
    widest = int(area_cm2.argmax())
    wide_mm, deep_mm = body[widest].any(0).sum() * spacing[2], body[widest].any(1).sum() * spacing[1]
    why = f"its largest slice is {wide_mm:.0f} x {deep_mm:.0f} mm"
    if wide_mm >= 280 and deep_mm >= 120 and (area_cm2 > 350).sum() * spacing[0] >= 60:
        return BodyLook(frozenset({"thorax", "abdomen", "limb"}), "a trunk or legs", why)
    sides = (tissue[:, 0], tissue[:, -1], tissue[:, :, 0], tissue[:, :, -1])
    in_air = max(float(side.mean()) for side in sides) <= 0.1
    rounded = 0.65 <= float(body[widest].sum() * spacing[1] * spacing[2] / max(1.0, wide_mm * deep_mm)) <= 0.88
    sized = 110 <= wide_mm <= 200 and 140 <= deep_mm <= 240 and 1.05 <= deep_mm / wide_mm <= 1.7
    closes = float(area_cm2[-2:].max()) <= 0.6 * float(area_cm2.max()) and len(signal) * spacing[0] >= 100
    if in_air and rounded and sized and closes:
        return BodyLook(frozenset({"head"}), "a head", f"{why}, rounded, in air, and closes at the top")
    return _open(f"{why}, which is not plainly one part")


def _eroded(mask: Mask) -> Mask:
    """Return what keeps its four neighbours within a slice: without tables, which are thin."""
    inner = np.zeros(mask.shape, bool)
    inner[:, 1:-1, 1:-1] = (
        mask[:, 1:-1, 1:-1] & mask[:, 2:, 1:-1] & mask[:, :-2, 1:-1] & mask[:, 1:-1, 2:] & mask[:, 1:-1, :-2]
    )  # fmt: skip
    return inner


def _hull(mask: Mask) -> Mask:
    """Return what lies between voxels of a mask both along rows and along columns of a slice."""
    return _between(mask, 1) & _between(mask, 2)


def _between(mask: Mask, axis: int) -> Mask:
    seen = np.logical_or.accumulate(mask, axis)
    return seen & np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
