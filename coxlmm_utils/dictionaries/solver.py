"""Block coordinate descent for Semi-NMF: several restarts side by side, each improving V with U fixed, then U with V
fixed.

Notation (samples are rows of Z; V is held transposed, so that a concept is one contiguous row)

    Z   (samples, width)                states, in float64; read once per iteration for all restarts together
    U   (restarts, concepts, width)     V   (restarts, concepts, samples)
    G = U U^T   (restarts, concepts, concepts)      T = U Z^T - lam / 2   (restarts, concepts, samples)
    A = V V^T   (restarts, concepts, concepts)      C = V Z               (restarts, concepts, width)

    f = ||Z - V^T U||_F^2 + lam * sum(V)    (restarts,)

Everything is in float64. Of wide states Z holds the coordinates in few directions (basis.py), so that it is small.
Z and V are in blocks of samples (blocks.py), which are all in memory or one at a time: V is solved, and A, C and f are
summed, block by block.
So that no product overflows, Z, V and lam are divided by `scale`, about the longest state's norm, and f by its square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .blocks import Blocks, as_blocks, in_blocks, mapped

N_SWEEPS = 2  # over the concepts, in each half of an iteration; cheap beside reading Z


@dataclass(frozen=True)
class Result:
    """What one restart ended with."""

    U: Tensor  # (concepts, width)
    objective: list[float]  # after each iteration
    decrease: float  # of the objective in the last iteration, relative
    converged: bool


def best_of_restarts(
    Z: Tensor | Blocks, squares: Tensor, U: Tensor, lam: float, tol: float, max_iter: int, progress: bool = False
) -> tuple[Result, list[int]]:
    """Run all restarts to their ends: the result of lowest objective, and how many ran in each iteration."""
    descent = BlockCoordinateDescent(Z, squares, U, lam, tol)
    curves, best, n_running = [[] for _ in U], None, []
    bar = tqdm(total=max_iter, desc="Semi-NMF", unit="iterations", delay=3, leave=False, disable=not progress)
    for iteration in range(max_iter):
        # The constructor has made the first iteration already.
        converged = descent.step() if iteration else torch.zeros_like(descent.now.unextrapolated)
        n_running.append(len(descent))
        for curve, value in zip(curves, descent.objective):
            curve.append(value)
        ended = converged | (iteration == max_iter - 1)
        for i in ended.nonzero()[:, 0].tolist():
            if best is None or curves[i][-1] < best.objective[-1]:
                best = Result(descent.now.U[i], curves[i], float(descent.now.decrease[i]), bool(converged[i]))
        if ended.any():
            curves = [curve for curve, over in zip(curves, ended.tolist()) if not over]
            descent.now = descent.now.select(~ended)
        bar.update()
        if not curves:
            break
    bar.total = bar.n  # converged is done: a notebook's bar that stops early would turn red and stay
    bar.close()
    return best, n_running


@dataclass
class Restarts:
    """The restarts that still run: the first dimension of every tensor counts them."""

    U: Tensor  # (restarts, concepts, width)
    V: Blocks  # (restarts, concepts, samples)
    U_previous: Tensor
    V_previous: Blocks
    f: Tensor  # (restarts,) like all that follow: the objective of the scaled states
    unextrapolated: Tensor  # whether the next iteration is
    n_idle: Tensor  # un-extrapolated iterations in a row that lowered f by no more than `tol` of it
    factor: Tensor  # of the extrapolation
    cap: Tensor  # of that factor
    decrease: Tensor  # of f in the last iteration that was kept, relative

    def select(self, which: Tensor) -> Restarts:
        """Some of the restarts, (restarts,) bool."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Restarts(
            **{
                name: value[which] if isinstance(value, Tensor) else mapped(lambda V: V[which], value)
                for name, value in values.items()
            }
        )


