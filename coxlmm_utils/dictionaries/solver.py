"""The rounds of Semi-NMF: several starts side by side, each improving V with U fixed, then U with V fixed.

Notation (samples are rows of Z; V is held transposed, so that a concept is one contiguous row)

    Z   (samples, width)                states; read twice a round for all starts together, never copied
    U   (starts, concepts, width)       V   (starts, concepts, samples)
    G = U U^T   (starts, concepts, concepts)      T = U Z^T - lam / 2   (starts, concepts, samples)
    A = V V^T   (starts, concepts, concepts)      C = V Z               (starts, concepts, width)

    f = ||Z - V^T U||_F^2 + lam * sum(V)    (starts,)

Products with Z are in its own float type; what is summed over samples or over the width is in float64.
States are thought of as divided by `scale`, about their longest norm, so that no product overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

SWEEPS = 2  # passes over the concepts in each half of a round; cheap beside reading Z


@dataclass(frozen=True)
class End:
    """Where a start has come to: its concepts, the objective after each round, and whether and how it settled."""

    U: Tensor  # (concepts, width)
    objective: list[float]
    decrease: float  # of the last round, relative
    settled: bool


def best_of_restarts(
    Z: Tensor, squares: Tensor, U: Tensor, lam: float, tol: float, max_iter: int, progress: bool = False
) -> tuple[End, list[int]]:
    """All starts to their ends: the one with the lowest objective, and how many were under way in each round."""
    rounds = Alternation(Z, squares, U, lam, tol)
    settled, under_way, lowest = torch.zeros_like(rounds.plain), [[] for _ in U], None
    bar = tqdm(range(max_iter), desc="Semi-NMF", unit="rounds", delay=3, leave=False, disable=not progress)
    n_under_way = []
    for number in bar:
        settled = rounds.step() if number else settled
        n_under_way.append(len(rounds))
        for curve, value in zip(under_way, rounds.objective):
            curve.append(value)
        over = settled | (number == max_iter - 1)
        for i in over.nonzero()[:, 0].tolist():
            if lowest is None or under_way[i][-1] < lowest.objective[-1]:
                lowest = End(rounds.U[i], under_way[i], float(rounds.decrease[i]), bool(settled[i]))
        if over.any():
            under_way = [curve for curve, ended in zip(under_way, over.tolist()) if not ended]
            rounds.select(~over)
        if not under_way:
            break
    bar.close()
    return lowest, n_under_way


class Alternation:
    """Starts on their way to the nearest minimum of the Semi-NMF objective (paper section 3, solver ours).

    Each round first moves on along the last change of U and V, by a factor that grows while this pays (the
    extrapolation of Ang and Gillis, 2019). A round that would raise the objective is not kept: the next one, and
    any after a round that lowers it by less than `tol` of it, is plain. A plain round that does so is the last.

    A concept that no sample uses is re-drawn, one a round: it becomes the direction of what is left of the worst
    reconstructed sample. Its activations are all zero, so the objective stays, and the next round can only lower it.

    Parameters
    ----------
    Z : Tensor
        (samples, width), float32 or float64.
    squares : Tensor
        (samples,), the squared norms of the states, in float64.
    U : Tensor
        (starts, concepts, width), of the same type, in the unit ball.
    lam : float
        Of the paper's convention.
    tol : float
    """

    def __init__(self, Z: Tensor, squares: Tensor, U: Tensor, lam: float, tol: float) -> None:
        self.Z, self.tol = Z, tol
        self.scale = 2.0 ** round(math.log2(float(squares.max()) or 1.0) / 2)  # a power of two: exact
        self.lam, self.squares = lam / self.scale, squares / self.scale**2
        self.energy = self.squares.sum()  # ||Z||_F^2
        self.U, self.V = U, Z.new_zeros(*U.shape[:2], len(Z))
        self.f, _ = self._round(self.U, self.V)
        self.U_before, self.V_before = self.U.clone(), self.V.clone()  # whose memory the next round takes over
        self.plain = torch.ones_like(self.f, dtype=torch.bool)
        self.idle = torch.zeros_like(self.f, dtype=torch.long)
        self.factor, self.ceiling = torch.full_like(self.f, 0.5), torch.ones_like(self.f)  # of the extrapolation
        self.decrease = torch.full_like(self.f, torch.inf)  # of the last round that was kept, relative

    def __len__(self) -> int:
        return len(self.U)

    @property
    def objective(self) -> list[float]:
        """Of each start, in the unit of the states."""
        return (self.f * self.scale**2).tolist()

    def step(self) -> Tensor:
        """One round of every start; (starts,) bool, which of them have settled."""
        reach = 1 + torch.where(self.plain, 0, self.factor).to(self.U)[:, None, None]
        U, V = into_ball(self.U_before.lerp_(self.U, reach)), self.V_before.lerp_(self.V, reach).relu_()
        f, redrawn = self._round(U, V)
        better = f <= self.f
        decrease = (self.f - f) / self.f.clamp(min=1e-300)
        self.decrease = torch.where(better, decrease, self.decrease)
        small = decrease <= self.tol
        self.idle = torch.where(self.plain & small, self.idle + 1, 0)
        self._keep(better, U, V, f)
        self.plain = ~better | small | redrawn
        return self.idle > torch.where(redrawn, 2, 0)  # a re-drawn concept gets its chance

    def select(self, which: Tensor) -> None:
        """Go on with some of the starts only."""
        for name, value in vars(self).items():
            if name in ("U", "V", "U_before", "V_before", "f", "plain", "idle", "factor", "ceiling", "decrease"):
                setattr(self, name, value[which])

    def _keep(self, better: Tensor, U: Tensor, V: Tensor, f: Tensor) -> None:
        """Take the new concepts and activations where they are better, and learn how far to extrapolate."""
        new = (U, V) if better.all() else _chosen(better, (U, V), (self.U, self.V))
        (self.U_before, self.V_before), (self.U, self.V) = (self.U, self.V), new
        self.f = torch.where(better, f, self.f)
        self.ceiling = torch.where(better, (1.05 * self.ceiling).clamp(max=1), self.factor)
        self.factor = torch.where(better, torch.minimum(1.1 * self.factor, self.ceiling), self.factor / 1.5)

    def _round(self, U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Improve V, then U, in place; the objective, and which starts had a concept re-drawn."""
        G = gram(U)
        T = self._times_states(U, self.Z.T).sub_(self.lam / 2)
        descend(V, G, T, torch.relu_, SWEEPS)
        redrawn = self._redraw(U, V, G, T)
        A, C = gram(V), self._times_states(V, self.Z)
        descend(U, A, C, into_ball, SWEEPS)
        fit = (U * C).sum(dim=(1, 2), dtype=torch.float64)
        square = self.energy - 2 * fit + (A * gram(U)).sum(dim=(1, 2))  # ||Z - V^T U||_F^2
        return square.clamp(min=0) + self.lam * V.sum(dim=(1, 2), dtype=torch.float64), redrawn

    def _times_states(self, X: Tensor, Z: Tensor) -> Tensor:
        """X times the scaled states, for all starts in one product."""
        return (X.flatten(0, 1) @ Z).div_(self.scale).view(*X.shape[:2], -1)

    def _redraw(self, U: Tensor, V: Tensor, G: Tensor, T: Tensor) -> Tensor:
        """Turn the first unused concept of each start, in place, to what the worst sample lacks; which had one."""
        redrawn = torch.zeros(len(U), dtype=torch.bool, device=U.device)
        unused = V.amax(dim=2) == 0  # (starts, concepts)
        for start, k in unused.nonzero()[unused.cumsum(1)[unused] == 1].tolist():
            left = self.squares + (V[start] * (G[start].to(V) @ V[start] - 2 * T[start] - self.lam)).sum(0)
            worst = int(left.argmax())
            residual = self.Z[worst] / self.scale - V[start, :, worst] @ U[start]
            if residual.norm() > self.lam / 2:  # else it would activate nothing
                U[start, k] = residual / residual.norm()
                redrawn[start] = True
        return redrawn


