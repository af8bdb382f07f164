"""What the values of a PET series are, and their factors to standardized uptake values.

SUV = activity concentration x body measure / activity of the dose at the time that decay was corrected to. The measure
is the weight (bw), the lean body mass of Janmahasatian 2005 (lbm) or the body surface area of Du Bois 1916 (bsa).

References
----------
DICOM PS3.3 C.8.9.1 (PET Series), C.8.9.2 (PET Isotope); QIBA, vendor-neutral pseudo-code for SUV (2012), which says
what to do with Philips' private factors and with series whose SeriesTime is not when the scan began; IBSI, SUV (2023).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from medviewer.core.dicom_ref import SeriesWarning
from medviewer.core.errors import DecodeError
from medviewer.core.suv import BQML, PET_UNITS, SUV_BSA, SUV_BW, SUV_LBM, Suv
from medviewer.io.dicom_elements import read_elements
from medviewer.io.dicom_header import Header
from medviewer.io.dicom_tags import Tag
from medviewer.io.dicom_time import moment, moment_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

log = logging.getLogger(__name__)

#: Smaller doses are no Bq: some programs write MBq.
_LEAST_DOSE_BQ: Final = 1e5
#: More half-lives between injection and scan, and one of the two times is wrong.
_MOST_HALF_LIVES: Final = 10.0
#: Longer half-lives are injected on days before; a time of day does not say when.
_SAME_DAY_HALF_LIFE_S: Final = 12 * 3600.0
_PHILIPS: Final = (0x7053, "Philips PET Private Group")
_GE: Final = (0x0009, "GEMS_PETD_01")
#: SUVType (0054,1006) of values that are uptake values already; the others cannot be turned into these.
_SUV_TYPES: Final = {"": SUV_BW, "BW": SUV_BW, "LBMJANMA": SUV_LBM, "BSA": SUV_BSA}
_OTHER_UNITS: Final = {"CNTS": "counts", "PROPCNTS": "counts", "CPS": "counts/s", "PROPCPS": "counts/s", "NONE": ""}


class _Missing(Exception):
    """Why something is not known, as part of a sentence."""


@dataclass(frozen=True, slots=True)
class PetScale:
    """How a PET series is shown.

    Attributes
    ----------
    unit : str
    factor : float
        Value in that unit = value as the file has it x factor.
    suv : Suv
    warnings : tuple of SeriesWarning
        ``W_NO_SUV``, ``W_SUV_TIME``.
    """

    unit: str
    factor: float
    suv: Suv
    warnings: tuple[SeriesWarning, ...] = ()


def pet_scale(headers: Sequence[Header]) -> PetScale:
    """Return how the slices of a PET series are shown: in SUVbw where that can be computed, else as the file has them.

    Raises
    ------
    InputError
        When the first file cannot be read any more.
    """
    units = {header.text(Tag.UNITS) for header in headers}
    if len(units) > 1:
        text = f"No SUV: the slices are in different units ({', '.join(sorted(units))})."
        raise DecodeError(text, hint="Ask for the series as the scanner made it.", code="E_PET_UNITS")
    series = _PetSeries(read_elements(headers[0].path, None), headers)
    suv = series.suv()
    if SUV_BW in suv.factors:
        return PetScale(SUV_BW, suv.factors[SUV_BW], suv, tuple(series.warnings))
    why = suv.missing.get(SUV_BW, "")
    text = f"No SUV: {why}. Values are shown in {series.unit or 'the unit of the file'}."
    return PetScale(series.unit, 1.0, suv, (*series.warnings, SeriesWarning("W_NO_SUV", text)))


class _PetSeries:
    """The facts of a series, each read when it is needed; what is missing is said once, by name."""

    def __init__(self, dataset: Dataset, headers: Sequence[Header]) -> None:
        self._dataset = dataset
        self._headers = headers
        self._units = _text(dataset, "Units").upper()
        self._type = _text(dataset, "SUVType").upper()
        self.warnings: list[SeriesWarning] = []
        self.unit = self._unit()

    def _unit(self) -> str:
        if self._units == "BQML":
            return BQML
        if self._units in ("GML", "CM2ML"):
            known = SUV_BSA if self._units == "CM2ML" else _SUV_TYPES.get(self._type)
            return known or f"SUV ({self._type})"
        return _OTHER_UNITS.get(self._units, self._units)

    def suv(self) -> Suv:
        """Return the factors from values of the file to every unit, and why one is not known."""
        factors = {self.unit: 1.0} if self.unit else {}
        missing: dict[str, str] = {}
        if self._units == "CNTS":
            factors |= self._philips_factors()
        for unit in PET_UNITS:
            if unit not in factors:
                try:
                    factors[unit] = self._through_another(unit, factors)
                except _Missing as reason:
                    missing[unit] = str(reason)
        return Suv(factors, missing)

    def _philips_factors(self) -> dict[str, float]:
        """Return what the file itself says its counts are worth."""
        found = {
            SUV_BW: _private_number(self._dataset, *_PHILIPS, 0x00),
            BQML: _private_number(self._dataset, *_PHILIPS, 0x09),
        }
        return {unit: factor for unit, factor in found.items() if factor is not None and factor > 0}

    def _through_another(self, unit: str, factors: dict[str, float]) -> float:
        """Return a factor by way of a unit whose factor is known."""
        reason: _Missing | None = None
        for known in [u for u in PET_UNITS if u in factors]:
            try:
                return factors[known] * self._worth(unit) / self._worth(known)
            except _Missing as missing:
                reason = reason or missing
        if reason is None and self._units == "CNTS":
            reason = _Missing("the values are counts without a factor")
        raise reason or _Missing(f"the values are in {self.unit}" if self.unit else "Units is missing")

    def _worth(self, unit: str) -> float:
        """Return what 1/(activity of the dose) is worth in a unit: its body measure; for Bq/ml the activity itself."""
        if unit == BQML:
            return self._activity_bq()
        weight = self._measure("PatientWeight", 0.005, 600.0, "kg")
        if unit == SUV_BW:
            return 1000.0 * weight
        size = self._measure("PatientSize", 0.2, 2.6, "m")
        if unit == SUV_BSA:
            return 1e4 * body_surface_area_m2(weight, size)
        sex = _text(self._dataset, "PatientSex").upper()
        if sex not in ("M", "F"):
            raise _Missing("PatientSex is missing" if not sex else f"PatientSex is {sex}")
        return 1000.0 * lean_body_mass_kg(weight, size, sex)

    def _measure(self, keyword: str, least: float, most: float, unit: str) -> float:
        value = _number(self._dataset, keyword)
        if value is None or value == 0:
            raise _Missing(f"{keyword} is missing")
        if not least <= value <= most:
            raise _Missing(f"{keyword} is {value:g} {unit}, which cannot be")
        return value

    # ---- the dose

    def _activity_bq(self) -> float:
        """Return the activity of the dose at the time that decay was corrected to."""
        tracers = _items(self._dataset, "RadiopharmaceuticalInformationSequence")
        if len(tracers) != 1:
            raise _Missing(f"{len(tracers)} radiopharmaceuticals are described" if tracers else "the dose is missing")
        corrected = "ATTN" in _texts(self._dataset, "CorrectedImage")
        if not corrected and _text(self._dataset, "AttenuationCorrectionMethod").upper() in ("", "NONE"):
            raise _Missing("the images are not said to be corrected for attenuation")
        dose = _number(tracers[0], "RadionuclideTotalDose")
        if not dose or dose < 0:
            raise _Missing("RadionuclideTotalDose is missing")
        if dose < _LEAST_DOSE_BQ:
            raise _Missing(f"RadionuclideTotalDose is {dose:g} Bq, which cannot be")
        correction = _text(self._dataset, "DecayCorrection").upper()
        if correction == "ADMIN":
            return dose
        if correction != "START":
            raise _Missing(f"DecayCorrection is {correction or 'missing'}")
        half_life = _number(tracers[0], "RadionuclideHalfLife")
        if not half_life or half_life < 0:
            raise _Missing("RadionuclideHalfLife is missing")
        elapsed = self._seconds_since_injection(tracers[0], half_life)
        return float(dose * 2.0 ** (-elapsed / half_life))

    def _seconds_since_injection(self, tracer: Dataset, half_life: float) -> float:
        scan = self._scan_time(half_life)
        start = _datetime(tracer, "RadiopharmaceuticalStartDateTime")
        if start is not None:
            elapsed = (scan - start).total_seconds()
            if 0 <= elapsed <= _MOST_HALF_LIVES * half_life:
                return elapsed
        clock = _datetime(tracer, "RadiopharmaceuticalStartTime", scan)
        if clock is None:
            raise _Missing(
                "the time of the injection is missing"
                if start is None
                else f"RadiopharmaceuticalStartDateTime ({start:%Y-%m-%d %H:%M}) does not go with the scan"
            )
        if half_life > _SAME_DAY_HALF_LIFE_S:
            raise _Missing(f"the day of the injection is missing, at a half-life of {half_life / 3600:.0f} h")
        # Injected before midnight, scanned after it.
        elapsed = (scan - clock).total_seconds() % 86400.0
        if elapsed > _MOST_HALF_LIVES * half_life:
            raise _Missing(f"the injection at {clock:%H:%M} does not go with the scan at {scan:%H:%M}")
        if start is not None:
            text = (
                f"The injection is dated {start:%Y-%m-%d}, the scan {scan:%Y-%m-%d}; its time of day was used for SUV."
            )
            self.warnings.append(SeriesWarning("W_SUV_TIME", text))
        return elapsed

    def _scan_time(self, half_life: float) -> datetime:
        """Return when the scan began, which decay was corrected to."""
        acquired = [moment for moment in map(moment_of, self._headers) if moment is not None]
        series = moment(_text(self._dataset, "SeriesDate"), _text(self._dataset, "SeriesTime"))
        if series is not None and (not acquired or series <= min(acquired)):
            return series
        if not acquired:
            raise _Missing("the time of the scan is missing")
        # The series was written later than it was scanned.
        ge = _private_text(self._dataset, *_GE, 0x0D)
        scanned = moment(ge[:8], ge[8:]) if ge else None
        if scanned is not None:
            return scanned
        reference_ms = _number(self._dataset, "FrameReferenceTime")
        duration_ms = _number(self._dataset, "ActualFrameDuration")
        own = moment_of(self._headers[0])
        if reference_ms and duration_ms and own is not None and reference_ms > 0 and duration_ms > 0:
            decay = math.log(2.0) / half_life
            during = decay * duration_ms / 1000.0
            try:
                mean_s = math.log(during / -math.expm1(-during)) / decay
                return own + timedelta(seconds=mean_s - reference_ms / 1000.0)
            except (ArithmeticError, ValueError) as error:
                raise _Missing("FrameReferenceTime or ActualFrameDuration cannot be") from error
        return min(acquired)


def lean_body_mass_kg(weight_kg: float, size_m: float, sex: str) -> float:
    """Return the lean body mass of a man (M) or a woman (F) after Janmahasatian et al. 2005."""
    bmi = weight_kg / size_m**2
    return 9270.0 * weight_kg / ((6680.0 + 216.0 * bmi) if sex == "M" else (8780.0 + 244.0 * bmi))


def body_surface_area_m2(weight_kg: float, size_m: float) -> float:
    """Return the body surface area after Du Bois and Du Bois 1916."""
    return float(0.007184 * weight_kg**0.425 * (100.0 * size_m) ** 0.725)


# ---- elements


def _value(dataset: Dataset, keyword: str) -> object:
    """Return a value; None for one that is missing or broken, which pydicom finds out in many ways."""
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001
        log.debug("%s cannot be read.", keyword)
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip()


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    value = _value(dataset, keyword)
    return [value] if isinstance(value, str) else [str(part) for part in value] if isinstance(value, Iterable) else []


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    from pydicom.sequence import Sequence as DicomSequence

    value = _value(dataset, keyword)
    return list(value) if isinstance(value, DicomSequence) else []


def _number(dataset: Dataset, keyword: str) -> float | None:
    return _finite(_text(dataset, keyword))


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _private_text(dataset: Dataset, group: int, creator: str, element: int) -> str:
    try:
        value = dataset.private_block(group, creator)[element].value
    except KeyError:
        return ""
    except Exception:  # noqa: BLE001
        log.debug("A private element of %s cannot be read.", creator)
        return ""
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")


def _private_number(dataset: Dataset, group: int, creator: str, element: int) -> float | None:
    return _finite(_private_text(dataset, group, creator, element))


def _datetime(item: Dataset, keyword: str, day: datetime | None = None) -> datetime | None:
    """Return a DT, or a TM on a given day."""
    text = _text(item, keyword)
    return moment(f"{day:%Y%m%d}", text) if day is not None else moment(text[:8], text[8:])
