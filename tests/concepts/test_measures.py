"""Measures of single concepts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.measures import active_mean, active_share, concept_stability
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.evaluation.clipscore import words_as_text
from coxlmm_utils.evaluation.grounding_quality import grounding_quality, measure
from coxlmm_utils.evaluation.judges import load_judges
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import turned


def test_how_often_and_how_strongly_by_hand():
    V = np.array([[1, 0, -2], [3, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    assert active_share(V).tolist() == [0.5, 0, 0.5]
    assert active_mean(V).tolist() == [2, 0, 1.5]


def test_stability_is_the_cosine_of_the_partner_averaged_over_the_others():
    concepts = np.array([[1.0, 0, 0], [0, 2, 0]])
    turned = np.array([[0.0, 1, 1], [5, 0, 0]])
    assert concept_stability(concepts, [turned]) == pytest.approx([1, 0.5**0.5])
    assert concept_stability(concepts, [turned, concepts]) == pytest.approx([1, (0.5**0.5 + 1) / 2])


def test_a_concept_without_a_partner_is_not_counted():
    concepts, single = np.eye(3)[:2], np.array([[0.0, 0, 1], [1, 1, 0]])
    assert np.isnan(concept_stability(concepts, [single[1:] - [0, 0.5, 0]])[1])
    assert concept_stability(concepts, [single[1:] - [0, 0.5, 0], concepts])[1] == 1


def test_what_stability_cannot_be_of_is_said():
    with pytest.raises(ValueError, match="at least one other"):
        concept_stability(np.eye(2), [])
    with pytest.raises(ValueError, match="width 2, those of another dictionary 3"):
        concept_stability(np.eye(2), [np.eye(2), np.eye(3)])


@pytest.fixture(scope="module")
def book():
    """A few pages with a dog, a bank of them, and the judges."""
    lmm = load_lmm("picturebook")
    states = extract(lmm, load_images("picturebook").mentioning("dog")[:30], "dog", 4, cache=False)
    return lmm, states, ConceptBank.learn(lmm, states, SemiNMF(4, verbose=False)), load_judges("picturebook")


def test_scores_are_means_over_a_concepts_pictures(book):
    lmm, states, bank, (clip, bert) = book
    scores = bank.measured(states.images, clip, bert).measures
    for k in range(len(bank)):
        vectors = clip.encode_pictures([states.images.picture(int(row)) for row in bank.top[k]])
        cosines = torch.nn.functional.cosine_similarity(vectors, clip.encode_texts([words_as_text(bank.words[k].kept)]))
        assert scores["clipscore"][k] == pytest.approx(2.5 * cosines.clamp(min=0).mean().item(), abs=1e-5)
        references = [states.images.references[int(row)] for row in bank.top[k]]
        f1 = bert.f1([", ".join(bank.words[k].kept)] * len(references), references)
        assert scores["bertscore"][k] == pytest.approx(f1.mean(), abs=1e-5)


def test_scores_of_a_signed_concept_are_of_both_sides_each_with_its_own_words(book):
    lmm, states, _, judges = book
    bank = ConceptBank.learn(lmm, states, PCA(3))
    scores = bank.measured(states.images, *judges).measures
    flipped = turned(bank)
    again = flipped.measured(states.images, *judges).measures
    assert np.ptp(scores["clipscore"]) > 0.01
    for name in ("clipscore", "bertscore"):
        assert again[name] == pytest.approx(scores[name], abs=1e-5)  # which side is called positive does not matter


def test_a_banks_scores_are_those_of_the_grounding_quality(book):
    lmm, states, bank, judges = book
    table = grounding_quality(lmm, states, *judges, dictionary=bank.dictionary)
    scores = bank.measured(states.images, *judges).measures
    assert table["words"].tolist() == list(map(str, bank.words))
    for name in ("clipscore", "bertscore"):
        assert table[name].to_numpy() == pytest.approx(scores[name])
        assert not np.allclose(table[f"{name}_random"], table[name])


def test_an_idle_concept_has_no_scores(book):
    _, states, bank, judges = book
    idle = replace(bank, activations=bank.activations * [1, 1, 0, 1])
    scores = idle.measured(states.images, *judges).measures
    assert (
        np.isnan(scores["clipscore"]).tolist() == np.isnan(scores["bertscore"]).tolist() == [False, False, True, False]
    )


def test_measures_are_added_saved_and_read(bank, llava, states, tmp_path):
    other = ConceptBank.learn(llava, states, SemiNMF(3, random_state=1, verbose=False))
    scored = replace(bank, measures={"clipscore": np.array([1, np.nan, 0.5])}, names={1: "name"}, folder=None)
    measured = scored.measured(others=[other])
    assert list(measured.measures) == ["clipscore", "stability"] and "stability" not in scored.measures
    assert measured.names == {1: "name"}
    assert np.array_equal(measured.measures["stability"], concept_stability(bank.concepts, [other.concepts]))
    measured.save_pretrained(tmp_path / "bank")
    loaded = ConceptBank.from_pretrained(tmp_path / "bank")
    assert loaded.measures.keys() == measured.measures.keys() and loaded.names == {1: "name"}
    for name, values in measured.measures.items():
        assert np.array_equal(loaded.measures[name], values, equal_nan=True)


@pytest.mark.parametrize("name, value", [("layer", 1), ("position", "own")])
def test_stability_is_not_of_banks_of_other_states(bank, name, value):
    other = replace(bank, provenance={**bank.provenance, name: value})
    with pytest.raises(ValueError, match=f"the bank and others differ in {name}"):
        bank.measured(others=[other])


def test_a_bank_saved_before_there_were_measures_is_read(bank, tmp_path):
    replace(bank, names={}, measures={}).save_pretrained(tmp_path / "bank")
    assert {path.name for path in (tmp_path / "bank").iterdir()} == {"bank.json", "bank.safetensors", "pictures"}
    assert json.loads((tmp_path / "bank" / "bank.json").read_text())["format"] == 2
    loaded = ConceptBank.from_pretrained(tmp_path / "bank")
    assert loaded.measures == {} and loaded.names == {} and loaded.folder == tmp_path / "bank"


def test_half_of_what_scores_need_is_refused(bank, states):
    with pytest.raises(ValueError, match="images, clip and bert, all three"):
        bank.measured(states.images)
    assert measure(bank) == {}
