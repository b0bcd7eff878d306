"""Tag a recording with ONNX Runtime, NumPy and soundfile, without pannsx and without torch.

    pannsx export MobileNetV1_distilled -o exported
    python examples/onnx/tag.py exported/MobileNetV1_distilled.onnx examples/scene.flac

Everything about the network comes from the contract beside it: rate, shortest input, labels.
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

WINDOW_S = 10  # longer recordings are tagged in windows, as the networks were trained


def main(network_path, audio_path):
    with open(f"{network_path}.json", encoding="utf-8") as file:  # noqa: PTH123
        contract = json.load(file)
    if contract["input"]["name"] != "waveform":
        sys.exit(f"{network_path} takes a {contract['input']['name']}; export it with the waveform as input")
    samples, sample_rate = soundfile.read(audio_path, dtype="float32", always_2d=True)
    waveform = resample(samples.mean(axis=1), sample_rate, contract["sample_rate"])
    if len(waveform) == 0:
        sys.exit(f"{audio_path} holds no sound")
    session = onnxruntime.InferenceSession(network_path, providers=["CPUExecutionProvider"])
    length = contract["input"]["shape"][1]
    is_fixed = isinstance(length, int)
    length = length if is_fixed else WINDOW_S * contract["sample_rate"]
    for start in range(0, len(waveform), length):
        window = waveform[start : start + length]
        if is_fixed:
            window = np.pad(window, (0, length - len(window)))
        (probabilities,) = session.run(["probabilities"], {"waveform": window[None]})
        print(f"from {start / contract['sample_rate']:.1f} s")
        for k in np.argsort(-probabilities[0])[:5]:
            print(f"  {probabilities[0, k]:.3f}  {contract['labels'][k]['name']}")


def resample(waveform, rate, new_rate):
    """Band-limited, by the whole spectrum; the ends are reflected, so that they do not meet."""
    if rate == new_rate or len(waveform) < 2:
        return waveform.astype(np.float32)
    margin = min(rate, len(waveform) - 1)
    padded = np.pad(waveform.astype(float), margin, mode="reflect")
    # Zeros to a length that both rates divide, so that a sample stays at its time.
    step = rate // np.gcd(rate, new_rate)
    padded = np.pad(padded, (0, -len(padded) % step))
    n = len(padded) * new_rate // rate
    spectrum = np.fft.rfft(padded)
    resized = np.zeros(n // 2 + 1, complex)
    kept = min(len(spectrum), len(resized))
    resized[:kept] = spectrum[:kept]
    resampled = np.fft.irfft(resized, n) * (n / len(padded))
    start = round(margin * new_rate / rate)
    return resampled[start : start + len(waveform) * new_rate // rate].astype(np.float32)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python tag.py NETWORK.onnx RECORDING")
    main(*sys.argv[1:])
