"""A program of a user's, as ``mypy --strict`` and editors see it.

mypy checks each ``assert_type`` (``pyproject.toml`` names this module) and reports an ``ignore`` that ignores
nothing, which is a mistake that would pass. ``test_typing.py`` holds the same types against real values.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import assert_type

import pannsx
from pannsx import AudioTagger, BatchResult, FeatureExtractor, StreamTagger, TaggingResult, create_model
from pannsx.audio import Audio, AudioInfo
from pannsx.events import EventList
from pannsx.models import Pann
from pannsx.results import FrameEmbeddings, Tag
from pannsx.streaming import StreamUpdate
from pannsx.types import Source

Floats = npt.NDArray[np.float32]


def sources(path: Path) -> list[Source]:
    """Every kind of source, of a file of 16 bits and of its samples."""
    waveform = pannsx.audio.load(path).waveform
    data = path.read_bytes()
    return [
        path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), waveform,
        (waveform * 32768).astype(np.int16), waveform.astype(np.float64), torch.from_numpy(waveform),
    ]  # fmt: skip


def tags(tagger: AudioTagger, path: Path) -> None:
    """One source gives a result, several give a batch."""
    with path.open("rb") as file:
        assert_type(file, io.BufferedReader)
        assert_type(tagger.inference(file), TaggingResult)
    result = tagger.inference(str(path), framewise=True, hop_s=0.16, start_s=0.1, duration_s=1)
    assert_type(result, TaggingResult)
    assert_type(result.clipwise, Floats)
    assert_type(result.top(3), list[Tag])
    assert_type(result.events(threshold=0.5), EventList)
    waveform: Floats = np.zeros(1000, np.float32)
    assert_type(tagger.inference(waveform, 8000), TaggingResult)
    assert_type(tagger.inference(torch.zeros(1000), source_rate=8000), TaggingResult)
    paths: list[Path] = [path, path]
    assert_type(tagger.inference(paths), BatchResult)
    assert_type(tagger.inference([str(path)], sample_rate=None), BatchResult)
    assert_type(tagger.inference((waveform, waveform))[0], TaggingResult)
    batch = tagger.inference([path, waveform, io.BytesIO(path.read_bytes())])
    assert_type(batch, BatchResult)
    assert_type(tagger.iter_inference(path for path in paths), Iterator[TaggingResult])


def embeddings(extractor: FeatureExtractor, path: Path) -> None:
    """One source gives the frames of one, several give a list."""
    assert_type(extractor.extract(path, start_s=0.1, duration_s=0.5), Floats)
    assert_type(extractor.extract([path, path]), Floats)
    assert_type(extractor.extract_frames(path), FrameEmbeddings)
    assert_type(extractor.extract_frames([path]), list[FrameEmbeddings])


def streams(tagger: AudioTagger) -> None:
    """Blocks give updates."""
    stream = StreamTagger(tagger, source_rate=8000)
    assert_type(stream.push(np.zeros(8000, np.float32)), list[StreamUpdate])
    assert_type(stream.close(), list[StreamUpdate])


def rooms(path: Path) -> None:
    """``import pannsx`` is enough."""
    assert_type(pannsx.audio.load(path, 16_000), Audio)
    assert_type(pannsx.audio.info(path), AudioInfo)
    assert_type(pannsx.list_models(), list[str])
    assert_type(create_model("MobileNetV1_distilled", pretrained=True, n_classes=3), Pann)
    assert_type(pannsx.__version__, str)


if TYPE_CHECKING:

    def mistakes(tagger: AudioTagger, text: io.StringIO, file: BinaryIO) -> None:
        """What a type checker says at once."""
        tagger.inference(12)  # type: ignore[call-overload]
        tagger.inference(text)  # type: ignore[call-overload]
        tagger.inference(file, hop=0.1)  # type: ignore[call-overload]
        tagger.stream([file])  # type: ignore[attr-defined]
        pannsx.audio.load(None)  # type: ignore[arg-type]
        pannsx.AudioTager()  # type: ignore[attr-defined]
        pannsx.weights.lode()  # type: ignore[attr-defined]
        from pannsx import Tagger  # type: ignore[attr-defined]  # noqa: F401
