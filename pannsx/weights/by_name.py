"""Models by their published names, freshly initialised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pannsx.weights import manifest

if TYPE_CHECKING:
    from pannsx.frontend.settings import FrontEnd
    from pannsx.models.pann import Pann


def create_model(name: str, n_classes: int = 527, *, frontend: FrontEnd | None = None) -> Pann:
    """A freshly initialised model by its published name, in evaluation mode.

    Args:
        name: a name of :func:`list_models`, in any case.
        n_classes: number ``K`` of classes.
        frontend: log-mel settings instead of the checkpoint's, sample rate included.

    Raises:
        ValueError: unknown name (close ones are suggested), or a front end for a model that has none.
    """
    from pannsx.models.zoo import build

    checkpoint = manifest.find(name)
    if frontend is None:
        return build(checkpoint.architecture, checkpoint.sample_rate, checkpoint.frontend, n_classes)
    return build(checkpoint.architecture, frontend.sample_rate, frontend, n_classes)


def list_models() -> list[str]:
    """The names that :func:`create_model` knows, in the order of the manifest."""
    return list(manifest.load_manifest())
