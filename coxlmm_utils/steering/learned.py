"""Predict an input's steering vector from its own state, by a small network (L2S, arXiv 2508.12815)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from ..extraction import States, prompt_states
from ..images import CaptionedImages
from ..models import LMM, Layer
from ..text import check_counts
from .input_vectors import InputVectors, vectors_of
from .saving import load_tensors, save_tensors

KIND, NAME = "steering network", "steering_net"  # of what is saved, in words and as files
LOSSES = ("mse", "mse+l1-cos")  # the paper's, and the released code's
COSINE_WEIGHT = 0.1  # of the second one
WARM_UP = 50  # epochs of the cosine schedule


class SteeringNet(nn.Module):
    """Linear, tanh, linear without bias; states may be standardised before (ours)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(width, hidden), nn.Linear(hidden, width, bias=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, states: Tensor) -> Tensor:
        """Vectors, (inputs, width), of states of the same shape."""
        return self.decoder(torch.tanh(self.encoder((states - self.mean) / self.scale)))


@dataclass(frozen=True, eq=False)
class LearnedSteering:
    """A network that predicts steering vectors, and what it is of.

    Attributes
    ----------
    net : SteeringNet
    layer : layer
        L*, whose states are steered.
    input_layer : layer
        L', at whose last input token it reads.
    made : str
        How, in words.
    model : str
        The LMM's name, for others to read.
    fingerprint : str
        Of its weights.
    losses : tuple of float
        Of each epoch; none of a loaded one.
    """

    net: SteeringNet
    layer: Layer
    input_layer: Layer
    made: str
    model: str
    fingerprint: str
    losses: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"LearnedSteering(layer {self.input_layer} to {self.layer} of {self.model}: {self.made})"

    def check_model(self, lmm: LMM) -> None:
        """Refuse (ValueError) another model than the one that it was learned on."""
        if self.fingerprint != lmm.fingerprint:
            raise ValueError(
                f"the network is of {self.model} (weights {self.fingerprint}), not of {lmm.name} ({lmm.fingerprint}): "
                "learn one for this model"
            )

    @torch.inference_mode()
    def predict(self, states: States) -> InputVectors:
        """The vectors of inputs, from their states at the input layer.

        Raises
        ------
        ValueError
            If the states are of another model or have not this layer.
        """
        if states.fingerprint != self.fingerprint:
            raise ValueError(f"the network is of {self.model} (weights {self.fingerprint}), not of {states.model_name}")
        vectors = vectors_of(states.at(self.input_layer), self.net(states.at(self.input_layer).Z), f"L2S, {self.made}")
        return InputVectors(vectors.vectors, vectors.ids, self.layer, vectors.made, self.model, self.fingerprint)

    def vectors(
        self, lmm: LMM, images: CaptionedImages, prompts: str | Sequence[str], batch_size: int = 32
    ) -> InputVectors:
        """The vectors of new inputs: one pass of the model for their states, then the network."""
        return self.predict(prompt_states(lmm, images, prompts, [self.input_layer], batch_size=batch_size))

    def save(self, folder: str | Path) -> Path:
        """Write the network as safetensors and json, whole or not at all."""
        names = ("layer", "input_layer", "made", "model", "fingerprint")
        record = {name: getattr(self, name) for name in names}
        return save_tensors(folder, KIND, NAME, self.net.state_dict(), record)

    @classmethod
    def load(cls, folder: str | Path) -> LearnedSteering:
        """Read a saved network.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If its files are damaged, or of a later version.
        """
        return load_tensors(folder, KIND, NAME, cls._of)

    @classmethod
    def _of(cls, record: dict, tensors: dict[str, Tensor]) -> LearnedSteering:
        """A network of what its files hold."""
        hidden, width = tensors["encoder.weight"].shape
        net = SteeringNet(width, hidden)
        net.load_state_dict(tensors)
        if not all(part.isfinite().all() for part in tensors.values()):
            raise ValueError("its numbers are none")
        return cls(net.eval().requires_grad_(False), **record)


