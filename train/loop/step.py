"""One optimiser step: from clips to gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pannsx.frontend.torch_logmel import LogMel
from pannsx.models import Pann
from pannsx.models.heads import Output
from pannsx.models.pann import Augment
from train.loop.augment import Choices
from train.loop.compiled import compile_trunk
from train.loop.descriptors import Descriptors
from train.loop.distributed import Ranks
from train.loop.loss import binary_cross_entropy, ranking_error
from train.loop.masked_spectrogram import Blanking, SpectrogramPredictor, without_classifier
from train.loop.sync_batchnorm import synchronise
from train.recipe import Recipe

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
"""Types of a network's computation by their names in recipes."""

_HALVES = (torch.bfloat16, torch.float16)
_Tensors: TypeAlias = tuple[Tensor, ...]

# torch 2.12 has renamed this argument, and warns of the old name.
_SHARES_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel.__init__).parameters
)


class Part(NamedTuple):
    """Clips of a step computed together.

    Attributes:
        waveform: ``(B, S)`` in [-1, 1).
        targets: ``(B, K)`` in [0, 1].
        choices: their augmentation.
        frame_targets: ``(B, T', K)`` in [0, 1], for a :class:`ClipAndFrameLogits`; None: the loss of clips
            only.
        frame_weight: weight of the loss of frames.
        ranking: ``(B, K)`` the teacher's softmax, for :func:`train.loop.loss.ranking_error`; None: without.
        ranking_weight: its weight.
        descriptor_weight: weight of the error of :class:`train.loop.descriptors.Descriptors`.
        known: ``(B, K)`` in [0, 1], known share of each label; None: all are known.
    """

    waveform: Tensor
    targets: Tensor
    choices: Choices
    frame_targets: Tensor | None = None
    frame_weight: float = 0.0
    ranking: Tensor | None = None
    ranking_weight: float = 0.0
    descriptor_weight: float = 0.0
    known: Tensor | None = None


class Learned(NamedTuple):
    """Outputs from which the losses of a training step are computed.

    Attributes:
        clip: ``(B', K)`` logits of the clips.
        frames: ``(B', T', K)`` logits of their frames; None where no loss uses them.
        descriptor_error: a scalar; None without such a task.
    """

    clip: Tensor
    frames: Tensor | None
    descriptor_error: Tensor | None


