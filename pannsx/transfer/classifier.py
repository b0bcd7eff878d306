"""`AudioClassifier` and `fit_head`: classes of one's own, learned from labelled clips."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from pannsx.inference.pipeline import OpenNetwork
from pannsx.labels import LabelSet
from pannsx.transfer.source_lists import divided, listed_sources
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


class AudioClassifier:
    """Learns classes of your own from labelled clips: a new head on a pretrained network.

    >>> clips = ["my_sounds/pump/1.wav", "my_sounds/pump/2.wav", "my_sounds/fan/1.wav", "my_sounds/fan/2.wav"]
    >>> classifier = AudioClassifier().fit(clips, ["pump", "pump", "fan", "fan"])
    >>> labels = classifier.predict(["street.mp3"])

    It has the methods of a classifier of scikit-learn, whose ``clone``, ``cross_val_score`` and
    ``GridSearchCV`` take it; scikit-learn need not be installed. Clips are paths, arrays, or other sources of
    :meth:`pannsx.AudioTagger.inference`, in a list, or arrays ``(N, S)``. They are decoded when they are
    needed: a data set need not fit into memory.

    Every `fit` and every prediction runs the network on its clips, in a search over settings as well. To run
    it once for each clip, search with a :class:`pannsx.FeatureExtractor` that has a ``cache``, in a
    ``Pipeline`` with a classifier of scikit-learn.

    Args:
        model: as for :class:`pannsx.AudioTagger`, None for the bundled checkpoint, or an open
            ``AudioTagger`` or ``FeatureExtractor``.
        checkpoint, device, cache_dir, allow_unverified: see :class:`pannsx.AudioTagger`.
        precision: of embeddings; training is in float32.
        source_rate: rate of arrays in Hz; None: the model's rate. Files state their own.
        tune: train the whole network with the head, not only the head; slower, for many clips.
        prototypes: do not train: a class is the mean direction of its clips' embeddings; for one to five
            clips a class.
        adapt: train only a part of the network with the head, and save a delta, a file of what differs from
            the network: ``"head"``, ``"norms"`` (batch norms and biases) or ``"low-rank"`` (changes of this
            ``rank`` of the large layers). None: the head, or all with ``tune``, saved whole.
        rank: of ``adapt="low-rank"``.
        keep_audioset: what is saved also has the classes of the network, such as AudioSet's 527: exactly as
            they were, or, where the network is trained, trained to say what they said before. ``predict`` is
            of yours alone.
        layers: layers of the head, 1 to 3.
        epochs: passes over the clips; None: 100 for a head, 10 for more of the network.
        learning_rate: highest rate; None: 3e-3 for a head, 1e-4 with ``tune``, 1e-3 for a part.
        batch_size: clips a step.
        balance: for rare classes: ``"weights"`` of clips, by the inverse frequency of their classes;
            ``"batches"``, in which all classes are equally frequent; or ``"none"``.
        validation: share of the clips that is not trained on, but chooses the best epoch and ends training
            early; 0: none.
        patience: epochs without improvement after which training ends.
        augment: random gain and roll in time, where more than the head is trained.
        layer_decay: there, share of the learning rate from one block to the block before it.
        freeze_norms: with ``tune``, batch norms stay as they are.
        random_state: seed of all random choices.

    Attributes:
        classes_: ``(K,)`` classes, in the order of probabilities; there after :meth:`fit`.
        thresholds_: ``(K,)`` probabilities from which :meth:`predict` gives a class where a clip may have
            several: with a validation part, those of the best F1 on it; else a half.
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
        # As scikit-learn wants it: kept as given, and looked at by `fit`.
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
            y: ``N`` labels, of text or numbers; an indicator ``(N, K)`` of 0 and 1, such as a data frame
                whose columns are the classes; or a list of labels for each clip. NaN in an indicator: it is
                not known whether the clip has the label, so it is not trained on.
            groups: ``N`` groups, such as speakers or places: those of the validation part are not trained on.

        Returns:
            itself.

        Raises:
            AudioError: a clip cannot be read.
            ValueError: other numbers of clips, labels and groups, one class only, or a wrong setting.
            WeightsError: the network's weights cannot be obtained or trusted.
        """
        from pannsx.transfer.clips import Clips
        from pannsx.transfer.kept import clip_head_of, extended_labels
        from pannsx.transfer.opening import base_points, open_base
        from pannsx.transfer.thresholds import calibrated
        from pannsx.weights.base import check_base

        sources = listed_sources(X)
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
        """``N`` clips -> ``(N, K)`` probabilities, by ``classes_``.

        With one label a clip, they sum to 1: those of :class:`pannsx.AudioTagger`, divided by their sum. Else
        they are those of the tagger.

        Raises:
            AudioError: a clip cannot be read.
            ValueError: nothing was learned yet.
        """
        logits = self._logits(X).astype(np.float64)
        if self._classes.multi_label:
            return np.asarray(expit(logits))
        # The logarithm of each probability, so that none vanishes where all are small.
        return np.asarray(softmax(-np.logaddexp(0.0, -logits), axis=1))

    def predict(self, X: Source | Sequence[Source]) -> Any:
        """``N`` clips -> labels in the form of those that were learned.

        One label a clip: ``(N,)``, the most probable class. Several: an indicator ``(N, K)`` or a list for
        each clip, of the classes whose probability reaches ``thresholds_``.

        Raises:
            AudioError, ValueError: as :meth:`predict_proba`.
        """
        return self._labels(self.predict_proba(X))

    def score(self, X: Source | Sequence[Source], y: Any) -> float:
        """Share of clips that are given exactly their known labels: with one label a clip, the accuracy.

        Raises:
            AudioError, ValueError: as :meth:`predict_proba`, or labels that are not of the classes.
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

        With ``adapt``, the file has only what differs from the network that was trained on; its record names
        that network, with its digest, and it is found or fetched when the checkpoint is loaded.

        Thresholds chosen on a validation part are saved as operating points.

        Args:
            path: file to write, with the extension ``.safetensors``; its record and labels stand beside it.
            description: one sentence; None: the number of classes.

        Returns:
            The record as written.

        Raises:
            ValueError: another extension, the file name of the network, or nothing was learned yet.
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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments, by name."""
        return {name: getattr(self, name) for name in _parameters()}

    def set_params(self, **params: Any) -> AudioClassifier:
        """Set arguments by name.

        Returns:
            itself.

        Raises:
            ValueError: an unknown name.
        """
        from pannsx.errors import did_you_mean

        for name, value in params.items():
            if name not in _parameters():
                raise ValueError(f"there is no parameter {name!r}{did_you_mean(name, _parameters())}")
            setattr(self, name, value)
        return self

    def _method(self, device: str) -> Method:
        from pannsx.transfer.method import Method

        return Method(
            tune=self.tune,
            prototypes=self.prototypes,
            adapt=self.adapt,
            rank=self.rank,
            keep_audioset=self.keep_audioset,
            layers=self.layers,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            augment=self.augment,
            balance=self.balance,
            validation=self.validation,
            patience=self.patience,
            layer_decay=self.layer_decay,
            freeze_norms=self.freeze_norms,
            seed=self.random_state,
            device=device,
            precision=self.precision,
        )

    def _network(self) -> tuple[LoadedCheckpoint, Any]:
        if not hasattr(self, "classes_") or self._fitted.base is None:
            raise ValueError("the classifier has learned nothing yet; call fit first")
        return self._fitted.base, self._fitted.head

    def _logits(self, X: Source | Sequence[Source]) -> FloatArray:
        from pannsx.transfer.clips import Clips
        from pannsx.transfer.embedding import embed
        from pannsx.transfer.head import apply

        base, head = self._network()
        clips = Clips(self._sounds(listed_sources(X)), base.record.sample_rate, kept_bytes=0)
        logits = apply(head, embed(base, clips, device=self._device, precision=self.precision))
        return logits[:, -len(self.classes_) :]  # behind those that are kept

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
        utils: Any = import_module("sklearn.utils")  # which is there, as it is what asks
        return utils.Tags(
            estimator_type="classifier",
            target_tags=utils.TargetTags(required=True, multi_output=True),
            classifier_tags=utils.ClassifierTags(multi_label=True),
            input_tags=utils.InputTags(two_d_array=False, one_d_array=True, string=True),
        )

    def __repr__(self) -> str:
        usual = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not usual[name].default
        ]
        return f"AudioClassifier({', '.join(changed)})"


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
        sources: ``N`` clips, as of :class:`AudioClassifier`.
        labels: ``N`` labels, an indicator ``(N, K)``, or a list of labels for each clip.
        groups: ``N`` groups, such as speakers, for the validation part.
        settings: arguments of :class:`AudioClassifier`.

    Returns:
        a classifier that has learned.

    Raises:
        AudioError, ValueError, WeightsError: as :meth:`AudioClassifier.fit`.
        TypeError: an unknown setting.
    """
    return AudioClassifier(**settings).fit(sources, labels, groups)


def _parameters() -> list[str]:
    return list(inspect.signature(AudioClassifier.__init__).parameters)[1:]


def _no_clips(rows: Sequence[int]) -> FloatArray:
    raise RuntimeError("the clips that were learned from are not kept")
