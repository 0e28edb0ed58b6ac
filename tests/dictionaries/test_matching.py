"""One-to-one matching of concepts."""

import numpy as np
import pytest

from coxlmm_utils.dictionaries.matching import match

RNG = np.random.default_rng(0)


def test_recovers_a_permutation():
    concepts = RNG.standard_normal((6, 10))
    order = RNG.permutation(6)
    partners, cosines = match(concepts, 3 * concepts[order])
    assert order[partners].tolist() == list(range(6))
    assert cosines == pytest.approx(np.ones(6))


def test_no_partner_twice_even_where_all_like_the_same():
    partners, cosines = match(np.array([[1.0, 0], [1, 0.1]]), np.array([[1.0, 0], [0, 1]]))
    assert partners.tolist() == [0, 1]
    assert cosines == pytest.approx([1, 0.1 / np.hypot(1, 0.1)])


@pytest.mark.parametrize("n_others", [2, 5])
def test_dictionaries_of_other_sizes(n_others):
    partners, cosines = match(np.eye(3, 5), np.eye(5)[:n_others])
    assert (partners >= 0).sum() == min(3, n_others)
    assert np.isnan(cosines).tolist() == (partners < 0).tolist()


def test_opposite_directions_do_not_match():
    assert match(np.array([[1.0, 0]]), np.array([[-1.0, 0]]))[1] == pytest.approx([-1])


def test_a_zero_concept_is_like_none():
    assert match(np.zeros((1, 3)), np.eye(1, 3))[1] == pytest.approx([0])


def test_widths_must_agree():
    with pytest.raises(ValueError, match="widths 3 and 4 cannot be matched"):
        match(np.eye(3), np.eye(4))
