"""`AudioClassifier` and `fit_head`: classes of one's own, learned from labelled clips."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from pannsx.estimator import Parameters, sources_in
from pannsx.inference.pipeline import OpenNetwork
from pannsx.labels import LabelSet
from pannsx.transfer.target_kinds import known_labels, read_labels
from pannsx.types import FloatArray, PathLike, Source

if TYPE_CHECKING:
    import torch

    from pannsx.inference.engine import Precision
    from pannsx.transfer.adapters import Adapt
    from pannsx.transfer.balance import Balance
    from pannsx.transfer.experiment import Fitted
    from pannsx.transfer.method import Method
    from pannsx.weights import LoadedCheckpoint
    from pannsx.weights.record import Checkpoint

_CLIP_S = 10.0
_HALF = 0.5


class AudioClassifier(Parameters):
    """Learns classes of your own from labelled clips: a new head on a pretrained network.

    >>> clips = ["my_sounds/pump/1.wav", "my_sounds/pump/2.wav", "my_sounds/fan/1.wav", "my_sounds/fan/2.wav"]
    >>> classifier = AudioClassifier().fit(clips, ["pump", "pump", "fan", "fan"])
    >>> labels = classifier.predict(["street.mp3"])

    It has the methods of a classifier of scikit-learn, so ``clone``, ``cross_val_score`` and ``GridSearchCV``
    accept it; scikit-learn need not be installed. Clips are paths, arrays, or other sources of
    :meth:`pannsx.AudioTagger.inference`, in a list, or arrays ``(N, S)``. They are decoded when they are
    needed: a data set need not fit into memory.

    Every `fit` and every prediction runs the network on its clips, in a search over settings too. For a
    search that runs it once per clip, use a :class:`pannsx.FeatureExtractor` with a ``cache``, in a
    ``Pipeline`` with a classifier of scikit-learn.

    Args:
        model: as for :class:`pannsx.AudioTagger`, None for the bundled checkpoint, or an open
            ``AudioTagger`` or ``FeatureExtractor``.
        checkpoint, device, cache_dir, allow_unverified: see :class:`pannsx.AudioTagger`.
        precision: of embeddings; training is in float32.
        source_rate: rate of arrays in Hz; None: the model's rate. Files state their own.
        tune: train the whole network with the head, not only the head; slower, for many clips.
        prototypes: no training: a class is the mean direction of its clips' embeddings; for one to five clips
            a class.
        adapt: train only a part of the network with the head, and save a delta, a file with only the changes:
            ``"head"``, ``"norms"`` (batch norms and biases) or ``"low-rank"`` (a change of each large layer
            of this ``rank``). None: train the head, or everything with ``tune``, and save the whole network.
        rank: rank of ``adapt="low-rank"``.
        keep_audioset: also save the classes of the network, such as AudioSet's 527: exactly as they were, or,
            if the network is trained, held to their earlier probabilities. ``predict`` gives yours alone.
        layers: layers of the head, 1 to 3.
        epochs: passes over the clips; None: 100 for a head, 10 for more of the network.
        learning_rate: highest rate; None: 3e-3 for a head, 1e-4 with ``tune``, 1e-3 for a part.
        batch_size: clips a step.
        balance: for rare classes: ``"weights"`` of clips, by the inverse frequency of their classes;
            ``"batches"``, in which all classes are equally frequent; or ``"none"``.
        validation: share of the clips to hold out for choosing the best epoch and stopping early; 0: none.
        patience: with a validation part, stop after this many epochs without improvement.
        augment: if more than the head is trained, random gain and time roll.
        layer_decay: if more than the head is trained, learning rate of a block relative to the next one's.
        freeze_norms: with ``tune``, keep the batch norms unchanged.
        random_state: seed of all random choices.

    Attributes:
        classes_: after :meth:`fit`, ``(K,)`` classes, in the order of probabilities.
        thresholds_: for clips with several labels, ``(K,)`` least probabilities of a class in
            :meth:`predict`: with a validation part, those of the best F1 on it; else 0.5.
    """

    _estimator_type = "classifier"  # for scikit-learn before 1.6

    def __init__(
        self,
        model: str | OpenNetwork | None = None,
        *,
        checkpoint: PathLike | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        cache_dir: PathLike | None = None,
        allow_unverified: bool = False,
        source_rate: int | None = None,
        tune: bool = False,
        prototypes: bool = False,
        adapt: Adapt | None = None,
        rank: int = 2,
        keep_audioset: bool = False,
        layers: int = 1,
        epochs: int | None = None,
        learning_rate: float | None = None,
        batch_size: int = 32,
        balance: Balance = "none",
        validation: float = 0.0,
        patience: int = 5,
        augment: bool = True,
        layer_decay: float = 1.0,
        freeze_norms: bool = False,
        random_state: int = 0,
    ) -> None:
        # By scikit-learn's convention, arguments are stored as given and checked by `fit`.
        self.model = model
        self.checkpoint = checkpoint
        self.device = device
        self.precision = precision
        self.cache_dir = cache_dir
        self.allow_unverified = allow_unverified
        self.source_rate = source_rate
        self.tune = tune
        self.prototypes = prototypes
        self.adapt = adapt
        self.rank = rank
        self.keep_audioset = keep_audioset
        self.layers = layers
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.balance = balance
        self.validation = validation
        self.patience = patience
        self.augment = augment
        self.layer_decay = layer_decay
        self.freeze_norms = freeze_norms
        self.random_state = random_state

    def fit(
        self, X: Source | Sequence[Source], y: Any, groups: Sequence[Any] | None = None
    ) -> AudioClassifier:
        """Learn from ``N`` clips.

        Args:
            X: ``N`` clips.
            y: ``N`` labels, text or numbers; an indicator ``(N, K)`` of 0 and 1, such as a data frame with a
                column for each class; or a list of labels for each clip. NaN in an indicator marks an unknown
                label, which is not trained on.
            groups: ``N`` groups, such as speakers or places; the validation part consists of whole groups.

        Returns:
            itself.

        Raises:
            AudioError: a clip cannot be read.
            TypeError: ``X`` is no list of clips.
            ValueError: unequal numbers of clips, labels and groups, one class only, or an invalid setting.
            WeightsError: the network's weights cannot be obtained or trusted.
        """
        from pannsx.transfer.clips import Clips
        from pannsx.transfer.experiment import divided
        from pannsx.transfer.kept import clip_head_of, extended_labels
        from pannsx.transfer.opening import base_points, open_base
        from pannsx.transfer.thresholds import calibrated
        from pannsx.weights.base import check_base

        sources = sources_in(X)
        classes, targets = read_labels(y)
        known = known_labels(y)
        for name, n in (
            ("labels", len(targets)),
            ("groups", len(sources) if groups is None else len(groups)),
        ):
            if n != len(sources):
                raise ValueError(f"there are {len(sources)} clips and {n} {name}; as many are needed")
        if len(classes.values) < 2 and not classes.multi_label:
            raise ValueError(f"all clips are of the class {classes.names[0]!r}; two classes are needed")
        base, device = open_base(
            self.model, self.checkpoint, self.device, self.cache_dir, allow_unverified=self.allow_unverified
        )
        clip_head_of(base.model)
        if self.keep_audioset:
            extended_labels(base.labels, LabelSet(classes.names))  # finds a name that is taken
        method = self._method(device)
        if method.adapt is not None:
            check_base(base.record, base.origin)
        clips = Clips(self._sounds(sources), base.record.sample_rate)
        learn = method.learner(
            base, clips, targets, clip_s=_CLIP_S, multi_label=classes.multi_label,
            divide=(divide := divided(sources, targets, groups, self.validation)), known=known,
        )  # fmt: skip
        fitted = learn(range(len(sources)), method.seed)
        self._fitted: Fitted = fitted._replace(predict=_no_clips)
        self._classes, self._device, self._learned_by = classes, device, method
        self.classes_ = classes.values
        self._points = calibrated(fitted, divide, targets, classes.names, known)
        self._kept_points = (
            base_points(self.model, base, self.checkpoint)
            if method.keep_audioset and not method.trains_network
            else None
        )
        chosen = {} if self._points is None else self._points.thresholds()
        self.thresholds_ = np.array([chosen.get(name, _HALF) for name in classes.names])
        return self

    def predict_proba(self, X: Source | Sequence[Source]) -> NDArray[np.float64]:
        """``N`` clips -> ``(N, K)`` probabilities, in the order of ``classes_``.

        They are those of :class:`pannsx.AudioTagger`; with one label a clip, divided by their sum.

        Raises:
            AudioError: a clip cannot be read.
            TypeError: ``X`` is no list of clips.
            ValueError: not fitted yet, or no clip.
        """
        logits = self._logits(X).astype(np.float64)
        if self._classes.multi_label:
            return np.asarray(expit(logits))
        # From the logarithm of each probability, so that small ones do not vanish.
        return np.asarray(softmax(-np.logaddexp(0.0, -logits), axis=1))

    def predict(self, X: Source | Sequence[Source]) -> Any:
        """``N`` clips -> labels, in the form of the training labels.

        One label a clip: ``(N,)``, the most probable class. Several: an indicator ``(N, K)`` or a list for
        each clip, with the classes at or above ``thresholds_``.

        Raises:
            AudioError, TypeError, ValueError: as :meth:`predict_proba`.
        """
        return self._labels(self.predict_proba(X))

    def score(self, X: Source | Sequence[Source], y: Any) -> float:
        """Share of clips with exactly their known labels predicted: with one label a clip, the accuracy.

        Raises:
            AudioError, TypeError, ValueError: as :meth:`predict_proba`, or labels other than the classes.
        """
        probabilities = self.predict_proba(X)
        wanted = self._classes.targets(y)
        if len(wanted) != len(probabilities):
            raise ValueError(f"there are {len(probabilities)} clips and {len(wanted)} labels")
        right = self._targets(probabilities) == wanted
        known = known_labels(y)
        return float((right if known is None else right | ~known).all(axis=1).mean())

    def save(self, path: PathLike, *, description: str | None = None) -> Checkpoint:
        """Save network, head and classes, for ``AudioTagger(checkpoint=path)`` and all commands.

        With ``adapt``, the file is a delta with only the changes. Its record names the base network and the
        digest of its file; the file is found or fetched when the checkpoint is loaded.

        Thresholds chosen on a validation part are saved as operating points.

        Args:
            path: file to write, with the extension ``.safetensors``; record and labels go next to it.
            description: one sentence; None: the number of classes.

        Returns:
            The record as written.

        Raises:
            ValueError: another extension, the file name of the base network, or not fitted yet.
            WeightsError: the files cannot be written.
        """
        from dataclasses import replace

        from pannsx.errors import WeightsError
        from pannsx.events.operating_points import OperatingPoints, write_operating_points
        from pannsx.transfer.kept import ExtendedHead, extended_labels, extended_points
        from pannsx.transfer.saving import save
        from pannsx.weights.operating_points import operating_points_path

        base, head = self._network()
        path = Path(path)
        method = self._learned_by
        labels, points = LabelSet(self._classes.names), self._points
        if isinstance(head, ExtendedHead):
            labels = extended_labels(base.labels, labels)
            if self._kept_points is not None:
                own = OperatingPoints({}) if points is None else points
                points = extended_points(own, self._kept_points, self._classes.names)
        record = save(
            path,
            base,
            head,
            labels,
            description=description or f"{len(labels)} classes.",
            as_delta=method.adapt is not None,
            factors=self._fitted.factors,
            trained_on=f"clips of the user ({method.how}, seed {method.seed}).",
        )
        if points is not None:
            try:
                write_operating_points(
                    replace(points, model=record.name), operating_points_path(record, path)
                )
            except OSError as error:
                raise WeightsError(f"cannot write the operating points of {path}: {error}") from error
        return record

    def _method(self, device: str) -> Method:
        from pannsx.transfer.method import Method

        return Method.of(self, seed=self.random_state, device=device)

    def _network(self) -> tuple[LoadedCheckpoint, Any]:
        if not hasattr(self, "classes_") or self._fitted.base is None:
            raise ValueError("the classifier is not fitted yet; call fit first")
        return self._fitted.base, self._fitted.head

    def _logits(self, X: Source | Sequence[Source]) -> FloatArray:
        from pannsx.transfer.clips import Clips
        from pannsx.transfer.embedding import embed
        from pannsx.transfer.head import apply

        base, head = self._network()
        clips = Clips(self._sounds(sources_in(X)), base.record.sample_rate, kept_bytes=0)
        logits = apply(head, embed(base, clips, device=self._device, precision=self.precision))
        return logits[:, -len(self.classes_) :]  # behind the network's own classes

    def _sounds(self, sources: Sequence[Source]) -> list[Any]:
        from pannsx.transfer.clips import Sound

        # Files state their own rate, and so do pairs of a rate and an array.
        return [Sound(each, self.source_rate if hasattr(each, "shape") else None) for each in sources]

    def _targets(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self._classes.multi_label:
            return np.asarray(probabilities >= self.thresholds_, np.bool_)
        return np.asarray(probabilities.argmax(axis=1)[:, None] == np.arange(len(self.classes_)), np.bool_)

    def _labels(self, probabilities: NDArray[np.float64]) -> Any:
        return self._classes.labels(self._targets(probabilities))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __sklearn_tags__(self) -> Any:
        utils: Any = import_module("sklearn.utils")  # installed, as only scikit-learn asks for tags
        return utils.Tags(
            estimator_type="classifier",
            target_tags=utils.TargetTags(required=True, multi_output=True),
            classifier_tags=utils.ClassifierTags(multi_label=True),
            input_tags=utils.InputTags(two_d_array=False, one_d_array=True, string=True),
        )

    def __repr__(self) -> str:
        return self._as_call()


def fit_head(
    sources: Source | Sequence[Source],
    labels: Any,
    *,
    groups: Sequence[Any] | None = None,
    **settings: Any,
) -> AudioClassifier:
    """Learn classes of your own from labelled clips: a new head on a frozen network.

    >>> clips = ["my_sounds/pump/1.wav", "my_sounds/pump/2.wav", "my_sounds/fan/1.wav", "my_sounds/fan/2.wav"]
    >>> classifier = fit_head(clips, ["pump", "pump", "fan", "fan"])
    >>> record = classifier.save("pumps.safetensors")  # for AudioTagger(checkpoint="pumps.safetensors")

    Args:
        sources: ``N`` clips, as in :meth:`AudioClassifier.fit`.
        labels: ``N`` labels, an indicator ``(N, K)``, or a list of labels for each clip.
        groups: ``N`` groups, such as speakers, for the validation part.
        settings: arguments of :class:`AudioClassifier`.

    Returns:
        the fitted classifier.

    Raises:
        AudioError, ValueError, WeightsError: as :meth:`AudioClassifier.fit`.
        TypeError: an unknown setting, or ``sources`` is no list of clips.
    """
    return AudioClassifier(**settings).fit(sources, labels, groups)


def _no_clips(rows: Sequence[int]) -> FloatArray:
    raise RuntimeError("the training clips are not kept")
