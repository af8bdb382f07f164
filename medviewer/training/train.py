"""Train a recipe in slices: each begins where the last one ended, whatever ended it.

The learning rate rises, stays, and falls to nothing only in a slice that is told to finish; so slices of any length
add up, and a finished model can be trained on. The weights that are kept are a running mean.

References
----------
Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations, 2024 (constant rate with a
cool-down). Morales-Brotons et al., Exponential Moving Average of Weights in Deep Learning, 2024.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medviewer.ai.card import CARD_NAME, WEIGHTS_NAME
from medviewer.ai.checkpoint import load_weights, save_weights
from medviewer.ai.networks import build_network
from medviewer.core.errors import TaskError
from medviewer.io.atomic import atomic_write
from medviewer.jobs.job import JobContext
from medviewer.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch
    from torch import nn

STATE_NAME = "state.safetensors"
LOG_NAME = "log.json"
WARM_UP_STEPS = 100
MEAN_DECAY = 0.998
CHECKPOINT_SECONDS = 60.0
#: So many steps in a row whose loss is not a number end the training.
BAD_STEPS = 20


@dataclass(slots=True)
class Log:
    """What happened so far; written beside the checkpoint."""

    steps: int = 0
    minutes: float = 0.0
    seed: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)


@dataclass(slots=True)
class Trainer:
    """One training: a recipe, a folder for its checkpoints, and a device.

    Parameters
    ----------
    recipe : TrainingRecipe
        Prepared.
    folder : Path
        Made if needed; holds the checkpoint, the log, and at the end of every slice the model.
    start : Path, optional
        Folder of a model to start from when there is no checkpoint yet.
    """

    recipe: TrainingRecipe
    folder: Path
    device: str = "cpu"
    seed: int = 0
    start: Path | None = None
    log: Log = field(init=False)
    network: nn.Module = field(init=False)
    mean: dict[str, torch.Tensor] = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        import torch

        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.seed)
        card = self.recipe.card()
        self.network = build_network(card.network, card.arguments).to(self.device)
        # Channels last: on a CPU nearly twice as fast.
        for parameter in self.network.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        self.log = Log(seed=self.seed)
        if (self.folder / STATE_NAME).exists():
            self._resume()
        elif self.start is not None:
            self.network.load_state_dict(load_weights(self.start / WEIGHTS_NAME))
        elif initialise := getattr(self.recipe, "initialise", None):
            initialise(self.network)
        if not self.log.steps:
            self.mean = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def run(self, ctx: JobContext, minutes: float, *, finish: bool = False, max_steps: int | None = None) -> Log:
        """Train for some minutes, or fewer steps; leave a checkpoint and a model.

        Parameters
        ----------
        ctx : JobContext
            Cancel keeps what was learnt so far.
        minutes : float
        finish : bool
            Let the learning rate fall to nothing over this slice.
        max_steps : int, optional

        Raises
        ------
        TaskError
            ``E_TRAINING``: the loss is not a number any more.
        """
        import numpy as np

        start, first, saved, bad = time.monotonic(), self.log.steps, time.monotonic(), 0
        before = self.log.minutes
        running, counted = 0.0, 0
        try:
            while True:
                ctx.check_cancelled()
                done = (time.monotonic() - start) / 60 / minutes
                if max_steps is not None:
                    done = max(done, (self.log.steps - first) / max_steps)
                if done >= 1:
                    break
                self._set_rate(max(0.02, 1 - done) if finish else 1.0)
                rng = np.random.default_rng((self.seed, self.log.steps))
                loss = self._step(rng)
                bad = 0 if math.isfinite(loss) else bad + 1
                if bad >= BAD_STEPS:
                    raise TaskError(
                        "The training was stopped: its loss is not a number any more.",
                        hint="The last good checkpoint is kept. Lower the learning rate and go on from there.",
                        code="E_TRAINING",
                    )
                if math.isfinite(loss):
                    running, counted = running + loss, counted + 1
                if self.log.steps % 20 == 0 and counted:
                    self.log.losses.append((self.log.steps, running / counted))
                    running, counted = 0.0, 0
                    ctx.progress(min(done, 1.0), f"step {self.log.steps}, loss {self.log.losses[-1][1]:.3f}")
                if time.monotonic() - saved > CHECKPOINT_SECONDS and bad == 0:
                    self.log.minutes = before + (time.monotonic() - start) / 60
                    self._save()
                    saved = time.monotonic()
        finally:
            if bad == 0:
                self.log.minutes = before + (time.monotonic() - start) / 60
                self._save()
        self._validate()
        self._save()
        self.write_model()
        return self.log

    def write_model(self) -> None:
        """Write the model so far: the mean of the weights, in half precision, and its card."""
        import torch

        digest = save_weights(self.folder / WEIGHTS_NAME, self.mean)
        card = replace(
            self.recipe.card(),
            weights_sha256=digest,
            training={
                "steps": self.log.steps,
                "minutes": round(self.log.minutes, 1),
                "device": self.device,
                "threads": torch.get_num_threads(),
                "seed": self.seed,
                "software": {"torch": str(torch.__version__)},
            },
        )
        _write_text(self.folder / CARD_NAME, card.to_json())

    def _step(self, rng: Any) -> float:
        import torch

        self.network.train()
        batch = {name: value.to(self.device, non_blocking=True) for name, value in self.recipe.batch(rng).items()}
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device != "cpu"):
            loss = self.recipe.loss(self.network, batch)
        value = float(loss.detach())
        self.optimizer.zero_grad(set_to_none=True)
        if math.isfinite(value):
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
            self._average()
        self.log.steps += 1
        return value

    def _average(self) -> None:
        """Move the mean towards the weights; quickly at first."""
        import torch

        decay = min(MEAN_DECAY, (1 + self.log.steps) / (10 + self.log.steps))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.mean[name].lerp_(value, 1 - decay)
                else:
                    self.mean[name].copy_(value)

    def _set_rate(self, factor: float) -> None:
        factor *= min(1.0, (self.log.steps + 1) / WARM_UP_STEPS)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor

    def _validate(self) -> None:
        """Measure the mean of the weights."""
        import torch

        kept = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.mean)
        self.network.eval()
        with torch.inference_mode():
            self.log.metrics.append((self.log.steps, dict(self.recipe.validate(self.network))))
        self.network.load_state_dict(kept)

    def _save(self) -> None:
        """Write the checkpoint and the log; a cut in between leaves the older pair usable."""
        state: dict[str, torch.Tensor] = {}
        for name, value in self.network.state_dict().items():
            state[f"network/{name}"] = value
        for name, value in self.mean.items():
            state[f"mean/{name}"] = value
        for index, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                state[f"optimizer/{index}/{name}"] = value
        save_weights(self.folder / STATE_NAME, state, half=False)
        _write_text(self.folder / LOG_NAME, json.dumps(asdict(self.log)) + "\n")

    def _resume(self) -> None:
        state = load_weights(self.folder / STATE_NAME)
        self.network.load_state_dict(_part(state, "network/"))
        self.mean = {name: value.to(self.device) for name, value in _part(state, "mean/").items()}
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _part(state, "optimizer/").items():
            index, name = key.split("/")
            entries.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": entries, "param_groups": groups})
        data = json.loads((self.folder / LOG_NAME).read_text(encoding="utf-8"))
        self.log = Log(
            steps=data["steps"],
            minutes=data["minutes"],
            seed=data["seed"],
            losses=[(int(step), float(loss)) for step, loss in data["losses"]],
            metrics=[(int(step), dict(values)) for step, values in data["metrics"]],
        )


def _part(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())
