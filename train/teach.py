"""Compute a teacher's logits of clips, for distillation (:mod:`train.loop.distil`), and its embeddings.

python -m train.teach LOGITS CLIPS [--teacher mn04_as] [--embeddings] [--half] [--shard 0/4] [--device cuda]

LOGITS is ``.npz`` (``ids`` and ``logits``; with ``--embeddings`` also ``embeddings``, ``(N, D)``) or ``.npy``
(``(N, K)`` logits in the order of the clips). CLIPS is an index, a store, a bank of the pool, a folder of
mixtures or of audio files (:mod:`train.data.sounds`). The teacher is ``mn04_as`` or its file
(:mod:`train.teacher`), an ONNX file (:mod:`train.teacher.onnx_network`), or whatever :mod:`train.evaluate`
takes.

Clips are computed in parts of fixed size. Each part is a file beside LOGITS, written atomically: a killed run
resumes and gives the same numbers. With ``--shard i/n`` only every ``n``-th part is computed, from the
``i``-th on; the same command without it computes the missing parts and joins all of them, one at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pannsx.atomic import replacing
from pannsx.errors import AudioError, WeightsError
from pannsx.inference.prefetch import prefetch
from pannsx.types import FloatArray
from pannsx.weights.digests import file_digest
from train.data.sounds import Sounds, open_sounds
from train.data.store import StoreError
from train.evaluate import open_model
from train.loop.checkpoints import CheckpointError
from train.loop.step import ClipLogits
from train.teacher import MN04_AS, load_teacher
from train.teacher.onnx_network import OnnxNetwork

CLIPS_PER_PART = 1024
BATCH_SIZE = 32
FORMAT = 1
LOGITS, EMBEDDINGS = "logits", "embeddings"


class TeachError(RuntimeError):
    """Logits cannot be computed or joined."""


class Network(NamedTuple):
    """A network for computing logits.

    Attributes:
        name: name as given.
        digest: SHA-256 of its weights.
        sample_rate: rate of its input, in Hz.
        logits: ``(B, S)`` waveform -> ``(B, K)`` logits, on the device.
        both: ``(B, S)`` waveform -> ``(B, K)`` logits and ``(B, D)`` embeddings; None without embeddings.
    """

    name: str
    digest: str
    sample_rate: int
    logits: Callable[[Tensor], Tensor]
    both: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None


def open_network(teacher: str, device: str = "cpu", *, sample_rate: int | None = None) -> Network:
    """A teacher by its name, its file, an ONNX file, or a checkpoint of this project.

    Args:
        teacher: its name or file.
        device: ``cpu`` or ``cuda``.
        sample_rate: rate of an ONNX file's input in Hz, if the file does not say it.

    Raises:
        WeightsError, CheckpointError, ValueError: it does not exist, is unreadable or fails verification.
    """
    if teacher == MN04_AS.name or Path(teacher).name == MN04_AS.filename:
        published = load_teacher(None if teacher == MN04_AS.name else teacher).to(device)
        return Network(MN04_AS.name, MN04_AS.digest.hexdigest, published.sample_rate, published)
    if Path(teacher).suffix == ".onnx":
        own = OnnxNetwork(teacher, sample_rate, device)
        both = own.both if own.has_embeddings else None
        return Network(
            Path(teacher).name, file_digest(Path(teacher), "sha256"), own.sample_rate, own.logits, both
        )
    model = open_model(teacher).model.to(device).eval()
    digest = _digest_of(model.state_dict())
    network = ClipLogits(model, torch.float32)
    return Network(teacher, digest, model.sample_rate, network, network.with_embedding)


def teach(
    path: str | Path,
    sounds: Sounds,
    network: Network,
    *,
    embeddings: bool = False,
    half: bool = False,
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
        embeddings: also write its embeddings ``(N, D)``, to ``.npz`` only.
        half: write float16, which has 11 bits of precision, instead of float32.
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
    if embeddings and (network.both is None or path.suffix != ".npz"):
        raise TeachError(
            f"{network.name} has no embeddings"
            if network.both is None
            else f"embeddings are written as .npz beside the logits, got {path.name!r}"
        )
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
        **({"embeddings": True} if embeddings else {}),
        **({"half": True} if half else {}),
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
                computed = _outputs_of(sounds, rows, network, device, bar, embeddings=embeddings)
                # The logits last: their file completes the part.
                for name, values in reversed(computed.items()):
                    with replacing(_file_of(part, name)) as temporary, temporary.open("wb") as file:
                        np.save(file, values.astype(np.float16) if half else values)
    if shard is not None:
        return False
    _write_plan(about, plan)  # first: it identifies the logits
    _join(path, [part for part, _ in parts], sounds, embeddings=embeddings)
    shutil.rmtree(folder)
    return True


def _outputs_of(
    sounds: Sounds, rows: range, network: Network, device: str, bar: tqdm[None], *, embeddings: bool
) -> dict[str, FloatArray]:
    """Logits ``(n, K)``, and embeddings ``(n, D)`` if wanted, of a part.

    Batches begin with the part, so the numbers depend on it alone.
    """
    computed: dict[str, list[FloatArray]] = {}
    n_done = 0
    for waveform in prefetch(_batches(sounds, rows), 2):
        with torch.inference_mode():
            clips = torch.from_numpy(waveform).to(device)
            if embeddings and network.both is not None:
                outputs = dict(zip((LOGITS, EMBEDDINGS), network.both(clips), strict=True))
            else:
                outputs = {LOGITS: network.logits(clips)}
        for name, tensor in outputs.items():
            values: FloatArray = tensor.float().cpu().numpy()
            if not np.isfinite(values).all():
                row = rows[n_done + int(np.argmin(np.isfinite(values).all(axis=1)))]
                raise TeachError(f"the {name} of clip {sounds.ids[row]!r} are not finite")
            computed.setdefault(name, []).append(values)
        n_done += len(waveform)
        bar.update(len(waveform))
    return {name: np.concatenate(values) for name, values in computed.items()}


def _file_of(part: Path, name: str) -> Path:
    """The file of a part's logits, or of its embeddings."""
    return part if name == LOGITS else part.with_suffix(f".{name}.npy")


