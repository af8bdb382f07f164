"""Values of `core` as JSON: one spelling for the journal, the saved workspace and the exports."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.core.annotation import Box3D
from medviewer.core.dicom_ref import SeriesRef, SeriesWarning
from medviewer.core.finding import Assessment, Finding, QualityFlag
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.prompt import Mask, Prompt
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.segmentation import Segment
from medviewer.core.terminology import TERMS, CodedConcept
from medviewer.core.transform import AffineTransform, DisplacementField
from medviewer.core.volume import Volume, VoxelArray
from medviewer.core.workspace import Registration

_SEGMENT_KEYS = ("value", "name", "group", "visible", "locked", "opacity", "status")
_BOX_KEYS = ("id", "label", "score", "diameter_mm", "review", "segment")
_SERIES_TEXTS = (
    "key", "series_instance_uid", "study_instance_uid", "frame_of_reference_uid", "modality", "description",
    "body_part_examined", "transfer_syntax_uid", "sop_class_uid", "kind",
)  # fmt: skip


def segment_to_json(segment: Segment) -> dict[str, Any]:
    """Return JSON-ready values."""
    data: dict[str, Any] = {k: getattr(segment, k) for k in _SEGMENT_KEYS}
    return data | {
        "edited": segment.edited,
        "instance": segment.instance,
        "color": list(segment.color),
        "provenance": segment.provenance.to_json(),
        "flags": [asdict(flag) for flag in segment.flags],
        **terms_to_json(segment),
    }


def terms_to_json(segment: Segment) -> dict[str, Any]:
    """Return the coded concepts of a segment, JSON-ready; None where there is none."""
    terms = {name: getattr(segment, name) for name in TERMS}
    return {name: None if term is None else asdict(term) for name, term in terms.items()}


def terms_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the coded concepts that are given, as fields of a segment."""
    return {name: CodedConcept(**data[name]) for name in TERMS if data.get(name) is not None}


def segment_from_json(data: Mapping[str, Any]) -> Segment:
    """Build from `segment_to_json`."""
    red, green, blue = data["color"]
    return Segment(
        **{k: data[k] for k in _SEGMENT_KEYS},
        edited=bool(data.get("edited", False)),
        instance=int(data.get("instance", 0)),
        color=(red, green, blue),
        provenance=Provenance.from_json(data["provenance"]),
        flags=_flags(data.get("flags", ())),
        **terms_from_json(data),
    )


def _flags(data: Iterable[Mapping[str, Any]]) -> tuple[QualityFlag, ...]:
    return tuple(QualityFlag(str(f["code"]), str(f["text"]), int(f["segment"])) for f in data)


def box_to_json(box: Box3D) -> dict[str, Any]:
    """Return JSON-ready values; corners in LPS mm."""
    data: dict[str, Any] = {k: getattr(box, k) for k in _BOX_KEYS}
    return data | {"lower": list(box.lower), "upper": list(box.upper), "provenance": box.provenance.to_json()}


def box_from_json(data: Mapping[str, Any]) -> Box3D:
    """Build from `box_to_json`."""
    return Box3D(
        **{k: data[k] for k in _BOX_KEYS},
        lower=vec3(data["lower"]),
        upper=vec3(data["upper"]),
        provenance=Provenance.from_json(data["provenance"]),
    )


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """Return JSON-ready values; points in LPS mm, a drawn area as its box and its bits."""
    data: dict[str, Any] = {"kind": prompt.kind, "positive": prompt.positive, "points": [[*p] for p in prompt.points]}
    if prompt.crop is not None:
        region, mask = prompt.crop
        bits = base64.b64encode(np.packbits(mask).tobytes()).decode()
        data |= {"box": [[*region.lower], [*region.upper]], "bits": bits}
    return data


def prompt_from_json(data: Mapping[str, Any]) -> Prompt:
    """Build from `prompt_to_json`; raises ValueError when the bits do not fill the box."""
    crop: tuple[Region, Mask] | None = None
    if "box" in data:
        (k0, j0, i0), (k1, j1, i1) = data["box"]
        region = Region((k0, j0, i0), (k1, j1, i1))
        bits = np.frombuffer(base64.b64decode(data["bits"]), np.uint8)
        mask = np.unpackbits(bits, count=region.size).astype(bool)
        crop = region, mask.reshape(region.shape)
    return Prompt(
        kind=data["kind"],
        positive=bool(data["positive"]),
        points=tuple(vec3(point) for point in data["points"]),
        crop=crop,
    )


def registration_to_json(registration: Registration, arrays: dict[str, VoxelArray]) -> dict[str, Any]:
    """Return JSON-ready values; the vectors of a displacement field are put into `arrays`."""
    transform = registration.transform
    data: dict[str, Any] = {
        "id": registration.id,
        "name": registration.name,
        "fixed": registration.fixed_id,
        "moving": registration.moving_id,
        "measures": dict(registration.measures),
        "provenance": registration.provenance.to_json() if registration.provenance else None,
    }
    if isinstance(transform, AffineTransform):
        return data | {"matrix": list(transform.matrix)}
    field = f"fields/{registration.id}"
    arrays[field] = transform.displacement_mm
    return data | {"field": field, "geometry": geometry_to_json(transform.geometry)}


