"""Every method learned from the same contrasts, on tiny models end to end."""

from dataclasses import replace

import pytest
import torch

from coxlmm_utils.images import Questions
from coxlmm_utils.models import load_lmm
from coxlmm_utils.steering import INPUT_METHODS, Contrasts, answers_by_method, label_contrasts, learn_methods
from coxlmm_utils.steering.contrasts import learn_probe_gate
from coxlmm_utils.steering.input_vectors import vectors_of
from tests.conftest import in_memory, in_plain_words, noise
from tests.tiny_lmms import tiny_llava, tiny_qwen

LAYER, PAIR = 2, ("grey", "dog")
ASKED = {"a": "dog", "b": "cat", "as it is": "bus"}  # words that tell the kinds apart
KINDS = {"llava": tiny_llava, "qwen": tiny_qwen}


def contrasts_of(seeds) -> Contrasts:
    """Of every third question both answers are the same."""
    n = len(seeds)
    images = in_memory([noise(seed) for seed in seeds], ())
    kinds = tuple(("a", "b", "as it is")[i % 3] for i in range(n))
    wanted = tuple({"a": "grey dog", "b": "cat sits", "as it is": "cat"}[kind] for kind in kinds)
    unwanted = tuple({"a": "dog", "b": "dog runs", "as it is": "cat"}[kind] for kind in kinds)
    questions = Questions(images, tuple(f"Describe this {ASKED[kind]}" for kind in kinds), ((),) * n, kinds)
    return Contrasts(questions, wanted, unwanted, kinds)


@pytest.fixture(scope="module", params=KINDS)
def lmm(request, tmp_path_factory):
    return in_plain_words(load_lmm(KINDS[request.param](tmp_path_factory.mktemp("lmm")), device="cpu"))


@pytest.fixture(scope="module")
def learned():
    return contrasts_of(range(12))


@pytest.fixture(scope="module")
def methods(lmm, learned):
    return learn_methods(lmm, learned, LAYER, PAIR, epochs=200, rate=1e-2, standardise=True)


@pytest.fixture(scope="module")
def asked():
    return contrasts_of(range(20, 26))


@pytest.fixture(scope="module")
def edits(methods, lmm, asked):
    return methods.edits(lmm, asked)


def test_each_method_steers_every_question(edits, lmm, asked):
    assert list(edits) == list(INPUT_METHODS)
    alphas = {"l2s": [1.0, 30.0], "mean_s": [0.0]}
    answers = answers_by_method(lmm, asked, edits, alphas)
    assert list(answers) == ["unsteered", ("l2s", 1.0), ("l2s", 30.0), ("mean_s", 0.0)]
    assert list(answers.index) == list(asked.questions.images.ids)
    assert list(answers["mean_s", 0.0]) == list(answers["unsteered"]) != list(answers["l2s", 30.0])


def test_where_both_answers_are_the_same_the_oracle_adds_nothing(edits, asked):
    lengths = edits["p2s"].vectors.norm(dim=1)
    same = torch.tensor([kind == "as it is" for kind in asked.groups])
    assert lengths[same].max() < 1e-4 * lengths[~same].min()


def test_kinds_have_vectors_of_the_same_mean_length(methods, lmm, learned):
    vectors = learned.vectors(lmm, LAYER, "mean")
    assert methods.factors["a"] == methods.factors["as it is"] == 1 != pytest.approx(methods.factors["b"])
    lengths = vectors.scaled([methods.factors[kind] for kind in learned.groups]).vectors.norm(dim=1)
    a, b = (lengths[torch.tensor([kind == wanted for kind in learned.groups])].mean() for wanted in "ab")
    assert a == pytest.approx(b.item(), rel=1e-5)


def test_the_probe_adds_the_mean_of_the_answer_that_it_tells(methods, edits, lmm, learned, asked):
    scales = [methods.factors[kind] for kind in learned.groups]
    vectors, states = learned.vectors(lmm, LAYER, "mean").scaled(scales).vectors, learned.states(lmm, [LAYER])
    means = {target: vectors[[t == target for t in learned.targets()]].mean(dim=0) for target in learned.targets()}
    told = methods.gate.probe.predict(states.Z.numpy())
    assert set(told) <= set(means) == {"grey dog", "cat sits", ""}
    torch.testing.assert_close(methods.gate.predict(states).vectors, torch.stack([means[target] for target in told]))
    torch.testing.assert_close(methods.vectors.vectors, vectors)
    torch.testing.assert_close(edits["probe_gate"].vectors, methods.gate.predict(asked.states(lmm, [LAYER])).vectors)


def test_the_probe_tells_what_can_be_told(lmm, learned):
    Z = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    Z[:, :3] += 20 * torch.eye(3).repeat(4, 1)
    states = replace(learned.states(lmm, [LAYER]), vectors={LAYER: Z})
    gate = learn_probe_gate(states, vectors_of(states, Z, ""), learned.targets())
    torch.testing.assert_close(
        gate.predict(states).vectors[:3], torch.stack([Z[row::3].mean(dim=0) for row in range(3)])
    )


def test_random_vectors_are_as_long_as_the_learned(edits):
    torch.testing.assert_close(edits["norm_rnd"].vectors.norm(dim=1), edits["l2s"].vectors.norm(dim=1))
    assert not torch.allclose(edits["norm_rnd"].vectors, edits["l2s"].vectors)


def test_one_pair_is_another_direction_than_the_mean(methods):
    assert methods.net.layer == methods.mean.layer == methods.mean_of_pair.layer == LAYER
    assert not torch.allclose(methods.mean.vector, methods.mean_of_pair.vector)


def test_parts_of_other_numbers_are_refused(learned):
    with pytest.raises(ValueError, match="one of each"):
        Contrasts(learned.questions, learned.wanted[1:], learned.unwanted, learned.groups)
    part = learned[[0, 2]]
    assert part.groups == ("a", "as it is") and len(part) == len(part.questions) == 2


def test_labels_are_contrasted_as_sentences(learned):
    questions = replace(learned.questions[[0, 1]], answers=(("yes",), ("no",)))
    contrasts = label_contrasts(questions)
    assert contrasts.wanted == ("Yes, there is.", "No, there is not.") == contrasts.unwanted[::-1]
    assert contrasts.groups == ("yes", "no")
    with pytest.raises(ValueError, match="'maybe'"):
        label_contrasts(replace(questions, answers=(("maybe",), ("no",))))


def test_contrasts_of_inputs_are_of_questions_in_the_same_words(lmm, learned):
    asked = replace(learned, wanted=tuple("no" if row % 2 else target for row, target in enumerate(learned.wanted)))
    vectors, Z = asked.vectors(lmm, LAYER, "last_input").vectors, asked.states(lmm, [LAYER]).Z
    first = [row for row, group in enumerate(asked.groups) if group == "a"]  # the same question, "grey dog" or "no"
    wanted = [asked.wanted[row] == asked.wanted[first[0]] for row in first]
    own, other = (
        Z[[row for row, is_own in zip(first, wanted) if is_own == kind]].mean(dim=0) for kind in (True, False)
    )
    torch.testing.assert_close(vectors[first[0]], own - other)
    same = [row for row, target in enumerate(asked.targets()) if not target]
    assert same and not vectors[same].any()
