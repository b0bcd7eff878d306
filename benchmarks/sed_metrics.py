"""Scores of sound event detection, by the reference tools sed_scores_eval and sed_eval.

They need old versions of other packages: install the extra ``pannsx[sed]`` in a separate environment.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.events import Event

PSDS = {
    "PSDS1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "cttc_threshold": None, "alpha_ct": 0.0},
    "PSDS2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5},
}
"""The two scenarios of DCASE task 4 (Ebbers et al. 2022, arXiv:2201.13148)."""
_ALPHA_ST, _MAX_EFPR = 1.0, 100.0

COLLAR_S = 0.2
OFFSET_SHARE = 0.2  # of an event's length, if that exceeds the collar
SEGMENT_S = 1.0


class Frames(NamedTuple):
    """``(T', K)`` scores of a recording and the ``(T' + 1,)`` edges of its frames."""

    scores: npt.NDArray[np.float32]
    edges_s: npt.NDArray[np.float64]


def psds(
    frames: Mapping[str, Frames],
    truth: Mapping[str, Sequence[Event]],
    durations_s: Mapping[str, float],
    classes: Sequence[str],
) -> dict[str, float]:
    """PSDS1 and PSDS2 of scores by recording: over all thresholds."""
    tool = _tool("sed_scores_eval.intersection_based")
    scores = {name: _score_frame(each, classes) for name, each in frames.items()}
    return {
        name: float(
            tool.psds(
                scores=scores,
                ground_truth=_ground_truth(truth),
                audio_durations=dict(durations_s),
                alpha_st=_ALPHA_ST,
                max_efpr=_MAX_EFPR,
                unit_of_time="hour",
                num_jobs=1,
                **settings,
            )[0]
        )
        for name, settings in PSDS.items()
    }


def event_f1(
    found: Mapping[str, Sequence[Event]],
    truth: Mapping[str, Sequence[Event]],
    durations_s: Mapping[str, float],
    classes: Sequence[str],
    *,
    collar_s: float = COLLAR_S,
) -> float:
    """Mean over classes of F1, for events with onset and offset correct within the collar."""
    tool = _tool("sed_scores_eval.collar_based")
    scores = {name: _score_frame(_on_off(found[name], durations_s[name], classes), classes) for name in truth}
    f1, *_ = tool.fscore(
        scores=scores,
        ground_truth=_ground_truth(truth),
        threshold=dict.fromkeys(classes, 0.5),
        onset_collar=collar_s,
        offset_collar=collar_s,
        offset_collar_rate=OFFSET_SHARE,
        num_jobs=1,
    )
    return float(f1["macro_average"])


def segment_f1(
    found: Mapping[str, Sequence[Event]],
    truth: Mapping[str, Sequence[Event]],
    durations_s: Mapping[str, float],
    classes: Sequence[str],
) -> float:
    """Mean over classes of F1, for the presence of a class in one-second segments.

    sed_eval's own mean omits a class without detections; here its F1 is 0.
    """
    metrics = _tool("sed_eval.sound_event").SegmentBasedMetrics(
        event_label_list=list(classes), time_resolution=SEGMENT_S
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in truth:
            metrics.evaluate(
                reference_event_list=_listed(truth[name], name),
                estimated_event_list=_listed(found[name], name),
                evaluated_length_seconds=durations_s[name],
            )
        by_class = metrics.results_class_wise_metrics()
    return float(np.mean(np.nan_to_num([by_class[name]["f_measure"]["f_measure"] for name in classes])))


def _tool(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some warn about their age at import
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise ImportError(f'{module} is needed: pip install "pannsx[sed]" ({error})') from error


def _score_frame(frames: Frames, classes: Sequence[str]) -> Any:
    create = _tool("sed_scores_eval.base_modules.scores").create_score_dataframe
    return create(frames.scores, timestamps=frames.edges_s, event_classes=list(classes))


def _on_off(events: Sequence[Event], duration_s: float, classes: Sequence[str]) -> Frames:
    """Events as scores of 0 and 1, in frames with edges at the events' onsets and offsets."""
    times = {0.0, duration_s} | {time for event in events for time in (event.onset_s, event.offset_s)}
    edges = np.array(sorted(times))
    scores = np.zeros((len(edges) - 1, len(classes)), np.float32)
    for event in events:
        first, last = np.searchsorted(edges, (event.onset_s, event.offset_s))
        scores[first:last, classes.index(event.label)] = 1.0
    return Frames(scores, edges)


def _ground_truth(truth: Mapping[str, Sequence[Event]]) -> dict[str, list[tuple[float, float, str]]]:
    return {
        name: [(event.onset_s, event.offset_s, event.label) for event in events]
        for name, events in truth.items()
    }


def _listed(events: Sequence[Event], name: str) -> Any:
    container = _tool("dcase_util.containers").MetaDataContainer
    return container(
        [
            {"file": name, "event_label": each.label, "onset": each.onset_s, "offset": each.offset_s}
            for each in events
        ]
    )
