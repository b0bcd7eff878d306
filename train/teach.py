"""Compute a teacher's logits of clips, for distillation (:mod:`train.loop.distil`).

python -m train.teach LOGITS CLIPS [--teacher mn04_as] [--shard 0/4] [--device cuda]

LOGITS is ``.npz`` (``ids`` and ``logits``) or ``.npy`` (``(N, K)`` in the order of the clips). CLIPS is an
index, a store, a bank of the pool, a folder of mixtures or of audio files (:mod:`train.data.sounds`). The
teacher is ``mn04_as`` or its file (:mod:`train.teacher`), or whatever :mod:`train.evaluate` takes.

Clips are computed in parts of fixed size. Each part is a file beside LOGITS, written atomically: a killed run
resumes and gives the same numbers. With ``--shard i/n`` only every ``n``-th part is computed, from the
``i``-th on; the same command without it computes the missing parts and joins all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pannsx.atomic import replacing
from pannsx.errors import AudioError, WeightsError
from pannsx.inference.prefetch import prefetch
from pannsx.types import FloatArray
from train.data.sounds import Sounds, open_sounds
from train.data.store import StoreError
from train.evaluate import open_model
from train.loop.checkpoints import CheckpointError
from train.loop.step import ClipLogits
from train.teacher import MN04_AS, load_teacher

CLIPS_PER_PART = 1024
BATCH_SIZE = 32
FORMAT = 1


class TeachError(RuntimeError):
    """Logits cannot be computed or joined."""


class Network(NamedTuple):
    """A network for computing logits.

    Attributes:
        name: name as given.
        digest: SHA-256 of its weights.
        sample_rate: rate of its input, in Hz.
        logits: ``(B, S)`` waveform -> ``(B, K)`` logits, on the device.
    """

    name: str
    digest: str
    sample_rate: int
    logits: Callable[[Tensor], Tensor]


def open_network(teacher: str, device: str = "cpu") -> Network:
    """A teacher by its name, its file, or a checkpoint of this project.

    Raises:
        WeightsError, CheckpointError, ValueError: it does not exist, is unreadable or fails verification.
    """
    if teacher == MN04_AS.name or Path(teacher).name == MN04_AS.filename:
        published = load_teacher(None if teacher == MN04_AS.name else teacher).to(device)
        return Network(MN04_AS.name, MN04_AS.digest.hexdigest, published.sample_rate, published)
    model = open_model(teacher).model.to(device).eval()
    digest = _digest_of(model.state_dict())
    return Network(teacher, digest, model.sample_rate, ClipLogits(model, torch.float32))


def teach(
    path: str | Path,
    sounds: Sounds,
    network: Network,
    *,
    shard: tuple[int, int] | None = None,
    device: str = "cpu",
    clips_per_part: int = CLIPS_PER_PART,
    progress: bool = False,
) -> bool:
    """Compute the logits ``(N, K)`` of clips and write them.

    Args:
        path: the file to write, ``.npz`` or ``.npy``.
        sounds: ``N`` clips at the network's rate.
        network: the teacher.
        shard: ``(i, n)``: compute only the parts ``i``, ``i + n``, ..., without joining; None: compute all
            missing parts, then join.
        device: device of the network.
        clips_per_part: number of clips in a part.
        progress: show a progress bar.

    Returns:
        Whether the file is complete and written.

    Raises:
        TeachError: the file or its parts belong to other clips or another teacher; logits are not finite.
        OSError, StoreError, AudioError: a clip cannot be read, or a part cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".npy"):
        raise TeachError(f"logits are written as .npz or .npy, got {path.name!r}")
    if not len(sounds):
        raise TeachError("there are no clips to compute logits of")
    plan = {
        "format": FORMAT,
        "teacher": network.name,
        "teacher_digest": network.digest,
        "clips_digest": sounds.digest,
        "n_clips": len(sounds),
        "n_samples": sounds.n_samples,
        "clips_per_part": clips_per_part,
    }
    about, folder = path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.parts")
    if path.exists():
        _check_plan(path, about, plan)
        return True
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "plan.json").exists():
        _write_plan(folder / "plan.json", plan)
    _check_plan(folder, folder / "plan.json", plan)

    parts = [
        (folder / f"{number:05d}.npy", range(begin, min(begin + clips_per_part, len(sounds))))
        for number, begin in enumerate(range(0, len(sounds), clips_per_part))
    ]
    wanted = parts if shard is None else parts[shard[0] :: shard[1]]
    n_done = sum(len(rows) for part, rows in wanted if part.exists())
    with tqdm(
        total=sum(len(rows) for _, rows in wanted), initial=n_done, unit="clip", disable=not progress
    ) as bar:
        for part, rows in wanted:
            if not part.exists():
                logits = _logits_of(sounds, rows, network, device, bar)
                with replacing(part) as temporary, temporary.open("wb") as file:
                    np.save(file, logits)
    if shard is not None:
        return False
    _write_plan(about, plan)  # first: it identifies the logits
    _join(path, [part for part, _ in parts], sounds)
    shutil.rmtree(folder)
    return True