class ClipLogits(nn.Module):
    """``(B, S)`` waveform -> ``(B', K)`` logits of the clip: a PANN in training.

    Frame logits of clip heads are not computed, as no loss uses them. The log-mel is computed in float32
    whatever the network's precision: three digits of bfloat16 are too few for a logarithm.

    Args:
        model: the model to train; shares its weights with this module.
        dtype: dtype of the computation; weights stay float32 for bfloat16 and float16.
    """

    def __init__(self, model: Pann, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, waveform: Tensor, augment: Augment | None = None) -> Tensor:
        """``(B, S)`` float32 -> ``(B', K)``; ``augment`` as in :meth:`pannsx.models.Pann.forward`."""

        def clip(features: Tensor, log_mel: Tensor | None) -> tuple[Tensor]:
            return (self.model.head.clip(features)[0],)

        return self._computed(waveform, augment, clip)[0]

    def with_embedding(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, S)`` float32 -> ``(B, K)`` logits and ``(B, D)`` embeddings."""

        def both(features: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
            logits, embedding = self.model.head.clip(features)
            return logits, embedding

        logits, embedding = self._computed(waveform, None, both)
        return logits, embedding

    def _computed(
        self, waveform: Tensor, augment: Augment | None, head: Callable[[Tensor, Tensor | None], _Tensors]
    ) -> tuple[Tensor, ...]:
        weights = torch.float64 if self.dtype == torch.float64 else torch.float32
        waveform = self.model.pad(waveform)
        log_mel = log_mel_of(self.model, waveform)
        waveform = waveform.to(weights)
        log_mel = None if log_mel is None else log_mel.to(weights)
        with torch.autocast(waveform.device.type, self.dtype, enabled=self.dtype in _HALVES):
            outputs = head(self.model.forward_features(waveform, log_mel, augment), log_mel)
        return tuple(each.float() for each in outputs) if self.dtype in _HALVES else outputs


class ClipAndFrameLogits(ClipLogits):
    """``(B, S)`` waveform -> logits of clips and of their frames, and the error of an auxiliary task.

    Args:
        model, dtype: as for :class:`ClipLogits`.
        descriptors: the auxiliary task; None: none.
    """

    def __init__(self, model: Pann, dtype: torch.dtype, descriptors: Descriptors | None = None) -> None:
        super().__init__(model, dtype)
        self.descriptors = descriptors

    def forward(  # type: ignore[override]
        self, waveform: Tensor, augment: Augment | None = None
    ) -> Learned:
        """``(B, S)`` -> outputs for the losses; arguments as in :meth:`ClipLogits.forward`."""

        def all_of(features: Tensor, log_mel: Tensor | None) -> tuple[Tensor, ...]:
            output: Output = self.model.head(features)
            if self.descriptors is None or log_mel is None:
                return output.logits, output.frame_logits
            error = self.descriptors.error(output.embedding, log_mel)
            return output.logits, output.frame_logits, error

        clip, frames, *error = self._computed(waveform, augment, all_of)
        return Learned(clip, frames, error[0] if error else None)


class MaskedSpectrogram(ClipLogits):
    """``(B, S)`` waveform -> the error of the predicted log-mel of blanked frames, a scalar.

    Args:
        model, dtype: as for :class:`ClipLogits`.
        predictor: predicts the log-mel.
    """

    def __init__(self, model: Pann, dtype: torch.dtype, predictor: SpectrogramPredictor) -> None:
        super().__init__(model, dtype)
        self.predictor = predictor

    def forward(self, waveform: Tensor, augment: Augment | None = None) -> Tensor:
        """``(B, S)`` float32 -> a scalar; ``augment`` blanks frames."""
        blanking = Blanking(augment)

        def error(features: Tensor, log_mel: Tensor | None) -> tuple[Tensor]:
            if log_mel is None or blanking.blanked is None:
                raise ValueError(f"{self.model.architecture} has no log-mel to predict")
            return (self.predictor.error(features, log_mel, blanking.blanked),)

        return self._computed(waveform, blanking, error)[0]


@torch.no_grad()
def log_mel_of(model: Pann, waveform: Tensor) -> Tensor | None:
    """``(B, S)`` padded waveform -> ``(B, T, F)`` float32 log-mel; None for models without one."""
    frontends = [module for module in model.stem.modules() if isinstance(module, LogMel)]
    if not frontends:
        return None
    decibels: Tensor = frontends[0](waveform.float())
    return decibels


def prepare(
    model: Pann,
    recipe: Recipe,
    ranks: Ranks,
    descriptors: Descriptors | None = None,
    predictor: SpectrogramPredictor | None = None,
) -> nn.Module:
    """Move a model to its device and precision -> a network with gradients averaged over ranks.

    The model is changed in place, so that it can be saved and evaluated alongside the network; so are the
    auxiliary task and the predictor of spectrograms, which takes the place of the labels.

    Raises:
        ValueError: this machine cannot compile it, as the recipe asks.
    """
    quiet: dict[str, list[nn.Module]] = {"all": [], "head": [model.stem, model.trunk], "none": [model]}
    for module in (module for part in quiet[recipe.model.dropout] for module in part.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if recipe.run.sync_batch_norm and ranks.world_size > 1:
        synchronise(model, ranks.device)
    place(model, recipe, ranks.device)
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    # torch lets cuDNN round to TF32 unless told otherwise.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = recipe.run.tf32
    dtype = DTYPES[recipe.run.precision]
    if descriptors is not None:
        descriptors.to(ranks.device, torch.float64 if recipe.run.precision == "float64" else None)
    compile_trunk(model, recipe, ranks.device)
    network: ClipLogits
    if predictor is not None:
        without_classifier(model)
        predictor.to(ranks.device, torch.float64 if recipe.run.precision == "float64" else None)
        network = MaskedSpectrogram(model, dtype, predictor)
    elif recipe.distil.frame_weight > 0 or descriptors is not None:
        network = ClipAndFrameLogits(model, dtype, descriptors)
    else:
        network = ClipLogits(model, dtype)
    if ranks.world_size == 1:
        return network
    # The batch statistics of the first rank are saved and evaluated; no rank needs them in training.
    settings: dict[str, Any] = {_SHARES_BUFFERS: False, "gradient_as_bucket_view": True}
    if ranks.device.type == "cuda":
        settings["device_ids"] = [ranks.device]
    return DistributedDataParallel(network, **settings)


def place(model: Pann, recipe: Recipe, device: torch.device) -> None:
    """Move a model to its device, and set the dtype and layout of weights; the log-mel stays float32."""
    model.to(device)
    if recipe.run.precision == "float64":
        model.double()
        for module in model.modules():
            if isinstance(module, LogMel):
                module.float()
    if recipe.run.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def log_mel_shape(model: Pann, n_samples: int) -> tuple[int, int] | None:
    """Frames and bands of the log-mel of clips of ``n_samples`` samples; None for models without one."""
    if model.frontend is None:
        return None
    return model.frontend.n_frames(max(n_samples, model.min_samples)), model.frontend.n_mels


def loss_scaler(recipe: Recipe, device: torch.device) -> torch.amp.GradScaler:
    """The scale of the loss for float16 gradients (Micikevicius et al. 2018); else one that does nothing."""
    return torch.amp.GradScaler(device.type, enabled=recipe.run.precision == "float16")


def backward(network: nn.Module, parts: list[Part], scaler: torch.amp.GradScaler | None = None) -> Tensor:
    """Accumulate the gradients of the mean loss of all parts in the network's weights -> that loss, a scalar.

    The loss is float64 in a float64 run, else float32. Ranks exchange gradients once, with the last part.
    Gradients are multiplied by the scaler's scale.
    """
    losses = []
    inner = network.module if isinstance(network, DistributedDataParallel) else network
    output_is_loss = isinstance(inner, MaskedSpectrogram)
    for number, part in enumerate(parts):
        with _exchange(network, last=number == len(parts) - 1):
            waveform = part.choices.waveform(part.waveform)
            targets = part.choices.targets(part.targets)
            known = None if part.known is None else part.choices.targets(part.known)
            output = network(waveform, part.choices.representations)
            learned = output if isinstance(output, Learned) else Learned(output, None, None)
            loss: Tensor = output if output_is_loss else binary_cross_entropy(learned.clip, targets, known)
            if part.frame_targets is not None and learned.frames is not None:
                frame_targets = part.choices.targets(part.frame_targets)
                loss = loss + part.frame_weight * binary_cross_entropy(learned.frames, frame_targets)
            if part.ranking is not None:
                ranking = part.choices.targets(part.ranking)
                loss = loss + part.ranking_weight * ranking_error(learned.clip, ranking)
            if learned.descriptor_error is not None:
                loss = loss + part.descriptor_weight * learned.descriptor_error
            loss = loss / len(parts)
            scaled = loss if scaler is None else scaler.scale(loss)
            scaled.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def saved_statistics(model: nn.Module) -> list[Tensor]:
    """Copies of a model's buffers: the running statistics of its batch norms."""
    return [buffer.detach().clone() for buffer in model.buffers()]


