"""Sweeps over settings: what is fitted, what is measured."""

import numpy as np
import pytest

from coxlmm_utils import SemiNMF, extract
from coxlmm_utils.concepts.grounding import ground_pictures, ground_words
from coxlmm_utils.concepts.measures import overlaps, words_mentioned
from coxlmm_utils.dictionaries.matching import match
from coxlmm_utils.evaluation.sweep import _single_restart, sweep
from tests.conftest import MAX_NEW_TOKENS, in_memory


@pytest.fixture(scope="module")
def two_layers(llava, pictures, token):
    images = in_memory(pictures, ("all grey",))
    return extract(llava, images, token, [1, 2], max_new_tokens=MAX_NEW_TOKENS, cache=False)


@pytest.mark.filterwarnings("ignore:Concepts that no sample uses")
def test_one_row_for_each_dictionary(two_layers):
    table = sweep(two_layers, n_concepts=(3, 2), lams=(0.1, 1.0), seeds=(0, 1))
    assert len(table) == 2 * 2 * 2 * 2
    assert not table.duplicated(["layer", "n_concepts", "lam", "seed"]).any()
    assert table["layer"].unique().tolist() == [1, 2]
    assert not {"overlap", "mentioned", "auc"} & set(table)


def test_a_row_is_what_the_dictionary_is(states, llava):
    row = sweep(states, n_concepts=(2,), lams=(0.3,), seeds=(4,), lmm=llava, truth=lambda V: V.sum()).iloc[0]
    fitted = SemiNMF(2, lam=0.3, random_state=4).fit(states.Z)
    words = ground_words(llava, fitted.components_, states.layer, n_kept=llava.words_kept)
    assert row["reconstruction_error"] == fitted.reconstruction_error_
    assert row["objective"] == fitted.objective_[-1]
    assert row["active"] == (fitted.activations_ > 0).sum(1).mean()
    assert row["auc"] == fitted.activations_.sum()
    assert row["overlap"] == pytest.approx(np.nanmean(overlaps(words)))
    mentioned = words_mentioned(words, ground_pictures(fitted.activations_), states.images.references)
    assert row["mentioned"] == pytest.approx(mentioned.mean())


def test_stability_is_across_seeds(states):
    table = sweep(states, n_concepts=(3,), seeds=(0, 1, 2), lams=(0.01,))
    concepts = [SemiNMF(3, lam=0.01, random_state=seed).fit(states.Z).components_ for seed in (0, 1, 2)]
    cosine = {(a, b): match(concepts[a], concepts[b])[1].mean() for a, b in ((0, 1), (0, 2), (1, 2))}
    means = [cosine[0, 1] + cosine[0, 2], cosine[0, 1] + cosine[1, 2], cosine[0, 2] + cosine[1, 2]]
    assert table["stability"].tolist() == pytest.approx([mean / 2 for mean in means])
    assert not {"stability", "stability_single"} & set(sweep(states, n_concepts=(3,), seeds=(0,)))


def test_single_restarts_are_no_better_than_the_best_of_several_and_differ_by_seed(states):
    table = sweep(states, n_concepts=(3,), seeds=(0, 1), lams=(0.01,))
    singles = [_single_restart(states.Z, SemiNMF(3, lam=0.01, random_state=seed).fit(states.Z)) for seed in (0, 1)]
    assert table["stability_single"].tolist() == pytest.approx([match(*singles)[1].mean()] * 2)
    for seed, concepts in enumerate(singles):
        best = SemiNMF(3, lam=0.01, random_state=seed).fit(states.Z).objective_[-1]
        V = SemiNMF.from_components(concepts, lam=0.01).transform(states.Z)
        assert ((states.Z.numpy() - V @ concepts) ** 2).sum() + 0.01 * V.sum() >= best * (1 - 1e-5)


def test_held_out_samples_are_what_is_measured_on(states):
    few, others = states.subset(states.images.ids[:4]), states.subset(states.images.ids[4:])
    row = sweep(
        few, n_concepts=(2,), lams=(0.3,), held_out=others, truth=lambda V, W: {"auc": len(V), "recovered": len(W)}
    ).iloc[0]
    fitted = SemiNMF(2, lam=0.3).fit(few.Z)
    Z, rebuilt = others.Z.numpy(), fitted.transform(others.Z) @ fitted.components_
    around_mean = ((Z - few.Z.numpy().mean(0)) ** 2).sum()
    assert row["explained"] == pytest.approx(1 - ((Z - rebuilt) ** 2).sum() / around_mean)
    assert (row["auc"], row["recovered"]) == (4, 2)
    assert row["reconstruction_error"] == fitted.reconstruction_error_


@pytest.mark.filterwarnings("ignore:Concepts that no sample uses")
def test_objective_falls_with_k(states):
    table = sweep(states, n_concepts=(1, 2, 3, 4, 5), lams=(0.01,))
    assert (np.diff(table["objective"]) <= 1e-9).all()


def test_lams_may_be_relative(states):
    result = sweep(states, n_concepts=(2,), lams=(0.1,), relative=True).iloc[0]
    assert result["relative"] and not sweep(states, n_concepts=(2,)).iloc[0]["relative"]
    fitted = SemiNMF(2, relative_lam=0.1).fit(states.Z)
    assert result["reconstruction_error"] == fitted.reconstruction_error_ and result["lam"] == 0.1


@pytest.mark.parametrize(
    "grid, message",
    [
        ({"n_concepts": ()}, "n_concepts is empty: give at least one value"),
        ({"seeds": ()}, "seeds is empty"),
        ({"n_concepts": (2, 999)}, "n_concepts=999 is more than the .* samples: leave it out"),
        ({"layers": [7]}, "no states at layer 7"),
    ],
)
def test_bad_grids_are_refused_before_any_fit(states, grid, message, monkeypatch):
    monkeypatch.setattr(SemiNMF, "fit", lambda *_: pytest.fail("fitted"))
    with pytest.raises(ValueError, match=message):
        sweep(states, **grid)
