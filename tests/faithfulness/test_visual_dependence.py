"""Whether concepts come from the picture: states read again without it, and what is left of known truth."""

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.faithfulness.visual_dependence import (
    FROM_PICTURE,
    FROM_WORDS,
    ORIGINAL,
    PERTURBATIONS,
    VisualDependence,
    _others,
    knockout_name,
    visual_dependence,
    words_before,
)
from coxlmm_utils.models.caption_tokens import encode
from tests.conftest import MAX_NEW_TOKENS, in_memory


def same(images):
    return images


@pytest.fixture(scope="module")
def dependence(llava, bank, states):
    return visual_dependence(llava, bank, states, PERTURBATIONS | {"same": same}, knockout_from=[0, 1, 2])


def dependence_of(bank, original, *perturbed, prefixes=()):
    """What might have been found, with activations that are given."""
    activations = {
        name: np.array(values, dtype=float) for name, values in zip([ORIGINAL, "blank"], [original, *perturbed])
    }
    return VisualDependence(bank, [str(row) for row in range(len(original))], list(prefixes), activations, ())


# Re-encoding


def test_the_same_samples_are_read_under_every_condition(dependence, bank, states):
    assert dependence.ids == list(states.images.ids)
    assert list(dependence.activations) == [ORIGINAL, *PERTURBATIONS, "same", *map(knockout_name, [0, 1, 2])]
    assert {values.shape for values in dependence.activations.values()} == {(len(states), len(bank))}
    np.testing.assert_allclose(dependence.activations[ORIGINAL], bank.project(states.Z), rtol=1e-3, atol=1e-3)


def test_what_takes_nothing_away_changes_nothing(dependence):
    for condition in ("same", knockout_name(2)):  # layer 2 is the bank's
        assert np.array_equal(dependence.activations[condition], dependence.activations[ORIGINAL])
    for condition in (*PERTURBATIONS, knockout_name(0), knockout_name(1)):
        assert not np.allclose(dependence.activations[condition], dependence.activations[ORIGINAL], atol=0.01)


def test_with_image_tokens_cut_from_the_first_layer_on_only_the_words_decide(dependence):
    knockout, original = dependence.activations[knockout_name(0)], dependence.activations[ORIGINAL]
    pairs = [(i, j) for i in range(len(knockout)) for j in range(i) if dependence.prefixes[i] == dependence.prefixes[j]]
    assert pairs and all(np.allclose(knockout[i], knockout[j], atol=1e-4) for i, j in pairs)
    assert not all(np.allclose(original[i], original[j], atol=0.01) for i, j in pairs)


def test_what_is_cut_is_not_taken_from_the_cache(llava, bank, states, dependence):
    versioned = replace(states, images=replace(states.images, version=lambda id: f"of {id}"))
    again = visual_dependence(llava, bank, versioned, {}, knockout_from=[0])
    np.testing.assert_allclose(
        again.activations[knockout_name(0)], dependence.activations[knockout_name(0)], rtol=1e-4, atol=1e-4
    )
    kept = visual_dependence(llava, bank, versioned, {}, knockout_from=())  # nor kept in it
    np.testing.assert_allclose(kept.activations[ORIGINAL], dependence.activations[ORIGINAL], rtol=1e-4, atol=1e-4)


def test_cut_from_every_layer_before_the_banks(llava, bank, states):
    assert visual_dependence(llava, bank, states, {}).knockout_from == (0, 1)


def test_at_its_own_embedding_a_token_is_all_words(llava, pictures, token):
    options = dict(position="own", max_new_tokens=MAX_NEW_TOKENS, cache=False)
    states = extract(llava, in_memory(pictures, ("all grey",)), token, 0, **options)
    bank = ConceptBank.learn(llava, states, SemiNMF(1))
    dependence = visual_dependence(llava, bank, states)
    assert dependence.knockout_from == () and set(dependence.verdicts()) == {"from the words"}
    assert dependence.prefixes == [caption[: caption.index(token) + len(token)] for caption in states.captions]


def test_words_before_a_state(llava):
    token_ids = [encode(llava, caption) for caption in ("on the grey dog", "grey cat grey")]
    assert words_before(llava, token_ids, ["grey"], "predicts") == ["on the", ""]
    assert words_before(llava, token_ids, ["grey"], "own") == ["on the grey", "grey"]


def test_what_does_not_fit(llava, qwen, bank, states):
    with pytest.raises(ValueError, match="learned on"):
        visual_dependence(qwen, bank, states)
    own = replace(states, provenance={**states.provenance, "position": "own"})
    with pytest.raises(ValueError, match="differ in position: 'predicts' and 'own'"):
        visual_dependence(llava, bank, own)
    with pytest.raises(ValueError, match="no layer 7"):
        visual_dependence(llava, bank, states, {}, knockout_from=[7])


# Shares and verdicts


def test_shares_of_activations(bank):
    original = [[1, 0, 2], [3, 0, -2], [0, 0, 0]]
    perturbed = [[1, 0, 1], [1, 1, 2], [2, 0, 0]]
    table = dependence_of(bank, original, perturbed).table()
    rows = table[table["condition"] == "blank"]
    assert rows["words"].tolist() == list(map(str, bank.words))
    assert rows["kept"].tolist() == pytest.approx([1, np.nan, 3 / 4], nan_ok=True)
    assert rows["weighted_jaccard"].tolist() == pytest.approx([2 / 6, 0, 1 / 6], nan_ok=True)
    correlations = [np.corrcoef([1, 3, 0], [1, 1, 2])[0, 1], np.nan, np.corrcoef([2, -2, 0], [1, 2, 0])[0, 1]]
    assert rows["correlation"].tolist() == pytest.approx(correlations, nan_ok=True)
    before = table[table["condition"] == ORIGINAL]
    assert before["weighted_jaccard"].tolist() == pytest.approx([1, np.nan, 1], nan_ok=True)


def test_a_verdict_is_a_matter_of_the_unchanged_share(bank):
    original = np.full((4, 3), 10.0)
    shares = np.array([[FROM_PICTURE, FROM_PICTURE + 0.01, FROM_WORDS]])
    assert dependence_of(bank, original, original * shares).verdicts() == [
        "from the picture",
        "mixed",
        "from the words",
    ]
    shares = np.array([[0, FROM_WORDS - 0.01, 1]])
    assert dependence_of(bank, original, original * shares).verdicts() == [
        "from the picture",
        "mixed",
        "from the words",
    ]


def test_a_concept_that_comes_up_everywhere_is_not_from_the_words(bank):
    """As "grey" does on grey pictures: its mean grows, but it tells nothing."""
    original = np.zeros((10, 3))
    original[0] = 1
    dependence = dependence_of(bank, original, np.ones((10, 3)))
    assert dependence.table()["kept"].max() == pytest.approx(10) and dependence.verdicts() == ["from the picture"] * 3


def test_a_concept_that_is_never_active_has_no_verdict(bank):
    nothing = np.zeros((4, 3))
    assert dependence_of(bank, nothing, nothing).verdicts() == ["never active"] * 3
    with pytest.raises(ValueError, match="no condition 'noise'; choose one of original, blank"):
        dependence_of(bank, nothing, nothing).verdicts("noise")


# Results that cannot be had


def test_the_trust_card_asks_for_the_blank_condition_by_name(bank):
    active = np.ones((2, len(bank)))
    with pytest.raises(ValueError, match="no condition 'blank'; choose one of original"):
        replace(dependence_of(bank, active), activations={ORIGINAL: active}).answers(bank)


def test_a_single_sample_has_no_others():
    with pytest.raises(ValueError, match="give at least 2"):
        _others(1, 0)