def _chosen(which: Tensor, these: tuple[Tensor, ...], those: tuple[Tensor, ...]) -> list[Tensor]:
    """Of `these` the starts in `which`, of `those` the others."""
    return [torch.where(which[:, None, None], this, that) for this, that in zip(these, those)]


def descend(X: Tensor, H: Tensor, T: Tensor, project: Callable[[Tensor], Tensor], sweeps: int) -> None:
    """Lower <X, H X> - 2 <X, T>, in place, by projected gradient on one row of X at a time.

    X and T are (starts, concepts, n), H is (starts, concepts, concepts); `project` works in place. A row's curvature
    is the same in all directions, so that each step ends at the row's minimum.
    """
    curvature = H.diagonal(dim1=1, dim2=2)
    steps, H = torch.where(curvature > 0, 1 / curvature, 0).to(X), H.to(X)
    slope = torch.empty_like(X[:, :1])  # (starts, 1, n)
    for k in [*range(X.shape[1])] * sweeps:
        torch.baddbmm(T[:, k : k + 1], H[:, k : k + 1], X, alpha=-1, out=slope)
        project(X[:, k].addcmul_(slope[:, 0], steps[:, k : k + 1]))


def into_ball(concepts: Tensor) -> Tensor:
    """Concepts, (..., width), those longer than 1 shortened to 1, in place."""
    return concepts.div_(concepts.norm(dim=-1, keepdim=True).clamp_(min=1))


def gram(X: Tensor) -> Tensor:
    """Inner products of the rows of each start, (starts, concepts, concepts): short sums in X's type, long in float64."""
    short = 512 if X.dtype == torch.float32 else X.shape[2]
    return sum((part @ part.transpose(1, 2)).double() for part in X.split(short, dim=2))
