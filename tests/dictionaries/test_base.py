"""What every dictionary can do, whichever method learns it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from coxlmm_utils.dictionaries.base import Dictionary
from coxlmm_utils.dictionaries.baselines import METHODS, PCA, KMeans, RandomDictionary
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF

K, N, WIDTH = 3, 20, 6


@pytest.fixture(scope="module")
def Z() -> np.ndarray:
    return 5 * np.random.default_rng(0).standard_normal((N, WIDTH))


@pytest.fixture(params=METHODS.values(), ids=METHODS)
def method(request) -> type[Dictionary]:
    return request.param


def test_shapes_and_types(Z, method):
    dictionary = method(K).fit(Z)
    assert (dictionary.components_.shape, dictionary.components_.dtype) == ((K, WIDTH), np.float32)
    assert (dictionary.activations_.shape, dictionary.activations_.dtype) == ((N, K), np.float32)
    reconstructed = dictionary.reconstruct(dictionary.activations_)
    assert (reconstructed.shape, reconstructed.dtype) == ((N, WIDTH), np.float32)
    assert dictionary.components_.flags.c_contiguous  # as after loading, for the same last bits
    assert "components_" in dictionary.learned and all(hasattr(dictionary, name) for name in dictionary.learned)
    assert dictionary.activations_.any(axis=0).all()  # all concepts are used


def test_only_a_signed_method_has_two_sides_and_each_side_says_how_active_it_is(Z, method):
    dictionary = method(K).fit(Z)
    U, V = dictionary.components_, dictionary.activations_
    assert dictionary.signed == (V < 0).any() == (method.__name__ == "PCA")
    directions, activations = dictionary.side_directions(), dictionary.side_activations(V)
    if not dictionary.signed:
        assert np.array_equal(directions, U) and np.array_equal(activations, V)
        return
    assert np.array_equal(directions, [*U, *-U]) and activations.min() == 0
    assert np.array_equal(activations[:, :K] - activations[:, K:], V)
    assert activations @ directions == pytest.approx(V @ U, abs=1e-5)


def test_fit_returns_the_dictionary_itself(Z, method):
    dictionary = method(K)
    assert isinstance(dictionary, Dictionary) and dictionary.fit(Z) is dictionary


def test_activations_are_those_of_transform(Z, method):
    dictionary = method(K)
    V = dictionary.fit_transform(Z)
    assert V is dictionary.activations_ and np.array_equal(dictionary.transform(Z), V)
    assert dictionary.transform(Z[5:6]) == pytest.approx(V[5:6], rel=1e-6)
    assert dictionary.transform(Z[:0]).shape == (0, K)


def test_the_error_is_that_of_what_is_given_back(Z, method):
    dictionary = method(K).fit(Z)
    error = np.linalg.norm(Z - dictionary.reconstruct(dictionary.activations_)) / np.linalg.norm(Z)
    assert dictionary.reconstruction_error_ == pytest.approx(error, rel=1e-5) and 0 < error < 1.5


@pytest.mark.filterwarnings("ignore:Concepts that no sample uses", "ignore:Number of distinct clusters")
def test_states_that_are_all_zero_have_no_error(method):
    dictionary = method(K).fit(np.zeros((N, WIDTH)))
    assert dictionary.reconstruction_error_ == 0 and np.isfinite(dictionary.activations_).all()


def test_one_seed_one_answer(Z, method):
    first, second = (method(K).fit(Z) for _ in range(2))
    for name in ("components_", "activations_"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.reconstruction_error_ == second.reconstruction_error_


def test_fitting_again_forgets_the_first_fit(Z, method):
    again, fresh = method(K).fit(Z[:, :4] + 1).fit(Z), method(K).fit(Z)
    assert np.array_equal(again.components_, fresh.components_)
    assert np.array_equal(again.activations_, fresh.activations_)


def test_what_it_learned_is_all_that_transform_needs(Z, method):
    fitted, copied = method(K).fit(Z), method(K)
    for name in method.learned:
        setattr(copied, name, getattr(fitted, name))
    assert np.array_equal(copied.transform(Z[:4]), fitted.transform(Z[:4]))
    V = fitted.activations_
    assert np.array_equal(copied.reconstruct(V), fitted.reconstruct(V))


@pytest.mark.parametrize(
    "convert",
    [lambda Z: Z.tolist(), torch.tensor, lambda Z: torch.tensor(Z, requires_grad=True), np.asfortranarray],
    ids=["list", "tensor", "gradient", "columns"],
)
def test_any_container_gives_the_same(Z, method, convert):
    given, plain = method(K).fit(convert(Z)), method(K).fit(Z)
    assert np.array_equal(given.components_, plain.components_)
    assert np.array_equal(given.transform(convert(Z)), plain.activations_)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_float_types(Z, method, dtype):
    short = torch.tensor(Z).to(dtype)
    given, long = method(K).fit(short), method(K).fit(short.double())
    assert np.array_equal(given.components_, long.components_)
    if dtype != torch.bfloat16:  # which numpy lacks
        assert np.array_equal(method(K).fit(short.numpy()).components_, long.components_)
    assert given.activations_ == pytest.approx(long.activations_, abs=1e-6)


def test_states_are_not_changed(Z, method):
    before, tensor = Z.copy(), torch.from_numpy(Z)
    method(K).fit(Z).transform(Z)
    method(K).fit(tensor).transform(tensor)
    assert np.array_equal(Z, before)


def test_changed_states_do_not_change_the_dictionary(Z, method):
    states = Z.astype(np.float32)
    dictionary = method(K).fit(states)
    concepts = dictionary.components_.copy()
    states[:] = 0
    assert np.array_equal(dictionary.components_, concepts)


# Parameters


def test_parameters_make_the_same_dictionary_again(Z, method):
    settings = {"n_concepts": np.int64(K), "random_state": np.int64(7), "lam": np.float32(0.5)}
    default = method().get_params()
    assert default["n_concepts"] == 20
    dictionary = method(**{name: value for name, value in settings.items() if name in default})
    parameters = json.loads(json.dumps(dictionary.get_params()))
    assert parameters == dictionary.get_params() == {**default, **{k: v for k, v in settings.items() if k in default}}
    again = method(**parameters)
    assert again.get_params() == parameters and repr(again) == repr(dictionary)
    assert np.array_equal(again.fit(Z).components_, dictionary.fit(Z).components_)


def test_a_fit_does_not_change_the_parameters(Z, method):
    dictionary = method(K)
    before = dictionary.get_params()
    assert dictionary.fit(Z).get_params() == before


@pytest.mark.parametrize(
    "name, shown",
    [
        ("Simple", "Simple(n_concepts=3)"),
        ("PCA", "PCA(n_concepts=3, random_state=0)"),
        ("KMeans", "KMeans(n_concepts=3, random_state=0)"),
        ("RandomDictionary", "RandomDictionary(n_concepts=3, lam=1.0, random_state=0)"),
    ],
)
def test_the_settings_are_shown(name, shown):
    assert repr(METHODS[name](K)) == shown


# Messages


def test_too_few_and_too_many_concepts(Z, method):
    with pytest.raises(ValueError, match="n_concepts must be at least 1, not 0"):
        method(0).fit(Z)
    with pytest.raises(ValueError, match="n_concepts=4 is more than the 3 samples: lower it"):
        method(4).fit(Z[:3])


@pytest.mark.parametrize("n_concepts", [None, True, "3"])
def test_a_number_of_concepts_that_is_none(Z, method, n_concepts):
    with pytest.raises(ValueError, match=f"n_concepts must be a whole number, not {n_concepts!r}"):
        method(n_concepts).fit(Z)


@pytest.mark.parametrize("seed", [1.5, -1, "0"])
def test_a_seed_that_is_none(Z, seed):
    for method in (SemiNMF, PCA, KMeans, RandomDictionary):
        with pytest.raises(ValueError, match=f"random_state must be a whole number from 0 on, not {seed!r}"):
            method(K, random_state=seed).fit(Z)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda Z: Z + 1j, "The samples are complex numbers"),
        (lambda Z: torch.as_tensor(Z + 1j), "The samples are complex numbers"),
        (lambda Z: np.ma.masked_array(Z, Z > 1), "The samples are an array with masked values"),
        (lambda Z: torch.as_tensor(Z).to_sparse(), "The samples are a sparse tensor"),
        (lambda Z: Z[:, :0], r"one row for each sample, got shape \(20, 0\)"),
    ],
    ids=["complex", "complex tensor", "masked", "sparse", "no width"],
)
def test_states_of_which_a_part_would_be_lost(Z, method, make, says):
    for run in (method(K).fit, method(K).fit(Z).transform):
        with pytest.raises(ValueError, match=says):
            run(make(Z))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_bad_sample_is_named(Z, method, value):
    bad = Z.copy()
    bad[[7, 9], 2] = value
    for run in (method(K).fit, method(K).fit(Z).transform):
        with pytest.raises(ValueError, match="Sample 7 has a NaN or infinite value"):
            run(bad)


def test_states_of_another_shape(Z, method):
    dictionary = method(K).fit(Z)
    with pytest.raises(ValueError, match="The states have width 5, not 6"):
        dictionary.transform(Z[:, :5])
    for run in (dictionary.transform, method(K).fit):
        with pytest.raises(ValueError, match=r"one row for each sample, got shape \(6,\)"):
            run(Z[0])


def test_no_concepts_before_a_fit(Z, method):
    with pytest.raises(ValueError, match=f"This {method.__name__} has no concepts yet: call fit"):
        method(K).transform(Z)
