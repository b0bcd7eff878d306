"""transformers' classes for audio classification, around a checkpoint of pannsx.

>>> from transformers import pipeline
>>> from pannsx.integrations.transformers import PannsxFeatureExtractor, PannsxForAudioClassification
>>>
>>> model = PannsxForAudioClassification.from_pretrained("MobileNetV1_distilled")
>>> extractor = PannsxFeatureExtractor.from_pretrained("MobileNetV1_distilled")
>>> classify = pipeline("audio-classification", model=model, feature_extractor=extractor)
>>> classify({"array": waveform, "sampling_rate": 32_000}, top_k=3)

After this module's import, ``pipeline("audio-classification", model="owner/name")`` and the ``Auto`` classes
load repositories of :func:`pannsx.integrations.hub.push_to_hub`, too. Weights are found, checked and read by
pannsx (:func:`pannsx.weights.load`), never by transformers, and no code of a repository is run.

Logits go through a sigmoid for each class, as several classes sound at once. A whole clip is one pass of the
network; :class:`pannsx.AudioTagger` divides long recordings into windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    BatchFeature,
    PretrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from pannsx.integrations.hub import config_of, push_to_hub, save_pretrained
from pannsx.models import Pann
from pannsx.types import FloatArray
from pannsx.weights import LoadedCheckpoint, load
from pannsx.weights.naming import kind_of
from pannsx.weights.record import Checkpoint, HubSource


class PannsxConfig(PretrainedConfig):  # type: ignore[misc]
    """Labels and sample rate of a checkpoint; all else is in its record."""

    model_type = "pannsx"

    def __init__(self, sampling_rate: int = 32_000, **options: Any) -> None:
        self.sampling_rate = sampling_rate
        super().__init__(**options)

    @classmethod
    def of(cls, record: Checkpoint) -> PannsxConfig:
        """The configuration of a checkpoint.

        Raises:
            OSError, ValueError: its labels cannot be read.
        """
        facts = config_of(record)
        facts["id2label"] = {int(number): label for number, label in facts["id2label"].items()}
        del facts["model_type"]
        return cls(**facts)


class PannsxFeatureExtractor(SequenceFeatureExtractor):  # type: ignore[misc]
    """Waveforms as they are: the log-mel is a part of the network.

    Args:
        sampling_rate: of the network, in Hz.
    """

    model_input_names = ("input_values",)

    def __init__(self, sampling_rate: int = 32_000, **options: Any) -> None:
        options.pop("feature_size", None), options.pop("padding_value", None)
        super().__init__(feature_size=1, sampling_rate=sampling_rate, padding_value=0.0, **options)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> PannsxFeatureExtractor:
        """The extractor of a checkpoint, found as by ``PannsxForAudioClassification.from_pretrained``."""
        return cls(sampling_rate=_loaded(name, options).record.sample_rate)

    def __call__(
        self,
        raw_speech: FloatArray | Sequence[FloatArray],
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """``(S,)``, or equally long waveforms, at :attr:`sampling_rate` -> ``input_values`` ``(B, S)``.

        Raises:
            ValueError: another rate, several channels, or waveforms of different lengths, which cannot be
                padded without a change of the result.
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(
                f"the waveform is at {sampling_rate} Hz; {self.sampling_rate} Hz are needed. Convert it, for "
                "example with pannsx.audio.load(file, sample_rate)"
            )
        single = isinstance(raw_speech, np.ndarray) and raw_speech.ndim == 1
        rows = [np.asarray(row, np.float32) for row in ([raw_speech] if single else raw_speech)]
        if any(row.ndim != 1 for row in rows):
            raise ValueError(f"a waveform has the shape {rows[0].shape}; (S,) of one channel is needed")
        if len({len(row) for row in rows}) != 1:
            raise ValueError(
                f"waveforms of {sorted({len(row) for row in rows})} samples; equal lengths are needed, since "
                "padding would change the result. Give them one by one"
            )
        return BatchFeature({"input_values": np.stack(rows)}, tensor_type=return_tensors)


