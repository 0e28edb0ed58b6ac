"""Grounding quality of each concept: by hand for a tiny model and tiny judges."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from coxlmm_utils.concepts.grounding import ground_words
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF, largest_useful_lam
from coxlmm_utils.evaluation.clipscore import clip_score, words_as_text
from coxlmm_utils.evaluation.grounding_quality import grounding_quality
from coxlmm_utils.evaluation.random_words import random_words
from tests.conftest import in_memory
from tests.evaluation.test_evaluate import given
from tests.evaluation.test_judges import tiny_judges

pytestmark = pytest.mark.filterwarnings("ignore:pictures without reference captions")

FILTER = WordFilter(min_length=2)
REFERENCES = [("a grey dog", "a dog in the park"), ("grey snow",), (), ("a small grey bus", "street")]
COLUMNS = ["token", "concept", "words", "clipscore", "bertscore", "clipscore_random", "bertscore_random"]
K = 3


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    return tiny_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def states(llava, pictures):
    return given(llava, in_memory(pictures[:12], REFERENCES * 3))


@pytest.fixture(scope="module")
def dictionary() -> SemiNMF:
    return SemiNMF(K, relative_lam=0.05, random_state=2)


@pytest.fixture(scope="module")
def learned(states, dictionary) -> SemiNMF:
    return SemiNMF(**dictionary.get_params() | {"verbose": False}).fit(states.Z)


@pytest.fixture(scope="module")
def result(llava, states, judges, dictionary) -> pd.DataFrame:
    return grounding_quality(llava, states, *judges, dictionary, 4, seed=3, word_filter=FILTER)


def by_hand(states, judges, learned, words, n_pictures):
    """Mean scores of each concept's words with its most activating pictures, one concept and picture at a time."""
    rows = []
    for k, first in enumerate(words):
        active = learned.activations_[:, k]
        best = [row for row in np.argsort(-active, kind="stable")[:n_pictures] if active[row] > 0]
        seen = judges[0].encode_pictures([states.images.picture(row) for row in best])
        clip = clip_score(seen, judges[0].encode_texts([words_as_text(first.kept)] * len(best)))
        bert = judges[1].f1([", ".join(first.kept)] * len(best), [states.images.references[row] for row in best])
        rows.append((clip.mean().item(), np.nanmean(bert)))
    return np.array(rows)


@pytest.mark.parametrize("n_pictures", [4, 12])
def test_means_over_the_most_activating_pictures_by_hand(llava, states, judges, dictionary, learned, n_pictures):
    words = ground_words(llava, learned.components_, 2, word_filter=FILTER)
    random = random_words(llava, words, 2, word_filter=FILTER, seed=3)
    table = grounding_quality(llava, states, *judges, dictionary, n_pictures, seed=3, word_filter=FILTER)
    assert table.columns.tolist() == COLUMNS and table["concept"].tolist() == [0, 1, 2]
    assert table["token"].tolist() == ["grey"] * K and table["words"].tolist() == list(map(str, words))
    for ending, mentioned in (("", words), ("_random", random)):
        scores = table[["clipscore" + ending, "bertscore" + ending]].to_numpy()
        assert scores == pytest.approx(by_hand(states, judges, learned, mentioned, n_pictures), abs=1e-5)
    assert (learned.activations_ == 0).any()  # of twelve pictures some do not count


def test_pictures_that_were_not_learned_from(llava, pictures, states, judges, dictionary, learned, result):
    held_out = given(llava, in_memory(pictures[12:18], REFERENCES + REFERENCES[:2]))
    other = grounding_quality(llava, states, *judges, dictionary, 2, word_filter=FILTER, held_out=held_out)
    applied = copy(learned)
    applied.activations_ = learned.transform(held_out.Z)
    words = ground_words(llava, learned.components_, 2, word_filter=FILTER)
    assert other["words"].tolist() == result["words"].tolist()
    scores = other[["clipscore", "bertscore"]].to_numpy()
    assert scores == pytest.approx(by_hand(held_out, judges, applied, words, 2), abs=1e-5)


