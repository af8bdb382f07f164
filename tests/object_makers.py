"""DICOM objects that are neither images nor segments, written in code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, generate_uid

from tests.dicom_makers import item

STORAGE = "1.2.840.10008.5.1.4.1.1"
SR, KO, PR = UID(f"{STORAGE}.88.33"), UID(f"{STORAGE}.88.59"), UID(f"{STORAGE}.11.1")
REG, PDF = UID(f"{STORAGE}.66.1"), UID(f"{STORAGE}.104.1")
CT = f"{STORAGE}.2"


def write(path: Path, sop_class: UID, modality: str, patient_id: str = "0815", **elements: Any) -> Path:
    """Write an object; dicts become sequences of one item, lists of data sets sequences."""
    made = item(
        SOPClassUID=sop_class, SOPInstanceUID=generate_uid(), Modality=modality, PatientID=patient_id,
        StudyInstanceUID="1.2.3.4", SeriesInstanceUID=generate_uid(), **elements,
    )  # fmt: skip
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def code(meaning: str, value: str = "1", scheme: str = "99TEST") -> dict[str, Any]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def content(kind: str, name: str, children: Sequence[Dataset] = (), concept: str = "1", **more: Any) -> Dataset:
    """Return a content item of an SR document."""
    made = item(ValueType=kind, ConceptNameCodeSequence=code(name, concept), **more)
    if children:
        made.ContentSequence = list(children)
    return made


def image(uid: str, **more: Any) -> dict[str, Any]:
    return {"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": uid, **more}


def evidence(series_uid: str, uids: Sequence[str]) -> dict[str, Any]:
    references = [item(**image(uid)) for uid in uids]
    return {"ReferencedSeriesSequence": {"SeriesInstanceUID": series_uid, "ReferencedSOPSequence": references}}


def measurement_report(path: Path, series_uid: str, uid: str, frame_uid: str, at: Sequence[float], **more: Any) -> Path:
    """Write a TID 1500 report: a circle of radius 4 around pixel index (10, 12) of an image, and a point in space."""
    circle = content(
        "SCOORD", "Image Region", [content("IMAGE", "Source", ReferencedSOPSequence=image(uid))],
        GraphicType="CIRCLE", GraphicData=[10.5, 12.5, 14.5, 12.5],
    )  # fmt: skip
    point = content(
        "SCOORD3D", "Image Region", GraphicType="POINT", GraphicData=[float(v) for v in at],
        ReferencedFrameOfReferenceUID=frame_uid,
    )  # fmt: skip
    unit = code("millimeter", "mm", "UCUM")
    diameter = content("NUM", "Diameter", MeasuredValueSequence={"NumericValue": "8.5",
                                                                  "MeasurementUnitsCodeSequence": unit})  # fmt: skip
    nodule = [
        content("TEXT", "Tracking Identifier", concept="112039", TextValue="Nodule 1"),
        content("CODE", "Finding", concept="121071", ConceptCodeSequence=code("<b>Nodule</b>")),
        diameter,
        circle,
    ]
    groups = [content("CONTAINER", "Measurement Group", nodule), content("CONTAINER", "Measurement Group", [point])]
    return write(
        path, SR, "SR", ConceptNameCodeSequence=code("Imaging Measurement Report"), ValueType="CONTAINER",
        ContentDate="20260102", ContentTime="1230", CompletionFlag="COMPLETE", VerificationFlag="UNVERIFIED",
        CurrentRequestedProcedureEvidenceSequence=evidence(series_uid, [uid]),
        ContentSequence=[content("CONTAINER", "Imaging Measurements", groups)], **more,
    )  # fmt: skip


def key_images(path: Path, series_uid: str, uids: Sequence[str]) -> Path:
    """Write a key object selection of some images with a text."""
    lines = [content("TEXT", "Key Object Description", TextValue="Look here")]
    lines += [item(ValueType="IMAGE", ReferencedSOPSequence=image(uid)) for uid in uids]
    return write(
        path, KO, "KO", ConceptNameCodeSequence=code("Of Interest"), ContentSequence=lines,
        CurrentRequestedProcedureEvidenceSequence=evidence(series_uid, uids),
    )  # fmt: skip


def presentation(path: Path, series_uid: str, uid: str, **more: Any) -> Path:
    """Write a presentation state of one image: window, shutter and a text beside pixel index (5, 6)."""
    references = [item(**image(uid))]
    text = {"UnformattedTextValue": "<i>here</i>", "AnchorPoint": [5.5, 6.5], "AnchorPointAnnotationUnits": "PIXEL"}
    elements = {
        "ContentLabel": "PRIOR",
        "ReferencedSeriesSequence": {"SeriesInstanceUID": series_uid, "ReferencedImageSequence": references},
        "SoftcopyVOILUTSequence": {"WindowCenter": "55", "WindowWidth": "155"},
        "PresentationLUTShape": "INVERSE",
        "ShutterShape": ["RECTANGULAR"],
        "ShutterLeftVerticalEdge": 3,
        "ShutterRightVerticalEdge": 20,
        "ShutterUpperHorizontalEdge": 5,
        "ShutterLowerHorizontalEdge": 12,
        "GraphicAnnotationSequence": {"ReferencedImageSequence": references, "TextObjectSequence": text},
    }
    return write(path, PR, "PR", **(elements | more))


def registration(path: Path, registered: str, source: str, *matrices: Sequence[float], **more: Any) -> Path:
    """Write a spatial registration: `matrices` take points of the frame `source` to the frame `registered`."""
    sequence = [
        item(FrameOfReferenceTransformationMatrix=[f"{v:.10g}" for v in matrix],
             FrameOfReferenceTransformationMatrixType="RIGID")
        for matrix in matrices
    ]  # fmt: skip
    moved = item(FrameOfReferenceUID=source, MatrixRegistrationSequence={"MatrixSequence": sequence})
    return write(path, REG, "REG", FrameOfReferenceUID=registered, RegistrationSequence=[moved], **more)


def document(path: Path, data: bytes = b"%PDF-1.4 nothing", **more: Any) -> Path:
    """Write an encapsulated document."""
    padded = data + b"\0" * (len(data) % 2)
    elements = {"DocumentTitle": "../<b>Letter</b>", "MIMETypeOfEncapsulatedDocument": "application/pdf",
                "EncapsulatedDocument": padded, "EncapsulatedDocumentLength": len(data)}  # fmt: skip
    return write(path, PDF, "DOC", **(elements | more))
