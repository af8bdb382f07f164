"""Commands that train a model by its recipe and measure it on what was held out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medviewer.cli.console import Output, ProgressBar

_Recipe = Annotated[str, typer.Argument(help="Name of the recipe, for example hippocampus.", show_default=False)]
_Data = Annotated[Path, typer.Option("--data", help="Folder of the training data.", show_default=False)]
_Work = Annotated[Path, typer.Option("--work", help="Folder for what is prepared, checkpoints and the model.")]
_Json = Annotated[bool, typer.Option("--json", help="Write one JSON value to standard output and nothing else.")]


def train(
    recipe: _Recipe,
    data: _Data,
    work: _Work = Path("build/training"),
    minutes: Annotated[float, typer.Option(help="How long this slice lasts.")] = 10.0,
    finish: Annotated[bool, typer.Option(help="Let the learning rate fall to nothing over this slice.")] = False,
    start: Annotated[Path | None, typer.Option(help="Model folder to start from when there is no checkpoint.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda[:n].")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    max_steps: Annotated[int | None, typer.Option(help="End after so many steps at the latest.")] = None,
) -> None:
    """Train a model by its recipe, in slices: each goes on where the last one ended."""
    import torch

    from medviewer.ai.device import choose_device
    from medviewer.training.recipe import open_recipe
    from medviewer.training.train import Trainer

    output = Output()
    if threads:
        torch.set_num_threads(threads)
    with output.refusals(), ProgressBar(output, f"Training {recipe}") as bar:
        made = open_recipe(recipe, data, work / recipe)
        made.prepare(bar)
        trainer = Trainer(made, work / recipe / "model", choose_device(device), seed, start)
        log = trainer.run(bar, minutes, finish=finish, max_steps=max_steps)
    output.show(f"{recipe}: {log.steps} steps, {log.minutes:.1f} minutes in all")
    for name, value in log.metrics[-1][1].items():
        output.show(f"  {name}: {value:.4f}")


def evaluate(
    recipe: _Recipe,
    data: _Data,
    model: Annotated[Path | None, typer.Option(help="Folder of the model; the trained one by default.")] = None,
    work: _Work = Path("build/training"),
    all_cases: Annotated[bool, typer.Option("--all", help="Take all held-out cases, however long it lasts.")] = False,
    as_json: _Json = False,
) -> None:
    """Measure a model on what its recipe holds out; write the table into its card."""
    from medviewer.ai.device import choose_device
    from medviewer.training.evaluate import evaluate_model
    from medviewer.training.recipe import open_recipe

    output = Output(as_json=as_json)
    with output.refusals(), ProgressBar(output, f"Measuring {recipe}", choose_device()) as bar:
        made = open_recipe(recipe, data, work / recipe)
        made.prepare(bar)
        if hasattr(made, "thorough"):
            made.thorough = all_cases
        table = evaluate_model(bar, made, model or work / recipe / "model")
    output.result(table)
    for row in table:
        output.show("  ".join(f"{name}: {value}" for name, value in row.items()))
