"""Removing concepts, adding to them, and curves of deletion and insertion."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from coxlmm_utils import ConceptBank, SemiNMF, extract, join_states, load_lmm
from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.dictionaries.base import concept_change, random_changes
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.faithfulness.ablation import BEFORE, MEASURES, _by_concept, add_concepts, curves, remove_concepts
from coxlmm_utils.faithfulness.answers import bank_key
from coxlmm_utils.faithfulness.edited_forward import Effects, TeacherForcedCaption, effects, token_ids
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.picturebook.page import page
from tests.conftest import turned

WORDS = [("red", "dog"), ("dog", "snow"), ("blue",)]


@pytest.fixture(scope="module")
def worded(llava, states) -> ConceptBank:
    """A tiny bank of dense activations with plain words, of which two concepts share one."""
    bank = ConceptBank.learn(llava, states, SemiNMF(3, lam=0.01, random_state=5))
    return replace(bank, words=[Words(words, ()) for words in WORDS])


@pytest.fixture(scope="module")
def removed(llava, worded, states) -> pd.DataFrame:
    return remove_concepts(llava, worded, states)


@pytest.fixture(scope="module")
def curved(llava, worded, states) -> pd.DataFrame:
    return curves(llava, worded, states)


def active_on(bank, states, row: int) -> list[int]:
    V = bank.project(states.Z)[row]
    return [k for k in np.argsort(-V, kind="stable").tolist() if V[k] > 0]


def test_a_change_takes_out_one_concepts_part_and_keeps_the_remainder(bank, states):
    V = bank.project(states.Z)
    after = V.copy()
    after[:, 1] = 0
    change = concept_change(bank.dictionary, V, after)
    np.testing.assert_allclose(change, -V[:, 1:2] * bank.concepts[1], atol=1e-5)
    assert not concept_change(bank.dictionary, V, V).any()
    pca = PCA(2).fit(states.Z)  # whose mean is no concept's part
    V = pca.transform(states.Z)
    change = concept_change(pca, V, V * [0, 1])
    np.testing.assert_allclose(change, -V[:, :1] * pca.components_[0], atol=1e-4)


def test_a_signed_concept_is_judged_by_the_words_of_its_active_side(llava, states):
    bank = ConceptBank.learn(llava, states, PCA(2), word_filter=WordFilter(min_length=2))
    measured, again = (remove_concepts(llava, one, states)[list(MEASURES)] for one in (bank, turned(bank)))
    assert measured.to_numpy() == pytest.approx(again.to_numpy(), abs=1e-4, nan_ok=True)  # whichever side is called +u
    assert bank.words[0] != bank.negative_words[0] and measured.to_numpy().any()


def test_random_changes_are_as_long_as_the_change(bank):
    change = torch.tensor(bank.concepts[0]) * 7
    drawn = random_changes(change, 3, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.norm(dim=1), change.norm().expand(3), rtol=1e-5)
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.6


def test_there_are_two_rows_for_each_sample_and_its_most_active_concepts(llava, worded, states, removed):
    expected = [
        (id, k, edit)
        for row, id in enumerate(states.images.ids)
        for k in active_on(worded, states, row)
        for edit in ("concept", "random")
    ]
    assert list(removed[["sample", "concept", "edit"]].itertuples(index=False, name=None)) == expected
    assert list(removed.columns) == [
        "sample",
        "concept",
        "activation",
        "bank",
        "n_concepts",
        "edit",
        *MEASURES,
        *BEFORE,
    ]
    assert set(removed["n_concepts"]) == {3}
    assert set(removed["bank"]) == {bank_key(worded.activations)}


def test_each_concept_is_removed_where_it_is_strongest_too(llava, worded, states, removed, monkeypatch):
    """So that one that is never the most active of a sample is tested."""
    V = worded.project(states.Z)  # (samples, concepts)
    for n in (0, 1, 2):
        monkeypatch.setattr(sys.modules["coxlmm_utils.faithfulness.ablation"], "MIN_SAMPLES", n)
        fewer = remove_concepts(llava, worded, states, concepts=1)
        expected = {(row, active_on(worded, states, row)[0]) for row in range(len(V))}
        expected |= {(int(row), k) for k in range(3) for row in np.argsort(-V[:, k], kind="stable")[:n] if V[row, k]}
        rows = [states.images.ids.index(id) for id in fewer["sample"]]
        assert set(zip(rows, fewer["concept"])) == expected and len(fewer) == 2 * len(expected)
    both = fewer.merge(removed, on=["sample", "concept", "edit"])
    assert both["own_step_x"].to_numpy() == pytest.approx(both["own_step_y"].to_numpy(), abs=1e-4)


def test_a_removal_is_measured_by_the_concepts_own_words_and_the_others(llava, worded, states, removed):
    row = next(row for row in range(len(states)) if len(active_on(worded, states, row)) == 3)
    V = worded.project(states.Z)[row]
    red, dog, snow, blue = (ids[0] for ids in token_ids(llava, [["red"], ["dog"], ["snow"], ["blue"]]))
    rng = np.random.default_rng([0, row, 0])
    change = torch.tensor(-V[0] * worded.concepts[0])
    changes = torch.cat([change[None], random_changes(change, 2, rng)])
    result = effects(llava, TeacherForcedCaption.of(llava, states, row), 2, changes, [[red, dog], [snow], [blue]])
    own = removed[(removed["sample"] == states.images.ids[row]) & (removed["concept"] == 0)].set_index("edit")
    assert own[list(BEFORE)].to_numpy() == pytest.approx(np.tile(result.before[[0, -1]], (2, 1)), abs=1e-4)
    assert own["activation"].tolist() == pytest.approx([V[0]] * 2)
    for edit, rows in (("concept", slice(0, 1)), ("random", slice(1, 3))):
        step, later = result.words[rows, :, 0], result.words[rows, :, 1:]
        expected = [
            *(step[:, 0].mean(), step[:, 1:].abs().mean()),
            *(later[:, 0].mean(), later[:, 1:].abs().mean()),
            *(result.mentions[rows, 0].mean(), result.mentions[rows, 1:].abs().mean()),
            *(result.target[rows].mean(), result.rest[rows].mean()),
        ]
        assert own.loc[edit, list(MEASURES)].tolist() == pytest.approx([float(x) for x in expected], abs=1e-4)


def test_rises_and_falls_of_others_words_do_not_cancel():
    words = torch.tensor([[[-1.0, 0.5], [2.0, 0.1], [-2.0, -0.1]]] * 2)  # (changes, sets, steps)
    effect = Effects(words, torch.tensor([[-1.0, 3.0, -3.0]] * 2), torch.zeros(2), torch.zeros(2), torch.zeros(4))
    [measures] = _by_concept(effect, [[[1], [2], [3]]])
    named = dict(zip(MEASURES, measures[0].tolist()))
    assert (named["own_step"], named["others_step"]) == (-1, 2)
    assert (named["own_later"], named["others_later"]) == pytest.approx((0.5, 0.1))
    assert (named["own_mentions"], named["others_mentions"]) == (-1, 3)


def test_the_seed_decides_the_random_directions_only(llava, worded, states, removed):
    pd.testing.assert_frame_equal(removed, remove_concepts(llava, worded, states))
    other = remove_concepts(llava, worded, states, seed=1)
    same = np.isclose(removed["rest"], other["rest"])
    assert same[removed["edit"] == "concept"].all() and not same[removed["edit"] == "random"].any()


def test_adding_is_scaled_from_removal_over_nothing_to_more(llava, worded, states, removed):
    pd.testing.assert_frame_equal(add_concepts(llava, worded, states, -1.0), removed)
    nothing = add_concepts(llava, worded, states, 0.0)
    assert nothing[list(MEASURES)].abs().max(axis=None) < 1e-6
    row, (top, *_) = 0, active_on(worded, states, 0)
    change = torch.tensor(2 * worded.project(states.Z)[row, top] * worded.concepts[top])[None]
    result = effects(llava, TeacherForcedCaption.of(llava, states, row), 2, change, [])
    twice = add_concepts(llava, worded, states, 2.0)
    assert twice["rest"][0] == pytest.approx(result.rest.item(), abs=1e-4)


def test_a_concept_without_words_has_no_effect_on_them(llava, worded, states):
    bare = replace(worded, words=[Words((), ()), *worded.words[1:]])
    table = remove_concepts(llava, bare, states)
    without = table["concept"] == 0
    assert table.loc[without, "own_step"].isna().all() and table.loc[~without, "own_step"].notna().all()
    assert table["rest"].notna().all()


def test_the_target_is_none_of_a_concepts_words(llava, worded, states, removed):
    [target] = states.spellings
    with_it = [Words((target, *words.kept), ()) for words in worded.words]
    pd.testing.assert_frame_equal(remove_concepts(llava, replace(worded, words=with_it), states), removed)
    alone = replace(worded, words=[Words((target,), ()), *with_it[1:]])
    table = remove_concepts(llava, alone, states)
    assert table.loc[table["concept"] == 0, "own_step"].isna().all() and table["target"].abs().min() > 0


def test_curves_begin_and_end_where_they_must(curved):
    curve = {name: points for name, points in curved.groupby(["curve", "order", "draw"])}
    assert set(curve) == {
        (c, *o) for c in ("deletion", "insertion") for o in [("activation", 0), ("random", 0), ("random", 1)]
    }
    ends = {name: points.groupby("sample", sort=False)["caption"] for name, points in curve.items()}
    none = ends["deletion", "activation", 0].last()  # no concept is left
    for (name, *_), caption in ends.items():
        whole, empty = (caption.first(), caption.last()) if name == "deletion" else (caption.last(), caption.first())
        assert whole.abs().max() < 1e-6
        pd.testing.assert_series_equal(empty, none, atol=1e-4)
    assert none.abs().min() > 1e-3


def test_curves_go_over_the_active_concepts(worded, states, curved):
    for row, id in enumerate(states.images.ids):
        n = len(active_on(worded, states, row))
        for _, points in curved[curved["sample"] == id].groupby(["curve", "order", "draw"]):
            assert points["n_concepts"].tolist() == list(range(n + 1))
            assert points["share"].tolist() == pytest.approx([i / n for i in range(n + 1)])


def test_the_first_to_go_is_the_most_active_and_the_last_to_come_back_the_least(llava, worded, states, removed, curved):
    alone = add_concepts(llava, worded, states, -1.0).query("edit == 'concept'").groupby("sample", sort=False)
    points = curved[curved["order"] == "activation"]
    first = points[(points["curve"] == "deletion") & (points["n_concepts"] == 1)]
    most = alone.first()
    assert first["caption"].tolist() == pytest.approx((most["target"] + most["rest"]).tolist(), abs=1e-4)
    assert first["target"].tolist() == pytest.approx(most["target"].tolist(), abs=1e-4)
    sizes = points.groupby("sample")["n_concepts"].transform("max")
    back = points[(points["curve"] == "insertion") & (points["n_concepts"] == sizes - 1)]
    least = alone.last()
    assert back["caption"].tolist() == pytest.approx((least["target"] + least["rest"]).tolist(), abs=1e-4)


def test_random_orders_are_seeded_and_differ(llava, worded, states, curved):
    again, other = (curves(llava, worded, states, seed=seed) for seed in (0, 1))
    pd.testing.assert_frame_equal(again, curved)
    draws = curved[curved["order"] == "random"].groupby("draw")["caption"].apply(list)
    assert draws[0] != pytest.approx(draws[1], abs=1e-4)
    assert not np.allclose(other["caption"], curved["caption"], atol=1e-4)


def test_a_sample_without_an_active_concept_has_no_rows(llava, worded, states):
    class Nothing(type(worded.dictionary)):
        def transform(self, Z):
            V = super().transform(Z)
            V[0] = 0
            return V

    dictionary = Nothing(3)
    dictionary.__dict__.update(worded.dictionary.__dict__)
    quiet = replace(worded, dictionary=dictionary)
    for table in (remove_concepts(llava, quiet, states), curves(llava, quiet, states)):
        assert set(table["sample"]) == set(states.images.ids[1:])


@pytest.mark.parametrize("call", [remove_concepts, add_concepts, curves])
def test_what_does_not_belong_together_is_refused(call, llava, qwen, bank, states):
    with pytest.raises(ValueError, match="learned on"):
        call(qwen, bank, states)
    with pytest.raises(ValueError, match="differ in position: 'predicts' and 'own'"):
        call(llava, bank, replace(states, provenance={**states.provenance, "position": "own"}))
    foreign = {**states.provenance, "model": {"name": "other", "fingerprint": "0"}}
    with pytest.raises(ValueError, match="differ in fingerprint: .* and '0'"):
        call(llava, bank, replace(states, provenance=foreign))
    with pytest.raises(ValueError, match="no states at layer 2"):
        call(llava, bank, replace(states, vectors={1: states.Z}))
    other = replace(states, provenance={**states.provenance, "token": ["red"]})
    with pytest.raises(ValueError, match="the states are of grey, red"):
        call(llava, bank, join_states([states, other]))
    with pytest.raises(ValueError, match="controls=0"):
        call(llava, bank, states, controls=0)


def test_at_least_one_concept_is_removed(llava, bank, states):
    with pytest.raises(ValueError, match="concepts=0"):
        remove_concepts(llava, bank, states, concepts=0)


# Known truth: the picture book's model uses its concepts of places


def test_a_concept_of_the_picture_book_promotes_its_words():
    lmm = load_lmm("picturebook", device="cpu")
    pages = {str(number): page(number, kind="dog") for number in range(0, 1120, 8)}
    references = tuple(page.references for page in pages.values())
    images = CaptionedImages("", "all", tuple(pages), references, lambda id: pages[id].picture)
    states = extract(lmm, images, "dog", 4, "own", cache=False)
    bank = ConceptBank.learn(lmm, states, SemiNMF(8))
    few = replace(
        states,
        vectors={4: states.Z[:12]},
        images=images.with_ids(states.images.ids[:12]),
        captions=states.captions[:12],
    )
    table = remove_concepts(lmm, bank, few, concepts=2, controls=1)
    step, later = (table.groupby("edit")[name].mean() for name in ("own_step", "own_later"))
    assert step["concept"] < step["random"] - 1
    assert abs(later["concept"] - later["random"]) < 0.1  # later words are predicted from later states
    assert table["target"].abs().max() < 1e-4  # what was said before cannot change
