"""The baselines: by hand for Simple, against scikit-learn for PCA and K-Means, against Semi-NMF for random directions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import cluster, decomposition

from coxlmm_utils.dictionaries.baselines import METHODS, PCA, KMeans, RandomDictionary, Simple
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF

STATES = np.array([[3.0, 0.0], [0.0, 4.0], [3.0, 4.0], [0.0, -4.0], [1.0, 0.0]])


@pytest.fixture(scope="module")
def Z() -> np.ndarray:
    """Three clouds, away from zero and of unequal size."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((3, 8)) + 2
    return np.repeat(centres, [5, 9, 16], axis=0) + rng.standard_normal((30, 8))


def relative_error(Z, reconstructed) -> float:
    return np.linalg.norm(Z - reconstructed) / np.linalg.norm(Z)


# Simple


def test_simple_keeps_the_longest_states_the_longest_first():
    dictionary = Simple(3).fit(STATES)
    assert dictionary.components_.tolist() == [[3, 4], [0, 4], [0, -4]]  # of equals the earlier first


def test_simple_is_as_active_as_a_state_is_near():
    dictionary = Simple(2).fit(STATES)  # [3, 4] and [0, 4]
    expected = 1 / (1 + np.array([[4, 5], [3, 0], [0, 3], [73**0.5, 8], [20**0.5, 17**0.5]]))
    assert dictionary.activations_ == pytest.approx(expected, rel=1e-6)
    assert dictionary.activations_[[2, 1], [0, 1]].tolist() == [1, 1]  # exactly: no distance from itself


def test_simple_gives_back_the_nearest_concept():
    dictionary = Simple(2).fit(STATES)
    nearest = np.array([[3, 4], [0, 4], [3, 4], [0, 4], [0, 4]])
    assert np.array_equal(dictionary.reconstruct(dictionary.activations_), nearest)
    assert dictionary.reconstruction_error_ == pytest.approx(relative_error(STATES, nearest), rel=1e-6)


def test_far_from_zero_a_state_is_at_no_distance_from_itself():
    far = (1e4 + np.random.default_rng(0).standard_normal((6, 400))).astype(np.float32)
    assert (Simple(6).fit(far).activations_.max(axis=1) == 1).all()


# K-Means


def test_k_means_is_scikit_learns(Z):
    dictionary, oracle = KMeans(3, random_state=4).fit(Z), cluster.KMeans(3, random_state=4).fit(Z)
    assert dictionary.components_ == pytest.approx(oracle.cluster_centers_, rel=1e-6)
    assert dictionary.transform(Z[:7] + 1) == pytest.approx(1 / (1 + oracle.transform(Z[:7] + 1)), rel=1e-5)
    assert dictionary.reconstruction_error_ == pytest.approx(oracle.inertia_**0.5 / np.linalg.norm(Z), rel=1e-6)


def test_k_means_gives_back_the_centre_of_a_states_cluster(Z):
    dictionary, oracle = KMeans(3).fit(Z), cluster.KMeans(3, random_state=0).fit(Z)
    assert np.array_equal(dictionary.reconstruct(dictionary.activations_), dictionary.components_[oracle.labels_])


# PCA


def test_pca_is_scikit_learns(Z):
    dictionary, oracle = PCA(3).fit(Z), decomposition.PCA(3).fit(Z)
    V = oracle.transform(Z[:7] + 1)
    assert dictionary.components_ == pytest.approx(oracle.components_, abs=1e-6)
    assert dictionary.transform(Z[:7] + 1) == pytest.approx(V, abs=1e-5) and V.min() < 0 < V.max()
    assert dictionary.reconstruct(V) == pytest.approx(oracle.inverse_transform(V), abs=1e-5)
    error = relative_error(Z, oracle.inverse_transform(oracle.transform(Z)))
    assert dictionary.reconstruction_error_ == pytest.approx(error, rel=1e-5)


def test_pca_of_all_axes_loses_nothing(Z):
    assert PCA(8).fit(Z).reconstruction_error_ < 1e-6


def test_the_seed_reaches_scikit_learn(monkeypatch, Z):
    for library, baseline in ((cluster, KMeans), (decomposition, PCA)):
        oracle, seeds = getattr(library, baseline.__name__), []
        monkeypatch.setattr(library, baseline.__name__, lambda n, random_state: seeds.append(random_state) or oracle(n))
        baseline(2, random_state=7).fit(Z)
        assert seeds == [7]


def test_pca_has_no_more_concepts_than_axes(Z):
    with pytest.raises(ValueError, match="n_concepts=9 is more than the width of 8: lower it"):
        PCA(9).fit(Z)
    with pytest.raises(ValueError, match="n_concepts=7 is more than the 6 samples: lower it"):
        PCA(7).fit(Z[:6])


@pytest.mark.parametrize("states", [np.ones((1, 4)), np.ones((5, 4)), np.zeros((5, 4))])
def test_pca_of_equal_states_is_silent(states):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dictionary = PCA(1).fit(states)
    assert not dictionary.activations_.any() and dictionary.reconstruction_error_ == 0


# Random directions


def test_random_concepts_are_unit_vectors_of_a_seed(Z):
    first, other = (RandomDictionary(4, random_state=seed).fit(Z).components_ for seed in (0, 1))
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.ones(4))
    assert np.array_equal(RandomDictionary(4).fit(-2 * Z[:4]).components_, first)  # whatever the states
    assert np.abs(first - other).max() > 0.1


def test_random_concepts_point_everywhere():
    U = RandomDictionary(2000).fit(np.zeros((2000, 3))).components_
    assert np.abs(U.mean(axis=0)).max() < 0.05 and U.T @ U / 2000 == pytest.approx(np.eye(3) / 3, abs=0.03)


@pytest.mark.parametrize("lam", [0.0, 3.0])
def test_random_concepts_are_activated_as_semi_nmfs(Z, lam):
    dictionary = RandomDictionary(4, lam=lam).fit(Z)
    V = SemiNMF.from_components(dictionary.components_, lam).transform(Z)
    assert np.array_equal(dictionary.activations_, V) and V.any()
    assert dictionary.reconstruct(V) == pytest.approx(V @ dictionary.components_)
    assert dictionary.reconstruction_error_ == pytest.approx(relative_error(Z, V @ dictionary.components_), rel=1e-5)


def test_random_concepts_refuse_a_lam_out_of_range(Z):
    with pytest.raises(ValueError, match="lam must be finite and at least 0, not -1"):
        RandomDictionary(2, lam=-1.0).fit(Z)


def test_each_method_has_its_name_and_label():
    labels = {name: method.label for name, method in METHODS.items()}
    assert labels == {
        "SemiNMF": "Semi-NMF",
        "Simple": "Simple",
        "PCA": "PCA",
        "KMeans": "K-Means",
        "RandomDictionary": "Random",
    }
