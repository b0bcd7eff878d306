"""Published checkpoints of the teacher: where each lies, its size, digest and licence."""

from dataclasses import dataclass

from pannsx.weights.record import Digest


@dataclass(frozen=True)
class TeacherRecord:
    """Facts of one published file of weights.

    Attributes:
        name: of the checkpoint.
        url: where the file is published.
        filename: its published name.
        size_bytes: of the file.
        digest: of the file.
        licence: of code and weights (SPDX).
        width: of the network.
        n_classes: AudioSet's, in AudioSet's order.
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