class PannsxForAudioClassification(PreTrainedModel):  # type: ignore[misc]
    """A PANN with transformers' output.

    Args:
        config: its configuration.
        network: the network. It is required, as the configuration lacks the record: use
            :meth:`from_pretrained`.
    """

    config_class = PannsxConfig
    main_input_name = "input_values"
    base_model_prefix = "pann"

    def __init__(self, config: PannsxConfig, network: Pann | None = None) -> None:
        super().__init__(config)
        if network is None:
            raise ValueError("a network is needed; use PannsxForAudioClassification.from_pretrained(name)")
        self.pann = network
        self._loaded_from: LoadedCheckpoint | None = None

    @classmethod
    def from_pretrained(cls, name: str | Path, *args: Any, **options: Any) -> PannsxForAudioClassification:
        """The network of a checkpoint, in evaluation mode.

        Args:
            name: a name of ``pannsx.list_models()``, a folder or file of a checkpoint, or ``owner/name`` on
                the Hub.
            args: none.
            options: ``revision``, ``token`` and ``cache_dir`` as in transformers, ``dtype``; others that have
                no meaning for a checkpoint of pannsx are left aside.

        Raises:
            ValueError, WeightsError: as :func:`pannsx.weights.load`.
        """
        if args:
            raise ValueError(f"{args!r}: settings of a network cannot be changed; its record states them")
        loaded = _loaded(name, options)
        model = cls(PannsxConfig.of(loaded.record), loaded.model)
        model._loaded_from = loaded
        model.eval()
        dtype = options.get("dtype", options.get("torch_dtype"))
        if isinstance(dtype, torch.dtype):
            model.to(dtype)
        return model

    def forward(
        self,
        input_values: Tensor,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """``(B, S)`` waveforms at ``config.sampling_rate`` -> logits ``(B, K)``.

        Args:
            input_values: in [-1, 1).
            labels: ``(B, K)`` targets in [0, 1], for the binary cross-entropy as ``loss``; None: no loss.
            return_dict: False gives a tuple.
            options: others have no meaning.

        Returns:
            ``SequenceClassifierOutput``, whose ``hidden_states`` are one: the ``(B, D)`` embedding.
        """
        del options
        output = self.pann(input_values)
        loss = None
        if labels is not None:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                output.logits, labels.to(output.logits.dtype)
            )
        found = SequenceClassifierOutput(loss=loss, logits=output.logits, hidden_states=(output.embedding,))
        return found if return_dict is not False else found.to_tuple()

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write the files of a repository, which pannsx and transformers load.

        With ``push_to_hub=True``, they are published as by :meth:`push_to_hub`.
        """
        save_pretrained(self._network(), save_directory, labels=self._labels())
        if options.get("push_to_hub"):
            self.push_to_hub(options.get("repo_id") or Path(save_directory).name)

    def push_to_hub(self, repo_id: str, **options: Any) -> HubSource:
        """Publish the model; arguments as for :func:`pannsx.integrations.hub.push_to_hub`."""
        return push_to_hub(self._network(), repo_id, labels=self._labels(), **options)

    def _network(self) -> Any:
        """The network with its record, so that licence and origin are saved with it."""
        return self.pann if self._loaded_from is None else self._loaded_from._replace(model=self.pann)

    def _labels(self) -> list[str]:
        return [self.config.id2label[number] for number in range(self.config.num_labels)]


def _loaded(name: str | Path, options: Mapping[str, Any]) -> LoadedCheckpoint:
    """The checkpoint of a name, with those options of transformers that concern the Hub."""
    name = str(name)
    given = {key: options[key] for key in ("cache_dir", "token") if options.get(key) is not None}
    if kind_of(name) == "repository":  # transformers gives "main" as the revision of anything
        given["revision"] = None if "@" in name else options.get("revision")
    return load(name, **given)


AutoConfig.register("pannsx", PannsxConfig, exist_ok=True)
AutoFeatureExtractor.register(PannsxConfig, PannsxFeatureExtractor, exist_ok=True)
AutoModelForAudioClassification.register(PannsxConfig, PannsxForAudioClassification, exist_ok=True)
