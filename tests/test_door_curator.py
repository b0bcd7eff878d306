"""NeMo Curator's own stage runs the adapter: from YAML, over files, to events of its post-processing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_files import write_wav
from docs_pages import ROOT, file_of
from parties import party
from small_models import noise

from pannsx import AudioTagger
from pannsx.integrations.curator import SEDAdapter, SEDResult

pytestmark = pytest.mark.filterwarnings("ignore")  # Curator and its libraries warn of themselves

party("nemo_curator", "doors")
protocol: Any = party("nemo_curator.models.sed.base", "doors")
sed: Any = party("nemo_curator.stages.audio.inference.sed.stage", "doors")
events: Any = party("nemo_curator.stages.audio.postprocessing.sed_postprocessing", "doors")
tasks: Any = party("nemo_curator.tasks", "doors")
omegaconf: Any = party("omegaconf", "doors")
hydra: Any = party("hydra.utils", "doors")

FLOAT16 = 2**-11 + 2e-6
"""Of a probability: half a step of float16 below 1, and float32 sums of a batch of another size."""

PAGE = ROOT / "docs" / "how-to" / "engines.md"


def stage_of(out: Path) -> Any:
    """The stage as the how-to has it in YAML."""
    settings = omegaconf.OmegaConf.create(file_of(PAGE, "sed.yaml"))
    return hydra.instantiate({**settings, "output_dir": str(out)})


def task_of(path: str) -> Any:
    return tasks.AudioTask(dataset_name="test", data={"audio_filepath": path})


def test_it_is_of_the_protocol() -> None:
    assert isinstance(SEDAdapter(), protocol.SEDAdapter)
    assert list(SEDResult.__dataclass_fields__) == list(protocol.SEDResult.__dataclass_fields__)


def test_one_line_of_yaml_swaps_the_network(tmp_path: Path) -> None:
    paths = [write_wav(tmp_path / f"{i}.wav", s, seed=i) for i, s in enumerate((2.0, 0.2, 11.0))]
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    batch = [task_of(path) for path in (paths[0], str(tmp_path / "bad.wav"), *paths[1:])]
    stage = stage_of(tmp_path / "out")
    stage.setup_on_node()
    stage.setup()
    found = stage.process_batch(batch)
    stage.teardown()
    assert found[1].data["_skipme"] == "audio_load_error"
    tagger = AudioTagger()
    for task, path in zip([found[0], *found[2:]], paths, strict=True):
        alone = tagger.inference(path).framewise
        assert alone is not None
        n = task.data["sed_valid_frames"]
        assert task.data["sed_fps"] == pytest.approx(1 / tagger.hop_s)
        np.testing.assert_allclose(task.data["_sed_framewise"][: len(alone)], alone, rtol=0, atol=FLOAT16)
        with np.load(task.data["npz_filepath"]) as saved:
            assert len(saved["framewise"]) == saved["valid_frames"] == n
            assert saved["original_num_samples"] == round(32_000 * tagger.inference(path).duration_s)


def test_events_of_curators_post_processing(tmp_path: Path) -> None:
    """Its columns are AudioSet's by number: the events of Speech are where the column of Speech is high."""
    stage = stage_of(tmp_path / "out")
    stage.setup()
    task = task_of(write_wav(tmp_path / "a.wav", 5.0))
    stage.process_batch([task])
    frames = np.asarray(task.data["_sed_framewise"], np.float32)
    column = AudioTagger().labels.index("Speech")
    threshold = float(np.median(frames[:, column]))
    events.SEDPostprocessingStage(threshold=threshold, min_duration_sec=0.0).process(task)
    speech = [each for each in task.data["sed_events"] if each["label"] == "speech"]
    assert speech
    covered = np.zeros(len(frames), bool)
    for each in speech:
        covered[round(each["start_time"] * 3.125) : round(each["end_time"] * 3.125)] = True
    assert (covered == (frames[:, column] >= threshold)).all()


def test_a_waveform_that_cannot_be_heard(tmp_path: Path) -> None:
    stage = stage_of(tmp_path / "out")
    stage.waveform_key, stage.save_npz = "waveform", False
    stage.setup()
    bad = noise(32_000)
    bad[5] = np.inf
    batch = [
        tasks.AudioTask(dataset_name="test", data={"waveform": each[None], "sample_rate": 32_000})
        for each in (noise(32_000), bad)
    ]
    stage.process_batch(batch)
    assert [task.data["sed_valid_frames"] for task in batch] == [4, 0]
    post = events.SEDPostprocessingStage()
    assert post.process(batch[1]).data["sed_events"] == []
