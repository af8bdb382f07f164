"""Commands about the models of the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medviewer.cli.console import CommandEnded, Output, ProgressBar
from medviewer.cli.exit_codes import TASK_FAILED

if TYPE_CHECKING:
    from medviewer.ai.weights import StoredModel

models = typer.Typer(help="List, import, download, remove and measure models.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Write one JSON value to standard output and nothing else.")]
_Id = Annotated[str, typer.Argument(help="Id of the model.", show_default=False)]
_Version = Annotated[str, typer.Option(help="Which version; the newest by default.")]


def _facts(model: StoredModel) -> dict[str, Any]:
    card = model.card
    return {
        "id": model.id,
        "version": model.version,
        "title": card.title if card else "",
        "format": model.format,
        "license": card.license if card else "",
        "shipped": model.shipped,
        "source": model.source,
        "folder": str(model.folder),
        "problem": model.problem,
    }


@models.command("list")
def list_models(as_json: _Json = False) -> None:
    """List every model: those that came with the program, the user's, and the broken ones with their reason."""
    from rich.table import Table

    from medviewer.ai.weights import ModelStore

    output = Output(as_json=as_json)
    found = [_facts(model) for model in ModelStore().models()]
    output.result(found)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("Model", "Version", "Title", "Format", "Licence", "From"):
        table.add_column(title, overflow="fold")
    for model in found:
        origin = "the program" if model["shipped"] else model["source"]
        table.add_row(model["id"], model["version"], model["title"], model["format"], model["license"], origin)
    output.show(table)
    for model in found:
        if model["problem"]:
            output.show(f"Cannot be used: {model['problem']}")


@models.command()
def show(model_id: _Id, version: _Version = "") -> None:
    """Show the card of a model."""
    from medviewer.ai.weights import ModelStore

    output = Output()
    with output.refusals():
        model = ModelStore().find(model_id, version)
        assert model.card is not None
        output.show(model.card.to_json().rstrip())


@models.command("import")
def import_model(
    path: Annotated[
        Path | None, typer.Argument(help="Folder, archive or file; default: TotalSegmentator's usual folder.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Copy a model into the user's store: MedViewer, nnU-Net, MONAI bundle, TorchScript, ONNX, TotalSegmentator."""
    from medviewer.ai.formats.totalsegmentator import usual_folder
    from medviewer.ai.model_import import import_models
    from medviewer.ai.weights import ModelStore

    output = Output(as_json=as_json)
    with output.refusals():
        path = path or usual_folder()
        with ProgressBar(output, f"Importing {path.name}") as ctx:
            found = import_models(ctx, ModelStore(), path)
        _tell(output, found)


@models.command()
def download(
    address: Annotated[
        str, typer.Argument(help="https://…; of Hugging Face organisation/name@revision/file, or ...@commit/.")
    ],
    sha256: Annotated[str, typer.Option(help="Of the file; not for a repository at a commit.")] = "",
    as_json: _Json = False,
) -> None:
    """Download a model; a download that was cut goes on where it ended."""
    from medviewer.ai.model_download import download_model
    from medviewer.ai.weights import ModelStore

    output = Output(as_json=as_json)
    with output.refusals():
        with ProgressBar(output, "Downloading") as ctx:
            found = download_model(ctx, ModelStore(), address, sha256)
        _tell(output, found)


def _tell(output: Output, found: tuple[StoredModel, ...]) -> None:
    output.result([_facts(model) for model in found])
    for model in found:
        assert model.card is not None
        output.show(f"{model.id} {model.version}: {model.card.title}")
        output.show(f"Licence: {model.card.license}. Accept it with `medviewer models accept {model.id}`.")


@models.command()
def remove(model_id: _Id, version: _Version = "") -> None:
    """Delete a model of the user's."""
    from medviewer.ai.model_import import remove_model
    from medviewer.ai.weights import ModelStore

    output = Output()
    with output.refusals():
        named = [m for m in ModelStore().models() if m.id == model_id and version in ("", m.version)]
        own = [model for model in named if not model.shipped]
        model = own[0] if own else ModelStore().find(model_id, version)
        remove_model(model)
        output.show(f"Removed {model.id} {model.version}.")


@models.command()
def accept(model_id: _Id) -> None:
    """Accept the licence of a model, which it needs before its first run."""
    from medviewer.app.bootstrap import discover_plugins
    from medviewer.app.models import agreement
    from medviewer.app.paths import settings_file
    from medviewer.app.settings import Settings

    output = Output()
    with output.refusals():
        task = discover_plugins().task(model_id)
        settings = Settings.load(settings_file())
        if agreement(task) not in settings.accepted_licenses:
            settings.accepted_licenses.append(agreement(task))
            settings.save()
        output.show(f"{task.title}: {task.license}, accepted.")


@models.command()
def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Folder of the training data.", show_default=False)],
    work: Annotated[Path, typer.Option("--work", help="Folder for what is prepared.")] = Path("build/training"),
    as_json: _Json = False,
) -> None:
    """Measure every shipped model again on what its recipe holds out; its card is left as it is."""
    from medviewer.ai.weights import ModelStore
    from medviewer.core.errors import MedViewerError
    from medviewer.training.recipe import names, open_recipe

    output = Output(as_json=as_json)
    rows: list[dict[str, Any]] = []
    for model in (m for m in ModelStore().models() if m.shipped):
        if model.id not in names():
            output.show(f"{model.id}: no recipe of that name")
            continue
        try:
            recipe = open_recipe(model.id, data, work / model.id)
            with ProgressBar(output, f"Measuring {model.id}") as ctx:
                recipe.prepare(ctx)
                table = recipe.evaluate(ctx, model.folder)
        except (MedViewerError, OSError) as error:
            # Without its data a model cannot be measured; the others can.
            rows.append({"model": model.id, "version": model.version, "error": str(error)})
            output.show(f"{model.id} {model.version}: not measured: {error}")
            continue
        for row in table:
            rows.append({"model": model.id, "version": model.version, **row})
            output.show(f"{model.id} {model.version}  " + "  ".join(f"{name}: {value}" for name, value in row.items()))
    output.result(rows)
    if any("error" in row for row in rows):
        raise CommandEnded(TASK_FAILED)