@torch.no_grad()
def restore_statistics(model: nn.Module, saved: list[Tensor]) -> None:
    """Set a model's buffers to copies of before a step that is not taken."""
    for buffer, before in zip(model.buffers(), saved, strict=True):
        buffer.copy_(before)


def gradient_norm(model: nn.Module) -> Tensor:
    """Euclidean norm over all gradients, a scalar."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


def clip_gradients(model: nn.Module, norm: Tensor, max_norm: float) -> None:
    """Scale all gradients, of the given norm, to a norm of at most ``max_norm``; 0: no clipping."""
    if max_norm > 0:
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)


def split(part: Part, n_parts: int) -> Iterator[Part]:
    """A rank's ``B`` clips -> parts of ``B / n_parts``."""
    size = len(part.waveform) // n_parts
    for begin in range(0, len(part.waveform), size):
        chosen = slice(begin, begin + size)
        yield part._replace(
            waveform=part.waveform[chosen],
            targets=part.targets[chosen],
            choices=part.choices.part(begin, begin + size),
            frame_targets=None if part.frame_targets is None else part.frame_targets[chosen],
            ranking=None if part.ranking is None else part.ranking[chosen],
            known=None if part.known is None else part.known[chosen],
        )


def _exchange(network: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    if isinstance(network, DistributedDataParallel) and not last:
        without: AbstractContextManager[None] = network.no_sync()
        return without
    return nullcontext()
