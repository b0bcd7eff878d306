"""Train a model by a recipe.

python -m train.run RECIPE [table.key=value ...] [--folder runs/NAME] [--device cuda]
torchrun --nproc-per-node 8 -m train.run RECIPE ...

RECIPE is a name in train/recipes or a .toml file. The same command again resumes a stopped run, whatever
the reason; on a CPU the result is bit for bit that of an uninterrupted run. SIGTERM and Ctrl+C save and
stop. With --minutes it stops by itself, for a machine that is lent for a while; the last checkpoint is
continued as any other, or begins another run (model.start).

Every random number is a function of the seed, the step and its use (samplers, augmentation; for dropout
also the rank). So a checkpoint needs no generator state: seed and step determine it.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from tqdm import tqdm

from pannsx.metrics import TaggingScores
from pannsx.models import Pann
from pannsx.weights.digests import file_digest
from train.data.loader import as_waveform, death_of_worker, is_worker_death, training_batches
from train.data.open_clips import label_set, open_clips
from train.data.samplers import make_sampler
from train.data.scenes import Frames, Scenes
from train.data.unknown import read_unknown
from train.evaluate import evaluate, write_report
from train.loop import average, checkpoints, log
from train.loop.augment import choose
from train.loop.checks import check_division, check_same_data, check_same_run, not_finite
from train.loop.descriptors import Descriptors, embedding_size
from train.loop.distil import LiveTeacher, Teacher, open_teacher, soft_targets
from train.loop.distributed import Ranks, joined, share_buffers, sums
from train.loop.masked_spectrogram import SpectrogramPredictor
from train.loop.memory import keep_freed_memory
from train.loop.optimiser import make_optimiser, set_learning_rate
from train.loop.pace import Pace
from train.loop.provenance import clips_digest, teacher_digest, versions
from train.loop.resume import check_alike, newest_of_all
from train.loop.schedule import learning_rate
from train.loop.step import (
    Part,
    backward,
    clip_gradients,
    gradient_norm,
    log_mel_shape,
    loss_scaler,
    place,
    prepare,
    restore_statistics,
    saved_statistics,
    split,
)
from train.loop.stop import stop_signal
from train.loop.trained import fresh_model
from train.recipe import Recipe, read_recipe, to_tables


def train(
    recipe: Recipe,
    folder: Path,
    ranks: Ranks,
    *,
    may_differ: bool = False,
    deadline: float = math.inf,
) -> None:
    """Train to the recipe's last step or a stop signal, from the folder's newest checkpoint if any.

    Args:
        recipe: the settings.
        folder: folder of the run.
        ranks: this process among its ranks.
        may_differ: resume a run that was started with another recipe.
        deadline: time of :func:`time.monotonic` at which the run saves and stops.

    Raises:
        TrainingError: the folder holds a different run, ranks and batch size do not match, or the loss is
            not finite (the ids of the batch are then recorded).
        CheckpointError, LoaderError: see there.
        OSError, RuntimeError, ValueError: clips, teacher or starting weights cannot be read.
    """
    n_drawn = recipe.run.batch_size * (2 if recipe.augment.mixup != "none" else 1)
    check_division(recipe, ranks)

    clips = open_clips(recipe.data.train, recipe)
    evaluation = open_clips(recipe.data.evaluation, recipe) if recipe.data.evaluation else None
    labels = label_set(clips)
    if evaluation is not None and tuple(evaluation.labels) != labels.names:
        raise ValueError(f"{recipe.data.evaluation} and {recipe.data.train} have different labels")
    targets = clips.targets
    teacher: Teacher | LiveTeacher | None = None
    if recipe.distil.teacher:
        teacher = open_teacher(recipe.distil.teacher, clips.ids, len(labels), ranks.device)

    unknown = read_unknown(recipe.loss.unknown, clips.ids, labels, targets) if recipe.loss.unknown else None

    data = {
        "train": clips_digest(clips),
        "n_clips": len(clips),
        "clips_per_class": [len(rows) for rows in targets.rows_of_classes],
        "teacher": teacher_digest(recipe.distil.teacher),
        "unknown": file_digest(Path(recipe.loss.unknown), "sha256") if recipe.loss.unknown else None,
    }

    model = fresh_model(recipe, len(labels))
    if isinstance(clips, Scenes) and recipe.distil.frame_weight:
        clips.frames = Frames(model.grid, {n: model.n_frames(n) for n in clips.lengths})
    descriptors = (
        Descriptors(embedding_size(model), recipe.run.seed) if recipe.model.descriptor_weight > 0 else None
    )
    predictor = (
        SpectrogramPredictor(model, recipe.run.seed) if recipe.loss.kind == "masked_spectrogram" else None
    )
    network = prepare(model, recipe, ranks, descriptors, predictor)
    optimiser, scaler = make_optimiser(recipe.optimiser, network), loss_scaler(recipe, ranks.device)
    sampler = make_sampler(recipe, clips, targets)
    averaged = None if recipe.average.kind == "none" else average.start(model)
    step, best, n_skipped = 0, (-math.inf, -1), 0

    state = newest_of_all(folder, ranks)
    if state is not None:
        check_same_run(recipe, state["recipe"], folder, may_differ=may_differ)
        check_same_data(state["data"], data, recipe, folder)
        step, best, n_skipped = state["step"], tuple(state["best"]), state["n_skipped"]
        scaler.load_state_dict(state["scaler"])
        model.load_state_dict(state["model"])
        if descriptors is not None:
            descriptors.load_state_dict(state["descriptors"])
        if predictor is not None:
            predictor.load_state_dict(state["predictor"])
        optimiser.load_state_dict(state["optimiser"])
        sampler.load_state_dict(state["sampler"])
        averaged = None if averaged is None else average.restore(state["average"], model)
    del state  # its tensors are as large as the model and the optimiser
    check_alike({"recipe": _shared_settings(recipe), "data": data, "step": step}, ranks)
    if step >= recipe.run.steps:
        _say(f"the run in {folder} is finished: {step} of {recipe.run.steps} steps", ranks)
        return
    sampler_state = sampler.state_dict()

    def save() -> None:
        if ranks.first:
            checkpoints.save(folder, step, {
                "recipe": to_tables(recipe),
                "labels": list(labels.names),
                "label_ids": None if labels.ids is None else list(labels.ids),
                "model": model.state_dict(),
                "descriptors": None if descriptors is None else descriptors.state_dict(),
                "predictor": None if predictor is None else predictor.state_dict(),
                "optimiser": optimiser.state_dict(),
                "average": averaged,
                "sampler": sampler_state,
                "random": {"seed": recipe.run.seed, "step": step},
                "best": list(best),
                "n_skipped": n_skipped,
                "scaler": scaler.state_dict(),
                "data": data,
                "versions": versions(),
            })  # fmt: skip
            keep = recipe.keep
            checkpoints.prune(folder, keep_last=keep.keep_last, keep_every=keep.keep_every, keep=best[1])

    batches = training_batches(
        clips, sampler, n_drawn, ranks.share(n_drawn), recipe.run.steps - step,
        workers=recipe.data.workers, readers=recipe.data.readers,
    )  # fmt: skip
    with (
        stop_signal(deadline) as stop,
        log.opened(folder, step, write=ranks.first) as entries,
        _progress(recipe, step, ranks) as bar,
    ):
        network.train()
        pace, losses = Pace(), []
        for batch in pace.timed(batches):
            waveform = as_waveform(batch.pcm.to(ranks.device, non_blocking=True))
            labelled, ranking = targets[batch.rows].astype(np.float32), None
            known = None if unknown is None else 1.0 - unknown[batch.rows].astype(np.float32)
            if teacher is not None:
                heard = teacher.listen(waveform) if isinstance(teacher, LiveTeacher) else teacher(batch.rows)
                labelled, known = soft_targets(
                    labelled, heard,
                    weight=recipe.distil.weight, temperature=recipe.distil.temperature,
                    only_absent=recipe.distil.targets == "absent", known=known,
                )  # fmt: skip
                if recipe.distil.ranking_weight > 0:
                    ranking = torch.from_numpy(softmax(heard, axis=1)).to(ranks.device)
            choices = choose(
                recipe.augment, recipe.run.seed, step,
                n_clips=n_drawn, sample_rate=recipe.model.sample_rate,
                log_mel=log_mel_shape(model, batch.pcm.shape[1]),
            )  # fmt: skip
            wanted = torch.from_numpy(labelled).to(ranks.device)
            frames = batch.frame_targets
            whole = Part(
                waveform, wanted, choices.part(*ranks.share(n_drawn)),
                None if frames is None else frames.to(ranks.device).float(), recipe.distil.frame_weight,
                ranking, recipe.distil.ranking_weight, recipe.model.descriptor_weight,
                None if known is None else torch.from_numpy(known).to(ranks.device),
            )  # fmt: skip
            parts = list(split(whole, recipe.run.accumulate))

            torch.manual_seed(_dropout_seed(recipe.run.seed, step, ranks.rank))
            set_learning_rate(optimiser, learning_rate(recipe, step))
            optimiser.zero_grad(set_to_none=True)
            statistics = saved_statistics(model) if recipe.run.skip_not_finite else None
            own_loss = backward(network, parts, scaler)
            scaler.unscale_(optimiser)
            norm = gradient_norm(model)
            # A scaler expects overflows of float16 gradients, and skips their steps itself.
            checked = own_loss if scaler.is_enabled() else own_loss + norm
            # The one point of a step that waits for the device.
            told = (
                own_loss / ranks.world_size,
                ~checked.isfinite(),
                torch.full_like(own_loss, float(stop.is_set)),
            )
            loss, n_bad, n_stop = sums(torch.stack([one.detach().double() for one in told]), ranks)
            if n_bad:
                ids = [clips.ids[int(row)] for row in batch.rows]
                error = not_finite(folder, step + 1, ranks, ids, loss=float(own_loss), norm=float(norm))
                if statistics is None or n_skipped >= recipe.run.skip_not_finite:
                    raise error
                n_skipped += 1
                restore_statistics(model, statistics)
                _say(f"step {step + 1} is skipped, {n_skipped} so far: {error}", ranks)
            else:
                clip_gradients(model, norm, recipe.optimiser.clip_norm)
                scaler.step(optimiser)
                losses.append(loss)
            scaler.update()
            step += 1
            sampler_state = batch.sampler_state
            if averaged is not None and not n_bad:
                average.update(averaged, model, recipe.average, step)

            last, is_best = step == recipe.run.steps, False
            bar.update()
            if step % recipe.keep.log_every == 0 or last:
                clips_per_s, wait_share = pace.since_last(n_drawn)
                entries.add(
                    "train", step, loss=sum(losses) / len(losses) if losses else math.nan,
                    gradient_norm=float(norm), learning_rate=optimiser.param_groups[0]["lr"],
                    clips_per_s=round(clips_per_s, 1), wait_share=round(wait_share, 3),
                )  # fmt: skip
                if losses:
                    bar.set_postfix(loss=f"{losses[-1]:.4f}")
                if pace.is_slow:
                    _say(pace.advice, ranks)
                losses = []
            if evaluation is not None and (step % recipe.keep.evaluate_every == 0 or last):
                scored = _evaluated_model(model, averaged, recipe, ranks)
                scores = evaluate(
                    scored, evaluation, ranks,
                    batch_size=max(1, n_drawn // ranks.world_size), workers=recipe.data.workers,
                    readers=recipe.data.readers, progress=True, precision=recipe.run.evaluation_precision,
                )  # fmt: skip
                is_best = scores.mAP > best[0]
                best = (scores.mAP, step) if is_best else best
                _note_scores(entries, folder, step, scores, labels.names, ranks)
                pace.restart()
            if step % recipe.keep.save_every == 0 or last or n_stop or is_best:
                save()
            if n_stop and not last:
                _say(f"stopped at step {step}; run the same command again to resume", ranks)
                return
    _say(f"finished: {step} steps in {folder}", ranks)


def _shared_settings(recipe: Recipe) -> dict[str, Any]:
    """The settings that ranks must share: all but the places of clips and their readers."""
    tables = to_tables(recipe)
    tables["data"] = {key: tables["data"][key] for key in ("streams", "buffer_clips")}
    return tables


def _say(message: str, ranks: Ranks) -> None:
    if ranks.first:
        tqdm.write(message, file=sys.stderr)


def _evaluated_model(model: Pann, averaged: average.Weights | None, recipe: Recipe, ranks: Ranks) -> Pann:
    """The model with its averaged weights, if any, as in the export."""
    evaluated = model
    if averaged is not None:
        evaluated = copy.deepcopy(model)
        place(evaluated, recipe, ranks.device)
        evaluated.load_state_dict(averaged)
    share_buffers(evaluated, ranks)
    return evaluated


def _note_scores(
    entries: log.Log, folder: Path, step: int, scores: TaggingScores, labels: Sequence[str], ranks: Ranks
) -> None:
    if ranks.first:
        entries.add(
            "evaluate", step, mAP=scores.mAP, auc=scores.mean_auc, d_prime=scores.mean_d_prime,
            average_precision=[round(float(value), 6) for value in scores.average_precision],
        )  # fmt: skip
        write_report(folder / "classes.csv", scores, labels)
        tqdm.write(f"step {step}: {scores}", file=sys.stderr)


def _progress(recipe: Recipe, step: int, ranks: Ranks) -> Any:
    return tqdm(
        total=recipe.run.steps, initial=step, unit="step", desc=recipe.name, disable=not ranks.first or None
    )


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, 5, step, rank)).generate_state(1, np.uint64)[0])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.run", description="Train a model by a recipe.")
    parser.add_argument("recipe", help="a name in train/recipes, or a .toml file")
    parser.add_argument("overrides", nargs="*", metavar="table.key=value", help="as run.steps=1000")
    parser.add_argument("--folder", type=Path, help="folder of the run (default: runs/<name of the recipe>)")
    parser.add_argument("--may-differ", action="store_true", help="resume a run of another recipe")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="save and stop after this time, counted from the start"
    )
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    given = parser.parse_args(arguments)
    if given.minutes is not None and not given.minutes > 0:
        parser.error(f"--minutes {given.minutes}: a number above 0 is needed")
    deadline = math.inf if given.minutes is None else time.monotonic() + 60 * given.minutes
    try:
        recipe = read_recipe(given.recipe, given.overrides)
        with joined(given.device) as ranks:
            if ranks.device.type == "cpu":
                keep_freed_memory()
            folder = given.folder or Path("runs") / recipe.name
            train(recipe, folder, ranks, may_differ=given.may_differ, deadline=deadline)
    except (
        RuntimeError
    ) as error:  # ours among them: TrainingError, CheckpointError, LoaderError, WeightsError
        known = death_of_worker(error) if is_worker_death(error) else error
        print(f"train.run: {known}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"train.run: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
