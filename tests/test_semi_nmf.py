"""Semi-NMF: tiny, exact checks of the fit, of the activations and of every error message."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.decomposition import DictionaryLearning, sparse_encode

from coxlmm_utils import semi_nmf
from coxlmm_utils.semi_nmf import SemiNMF


def planted(samples: int = 40, width: int = 12, concepts: int = 3, noise: float = 0.05, seed: int = 0):
    """States (samples, width) made of sparse amounts of known unit concepts (concepts, width)."""
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((concepts, width))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    V = rng.gamma(4.0, 1.0, (samples, concepts)) * (rng.random((samples, concepts)) < 0.5)
    return V @ U + noise * rng.standard_normal((samples, width)), U


def objective(Z, V, U, lam: float) -> float:
    Z, V, U = (np.asarray(matrix, dtype=float) for matrix in (Z, V, U))
    return ((Z - V @ U) ** 2).sum() + lam * V.sum()


def alike_concepts(concepts: int, width: int, cosine: float, seed: int = 0):
    """Unit concepts (concepts, width) that nearly share a direction."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((concepts, width)) / np.sqrt(width)
    U = np.sqrt(cosine) * np.eye(width)[0] + np.sqrt(1 - cosine) * own
    return U / np.linalg.norm(U, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def Z():
    return planted()[0]


@pytest.fixture(scope="module")
def fitted(Z):
    """A dictionary fitted until nothing moves."""
    return SemiNMF(n_concepts=3, tol=0.0, max_rounds=2000).fit(Z)


# The fit


@pytest.mark.parametrize("n_concepts, lam", [(3, 1.0), (3, 0.0), (6, 0.3), (20, 0.3), (3, 8.0)])
def test_objective_never_rises(Z, n_concepts, lam):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dictionary = SemiNMF(n_concepts, lam=lam, max_rounds=60).fit(Z)
    assert np.diff(dictionary.objective_).max() <= 1e-12 * (Z**2).sum()
    assert dictionary.n_rounds_ == len(dictionary.objective_)


def test_objective_is_the_papers(Z, fitted):
    value = objective(Z, fitted.activations_, fitted.components_, lam=1.0)
    assert value == pytest.approx(fitted.objective_[-1], rel=1e-6)


def test_concepts_lie_in_the_unit_ball(fitted):
    assert np.linalg.norm(fitted.components_, axis=1).max() <= 1 + 1e-6


def test_activations_are_optimal(Z, fitted):
    V, U = fitted.activations_.astype(float), fitted.components_.astype(float)
    gradient = (V @ U - Z) @ U.T + 0.5  # half of it; lam / 2 = 0.5
    assert V.min() >= 0
    assert np.abs(np.minimum(V, gradient)).max() < 1e-5


def test_each_concept_is_optimal_given_the_rest(Z, fitted):
    V, U = fitted.activations_.astype(float), fitted.components_.astype(float)
    for k in range(3):
        rest = Z - V @ U + np.outer(V[:, k], U[k])
        best = V[:, k] @ rest / (V[:, k] @ V[:, k])
        best /= max(1, np.linalg.norm(best))
        assert U[k] == pytest.approx(best, abs=1e-5)


def test_planted_concepts_are_recovered():
    Z, planted_U = planted(samples=80)
    U = SemiNMF(n_concepts=3, lam=0.1).fit(Z).components_
    cosines = U @ planted_U.T  # (found, planted)
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2]
    assert cosines.max(axis=1).min() > 0.999


@pytest.mark.filterwarnings("ignore:Objective did not converge")
@pytest.mark.parametrize("lam", [0.2, 1.0, 4.0])
def test_not_above_scikit_learn(Z, lam):
    oracle = DictionaryLearning(
        4,
        alpha=lam / 2,
        fit_algorithm="cd",
        max_iter=500,
        positive_code=True,
        transform_algorithm="lasso_cd",
        transform_alpha=lam / 2,
        random_state=0,
    )
    theirs = objective(Z, oracle.fit_transform(Z), oracle.components_, lam)
    ours = SemiNMF(4, lam=lam).fit(Z)
    assert objective(Z, ours.activations_, ours.components_, lam) <= theirs * 1.001


def test_lowest_start_is_kept(Z):
    fits = [SemiNMF(5, tol=1e-3, n_starts=n).fit(Z).objective_[-1] for n in (1, 2, 4, 8)]
    assert fits == sorted(fits, reverse=True) and fits[-1] < fits[0]


def test_concepts_are_drawn_from_the_rows_worst_covered():
    R = torch.tensor([[5.0, 0, 0], [4.9, 0, 0], [-4, 0, 0], [0, 3, 0], [0, 0, 0.9]]).double()
    U = torch.full((5, 3), 7.0).double()
    semi_nmf._draw(U, [4, 0, 2, 1], R, lam=2.0)
    assert U[[4, 0, 2]].tolist() == [[1, 0, 0], [-1, 0, 0], [0, 1, 0]]
    assert (U[[1, 3]] == 7).all()  # the last row is no longer than lam / 2, and 3 was not asked for


