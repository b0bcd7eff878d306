"""The tables of a recipe and their keys, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pannsx.frontend.settings import FrontEnd


@dataclass(frozen=True, kw_only=True)
class Model:
    """The model to train.

    Attributes:
        architecture: a row of ``pannsx.models.ARCHITECTURES``.
        sample_rate: in Hz.
        labels: ``audioset``, or ``data`` for the labels of the training clips.
        dropout: its active dropout layers: all, only those of the head, or none.
        descriptor_weight: weight of an auxiliary task, cepstral statistics from the embedding
            (:mod:`train.loop.descriptors`); 0: without.
        start: starting checkpoint: a name of the manifest, or a file or folder accepted by
            ``pannsx.weights.load``; empty: none.
    """

    architecture: str
    sample_rate: int
    labels: Literal["audioset", "data"]
    dropout: Literal["all", "head", "none"]
    descriptor_weight: float
    start: str


@dataclass(frozen=True, kw_only=True)
class Data:
    """Clips: index files, packed stores, a folder of mixtures or of banks (:mod:`train.data.open_clips`).

    Attributes:
        train: training clips.
        evaluation: evaluation clips; empty: no evaluation.
        workers: readers per rank; 0: read in the training process.
        readers: kind of readers: processes, or threads (:mod:`train.data.reader_threads`), which need less
            copying and suit raw clips and Rice codes.
        staging: folder on a local disk for copies of clips that are far away, or at URLs
            (:mod:`train.data.staging`); empty: read them where they are.
        staging_gb: size in GB that the copies of all ranks of a machine may have together.
        streams: of the sampler ``streamed``: number of files read at one time, over all ranks.
        buffer_clips: of the sampler ``streamed``: clips of a stream within which it is shuffled.
    """

    train: str
    evaluation: str
    workers: int
    readers: Literal["processes", "threads"]
    staging: str
    staging_gb: float
    streams: int
    buffer_clips: int


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Augmentation of clips and their representations (:mod:`train.loop.augment`); sources there.

    Attributes:
        mixup: input of mixup: representations (log-mel after ``bn0``, wavegram) or waveforms.
        mixup_alpha: both parameters of the beta distribution of the weights.
        time_stripes: number of stripes of frames blanked by SpecAugment; 0: none.
        time_width: upper limit of their width in frames, exclusive.
        band_stripes: number of stripes of mel bands; 0: none.
        band_width: upper limit of their width in bands, exclusive.
        gain_db: maximum random gain of a clip, up or down, in dB.
        roll_s: maximum random roll of a clip in time, in either direction, in seconds.
        soften_db: maximum random attenuation of half of the clips, in addition to the gain, in dB.
    """

    mixup: Literal["none", "representation", "waveform"]
    mixup_alpha: float
    time_stripes: int
    time_width: int
    band_stripes: int
    band_width: int
    gain_db: float
    roll_s: float
    soften_db: float


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """The optimiser.

    Attributes:
        kind: its algorithm.
        learning_rate: maximum learning rate.
        betas: decay of the moments of Adam.
        eps: added to the root of the second moment.
        amsgrad: whether the second moment's maximum is used.
        weight_decay: L2 penalty for ``adam`` and ``sgd``, decoupled for ``adamw``.
        clip_norm: maximum norm of gradients; 0: no clipping.
    """

    kind: Literal["adam", "adamw", "sgd"]
    learning_rate: float
    betas: tuple[float, float]
    eps: float
    amsgrad: bool
    weight_decay: float
    clip_norm: float


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate as a function of the step (:mod:`train.loop.schedule`).

    Attributes:
        kind: its shape after the warm-up.
        warmup_steps: number of steps of the linear warm-up.
        decay_steps: number of last steps with decay; 0: all after the warm-up. Unused when constant.
        final_lr_ratio: final value as a share of the maximum; unused when constant.
    """

    kind: Literal["constant", "linear", "cosine"]
    warmup_steps: int
    decay_steps: int
    final_lr_ratio: float


@dataclass(frozen=True, kw_only=True)
class Average:
    """An average of weights over steps, evaluated and exported in their place (:mod:`train.loop.average`).

    Attributes:
        kind: exponential, plain mean, or none.
        decay: decay of the exponential average.
        start_step: first step included.
        every: interval of the steps included.
    """

    kind: Literal["none", "exponential", "mean"]
    decay: float
    start_step: int
    every: int


@dataclass(frozen=True, kw_only=True)
class Distil:
    """Learning from a teacher (:mod:`train.loop.distil`).

    Attributes:
        teacher: file or folder of logits, several of these joined by `` + `` for the mean of their logits,
            or a teacher's weights (``.pt``), run on every clip before augmentation; empty: no teacher.
        weight: share of the teacher in the loss, 0 to 1; the rest is that of the labels.
        temperature: divisor of the teacher's logits.
        targets: labels in which the teacher has a share: all, or only absent ones, as those that are present
            are more often right (:func:`train.loop.distil.soft_targets`).
        frame_weight: weight of the loss of frames, for scenes only; 0: the loss of clips only.
        ranking_weight: weight of the loss of the order of classes (:func:`train.loop.loss.ranking_error`); 0:
            without.
    """

    teacher: str
    weight: float
    temperature: float
    targets: Literal["all", "absent"]
    frame_weight: float
    ranking_weight: float


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The training objective.

    Attributes:
        kind: the labels, or, from clips without labels, the log-mel of the frames that SpecAugment blanks
            (:mod:`train.loop.masked_spectrogram`).
        unknown: CSV of labels that nobody has checked (:mod:`train.data.unknown`); empty: none.
    """

    kind: Literal["tagging", "masked_spectrogram"]
    unknown: str


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Composition of scenes from clips of banks (:mod:`train.data.scenes`). Shares need not sum to one.

    Attributes:
        n_scenes: number of different scenes.
        durations_s: possible lengths of scenes in seconds; each batch has one.
        duration_shares: relative frequency of each length.
        part_shares: relative frequency of one, two and three parts.
        draw_shares: relative frequency of drawing a clip by class, by kind, and from all.
        pairing_share: probability that the second of several parts is a background (music, surroundings).
        below_db: maximum level of further parts below the first, in dB.
        at_start_share: probability that a short clip begins with the scene.
        repeat_share: probability that a short clip is repeated until the scene ends.
        room_share: probability of a room, for each part.
        tilt_share: probability of another microphone.
        band_share: probability of a narrower band.
        codec_share: probability of a lossy codec.
        noise_share: probability of noise, 20 to 60 dB below the sound.
    """

    n_scenes: int
    durations_s: tuple[float, ...]
    duration_shares: tuple[float, ...]
    part_shares: tuple[float, float, float]
    draw_shares: tuple[float, float, float]
    pairing_share: float
    below_db: float
    at_start_share: float
    repeat_share: float
    room_share: float
    tilt_share: float
    band_share: float
    codec_share: float
    noise_share: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run as a whole.

    Attributes:
        seed: seed of all random numbers.
        steps: number of optimiser steps.
        batch_size: clips at the trunk's input per step, over all ranks; mixup draws twice as many.
        accumulate: number of parts of a rank's batch, to save memory; each has its own batch statistics.
        precision: precision of the network; the log-mel and the loss are never below float32. With float16
            the loss is scaled so that small gradients survive.
        evaluation_precision: precision of the network in evaluations during the run.
        tf32: round the factors of float32 products to 10 bits of mantissa, on GPUs that can; faster.
        channels_last: memory layout for tensor cores.
        sync_batch_norm: compute batch statistics over all ranks.
        compile: compile the trunk by torch.compile (:mod:`train.loop.compiled`).
        cuda_graphs: launch the kernels of the trunk as CUDA graphs.
        skip_not_finite: number of batches in the run whose step may be skipped because the loss or its
            gradient is not finite; 0: the first one ends the run.
    """

    seed: int
    steps: int
    batch_size: int
    accumulate: int
    precision: Literal["float32", "bfloat16", "float16", "float64"]
    evaluation_precision: Literal["float32", "bfloat16"]
    tf32: bool
    channels_last: bool
    sync_batch_norm: bool
    compile: bool
    cuda_graphs: bool
    skip_not_finite: int


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Intervals of log entries, evaluations and checkpoints.

    Attributes:
        log_every: steps between log entries.
        evaluate_every: steps between evaluations.
        save_every: steps between checkpoints.
        keep_last: number of latest checkpoints kept.
        keep_every: also keep every multiple of this step forever; 0: none.
    """

    log_every: int
    evaluate_every: int
    save_every: int
    keep_last: int
    keep_every: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The complete settings of a training run.

    Attributes:
        name: name of the resulting checkpoint.
        sampler: order of the clips (:mod:`train.data.samplers`; ``streamed``: :mod:`train.data.streamed`).
        frontend: log-mel settings; None for models of the waveform alone.
        scenes: composition of scenes, for training on banks; None otherwise.
    """

    name: str
    sampler: Literal["none", "balanced", "alternate", "streamed"]
    model: Model
    frontend: FrontEnd | None
    data: Data
    augment: Augment
    optimiser: Optimiser
    schedule: Schedule
    average: Average
    distil: Distil
    loss: Loss
    scenes: Scenes | None
    run: Run
    keep: Keep