def learn_to_steer(
    states: States,
    vectors: InputVectors,
    hidden: int = 100,
    loss: str = "mse",
    epochs: int = 100,
    batch_size: int = 64,
    rate: float = 1e-4,
    cosine_schedule: bool = False,
    svd_start: bool = False,
    standardise: bool = False,
    seed: int = 0,
) -> LearnedSteering:
    """Learn to predict an input's vector from its state at the last input token (L2S, arXiv 2508.12815).

    Parameters
    ----------
    states : States
        Of `prompt_states` without completions, at the input layer L'.
    vectors : InputVectors
        Of the same inputs, in the same order: what is to be predicted.
    hidden : int, default 100
        Units between the two linear maps, as in the paper.
    loss : {"mse", "mse+l1-cos"}, default "mse"
        The paper's, or the released code's with .1 as the weight of the cosine.
    epochs, batch_size : int, default 100 and 64
        As in the paper.
    rate : float, default 1e-4
        Of Adam: the paper's for safety; 5e-5 for POPE.
    cosine_schedule : bool, default False
        A rise over 50 epochs, then a half cosine (the released code, for POPE).
    svd_start : bool, default False
        Begin with the vectors' principal directions as the second map (the released code, for POPE).
    standardise : bool, default False
        Centre and scale the states before the first map (ours): of small models the states are too long for tanh.
    seed : int, default 0

    Returns
    -------
    LearnedSteering

    Raises
    ------
    ValueError
        If states and vectors are not of the same inputs and model, or a number is out of range.
    """
    check_counts(hidden=hidden, epochs=epochs, batch_size=batch_size)
    _check(states, vectors, loss, rate)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SteeringNet(states.Z.shape[1], hidden)
    X, Y = states.Z.float(), vectors.vectors
    if standardise:
        net.mean.copy_(X.mean(dim=0))
        net.scale.copy_(X.std(dim=0) + 1e-6)
    if svd_start:
        _start_at_principal_directions(net, Y)
    losses = _fit(net, X, Y, loss, epochs, batch_size, rate, cosine_schedule, generator)
    made = f"learned from {len(X):,} inputs, {vectors.made}"
    return LearnedSteering(
        net.eval().requires_grad_(False),
        vectors.layer,
        states.layer,
        made,
        vectors.model,
        vectors.fingerprint,
        tuple(losses),
    )


def _fit(net, X, Y, loss, epochs, batch_size, rate, cosine_schedule, generator) -> list[float]:
    """Adam on batches in a new order each epoch; the mean loss of each."""
    optimiser, losses = torch.optim.Adam(net.parameters(), lr=rate), []
    for epoch in tqdm(range(epochs), desc="learning to steer"):
        for group in optimiser.param_groups:
            group["lr"] = rate * (_rise_and_fall(epoch, epochs) if cosine_schedule else 1.0)
        total = 0.0
        for rows in torch.randperm(len(X), generator=generator).split(batch_size):
            value = _loss(net(X[rows]), Y[rows], loss)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            total += value.item() * len(rows)
        losses.append(total / len(X))
    return losses


def _loss(predicted: Tensor, wanted: Tensor, loss: str) -> Tensor:
    """The paper's loss, or the released code's."""
    squares = F.mse_loss(predicted, wanted)
    if loss == "mse":
        return squares
    cosine = F.cosine_similarity(predicted, wanted).mean()
    return squares + F.l1_loss(predicted, wanted) - COSINE_WEIGHT * cosine


def _rise_and_fall(epoch: int, epochs: int) -> float:
    """A linear rise over the warm-up, then a half cosine down to nothing."""
    if epoch < WARM_UP:
        return (epoch + 1) / WARM_UP
    return float(0.5 * (1 + torch.cos(torch.tensor(torch.pi * (epoch - WARM_UP) / max(1, epochs - WARM_UP)))))


@torch.no_grad()
def _start_at_principal_directions(net: SteeringNet, Y: Tensor) -> None:
    """The columns of the second map become the principal directions of the centred vectors; the rest stays random."""
    directions = torch.linalg.svd(Y - Y.mean(dim=0), full_matrices=False).Vh  # (directions, width)
    n = min(len(directions), net.decoder.weight.shape[1])
    net.decoder.weight[:, :n] = directions[:n].T


def _check(states: States, vectors: InputVectors, loss: str, rate: float) -> None:
    """Refuse what does not fit together."""
    if loss not in LOSSES:
        raise ValueError(f"there is no loss {loss!r}: choose one of {', '.join(LOSSES)}")
    if not rate > 0:
        raise ValueError(f"rate is {rate}: give a number above 0, such as 1e-4")
    if states.fingerprint != vectors.fingerprint:
        raise ValueError(f"the states are of {states.model_name}, the vectors of {vectors.model}: take one model's")
    if tuple(states.images.ids) != vectors.ids:
        raise ValueError("the states are not of the vectors' inputs: read both of the same ones, in the same order")
    if len(states) < 2:
        raise ValueError(f"{len(states)} inputs are too few to learn from")
