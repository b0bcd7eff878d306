"""A checkpoint of few weights on the published log-mel, for tests of what runs networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from seeded_models import FRONT_END

from pannsx import save
from pannsx.models import ARCHITECTURES
from pannsx.models.settings import CnnSettings
from pannsx.models.zoo import build

CHANNELS = 16
EMBEDDING = 24
LABELS = ("Dog", "Rain", "Siren")


@contextmanager
def narrow_checkpoint(folder: Path) -> Iterator[Path]:
    """The file of a Cnn10 with 16 channels for three classes; the architecture is narrow meanwhile."""
    trunk = CnnSettings((CHANNELS,) * 4, (2, 2, 2, 2))
    narrow = replace(ARCHITECTURES["Cnn10"], trunk=trunk, embedding=EMBEDDING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "Cnn10", narrow)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = build("Cnn10", FRONT_END.sample_rate, FRONT_END, len(LABELS))
        path = folder / "narrow.safetensors"
        save(model, path, labels=LABELS)
        yield path


@pytest.fixture(scope="module")
def narrow_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of :func:`narrow_checkpoint`, for the tests of a module."""
    with narrow_checkpoint(tmp_path_factory.mktemp("narrow")) as path:
        yield path
