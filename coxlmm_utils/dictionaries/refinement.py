"""The best restart, refined: exact steps on V and on U in turn, in as many directions as the concepts ask for.

Notation (V is held transposed; W and P as in basis.py)

    Z   (samples, width)            P = Z W^T   (samples, directions)
    U   (concepts, directions)      V           (concepts, samples)
    A = V V^T                       C = V P

    F(U) = min_{V >= 0} ||Z - V^T U W||_F^2 + lam * sum(V)

P and V are in blocks of samples (blocks.py).

Where concepts are nearly alike, as under a mean state that dominates, the cheap sweeps of solver.py crawl. There F
falls some hundred times faster with V solved exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor
from torch.nn.functional import pad

from .activations import solve
from .basis import coordinates, directions_of, outside, times_states
from .blocks import Blocks, in_blocks, mapped, summed
from .solver import Result, into_ball, sweep_rows
from .streamed import StreamedStates

MAX_SWEEPS = 20  # over the concepts, with V fixed: as close as the next solution of V needs
ROUNDING = 1e-15  # of the states' energy: what sums in float64 do not tell from zero


@dataclass(frozen=True)
class Iterate:
    """Concepts with their exact activations."""

    U: Tensor
    V: Blocks
    value: float  # F(U)


class Refinement:
    """Concepts within the span of W, improved until F falls no more in any direction of the states (ours).

    A step solves U for V fixed, moves on along the last change of U while this pays (Ang and Gillis, 2019), and solves
    V. Once steps within the span lower F by less than `tol` of it, W is widened by what U, with V fixed, would gain
    outside: the rows of V Z that W lacks. Where that is less than `tol` too, the refinement has converged.
    """

    def __init__(
        self, Z: Tensor | StreamedStates, squares: Tensor, W: Tensor, P: Blocks, best: Result, lam: float
    ) -> None:
        self.Z, self.squares, self.W, self.P, self.lam = Z, squares, W, P, lam
        self.now, self.previous = self._solved(best.U), best.U
        self.factor = 0.5  # of the extrapolation
        # After each iteration; solving V to the end belongs to the last one of the restart.
        self.objective = [*best.objective[:-1], min(best.objective[-1], self.now.value)]
        self.decrease = best.decrease  # in the last iteration, relative
        self.kkt = float("inf")  # see `_kkt`

    def run(self, tol: float, max_iter: int) -> bool:
        """Steps until F falls no more, or there were `max_iter` iterations; whether it converged."""
        at_rest = False  # within the span
        while True:
            C = summed(times_states, self.now.V, in_blocks(self.Z, type(self.P)))  # (concepts, width)
            lacking = outside(C, self.W)
            gain = (lacking * (lacking * self._inverse_curvature()[:, None])).sum()
            complete = float(gain) <= tol * self.now.value + ROUNDING * float(self.squares.sum())
            if at_rest and complete or len(self.objective) >= max_iter:
                break
            if not complete:
                self._widen(directions_of(lacking))
            at_rest = self._run_within(tol, max_iter)
        self.kkt = self._kkt(C)
        return at_rest and complete

    def _run_within(self, tol: float, max_iter: int) -> bool:
        """The same within the span of W: until a step without extrapolation lowers F by no more than `tol` of it."""
        extrapolate = False
        while len(self.objective) < max_iter:
            extrapolated = self._step(extrapolate)
            if self.decrease <= tol and not extrapolated:
                return True
            extrapolate = self.decrease > tol
        return False

    def _step(self, extrapolate: bool) -> bool:
        """U, then V. A step extrapolated too far is made again without, which cannot raise F; whether it is."""
        last, U = self.now, best_concepts(self.now.U, self.now.V, self.P)
        if extrapolate:
            ahead = self._solved(into_ball(U + self.factor * (U - self.previous)))
            extrapolate = ahead.value <= last.value
            self.factor = min(1.0, 1.2 * self.factor) if extrapolate else self.factor / 1.5
        following = ahead if extrapolate else self._solved(U)
        if following.value < last.value:  # rounding may say otherwise at the very end
            self.now, self.previous = following, U
        self.decrease = (last.value - self.now.value) / (last.value or 1.0)
        self.objective.append(self.now.value)
        return extrapolate

    def _solved(self, U: Tensor) -> Iterate:
        """With the activations solved, from those of the present concepts if there are any."""
        starts = self.now.V if hasattr(self, "now") else repeat(None)
        G, V, square, total = U @ U.T, type(self.P)(), 0.0, 0.0
        for P, squares, start in zip(self.P, in_blocks(self.squares, type(self.P)), starts):
            solved = solve(G, U @ P.T - self.lam / 2, squares, self.lam, start)
            V.append(solved.V)
            square, total = square + solved.square, total + float(solved.V.sum())
        return Iterate(U, V, square + self.lam * total)

    def _widen(self, D: Tensor) -> None:
        """Add directions, (directions, width), to W."""
        states = in_blocks(self.Z, type(self.P))
        self.W = torch.cat([self.W, D])
        self.P = mapped(lambda P, Z: torch.cat([P, coordinates(Z, D)], dim=1), self.P, states)
        self.previous = pad(self.previous, (0, len(D)))
        self.now = Iterate(pad(self.now.U, (0, len(D))), self.now.V, self.now.value)

    def _inverse_curvature(self) -> Tensor:
        """1 / ||v_k||^2, (concepts,), and 0 for a concept that no sample uses."""
        curvature = summed(lambda V: V.square().sum(dim=1), self.now.V)
        return torch.where(curvature > 0, 1 / curvature, 0)

    def _kkt(self, C: Tensor) -> float:
        """How far a concept is at most from the best one in the unit ball, given all else: a length, at most 2."""
        U = self.now.U @ self.W  # (concepts, width)
        change = (C - summed(lambda V: V @ V.T, self.now.V) @ U) * self._inverse_curvature()[:, None]
        return float((into_ball(U + change) - U).norm(dim=1).max())


def best_concepts(U: Tensor, V: Blocks, P: Blocks) -> Tensor:
    """Concepts that lower ||P - V^T U||_F^2 in the unit ball, with V fixed, from given ones."""
    U, A, C = U[None].clone(), summed(lambda V: V @ V.T, V)[None], summed(torch.matmul, V, P)[None]
    for _ in range(MAX_SWEEPS // 2):
        before = U.clone()
        sweep_rows(U, A, C, into_ball, n_sweeps=2)
        if float((U - before).abs().max()) < 1e-6:
            break
    return U[0]
