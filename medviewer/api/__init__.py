"""What plugins may import. Re-exports only; `__all__` is the contract."""

from medviewer.api.plugin import (
    API_VERSION,
    BoxResult,
    FindingResult,
    Input,
    InputKind,
    InteractiveSession,
    InteractiveTask,
    LabelResult,
    Mask,
    Readiness,
    Result,
    Task,
    TaskInfo,
    TransformResult,
    VolumeResult,
)
from medviewer.core.annotation import Box3D, Point3D
from medviewer.core.errors import InputError, MedViewerError, OutOfMemory, TaskError
from medviewer.core.finding import Finding, QualityFlag
from medviewer.core.geometry import Geometry, Vec3, vec3
from medviewer.core.params import Choice, Doc, Range, Unit
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.segmentation import LabelArray, Segment, Segmentation
from medviewer.core.terminology import (
    ANATOMICAL_STRUCTURE,
    MORPHOLOGICALLY_ALTERED_STRUCTURE,
    TISSUE,
    CodedConcept,
)
from medviewer.core.transform import AffineTransform, DisplacementField
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobCancelled, JobContext, NullContext, SubContext

__all__ = [
    "ANATOMICAL_STRUCTURE",
    "API_VERSION",
    "MORPHOLOGICALLY_ALTERED_STRUCTURE",
    "TISSUE",
    "AffineTransform",
    "Box3D",
    "BoxResult",
    "Choice",
    "CodedConcept",
    "DisplacementField",
    "Doc",
    "Finding",
    "FindingResult",
    "Geometry",
    "Input",
    "InputError",
    "InputKind",
    "InteractiveSession",
    "InteractiveTask",
    "JobCancelled",
    "JobContext",
    "LabelArray",
    "LabelResult",
    "Mask",
    "MedViewerError",
    "NullContext",
    "OutOfMemory",
    "Point3D",
    "Prompt",
    "QualityFlag",
    "Range",
    "Readiness",
    "Region",
    "Result",
    "Segment",
    "Segmentation",
    "SubContext",
    "Task",
    "TaskError",
    "TaskInfo",
    "TransformResult",
    "Unit",
    "Vec3",
    "Volume",
    "VolumeResult",
    "vec3",
]
