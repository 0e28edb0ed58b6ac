"""Interchange interventions: a page gets two concepts' activations of another page, and writes freely (ours).

The other page is the same but for one factor. If these concepts carry that factor, the caption becomes the other page's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..concepts import ConceptBank
from ..models import LMM, generate_captions
from ..picturebook import factors_of, page
from ..steering import PerPicture, set_concepts, steer
from .counterfactuals import Counterfactuals
from .factor_matching import Value, concepts_of_values
from .model_scores import BATCH_SIZE
from .steering_effects import compared, facts_of

SWAPPED = ("own concepts", "other concepts")


def interchange_effects(
    lmm: LMM, edits: Counterfactuals, values: Sequence[Value | None], factor: str, alpha: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """Swap concepts between each page and its edits of one factor, and compare captions.

    Parameters
    ----------
    lmm : LMM
    edits : Counterfactuals
        From `counterfactual_edits`; of its bank the concepts.
    values : sequence of (factor, value) or None
        What each concept is matched to, from `matched_values`.
    factor : str
    alpha : float, default 1.0
        By what the change of each state is multiplied.
    seed : int, default 0
        Of the control's choice of concepts.

    Returns
    -------
    pandas.DataFrame
        A row for each page, other value and `swapped`: "own concepts", the two that are matched to the page's value and
        to the other, or "other concepts", two that are matched to no value of this factor, at random (the control). Its
        columns are those of `steering_effects` without alpha. Changes between values without a concept are left out.
    """
    of_value = concepts_of_values(values, factor)
    others = [k for k, name in enumerate(values) if name is None or name[0] != factor]
    rng, cases = np.random.default_rng(seed), []
    for own, wanted in permutations(of_value, 2):
        column = edits.values.index((factor, wanted))
        for i, number in enumerate(edits.numbers):
            if getattr(factors_of(number), factor) == own:
                control = rng.choice(others, 2, replace=False) if len(others) > 1 else []
                chosen = {SWAPPED[0]: [of_value[own], of_value[wanted]], SWAPPED[1]: list(control)}
                cases += [(i, own, wanted, name, column, ks) for name, ks in chosen.items() if ks]
    return _written(lmm, edits, cases, factor, alpha)


def _written(lmm: LMM, edits: Counterfactuals, cases: list[tuple], factor: str, alpha: float) -> pd.DataFrame:
    """The captions of all cases beside the unsteered ones of their pages; a page that does not name its value is left out."""
    pictures = [page(number).picture for number in edits.numbers]
    plain = [generated.caption for generated in generate_captions(lmm, pictures)]
    cases = [case for case in cases if facts_of(plain[case[0]]).get(factor) == (case[1],)]
    rows = []
    for start in tqdm(range(0, len(cases), BATCH_SIZE), desc=f"swapping the {factor}"):
        batch = cases[start : start + BATCH_SIZE]
        each = [_edit(edits.bank, edits.activations[i, column], ks) for i, _, _, _, column, ks in batch]
        with steer(lmm, PerPicture(each), alpha):
            captions = generate_captions(lmm, [pictures[case[0]] for case in batch])
        for (i, own, wanted, name, *_), generated in zip(batch, captions):
            row = {"id": str(edits.numbers[i]), "own": own, "wanted": wanted, "swapped": name}
            rows.append(row | compared(plain[i], generated.caption, factor, wanted))
    columns = ["id", "own", "wanted", "swapped", "hit", "same", "added", "unsteered", "steered"]
    return pd.DataFrame(rows, columns=columns)


def _edit(bank: ConceptBank, activations: np.ndarray, concepts: Sequence[int]):
    """Set these concepts to what they are in another page's state, (concepts,)."""
    return set_concepts(bank, {int(k): float(activations[k]) for k in concepts})
