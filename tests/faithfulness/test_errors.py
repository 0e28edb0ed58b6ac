"""Errors told by concepts, of states in which the telling concept is planted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coxlmm_utils.dictionaries import SemiNMF
from coxlmm_utils.faithfulness.errors import READINGS, auroc, error_detection, linear_probe
from tests.conftest import in_memory
from tests.tiny_lmms import WIDTH

N, K = 120, 3
WRONG = np.arange(N) % 3 == 0
TESTED = np.arange(N) % 4 == 0


@pytest.fixture(scope="module")
def planted(bank, states, pictures):
    """A bank whose concepts are the first axes, and a function that makes states of given activations."""
    own = replace(bank, dictionary=SemiNMF.from_components(np.eye(K, WIDTH, dtype=np.float32), lam=0.0))

    def with_activations(V, first):
        ids = tuple(f"{first}{row}" for row in range(len(V)))
        images = replace(in_memory(pictures[:1] * len(V), ()), ids=ids)
        noise = np.random.default_rng(ord(first)).normal(0, 5, (len(V), WIDTH))
        noise[:, :K] = V
        Z = torch.tensor(noise, dtype=torch.float32)
        return replace(states, vectors={2: Z}, images=images, captions=["a"] * len(V), token_ids=None)

    return own, with_activations


def uniform(seed: int) -> np.ndarray:
    """Activations of concepts that tell nothing: (inputs, concepts)."""
    return np.random.default_rng(seed).uniform(0, 1, (N, K))


def test_the_planted_concept_tells_errors_and_random_directions_do_not(planted):
    bank, states = planted
    learned, held_out = uniform(0), uniform(1)
    learned[WRONG, 1], held_out[TESTED, 1] = 3, 2
    found = error_detection(bank, states(learned, "a"), WRONG, states(held_out, "b"), TESTED)
    assert found.best == 1 and found.table.loc[1, ["side", "auroc_train", "auroc"]].tolist() == [1, 1, 1]
    assert found.concept.ends == found.direction.ends == [1, 1, 1]
    assert found.probe.value > 0.9 and max(found.random.value, found.random_direction.value) < 0.75
    assert found.table.loc[[0, 2], "auroc"].between(0.3, 0.7).all()
    assert (found.n_train, found.n_test) == ((40, 80), (30, 90)) and found.random.n_seeds == 5
    assert list(found.means) == list(READINGS) and "30 of 120 held-out answers are wrong" in str(found)


def test_low_activations_tell_errors_as_well(planted):
    bank, states = planted
    learned, held_out = uniform(0) + 1, uniform(1) + 1
    learned[WRONG, 2], held_out[TESTED, 2] = 0, 0
    found = error_detection(bank, states(learned, "a"), WRONG, states(held_out, "b"), TESTED)
    assert found.best == 2 and found.table.loc[2, ["side", "auroc"]].tolist() == [-1, 1]
    assert found.telling(1) == [2] and 2 not in found.telling(side=1) and len(found.telling()) == K


def test_the_best_is_chosen_without_the_held_out_inputs(planted):
    bank, states = planted
    learned, held_out = uniform(0), uniform(1)
    learned[WRONG, 0], held_out[TESTED, 0], held_out[TESTED, 1] = 3, -1, 3
    found = error_detection(bank, states(learned, "a"), WRONG, states(held_out, "b"), TESTED)
    assert found.best == 0 and found.concept.value < 0.1 and found.table.loc[1, "auroc"] > 0.9


def test_resamples_draw_whole_groups():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2 == 0
    scores = rng.normal(size=40) + labels
    alone, thrice = auroc(scores, labels), auroc(np.repeat(scores, 3), np.repeat(labels, 3), np.repeat(range(40), 3))
    np.testing.assert_allclose(alone.ends, thrice.ends)
    ungrouped = auroc(np.repeat(scores, 3), np.repeat(labels, 3))
    assert ungrouped.high - ungrouped.low < 0.7 * (alone.high - alone.low)


def test_a_probe_tells_what_no_single_axis_does():
    Z = np.random.default_rng(0).normal(size=(400, 4))
    probe = linear_probe(Z[:200], (Z.sum(axis=1) > 0)[:200])
    assert (probe.predict(Z[200:]) == (Z.sum(axis=1) > 0)[200:]).mean() > 0.95


def test_what_does_not_fit_is_refused(planted):
    bank, states = planted
    learned, held_out = states(uniform(0), "a"), states(uniform(1), "b")
    with pytest.raises(ValueError, match="all 120 inputs learned from are right"):
        error_detection(bank, learned, np.zeros(N, bool), held_out, TESTED)
    with pytest.raises(ValueError, match="all 120 inputs held out are wrong"):
        error_detection(bank, learned, WRONG, held_out, np.ones(N, bool))
    with pytest.raises(ValueError, match=r"120 inputs are learned from, and `wrong` has shape \(3,\)"):
        error_detection(bank, learned, WRONG[:3], held_out, TESTED)
    with pytest.raises(ValueError, match="2 groups are given for 120"):
        error_detection(bank, learned, WRONG, held_out, TESTED, groups=["a", "b"])
    with pytest.raises(ValueError, match="120 of the held-out inputs were learned from"):
        error_detection(bank, learned, WRONG, learned, TESTED)
    other = replace(held_out, provenance=held_out.provenance | {"model": {"name": "other", "fingerprint": "f"}})
    with pytest.raises(ValueError, match="the held-out states differ in fingerprint"):
        error_detection(bank, learned, WRONG, other, TESTED)
    with pytest.raises(ValueError, match="differ in layer"):
        error_detection(bank, learned, WRONG, replace(held_out, vectors={1: held_out.Z}), TESTED)
