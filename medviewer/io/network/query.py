"""What is asked of a server, and the rows it answers with.

References
----------
DICOM PS3.4 C.2.2.2 (attribute matching), C.6.2 (Study Root information model), PS3.18 section 10.6 (QIDO-RS).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Rows a person can look through; a server that has more is asked for no more.
MAX_ROWS = 500

STUDY_KEYS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "AccessionNumber", "StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
PATIENT_KEYS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
SERIES_KEYS = (
    "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
)  # fmt: skip
INSTANCE_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFields:
    """What a radiologist fills in. Empty matches all; ``*`` stands for any letters, ``?`` for one.

    Attributes
    ----------
    date_from, date_to : str
        ``YYYYMMDD`` or empty.
    """

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    date_from: str = field(default="", repr=False)
    date_to: str = field(default="", repr=False)
    modality: str = ""
    description: str = field(default="", repr=False)

    def matching(self) -> dict[str, str]:
        """Return keyword -> what to match, without what is empty."""
        start, end = self.date_from.strip(), self.date_to.strip()
        values = {
            "PatientName": name_pattern(self.patient_name),
            "PatientID": _calm(self.patient_id),
            "AccessionNumber": _calm(self.accession_number),
            "StudyDate": start if start == end else f"{start}-{end}",
            "ModalitiesInStudy": _calm(self.modality).upper(),
            "StudyDescription": _anywhere(self.description),
        }
        return {keyword: value for keyword, value in values.items() if value}


def name_pattern(text: str) -> str:
    """Return how a name is asked for: ``doe, j`` becomes ``doe*j*``; wildcards of the user are left alone."""
    text = _calm(text)
    if not text or "*" in text or "?" in text:
        return text
    return re.sub(r"\*+", "*", "*".join(part for part in re.split(r"[\s,^]+", text) if part) + "*")


def _anywhere(text: str) -> str:
    text = _calm(text)
    return text if not text or "*" in text or "?" in text else f"*{text}*"


def _calm(text: str) -> str:
    """Return text that fits a key: no separator of values, no control characters, no row of stars."""
    return re.sub(r"\*{2,}", "*", re.sub(r"[\x00-\x1f\x7f\\]+", " ", text)).strip()[:64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """A study that a server has."""

    study_instance_uid: str
    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)
    study_date: str = ""
    study_time: str = ""
    accession_number: str = field(default="", repr=False)
    description: str = field(default="", repr=False)
    modalities: tuple[str, ...] = ()
    series: int | None = None
    instances: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRow:
    """A patient that a server has studies of."""

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A series that a server has."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    number: int | None = None
    description: str = field(default="", repr=False)
    body_part: str = ""
    instances: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One object that a server has."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a query.

    Attributes
    ----------
    truncated : bool
        Whether the server had more than `MAX_ROWS`.
    """

    studies: tuple[StudyRow, ...]
    truncated: bool = False


def identifier(level: str, keys: Iterable[str], matching: Mapping[str, str]) -> Dataset:
    """Return a C-FIND, C-GET or C-MOVE identifier; a list of UIDs is separated by backslashes."""
    from pydicom.dataset import Dataset

    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword in keys:
        setattr(made, keyword, None)
    for keyword, value in matching.items():
        setattr(made, keyword, value.split("\\") if "\\" in value else value)
    if not all(value.isascii() for value in matching.values()):
        made.SpecificCharacterSet = "ISO_IR 192"
    return made


def study_row(answer: Dataset) -> StudyRow:
    """Return a row from an answer at the study level; what is missing or malformed is left empty."""
    return StudyRow(
        study_instance_uid=text(answer, "StudyInstanceUID"),
        patient_name=text(answer, "PatientName"),
        patient_id=text(answer, "PatientID"),
        patient_birth_date=text(answer, "PatientBirthDate"),
        patient_sex=text(answer, "PatientSex"),
        study_date=text(answer, "StudyDate"),
        study_time=text(answer, "StudyTime"),
        accession_number=text(answer, "AccessionNumber"),
        description=text(answer, "StudyDescription"),
        modalities=tuple(part for part in text(answer, "ModalitiesInStudy").split("\\") if part),
        series=number(answer, "NumberOfStudyRelatedSeries"),
        instances=number(answer, "NumberOfStudyRelatedInstances"),
    )


def patient_row(answer: Dataset) -> PatientRow:
    """Return a row from an answer at the patient level."""
    return PatientRow(
        patient_name=text(answer, "PatientName"),
        patient_id=text(answer, "PatientID"),
        patient_birth_date=text(answer, "PatientBirthDate"),
        patient_sex=text(answer, "PatientSex"),
    )


def series_row(answer: Dataset, study_uid: str) -> SeriesRow:
    """Return a row from an answer at the series level."""
    return SeriesRow(
        study_instance_uid=study_uid,
        series_instance_uid=text(answer, "SeriesInstanceUID"),
        modality=text(answer, "Modality"),
        number=number(answer, "SeriesNumber"),
        description=text(answer, "SeriesDescription"),
        body_part=text(answer, "BodyPartExamined"),
        instances=number(answer, "NumberOfSeriesRelatedInstances"),
    )


def instance_row(answer: Dataset, study_uid: str, series_uid: str) -> InstanceRow:
    """Return a row from an answer at the image level."""
    return InstanceRow(
        study_instance_uid=study_uid,
        series_instance_uid=series_uid,
        sop_instance_uid=text(answer, "SOPInstanceUID"),
        sop_class_uid=text(answer, "SOPClassUID"),
    )


def text(answer: Dataset, keyword: str) -> str:
    """Return a value of an answer as text, several separated by backslashes; empty when there is none."""
    value = answer.get(keyword)
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\\".join(str(part) for part in value)
    return str(value).replace("\0", "").strip()


def number(answer: Dataset, keyword: str) -> int | None:
    """Return a whole number of an answer, if it is one."""
    found = text(answer, keyword)
    return int(found) if re.fullmatch(r"[+-]?\d{1,12}", found) else None


def newest_first(rows: Iterable[StudyRow]) -> tuple[StudyRow, ...]:
    """Return rows in the order in which they are read: newest study first."""
    return tuple(sorted(rows, key=lambda row: (row.study_date, row.study_time), reverse=True))
