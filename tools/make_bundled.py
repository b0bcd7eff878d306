"""Make the package's bundled weights: a published-layout ``.pth`` to fp16 safetensors.

    python tools/make_bundled.py MobileNetV1_distilled.pth

Front-end constants (STFT kernels, mel matrix) are left out: they follow from the record's settings.
Prints the size and digests; ``tools/build_manifest.py`` puts them into the manifest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from pannsx.digests import file_digest
from pannsx.state_dict import FRONT_END_PREFIXES, read_state_dict

DATA = Path(__file__).parent.parent / "pannsx" / "data"
SIZE_LIMIT_BYTES = 10_000_000  # what the wheel may spend on weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="the .pth to convert")
    parser.add_argument("--name", default="MobileNetV1_distilled", help="name of the bundled checkpoint")
    arguments = parser.parse_args()

    state = {}
    for key, tensor in read_state_dict(arguments.checkpoint).items():
        if key.startswith(FRONT_END_PREFIXES):
            continue
        if tensor.is_floating_point():
            half = tensor.to(torch.float16)
            if not torch.isfinite(half).all():
                raise SystemExit(f"{key} does not fit float16: its largest value is {tensor.abs().max():.6g}")
            tensor = half
        state[key] = tensor.contiguous()

    target = DATA / f"{arguments.name}.safetensors"
    temporary = target.with_suffix(".tmp")
    save_file(state, temporary)
    temporary.replace(target)
    size = target.stat().st_size
    if size > SIZE_LIMIT_BYTES:
        raise SystemExit(f"{target.name} has {size} bytes, more than the {SIZE_LIMIT_BYTES} allowed")
    print(f"{target.name}: {size} bytes, sha256 {file_digest(target, 'sha256')}")


if __name__ == "__main__":
    main()