def test_held_out_states_that_are_not_alike_or_were_learned_from_are_refused(llava, states, judges):
    with pytest.raises(ValueError, match="of layer 2, those to test of layer 1"):
        grounding_quality(llava, states, *judges, held_out=replace(states, vectors={1: states.Z}))
    with pytest.raises(ValueError, match="12 of 12 test pictures were also learned from"):
        grounding_quality(llava, states, *judges, held_out=states)


def test_the_given_dictionary_is_only_read(result, dictionary):
    assert not hasattr(dictionary, "components_")


def test_the_seed_is_that_of_the_random_words(llava, states, judges, dictionary, result):
    other = grounding_quality(llava, states, *judges, dictionary, 4, seed=4, word_filter=FILTER)
    own = ["clipscore", "bertscore"]
    assert other[own].equals(result[own]) and not other["clipscore_random"].equals(result["clipscore_random"])


def test_five_pictures_are_the_papers(llava, states, judges, dictionary):
    options = {"word_filter": FILTER}
    five = grounding_quality(llava, states, *judges, dictionary, 5, **options)
    pd.testing.assert_frame_equal(grounding_quality(llava, states, *judges, dictionary, **options), five)


def test_each_picture_that_is_shown_is_opened_once(llava, states, judges, dictionary, learned):
    opened = []
    images = replace(states.images, open=lambda id: opened.append(id) or states.images.open(id))
    grounding_quality(llava, replace(states, images=images), *judges, dictionary, 2, word_filter=FILTER)
    top = np.argsort(-learned.activations_, axis=0, kind="stable")[:2]
    assert opened == [states.images.ids[row] for row in np.unique(top)]


def test_a_concept_without_words(llava, states, judges, dictionary):
    nothing = WordFilter(min_length=99)
    table = grounding_quality(llava, states, *judges, dictionary, word_filter=nothing)
    assert table["words"].tolist() == ["(no words)"] * K and (table["bertscore"] == 0).all()
    assert table["clipscore"].equals(table["clipscore_random"].rename("clipscore"))


def test_pictures_without_references(llava, states, judges, dictionary, result):
    bare = replace(states, images=replace(states.images, references=[()] * 12))
    table = grounding_quality(llava, bare, *judges, dictionary, 4, seed=3, word_filter=FILTER)
    assert table[["bertscore", "bertscore_random"]].isna().all(axis=None)
    assert table["clipscore"].tolist() == pytest.approx(result["clipscore"].tolist())


def test_a_concept_that_is_active_on_no_picture_is_left_out(llava, states, judges, dictionary, result, monkeypatch):
    fit = SemiNMF.fit

    def without_the_second(self, Z):
        fit(self, Z).activations_[:, 1] = 0
        return self

    monkeypatch.setattr(SemiNMF, "fit", without_the_second)
    table = grounding_quality(llava, states, *judges, dictionary, 4, seed=3, word_filter=FILTER)
    pd.testing.assert_frame_equal(table, result.drop(index=1).reset_index(drop=True))


def test_nothing_is_active(llava, states, judges):
    dead = SemiNMF(K, lam=2 * largest_useful_lam(states.Z))
    with pytest.warns(UserWarning, match="no sample uses: 3 of 3"):
        table = grounding_quality(llava, states, *judges, dead, word_filter=FILTER)
    assert len(table) == 0 and table.columns.tolist() == COLUMNS


def test_without_a_bert_judge_there_are_clipscores_alone(llava, states, judges, dictionary, result):
    table = grounding_quality(llava, states, judges[0], None, dictionary, 4, seed=3, word_filter=FILTER)
    pd.testing.assert_frame_equal(table, result[table.columns])
    assert [name for name in COLUMNS if name not in table] == ["bertscore", "bertscore_random"]
