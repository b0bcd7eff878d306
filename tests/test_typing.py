"""What type checkers are told of values is true of them; that they are told it, mypy finds by the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_origin

import pytest
import soundfile
import user_program
from small_models import SAME_ALONE, noise

import pannsx
from pannsx import AudioTagger, FeatureExtractor


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger(device="cpu")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    soundfile.write(path, noise(48_000), 32_000, subtype="PCM_16")
    return path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The types that the program has asserted so far, each held against its value."""
    types: list[Any] = []

    def assert_type(value: object, of: Any) -> None:
        assert isinstance(value, get_origin(of) or of)
        types.append(of)

    monkeypatch.setattr(user_program, "assert_type", assert_type)
    return types


def test_results_are_of_the_types_that_editors_show(tagger: AudioTagger, path: Path, seen: list[Any]) -> None:
    user_program.tags(tagger, path)
    user_program.embeddings(FeatureExtractor(tagger), path)
    user_program.streams(tagger)
    user_program.rooms(path)
    assert len(seen) == 24


def test_every_type_of_the_union_is_a_source(tagger: AudioTagger, path: Path) -> None:
    sources = user_program.sources(path)
    expected = tagger.inference(path).clipwise
    batch = tagger.inference(sources, framewise=False)
    assert len(batch) == len(sources)
    assert batch.clipwise == pytest.approx(expected[None].repeat(len(sources), 0), abs=SAME_ALONE)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(pannsx.__file__).parent / "py.typed").is_file()
