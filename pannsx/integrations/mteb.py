"""MTEB's encoder protocol, for its audio tasks (MAEB): ``mteb.evaluate(PannsxEncoder(), tasks)``.

Each clip is computed at its own length: an embedding does not depend on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pannsx.features import FeatureExtractor
from pannsx.types import FloatArray
from pannsx.weights.naming import at_revision, kind_of


class PannsxEncoder:
    """Embeddings of sounds, with cosine similarity.

    Args:
        model_name: a model as for :class:`pannsx.AudioTagger`: a name, a file of weights with its record
            beside it, or ``owner/name`` on the Hub; None: the bundled checkpoint. Or an open
            ``FeatureExtractor``.
        revision: branch, tag or commit of a repository on the Hub; of other models, whose digest is checked
            instead, it has no meaning.
        device: as for :class:`pannsx.FeatureExtractor`; None: ``"auto"``.
        options: further arguments of :class:`pannsx.FeatureExtractor`.

    Raises:
        ValueError, WeightsError: as :class:`pannsx.FeatureExtractor`.
    """

    def __init__(
        self,
        model_name: str | FeatureExtractor | None = None,
        revision: str | None = None,
        *,
        device: str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(model_name, FeatureExtractor):
            self._extractor = model_name
            return
        if model_name is not None and kind_of(model_name) == "repository":
            model_name = at_revision(model_name, revision)
        self._extractor = FeatureExtractor(model_name, device=device or "auto", **options).fit()

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> FloatArray:
        """Batches of clips -> ``(N, D)`` embeddings, in their order.

        Args:
            inputs: batches with ``batch["audio"]``, a list of ``{"array", "sampling_rate"}`` or of decoders
                of torchcodec, as MTEB's loader gives them. Its collation is replaced by a list of its items.
            task_metadata, hf_split, hf_subset, prompt_type, kwargs: of no meaning for embeddings of sounds.

        Raises:
            AudioError: a clip is empty or not finite.
            ValueError: the task has no audio.
        """
        del task_metadata, hf_split, hf_subset, prompt_type, kwargs
        if hasattr(inputs, "collate_fn"):
            inputs.collate_fn = _as_lists  # MTEB's own cannot join sounds of different lengths
        rows: list[FloatArray] = []
        for batch in inputs:
            if "audio" not in batch:
                raise ValueError(
                    f"the task gives {', '.join(map(str, batch))} and no audio; this encoder takes sounds"
                )
            clips = list(batch["audio"])
            rows.append(self._extractor.extract(clips))
        if not rows:
            return np.zeros((0, self._extractor.embedding_size), np.float32)
        return np.concatenate(rows)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """``(N, D)`` and ``(M, D)`` -> ``(N, M)`` cosines, as a tensor."""
        import torch

        return torch.from_numpy(_directions(embeddings1) @ _directions(embeddings2).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """``(N, D)`` and ``(N, D)`` -> ``(N,)`` cosines of the pairs, as a tensor."""
        import torch

        return torch.from_numpy((_directions(embeddings1) * _directions(embeddings2)).sum(axis=1))

    @property
    def mteb_model_meta(self) -> Any:
        """The facts about the model that MTEB stores beside its scores.

        Raises:
            ImportError: mteb is not installed.
        """
        from mteb.models import ModelMeta

        record = self._extractor.record
        return ModelMeta.create_empty(
            overwrites={
                "name": f"pannsx/{record.name}",
                "revision": str(record.sha256 or record.name),
                "embed_dim": self._extractor.embedding_size,
                "modalities": ["audio"],
                "similarity_fn_name": "cosine",
                "framework": ["PyTorch"],
                "open_weights": True,
            }
        )


def _as_lists(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


def _directions(embeddings: Any) -> NDArray[np.float64]:
    """``(N, D)`` or ``(D,)`` -> ``(N, D)`` of unit length; zeros stay zeros."""
    rows = np.atleast_2d(np.asarray(embeddings, np.float64))
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