def test_singular_vectors_point_where_the_energy_is():
    Z = np.vstack([np.eye(4)[:2] * [[-5.0], [3.0]], np.eye(4)[0] * 2])  # along axis 0 mostly negative
    W = semi_nmf._singular_vectors(torch.tensor(Z), 2, np.random.default_rng(0))
    assert W.numpy() == pytest.approx(np.eye(4)[:2] * [[-1], [1]])


def test_error_and_shapes(Z, fitted):
    V, U = fitted.activations_, fitted.components_
    assert (V.shape, U.shape, V.dtype, U.dtype) == ((40, 3), (3, 12), np.float32, np.float32)
    expected = np.linalg.norm(Z - V @ U) / np.linalg.norm(Z)
    assert fitted.reconstruction_error_ == pytest.approx(expected, rel=1e-5)


def test_one_seed_one_answer(Z):
    first, second = (SemiNMF(5, lam=0.2, random_state=3).fit(Z) for _ in range(2))
    assert first.components_.tobytes() == second.components_.tobytes()
    assert first.activations_.tobytes() == second.activations_.tobytes()
    assert first.objective_ == second.objective_


# The activations


@pytest.mark.parametrize("lam", [0.2, 1.0, 4.0])
def test_transform_equals_scikit_learn(lam):
    Z, U = planted(concepts=5)
    theirs = sparse_encode(Z, U, algorithm="lasso_cd", alpha=lam / 2, positive=True, max_iter=100_000)
    assert SemiNMF.from_components(U, lam=lam).transform(Z) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("cosine", [0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_transform_is_optimal_for_concepts_nearly_alike(cosine, lam):
    U = torch.tensor(alike_concepts(10, 16, cosine))
    V = torch.rand(30, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    Z = V @ U + 0.1 * torch.randn(30, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    G, T, norms = U @ U.T, U @ Z.T - lam / 2, Z.norm(dim=1)
    V = semi_nmf._solve_activations(G, T, norms)
    assert V.min() >= 0
    assert (torch.minimum(V, G @ V - T).abs().amax(dim=0) / norms).max() <= 1e-8


def test_activations_of_the_fit_are_those_of_transform(Z, fitted):
    assert np.array_equal(fitted.transform(Z), fitted.activations_)
    assert np.array_equal(SemiNMF(3).fit_transform(Z), SemiNMF(3).fit(Z).activations_)


def test_one_state_has_one_answer_whatever_the_batch(Z):
    dictionary = SemiNMF.from_components(alike_concepts(8, 12, 0.9), lam=0.1)
    alone = np.vstack([dictionary.transform(z[None]) for z in Z])
    assert dictionary.transform(Z) == pytest.approx(alone, abs=1e-6)
    assert dictionary.transform(Z[::-1])[::-1] == pytest.approx(alone, abs=1e-6)
    assert dictionary.transform(Z[:0]).shape == (0, 8)


def test_dictionary_from_components_is_the_fitted_one(Z, fitted):
    again = SemiNMF.from_components(torch.tensor(fitted.components_), lam=1.0)
    assert again.n_concepts == 3
    assert again.components_.tobytes() == fitted.components_.tobytes()
    assert again.transform(Z).tobytes() == fitted.activations_.tobytes()


# Unusual states


@pytest.mark.parametrize(
    "convert",
    [
        lambda Z: torch.tensor(Z),
        lambda Z: torch.tensor(Z, requires_grad=True),
        lambda Z: Z.tolist(),
        lambda Z: np.asfortranarray(Z),
        lambda Z: torch.tensor(Z.T.copy()).T,
    ],
)
def test_any_container_gives_the_same(Z, convert):
    assert np.array_equal(SemiNMF(3).fit(convert(Z)).components_, SemiNMF(3).fit(Z).components_)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_float_types(Z, dtype):
    short = torch.tensor(Z).to(dtype)
    assert np.array_equal(SemiNMF(3).fit(short).components_, SemiNMF(3).fit(short.double()).components_)


def test_states_are_not_changed(Z):
    before = Z.copy()
    tensor = torch.from_numpy(Z)
    SemiNMF(3).fit(tensor).transform(tensor)
    assert np.array_equal(Z, before)


@pytest.mark.parametrize("scale", [2.0**60, 2.0**-60])
def test_scaling_states_and_lam_scales_the_activations(Z, scale):
    plain, scaled = SemiNMF(3, lam=1.0).fit(Z), SemiNMF(3, lam=scale).fit(Z * scale)
    assert scaled.components_.tobytes() == plain.components_.tobytes()
    assert np.array_equal(scaled.activations_, plain.activations_ * np.float32(scale))


def test_zero_state_has_zero_activations(Z):
    with_zero = np.vstack([Z, np.zeros((2, 12))])
    dictionary = SemiNMF(3).fit(with_zero)
    assert not dictionary.activations_[-2:].any()
    assert dictionary.objective_[-1] == pytest.approx(SemiNMF(3).fit(Z).objective_[-1], rel=1e-5)


@pytest.mark.parametrize("states", [np.zeros((5, 4)), np.full((5, 4), 1e-20)])
def test_nothing_to_explain(states):
    with pytest.warns(UserWarning, match="Concepts that no sample uses: 3 of 3; lower n_concepts or lam"):
        dictionary = SemiNMF(3).fit(states)
    assert not dictionary.activations_.any()
    assert np.isfinite(dictionary.components_).all()
    assert dictionary.reconstruction_error_ == (1.0 if states.any() else 0.0)


@pytest.mark.filterwarnings("ignore:Concepts that no sample uses")
def test_duplicate_samples():
    state = np.array([3.0, 4.0, 0.0])
    dictionary = SemiNMF(3).fit(np.tile(state, (6, 1)))
    assert (dictionary.activations_ @ dictionary.components_) == pytest.approx(
        np.tile(state * 4.5 / 5, (6, 1)), abs=1e-4
    )  # the best for one concept: 5 long, shrunk by lam / 2


@pytest.mark.filterwarnings("ignore:Semi-NMF has not settled")
@pytest.mark.parametrize("width, rank", [(12, 2), (2, 2)])
def test_more_concepts_than_rank(width, rank):
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((30, rank)) @ rng.standard_normal((rank, width))
    dictionary = SemiNMF(6, lam=0.01, max_rounds=50, n_starts=1).fit(Z)
    assert dictionary.reconstruction_error_ < 0.02  # two axes need four directions at the least


def test_one_sample_one_concept():
    dictionary = SemiNMF(1).fit([[3.0, 4.0]])
    assert dictionary.components_ == pytest.approx(np.array([[0.6, 0.8]]))
    assert dictionary.activations_ == pytest.approx(np.array([[4.5]]))


# Messages


def test_warns_when_it_has_not_settled(Z):
    with pytest.warns(UserWarning, match=r"not settled in max_rounds=2: the last round .* \(tol=1.0e-06\)"):
        SemiNMF(3, max_rounds=2).fit(Z)


def test_warns_when_activations_are_not_solved(Z, monkeypatch):
    monkeypatch.setattr(semi_nmf, "MAX_STEPS", 1)
    with pytest.warns(UserWarning, match="of 40 samples are not solved to a relative 1e-08"):
        SemiNMF.from_components(alike_concepts(8, 12, 0.9)).transform(Z)


def test_settled_fit_does_not_warn(Z):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SemiNMF(3).fit(Z)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"n_concepts": 0}, "n_concepts must be at least 1, not 0"),
        ({"n_concepts": 41}, "n_concepts=41 is more than the 40 samples"),
        ({"max_rounds": 0}, "max_rounds must be at least 1, not 0"),
        ({"n_starts": 0}, "n_starts must be at least 1, not 0"),
        ({"lam": -1.0}, "lam must be finite and at least 0, not -1.0"),
        ({"lam": float("nan")}, "lam must be finite and at least 0, not nan"),
    ],
)
def test_parameters_out_of_range(Z, parameters, message):
    with pytest.raises(ValueError, match=message):
        SemiNMF(**parameters).fit(Z)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_first_bad_sample_is_named(Z, fitted, value):
    bad = Z.copy()
    bad[[7, 9], 2] = value
    for method in (SemiNMF(3).fit, fitted.transform):
        with pytest.raises(ValueError, match="Sample 7 has a NaN or infinite value"):
            method(bad)


