"""What a result answers to a question of the trust card, concept by concept; every result of the card makes one."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd

from ..statistics import bootstrap_mean


@dataclass(frozen=True)
class Answers:
    """The answers of one result to one question about all concepts of a bank."""

    values: np.ndarray  # (concepts,): what was measured; NaN where there is nothing to measure
    holds: np.ndarray  # (concepts,): 1 yes, 0 no, NaN not evaluated
    finding: str  # the numbers over all concepts, with intervals and controls

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=float)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "holds", np.where(np.isnan(values), np.nan, np.asarray(self.holds, dtype=float)))


def bank_key(activations: np.ndarray) -> str:
    """What a result remembers its bank by: a digest of the activations of the samples that it was learned from.

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts), a bank's `activations`.

    Returns
    -------
    str
    """
    return sha256(np.ascontiguousarray(activations, dtype=np.float32).tobytes()).hexdigest()[:12]


def by_concept(bank, table: pd.DataFrame, *columns: str) -> list[np.ndarray]:
    """Columns of a table that is indexed by concept, (concepts,) each; NaN where a concept has no row."""
    return [table[name].astype(float).reindex(range(len(bank))).to_numpy() for name in columns]


def mean_text(values: np.ndarray) -> str:
    """A mean over concepts with its interval, as far as there is one."""
    known = values[~np.isnan(values)]
    return str(bootstrap_mean(known)) if len(known) > 1 else f"{known.mean():.3f}" if len(known) else "unknown"
