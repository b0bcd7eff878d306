"""Say what the microphone hears, a line a second, until Ctrl-C.

python examples/microphone.py [MODEL]

Needs sounddevice: pip install 'pannsx[microphone]'.  The recorder's thread only puts blocks into a queue; the
network runs in this one, so that no sound is lost while it computes.
"""

from __future__ import annotations

import queue
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import sounddevice
from numpy.typing import NDArray

from pannsx import StreamTagger

BLOCK_S = 0.1
MOST_WAITING = 100  # blocks; a network slower than the sound is noticed, not endured


def main() -> None:
    rate = round(sounddevice.query_devices(kind="input")["default_samplerate"])
    stream = StreamTagger(sys.argv[1] if len(sys.argv) > 1 else None, source_rate=rate)
    print(f"listening at {rate} Hz; a sound shows up within {stream.latency_s + BLOCK_S:.1f} s", flush=True)
    blocks: queue.Queue[NDArray[np.float32]] = queue.Queue()

    def keep(block: NDArray[np.float32], n_samples: int, times: Any, status: Any) -> None:
        blocks.put(block.copy())  # sounddevice writes the next one into the same memory

    recorder = sounddevice.InputStream(
        samplerate=rate, channels=1, blocksize=round(BLOCK_S * rate), dtype="float32", callback=keep
    )
    with recorder:
        while True:
            for update in stream.push(blocks.get()):
                tags = "  ".join(f"{tag.label} {tag.probability:.2f}" for tag in update.top(3))
                print(f"{update.start_s:8.1f} s  {tags}", flush=True)
            if blocks.qsize() > MOST_WAITING:
                sys.exit("the network is slower than the sound: take a longer step_s or a smaller model")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