def test_wrong_number_of_dimensions(Z, fitted):
    for method in (SemiNMF(3).fit, fitted.transform):
        with pytest.raises(ValueError, match=r"one row for each sample, got shape \(12,\)"):
            method(Z[0])


def test_state_of_another_width(Z, fitted):
    with pytest.raises(ValueError, match="The states have width 11, not 12"):
        fitted.transform(Z[:, :11])


def test_transform_before_fit(Z):
    with pytest.raises(ValueError, match="This SemiNMF has no concepts yet: call fit"):
        SemiNMF(3).transform(Z)


def test_bad_components():
    with pytest.raises(ValueError, match="Concept 1 has a NaN or infinite value"):
        SemiNMF.from_components([[1.0, 0.0], [0.0, np.nan]])
    with pytest.raises(ValueError, match=r"one row for each concept, got shape \(2,\)"):
        SemiNMF.from_components([1.0, 0.0])
    with pytest.raises(ValueError, match="lam must be finite"):
        SemiNMF.from_components([[1.0, 0.0]], lam=-1)


def test_the_settings_are_shown():
    shown = "SemiNMF(n_concepts=7, lam=0.5, max_rounds=500, tol=1e-06, n_starts=4, random_state=0)"
    assert repr(SemiNMF(7, lam=np.float32(0.5))) == shown
