"""An ONNX graph written node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

OPSET = 17
"""Of ONNX: the newest whose operations also older runtimes know (ONNX Runtime from 1.12 on)."""

_IR_VERSION = 8
"""The file format of that opset's time."""


class Graph:
    """Nodes in the order in which they are added, and the constants that they read.

    Attributes:
        scope: beginning of the names of the next nodes, such as ``front_end``.
        dtype: of weights that are added as such: float32 or float16.
    """

    def __init__(self) -> None:
        self.scope = ""
        self.dtype: npt.DTypeLike = np.float32
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._same: dict[tuple[str, tuple[int, ...], str], str] = {}
        self._n_of: Counter[str] = Counter()

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        return self.add_many(operation, 1, *inputs, **attributes)[0]

    def add_many(self, operation: str, n_outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs; returns their names."""
        from onnx import helper

        name = self._new_name(operation)
        outputs = [name] if n_outputs == 1 else [f"{name}.{i}" for i in range(n_outputs)]
        self._nodes.append(helper.make_node(operation, inputs, outputs, name, **attributes))
        return outputs

    def rename(self, value: str, name: str) -> None:
        """Give a value the name of an output of the graph."""
        from onnx import helper

        self._nodes.append(helper.make_node("Identity", [value], [name], f"output/{name}"))

    def weight(self, values: npt.ArrayLike) -> str:
        """A constant of numbers in the graph's present ``dtype``."""
        return self.constant(np.asarray(values).astype(self.dtype))

    def integers(self, values: int | Sequence[int]) -> str:
        """A constant of whole numbers: a shape, axes, indices."""
        return self.constant(np.asarray(values, np.int64))

    def constant(self, values: npt.NDArray[Any]) -> str:
        """A constant as it is; equal ones are stored once."""
        from onnx import numpy_helper

        values = np.asarray(values, order="C")
        key = (str(values.dtype), values.shape, sha256(values.tobytes()).hexdigest())
        if key not in self._same:
            name = self._new_name("constant")
            self._constants[name] = numpy_helper.from_array(values, name)
            self._same[key] = name
        return self._same[key]

    def size_of(self, value: str, axis: int) -> str:
        """The size of a value along an axis, a whole number."""
        return self.add("Gather", self.add("Shape", value), self.integers(axis))

    def model(
        self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], metadata: dict[str, str]
    ) -> Any:
        """The finished model, an ``onnx.ModelProto``; the graph has let go of its constants then.

        Args:
            name: name of the graph.
            inputs, outputs: as ``onnx.helper.make_tensor_value_info`` makes them.
            metadata: text by key, stored with the model.
        """
        from onnx import helper

        from pannsx.version import __version__

        graph = helper.make_graph(self._nodes, name, inputs, outputs, list(self._constants.values()))
        self._constants.clear()  # each step copies all weights
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="pannsx",
            producer_version=__version__,
        )
        helper.set_model_props(model, metadata)
        return model

    def _new_name(self, kind: str) -> str:
        name = f"{self.scope}/{kind}" if self.scope else kind
        self._n_of[name] += 1
        return f"{name}_{self._n_of[name]}"
