"""The conventions of scikit-learn's estimators, without scikit-learn: parameters, tables in, tables out.

A subclass of its `BaseEstimator` would make the import of the facade need the package. Its conventions are
public and few, so the classes here follow them, and the tests run scikit-learn's own checks on them. Nothing
here imports scikit-learn unless scikit-learn asks (`__sklearn_tags__`) or is in use (`sklearn.set_config`).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from pannsx.errors import AudioError, did_you_mean
from pannsx.types import Source

Self = TypeVar("Self", bound="Parameters")
SomeTransformer = TypeVar("SomeTransformer", bound="Transformer")

Container = Literal["default", "pandas", "polars"]


class Parameters:
    """Base of an estimator whose ``__init__`` only stores its arguments under their own names."""

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Default of each parameter of ``__init__``, by name."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {each.name: each.default for each in parameters}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of ``__init__`` by name; ``deep`` is without effect, as none is an estimator."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set parameters of ``__init__``; returns the object.

        Raises:
            ValueError: there is no such parameter; none is set then.
        """
        known = self._defaults()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}{did_you_mean(name, known)}; its "
                    f"parameters are {', '.join(known)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _as_call(self) -> str:
        """The call that makes the object: its class, with the parameters that are not the default."""
        defaults = self._defaults()
        chosen = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not defaults[name] and value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(chosen)})"


class Transformer(Parameters):
    """Base of a transformer: sources in, a table of features out."""

    _sklearn_output_config: dict[str, str]

    def set_output(self: SomeTransformer, *, transform: Container | None = None) -> SomeTransformer:
        """The kind of table that ``transform`` returns; returns the object.

        Args:
            transform: ``"default"``: an array; ``"pandas"`` or ``"polars"``: a DataFrame; None: as before.

        Raises:
            ValueError: another kind.
        """
        if transform is None:
            return self
        if transform not in get_args(Container):
            raise ValueError(f"transform is {transform!r}; use one of {', '.join(get_args(Container))}")
        self._sklearn_output_config = {"transform": transform}
        return self

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[Any]:
        """``(n,)`` names of the columns of ``transform``; ``input_features`` is without effect."""
        raise NotImplementedError

    def _in_container(self, values: npt.NDArray[Any], X: object) -> Any:
        """``(N, n)`` values as the table that is asked for; a pandas table keeps the index of ``X``."""
        kind = getattr(self, "_sklearn_output_config", {}).get("transform")
        if kind is None and "sklearn" in sys.modules:
            kind = sys.modules["sklearn"].get_config()["transform_output"]
        if kind == "pandas":
            import pandas as pd

            index = X.index if isinstance(X, (pd.DataFrame, pd.Series)) else None
            return pd.DataFrame(values, columns=list(self.get_feature_names_out()), index=index, copy=False)
        if kind == "polars":
            import polars as pl

            return pl.DataFrame(values, schema=list(self.get_feature_names_out()), orient="row")
        return values

    def __sklearn_tags__(self) -> Any:
        """Tags for scikit-learn 1.6 and later: texts and one dimension are accepted, nothing is fitted."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(one_d_array=True, two_d_array=True, string=True),
            requires_fit=False,
        )

    def __sklearn_is_fitted__(self) -> bool:
        """True: nothing is learned from data."""
        return True


def sources_in(X: Any) -> list[Source]:
    """The sources in scikit-learn's argument ``X``: one for each row.

    Args:
        X: a list of sources; an array or a column of a DataFrame (pandas or polars) with one in each cell; a
            DataFrame or array of texts with one column; or an array ``(N, S)`` of waveforms.

    Raises:
        TypeError: a sparse matrix, or nothing that has rows.
        ValueError: one source instead of several, several columns, an array of numbers of other than two
            dimensions, or no row.
    """
    if hasattr(X, "toarray"):
        raise TypeError(
            "X is a sparse matrix; sources or waveforms (N, S) are needed, as a list or dense array"
        )
    if isinstance(X, (str, bytes, bytearray, memoryview)) or hasattr(X, "__fspath__") or hasattr(X, "read"):
        raise ValueError(f"X is one source, {X!r:.80}; a list of sources is needed: [{X!r:.80}]")
    if hasattr(X, "columns") and len(getattr(X, "shape", ())) == 2:
        X = _column(X)
    if hasattr(X, "detach"):  # a tensor, on any device: a source for each row
        if X.ndim != 2:
            raise ValueError(f"X is a tensor of shape {tuple(X.shape)}; waveforms (N, S) are needed")
    elif hasattr(X, "to_list"):  # a column of pandas or polars, without its type of text
        X = X.to_list()
    elif hasattr(X, "__array__"):
        X = _rows(np.asarray(X))
    if not isinstance(X, Iterable) or isinstance(X, dict):
        raise TypeError(f"X is {type(X).__name__}; a list of sources is needed")
    found = list(X)
    if not found:
        raise ValueError("X has 0 samples; at least one source is needed")
    if isinstance(found[0], list) and found[0] and isinstance(found[0][0], (int, float, np.number)):
        return [np.asarray(row, np.float32) for row in found]
    if isinstance(found[0], (int, float, np.number)) and not isinstance(found[0], bool):
        raise ValueError(
            "X is one row of numbers, while one source is needed for each sample: a list of paths or "
            "waveforms, or an array (N, S). Reshape your data: X.reshape(1, -1) if it is a single waveform"
        )
    return found


def _column(table: Any) -> Any:
    """The only column of a DataFrame."""
    names = list(table.columns)
    if len(names) != 1:
        raise ValueError(
            f"X has the columns {', '.join(map(repr, names))}; one column of sources is needed: X['path'], "
            "or scikit-learn's ColumnTransformer with the name of the column"
        )
    return table[names[0]]


def _rows(X: npt.NDArray[Any]) -> Sequence[Any]:
    if X.dtype.kind in "OUS" and X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]
    if X.dtype.kind in "OUS" and X.ndim == 1:
        return list(X.tolist())
    if X.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: X has type {X.dtype}; real waveforms (N, S) are needed"
        )
    if X.dtype.kind not in "iuf":
        raise ValueError(f"X has type {X.dtype} and shape {X.shape}; one source for each row is needed")
    if X.ndim != 2:
        raise ValueError(
            f"X has shape {X.shape}. Expected 2D array, waveforms (N, S). Reshape your data: "
            "X.reshape(1, -1) if it is a single waveform"
        )
    if X.shape[1] == 0:
        raise AudioError(f"X has 0 feature(s) (shape={X.shape}) while a minimum of 1 is required: no samples")
    if X.dtype.kind == "f" and not (finite := np.isfinite(X).all(axis=1)).all():
        raise AudioError(f"X has NaN or inf in row {int(np.argmin(finite))}; finite samples are needed")
    return list(X)