class BlockCoordinateDescent:
    """Exact projected gradient steps on one concept at a time, extrapolated (objective: the paper's; solver ours).

    Each iteration first moves on along the last change of U and V, by a factor that grows while this pays (the
    extrapolation of Ang and Gillis, 2019). An iteration that would raise the objective is not kept: the next one, and
    any after an iteration that lowers it by less than `tol` of it, is un-extrapolated. An un-extrapolated iteration
    that does so is the last: extrapolation can stall, block coordinate descent by itself only at a stationary point.

    A concept that no sample uses is replaced, one per iteration: it becomes the direction of the residual of the worst
    reconstructed sample. Its activations are all zero, so the objective stays, and the next iteration can only lower
    it.
    """

    def __init__(self, Z: Tensor | Blocks, squares: Tensor, U: Tensor, lam: float, tol: float) -> None:
        self.Z, self.tol = as_blocks(Z), tol
        self.scale = 2.0 ** round(math.log2(float(squares.max()) or 1.0) / 2)  # a power of two: dividing is exact
        self.lam, self.squares = lam / self.scale, squares / self.scale**2  # squared norms, (samples,)
        self.energy = self.squares.sum()  # ||Z||_F^2
        V, f, _ = self._iterate(U, (Z.new_zeros(*U.shape[:2], len(Z)) for Z in self.Z))
        self.now = Restarts(
            U,
            V,
            U.clone(),
            mapped(torch.clone, V),
            f,
            unextrapolated=torch.ones_like(f, dtype=torch.bool),
            n_idle=torch.zeros_like(f, dtype=torch.long),
            factor=torch.full_like(f, 0.5),
            cap=torch.ones_like(f),
            decrease=torch.full_like(f, torch.inf),
        )

    def __len__(self) -> int:
        return len(self.now.U)

    @property
    def objective(self) -> list[float]:
        """Of each restart, in the unit of the states."""
        return (self.now.f * self.scale**2).tolist()

    def step(self) -> Tensor:
        """One iteration of every restart; (restarts,) bool, which of them have converged."""
        now = self.now
        # 1 stays where it is, 1 + factor goes as far again, times the factor, as from the previous iterate to this one.
        reach = 1 + torch.where(now.unextrapolated, 0, now.factor)[:, None, None]
        # In place: in memory, that of the previous iterates becomes that of the new ones.
        U = into_ball(now.U_previous.lerp_(now.U, reach))
        V = (previous.lerp_(V, reach).relu_() for previous, V in zip(now.V_previous, now.V, strict=True))
        V, f, replaced = self._iterate(U, V)
        better = f <= now.f
        decrease = (now.f - f) / now.f.clamp(min=1e-300)
        small = decrease <= self.tol
        now.decrease = torch.where(better, decrease, now.decrease)
        now.n_idle = torch.where(now.unextrapolated & small, now.n_idle + 1, 0)
        self._keep(better, U, V, f)
        now.unextrapolated = ~better | small | replaced
        # An iteration that replaced a concept ends the restart only as the third idle one in a row, so that the new
        # concept has two iterations to be of use.
        return now.n_idle > torch.where(replaced, 2, 0)

    def _keep(self, better: Tensor, U: Tensor, V: Blocks, f: Tensor) -> None:
        """Keep the new iterates of the restarts that they are better for, and adapt how far to extrapolate."""
        now = self.now
        if not better.all():
            U = torch.where(better[:, None, None], U, now.U)
            V = mapped(lambda new, old: torch.where(better[:, None, None], new, old), V, now.V)
        now.U_previous, now.V_previous, now.U, now.V = now.U, now.V, U, V
        now.f = torch.where(better, f, now.f)
        # A factor that failed caps the factor; the cap recovers more slowly than the factor grows towards it.
        now.cap = torch.where(better, (1.05 * now.cap).clamp(max=1), now.factor)
        now.factor = torch.where(better, torch.minimum(1.1 * now.factor, now.cap), now.factor / 1.5)

    def _iterate(self, U: Tensor, starts: Iterable[Tensor]) -> tuple[Blocks, Tensor, Tensor]:
        """Improve V, block by block, then U, in place: V, the objective, and which restarts had a concept replaced."""
        G, A, C, total = gram(U), 0, 0, 0
        improved, unused = type(self.Z)(), Unused(U, self.lam)
        for Z, squares, V in zip(self.Z, in_blocks(self.squares, type(self.Z)), starts, strict=True):
            T = self._times_states(U, Z.T).sub_(self.lam / 2)
            sweep_rows(V, G, T, torch.relu_, N_SWEEPS)
            unused.look_at(Z, squares, V, G, T, self.scale)
            A, C, total = A + gram(V), C + self._times_states(V, Z), total + V.sum(dim=(1, 2))
            improved.append(V)
        replaced = unused.replace()
        sweep_rows(U, A, C, into_ball, N_SWEEPS)
        fit = (U * C).sum(dim=(1, 2))
        square = self.energy - 2 * fit + (A * gram(U)).sum(dim=(1, 2))  # ||Z - V^T U||_F^2
        return improved, square.clamp(min=0) + self.lam * total, replaced

    def _times_states(self, X: Tensor, Z: Tensor) -> Tensor:
        """X times the scaled states, for all restarts in one product."""
        return (X.flatten(0, 1) @ Z).div_(self.scale).view(*X.shape[:2], -1)


