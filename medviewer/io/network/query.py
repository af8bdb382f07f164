"""What is asked of a server, and the rows it answers with.

References
----------
DICOM PS3.4 C.2.2.2 (attribute matching), C.6.2 (Study Root information model), PS3.18 section 10.6 (QIDO-RS).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from medviewer.core.private import keep_private
from medviewer.io.network.errors import NetworkError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Rows a person can look through; of a server that has more, the next are asked for only when wanted.
MAX_ROWS = 500
#: Character sets that a server may want its queries in (PS3.3 C.12.1.1.2).
CHARSETS: Final = {
    "": "ASCII only",
    "ISO_IR 192": "Unicode (UTF-8)",
    "ISO_IR 100": "Western European",
    "ISO_IR 101": "Central European",
    "ISO_IR 144": "Cyrillic",
    "ISO_IR 126": "Greek",
    "ISO_IR 127": "Arabic",
    "ISO_IR 138": "Hebrew",
    "ISO_IR 166": "Thai",
    "ISO 2022 IR 87": "Japanese",
    "ISO 2022 IR 149": "Korean",
    "GB18030": "Chinese",
}
#: From here on letters are those of writing systems that names give in a second group, after an equals sign.
_IDEOGRAPHIC: Final = 0x2E80
_SPANS: Final = {"today": 0, "week": 7, "month": 31, "year": 365}

STUDY_KEYS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "AccessionNumber", "StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances", "ReferringPhysicianName",
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
    body_part : str
        Of a series; a study fits that has such a series.
    """

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    date_from: str = field(default="", repr=False)
    date_to: str = field(default="", repr=False)
    modality: str = ""
    description: str = field(default="", repr=False)
    referring_physician: str = field(default="", repr=False)
    body_part: str = ""

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
            "ReferringPhysicianName": name_pattern(self.referring_physician),
        }
        return {keyword: value for keyword, value in values.items() if value}

    def fits(self, row: StudyRow) -> bool:
        """Whether a study is what was asked for; servers may ignore these keys and then answer with all they have."""
        asked = self.matching()
        modality = asked.get("ModalitiesInStudy", "")
        return (
            (not modality or not row.modalities or any(_like(own, modality) for own in row.modalities))
            and _like(row.description, asked.get("StudyDescription", ""))
            and _like(row.referring_physician, asked.get("ReferringPhysicianName", ""))
        )

    def fits_series(self, row: SeriesRow) -> bool:
        """Whether a series shows the body part asked for."""
        return _like(row.body_part or "-", _anywhere(self.body_part))


def dates_of(text: str, today: date | None = None) -> tuple[str, str]:
    """Return the first and the last date of a span of time.

    Parameters
    ----------
    text : str
        ``today``, ``yesterday``, ``week``, ``month`` or ``year`` (up to today); a date; or ``FROM-TO``, one of which
        may be missing. Dates are ``YYYYMMDD`` or ``YYYY/MM/DD``.

    Raises
    ------
    NetworkError
        ``E_DATE`` for anything else.
    """
    now = today or date.today()
    word = text.strip().lower()
    if word == "yesterday":
        return (f"{now - timedelta(days=1):%Y%m%d}",) * 2
    if word in _SPANS:
        return f"{now - timedelta(days=_SPANS[word]):%Y%m%d}", f"{now:%Y%m%d}"
    start, dash, end = word.replace("/", "").partition("-")
    both = (start, end if dash else start)
    if not any(both) or not all(re.fullmatch(r"\d{8}|", part) for part in both):
        raise NetworkError(
            f"“{text}” is no span of time.",
            hint="Use today, yesterday, week, month, year, YYYYMMDD, or FROM-TO.",
            code="E_DATE",
        )
    return both


def _like(value: str, pattern: str) -> bool:
    """Whether a value matches a pattern; one that is empty, here or there, does."""
    literal = pattern.casefold().replace("[", "[[]")
    return not value or not pattern or fnmatchcase(value.casefold(), literal)


def name_pattern(text: str) -> str:
    """Return how a name is asked for: ``doe, j`` becomes ``doe*j*``; wildcards of the user are left alone."""
    text = _calm(text)
    if not text or "*" in text or "?" in text:
        return text
    start = "*" if any(ord(letter) >= _IDEOGRAPHIC for letter in text) else ""
    return start + re.sub(r"\*+", "*", "*".join(part for part in re.split(r"[\s,^]+", text) if part) + "*")


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
    referring_physician: str = field(default="", repr=False)
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


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """The answer to a query.

    Attributes
    ----------
    rows : tuple
    next_offset : int or None
        Where to go on when the server has more than `MAX_ROWS`.
    """

    rows: tuple[R, ...]
    next_offset: int | None = None


def identifier(level: str, keys: Iterable[str], matching: Mapping[str, str], charset: str = "") -> Dataset:
    """Return a C-FIND, C-GET or C-MOVE identifier; a list of UIDs is separated by backslashes.

    Raises
    ------
    NetworkError
        ``E_CHARSET`` when the character set lacks a letter of what is asked for.
    """
    from pydicom.dataset import Dataset

    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword in keys:
        setattr(made, keyword, None)
    for keyword, value in matching.items():
        setattr(made, keyword, value.split("\\") if "\\" in value else value)
    if not all(value.isascii() for value in matching.values()):
        _check_letters(matching.values(), charset)
        made.SpecificCharacterSet = ["", charset] if charset.startswith("ISO 2022") else charset
    return made


def _check_letters(values: Iterable[str], charset: str) -> None:
    from pydicom.charset import python_encoding

    try:
        for value in values:
            value.encode(python_encoding[charset] if charset else "ascii")
    except (UnicodeEncodeError, KeyError, LookupError) as error:
        raise NetworkError(
            f"The server is asked in {CHARSETS.get(charset, charset)}, which lacks a letter of what is searched for.",
            hint="Choose another character set in the settings of the server, or put * in place of the letter.",
            code="E_CHARSET",
        ) from error


def study_row(answer: Dataset) -> StudyRow:
    """Return a row from an answer at the study level; what is missing or malformed is left empty."""
    row = StudyRow(
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
        referring_physician=text(answer, "ReferringPhysicianName"),
        series=number(answer, "NumberOfStudyRelatedSeries"),
        instances=number(answer, "NumberOfStudyRelatedInstances"),
    )
    keep_private(row.patient_name, row.patient_id, row.patient_birth_date, row.accession_number)
    return row


def patient_row(answer: Dataset) -> PatientRow:
    """Return a row from an answer at the patient level."""
    row = PatientRow(
        patient_name=text(answer, "PatientName"),
        patient_id=text(answer, "PatientID"),
        patient_birth_date=text(answer, "PatientBirthDate"),
        patient_sex=text(answer, "PatientSex"),
    )
    keep_private(row.patient_name, row.patient_id, row.patient_birth_date)
    return row


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


def in_order(rows: Iterable[SeriesRow]) -> tuple[SeriesRow, ...]:
    """Return series by their number; those without one come last."""
    return tuple(sorted(rows, key=lambda row: (row.number is None, row.number or 0)))
