"""Arrays of an .npz are mapped, and equal what NumPy loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from train.data.mapped_npz import mapped


def test_arrays_are_those_that_numpy_loads(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    arrays = {
        "ids": np.array(["a", "bcd", "é"]),
        "logits": np.arange(12, dtype=np.float16).reshape(3, 4),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.empty((0, 4), np.float32),
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]
    for (name, expected), found in zip(arrays.items(), mapped(path, tuple(arrays)), strict=True):
        assert found.dtype == expected.dtype, name
        np.testing.assert_array_equal(found, expected)
        assert isinstance(found, np.memmap) or not found.size


def test_what_cannot_be_mapped_is_refused(tmp_path: Path) -> None:
    logits = np.zeros((3, 4))
    np.savez_compressed(tmp_path / "small.npz", logits=logits)
    with pytest.raises(ValueError, match=r"is compressed.*save it by numpy\.savez"):
        mapped(tmp_path / "small.npz", ("logits",))
    np.savez(tmp_path / "other.npz", scores=logits)
    with pytest.raises(ValueError, match="has no array 'logits'"):
        mapped(tmp_path / "other.npz", ("logits",))
    np.savez(tmp_path / "objects.npz", logits=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="holds Python objects"):
        mapped(tmp_path / "objects.npz", ("logits",))
    (tmp_path / "text.npz").write_text("logits")
    with pytest.raises(ValueError, match=r"is not an \.npz file"):
        mapped(tmp_path / "text.npz", ("logits",))
