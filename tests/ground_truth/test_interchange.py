"""Interchange interventions: what is swapped, what the controls are, and what the bundled model then writes."""

import numpy as np
import pytest

from coxlmm_utils.ground_truth import counterfactual_edits, interchange_effects, matched_values
from coxlmm_utils.ground_truth.factor_matching import pages_of
from coxlmm_utils.ground_truth.interchange import SWAPPED, _rotated_bank
from coxlmm_utils.ground_truth.steering_effects import COLUMNS, facts_of
from coxlmm_utils.ground_truth.steering_scores import learned_bank, learned_states, subject_pages
from coxlmm_utils.models.loading import load_lmm


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def bank(lmm):
    return learned_bank(lmm, learned_states(lmm, [4], ["boat"])["boat"].at(4))


@pytest.fixture(scope="module")
def edits(lmm, bank):
    return counterfactual_edits(lmm, bank, [int(id) for id in subject_pages("test", 6, ["boat"])["boat"].ids])


def test_own_concepts_make_the_caption_the_other_pages_and_controls_do_not(lmm, bank, edits):
    rows = interchange_effects(lmm, edits, matched_values(bank.activations, pages_of(bank.ids)), "colour", (1.0, 1.5))
    assert set(rows["swapped"]) == set(SWAPPED) and set(rows["alpha"]) == {1.0, 1.5}
    hits = rows.groupby("swapped")["hit"].mean()
    assert hits["own concepts"] > 0.5 and hits.drop("own concepts").max() < 0.1
    assert len(rows) == 2 * 3 * len(rows[["id", "wanted"]].drop_duplicates())
    assert all(facts_of(row.unsteered)["colour"] == (row.own,) and row.own != row.wanted for row in rows.itertuples())


def test_a_rotated_basis_spans_the_same(bank):
    turned = _rotated_bank(bank, 0)
    np.testing.assert_allclose(turned.concepts @ turned.concepts.T, np.eye(len(bank)), atol=1e-5)
    basis = np.linalg.svd(bank.concepts, full_matrices=False)[2]
    np.testing.assert_allclose(turned.concepts @ basis.T @ basis, turned.concepts, atol=1e-4)
    assert not np.allclose(turned.concepts, _rotated_bank(bank, 1).concepts)


def test_a_factor_without_concepts_has_no_rows(lmm, bank, edits):
    rows = interchange_effects(lmm, edits, [None] * len(bank), "colour")
    assert rows.empty and set(rows) == {"swapped", *COLUMNS}
