"""Steering vectors: means and concepts by hand, arithmetic, what is refused, and files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from coxlmm_utils.concepts import ConceptBank
from coxlmm_utils.dictionaries import KMeans
from coxlmm_utils.extraction import StatePair
from coxlmm_utils.models import randomly_initialised
from coxlmm_utils.steering import (
    Direction,
    concept_difference,
    concept_direction,
    mean_difference,
    random_direction,
    shift_direction,
    steer,
)
from tests.tiny_lmms import WIDTH


@pytest.fixture
def halves(states):
    ids = states.images.ids
    return states.subset(ids[: len(ids) // 2]), states.subset(ids[len(ids) // 2 :])


@pytest.fixture
def direction(halves) -> Direction:
    return mean_difference(*halves)


def test_a_difference_of_means_moves_one_mean_to_the_other(halves, direction):
    away, towards = halves
    torch.testing.assert_close(away.Z.mean(0) + direction.vector, towards.Z.mean(0))
    assert direction.samples == (len(away), len(towards)) and direction.layer == away.layer == 2
    assert direction.norm == pytest.approx(np.linalg.norm(towards.Z.mean(0) - away.Z.mean(0)), rel=1e-5)
    assert f"mean of {len(towards)} states minus mean of {len(away)}" in repr(direction)


@pytest.fixture(scope="module")
def other(llava):
    """A copy of other weights."""
    return randomly_initialised(llava)


@pytest.fixture
def pair(states, other) -> StatePair:
    """The same samples before, and after: each moved by its own number of steps along two axes."""
    moves = torch.zeros_like(states.Z)
    moves[:, 0], moves[:, 5] = torch.arange(len(states)), -2.0
    model = {"name": other.name, "fingerprint": other.fingerprint}
    after = replace(states, vectors={2: states.Z + moves}, provenance=states.provenance | {"model": model})
    return StatePair(states, after)


def test_a_shift_is_the_mean_move_of_the_same_samples_and_is_undone_by_its_opposite(pair):
    forward, undo = shift_direction(pair), shift_direction(pair, undo=True)
    expected = torch.zeros(WIDTH)
    expected[0], expected[5] = (len(pair) - 1) / 2, -2
    torch.testing.assert_close(forward.vector, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(undo.vector, -expected, rtol=1e-5, atol=1e-5)
    assert forward.samples == undo.samples == (len(pair),) and forward.layer == undo.layer == 2
    assert forward.start is None and forward.vector.dtype == torch.float32


def test_a_shift_is_of_the_model_that_it_is_added_to(pair, llava, other):
    forward, undo = shift_direction(pair), shift_direction(pair, undo=True)
    for direction, states, others in ((forward, pair.before, pair.after), (undo, pair.after, pair.before)):
        assert (direction.model, direction.fingerprint) == (states.model_name, states.fingerprint)
        assert direction.made == f"mean move of {len(pair)} states from {states.model_name} to {others.model_name}"
    for direction, own, not_own in ((forward, llava, other), (undo, other, llava)):
        with steer(own, direction, 0.5):
            pass
        with pytest.raises(ValueError, match="make it anew with this model's states"), steer(not_own, direction):
            pass


def test_of_k_means_a_concept_is_its_centre_and_a_difference_that_of_two(llava, states):
    bank = ConceptBank.learn(llava, states, KMeans(2))
    a, b = (concept_direction(bank, k).vector for k in (0, 1))
    np.testing.assert_allclose(np.stack([a, b]), bank.concepts, rtol=1e-5)
    torch.testing.assert_close(concept_difference(bank, 0, 1).vector, b - a)


def test_a_concept_of_semi_nmf_is_as_long_as_it_is_active(bank):
    active = bank.activations[:, 1]
    expected = bank.concepts[1] * active[active > 0].mean()
    torch.testing.assert_close(concept_direction(bank, 1).vector, torch.tensor(expected))
    assert concept_direction(bank, 1).samples == ((active > 0).sum(),)
    with pytest.raises(IndexError, match="there is no concept 3: the bank has 0 to 2"):
        concept_direction(bank, 3)


def test_a_random_direction_is_as_long_and_follows_from_its_seed(direction):
    first, again, other = (random_direction(direction, seed) for seed in (0, 0, 1))
    assert torch.equal(first.vector, again.vector) and not torch.equal(first.vector, other.vector)
    assert first.norm == pytest.approx(direction.norm, rel=1e-5) and first.layer == direction.layer
    assert abs(torch.cosine_similarity(first.vector, direction.vector, dim=0)) < 0.5


def test_arithmetic(direction):
    other = random_direction(direction)
    torch.testing.assert_close((direction + 2 * other - other).vector, direction.vector + other.vector)
    torch.testing.assert_close((-direction).vector, -direction.vector)
    assert (direction * 0.5).norm == pytest.approx(direction.norm / 2, rel=1e-5)


def test_what_does_not_belong_together_is_refused(direction, halves, llava, qwen):
    with pytest.raises(ValueError, match="different layer"):
        direction + replace(direction, layer=1)
    with pytest.raises(ValueError, match="different fingerprint"):
        direction - replace(direction, fingerprint="another")
    direction.check_model(llava)
    with pytest.raises(ValueError, match="make it anew with this model's states"):
        direction.check_model(qwen)
    with pytest.raises(ValueError, match="a mean of no states"):
        mean_difference(halves[0].subset([]), halves[1])


def test_a_saved_direction_is_the_same(direction, tmp_path):
    folder = direction.save(tmp_path / "beach")
    again = Direction.load(folder)
    assert torch.equal(again.vector, direction.vector) and again.vector.shape == (WIDTH,)
    for name in ("layer", "made", "model", "fingerprint", "samples"):
        assert getattr(again, name) == getattr(direction, name)
    direction.save(folder)
    (tmp_path / "beach" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="notes.txt"):
        direction.save(folder)


@pytest.mark.parametrize("layer", [1.5, None, ["norm"]])
def test_a_damaged_record_is_refused(direction, tmp_path, layer):
    path = direction.save(tmp_path / "beach") / "direction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layer": layer}))
    with pytest.raises(ValueError, match="the direction in .* is damaged .*; save it again"):
        Direction.load(tmp_path / "beach")


def test_a_damaged_or_missing_file_is_one_sentence(direction, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no direction: direction.json is missing"):
        Direction.load(tmp_path)
    folder = direction.save(tmp_path / "beach")
    (folder / "direction.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ValueError, match="is damaged"):
        Direction.load(folder)
