"""``medviewer export``: a saved workspace as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medviewer.cli.console import Output
from medviewer.cli.opened import opened_workspace
from medviewer.export.exporter import ExportFormat, cases_of, find_exporter, run_export
from medviewer.plugin_host.forms import ParamSpec, describe_params, params_from_dict


def parse_options(info: ExportFormat, words: Sequence[str]) -> object:
    """Return a format's options from ``name=value`` words; raises `InputError` for what does not fit."""
    specs = {spec.name: spec for spec in describe_params(info.options)}
    values: dict[str, object] = {}
    for word in words:
        name, _, text = word.partition("=")
        spec = specs.get(name)
        values[name] = _value(spec, text) if spec is not None else text
    return params_from_dict(info.options, values)


def _value(spec: ParamSpec, text: str) -> object:
    try:
        match spec.kind:
            case "float":
                return float(text)
            case "int":
                return int(text)
            case "bool":
                return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    except ValueError:
        # Not a number: the refusal of the text names the parameter and the rule.
        return text
    return text


def export_workspace(
    output: Output, workspace: Path, format_id: str, folder: Path, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Open a workspace and export it; return what was written and compared.

    Parameters
    ----------
    options : sequence of str
        ``name=value`` each, as the format has them.

    Raises
    ------
    MedViewerError
        The workspace or its images cannot be opened, or the export is refused.
    """
    chosen = parse_options(find_exporter(format_id), options)
    with opened_workspace(output, workspace) as (ctx, opened):
        ctx.step(f"Exporting {format_id}")
        report = run_export(ctx, format_id, cases_of(opened), folder, chosen)
    for path in report.files:
        output.show(str(path))
    for note in report.notes:
        output.note(note)
    output.show(f"{len(report.files)} files, read back and compared in {len(report.checks)} checks")
    return report.to_json()