def registration_from_json(data: Mapping[str, Any], arrays: Mapping[str, VoxelArray]) -> Registration:
    """Build from `registration_to_json`; raises ValueError when a field does not fit its grid."""
    transform: AffineTransform | DisplacementField
    if "field" in data:
        geometry = geometry_from_json(data["geometry"])
        vectors = arrays[data["field"]]
        if vectors.shape != (*geometry.shape, 3) or vectors.dtype != np.float32:
            raise ValueError("a displacement field does not fit its grid")
        transform = DisplacementField(vectors, geometry)
    else:
        transform = AffineTransform(tuple(data["matrix"]))
    return Registration(
        name=data["name"],
        fixed_id=data["fixed"],
        moving_id=data["moving"],
        transform=transform,
        measures=data["measures"],
        provenance=Provenance.from_json(data["provenance"]) if data["provenance"] else None,
        id=data["id"],
    )


def assessment_to_json(assessment: Assessment, arrays: dict[str, VoxelArray]) -> dict[str, Any]:
    """Return JSON-ready values; the voxels of its maps are put into `arrays`."""
    arrays |= {f"maps/{volume.id}": volume.array for volume in assessment.maps}
    return {
        "id": assessment.id,
        "name": assessment.name,
        "findings": [asdict(f.concept) | {"probability": f.probability} for f in assessment.findings],
        "maps": [
            {
                "id": volume.id,
                "name": volume.name,
                "unit": volume.unit,
                "window": list(volume.window) if volume.window else None,
                "geometry": geometry_to_json(volume.geometry),
            }
            for volume in assessment.maps
        ],
        "flags": [asdict(flag) for flag in assessment.flags],
        "provenance": assessment.provenance.to_json(),
    }


def assessment_from_json(data: Mapping[str, Any], arrays: Mapping[str, VoxelArray]) -> Assessment:
    """Build from `assessment_to_json`; raises ValueError when a map does not fit its grid."""
    findings = []
    for entry in data["findings"]:
        concept = CodedConcept(*(str(entry[k]) for k in ("code_value", "coding_scheme_designator", "code_meaning")))
        findings.append(Finding(concept, float(entry["probability"])))
    maps = []
    for entry in data["maps"]:
        window = entry["window"]
        maps.append(
            Volume(
                arrays[f"maps/{entry['id']}"],
                geometry_from_json(entry["geometry"]),
                str(entry["name"]),
                unit=str(entry["unit"]),
                window=(float(window[0]), float(window[1])) if window else None,
                id=str(entry["id"]),
            )
        )
    return Assessment(
        name=str(data["name"]),
        findings=tuple(findings),
        maps=tuple(maps),
        flags=_flags(data["flags"]),
        provenance=Provenance.from_json(data["provenance"]),
        id=str(data["id"]),
    )


def geometry_to_json(geometry: Geometry) -> dict[str, Any]:
    """Return JSON-ready values; (i, j, k) and LPS mm. Floats survive JSON exactly."""
    return {
        "size": list(geometry.size),
        "spacing": list(geometry.spacing),
        "origin": list(geometry.origin),
        "direction": list(geometry.direction),
    }


def geometry_from_json(data: Mapping[str, Any]) -> Geometry:
    """Build from `geometry_to_json`; raises ValueError for numbers that are no grid."""
    i, j, k = data["size"]
    return Geometry((i, j, k), vec3(data["spacing"]), vec3(data["origin"]), tuple(data["direction"]))


def series_to_json(series: SeriesRef) -> dict[str, Any]:
    """Return JSON-ready values; files as absolute paths."""
    return {k: getattr(series, k) for k in _SERIES_TEXTS} | {
        "series_number": series.series_number,
        "volume": series.volume,
        "size": list(series.size) if series.size else None,
        "spacing": list(series.spacing) if series.spacing else None,
        "files": [str(path) for path in series.files],
        "frames": list(series.frames),
        "refusal": series.refusal,
        "warnings": [asdict(warning) for warning in series.warnings],
        "stacking": series.stacking,
        "time_labels": list(series.time_labels),
        "affine": series.affine,
        "entered_spacing": list(series.entered_spacing) if series.entered_spacing else None,
        "interpolation": series.interpolation,
        "time_name": series.time_name,
    }


def series_from_json(data: Mapping[str, Any]) -> SeriesRef:
    """Build from `series_to_json`."""
    size, spacing = data["size"], data["spacing"]
    texts: dict[str, Any] = {k: str(data[k]) for k in _SERIES_TEXTS}
    return SeriesRef(
        **texts,
        volume=bool(data["volume"]),
        series_number=data["series_number"],
        size=(int(size[0]), int(size[1]), int(size[2])) if size else None,
        spacing=vec3(spacing) if spacing else None,
        files=tuple(Path(path) for path in data["files"]),
        frames=tuple(int(frame) for frame in data.get("frames", ())),
        refusal=str(data.get("refusal", "")),
        warnings=tuple(SeriesWarning(str(w["code"]), str(w["text"])) for w in data["warnings"]),
        stacking=data.get("stacking", "place"),
        affine=data.get("affine", ""),
        entered_spacing=vec3(data["entered_spacing"]) if data.get("entered_spacing") else None,
        time_labels=tuple(str(label) for label in data.get("time_labels", ())),
        interpolation=data.get("interpolation", ""),
        time_name=str(data.get("time_name", "")),
    )
