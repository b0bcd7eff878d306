"""Published checkpoints of the teacher: URL, size, digest and licence of each."""

from dataclasses import dataclass

from pannsx.weights.record import Digest


@dataclass(frozen=True)
class TeacherRecord:
    """Facts of one published file of weights.

    Attributes:
        name: name of the checkpoint.
        url: URL of the published file.
        filename: its published name.
        size_bytes: size of the file.
        digest: digest of the file.
        licence: licence of code and weights (SPDX).
        width: width multiplier of the network.
        n_classes: number of classes: AudioSet's, in AudioSet's order.
        mean_average_precision: published, on AudioSet's evaluation set.
    """

    name: str
    url: str
    filename: str
    size_bytes: int
    digest: Digest
    licence: str
    width: float
    n_classes: int
    mean_average_precision: float


MN04_AS = TeacherRecord(
    name="mn04_as",
    url="https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
    filename="mn04_as_mAP_432.pt",
    size_bytes=4_066_513,
    digest=Digest("sha256", "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"),
    licence="MIT",
    width=0.4,
    n_classes=527,
    mean_average_precision=0.432,
)
