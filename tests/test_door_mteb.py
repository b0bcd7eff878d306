"""MTEB: the real package evaluates the encoder on a local task of sounds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from parties import party

from pannsx import FeatureExtractor
from pannsx.errors import AudioError
from pannsx.integrations.mteb import PannsxEncoder

SAME_ALONE = 1e-5
"""Absolute, of embeddings: a clip alone and in a batch, as the package promises."""


def clip(n_samples: int, frequency: float = 440.0, seed: int = 0) -> dict[str, Any]:
    noise = np.random.default_rng(seed).normal(0, 0.01, n_samples)
    tone = 0.3 * np.sin(2 * np.pi * frequency * np.arange(n_samples) / 16_000)
    return {"array": (tone + noise).astype(np.float32), "sampling_rate": 16_000}


@pytest.fixture(scope="module")
def encoder() -> PannsxEncoder:
    return PannsxEncoder()


def test_rows_do_not_depend_on_the_batch(encoder: PannsxEncoder) -> None:
    """Clips of different lengths: none is padded to the longest."""
    clips = [clip(16_000), clip(5_000, 900), clip(40_000, 2000)]
    together = encoder.encode([{"audio": clips}])
    one_by_one = encoder.encode([{"audio": [each]} for each in clips])
    np.testing.assert_allclose(together, one_by_one, atol=SAME_ALONE)
    np.testing.assert_allclose(together, FeatureExtractor().extract(clips), atol=SAME_ALONE)
    assert encoder.encode([]).shape == (0, 1024)


def test_similarity(encoder: PannsxEncoder) -> None:
    first, second = np.eye(3, 5, dtype=np.float32), np.ones((3, 5), np.float32)
    assert torch.equal(encoder.similarity(first, first), torch.eye(3, dtype=torch.float64))
    np.testing.assert_allclose(encoder.similarity_pairwise(first, second), [1 / np.sqrt(5)] * 3)
    assert encoder.similarity(np.zeros(5), second).abs().max() == 0


def test_what_cannot_be_encoded(encoder: PannsxEncoder) -> None:
    with pytest.raises(ValueError, match="gives text and no audio"):
        encoder.encode([{"text": ["a dog barks"]}])
    with pytest.raises(AudioError, match="empty"):
        encoder.encode([{"audio": [{"array": np.zeros(0, np.float32), "sampling_rate": 16_000}]}])


def test_the_real_package_runs_a_local_task(encoder: PannsxEncoder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MTEB's companions warn of themselves
        mteb: Any = party("mteb", "mteb")
        from datasets import Dataset, DatasetDict
        from mteb.abstasks.classification import AbsTaskClassification
        from mteb.abstasks.task_metadata import TaskMetadata
        from mteb.models.models_protocols import EncoderProtocol

        assert isinstance(encoder, EncoderProtocol)

        class Tones(AbsTaskClassification):
            """Low and high tones, told apart by a classifier on embeddings."""

            metadata = TaskMetadata(
                name="Tones", description="Low and high tones.", type="AudioClassification",
                category="a2c", modalities=["audio"], eval_splits=["test"], eval_langs=["zxx-Zxxx"],
                main_score="accuracy", dataset={"path": "local", "revision": "1"}, reference=None,
                date=("2026-01-01", "2026-01-02"), domains=["AudioScene"], task_subtypes=[], license="mit",
                annotations_creators="derived", dialect=[], sample_creation="created", bibtex_citation="",
            )  # fmt: skip
            input_column_name = "audio"
            label_column_name = "label"
            samples_per_label = 4
            n_experiments = 2

            def load_data(self, *args: Any, **kwargs: Any) -> None:
                def rows(first: int) -> dict[str, list[Any]]:
                    audio = [clip(8_000 + 500 * i, (300, 3000)[i % 2], first + i) for i in range(12)]
                    return {"audio": audio, "label": [i % 2 for i in range(12)]}

                splits = {"train": Dataset.from_dict(rows(0)), "test": Dataset.from_dict(rows(100))}
                self.dataset = DatasetDict(splits)
                self.data_loaded = True

        result = mteb.evaluate(
            encoder, Tones(), cache=None, co2_tracker=False, encode_kwargs={"batch_size": 5}
        )
    scores = result.task_results[0].scores["test"][0]
    assert scores["main_score"] > 0.9
    assert result.model_name == "pannsx/MobileNetV1_distilled"
