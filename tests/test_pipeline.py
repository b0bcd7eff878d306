"""Windows, batches and joins with a real network: each source gets what it would get alone."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_models import SAME_ALONE, noise, seeded_checkpoint

from pannsx.errors import AudioError
from pannsx.inference import device
from pannsx.inference.cpu import cores
from pannsx.inference.device import choose_device
from pannsx.inference.engine import Engine, Wanted
from pannsx.inference.pipeline import Pipeline, WindowSettings
from pannsx.inference.sources import as_sources


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(seeded_checkpoint("Cnn6"), device="cpu")


def analyse(pipeline: Pipeline, sources, **options):
    return list(pipeline.analyse(sources, framewise=True, frame_embeddings=True, **options))


def assert_same(a, b) -> None:
    assert a.duration_s == b.duration_s
    for x, y in zip(a.answer, b.answer, strict=True):
        assert x.shape == y.shape
        scale = max(1.0, float(np.abs(y).max()))
        assert np.abs(x - y).max() <= SAME_ALONE * scale


def test_the_kernel_computes_the_log_mel(pipeline):
    """Not a silent fall-back: where the torch module would compute it, it fails."""
    module = pipeline.engine.model.stem.log_mel
    handle = module.register_forward_pre_hook(lambda *_: pytest.fail("the torch module was asked"))
    try:
        pipeline.engine.run([noise(32000)])
        with pytest.raises(pytest.fail.Exception):
            pipeline.engine.model(torch.zeros(1, 32000))
    finally:
        handle.remove()
    assert pipeline.engine._kernel._function.nopython_signatures


def test_engine_equals_the_plain_model(pipeline):
    waveform = noise(40000)
    answer = pipeline.engine.run([waveform])[0]
    with torch.inference_mode():
        output = pipeline.engine.model(torch.from_numpy(waveform)[None])
    np.testing.assert_allclose(answer.clipwise, output.logits.sigmoid()[0].numpy(), atol=SAME_ALONE)
    np.testing.assert_allclose(answer.framewise, output.frame_logits.sigmoid()[0].numpy(), atol=SAME_ALONE)


def test_a_ragged_batch_gives_each_what_it_gets_alone(pipeline):
    lengths = [32000, 1, 500, 32000, 100_000, 4799, 4801, 330_000, 700_001, 32000, 319_999]
    clips = [noise(n, i) for i, n in enumerate(lengths)]
    together = analyse(pipeline, clips)
    assert len(together) == len(clips)
    for clip, result in zip(clips, together, strict=True):
        assert_same(result, analyse(pipeline, [clip])[0])


def test_order_is_kept_and_answers_come_early():
    pipeline = Pipeline(seeded_checkpoint(), device="cpu", batch_size=4)
    seen = []

    def sources():
        for i in range(9):
            seen.append(i)
            yield noise(32000, i)

    class Lazy(list):
        def __iter__(self):
            return sources()

        def __len__(self):
            return 9

    results = pipeline.analyse(Lazy())
    next(results)
    assert len(seen) < 9, "the first answer waited for the last source"


@pytest.mark.parametrize("overlap_s", [0.0, 2.5])
def test_long_audio_is_its_windows(overlap_s):
    settings = WindowSettings(window_s=2.0, overlap_s=overlap_s / 2.5)
    pipeline = Pipeline(seeded_checkpoint("Cnn6"), device="cpu", settings=settings)
    waveform = noise(32000 * 7 + 1234)
    whole = analyse(pipeline, [waveform])[0].answer
    assert len(whole.framewise) == pipeline.engine.network.n_frames(len(waveform))
    assert len(whole.frame_embeddings) == len(whole.framewise)
    first = pipeline.engine.run([waveform[:64000]], Wanted(framewise=True))[0]
    n_own = len(first.framewise) if overlap_s == 0 else len(first.framewise) // 2
    np.testing.assert_allclose(whole.framewise[:n_own], first.framewise[:n_own], atol=SAME_ALONE)


def test_frames_far_from_borders_do_not_depend_on_the_windows(pipeline):
    waveform = noise(32000 * 25)
    whole = analyse(pipeline, [waveform])[0].answer.framewise
    advance = pipeline.plan.advance_frames
    start = advance * pipeline.plan.hop_samples
    second = pipeline.engine.run([waveform[start : start + 320_000]])[0].framewise
    n_own = advance // 2  # the third window is drawn back and answers for some of the rest
    np.testing.assert_allclose(whole[advance : advance + n_own], second[:n_own], atol=SAME_ALONE)


def test_combinations():
    waveform = noise(32000 * 5)
    answers = {}
    for how in ("mean", "max"):
        settings = WindowSettings(window_s=1.0, combine_clipwise=how, combine_embedding=how)
        answers[how] = analyse(Pipeline(seeded_checkpoint(), device="cpu", settings=settings), [waveform])[
            0
        ].answer
    assert (answers["max"].clipwise >= answers["mean"].clipwise - 1e-7).all()
    assert (answers["max"].embedding >= answers["mean"].embedding - 1e-6).all()
    assert (answers["max"].clipwise > answers["mean"].clipwise).any()


@pytest.mark.slow
def test_an_impulse_at_minute_19_is_found_within_one_frame():
    """LeeNet11, the smallest model: 120 windows of silence with one click, times must not drift."""
    pipeline = Pipeline(seeded_checkpoint("LeeNet11"), device="cpu")
    rate, at_s = pipeline.sample_rate, 19 * 60 + 0.123
    waveform = np.zeros(rate * 60 * 20, np.float32)
    waveform[round(at_s * rate)] = 1.0
    frames = next(pipeline.analyse([waveform], framewise=True)).answer.framewise
    # Every window of silence gives the same frames, edges and all; only the last is of another length.
    advance = pipeline.plan.advance_frames
    n_whole = (len(frames) - 2 * advance) // advance * advance
    silence = np.tile(frames[:advance], (n_whole // advance, 1))
    change = np.abs(frames[:n_whole] - silence).max(axis=1)
    assert change.max() > 1e-3
    # Local pooling shows the click to its frame and to both neighbours: its place is their centre.
    around = np.arange(int(change.argmax()) - 3, int(change.argmax()) + 4)
    centre = np.average(around, weights=change[around])
    time_s = pipeline.grid.offset_s + pipeline.grid.hop_s * centre
    assert abs(time_s - at_s) <= pipeline.grid.hop_s


def test_threads_share_a_pipeline(pipeline):
    clips = [noise(32000 + 1000 * i, i) for i in range(4)]
    alone = [analyse(pipeline, [clip])[0] for clip in clips]
    together = [None] * len(clips)

    def work(i: int) -> None:
        together[i] = analyse(pipeline, [clips[i]])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(together, alone, strict=True):
        assert_same(a, b)


def test_pickled_and_unpickled(pipeline):
    waveform = noise(20000)
    copy = pickle.loads(pickle.dumps(pipeline))
    assert_same(analyse(copy, [waveform])[0], analyse(pipeline, [waveform])[0])


def _clipwise(pipeline: Pipeline, waveform: np.ndarray, results) -> None:
    results.put(next(pipeline.analyse([waveform])).answer.clipwise)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_workers(pipeline, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    waveform = noise(20000)
    expected = next(pipeline.analyse([waveform])).answer.clipwise  # torch's threads have run before the fork
    context = multiprocessing.get_context(method)
    results = context.Queue()
    worker = context.Process(target=_clipwise, args=(pipeline, waveform, results))
    worker.start()
    try:
        computed = results.get(timeout=60)
    finally:
        worker.join(10)
        worker.kill()
    np.testing.assert_allclose(computed, expected, atol=SAME_ALONE)
    # Torch has moved the module's weights to memory that processes share: the prepared layers use none of it.
    again = next(pipeline.analyse([waveform])).answer.clipwise
    np.testing.assert_allclose(again, expected, rtol=0, atol=SAME_ALONE)


def test_reduced_precision_is_close_and_float32_is_default(pipeline):
    waveform = noise(64000)
    exact = pipeline.engine.run([waveform])[0].clipwise
    reduced = (
        Engine(seeded_checkpoint().model, device="cpu", precision="bfloat16", low_memory=True)
        .run([waveform])[0]
        .clipwise
    )
    assert exact.dtype == reduced.dtype == np.float32
    assert 0 < np.abs(exact - reduced).max() < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "meta"}, "not supported"),
        ({"device": "cpu", "precision": "float64"}, "precision is 'float64'"),
        ({"device": "cpu", "precision": "float16"}, "needs an accelerator"),
        ({"device": "cpu", "batch_size": 0}, "batch_size is 0"),
    ],
)
def test_impossible_engines(options, message):
    with pytest.raises(ValueError, match=message):
        Engine(seeded_checkpoint().model, **options)


def test_an_absent_device_is_an_error_not_a_silent_cpu():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="sees 0 CUDA device"):
        choose_device("cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(ValueError, match="'mps' was asked for"):
            choose_device("mps")


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("versions", "asked"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        ("cuda: Optional[str] = '12.6'\nhip: Optional[str] = None\n", True),
        ("cuda = None\nhip = '6.4'\n", True),
        ("__version__ = '9.9'\n", True),
    ],
)
def test_torch_is_asked_for_cuda_only_if_it_was_built_for_it(monkeypatch, tmp_path, versions, asked):
    (tmp_path / "version.py").write_text(versions, "utf-8")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(device, "find_spec", lambda _: found)
    assert device._is_gpu_build() is asked


def test_threads_without_torch(monkeypatch):
    """The number that torch would take: the environment's, or one for each core."""
    monkeypatch.setitem(sys.modules, "torch", None)
    for variable, value in (("OMP_NUM_THREADS", "3,2"), ("MKL_NUM_THREADS", "4"), ("", "")):
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        if variable:
            monkeypatch.setenv(variable, value)
        cores._default.cache_clear()
        expected = range(1, (os.cpu_count() or 1) + 1) if not variable else [int(value[0])]
        assert cores.n_threads() in expected
    cores._default.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(pipeline):
    waveform = noise(64000)
    torch.backends.cuda.matmul.allow_tf32 = True
    on_gpu = Engine(seeded_checkpoint().model, device="cuda").run([waveform])[0]
    assert torch.backends.cuda.matmul.allow_tf32
    np.testing.assert_allclose(on_gpu.clipwise, pipeline.engine.run([waveform])[0].clipwise, atol=2e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_on_cuda_is_close(pipeline, precision):
    waveforms = [noise(64000, i) for i in range(5)]
    engine = Engine(seeded_checkpoint().model, device="cuda", precision=precision, batch_size=2)
    for reduced, exact in zip(engine.run(waveforms), pipeline.engine.run(waveforms), strict=True):
        assert reduced.clipwise.dtype == np.float32
        np.testing.assert_allclose(reduced.clipwise, exact.clipwise, atol=5e-3)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_ragged_batch_on_cuda(pipeline):
    waveforms = [noise(n, n) for n in (1, 40_000, 32_000, 40_000)]
    engine = Engine(seeded_checkpoint().model, device="cuda")
    for found, exact in zip(engine.run(waveforms), pipeline.engine.run(waveforms), strict=True):
        np.testing.assert_allclose(found.clipwise, exact.clipwise, atol=2e-5)
        np.testing.assert_allclose(found.framewise, exact.framewise, atol=2e-5)


class TestSources:
    """What counts as one source, as several, and as a mistake."""

    def test_one_and_several(self):
        x = np.zeros(100, np.float32)
        assert as_sources(x)[1] is False
        assert as_sources("a.wav") == (["a.wav"], False)
        assert as_sources([x, "a.wav"])[1] is True
        rows, several = as_sources(np.zeros((3, 100), np.float32))
        assert several
        assert len(rows) == 3
        assert as_sources(torch.zeros(2, 50))[1] is True

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (np.zeros((32000, 2), np.float32), r"\(samples, channels\).*\[array\].*mean\(axis=1\)"),
            ([], "empty"),
            ([0.1, 0.2], "list of numbers"),
            (np.zeros((0, 100), np.float32), "at least one"),
        ],
    )
    def test_mistaken(self, source, message):
        with pytest.raises(AudioError, match=message):
            as_sources(source)


def test_a_bad_source_in_a_batch_is_named(pipeline, tmp_path):
    with pytest.raises(AudioError, match=r"source 1 \('.*missing\.wav'\)"):
        list(pipeline.analyse([noise(1000), os.fspath(tmp_path / "missing.wav")]))


def test_sources_before_a_bad_one_are_answered(pipeline, tmp_path):
    """Lengths differ, so that none of them would have filled a batch by then."""
    clips = [noise(32000 + 1000 * i, i) for i in range(3)]
    answered = []
    with pytest.raises(AudioError, match=r"source 3 \('.*missing\.wav'\)"):
        answered.extend(pipeline.analyse([*clips, tmp_path / "missing.wav", noise(32000)]))
    assert [analysis.duration_s for analysis in answered] == [len(clip) / 32000 for clip in clips]


def test_unknown_combination():
    with pytest.raises(ValueError, match="combine_clipwise is 'median'"):
        WindowSettings(combine_clipwise="median")


def test_answers_keep_nothing_but_themselves_alive(pipeline):
    """A view would hold the arrays of a whole batch, for as long as a result is kept."""
    answer = analyse(pipeline, [noise(64_000)])[0].answer
    assert all(array.base is None or array.base.nbytes <= array.nbytes for array in answer)
