"""Headers sorted into studies and series as they come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from medviewer.core.dicom_ref import SeriesRef, SeriesWarning, Study
from medviewer.core.geometry import Geometry
from medviewer.core.private import keep_private
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_kinds import object_kind, other_type, type_name
from medviewer.io.dicom_slices import Part
from medviewer.io.dicom_split import split_series
from medviewer.io.dicom_tags import Tag
from medviewer.io.dicom_text import decoded_text, has_bad_text, plain_text

_MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
#: `SeriesRef.kind` of DICOM images that are no volume.
PICTURES: Final = "dicom_pictures"
_SCANNING: Final = SeriesWarning("W_SCANNING", "Still being scanned.")


class StudyTree:
    """Studies and series, filled one header at a time."""

    def __init__(self) -> None:
        self._studies: dict[str, dict[str, list[Header]]] = {}

    def add(self, header: Header) -> bool:
        """Sort in a header; False when it is neither an image nor another object of a series."""
        sop_class_uid = header.sop_class_uid
        if sop_class_uid == _MEDIA_DIRECTORY or not (sop_class_uid or header.has_pixels):
            return False
        series_uid = header.text(Tag.SERIES_INSTANCE_UID) or _made_up_series(header)
        study_uid = header.text(Tag.STUDY_INSTANCE_UID) or _made_up_study(header)
        self._studies.setdefault(study_uid, {}).setdefault(series_uid, []).append(header)
        return True

    @property
    def has_studies(self) -> bool:
        """Whether there is anything in it."""
        return bool(self._studies)

    def previews(self) -> list[Study]:
        """Return the studies as they are so far, cheaply: no series is split, none can be opened yet."""
        return [
            _study(uid, next(iter(series.values()))[0], [_preview(key, members) for key, members in series.items()])
            for uid, series in self._studies.items()
        ]

    def studies(self, check: Callable[[], None]) -> list[Study]:
        """Return the studies with every series split into its parts; `check` is called before each, to cancel."""
        found = []
        for uid, series in self._studies.items():
            refs: list[SeriesRef] = []
            for key, members in series.items():
                check()
                # By name, so that the parts of a series are numbered alike whatever was read first.
                refs += _series(key, uid, sorted(members, key=lambda header: str(header.path)))
            refs.sort(key=lambda ref: (ref.series_number is None, ref.series_number or 0))
            found.append(_study(uid, next(iter(series.values()))[0], refs))
        return found


def made_up_uid(*parts: str) -> str:
    """Return the same UID for the same parts, from the arc for UUIDs (PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, chr(31).join(parts)).int}"


def _made_up_series(header: Header) -> str:
    tags = (Tag.MODALITY, Tag.SERIES_NUMBER, Tag.SERIES_DESCRIPTION, Tag.STUDY_DATE, Tag.STUDY_INSTANCE_UID)
    return made_up_uid("series", _origin(header), *(header.text(tag) for tag in tags))


def _made_up_study(header: Header) -> str:
    tags = (Tag.PATIENT_ID, Tag.PATIENT_NAME, Tag.STUDY_DATE, Tag.STUDY_DESCRIPTION)
    return made_up_uid("study", _origin(header), *(header.text(tag) for tag in tags))


def _origin(header: Header) -> str:
    """Return what images without UIDs may share: their frame of reference, else the name of their folder."""
    return header.text(Tag.FRAME_OF_REFERENCE_UID) or header.path.parent.name


def _study(uid: str, header: Header, series: Sequence[SeriesRef]) -> Study:
    texts = (Tag.PATIENT_NAME, Tag.PATIENT_ID, Tag.STUDY_DESCRIPTION)
    warnings: tuple[SeriesWarning, ...] = ()
    if any(has_bad_text(header, tag) for tag in texts):
        warnings = (
            SeriesWarning(
                "W_CHARSET",
                "A name or description does not follow its declared character set; some of it may be wrong.",
            ),
        )
    name, patient_id = decoded_text(header, Tag.PATIENT_NAME), decoded_text(header, Tag.PATIENT_ID)
    birth_date, accession = plain_text(header, Tag.PATIENT_BIRTH_DATE), decoded_text(header, Tag.ACCESSION_NUMBER)
    keep_private(name, patient_id, birth_date, accession)
    return Study(
        study_instance_uid=uid,
        patient_name=name,
        patient_id=patient_id,
        patient_birth_date=birth_date,
        patient_sex=plain_text(header, Tag.PATIENT_SEX),
        study_date=plain_text(header, Tag.STUDY_DATE),
        description=decoded_text(header, Tag.STUDY_DESCRIPTION),
        accession_number=accession,
        series=tuple(series),
        warnings=warnings,
    )


