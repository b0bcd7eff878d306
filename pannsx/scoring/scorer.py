"""`GenerationScorer`: folders of audio in, scores of a generated set against a reference out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.audio.preparation import Preparation
from pannsx.corpus.inputs import EMPTY, Inputs, Item, find_inputs
from pannsx.errors import AudioError
from pannsx.inference.engine import Answer, Engine, Wanted
from pannsx.metrics.generation import KLConvention
from pannsx.scoring.caches import read_av_bench, read_kadtk
from pannsx.scoring.clip_set import ClipSet, Origin, Problem, make_clip_set
from pannsx.scoring.scores import GenerationScores, score_sets
from pannsx.scoring.statistics import read_statistics, write_statistics
from pannsx.types import FloatArray
from pannsx.version import __version__
from pannsx.weights import load

if TYPE_CHECKING:
    import torch

    from pannsx.inference.engine import Precision
    from pannsx.models import Pann
    from pannsx.weights.record import Checkpoint

DEFAULT_MODEL = "Cnn14_16k"
SILENCE = 2.0**-15
"""A clip is silent if all its samples are below this, a step of 16 bits."""

SetOfClips: TypeAlias = "str | PathLike[str] | Sequence[str | PathLike[str]] | ClipSet"
Silent = Literal["keep", "leave_out"]


class GenerationScorer:
    """Scores generated audio against a reference with a pretrained network.

    >>> scorer = GenerationScorer("Cnn14_16k", preparation="audioldm_eval")
    >>> scores = scorer.score("reference/", "generated/")
    >>> scores["FD"]

    The network takes every clip whole, whatever its length, as in the field's tools.

    Args:
        model: a name, a file of weights with its record, or a repository of the Hub, as for
            :class:`pannsx.AudioTagger`.
        preparation: steps from file to waveform: the name of a preset (``"audioldm_eval"``, ``"av_bench"``,
            ``"kadtk"``, ``"pannsx"``) or a :class:`pannsx.audio.Preparation`. Scores of different
            preparations cannot be compared.
        convention: convention of KL: ``"exact"`` or ``"audioldm_eval"``; None: the preset's.
        silent: ``"keep"`` silent clips in the scores, as the tools do, or ``"leave_out"``; they are reported
            in both cases.
        checkpoint, prefix, device, precision, cache_dir, allow_unverified, progress, batch_size, low_memory:
            as in :class:`pannsx.AudioTagger`.

    Raises:
        ValueError: an unknown model, preparation, device or precision.
        WeightsError: the weights are unavailable or fail verification.
    """

    def __init__(
        self,
        model: str | None = DEFAULT_MODEL,
        *,
        preparation: str | Preparation = "audioldm_eval",
        convention: KLConvention | None = None,
        silent: Silent = "keep",
        checkpoint: str | PathLike[str] | None = None,
        prefix: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        cache_dir: str | PathLike[str] | None = None,
        allow_unverified: bool = False,
        progress: bool = True,
        batch_size: int | None = None,
        low_memory: bool = False,
    ) -> None:
        if silent not in ("keep", "leave_out"):
            raise ValueError(f"silent is {silent!r}; use 'keep' or 'leave_out'")
        if isinstance(preparation, str):
            preparation = Preparation.named(preparation)
        self.preparation = preparation
        self.convention: KLConvention = convention or default_convention(preparation)
        self._silent = silent
        loaded = load(
            model,
            checkpoint=checkpoint,
            prefix=prefix,
            cache_dir=cache_dir,
            allow_unverified=allow_unverified,
            progress=progress,
        )
        self.record: Checkpoint = loaded.record
        digest = weights_digest(loaded.model)
        self.origin = Origin(loaded.record.name, digest, preparation, precision, __version__)
        self._engine = Engine(
            loaded.model, device=device, precision=precision, batch_size=batch_size, low_memory=low_memory
        )

    @property
    def sample_rate(self) -> int:
        """The network's sample rate, in Hz."""
        return self._engine.network.sample_rate

    def clips(self, source: SetOfClips, on_file: Callable[[str], object] | None = None) -> ClipSet:
        """Run a set of clips through the network.

        Args:
            source: a folder (searched recursively), a pattern such as ``"out/**/*.wav"``, a file, a list of
                these, or a finished set: an ``.npz`` of :meth:`write_statistics`, or a tool's cache (see
                :func:`read_set`).
            on_file: called with the name of each finished file.

        Returns:
            The set. Its problems list unreadable and silent files.

        Raises:
            ValueError: the source is empty, or fewer than 2 clips are usable.
        """
        found = _ready_or_found(source)
        return found if isinstance(found, ClipSet) else self._heard(*found, on_file)

    def _heard(self, title: str, inputs: Inputs, on_file: Callable[[str], object] | None = None) -> ClipSet:
        names: list[str] = []
        embeddings: list[FloatArray] = []
        logits: list[FloatArray] = []
        problems = [Problem(title, "unreadable", why, kept=False) for why in inputs.problems]
        for item, answer in self._answers(inputs.items, problems):
            if answer is not None:
                names.append(Path(item.name).stem)
                embeddings.append(answer.embedding)
                logits.append(answer.logits)
            if on_file is not None:
                on_file(item.name)
        if len(names) < 2:
            why = "".join(f"; {problem.file}: {problem.why}" for problem in problems[:3])
            raise ValueError(f"{title}: {len(names)} clips can be used; at least 2 are needed{why}")
        return make_clip_set(
            title, self.origin, names, np.stack(embeddings), np.stack(logits), problems, inputs.skipped
        )

    def score(
        self,
        reference: SetOfClips,
        generated: SetOfClips,
        *,
        n_resamples: int = 200,
        infinity: bool = False,
        seed: int = 0,
    ) -> GenerationScores:
        """All scores of a generated set; :meth:`clips` lists the kinds of sets.

        Args:
            reference: real audio.
            generated: audio of the system. For KL, a clip has the name of its reference; several generations
                of one reference are in different folders.
            n_resamples: resamples of the bootstrap intervals; 0: no intervals.
            infinity: also extrapolate FD to infinitely many clips.
            seed: seed of intervals and extrapolation.

        Raises:
            ValueError: as :meth:`clips`, or the sets have different origins.
        """
        found = [_ready_or_found(each) for each in (reference, generated)]  # both, before the work on one
        sets = [each if isinstance(each, ClipSet) else self._heard(*each) for each in found]
        return score_sets(
            *sets, convention=self.convention, n_resamples=n_resamples, infinity=infinity, seed=seed
        )

    def write_statistics(self, source: SetOfClips, path: str | PathLike[str]) -> ClipSet:
        """Run a set and store its statistics in an ``.npz``, for later use as a reference; returns the set.

        Raises:
            OSError: the file cannot be written.
            ValueError: as :meth:`clips`.
        """
        clips = self.clips(source)
        write_statistics(Path(path), clips)
        return clips

    def _answers(
        self, items: Sequence[Item], problems: list[Problem]
    ) -> Iterator[tuple[Item, Answer | None]]:
        """Each item with its outputs, in order; excluded items have None and become problems."""
        for batch in _batches(self._prepared(items, problems), self._engine.is_full):
            waveforms = [waveform for _, waveform in batch if waveform is not None]
            answers = iter(self._engine.run(waveforms, Wanted(framewise=False)) if waveforms else [])
            for item, waveform in batch:
                yield item, None if waveform is None else next(answers)

    def _prepared(
        self, items: Iterable[Item], problems: list[Problem]
    ) -> Iterator[tuple[Item, FloatArray | None]]:
        for item in items:
            try:
                waveform = self.preparation.load(item.source, self.sample_rate)
            except AudioError as error:
                problems.append(Problem(item.name, "unreadable", str(error), kept=False))
                yield item, None
                continue
            peak = float(np.abs(waveform).max(initial=0.0))
            if peak < SILENCE:
                kept = self._silent == "keep"
                why = "no sample reaches a step of 16 bits" + ("" if kept else "; left out")
                problems.append(Problem(item.name, "silent", why, kept=kept))
                yield item, waveform if kept else None
            else:
                yield item, waveform

    def __repr__(self) -> str:
        return f"<GenerationScorer {self.record.name} on {self._engine.device}, {self.preparation}>"


