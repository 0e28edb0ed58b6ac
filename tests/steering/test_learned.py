"""L2S: the network of the paper, learned exactly, saved whole, and used end to end on tiny models."""

import json
from dataclasses import replace

import pytest
import torch

from coxlmm_utils.extraction import prompt_states
from coxlmm_utils.models import load_lmm
from coxlmm_utils.steering import InputVectors, LearnedSteering, learn_to_steer, prompt_to_steer, steered
from coxlmm_utils.steering.learned import NAME, _loss, _rise_and_fall
from tests.conftest import in_memory, in_plain_words, noise
from tests.tiny_lmms import tiny_llava, tiny_qwen

KINDS = {"llava": tiny_llava, "qwen": tiny_qwen}


@pytest.fixture(scope="module", params=KINDS)
def lmm(request, tmp_path_factory):
    return in_plain_words(load_lmm(KINDS[request.param](tmp_path_factory.mktemp("lmm")), device="cpu"))


@pytest.fixture(scope="module")
def images():
    return in_memory([noise(seed) for seed in range(8)], ())


@pytest.fixture(scope="module")
def states(lmm, images):
    return prompt_states(lmm, images, "What is it?", [1])


@pytest.fixture(scope="module")
def vectors(lmm, images):
    wanted, unwanted = ["grey dog", "cat"] * 4, ["sits", "grey"] * 4
    return prompt_to_steer(lmm, images, "What is it?", wanted, unwanted, 2)


@pytest.fixture(scope="module")
def learned(states, vectors):
    return learn_to_steer(states, vectors, epochs=400, rate=1e-2, standardise=True)


def test_the_network_is_the_papers(learned, lmm):
    shapes = {name: tuple(weights.shape) for name, weights in learned.net.named_parameters()}
    width = lmm.width
    assert shapes == {"encoder.weight": (100, width), "encoder.bias": (100,), "decoder.weight": (width, 100)}


def test_it_learns_what_can_be_learned_and_is_the_same_by_seed(learned, states, vectors):
    predicted = learned.predict(states)
    error = (predicted.vectors - vectors.vectors).norm() / vectors.vectors.norm()
    assert error < 0.05 and learned.losses[-1] < learned.losses[0] / 100
    assert predicted.layer == 2 and predicted.ids == vectors.ids
    again = learn_to_steer(states, vectors, epochs=400, rate=1e-2, standardise=True)
    assert torch.equal(again.net.decoder.weight, learned.net.decoder.weight)
    other = learn_to_steer(states, vectors, epochs=1, seed=1)
    assert not torch.equal(other.net.decoder.weight, learned.net.decoder.weight)


def test_losses_are_the_papers_and_the_codes():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert _loss(a, b, "mse").item() == pytest.approx(2.5)
    assert _loss(a, b, "mse+l1-cos").item() == pytest.approx(2.5 + 1.5)
    assert _loss(b, b, "mse+l1-cos").item() == pytest.approx(-0.1)


def test_the_schedule_rises_and_falls():
    rates = [_rise_and_fall(epoch, 100) for epoch in range(100)]
    assert rates[0] == 0.02 and rates[49] == 1 == rates[50] and rates == sorted(rates[:50]) + sorted(rates[50:])[::-1]
    assert rates[-1] < 0.01


def test_it_may_start_at_the_vectors_principal_directions(states, vectors):
    net = learn_to_steer(states, vectors, epochs=1, rate=1e-12, svd_start=True).net
    centred = vectors.vectors - vectors.vectors.mean(0)
    first = torch.linalg.svd(centred).Vh[0]
    assert abs(torch.dot(net.decoder.weight[:, 0], first)).item() == pytest.approx(1, abs=1e-4)


def test_it_is_saved_whole_and_read_as_it_was(learned, states, tmp_path):
    loaded = LearnedSteering.load(learned.save(tmp_path / "net"))
    assert torch.equal(loaded.predict(states).vectors, learned.predict(states).vectors)
    assert (loaded.layer, loaded.input_layer, loaded.made) == (learned.layer, learned.input_layer, learned.made)
    learned.save(tmp_path / "net")  # in the place of an earlier one


@pytest.mark.parametrize("harm", ["truncated", "format", "nan", "record"])
def test_damaged_files_are_said_to_be(learned, tmp_path, harm):
    folder = learned.save(tmp_path / "net")
    record = json.loads((folder / f"{NAME}.json").read_text())
    if harm == "truncated":
        (folder / f"{NAME}.safetensors").write_bytes((folder / f"{NAME}.safetensors").read_bytes()[:200])
    elif harm == "nan":
        net = replace(learned, net=learned.net)
        weights = {name: part.clone() for name, part in net.net.state_dict().items()}
        weights["encoder.bias"][0] = float("nan")
        from safetensors.torch import save_file

        save_file(weights, folder / f"{NAME}.safetensors")
    else:
        record |= {"format": 9} if harm == "format" else {"colour": "red"}
        (folder / f"{NAME}.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="is damaged"):
        LearnedSteering.load(folder)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no steering network"):
        LearnedSteering.load(tmp_path)


def test_it_steers_new_inputs_end_to_end(lmm, learned):
    new = in_memory([noise(seed) for seed in range(20, 23)], ())
    vectors = learned.vectors(lmm, new, "What is it?")
    table = steered(lmm, new, vectors, (0.0, 30.0), prompt="What is it?", max_new_tokens=5)
    assert table["unsteered"].tolist() == table[0.0].tolist() != table[30.0].tolist()


def test_what_does_not_fit_is_refused(states, vectors, learned, images):
    with pytest.raises(ValueError, match="no loss 'l2'"):
        learn_to_steer(states, vectors, loss="l2")
    with pytest.raises(ValueError, match="rate is 0"):
        learn_to_steer(states, vectors, rate=0)
    with pytest.raises(ValueError, match="not of the vectors' inputs"):
        learn_to_steer(states, vectors.subset([1, 0, 2, 3, 4, 5, 6, 7]))
    with pytest.raises(ValueError, match="hidden must be"):
        learn_to_steer(states, vectors, hidden=0)
    other = InputVectors(vectors.vectors, vectors.ids, 2, "for a test", "other", "no such")
    with pytest.raises(ValueError, match="the vectors of other"):
        learn_to_steer(states, other)
    with pytest.raises(ValueError, match="the network is of other"):
        replace(learned, model="other", fingerprint="no such").predict(states)