def _batches(sounds: Sounds, rows: range) -> Generator[FloatArray, None, None]:
    for begin in range(0, len(rows), BATCH_SIZE):
        yield np.stack([sounds.read(row) for row in rows[begin : begin + BATCH_SIZE]])


def _join(path: Path, parts: Sequence[Path], sounds: Sounds, *, embeddings: bool) -> None:
    """Write the arrays of all parts, one part in memory at a time."""
    names = (LOGITS, EMBEDDINGS) if embeddings else (LOGITS,)
    arrays = {name: [_opened(_file_of(part, name)) for part in parts] for name in names}
    for name, pieces in arrays.items():
        n_rows = sum(map(len, pieces))
        if n_rows != len(sounds) or len({(piece.shape[1:], piece.dtype) for piece in pieces}) != 1:
            raise TeachError(
                f"{path}: the parts hold {name} of {n_rows} clips of {len(sounds)}, or of several shapes; "
                f"delete {parts[0].parent}"
            )
    with replacing(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".npy":
            _write_array(file, arrays[LOGITS])
            return
        with zipfile.ZipFile(file, "w") as archive:  # not compressed, so that it can be mapped
            with archive.open("ids.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(list(sounds.ids), np.str_))
            for name, pieces in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _write_array(member, pieces)


def _opened(part: Path) -> FloatArray:
    try:
        piece: FloatArray = np.load(part, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TeachError(f"cannot read a part: {error}; delete it and run the same command again") from error
    return piece


def _write_array(file: IO[bytes], pieces: Sequence[FloatArray]) -> None:
    """An array in NumPy's format, the rows of all pieces."""
    shape = (sum(map(len, pieces)), *pieces[0].shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(pieces[0].dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in pieces:
        file.write(piece.tobytes())


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
    changed = [key for key in {**before, **plan} if before.get(key) != plan.get(key)]
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
    parser = argparse.ArgumentParser(
        prog="train.teach", description="Compute a teacher's logits and embeddings of clips."
    )
    parser.add_argument("logits", type=Path, help="file to write (.npz or .npy)")
    parser.add_argument("clips", type=Path, help="index, store, bank, or folder of mixtures or audio files")
    parser.add_argument(
        "--teacher", default=MN04_AS.name, help="name, file or run of the teacher (default: %(default)s)"
    )
    parser.add_argument("--embeddings", action="store_true", help="also write the embeddings, to .npz")
    parser.add_argument("--half", action="store_true", help="write float16 instead of float32")
    parser.add_argument("--sample-rate", type=int, help="of an ONNX file that does not say it, in Hz")
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
        network = open_network(given.teacher, given.device, sample_rate=given.sample_rate)
        sounds = open_sounds(given.clips, network.sample_rate, duration_s=given.duration)
        finished = teach(
            given.logits,
            sounds,
            network,
            embeddings=given.embeddings,
            half=given.half,
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