class Unused:
    """The concepts that no sample uses, and each restart's sample that is reconstructed worst, over blocks of samples."""

    def __init__(self, U: Tensor, lam: float) -> None:
        self.U, self.lam = U, lam
        self.concepts = torch.ones(U.shape[:2], dtype=torch.bool, device=U.device)
        self.errors = [-math.inf] * len(U)  # the largest so far
        self.residuals = torch.zeros_like(U[:, 0])  # (restarts, width), of the samples with these

    def look_at(self, Z: Tensor, squares: Tensor, V: Tensor, G: Tensor, T: Tensor, scale: float) -> None:
        """One more block. Errors are only of interest where a concept is unused so far."""
        self.concepts &= V.amax(dim=2) == 0
        for i in self.concepts.any(dim=1).nonzero()[:, 0].tolist():
            errors = squares + (V[i] * (G[i] @ V[i] - 2 * T[i] - self.lam)).sum(0)  # (samples,)
            worst = int(errors.argmax())
            if float(errors[worst]) > self.errors[i]:
                self.errors[i] = float(errors[worst])
                self.residuals[i] = Z[worst] / scale - V[i, :, worst] @ self.U[i]

    def replace(self) -> Tensor:
        """Turn each restart's first into that residual, in place; (restarts,) bool: whether it had one."""
        replaced = torch.zeros(len(self.U), dtype=torch.bool, device=self.U.device)
        for i, k in self.concepts.nonzero()[self.concepts.cumsum(1)[self.concepts] == 1].tolist():
            length = self.residuals[i].norm()
            if length > self.lam / 2:  # else it would activate nothing
                self.U[i, k] = self.residuals[i] / length
                replaced[i] = True
        return replaced


def sweep_rows(X: Tensor, H: Tensor, T: Tensor, project: Callable[[Tensor], Tensor], n_sweeps: int) -> None:
    """Lower <X, H X> - 2 <X, T>, in place, by projected gradient on one row of X at a time.

    X and T are (restarts, concepts, n), H is (restarts, concepts, concepts); `project` works in place. A row's
    curvature is the same in all directions, so one step of length 1 / curvature ends exactly at the row's minimum.
    """
    curvature = H.diagonal(dim1=1, dim2=2)
    steps = torch.where(curvature > 0, 1 / curvature, 0)
    descent = torch.empty_like(X[:, :1])  # (restarts, 1, n): T - H X of a row, minus half the gradient
    rows = zip(T.split(1, dim=1), H.split(1, dim=1), X.unbind(1), steps.split(1, dim=1))  # views, cheaper than indexing
    for T_k, H_k, X_k, step in list(rows) * n_sweeps:
        torch.baddbmm(T_k, H_k, X, alpha=-1, out=descent)
        project(X_k.addcmul_(descent[:, 0], step))


def into_ball(concepts: Tensor) -> Tensor:
    """Project concepts, (..., width), on the unit ball, in place."""
    return concepts.div_(concepts.norm(dim=-1, keepdim=True).clamp_(min=1))


def gram(X: Tensor) -> Tensor:
    """Inner products of each restart's rows, (restarts, concepts, concepts)."""
    return X @ X.transpose(1, 2)
