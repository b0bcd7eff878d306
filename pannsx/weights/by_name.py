"""Models by their published names: freshly initialised, or with the published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.weights import manifest

if TYPE_CHECKING:
    from pannsx.frontend.settings import FrontEnd
    from pannsx.models.pann import Pann
    from pannsx.types import PathLike


def create_model(
    name: str,
    *,
    pretrained: bool = False,
    n_classes: int | None = None,
    frontend: FrontEnd | None = None,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
) -> Pann:
    """A model by its published name, a ``torch.nn.Module`` in evaluation mode, on the CPU.

    >>> model = create_model("MobileNetV1_distilled", pretrained=True, n_classes=10)

    With another ``frontend``, pretrained weights are run on a log-mel that they were not trained with: a
    warning says so, and so do the model's ``front_end_mismatch`` and the record that `pannsx.save` writes.

    Args:
        name: a name of :func:`list_models`, in any case.
        pretrained: load the checkpoint's weights; False initialises the model as in the paper.
        n_classes: number ``K`` of classes; None: the checkpoint's. With ``pretrained`` and another number,
            the last layer is newly initialised, and all others are the checkpoint's.
        frontend: log-mel settings instead of the checkpoint's, sample rate included, such as 48 kHz with a
            hop of 480. With ``pretrained``, the number of mel bands must be the checkpoint's.
        cache_dir, allow_unverified, progress: with ``pretrained``, as in :class:`pannsx.AudioTagger`.

    Raises:
        ValueError: unknown name (close ones are suggested), ``n_classes`` below 1, or a front end that the
            model cannot have.
        WeightsError: the weights cannot be obtained, trusted or read.
    """
    checkpoint = manifest.find(name)
    if n_classes is not None and n_classes < 1:
        raise ValueError(f"n_classes is {n_classes}; at least 1 is needed")
    if not pretrained:
        from pannsx.models.zoo import build

        frontend = frontend or checkpoint.frontend
        sample_rate = frontend.sample_rate if frontend else checkpoint.sample_rate
        return build(checkpoint.architecture, sample_rate, frontend, n_classes or checkpoint.n_classes)
    from pannsx.weights.loading import load

    model = load(
        name,
        frontend=frontend,
        ignore_front_end=frontend is not None,
        cache_dir=cache_dir,
        allow_unverified=allow_unverified,
        progress=progress,
    ).model
    if n_classes is not None and n_classes != model.n_classes:
        model.replace_classifier(n_classes)
    return model


def list_models() -> list[str]:
    """The names accepted by :func:`create_model`, in the order of the manifest; does not import torch."""
    return list(manifest.load_manifest())
