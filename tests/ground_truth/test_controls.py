"""Controls with stand-in states of known structure, and one small run with the bundled model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coxlmm_utils.dictionaries.semi_nmf import SemiNMF, largest_useful_lam
from coxlmm_utils.extraction.extract import extract, reread
from coxlmm_utils.extraction.states import States
from coxlmm_utils.ground_truth import controls
from coxlmm_utils.ground_truth.controls import SYSTEMS, comparison, recover_factors, recover_factors_over
from coxlmm_utils.ground_truth.factor_recovery import score_against_factors
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models import randomly_initialised
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import factors_of

N = 6  # concepts


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Fits are compared to the last bit, and several threads add up in whatever order they end."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def dogs() -> CaptionedImages:
    return load_images("picturebook").mentioning("dog")[:64]


@pytest.fixture(scope="module")
def read(lmm, dogs) -> States:
    return extract(lmm, dogs, "dog", 4, position="own", cache=False)


@pytest.fixture(scope="module")
def halves(read) -> tuple[States, States]:
    """32 pages or so to learn from, and as many held out."""
    return part(read, range(len(read) // 2)), part(read, range(len(read) // 2, len(read)))


@pytest.fixture(scope="module")
def results(lmm, halves):
    return recover_factors(lmm, *halves, n_concepts=N)


def part(states: States, rows: range) -> States:
    vectors = {layer: Z[list(rows)] for layer, Z in states.vectors.items()}
    images = states.images.with_ids([states.images.ids[row] for row in rows])
    return replace(states, vectors=vectors, images=images, captions=[states.captions[row] for row in rows])


def test_every_system_is_scored_on_the_same_held_out_pages(results, halves):
    assert list(results) == list(SYSTEMS)
    pages = tuple(factors_of(int(id)) for id in halves[1].images.ids)
    for answers in results.values():
        assert answers.recovery.held_out_pages == pages and len(answers.recovery.table) == len(answers.words.table) == N
        assert answers.activations.shape == (len(halves[0]), N) and answers.held_out.shape == (len(pages), N)
    ours = SemiNMF(N).fit(halves[0].Z)
    np.testing.assert_array_equal(results["semi_nmf"].held_out, ours.transform(halves[1].Z))
    np.testing.assert_array_equal(results["semi_nmf"].activations, ours.activations_)


def test_shuffled_activations_are_the_same_on_other_pages(results):
    for name in ("activations", "held_out"):
        ours, shuffled = getattr(results["semi_nmf"], name), getattr(results["shuffled"], name)
        assert sorted(map(tuple, ours)) == sorted(map(tuple, shuffled)) and (ours != shuffled).any(1).mean() > 0.5


def test_the_systems_are_the_ones_they_are_called(results):
    assert (results["pca"].held_out < 0).any()
    for name in ("kmeans", "simple"):
        assert 0 < results[name].held_out.min() and results[name].held_out.max() <= 1
    assert (results["simple"].activations == 1).sum() == N  # its concepts are states
    differ = [results[name].held_out for name in SYSTEMS if name != "shuffled"]
    assert all(not np.array_equal(a, b) for i, a in enumerate(differ) for b in differ[:i])


def test_the_untrained_states_have_the_same_sparsity_and_their_own_scale(lmm, results, halves):
    fresh = randomly_initialised(lmm)
    learned, tested = (reread(fresh, half, half.layer).Z for half in halves)
    share = 1 / largest_useful_lam(halves[0].Z)
    dictionary = SemiNMF(N, relative_lam=share).fit(learned)
    assert dictionary.lam_ < 0.5  # its states are shorter
    np.testing.assert_array_equal(results["random_init"].held_out, dictionary.transform(tested))


def test_comparison_is_beside_semi_nmf(results):
    table = comparison(results)
    assert table.index.tolist() == list(SYSTEMS) and table.index.name == "system"
    ours, other = results["semi_nmf"].recovery, results["random"].recovery
    assert table.loc[
        "semi_nmf", ["recovered_difference", "recovered_difference_low", "mean_auc_difference_high"]
    ].tolist() == [0, 0, 0]
    difference = ours.minus(other)["mean_auc"]
    row = table.loc["random"]
    assert row["mean_auc_difference"] == difference.value and row["mean_auc_difference_low"] == difference.low
    assert [row["recovered"], row["recovered_high"]] == [other.recovered.value, other.recovered.high]
    assert row["word_accuracy"] == results["random"].words.true.value
    assert (table["n_concepts"] == N).all() and table["n_values"].nunique() == 1
    assert table["mean_auc"]["semi_nmf"] > table["mean_auc"]["shuffled"]


def test_states_read_in_another_way_are_refused(lmm, halves):
    elsewhere = replace(halves[1], provenance=halves[1].provenance | {"position": "predicts"})
    with pytest.raises(ValueError, match="differ in position: 'own' and 'predicts'"):
        recover_factors(lmm, halves[0], elsewhere, N)


def test_held_out_pages_that_were_learned_from_are_refused(lmm, halves, dogs):
    mixed = part(halves[0], range(2, len(halves[0])))
    with pytest.raises(ValueError, match=f"^{len(mixed)} of the held-out pages were learned from: hold out others"):
        recover_factors(lmm, halves[0], mixed, N)
    learned = dogs.with_ids(halves[0].images.ids)
    with pytest.raises(ValueError, match=f"^{len(learned)} of the held-out pages were learned from"):
        recover_factors_over(lmm, learned, learned, ["dog"], [4], ["own"], N)


def test_an_untrained_lmm_has_fresh_weights_and_its_own_fingerprint(lmm):
    before = torch.random.get_rng_state()
    fresh, again, other = randomly_initialised(lmm), randomly_initialised(lmm), randomly_initialised(lmm, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert fresh.fingerprint == again.fingerprint
    assert len({lmm.fingerprint, fresh.fingerprint, other.fingerprint}) == 3
    assert fresh.name == "picturebook, untrained 0" and fresh.ood is None
    shapes = [{name: p.shape for name, p in entry.model.named_parameters()} for entry in (lmm, fresh)]
    assert shapes[0] == shapes[1] and not fresh.model.training
    assert not any(parameter.requires_grad for parameter in fresh.model.parameters())
    modules = set(fresh.model.modules())
    assert {fresh.layers, fresh.final_norm, fresh.unembedding} <= modules
    for parameter in fresh.model.parameters():
        assert parameter.isfinite().all() and parameter.abs().max() < 10


def test_an_untrained_lmm_reads_the_same_captions_on_the_same_pages(lmm, read, dogs):
    few = part(read, range(8))
    fresh = reread(randomly_initialised(lmm), few, few.layer)
    assert fresh.images.ids == few.images.ids and fresh.captions == few.captions
    assert fresh.provenance["position"] == "own" and fresh.Z.shape == few.Z.shape
    assert not torch.allclose(fresh.Z, few.Z, atol=0.1)
    trained = reread(lmm, few, few.layer)  # after the other's states were kept: they are not taken for its own
    torch.testing.assert_close(trained.Z, few.Z, atol=1e-3, rtol=1e-3)


def test_answers_over_layers_and_positions(lmm, dogs, halves, monkeypatch):
    for name in ("ground_words", "word_accuracy"):  # whose answers are in no row
        monkeypatch.delattr(controls, name)
    learned, tested = (dogs.with_ids(half.images.ids) for half in halves)
    table = recover_factors_over(lmm, learned, tested, ["dog"], [2, 4], n_concepts=N)
    assert len(table) == 2 * 2 * 2
    assert (table["samples"] == len(halves[0])).all()
    assert table.groupby(["token", "layer", "position"])["system"].apply(list).tolist() == 4 * [
        ["semi_nmf", "shuffled"]
    ]
    place = (table["layer"] == 4) & (table["position"] == "own") & (table["system"] == "semi_nmf")
    recovery = known_answers_of(halves)
    assert table[place]["mean_auc"].item() == pytest.approx(recovery.mean_auc.value, abs=0.02)
    assert table[place]["n_values"].item() == recovery.n_values
    means = table.groupby("system")["mean_auc"].mean()
    assert means["semi_nmf"] > means["shuffled"]
    assert {"recovered", "recovered_low", "recovered_high", "mean_auc_low", "mean_auc_high", "n_excluded"} <= set(table)


def known_answers_of(halves):
    """Semi-NMF's, worked out by itself."""
    dictionary = SemiNMF(N).fit(halves[0].Z)
    pages = [[factors_of(int(id)) for id in half.images.ids] for half in halves]
    return score_against_factors(dictionary.activations_, pages[0], dictionary.transform(halves[1].Z), pages[1])
