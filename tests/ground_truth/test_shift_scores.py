"""Scores of concept shift: the whole of them on a few pages, and the parts that nothing of the test pages decides."""

from __future__ import annotations

import json
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from coxlmm_utils.ground_truth.fine_tuned import TOPICS, FineTuned, fine_tuned
from coxlmm_utils.ground_truth.planted_shifts import signed_states
from coxlmm_utils.models import load_lmm
from coxlmm_utils.shift import CHANGES, Cuts, compare
from tests.shift.by_hand import AFTER, bank_of

module = import_module("coxlmm_utils.ground_truth.shift_scores")  # whose name in the room is its function
LABELS = json.loads((Path(__file__).parents[2] / "docs/templates/labels.json").read_text())  # of the page of results
FEW = {"SETS": ("place",), "N_CONCEPTS": 4, "SEEDS": range(2), "ALPHAS": (0.5, 1.0)}
FEW |= {"N_STEERED": {"validation": 8, "test": 12}, "MAX_NEW_TOKENS": 12}
N_PAGES = 60


def few_pages(name, lmm, layer, n_pages=N_PAGES) -> FineTuned:
    return fine_tuned(name, lmm, layer, min(n_pages, N_PAGES))


@pytest.fixture(scope="module")
def lmm():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def few():
    """The settings of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FEW.items():
            patch.setattr(module, name, value)
        patch.setattr(module, "fine_tuned", few_pages)
        patch.setattr(module, "signed_states", partial(signed_states, n_pages={"train": 40, "test": 30}))
        patch.setattr(
            module, "set_scores", partial(module.set_scores, n_concepts=FEW["N_CONCEPTS"], seeds=FEW["SEEDS"])
        )
        patch.setattr(FineTuned, "forgotten", {topic: [1.0, 0.5] for topic in TOPICS})  # asking takes long
        yield


@pytest.fixture(scope="module")
def scores(lmm, few):
    return module.shift_scores(lmm)


@pytest.fixture(scope="module")
def place(lmm):
    return few_pages("picturebook-place", lmm, module.GALLERY_LAYER)


# The whole


def test_every_part_is_there_and_can_be_kept(scores):
    assert set(scores) == {"cuts", "null", "place", "rename", "sign"}
    assert json.loads(json.dumps(scores)) == scores
    assert set(scores["cuts"]) == {"cosine", "t_overlap"} and 0 < scores["cuts"]["cosine"] <= 1
    assert set(scores["rename"]) == {"found", "elsewhere", "moved", "n"}
    assert sum(scores["rename"]["n"]) == FEW["N_CONCEPTS"] * len(FEW["SEEDS"])
    assert set(scores["sign"]) - {"before"} == set(scores["sign"]["before"]) >= {"auc", "colour_auc", "said"}


@pytest.mark.parametrize("kind", ["place", "null"])
def test_a_set_has_all_that_the_page_of_results_shows(scores, kind):
    row = scores[kind]
    for name in LABELS["shift_sets"]:
        mean, low, high = row[name]
        assert low <= mean <= high
    assert set(row["with_gain"]) == {"consistency", "magnitude"} and all(map(len, row["with_gain"].values()))
    assert list(row["about"]) == list(module.FACTORS) and list(row["forgotten"]) == list(TOPICS)
    assert all(0 <= n <= FEW["N_CONCEPTS"] for pair in row["about"].values() for n in pair)
    assert list(row["counts"]) == list(CHANGES) and N_PAGES / 4 < row["n"] <= N_PAGES / 2
    assert ("steering" in row) == (kind == "place")


def test_shift_vectors_bring_concepts_nearer_than_controls_do(scores):
    row = scores["place"]
    assert row["cosine_after"][0] > max(row[f"cosine_{name}"][0] for name in ("before", "permuted", "random"))
    assert row["gain"][0] > 0 and row["nearer_share"][0] > 0.5 and row["magnitude"][0] > scores["null"]["magnitude"][0]
    assert row["cosine_before"][0] < scores["null"]["cosine_before"][0] and row["changed"][0] > 0.5


def test_steering_is_told_of_both_ways(scores):
    assert list(scores["place"]["steering"]) == list(LABELS["shift_ways"])
    for way in scores["place"]["steering"].values():
        assert way["alpha"] in (*FEW["ALPHAS"], None) and set(way) == {*LABELS["shift_steering"], "alpha"}
        assert all(0 <= way[name][1] <= way[name][0] <= way[name][2] <= 1 for name in LABELS["shift_steering"])


def test_the_table_has_a_row_for_each_set_and_the_planted_changes(scores, few):
    sets, rename, sign = module.shift_table(scores).split("\n\n")
    head, *rows = sets.splitlines()
    assert {"cosine_before", "changed", "magnitude"} <= set(head.split()) and "forgotten" not in head
    assert [row.split()[0] for row in rows] == ["place", "null"]
    assert f"{scores['place']['cosine_after'][0]:.3f}" in rows[0]
    assert [line.split()[0] for line in rename.splitlines()] == ["rename", "found", "elsewhere", "moved"]
    assert f"{scores['sign']['before']['auc'][0]:.3f}" in sign and "auc before" in sign


# The parts


def test_the_nulls_scores_are_of_other_samples_than_the_cuts(place):
    swapped = module.swapped(place)
    assert swapped.learned is place.held_out and swapped.held_out is place.learned
    assert swapped.before is place.before and swapped.after is place.after


def test_nulls_are_of_different_seeds_before_and_after():
    banks = {seed: (bank_of([[1, 0], [seed, 1]]), bank_of([[1, 0], [seed, 1]], model=AFTER)) for seed in range(3)}
    null = SimpleNamespace(banks=lambda dictionary: banks[dictionary.random_state])
    shifts = module.null_shifts(null, 2, range(3))
    assert [(shift.before, shift.after) for shift in shifts] == [
        (banks[0][0], banks[1][1]),
        (banks[1][0], banks[2][1]),
        (banks[2][0], banks[0][1]),
    ]


def test_a_concept_has_changed_on_either_side_beyond_the_cuts():
    shift = compare(bank_of([[1, 0], [0, 1]]), bank_of([[1, 0], [3, 4]], model=AFTER), Cuts(0.9, 50))
    assert module.changed(shift) == [0, 1, 0, 1]
    assert module.changed(compare(shift.before, shift.after, Cuts(0.7, 50))) == [0, 0, 0, 0]


def test_what_the_new_word_does_is_a_mean_over_seeds(monkeypatch):
    rows = [{"found": share, "elsewhere": 0.0, "moved": 2.0, "n": [n, 4 - n]} for share, n in ((1.0, 1), (0.5, 2))]
    monkeypatch.setattr(module, "SEEDS", range(2))
    monkeypatch.setattr(module, "rename_found", lambda tuned, banks: rows[banks])
    tuned = SimpleNamespace(banks=lambda dictionary: dictionary.random_state)
    assert module.rename_scores(tuned) == {"found": 0.75, "elsewhere": 0.0, "moved": 2.0, "n": [3, 5]}


def hits_of(**columns) -> pd.DataFrame:
    return pd.DataFrame({name: [True] * n + [False] * (10 - n) for name, n in columns.items()})


@pytest.mark.parametrize("undo", [False, True])
def test_alpha_is_chosen_on_validation_pages_and_told_of_test_pages(place, few, monkeypatch, undo):
    runs = []

    def hits(lmm, other, images, edits, alpha_of=None):
        runs.append((lmm, other, images, edits))
        if len(runs) == 1:
            return pd.concat([hits_of(unsteered=9), hits_of(a=4, b=7).set_axis([0.5, 1.0], axis=1)], axis=1)
        assert [alpha_of(name) for name in edits] == [1.0, 1.0]
        columns = pd.Index([(1.0, "own"), (1.0, "random")], tupleize_cols=False)
        return pd.concat([hits_of(unsteered=1), hits_of(a=8, b=2).set_axis(columns, axis=1)], axis=1)

    monkeypatch.setattr(module, "hits", hits)
    row = module.one_way(place, undo)
    assert row["alpha"] == 1.0
    assert {name: row[name][0] for name in LABELS["shift_steering"]} == {
        "unsteered": 0.1,
        "hit": 0.8,
        "hit_random": 0.2,
    }
    models = (place.after, place.before) if undo else (place.before, place.after)
    assert all(run[:2] == models for run in runs)
    assert [len(images) for _, _, images, _ in runs] == list(FEW["N_STEERED"].values())
    assert not set(runs[0][2].ids) & set(runs[1][2].ids) and list(runs[0][3]) == list(FEW["ALPHAS"])
    own, random = runs[1][3].values()
    assert own.fingerprint == models[0].fingerprint and random.norm == pytest.approx(own.norm, rel=1e-5)
    moves = place.learned.after.Z - place.learned.before.Z
    torch.testing.assert_close(own.vector, (-moves if undo else moves).mean(0), rtol=1e-4, atol=1e-5)
