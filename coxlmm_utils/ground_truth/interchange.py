"""Interchange interventions: a page gets two concepts' activations of another page, and writes freely (ours).

The other page is the same but for one factor. If these concepts carry that factor, the caption becomes the other page's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd

from ..concepts import ConceptBank
from ..dictionaries import SemiNMF
from ..models import LMM, generate_captions
from ..picturebook import factors_of, page
from ..steering import set_concepts
from .controls import rotated
from .counterfactuals import Counterfactuals
from .factor_matching import Value, concepts_of_values
from .steering_effects import COLUMNS, Case, case_effects, facts_of

SWAPPED = ("own concepts", "other concepts", "rotated concepts")


def interchange_effects(
    lmm: LMM,
    edits: Counterfactuals,
    values: Sequence[Value | None],
    factor: str,
    alphas: Sequence[float] = (1.0,),
    positions: str = "generated",
    seed: int = 0,
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
    alphas : sequence of float, default (1.0,)
        By what the change of each state is multiplied.
    positions : {"generated", "all", "last_prompt"}, default "generated"
    seed : int, default 0
        Of the controls.

    Returns
    -------
    pandas.DataFrame
        A row for each page whose caption names its own value, other value, alpha and `swapped`: "own concepts", the two
        that are matched to the page's value and to the other; and as controls "other concepts", two that are matched to
        no value of this factor, and "rotated concepts", two of a random basis of the concepts' span. Its columns are
        those of `steering_effects`. Changes between values without a concept are left out.
    """
    of_value, rng, cases = concepts_of_values(values, factor), np.random.default_rng(seed), []
    others = [k for k, name in enumerate(values) if name is None or name[0] != factor]
    turned = edits.of(_rotated_bank(edits.bank, seed))
    pictures = [page(number).picture for number in edits.numbers]
    captions = [generated.caption for generated in generate_captions(lmm, pictures)]
    for own, wanted in permutations(of_value, 2):
        column = edits.values.index((factor, wanted))
        for i, (number, caption) in enumerate(zip(edits.numbers, captions)):
            if getattr(factors_of(number), factor) != own or facts_of(caption).get(factor) != (own,):
                continue
            chosen = [(edits, [of_value[own], of_value[wanted]]), (edits, _two(others, rng))]
            chosen.append((turned, _two(range(len(turned.bank)), rng)))
            for swapped, (of, concepts) in zip(SWAPPED, chosen):
                if concepts:
                    labels = {"id": str(number), "own": own, "wanted": wanted, "swapped": swapped}
                    values_there = {k: float(of.activations[i, column, k]) for k in concepts}
                    cases.append(Case(labels, pictures[i], caption, set_concepts(of.bank, values_there)))
    return case_effects(lmm, cases, factor, alphas, positions).reindex(columns=["swapped", *COLUMNS])


def _two(concepts: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Two of some concepts at random; none if there are fewer."""
    return rng.choice(concepts, 2, replace=False).tolist() if len(concepts) > 1 else []


def _rotated_bank(bank: ConceptBank, seed: int) -> ConceptBank:
    """A bank whose concepts are a random orthonormal basis of this one's span; its words and pictures say nothing."""
    return replace(bank, dictionary=SemiNMF.from_components(rotated(bank.concepts, seed)))
