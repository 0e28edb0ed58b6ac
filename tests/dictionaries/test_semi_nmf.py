"""Semi-NMF: tiny, exact checks of the fit, of the activations and of every error message."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import DictionaryLearning, sparse_encode

from coxlmm_utils.dictionaries.semi_nmf import SemiNMF, largest_useful_lam


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
    return SemiNMF(n_concepts=3, tol=0.0, max_iter=2000).fit(Z)


# The fit


@pytest.mark.parametrize("n_concepts, lam", [(3, 1.0), (3, 0.0), (6, 0.3), (20, 0.3), (3, 8.0)])
def test_objective_never_rises(Z, n_concepts, lam):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dictionary = SemiNMF(n_concepts, lam=lam, max_iter=60).fit(Z)
    assert np.diff(dictionary.objective_).max() <= 0
    assert dictionary.n_iter_ == len(dictionary.objective_)


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


def scikit_learn(Z, n_concepts: int, lam: float, max_iter: int = 1000) -> float:
    """The objective that scikit-learn's dictionary ends at."""
    oracle = DictionaryLearning(
        n_concepts,
        alpha=lam / 2,
        fit_algorithm="cd",
        max_iter=max_iter,
        positive_code=True,
        transform_algorithm="lasso_cd",
        transform_alpha=lam / 2,
        random_state=0,
    )
    return objective(Z, oracle.fit_transform(Z), oracle.components_, lam)


