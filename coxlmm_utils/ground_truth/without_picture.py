"""How well concepts tell known factor values when the picture is taken away (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..faithfulness import ORIGINAL, VisualDependence
from ..picturebook import Factors, facts_in
from .factor_matching import MIN_SAMPLES, Value, aucs, factor_labels


def best_values(activations: np.ndarray, prefixes: Sequence[str], pages: Sequence[Factors]) -> list[Value]:
    """For each concept the factor value that it tells best, by AUC: (factor, value) (ours).

    Parameters
    ----------
    activations : numpy.ndarray
        (samples, concepts).
    prefixes : sequence of str
        What was read of each sample's caption. Of a value, samples whose words name its factor are left out.
    pages : sequence of Factors
        What is on each sample.
    """
    scores = {value: auc for value, (auc, _) in _unnamed_aucs(activations, prefixes, pages).items()}
    return [list(scores)[best] for best in np.array(list(scores.values())).argmax(0)]


def known_truth(
    found: VisualDependence, pages: Sequence[Factors], values: Sequence[Value] | None = None
) -> pd.DataFrame:
    """How well each concept tells one known factor value, with the picture and without it (ours).

    Parameters
    ----------
    found : VisualDependence
    pages : sequence of Factors
        What is on the samples, in their order: `[factors_of(int(id)) for id in found.ids]`.
    values : sequence of (factor, value), optional
        Of each concept, best chosen on other pages by `best_values`. Default: chosen on these with their pictures,
        which flatters the original condition.

    Returns
    -------
    pandas.DataFrame
        One row for each concept and condition: concept, factor, value, condition, auc, samples. Samples whose words
        before the state name the factor are left out, since the words would give it away; the AUC is NaN if fewer than
        `FEWEST` of the others show the value, or do not.
    """
    values = values or best_values(found.activations[ORIGINAL], found.prefixes, pages)
    rows = []
    for condition, activations in found.activations.items():
        scores = _unnamed_aucs(activations, found.prefixes, pages)
        for k, value in enumerate(values):
            auc, n = scores.get(value, (np.full(len(values), np.nan), 0))
            rows.append((k, *value, condition, float(auc[k]), n))
    return pd.DataFrame(rows, columns=["concept", "factor", "value", "condition", "auc", "samples"])


def _unnamed_aucs(
    activations: np.ndarray, prefixes: Sequence[str], pages: Sequence[Factors]
) -> dict[Value, tuple[np.ndarray, int]]:
    """For each factor value the concepts' AUCs, (concepts,), over samples whose words leave it open; and how many."""
    named = [{factor for factor, _ in facts_in(prefix)} for prefix in prefixes]
    scores = {}
    for (factor, value), shown in factor_labels(pages).items():
        unnamed = np.array([factor not in factors for factors in named])
        shown = shown[unnamed]
        if min(shown.sum(), (~shown).sum()) >= MIN_SAMPLES:
            scores[factor, value] = aucs(activations[unnamed], shown[:, None])[:, 0], len(shown)
    return scores