def _preview(key: str, headers: Sequence[Header]) -> SeriesRef:
    first = headers[0]
    size = None
    columns, rows = first.integer(Tag.COLUMNS), first.integer(Tag.ROWS)
    if columns and rows:
        size = (columns, rows, len(headers))
    return SeriesRef(
        key=key,
        series_instance_uid=key,
        study_instance_uid=first.text(Tag.STUDY_INSTANCE_UID),
        modality=plain_text(first, Tag.MODALITY),
        description=decoded_text(first, Tag.SERIES_DESCRIPTION),
        series_number=_series_number(first),
        size=size,
        kind=object_kind(first.sop_class_uid),
        volume=False,
        warnings=(_SCANNING,),
    )


def _series(uid: str, study_uid: str, headers: Sequence[Header]) -> list[SeriesRef]:
    """Return the parts of one series."""
    images = [header for header in headers if _is_image(header)]
    parts = split_series(images) if images else []
    parts += [_other_object(header) for header in headers if not _is_image(header)]
    made_up = not headers[0].text(Tag.SERIES_INSTANCE_UID)
    refs = []
    for n, part in enumerate(parts):
        key = uid if len(parts) == 1 else f"{uid}#{n + 1}"
        refs.append(_ref(key, uid, study_uid, part, made_up=made_up))
    return refs


#: Objects with a grid of their own, which their readers find when they are opened.
_GRIDS: Final = frozenset({"rtdose", "parametric_map"})


def _is_image(header: Header) -> bool:
    """Whether a header is that of an image, if only of one that lacks its pixels."""
    uid = header.sop_class_uid
    return object_kind(uid) == "dicom" and (header.has_pixels or not other_type(uid))


def _other_object(header: Header) -> Part:
    kind = object_kind(header.sop_class_uid)
    if kind in _GRIDS and header.has_pixels:
        return Part((header,), None, by_itself=True)
    why = f"The object is {type_name(header.sop_class_uid)}, not an image."
    if kind == "dicom":
        why = f"The object is of {other_type(header.sop_class_uid)}, which cannot be shown."
    warning = SeriesWarning("W_NOT_IMAGE", why)
    return Part((header,), None, (warning,), refusal="E_NOT_IMAGE")


def _ref(key: str, uid: str, study_uid: str, part: Part, *, made_up: bool) -> SeriesRef:
    first = part.headers[0]
    description = decoded_text(first, Tag.SERIES_DESCRIPTION)
    warnings = part.warnings
    if made_up:
        text = "The files have no SeriesInstanceUID; one was made up."
        warnings = (*warnings, SeriesWarning("W_NO_UID", text))
    size, spacing = _extent(part, part.geometry)
    return SeriesRef(
        key=key,
        series_instance_uid=uid,
        study_instance_uid=study_uid,
        frame_of_reference_uid=first.text(Tag.FRAME_OF_REFERENCE_UID),
        modality=plain_text(first, Tag.MODALITY),
        description=f"{description} [{part.label}]".strip() if part.label else description,
        series_number=_series_number(first),
        body_part_examined=plain_text(first, Tag.BODY_PART_EXAMINED),
        size=size,
        spacing=spacing,
        files=_paths(part.headers),
        frames=tuple(h.frame or 0 for h in part.headers) if any(h.frame is not None for h in part.headers) else (),
        transfer_syntax_uid=first.transfer_syntax_uid,
        sop_class_uid=first.sop_class_uid,
        kind=object_kind(first.sop_class_uid) if part.stacking == "place" else PICTURES,
        stacking=part.stacking,
        volume=part.geometry is not None or part.by_itself,
        refusal="" if part.geometry is not None else part.refusal,
        warnings=warnings,
        interpolation=part.interpolation,
        time_labels=part.time_labels,
        time_name=part.time_name,
    )


def _extent(
    part: Part, geometry: Geometry | None
) -> tuple[tuple[int, int, int] | None, tuple[float, float, float] | None]:
    if geometry is not None:
        return geometry.size, geometry.spacing if part.in_mm else None
    first = part.headers[0]
    columns, rows = first.integer(Tag.COLUMNS), first.integer(Tag.ROWS)
    if not columns or not rows:
        return None, None
    return (columns, rows, len(part.headers) * (first.frames or 1)), None


def _series_number(header: Header) -> int | None:
    number = header.number(Tag.SERIES_NUMBER)
    return int(number) if number is not None and abs(number) < 2**31 else None


def _paths(headers: Sequence[Header]) -> tuple[Path, ...]:
    return tuple(header.path for header in headers)
