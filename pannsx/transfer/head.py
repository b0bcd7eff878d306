"""New heads: one to three fully connected layers from an embedding to the classes of another task.

The paper's L1 and L3: trained on the embeddings of a frozen network, or together with the network.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pannsx.transfer.balance import Balance, class_weights, clip_weights, epoch_batches
from pannsx.transfer.best_epoch import BestEpoch, Measure
from pannsx.transfer.loss import learning_rate_at, loss_of
from pannsx.transfer.wanted import Wanted, wanted_of
from pannsx.types import FloatArray

MAX_LAYERS = 3
LEAST_STEPS = 400
"""Minimum number of steps: with one clip per class, an epoch is a single step."""

STEPS_A_CHECK = 20
"""Minimum number of steps between two looks at the validation part."""


@dataclass(frozen=True)
class HeadSettings:
    """Settings of a head and its training.

    Attributes:
        layers: fully connected layers, 1 to 3.
        hidden: width of all but the last.
        dropout: before every layer.
        epochs: passes over the clips when only the head is trained; more if these are too few steps.
        learning_rate: maximum learning rate of Adam.
        weight_decay: L2 penalty (decoupled).
        batch_size: clips per step.
        least_spread: lower limit of the standard deviation by which each input is divided, as a share of the
            root mean square over all inputs. Without it, units of an embedding that fire for one clip in a
            hundred outweigh all others: ESC-10 with one clip per class is then at 0.45 instead of 0.74.
        balance: see :data:`pannsx.transfer.balance.Balance`.
        patience: with a validation part, looks at it without improvement after which training ends. A look
            follows each epoch, or 20 steps where epochs are shorter.
    """

    layers: int = 1
    hidden: int = 512
    dropout: float = 0.5
    epochs: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    batch_size: int = 64
    least_spread: float = 0.5
    balance: Balance = "none"
    patience: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= MAX_LAYERS:
            raise ValueError(f"a head has 1 to {MAX_LAYERS} layers, got {self.layers}")
        for name in ("hidden", "epochs", "batch_size", "learning_rate", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")


class Head(nn.Module):
    """``(B, D)`` embedding -> ``(B, K)`` logits."""

    def __init__(self, embedding: int, n_classes: int, settings: HeadSettings) -> None:
        super().__init__()
        sizes = [embedding, *[settings.hidden] * (settings.layers - 1), n_classes]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(settings.dropout)
        for linear in self.layers():
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def layers(self) -> list[nn.Linear]:
        """The fully connected layers, in order."""
        return [linear for linear in self.linears if isinstance(linear, nn.Linear)]

    def forward(self, embedding: Tensor) -> Tensor:
        """``(B, D)`` -> ``(B, K)``: ReLU between the layers, dropout before each."""
        x = embedding
        for number, linear in enumerate(self.linears):
            x = linear(self.dropout(functional.relu(x) if number else x))
        return x


def new_head(embedding: int, n_classes: int, settings: HeadSettings, *, seed: int) -> Head:
    """A head with random weights, by a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(embedding, n_classes, settings)


class HeldApart(NamedTuple):
    """A validation part for the training of a head.

    Attributes:
        embeddings: ``(n, D)``.
        targets: ``(n, K)``.
        measure: its score.
        known: ``(n, K)``, which targets are known; None: all.
    """

    embeddings: FloatArray
    targets: NDArray[np.bool_]
    measure: Measure
    known: NDArray[np.bool_] | None = None


def train_head(
    embeddings: FloatArray,
    targets: NDArray[np.bool_],
    settings: HeadSettings,
    *,
    seed: int,
    validation: HeldApart | None = None,
    wanted: Wanted | None = None,
) -> Head:
    """``(N, D)`` embeddings and ``(N, K)`` targets -> a head trained on them, in evaluation mode.

    Embeddings are standardised for training; mean and deviation are then folded into the first layer. With a
    validation part, training ends early, and the head is that of the best epoch. ``wanted``: the aim of each
    clip, if that is more than its labels.
    """
    rng = np.random.default_rng(seed)
    mean = embeddings.mean(axis=0, dtype=np.float64)
    deviation = embeddings.std(axis=0, dtype=np.float64)
    typical = float(np.sqrt(np.mean(deviation**2))) or 1.0
    spread = np.maximum(deviation, max(settings.least_spread, 1e-6) * typical)

    def standardised(values: FloatArray) -> Tensor:
        return torch.from_numpy(((values - mean) / spread).astype(np.float32))

    inputs, aims = standardised(embeddings), wanted_of(targets) if wanted is None else wanted
    weights = (
        clip_weights(torch.from_numpy(targets.astype(np.float32)), class_weights(targets))
        if settings.balance == "weights"
        else None
    )
    held = None if validation is None else standardised(validation.embeddings)
    best = None if validation is None else BestEpoch(settings.patience, validation.measure)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(inputs.shape[1], targets.shape[1], settings).train()
        kept = head
        optimiser = torch.optim.AdamW(head.parameters(), weight_decay=settings.weight_decay)
        steps_an_epoch = len(epoch_batches(range(len(inputs)), targets, settings.batch_size, rng))
        n_epochs = max(settings.epochs, -(-LEAST_STEPS // steps_an_epoch))
        epochs_a_check = -(-STEPS_A_CHECK // steps_an_epoch)
        n_steps, step = n_epochs * steps_an_epoch, 0
        for epoch in range(n_epochs):
            for rows in epoch_batches(
                range(len(inputs)), targets, settings.batch_size, rng, balance=settings.balance
            ):
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate_at(step, n_steps, settings.learning_rate)
                optimiser.zero_grad()
                of_clips, (aim, shares) = None if weights is None else weights[rows], aims.of(rows)
                loss = loss_of(head(inputs[rows]), aim, of_clips, shares)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
            if validation is not None and held is not None and best is not None:
                if (epoch + 1) % epochs_a_check and epoch + 1 < n_epochs:
                    continue
                logits = apply(head.eval(), held.numpy())
                if best.is_better(epoch, validation.targets, logits, validation.known):
                    kept = copy.deepcopy(head)
                if best.is_over:
                    break
                head.train()
        head = kept
    with torch.no_grad():
        first = head.layers()[0]
        scale = torch.from_numpy(1.0 / spread)
        weight = first.weight.double() * scale
        first.bias.copy_(first.bias.double() - weight @ torch.from_numpy(mean))
        first.weight.copy_(weight)
    return head.eval()


def apply(head: nn.Module, embeddings: FloatArray) -> FloatArray:
    """``(N, D)`` embeddings -> ``(N, K)`` logits."""
    with torch.inference_mode():
        logits: FloatArray = head(torch.from_numpy(embeddings)).numpy()
    return logits