def _logits_of(sounds: Sounds, rows: range, network: Network, device: str, bar: tqdm[None]) -> FloatArray:
    """Logits ``(n, K)`` of a part. Batches begin with the part, so the numbers depend on it alone."""
    computed: list[FloatArray] = []
    for waveform in prefetch(_batches(sounds, rows), 2):
        with torch.inference_mode():
            logits = network.logits(torch.from_numpy(waveform).to(device)).float().cpu().numpy()
        if not np.isfinite(logits).all():
            row = rows[len(computed) * BATCH_SIZE + int(np.argmin(np.isfinite(logits).all(axis=1)))]
            raise TeachError(f"the logits of clip {sounds.ids[row]!r} are not finite")
        computed.append(logits)
        bar.update(len(logits))
    return np.concatenate(computed)


def _batches(sounds: Sounds, rows: range) -> Generator[FloatArray, None, None]:
    for begin in range(0, len(rows), BATCH_SIZE):
        yield np.stack([sounds.read(row) for row in rows[begin : begin + BATCH_SIZE]])


def _join(path: Path, parts: Sequence[Path], sounds: Sounds) -> None:
    try:
        pieces = [np.load(part, allow_pickle=False) for part in parts]
    except (OSError, ValueError) as error:
        raise TeachError(f"cannot read a part: {error}; delete it and run the same command again") from error
    logits = np.concatenate(pieces)
    if len(logits) != len(sounds):
        raise TeachError(
            f"{path}: the parts hold {len(logits)} clips of {len(sounds)}; delete {parts[0].parent}"
        )
    with replacing(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".npz":
            np.savez(file, ids=np.array(list(sounds.ids), np.str_), logits=logits)
        else:
            np.save(file, logits)


def _write_plan(path: Path, plan: Mapping[str, object]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8", newline="\n")


def _check_plan(what: Path, path: Path, plan: Mapping[str, object]) -> None:
    try:
        before = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TeachError(
            f"{what} exists, but its record {path.name} cannot be read: {error}; "
            "delete it or write to another file"
        ) from error
    changed = [key for key, value in plan.items() if before.get(key) != value]
    if changed:
        raise TeachError(
            f"{what} was made with other {' and '.join(changed)}; delete it or write to another file"
        )


def _digest_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and values of weights."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _shard(text: str) -> tuple[int, int]:
    which, _, of = text.partition("/")
    if not (which.isdigit() and of.isdigit() and int(which) < int(of)):
        raise argparse.ArgumentTypeError(f"got {text!r}; i/n with i from 0 to n - 1 is needed, such as 0/4")
    return int(which), int(of)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.teach", description="Compute a teacher's logits of clips.")
    parser.add_argument("logits", type=Path, help="file to write (.npz or .npy)")
    parser.add_argument("clips", type=Path, help="index, store, bank, or folder of mixtures or audio files")
    parser.add_argument(
        "--teacher", default=MN04_AS.name, help="name, file or run of the teacher (default: %(default)s)"
    )
    parser.add_argument("--shard", type=_shard, help="i/n: compute only every n-th part, from the i-th on")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="PyTorch's CPU threads (default: PyTorch's own)")
    parser.add_argument(
        "--duration", type=float, default=10.0, help="length of a folder's clips in s (default: %(default)s)"
    )
    parser.add_argument("--clips-per-part", type=int, default=CLIPS_PER_PART, help="(default: %(default)s)")
    given = parser.parse_args(arguments)
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    try:
        network = open_network(given.teacher, given.device)
        sounds = open_sounds(given.clips, network.sample_rate, duration_s=given.duration)
        finished = teach(
            given.logits,
            sounds,
            network,
            shard=given.shard,
            device=given.device,
            clips_per_part=given.clips_per_part,
            progress=sys.stderr.isatty(),
        )
    except (
        AudioError, CheckpointError, OSError, StoreError, TeachError, ValueError, WeightsError,
    ) as error:  # fmt: skip
        print(f"train.teach: {error}", file=sys.stderr)
        return 1
    if finished:
        print(f"{given.logits}: {len(sounds)} clips by {network.name}")
    else:
        print(f"shard {given.shard[0]}/{given.shard[1]} is done; without --shard the parts are joined")
    return 0


if __name__ == "__main__":
    sys.exit(main())