@pytest.mark.filterwarnings("ignore:Objective did not converge")
@pytest.mark.parametrize("lam", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("n_concepts", [3, 4])
def test_not_above_scikit_learn(Z, n_concepts, lam):
    ours = SemiNMF(n_concepts, lam=lam).fit(Z)
    reached = objective(Z, ours.activations_, ours.components_, lam)
    assert reached <= scikit_learn(Z, n_concepts, lam) * 1.00001


def test_not_above_scikit_learn_on_digits():
    digits = load_digits().data[:300]
    ours = SemiNMF(10, lam=2.0).fit(digits)
    reached = objective(digits, ours.activations_, ours.components_, 2.0)
    assert reached <= scikit_learn(digits, 10, 2.0, max_iter=100) * 1.00001


def plain_projected_gradient(Z, U, lam: float, steps: int):
    """The reference solver: V and U in turn, each by one projected gradient step of length 1 / curvature."""
    V = np.zeros((len(Z), len(U)))
    for _ in range(steps):
        V = np.maximum(0, V - ((V @ U - Z) @ U.T + lam / 2) / np.linalg.norm(U @ U.T, 2))
        U = U - V.T @ (V @ U - Z) / np.linalg.norm(V.T @ V, 2)
        U = U / np.maximum(1, np.linalg.norm(U, axis=1, keepdims=True))
    return V, U


def test_ends_where_plain_projected_gradient_does(Z):
    """From the same concepts both slide into the same minimum."""
    _, near = planted()
    V, U = plain_projected_gradient(Z, near, lam=0.5, steps=3000)
    ours = SemiNMF(3, lam=0.5, tol=1e-12).fit(Z, start=near)
    assert ours.objective_[-1] <= objective(Z, V, U, 0.5) * (1 + 1e-9)
    assert ours.components_[(ours.components_ @ U.T).argmax(axis=0)] == pytest.approx(U, abs=1e-4)


def test_lowest_start_is_kept():
    Z = planted(samples=60, concepts=8, seed=1)[0]
    fits = [SemiNMF(10, lam=0.2, tol=1e-8, n_init=n).fit(Z).objective_[-1] for n in (1, 2, 4, 8)]
    assert np.diff(fits).max() <= 1e-6 * fits[0] and fits[-1] < 0.99 * fits[0]


def test_a_given_start_is_one_more(Z, fitted):
    again = SemiNMF(3, n_init=1, max_iter=5, tol=1e-3).fit(Z, start=torch.tensor(fitted.components_))
    assert again.objective_[-1] <= fitted.objective_[-1] * (1 + 1e-3)
    assert again.n_running_[0] == 2
    larger = SemiNMF(5, n_init=1).fit(Z, start=fitted.components_)  # the missing two are drawn
    assert larger.objective_[-1] <= fitted.objective_[-1]


@pytest.mark.parametrize("start", [np.eye(4, 12), np.eye(3, 11)])
def test_a_start_must_fit(Z, start):
    with pytest.raises(ValueError, match=r"start has shape .* it must fit \(3, 12\)"):
        SemiNMF(3).fit(Z, start=start)


def test_reported_optimality_is_that_of_the_result(Z, fitted):
    V, U = fitted.activations_.astype(float), fitted.components_.astype(float)
    gradient = (V @ U - Z) @ U.T + 0.5
    kkt_V = (np.abs(np.minimum(V, gradient)).max(axis=1) / np.linalg.norm(Z, axis=1)).max()
    best = U - V.T @ (V @ U - Z) / (V**2).sum(axis=0)[:, None]
    best /= np.maximum(1, np.linalg.norm(best, axis=1, keepdims=True))
    assert fitted.kkt_V_ <= 1e-8 and kkt_V == pytest.approx(fitted.kkt_V_, abs=1e-7)  # float32 rounds them
    early = SemiNMF(3, tol=1e-2).fit(Z)
    assert fitted.kkt_U_ < 1e-5 < early.kkt_U_
    assert np.linalg.norm(best - U, axis=1).max() == pytest.approx(fitted.kkt_U_, abs=1e-6)


# Wide states


def massive(samples: int = 150, width: int = 600, concepts: int = 5) -> np.ndarray:
    """States in float32 with three dimensions of thousands, nearly constant: "massive activations"."""
    Z = planted(samples, width, concepts)[0]
    Z[:, [7, 80, 200]] += [1500, 2200, 3000] * (1 + 0.02 * np.random.default_rng(1).standard_normal((samples, 3)))
    return Z.astype(np.float32)


@pytest.mark.parametrize("make", [massive, lambda: planted(200, 600, 5)[0].astype(np.float32)])
def test_float32_states_are_solved_in_float64(make):
    Z = make()
    single, double = SemiNMF(5).fit(Z), SemiNMF(5).fit(Z.astype(float))
    assert single.objective_ == double.objective_ and np.diff(single.objective_).max() <= 0
    true_value = objective(Z, single.activations_, single.components_, lam=1.0)
    assert single.objective_[-1] == pytest.approx(true_value, rel=1e-6)
    assert single.kkt_V_ <= 1e-8 and single.kkt_U_ < 1e-2


def test_a_smaller_tol_ends_lower_where_the_mean_dominates():
    """Cheap sweeps alone would spend all iterations on a crawl there."""
    Z = massive()
    rough, fine = (SemiNMF(5, tol=tol, max_iter=1000).fit(Z) for tol in (1e-6, 1e-8))
    assert fine.objective_[-1] < rough.objective_[-1] and fine.kkt_U_ < rough.kkt_U_


def test_wide_states_end_at_a_minimum_among_all_directions(monkeypatch):
    """The first directions do not hold the minimum; from where the fit ends, no direction at all leads lower."""
    rng = np.random.default_rng(0)
    Z = planted(300, 700, 5)[0] + rng.standard_normal((300, 300)) / np.arange(1, 301) ** 0.3 @ planted(1, 700, 300)[1]
    monkeypatch.setattr("coxlmm_utils.dictionaries.basis.N_MANY", 1)
    few = SemiNMF(5, lam=0.5).fit(Z)
    monkeypatch.setattr("coxlmm_utils.dictionaries.basis.MAX_WIDTH", 700)
    everywhere = SemiNMF(5, lam=0.5, n_init=1).fit(Z, start=few.components_)
    assert everywhere.objective_[-1] == pytest.approx(few.objective_[-1], rel=1e-4)


def test_a_start_outside_the_first_directions_is_kept(monkeypatch):
    Z, U = planted(200, 600, 5)
    monkeypatch.setattr("coxlmm_utils.dictionaries.semi_nmf.leading_directions", lambda *_: torch.eye(2, 600).double())
    with pytest.warns(UserWarning, match="not converged"):
        begun = SemiNMF(5, n_init=1, max_iter=1).fit(Z, start=U)
    assert np.abs(np.diag(begun.components_ @ U.T)) == pytest.approx(np.ones(5), abs=1e-2)


def test_what_float64_cannot_resolve_is_said():
    Z = np.outer(np.arange(1.0, 31), [3.0, 4.0])
    with pytest.warns(UserWarning, match="of the states' energy, less than float64 sums resolve"):
        SemiNMF(1, lam=0.0).fit(Z)


# The mean state


def test_cosine_with_the_mean_state():
    Z = massive()
    fitted, mean = SemiNMF(5).fit(Z), Z.mean(axis=0, dtype=float)
    lengths = np.linalg.norm(fitted.components_, axis=1) * np.linalg.norm(mean)
    assert fitted.mean_cosine_ == pytest.approx(fitted.components_ @ mean / lengths, abs=1e-5)
    assert np.median(fitted.mean_cosine_) > 0.9  # they say what all states share
    assert np.median(np.abs(SemiNMF(5, centre=True).fit(Z).mean_cosine_)) < 0.7


def test_centred_is_the_fit_of_differences_from_the_mean(Z):
    Z = Z.astype(np.float32)
    centred = SemiNMF(3, relative_lam=0.05, centre=True).fit(Z)
    by_hand = SemiNMF(3, relative_lam=0.05).fit(Z - centred.mean_)
    assert centred.mean_ == pytest.approx(Z.mean(axis=0), abs=1e-6) and centred.lam_ == by_hand.lam_
    assert np.array_equal(centred.components_, by_hand.components_)
    assert np.array_equal(centred.transform(Z), by_hand.activations_)
    assert np.array_equal(centred.activations_, by_hand.activations_)
    rebuilt = centred.reconstruct(centred.activations_)
    assert rebuilt == pytest.approx(by_hand.reconstruct(by_hand.activations_) + centred.mean_, abs=1e-6)
    error = np.linalg.norm(Z - rebuilt) / np.linalg.norm(Z)
    assert centred.reconstruction_error_ == pytest.approx(error, rel=1e-5)


def test_only_a_centred_dictionary_keeps_the_mean(Z):
    assert SemiNMF(3).learned == ("components_", "lam_")
    assert SemiNMF(3, centre=True).learned == ("components_", "lam_", "mean_")
    assert SemiNMF(3).fit(Z).mean_ is None


def test_memory_is_the_states_and_little_more():
    """No copy of a large Z: Z has 80 MB here; twelve dictionaries and their activations have 11 MB."""
    code = (
        "import resource, numpy as np\n"
        "from coxlmm_utils.dictionaries.semi_nmf import SemiNMF\n"
        "SemiNMF(5, max_iter=2).fit(np.random.default_rng(0).standard_normal((200, 50)))\n"
        "Z = np.random.default_rng(0).standard_normal((5000, 4096), dtype=np.float32)\n"
        "def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = used(); SemiNMF(5, max_iter=5).fit(Z); print(used() - before)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


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
    other_own = sparse_encode(Z, U, algorithm="lasso_cd", alpha=lam / 2, positive=True, max_iter=100_000)
    assert SemiNMF.from_components(U, lam=lam).transform(Z) == pytest.approx(other_own, abs=1e-5)


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


def test_relative_lam_is_a_share_of_the_largest_useful_one(Z):
    largest = largest_useful_lam(Z)
    assert largest == pytest.approx(2 * np.linalg.norm(Z, axis=1).max())
    with pytest.warns(UserWarning, match="no sample uses"):
        assert not SemiNMF(3, lam=largest * 1.000001).fit_transform(Z).any()
    with pytest.warns(UserWarning, match="no sample uses"):  # the longest state alone is active
        assert (SemiNMF(3, lam=largest * 0.999).fit_transform(Z) > 0).sum() == 1
    relative = SemiNMF(3, relative_lam=0.1).fit(Z)
    absolute = SemiNMF(3, lam=0.1 * largest).fit(Z)
    assert relative.lam_ == pytest.approx(0.1 * largest)
    assert relative.activations_ == pytest.approx(absolute.activations_, rel=1e-5)
    assert (SemiNMF(3, relative_lam=0.1).fit(7 * Z).activations_ > 0).sum() == (relative.activations_ > 0).sum()


@pytest.mark.parametrize("width", [12, 300])
@pytest.mark.parametrize("dtype, scale", [(np.float32, 1e25), (np.float32, 1e-25), (np.float64, 1e120)])
def test_huge_and_tiny_norms(dtype, scale, width):
    Z = planted(width=width)[0]
    plain = SemiNMF(3, lam=0.0, relative_lam=0.05).fit(Z.astype(dtype))
    scaled = SemiNMF(3, lam=0.0, relative_lam=0.05).fit((Z * scale).astype(dtype))
    assert scaled.reconstruction_error_ == pytest.approx(plain.reconstruction_error_, rel=1e-3)
    assert np.abs(scaled.components_ @ plain.components_.T).max(axis=1) == pytest.approx(np.ones(3), abs=1e-3)


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


@pytest.mark.filterwarnings("ignore:Semi-NMF has not converged")
@pytest.mark.parametrize("width, rank", [(12, 2), (2, 2)])
def test_more_concepts_than_rank(width, rank):
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((30, rank)) @ rng.standard_normal((rank, width))
    dictionary = SemiNMF(6, lam=0.01, max_iter=50, n_init=1).fit(Z)
    assert dictionary.reconstruction_error_ < 0.02  # two axes need four directions at the least


def test_one_sample_one_concept():
    dictionary = SemiNMF(1).fit([[3.0, 4.0]])
    assert dictionary.components_ == pytest.approx(np.array([[0.6, 0.8]]))
    assert dictionary.activations_ == pytest.approx(np.array([[4.5]]))


# Messages


def test_warns_when_it_has_not_converged(Z):
    with pytest.warns(UserWarning, match=r"not converged in max_iter=2: the last iteration .* \(tol=1.0e-06\)"):
        SemiNMF(3, max_iter=2).fit(Z)


def test_a_converged_fit_does_not_warn(Z):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SemiNMF(3).fit(Z)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"n_concepts": 0}, "n_concepts must be at least 1, not 0"),
        ({"n_concepts": 2.5}, "n_concepts must be a whole number, not 2.5"),
        ({"n_concepts": 41}, "n_concepts=41 is more than the 40 samples"),
        ({"max_iter": 0}, "max_iter must be at least 1, not 0"),
        ({"n_init": 0}, "n_init must be at least 1, not 0"),
        ({"lam": -1.0}, "lam must be finite and at least 0, not -1.0"),
        ({"lam": float("nan")}, "lam must be finite and at least 0, not nan"),
        ({"lam": None}, "lam must be finite and at least 0, not None"),
        ({"lam": "1"}, "lam must be finite and at least 0, not '1'"),
        ({"tol": -1.0}, "tol must be finite and at least 0, not -1.0"),
        ({"tol": float("nan")}, "tol must be finite and at least 0, not nan"),
        ({"relative_lam": 1.0}, "relative_lam must be at least 0 and below 1, not 1.0"),
        ({"relative_lam": -0.1}, "relative_lam must be at least 0 and below 1, not -0.1"),
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
    shown = "SemiNMF(n_concepts=7, lam=0.5, max_iter=10000, tol=1e-06, n_init=4, random_state=0, centre=False)"
    assert repr(SemiNMF(7, lam=np.float32(0.5), n_init=4)) == shown
