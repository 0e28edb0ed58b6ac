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
from coxlmm_utils.ground_truth.factor_recovery import over_seeds, score_against_factors
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models import randomly_initialised
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import factors_of
from coxlmm_utils.statistics import nested_bootstrap

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
    return recover_factors(lmm, *halves, n_concepts=N, seeds=(0, 1))


def part(states: States, rows: range) -> States:
    vectors = {layer: Z[list(rows)] for layer, Z in states.vectors.items()}
    images = states.images.with_ids([states.images.ids[row] for row in rows])
    return replace(states, vectors=vectors, images=images, captions=[states.captions[row] for row in rows])


def test_every_system_is_scored_on_the_same_held_out_pages(results, halves):
    assert list(results) == list(SYSTEMS)
    assert {name for name, runs in results.items() if len(runs) == 1} == {"probe", "pca", "simple", "random_init"}
    pages = tuple(factors_of(int(id)) for id in halves[1].images.ids)
    n_concepts = dict.fromkeys(SYSTEMS, N) | {"pca": 2 * N, "probe": results["probe"][0].recovery.n_values}
    for name, runs in results.items():
        for run in runs:
            assert run.recovery.held_out_pages == pages and len(run.recovery.table) == n_concepts[name]
            assert run.activations.shape == (len(halves[0]), n_concepts[name])
            assert run.held_out.shape == (len(pages), n_concepts[name])
            assert run.words is None if name == "probe" else len(run.words.table) == n_concepts[name]
    for seed, run in enumerate(results["semi_nmf"]):
        ours = SemiNMF(N, random_state=seed).fit(halves[0].Z)
        np.testing.assert_array_equal(run.held_out, ours.transform(halves[1].Z))
        np.testing.assert_array_equal(run.activations, ours.activations_)


def test_a_probe_for_each_value_is_the_ceiling(results):
    [probe] = results["probe"]
    table = probe.recovery.table
    assert table["auc_matching"].min() > 0.99  # of a subject's few pages, which 160 numbers tell apart
    assert all(probe.recovery.mean_auc.value > run.recovery.mean_auc.value for run in results["semi_nmf"])


def test_a_rotation_keeps_the_span_and_nothing_else(halves):
    U = SemiNMF(N).fit(halves[0].Z).components_
    turned = controls.rotated(U, 0)
    np.testing.assert_allclose(turned @ turned.T, np.eye(N), atol=1e-6)
    np.testing.assert_allclose(U @ turned.T @ turned, U, atol=1e-4)
    cosines = np.abs(turned @ (U / np.linalg.norm(U, axis=1, keepdims=True)).T)
    assert cosines.max() < 0.99 and not np.allclose(turned, controls.rotated(U, 1))


def test_random_samples_are_samples(halves):
    drawn = controls._drawn(halves[0].Z, N, 0)
    rows = {tuple(row) for row in np.asarray(halves[0].Z)}
    assert len({tuple(row) for row in drawn} & rows) == N
    np.testing.assert_allclose(np.linalg.norm(controls._unit(drawn).components_, axis=1), 1, rtol=1e-5)


def test_some_systems_can_be_left_out(lmm, halves):
    assert list(recover_factors(lmm, *halves, N, (0,), systems=["rotated", "probe"])) == ["probe", "rotated"]


def test_shuffled_activations_are_the_same_on_other_pages(results):
    for name in ("activations", "held_out"):
        ours, shuffled = (getattr(results[system][1], name) for system in ("semi_nmf", "shuffled"))
        assert sorted(map(tuple, ours)) == sorted(map(tuple, shuffled)) and (ours != shuffled).any(1).mean() > 0.5


def test_the_systems_are_the_ones_they_are_called(results):
    pca = results["pca"][0].held_out
    assert pca.min() == 0 and not (pca[:, :N] * pca[:, N:]).any()  # one side of an axis is active at a time
    for name in ("kmeans", "simple"):
        assert 0 < results[name][0].held_out.min() and results[name][0].held_out.max() <= 1
    assert (results["simple"][0].activations == 1).sum() == N  # its concepts are states
    differ = [run.held_out for name in SYSTEMS if name != "shuffled" for run in results[name]]
    assert all(not np.array_equal(a, b) for i, a in enumerate(differ) for b in differ[:i])


def test_the_untrained_states_have_the_same_sparsity_and_their_own_scale(lmm, results, halves):
    fresh = randomly_initialised(lmm)
    learned, tested = (reread(fresh, half, half.layer).Z for half in halves)
    share = 1 / largest_useful_lam(halves[0].Z)
    dictionary = SemiNMF(N, relative_lam=share).fit(learned)
    assert dictionary.lam_ < 0.5  # its states are shorter
    np.testing.assert_array_equal(results["random_init"][0].held_out, dictionary.transform(tested))


def test_comparison_is_beside_semi_nmf(results):
    table = comparison(results)
    assert table.index.tolist() == list(SYSTEMS) and table.index.name == "system"
    ours, other = ([run.recovery for run in results[name]] for name in ("semi_nmf", "random"))
    assert table.loc[
        "semi_nmf", ["recovered_difference", "recovered_difference_low", "mean_auc_difference_high"]
    ].tolist() == [0, 0, 0]
    difference = over_seeds(ours, minus=other)["mean_auc"]
    row = table.loc["random"]
    assert row["mean_auc_difference"] == difference.value and row["mean_auc_difference_low"] == difference.low
    assert row["recovered"] == np.mean([run.recovered.value for run in other])
    true = [run.words.table["true"] for run in results["random"]]
    assert row["word_accuracy"] == nested_bootstrap(true).value and np.isnan(table["word_accuracy"]["probe"])
    assert table["seeds"][["semi_nmf", "pca"]].tolist() == [2, 1] and table["n_values"].nunique() == 1
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
    table = recover_factors_over(lmm, learned, tested, ["dog"], [2, 4], n_concepts=N, seeds=[0])
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
    two = recover_factors_over(lmm, learned, tested, ["dog"], [4], ["own"], N, seeds=[0, 1])
    assert (two["seeds"] == 2).all() and two["mean_auc"][0] != table[place]["mean_auc"].item()


def known_answers_of(halves):
    """Semi-NMF's, worked out by itself."""
    dictionary = SemiNMF(N).fit(halves[0].Z)
    pages = [[factors_of(int(id)) for id in half.images.ids] for half in halves]
    return score_against_factors(dictionary.activations_, pages[0], dictionary.transform(halves[1].Z), pages[1])
