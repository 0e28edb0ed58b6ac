"""What every dictionary of concepts can do, whichever method learns it.

Samples are rows here; the paper's Z, U and V are the transposes.

    Z   (samples, width)      states, unscaled
    U   (concepts, width)     concepts: `components_`
    V   (samples, concepts)   activations: `activations_`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from inspect import signature
from numbers import Integral
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..text import check_counts


class Dictionary(ABC):
    """A method that learns concepts from states, with scikit-learn's manners.

    The constructor only stores its parameters; `fit` learns, and what it learned ends in an underscore.

    Attributes
    ----------
    label : str
        The method's name in figures and tables.
    learned : tuple of str
        The attributes that `transform` needs: what a saved dictionary has to keep.
    signed : bool
        Whether activations have both signs (PCA's alone have): each concept then has two sides, u_k and -u_k.
    additive : bool
        Whether a state is reconstructed as a sum, each concept times its activation, and not as the nearest concept.
    components_ : ndarray of float32, shape (concepts, width)
    activations_ : ndarray of float32, shape (samples, concepts)
        ``transform(Z)`` of the states that it was fitted to.
    reconstruction_error_ : float
        ``||Z - reconstruct(V)||_F / ||Z||_F`` of the same states, or 0 if all are zero (ours; how the error of the
        paper's Fig 11 is scaled is not known).
    """

    label: str
    learned: tuple[str, ...] = ("components_",)
    signed: bool = False
    additive: bool = True
    n_concepts: int

    @abstractmethod
    def fit(self, Z: np.ndarray | Tensor) -> Self:
        """Learn the concepts of states, (samples, width); returns itself."""

    @abstractmethod
    def transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """Activations of states: (samples, width) to float32 (samples, concepts)."""

    def reconstruct(self, V: np.ndarray) -> np.ndarray:
        """The states that activations stand for, ``V U`` unless a method says otherwise: float32 (samples, width)."""
        return np.asarray(V, dtype=np.float32) @ self.components_

    def side_directions(self) -> np.ndarray:
        """What words are read from: the concepts u_k, and of a signed method then also all -u_k; (sides, width) (ours)."""
        return np.concatenate([self.components_, -self.components_]) if self.signed else self.components_

    def side_activations(self, V: np.ndarray) -> np.ndarray:
        """How active each of `side_directions` is, never negative: (samples, concepts) to (samples, sides) (ours)."""
        return np.concatenate([V, -V], axis=1).clip(min=0) if self.signed else V

    def activation_gradient(self, z: Tensor, k: int) -> Tensor:
        """The gradient of activation k with respect to a state, both (width,), in float64.

        Where activations solve a least-squares problem, they are linear in the state as long as the same concepts are
        active: the gradient is row k of the pseudo-inverse of these. Of concepts at right angles (PCA) that is u_k.
        """
        U = torch.as_tensor(self.components_).double()
        active = torch.as_tensor(self.transform(z[None].double().cpu())[0] != 0)
        active[k] = True
        return torch.linalg.pinv(U[active])[:, active[:k].sum()]

    def clone(self, **parameters) -> Self:
        """An unfitted dictionary with the same parameters but for those given."""
        own = {name: getattr(self, name) for name in signature(type(self)).parameters}
        return type(self)(**own | parameters)

    def fit_transform(self, Z: np.ndarray | Tensor) -> np.ndarray:
        """`fit`, then `activations_`, shape (samples, concepts); parameters and errors are those of `fit`."""
        return self.fit(Z).activations_

    def get_params(self) -> dict:
        """The parameters that it was made with, as json can hold them (as scikit-learn's estimators do)."""
        names = [name for name in signature(type(self)).parameters if name not in ("verbose", "device")]
        return {name: _plain(getattr(self, name)) for name in names}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.get_params().items() if value is not None)
        return f"{type(self).__name__}({settings})"

    def matrix(self, Z: np.ndarray | Tensor) -> Tensor:
        """States as a method works on them: `as_matrix`, unless it can do with less memory."""
        return as_matrix(Z, "sample")

    def check_number(self, Z: Tensor) -> None:
        """Refuse fewer samples than concepts, no concepts, or a seed that is none (ValueError)."""
        check_counts(n_concepts=self.n_concepts)
        if self.n_concepts is None:
            raise ValueError("n_concepts must be a whole number, not None.")
        seed = getattr(self, "random_state", None)  # Simple has none
        if seed is not None and not (isinstance(seed, Integral) and seed >= 0):
            raise ValueError(f"random_state must be a whole number from 0 on, not {seed!r}.")
        if self.n_concepts > len(Z):
            few = max(1, len(Z) // 3)  # three samples for each
            raise ValueError(
                f"n_concepts={self.n_concepts} is more than the {len(Z)} samples: lower it, to {few} or so."
            )

    def check_states(self, Z: np.ndarray | Tensor) -> Tensor:
        """States that these concepts can be read from, as a matrix; ValueError says what is wrong with them."""
        if not hasattr(self, "components_"):
            raise ValueError(f"This {type(self).__name__} has no concepts yet: call fit.")
        Z, width = self.matrix(Z), self.components_.shape[1]
        if Z.shape[1] != width:
            raise ValueError(f"The states have width {Z.shape[1]}, not {width}: use the same model.")
        return Z


def as_matrix(rows: np.ndarray | Tensor, name: str, first: int = 0) -> Tensor:
    """A finite matrix of float32 or float64, not copied if it is one; `name` is what its rows are called.

    `first` is the number of its first row, where it is a part of another matrix.

    Raises
    ------
    ValueError
        If it is no matrix of real numbers, or names the first row with a NaN or infinite value.
    """
    check_kind(rows, name)
    rows = rows.detach() if isinstance(rows, Tensor) else torch.from_numpy(_native(rows))
    rows = rows.cpu() if rows.device.type == "mps" else rows  # which has no float64
    check_shape(rows, name)
    rows = rows.to(rows.dtype if rows.dtype == torch.float64 else torch.float32).contiguous()
    if not rows.sum().isfinite():  # the quick look; a sum may also overflow
        bad = (~rows.isfinite().all(dim=1)).nonzero()
        if len(bad):
            raise ValueError(f"{name.capitalize()} {first + int(bad[0])} has a NaN or infinite value: drop or redo it.")
    return rows


def check_kind(rows: np.ndarray | Tensor, name: str) -> None:
    """Refuse numbers of which a part would be lost (ValueError)."""
    if rows.is_complex() if isinstance(rows, Tensor) else np.iscomplexobj(rows):
        raise ValueError(f"The {name}s are complex numbers: give their real parts, or their absolute values.")
    if isinstance(rows, Tensor) and rows.layout != torch.strided:
        raise ValueError(f"The {name}s are a sparse tensor: give them as a dense one, by to_dense().")
    if np.ma.is_masked(rows):
        raise ValueError(f"The {name}s are an array with masked values: drop these rows, or fill them.")


def check_shape(rows: np.ndarray | Tensor, name: str) -> None:
    """Refuse what is no matrix (ValueError)."""
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"Expected a matrix with one row for each {name}, got shape {tuple(rows.shape)}.")


def in_chunks(Z: Tensor) -> Iterator[Tensor]:
    """The rows of Z in float64, some at a time: about two megabytes, which stays in the processor's cache.

    Z is a tensor, or `StreamedStates`, which are read as they come. Each chunk is overwritten by the next.
    """
    n = max(1, 2**18 // max(1, Z.shape[1]))
    buffer = torch.empty(min(n, len(Z)), Z.shape[1], dtype=torch.float64, device=Z.device)
    for chunk in Z.split(n):
        yield buffer[: len(chunk)].copy_(chunk if isinstance(chunk, Tensor) else chunk.read())


def squared_norms(Z: Tensor) -> Tensor:
    """Of the rows of Z: (samples,), in float64."""
    norms, first = torch.empty(len(Z), dtype=torch.float64, device=Z.device), 0
    for chunk in in_chunks(Z):
        norms[first : first + len(chunk)] = torch.linalg.vector_norm(chunk, dim=1)
        first += len(chunk)
    return norms.square_()


def _native(rows) -> np.ndarray:
    """A float array that torch can share: whole numbers become float64; strides and byte order as torch has them."""
    rows = np.asarray(rows)
    kind = rows.dtype.newbyteorder("=") if rows.dtype.kind == "f" and rows.dtype.itemsize <= 8 else np.float64
    return np.require(rows, dtype=kind, requirements=["C", "W"])


def _plain(value):
    """A number without its numpy type."""
    return value.item() if isinstance(value, np.generic) else value


def concept_change(dictionary: Dictionary, before: np.ndarray, after: np.ndarray) -> Tensor:
    """What to add to states to turn the activations `before` into `after`, (changes, concepts): (changes, width).

    The residual, which the dictionary does not reconstruct, stays. Removing concept k where V U reconstructs the states
    adds -v_k u_k.

    Parameters
    ----------
    before, after : numpy.ndarray
        Activations, (changes, concepts).

    Returns
    -------
    Tensor
        (changes, width), float32.
    """
    return torch.as_tensor(dictionary.reconstruct(after) - dictionary.reconstruct(before))


def random_changes(change: Tensor, n: int, rng: np.random.Generator) -> Tensor:
    """Random directions of the same norm as a change, (width,): (n, width)."""
    directions = torch.as_tensor(rng.standard_normal((n, len(change))), dtype=change.dtype)
    return directions / directions.norm(dim=1, keepdim=True) * change.norm()
