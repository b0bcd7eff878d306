"""The record of a checkpoint: identity and sources of its file, and settings of its model.

An entry of ``weights_manifest.json`` and a user's own record next to weights have the same form.
None means "not known"; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pannsx.errors import WeightsError
from pannsx.frontend.settings import FrontEnd

OPERATING_POINTS_SUFFIX = ".operating_points.json"
"""Of the file of a checkpoint's operating points, after the stem of its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A file of a repository on the Hugging Face Hub.

    Attributes:
        repo_id: ``owner/name``.
        repo_type: ``model`` or ``dataset``.
        filename: path of the file in the repository.
        revision: commit, tag or branch; None: the default branch.
        digest_seen: whether this file was once verified to have the record's digest.
        licence: licence in the repository's card, if any.
    """

    repo_id: str
    repo_type: Literal["model", "dataset"]
    filename: str
    revision: str | None
    digest_seen: bool
    licence: str | None

    def __str__(self) -> str:
        return f"Hub {self.repo_type} {self.repo_id}, {self.filename} at {self.revision or 'main'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource:
    """A file at an http or https address."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledSource:
    """A file in the package's ``data`` folder."""

    filename: str

    def __str__(self) -> str:
        return f"{self.filename} in the package"


Source = HubSource | UrlSource | BundledSource


class Digest(NamedTuple):
    """A digest and its algorithm: ``sha256`` or ``md5``."""

    algorithm: str
    hexdigest: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.hexdigest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of a checkpoint.

    Attributes:
        mAP: mean average precision on the AudioSet evaluation set.
        auc: mean area under the ROC curve there.
        d_prime: d-prime there.
        source: source of the three (paper, file name).
        other: further scores by name, explained in the record's notes.
    """

    mAP: float | None
    auc: float | None
    d_prime: float | None
    source: str | None
    other: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Published probabilities of a clip, for verification: file name, and probabilities by label."""

    file: str
    top: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The checkpoint that a delta is on: exactly the weights of one file.

    Attributes:
        name: its name.
        filename: name of its file, as published; without sources, the file is beside the delta.
        sha256: digest of the file, lower-case hexadecimal.
        prefix: prefix of the network's keys in a file with other parts; None: it is found.
        sources: sources of a file that is not in the manifest.
    """

    name: str
    filename: str
    sha256: str
    prefix: str | None = None
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All facts about one checkpoint.

    Attributes:
        name: its name in ``AudioTagger(name)``.
        architecture: a row of the architecture table.
        sample_rate: in Hz.
        frontend: log-mel settings; None for models of the waveform alone.
        labels: ``audioset``, or a label file relative to the record.
        n_classes: ``K``.
        parameters: trainable parameters as published, unused ones included.
        unused_parameters: those among them without influence on the result.
        filename: the published name of the file; for a user's own record, the file next to it.
        size_bytes: size of the file.
        sha256: digest of the file, lower-case hexadecimal.
        md5: the same; used only if no sha256 is known.
        sources: sources of the file, in the order to try.
        licence: licence of the weights.
        description: one sentence.
        trained_on: data and method, if not the paper's.
        scores: see `Scores`.
        paper_operations_per_10s: the paper's operation count for a 10 s clip, about twice the
            multiply-accumulates, including the STFT as a convolution.
        recipe: the training recipe of such a checkpoint.
        example: a clip with published probabilities.
        notes: further remarks.
        operating_points_sha256: digest of the file of operating points in the package, if there is one.
        base: for a delta, the checkpoint that it is on; the file then holds only the tensors that differ.
        front_end_mismatch: how the front end of the weights' training differs from ``frontend``, where that
            was chosen otherwise; None: it does not.
        int8_steps: for products in 8 bits, by published name of each pointwise convolution, such as
            ``features.1.4``: the value of one unit of its input, which is rounded to whole units from 0 to
            255. They hold for the weights of this file alone; None: not calibrated.
        folder: folder of a user's own record; None for the manifest's entries.
    """

    name: str
    architecture: str
    sample_rate: int
    frontend: FrontEnd | None
    labels: str
    n_classes: int
    parameters: int | None = None
    unused_parameters: int | None = None
    filename: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    sources: tuple[Source, ...] = ()
    licence: str | None = None
    description: str | None = None
    trained_on: str | None = None
    scores: Scores | None = None
    paper_operations_per_10s: int | None = None
    recipe: str | None = None
    example: Example | None = None
    notes: str | None = None
    operating_points_sha256: str | None = None
    base: Base | None = None
    front_end_mismatch: str | None = None
    int8_steps: Mapping[str, float] | None = None
    folder: Path | None = None

    @property
    def digest(self) -> Digest | None:
        """The strongest digest in the record."""
        if self.sha256 is not None:
            return Digest("sha256", self.sha256)
        return None if self.md5 is None else Digest("md5", self.md5)

    @property
    def weights_filename(self) -> str:
        """``filename``; WeightsError if the record has none."""
        if self.filename is None:
            raise WeightsError(f"the record of {self.name} names no file")
        return self.filename

    @property
    def bundled(self) -> bool:
        """Whether the weights are part of the package."""
        return any(isinstance(source, BundledSource) for source in self.sources)

    @property
    def released(self) -> bool:
        """Whether weights exist: a source, or a file next to a user's own record."""
        return bool(self.sources) or self.folder is not None
