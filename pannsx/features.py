"""`FeatureExtractor`: embeddings of audio, for classifiers, search and clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, overload

import numpy as np
import numpy.typing as npt

from pannsx.audio import Selection
from pannsx.audio.reader import rate_given
from pannsx.errors import did_you_mean
from pannsx.estimator import Transformer, sources_in
from pannsx.inference.cached_features import OpenOnce, cached_features
from pannsx.inference.embedding_cache import EmbeddingCache
from pannsx.inference.levels import Level, Pooling
from pannsx.inference.pipeline import OpenNetwork, Pipeline, WindowSettings
from pannsx.inference.sources import as_sources
from pannsx.inference.windows import Combination
from pannsx.models.structure import Structure
from pannsx.results import FrameEmbeddings
from pannsx.types import Channel, FloatArray, OnProgress, PathLike, Source
from pannsx.version import __version__

if TYPE_CHECKING:
    import torch

    from pannsx.inference.engine import Precision
    from pannsx.weights.record import Checkpoint

Self = TypeVar("Self", bound="FeatureExtractor")

Dtype = Literal["float32", "float16"]

_NETWORK = (
    "model", "checkpoint", "prefix", "device", "precision", "cache_dir", "allow_unverified", "batch_size",
    "low_memory",
)  # fmt: skip
"""The parameters that an open network depends on."""


class _Shared:
    """Holds the open network beside the attributes: these are the parameters alone, also in a pickle."""

    __slots__ = ("_open_once",)
    _open_once: OpenOnce


class FeatureExtractor(_Shared, Transformer):
    """Turns audio into the embeddings of a pretrained network: the layer before its classifier.

    >>> FeatureExtractor().extract(["dog.wav", "rain.flac"]).shape
    (2, 1024)

    It is a transformer of scikit-learn: `transform` takes paths, waveforms or a column of a DataFrame, and
    `Pipeline`, `GridSearchCV` and `clone` work with it. The network is opened when it is first needed, by
    `fit` at the latest, and copies share it. A pickle has the parameters, not the weights.

    Args:
        model, checkpoint, prefix, device, precision, cache_dir, allow_unverified, progress, window_s,
            overlap_s, batch_size, low_memory: as in :class:`pannsx.AudioTagger`.
        combine: how the embeddings of the windows of long audio are combined: ``"mean"``, weighted by time,
            or ``"max"``.
        layer: level of the network (:meth:`pannsx.models.Pann.forward_features`): ``"block1"``,
            ``"block2"``, ... to ``"trunk"``, averaged over frequency; ``"pooled"``, the layer before ``fc1``;
            ``"fc1"``, the embedding; ``"logits"``.
        pooling: over time: ``"clip"``, as the network does; or ``"mean"``, ``"max"`` or ``"mean_std"`` (mean,
            then standard deviation, for twice as many features) of all frames.
        dtype: type of the features, ``"float32"`` or ``"float16"``.
        source_rate: rate of sources that are arrays, in Hz; None: the model's.
        cache: folder that keeps features by the content of a source and all settings, the weights among them,
            so that they are computed once; several processes may share it. None: none are kept. Sources
            other than paths, bytes, arrays and pairs are computed each time.

    Raises:
        ValueError: a wrong argument; raised by `fit`, or by the first use.
        WeightsError: as :class:`pannsx.AudioTagger`; raised in the same places.
    """

    def __init__(
        self,
        model: str | OpenNetwork | None = None,
        *,
        checkpoint: PathLike | None = None,
        prefix: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        cache_dir: PathLike | None = None,
        allow_unverified: bool = False,
        progress: bool = True,
        window_s: float = 10.0,
        overlap_s: float = 0.0,
        combine: Combination = "mean",
        batch_size: int | None = None,
        low_memory: bool = False,
        layer: str = "fc1",
        pooling: Pooling = "clip",
        dtype: Dtype = "float32",
        source_rate: int | None = None,
        cache: PathLike | None = None,
    ) -> None:
        self.model = model
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.device = device
        self.precision = precision
        self.cache_dir = cache_dir
        self.allow_unverified = allow_unverified
        self.progress = progress
        self.window_s = window_s
        self.overlap_s = overlap_s
        self.combine = combine
        self.batch_size = batch_size
        self.low_memory = low_memory
        self.layer = layer
        self.pooling = pooling
        self.dtype = dtype
        self.source_rate = source_rate
        self.cache = cache

    @property
    def _pipeline(self) -> Pipeline:
        """The open network, with the settings of the windows."""
        if self.combine not in get_args(Combination):
            raise ValueError(f"combine is {self.combine!r}; use 'mean' or 'max'")
        settings = WindowSettings(
            self.window_s, self.overlap_s, combine_clipwise=self.combine, combine_embedding=self.combine
        )
        return self._network().pipeline(settings, progress=self.progress)

    def _network(self) -> OpenOnce:
        parameters = {name: getattr(self, name) for name in _NETWORK}
        held: OpenOnce | None = getattr(self, "_open_once", None)
        if held is None or held.parameters != parameters:
            held = self._open_once = OpenOnce(parameters)
        return held

    def __sklearn_clone__(self: Self) -> Self:
        copy = type(self)(**self.get_params())
        copy._open_once = self._network()
        if hasattr(self, "_sklearn_output_config"):
            copy._sklearn_output_config = dict(self._sklearn_output_config)
        return copy

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @property
    def embedding_size(self) -> int:
        """``D``."""
        return self._pipeline.embedding_size

    @property
    def n_features(self) -> int:
        """Number of features of `extract` and `transform`; ``D`` by default."""
        level, pipeline = self._level(), self._pipeline
        if level.name == "fc1":
            return level.n_statistics * pipeline.embedding_size
        if level.name == "logits":
            return level.n_statistics * len(pipeline.grid.labels)
        record = pipeline.record
        if level.name in ("trunk", "pooled") and isinstance(network := pipeline.engine.network, Structure):
            return level.n_statistics * network.trunk.out_channels
        from pannsx.models.cost import level_channels

        of_level = level_channels(
            record.architecture, record.sample_rate, record.frontend, record.n_classes, level.name
        )
        return level.n_statistics * of_level

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in Hz; audio of other rates is resampled to it."""
        return self._pipeline.sample_rate

    @property
    def hop_s(self) -> float:
        """Seconds from one frame embedding to the next."""
        return self._pipeline.grid.hop_s

    @property
    def record(self) -> Checkpoint:
        """The manifest's record of the checkpoint: origin, licence, scores."""
        return self._pipeline.record

    @property
    def weights_digest(self) -> str | None:
        """Digest of the file of weights, or None if it is unknown."""
        return self._pipeline.weights_digest

    def extract(
        self,
        sources: Source | Sequence[Source],
        source_rate: int | None = None,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        sample_rate: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> FloatArray:
        """Sources as in :meth:`pannsx.AudioTagger.inference` -> ``(N, D)`` embeddings; one source: ``N = 1``.

        Args:
            sources, source_rate, start_s, duration_s, channel, salvage, sample_rate, on_progress: as in
                :meth:`pannsx.AudioTagger.inference`.

        Raises:
            AudioError: a source is unreadable, empty, not finite or of a wrong shape.
            ValueError: both ``source_rate`` and ``sample_rate`` are given.
        """
        listed, _ = as_sources(sources)
        rate = rate_given(source_rate, sample_rate)
        selection = Selection(
            self.source_rate if rate is None else rate, start_s, duration_s, channel, salvage
        )
        return self._features(listed, selection, on_progress)

    def fit(self: Self, X: Any = None, y: object = None) -> Self:
        """Open the network and check the parameters; nothing is learned from ``X`` and ``y``.

        Raises:
            TypeError, ValueError: a wrong parameter, or ``X`` is no list of sources.
            WeightsError: the weights cannot be obtained, trusted or read.
        """
        if X is not None:
            sources_in(X)
        _ = self._level(), self._pipeline
        return self

    def transform(self, X: Any) -> Any:
        """``N`` sources -> ``(N, n_features)`` features, as `set_output` says an array or a DataFrame.

        >>> import pandas as pd
        >>>
        >>> table = pd.DataFrame({"path": ["dog.wav", "rain.flac"], "label": ["dog", "rain"]})
        >>> FeatureExtractor().transform(table["path"]).shape
        (2, 1024)

        Args:
            X: a list of sources as in :meth:`pannsx.AudioTagger.inference`, an array or DataFrame column of
                them, a DataFrame with one column, or an array ``(N, S)`` of waveforms.

        Raises:
            AudioError: a source is unreadable, empty, not finite or of a wrong shape; the message names it.
            TypeError, ValueError: ``X`` is no list of sources, or a parameter is wrong.
        """
        selection = Selection(source_rate=self.source_rate)
        return self._in_container(self._features(sources_in(X), selection, with_bar=self.progress), X)

    def fit_transform(self, X: Any, y: object = None) -> Any:
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[Any]:
        """``(n_features,)`` names such as ``fc1_0``, ``fc1_mean_0`` or ``logits_Speech``.

        ``input_features`` is without effect.
        """
        level, n = self._level(), self.n_features
        n_channels = n // level.n_statistics
        channels = self._pipeline.grid.labels if level.name == "logits" else range(n_channels)
        kinds = ("mean_", "std_") if level.n_statistics == 2 else ("",)
        return np.array([f"{level.name}_{kind}{each}" for kind in kinds for each in channels], object)

    def _level(self) -> Level:
        """The level of the features; ValueError for a wrong parameter."""
        level = Level(self.layer, self.pooling)
        if self.dtype not in get_args(Dtype):
            raise ValueError(f"dtype is {self.dtype!r}; use 'float32' or 'float16'")
        if self.layer not in ("trunk", "pooled", "fc1", "logits"):
            from pannsx.models.zoo import build_empty

            record = self._pipeline.record
            network = build_empty(record.architecture, record.sample_rate, record.frontend, record.n_classes)
            known = [name for name in network.levels if not name.startswith("frame_")]
            if self.layer not in known:
                hint = did_you_mean(self.layer, known) if isinstance(self.layer, str) else ""
                raise ValueError(
                    f"layer is {self.layer!r}{hint}; the layers of {record.name} are {', '.join(known)}"
                )
        return level

    def _features(
        self,
        sources: Sequence[Source],
        selection: Selection,
        on_progress: OnProgress | None = None,
        *,
        with_bar: bool = False,
    ) -> npt.NDArray[Any]:
        """Sources -> ``(N, n_features)``, from the cache where it has them."""
        level, pipeline = self._level(), self._pipeline
        cache = None if self.cache is None else self._cache(pipeline, level, selection)
        rows = cached_features(pipeline, sources, level, selection, cache, on_progress, with_bar=with_bar)
        return np.stack(rows).astype(self.dtype, copy=False)

    def _cache(self, pipeline: Pipeline, level: Level, selection: Selection) -> EmbeddingCache | None:
        """The cache of the features with all settings; None if the weights cannot be identified."""
        if pipeline.weights_digest is None:
            return None
        record = pipeline.record
        settings = {
            "version": __version__,
            "weights": pipeline.weights_digest,
            "architecture": record.architecture,
            "frontend": None if record.frontend is None else asdict(record.frontend),
            "prefix": self.prefix,
            "precision": pipeline.engine.precision,
            "level": asdict(level),
            "windows": asdict(pipeline.settings),
            "selection": asdict(selection),
        }
        return EmbeddingCache(Path(cast(PathLike, self.cache)), settings, self.n_features)

    @overload  # text is a sequence of texts, too, and comes under this one
    def extract_frames(  # type: ignore[overload-overlap]
        self,
        sources: Source,
        source_rate: int | None = ...,
        *,
        start_s: float = ...,
        duration_s: float | None = ...,
        channel: Channel = ...,
        salvage: bool = ...,
        sample_rate: int | None = ...,
        on_progress: OnProgress | None = ...,
    ) -> FrameEmbeddings: ...

    @overload
    def extract_frames(
        self,
        sources: Sequence[Source],
        source_rate: int | None = ...,
        *,
        start_s: float = ...,
        duration_s: float | None = ...,
        channel: Channel = ...,
        salvage: bool = ...,
        sample_rate: int | None = ...,
        on_progress: OnProgress | None = ...,
    ) -> list[FrameEmbeddings]: ...

    def extract_frames(
        self,
        sources: Source | Sequence[Source],
        source_rate: int | None = None,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        sample_rate: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> FrameEmbeddings | list[FrameEmbeddings]:
        """One source -> :class:`FrameEmbeddings` ``(T', D)`` with ``(T',)`` centres in seconds.

        Several sources give a list of them. A frame's embedding is the clip head's, from the maximum and
        mean over the frame and its two neighbours (as the DecisionLevel models pool).

        Raises:
            AudioError, ValueError: as :meth:`extract`; the arguments are the same.
        """
        listed, several = as_sources(sources)
        rate = rate_given(source_rate, sample_rate)
        found = []
        for analysis in self._pipeline.analyse(
            listed,
            source_rate=self.source_rate if rate is None else rate,
            start_s=start_s,
            duration_s=duration_s,
            channel=channel,
            salvage=salvage,
            frame_embeddings=True,
            on_progress=on_progress,
        ):
            frames = analysis.answer.frame_embeddings
            if frames is None:
                raise RuntimeError("the engine returned no frame embeddings")
            found.append(FrameEmbeddings(frames, self._pipeline.grid.times_s(len(frames))))
        return found if several else found[0]

    def __repr__(self) -> str:
        if not self._network().is_open:
            return self._as_call()
        engine = self._pipeline.engine
        return f"<FeatureExtractor {self.record.name} on {engine.device}: D = {self.embedding_size}>"
