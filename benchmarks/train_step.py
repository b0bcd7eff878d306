"""How long is a training step, and how long the whole training?

    python -m benchmarks.train_step [RECIPE] [table.key=value ...] [--device cuda] [--steps 50]

A recipe's step on clips in memory: to the device, augmentation, forward, backward, optimiser; no disk (that
is benchmarks.train_loader). Prints milliseconds, clips a second and the time of all the
recipe's steps at that speed, as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time

import numpy as np
import torch

from benchmarks import conditions
from train.data.loader import as_waveform
from train.loop.augment import choose
from train.loop.distributed import Ranks
from train.loop.optimiser import make_optimiser, set_learning_rate
from train.loop.schedule import learning_rate
from train.loop.step import Part, backward, gradient_norm, log_mel_shape, prepare, split
from train.loop.trained import fresh_model
from train.recipe import Recipe, read_recipe

N_CLASSES, SECONDS = 527, 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step", description=__doc__)
    parser.add_argument("recipe", nargs="?", default="Cnn14", help="name or file (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="table.key=value", help="as run.precision=bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=50, help="timed steps (default: %(default)s)")
    given = parser.parse_args()
    recipe = read_recipe(given.recipe, given.overrides)
    seconds = step_seconds(recipe, torch.device(given.device), given.steps)
    print(json.dumps(found(recipe, given.device, seconds), indent=1))


def step_seconds(
    recipe: Recipe, device: torch.device, n_steps: int, n_warm_up: int = 5, clip_s: int = SECONDS
) -> list[float]:
    """Seconds of each step with clips of ``clip_s`` seconds, after warm-up steps."""
    ranks = Ranks(0, 1, device)
    n_clips = recipe.run.batch_size * (1 if recipe.augment.mixup == "none" else 2)
    n_samples = clip_s * recipe.model.sample_rate
    rng = np.random.default_rng(0)
    pcm = torch.from_numpy(rng.integers(-8000, 8000, (n_clips, n_samples)).astype(np.int16))
    pcm = pcm.pin_memory() if device.type == "cuda" else pcm
    targets = torch.from_numpy((rng.random((n_clips, N_CLASSES)) < 0.005).astype(np.float32))
    model = fresh_model(recipe, N_CLASSES)
    network = prepare(model, recipe, ranks).train()
    optimiser = make_optimiser(recipe.optimiser, model)
    shape = log_mel_shape(model, n_samples)
    seconds = []
    for step in range(n_warm_up + n_steps):
        begin = time.perf_counter()
        choices = choose(
            recipe.augment,
            recipe.run.seed,
            step,
            n_clips=n_clips,
            sample_rate=recipe.model.sample_rate,
            log_mel=shape,
        )
        waveform = as_waveform(pcm.to(device, non_blocking=True))
        parts = list(split(Part(waveform, targets.to(device), choices), recipe.run.accumulate))
        set_learning_rate(optimiser, learning_rate(recipe, step))
        optimiser.zero_grad(set_to_none=True)
        loss = backward(network, parts)
        # As in training, which reads both before the step.
        bool((loss + gradient_norm(model)).isfinite())
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return seconds[n_warm_up:]


def found(recipe: Recipe, device: str, seconds: list[float]) -> dict[str, object]:
    """The measurements and their conditions."""
    median = statistics.median(seconds)
    n_drawn = recipe.run.batch_size * (1 if recipe.augment.mixup == "none" else 2)
    on_gpu = device.startswith("cuda")
    return {
        "recipe": recipe.name,
        "precision": recipe.run.precision,
        "channels_last": recipe.run.channels_last,
        "batch_size": recipe.run.batch_size,
        "device": torch.cuda.get_device_name() if on_gpu else conditions.cpu_model(),
        "step_ms": {
            "median": round(1000 * median, 2),
            "min": round(1000 * min(seconds), 2),
            "max": round(1000 * max(seconds), 2),
        },
        "clips_drawn_per_s": round(n_drawn / median, 1),
        "hours_for_all_steps": round(median * recipe.run.steps / 3600, 2),
        "steps": recipe.run.steps,
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu else None,
        "torch": str(torch.__version__),
        "system": f"{platform.system()} {platform.machine()}",
    }


if __name__ == "__main__":
    main()