def find_clips(source: str | PathLike[str] | Sequence[str | PathLike[str]]) -> tuple[str, Inputs]:
    """The title of a set of audio files, and the files.

    Raises:
        ValueError: an argument without audio files, or no file that exists.
    """
    named = [source] if isinstance(source, (str, PathLike)) else list(source)
    inputs = find_inputs([str(each) for each in named])
    title = ", ".join(map(str, named))
    if inputs.skipped[EMPTY] or not inputs.items:
        raise ValueError("; ".join(inputs.problems) or f"{title or 'the list'} names no files")
    if not any(isinstance(item.source, bytes) or Path(item.source).exists() for item in inputs.items):
        raise ValueError(f"there is no file or folder {inputs.items[0].name!r}; check the path")
    return title, inputs


def _ready_or_found(source: SetOfClips) -> ClipSet | tuple[str, Inputs]:
    if isinstance(source, ClipSet):
        return source
    ready = read_set(source) if isinstance(source, (str, PathLike)) else None
    return find_clips(source) if ready is None else ready


def default_convention(preparation: Preparation) -> KLConvention:
    """The default convention of KL for a preparation: audioldm_eval's for its own, else the exact one."""
    return "audioldm_eval" if preparation.name == "audioldm_eval" else "exact"


def read_set(source: str | PathLike[str]) -> ClipSet | None:
    """A finished set, read without a network; None if ``source`` is audio.

    Finished sets are an ``.npz`` of statistics, av-benchmark's ``.pth``, and kadtk's folder of ``.npy`` files
    without audio.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has other contents.
    """
    path = Path(source)
    if path.suffix == ".npz":
        return read_statistics(path)
    if path.suffix == ".pth":
        return read_av_bench(path)
    if path.is_dir():
        endings = {each.suffix.lower() for each in path.iterdir()}
        if ".npy" in endings and not endings & AUDIO_SUFFIXES:  # generators may add arrays to their audio
            return read_kadtk(path)
    return None


def weights_digest(model: Pann) -> str:
    """SHA-256 of the weights as loaded: of every tensor's name, type, shape and bytes, by name.

    The same for one set of weights in whatever file format.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _batches(
    items: Iterable[tuple[Item, FloatArray | None]], is_full: Callable[[Sequence[int]], bool]
) -> Iterator[list[tuple[Item, FloatArray | None]]]:
    """Groups of items whose waveforms fill a batch; excluded items stay in their place."""
    batch: list[tuple[Item, FloatArray | None]] = []
    lengths: list[int] = []
    for item, waveform in items:
        batch.append((item, waveform))
        if waveform is not None:
            lengths.append(len(waveform))
            if is_full(lengths):
                yield batch
                batch, lengths = [], []
    if batch:
        yield batch
