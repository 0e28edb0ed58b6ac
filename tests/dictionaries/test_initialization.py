"""Where Semi-NMF starts from."""

import numpy as np
import pytest
import torch

from coxlmm_utils.dictionaries.base import squared_norms
from coxlmm_utils.dictionaries.initialization import initial_concepts


def started(Z, n_concepts, n_init, seed=0):
    Z = torch.as_tensor(Z)
    return initial_concepts(Z, squared_norms(Z), n_concepts, n_init, seed).numpy()


def test_first_come_the_singular_vectors_towards_most_of_the_energy():
    Z = np.vstack([np.eye(4)[:2] * [[-5.0], [3.0]], np.eye(4)[0] * 2])  # along axis 0 mostly negative
    assert started(Z, 2, 1)[0] == pytest.approx(np.eye(4)[:2] * [[-1], [1]])


def test_singular_vectors_are_those_of_numpy():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((50, 30)) * 0.5 ** np.arange(30)
    expected = np.linalg.svd(Z)[2][:4]
    assert np.abs(started(Z, 4, 1)[0] @ expected.T) == pytest.approx(np.eye(4), abs=1e-3)


def test_then_samples_far_apart():
    directions = np.eye(5)[:3]
    Z = np.repeat(directions, [50, 50, 2], axis=0) * 2.0  # the third is rare
    for start in started(Z, 3, 6)[1:]:
        assert sorted((start @ directions.T).argmax(axis=1)) == [0, 1, 2]
        assert np.linalg.norm(start, axis=1) == pytest.approx(np.ones(3))


def test_starts_differ_and_a_seed_repeats_them():
    Z = np.random.default_rng(0).standard_normal((40, 8))
    first, again, other = started(Z, 3, 3), started(Z, 3, 3), started(Z, 3, 3, seed=1)
    assert np.array_equal(first, again)
    assert not np.allclose(first[1], first[2]) and not np.allclose(first[1], other[1])


def test_states_with_too_few_directions_leave_concepts_zero():
    Z = np.outer(np.arange(1.0, 6), [3, 4])
    drawn = started(Z, 3, 2)[1]
    assert drawn[0] == pytest.approx([0.6, 0.8])
    assert np.allclose(drawn[1:], 0)
    assert not started(np.zeros((5, 4)), 2, 2)[1].any()
