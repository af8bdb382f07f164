"""References to studies and series on disk. Names follow the DICOM keywords."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from medviewer.core.geometry import Vec3

#: What tells the images of a stack apart: their place in the patient, the time, or nothing but their number.
Stacking = Literal["place", "time", "number"]
#: How the planes between the true slices of an unevenly spaced series are computed.
Interpolation = Literal["linear", "nearest"]


@dataclass(frozen=True, slots=True)
class SeriesWarning:
    """Something about a series that the user must know; it follows the series into every export."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRef:
    """One stackable part of a DICOM series, or one image file of another format.

    Attributes
    ----------
    key : str
        Unique within a scan: the SeriesInstanceUID, with ``#n`` added when a series had to be split.
    size : (int, int, int) or None
        Voxels along (i, j, k).
    spacing : (float, float, float) or None
        mm along (i, j, k).
    files : tuple of Path
        In the order of the slices, one for each: a multi-frame file stands once for every frame. Members of a zip are
        extracted to a private folder first.
    frames : tuple of int
        For slices out of multi-frame files, which frame of its file each is, counted from 0; empty otherwise.
    volume : bool
        Whether it can be opened: as a volume, or as pictures (`stacking` other than "place"). If not, `warnings` says
        why.
    refusal : str
        Code of the refusal when it is not opened, for example ``E_TRUNCATED``.
    stacking : "place", "time" or "number"
    time_labels : tuple of str
        One for each point of a time axis (time points, echoes, b-values on one grid); `files` and `frames` then have
        the slices of the first point, those of the second, and so on. Empty without one.
    interpolation : "linear", "nearest" or empty
        Of an unevenly spaced series that is opened on a regular grid: how the planes between its slices are computed.
        `files` are the true slices; `medviewer.io.dicom_resample` says which planes of the grid they are.
    time_name : str
        What tells the points apart, for example ``echo time``.
    affine : "qform" or empty
        Of a NIfTI file that says twice, and differently, where it lies: what is followed; empty for the sform.
    entered_spacing : (float, float, float) or None
        mm along (i, j, k) that the user entered for pictures that do not say it.
    """

    key: str
    series_instance_uid: str
    study_instance_uid: str = ""
    frame_of_reference_uid: str = ""
    modality: str = ""
    description: str = ""
    series_number: int | None = None
    body_part_examined: str = ""
    size: tuple[int, int, int] | None = None
    spacing: Vec3 | None = None
    files: tuple[Path, ...] = ()
    frames: tuple[int, ...] = ()
    transfer_syntax_uid: str = ""
    sop_class_uid: str = ""
    kind: str = "dicom"
    volume: bool = True
    refusal: str = ""
    warnings: tuple[SeriesWarning, ...] = ()
    stacking: Stacking = "place"
    time_labels: tuple[str, ...] = ()
    interpolation: Interpolation | Literal[""] = ""
    time_name: str = ""
    affine: Literal["", "qform"] = ""
    entered_spacing: Vec3 | None = None

    @property
    def title(self) -> str:
        """Short name for lists."""
        return self.description or self.modality or self.series_instance_uid[-12:]

    def spaced(self, spacing: Vec3) -> SeriesRef:
        """Return loose pictures as the volume that they are with a spacing entered by the user, mm along (i, j, k)."""
        text = " x ".join(f"{mm:g}" for mm in spacing)
        return replace(
            self,
            # Another spacing is another volume, also while this one is open.
            key=f"{self.key}#spacing {text}",
            description=f"{self.description} [{text} mm entered]".strip(),
            spacing=spacing,
            entered_spacing=spacing,
            stacking="place",
            warnings=tuple(warning for warning in self.warnings if warning.code != "W_NO_SPACING"),
        )

    def at_time(self, index: int) -> SeriesRef:
        """Return the images of one point of a time axis as a series; what is in one file stays as it is."""
        if len(self.files) < len(self.time_labels) or not self.time_labels:
            return self
        count = len(self.files) // len(self.time_labels)
        chosen = slice(index * count, (index + 1) * count)
        return replace(self, files=self.files[chosen], frames=self.frames[chosen], time_labels=(), time_name="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study with its series."""

    study_instance_uid: str
    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = ""
    study_date: str = ""
    description: str = ""
    accession_number: str = field(default="", repr=False)
    series: tuple[SeriesRef, ...] = ()
    warnings: tuple[SeriesWarning, ...] = field(default=())
