"""A small PNG encoder, and a palette in which lightness alone tells values apart."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

from pannsx.types import FloatArray

# From quiet to loud. The lightness rises steadily, so that the order holds for every kind of colour vision
# and in print.
_HEAT = ((12, 14, 40), (30, 58, 110), (38, 110, 135), (96, 158, 120), (190, 196, 90), (252, 236, 130))

HEAT: npt.NDArray[np.uint8] = np.stack(
    [
        np.interp(np.linspace(0, len(_HEAT) - 1, 256), np.arange(len(_HEAT)), [stop[i] for stop in _HEAT])
        for i in range(3)
    ],
    axis=1,
).astype(np.uint8)
"""``(256, 3)`` red, green, blue."""

SHOWN_DB = 70.0  # below the loudest band: the rest is dark


def levels_of_log_mel(log_mel: FloatArray) -> npt.NDArray[np.uint8]:
    """``(N, F)`` dB -> ``(F, N)`` levels 0 to 255, low bands at the bottom."""
    loudest = float(log_mel.max(initial=-SHOWN_DB))
    share = (log_mel - (loudest - SHOWN_DB)) / SHOWN_DB
    return np.flipud(levels(share).T)


def levels(share: FloatArray) -> npt.NDArray[np.uint8]:
    """Values 0 to 1 of any shape -> levels 0 to 255 of that shape."""
    return np.asarray(np.rint(np.clip(share, 0, 1) * 255), np.uint8)


def png(image: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8] = HEAT) -> bytes:
    """``(H, W)`` levels and ``(256, 3)`` colours -> the bytes of a PNG file."""
    height, width = image.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = image
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def data_uri(content: bytes, kind: str) -> str:
    """Bytes and their media type -> a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
