"""Knowledge distillation from a teacher: its stored logits, or the network itself.

The student learns to predict the teacher's probabilities as well as the labels (Hinton et al. 2015,
arXiv:1503.02531; for AudioSet, Schmid et al. 2023, arXiv:2211.04772, with weights 0.9 and 0.1).
Since the sigmoid cross-entropy is linear in its target, one target, the weighted mean, is enough.

A teacher is one of

    logits.npz     ``ids`` (M,) and ``logits`` (M, K), by clip id; not compressed, so that it can be mapped
    logits.npy     (N, K), in the order of the training clips
    folder/        ``<id>.npy`` (K,), one file per clip
    weights.pt     a teacher's network (:mod:`train.teacher`), run on every batch
    a + b + c      the mean of the logits of several of the first three
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pannsx.types import FloatArray
from train.data.mapped_npz import mapped
from train.data.probabilities import sigmoid
from train.teacher import load_teacher

Teacher = Callable[[NDArray[np.int64]], FloatArray]
"""``(B,)`` rows of the training clips -> ``(B, K)`` logits."""


SEPARATOR = " + "
"""Between the files of several teachers."""

SHORTEST_HEARD_S = 5.0
"""Length of the teacher's training clips: shorter clips are zero-padded to it, for the teacher only."""


class LiveTeacher:
    """A teacher's network, run on clips before their augmentation.

    Args:
        path: file of its weights.
        device: device it runs on.

    Raises:
        OSError, RuntimeError, ValueError: the weights cannot be read, or are not those of a teacher.
    """

    def __init__(self, path: str | Path, device: torch.device) -> None:
        self._network = load_teacher(path).to(device)

    @torch.inference_mode()
    def listen(self, waveform: Tensor) -> FloatArray:
        """``(B, S)`` waveform at 32 kHz in [-1, 1) -> ``(B, K)`` logits."""
        missing = round(SHORTEST_HEARD_S * self._network.sample_rate) - waveform.shape[1]
        heard = functional.pad(waveform, (0, missing)) if missing > 0 else waveform
        logits: FloatArray = self._network(heard).float().cpu().numpy()
        return logits


def open_teacher(
    path: str | Path, ids: Sequence[str], n_classes: int, device: torch.device | None = None
) -> Teacher | LiveTeacher:
    """The stored logits of the clips with these ids, or the teacher's network.

    Raises:
        ValueError: not such a file, other classes, or missing clips.
    """
    several = str(path).split(SEPARATOR)
    if len(several) > 1:
        return _mean_of([open_teacher(one.strip(), ids, n_classes) for one in several], str(path))
    path = Path(path)
    if path.suffix == ".pt":
        return LiveTeacher(path, device or torch.device("cpu"))
    if path.is_dir():
        return _from_folder(path, ids, n_classes)
    try:
        if path.suffix == ".npz":
            known, logits = mapped(path, ("ids", "logits"))
            rows_of = _places(np.array(ids[:], np.str_), known, path)
        else:
            logits = np.load(path, mmap_mode="r", allow_pickle=False)
            rows_of = np.arange(len(ids))
    except OSError as error:
        raise ValueError(f"cannot read the teacher's logits {path}: {error}") from error
    if (
        logits.ndim != 2
        or logits.shape[1] != n_classes
        or (path.suffix != ".npz" and len(logits) != len(ids))
    ):
        raise ValueError(
            f"{path} holds logits {logits.shape}; ({len(ids)}, {n_classes}) is needed for the training clips"
        )

    def read(rows: NDArray[np.int64]) -> FloatArray:
        chosen: FloatArray = logits[rows_of[rows]].astype(np.float32)
        return chosen

    return read


def _mean_of(teachers: Sequence[Teacher | LiveTeacher], where: str) -> Teacher:
    stored = [teacher for teacher in teachers if not isinstance(teacher, LiveTeacher)]
    if len(stored) < len(teachers):
        raise ValueError(
            f"{where}: the mean is of stored logits only; compute those of the network first: train.teach"
        )

    def read(rows: NDArray[np.int64]) -> FloatArray:
        mean: FloatArray = np.mean([teacher(rows) for teacher in stored], axis=0, dtype=np.float32)
        return mean

    return read


def _places(ids: NDArray[np.str_], known: NDArray[np.str_], path: Path) -> NDArray[np.int64]:
    """``(N,)`` the position of each id among the known ones.

    Raises:
        ValueError: an id is not known.
    """
    order = np.argsort(known, kind="stable")
    found = np.searchsorted(known, ids, sorter=order)
    place: NDArray[np.int64] = (
        order[np.minimum(found, len(known) - 1)] if len(known) else np.zeros(0, np.int64)
    )
    missing = ids[known[place] != ids] if len(known) else ids
    if len(missing):
        raise ValueError(
            f"{path} lacks {len(missing)} of {len(ids)} training clips, such as {str(missing[0])!r}; "
            "train on an index of the others"
        )
    return place


def _from_folder(folder: Path, ids: Sequence[str], n_classes: int) -> Teacher:
    present = {file.stem for file in folder.glob("*.npy")}
    missing = [clip_id for clip_id in ids if clip_id not in present]
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} of {len(ids)} training clips, such as {missing[0]!r}.npy"
        )

    def read(rows: NDArray[np.int64]) -> FloatArray:
        logits = [np.load(folder / f"{ids[int(row)]}.npy", allow_pickle=False) for row in rows]
        strangers = {one.shape for one in logits} - {(n_classes,)}
        if strangers:
            raise ValueError(f"{folder} holds logits {strangers.pop()}; ({n_classes},) is needed in a file")
        return np.array(logits, np.float32)

    return read


def soft_targets(
    labels: FloatArray,
    logits: FloatArray,
    *,
    weight: float,
    temperature: float,
    only_absent: bool = False,
    known: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray | None]:
    """Labels and a teacher's logits -> targets between labels and probabilities, and their known shares.

    Args:
        labels: ``(B, K)``, 0 or 1.
        logits: ``(B, K)``, the teacher's.
        weight: share of the teacher.
        temperature: divisor of its logits.
        only_absent: give the teacher no share in labels that are present, as missing labels are more frequent
            than wrong ones (Gong et al. 2021, arXiv:2102.01243; mixtures of labels and predictions: Reed et
            al. 2015, arXiv:1412.6596).
        known: ``(B, K)``, 0 where a label is unknown, else 1; None: all are known.

    Returns:
        ``(B, K)`` targets and ``(B, K)`` shares of the loss, as for
        :func:`train.loop.loss.binary_cross_entropy`. Of unknown labels only the teacher's share is left.
    """
    share = weight * (1.0 - labels) if only_absent else np.full_like(labels, weight)
    of_teacher = share * sigmoid(logits / temperature)
    if known is None:
        return ((1.0 - share) * labels + of_teacher).astype(np.float32), None
    mixed = ((1.0 - share) * known * labels + of_teacher).astype(np.float32)
    return mixed, ((1.0 - share) * known + share).astype(np.float32)
