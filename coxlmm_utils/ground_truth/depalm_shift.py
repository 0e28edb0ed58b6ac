"""Concept shift of the picture book's DePALM, whose language model was never trained on the book before (ours)."""

from __future__ import annotations

import pandas as pd

from ..models import LMM
from ..shift import Cuts
from .fine_tuned import fine_tuned
from .model_scores import as_text
from .shift_scores import set_scores

ADAPTER = "picturebook-depalm-place"
AT = 0.9  # of its layers: words come late, see `depalm_scores`
N_PAGES, N_CONCEPTS, SEEDS = 500, 12, range(3)


def depalm_shift_scores(lmm: LMM) -> dict:
    """What captions about places did to the concepts of its language model.

    Parameters
    ----------
    lmm : LMM
        "picturebook-depalm".

    Returns
    -------
    dict
        As `set_scores`, and layer; without changed and counts, for there is no null to take cuts from.
    """
    layer = round(AT * lmm.n_layers)
    scores = set_scores(fine_tuned(ADAPTER, lmm, layer, N_PAGES), Cuts(), N_CONCEPTS, SEEDS)
    return {name: value for name, value in scores.items() if name not in ("changed", "counts")} | {"layer": layer}


def depalm_shift_table(scores: dict) -> str:
    """The scores as text: what has an interval by its mean, then what concepts are about, before and after."""
    means = {name: value[0] for name, value in scores.items() if isinstance(value, list)}
    about = pd.DataFrame(scores["about"], index=["before", "after"])
    return "\n\n".join(map(as_text, (pd.DataFrame({f"layer {scores['layer']}": means}), about)))
