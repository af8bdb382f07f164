"""Who or what made a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The run that made a result: enough to tell it apart and to run it again.

    Attributes
    ----------
    task : str
        Task id, ``"manual"`` for a person's work, ``"file:<name>"`` for an import.
    version : str
        Version of the plugin.
    weights_sha256 : str
        Hash of the weights; empty when the task has none.
    model, model_version : str
        Id and version of the model; empty when the task has none.
    parameters : mapping
        JSON-ready values of the task's parameters.
    record : mapping
        What the task itself says of the run, JSON-ready: windows, precision, what it fell back to.
    input_uids : tuple of str
        SeriesInstanceUID of every input.
    time_points : tuple of str
        Of the inputs with a time axis: which point was used.
    software : mapping
        Package name to version.
    device : str
        Where it ran, for example ``cpu`` or ``cuda:0``.
    started : str
        ISO 8601 time with zone.
    seconds : float
        Wall time of the run.
    """

    task: str
    version: str = ""
    weights_sha256: str = ""
    model: str = ""
    model_version: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    record: Mapping[str, object] = field(default_factory=dict)
    input_uids: tuple[str, ...] = ()
    time_points: tuple[str, ...] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    started: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, object]:
        """Return JSON-ready values."""
        data = asdict(self)
        data["input_uids"] = list(self.input_uids)
        data["time_points"] = list(self.time_points)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Provenance:
        """Build from `to_json`; unknown keys of newer versions are ignored."""
        uids = data.get("input_uids", ())
        points = data.get("time_points", ())
        parameters = data.get("parameters", {})
        record = data.get("record", {})
        software = data.get("software", {})
        seconds = data.get("seconds", 0.0)
        return cls(
            task=str(data.get("task", "")),
            version=str(data.get("version", "")),
            weights_sha256=str(data.get("weights_sha256", "")),
            model=str(data.get("model", "")),
            model_version=str(data.get("model_version", "")),
            parameters=dict(parameters) if isinstance(parameters, Mapping) else {},
            record=dict(record) if isinstance(record, Mapping) else {},
            input_uids=tuple(str(u) for u in uids) if isinstance(uids, list | tuple) else (),
            time_points=tuple(str(p) for p in points) if isinstance(points, list | tuple) else (),
            software={str(k): str(v) for k, v in software.items()} if isinstance(software, Mapping) else {},
            device=str(data.get("device", "")),
            started=str(data.get("started", "")),
            seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        )


MANUAL = Provenance(task="manual")
