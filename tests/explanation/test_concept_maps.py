"""Where in a picture a concept is seen, in both ways."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.dictionaries.base import Dictionary
from coxlmm_utils.dictionaries.baselines import PCA, KMeans
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.explanation.concept_maps import PatchMap, patch_map
from coxlmm_utils.explanation.explain import Explanation, explain
from coxlmm_utils.models.caption_tokens import find_token
from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.models.image_tokens import image_grid
from coxlmm_utils.models.lmm import LMM
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.page import page
from tests.conftest import MAX_NEW_TOKENS, in_plain_words
from tests.tiny_lmms import WIDTH, tiny_llava

LAYER = 2


def bank_of(lmm: LMM, dictionary: Dictionary, token: str, layer=LAYER, position="predicts", n=MAX_NEW_TOKENS):
    """A bank of a fitted dictionary, with no pictures and no words."""
    count = len(dictionary.components_)
    model = {"name": lmm.name, "fingerprint": lmm.fingerprint}
    provenance = dict(model=model, layer=layer, position=position, prompt=None, token=[token], max_new_tokens=n)
    top = np.zeros((count, 0), int)
    return ConceptBank(dictionary, np.zeros((0, count)), [Words((), ())] * count, [], [], top, {}, provenance)


def random_concepts() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, WIDTH)) / 8


def explained_by(lmm: LMM, dictionary: Dictionary, pictures: list[Image.Image], **where) -> Explanation:
    """Of the first caption that does not say one word only: of its first word that is not the first of all."""
    for picture, written in zip(pictures, generate_captions(lmm, pictures, max_new_tokens=MAX_NEW_TOKENS)):
        words = written.caption.split()
        others = [word for word in words if word != words[0]]
        if others:
            return explain(lmm, bank_of(lmm, dictionary, others[0], **where), picture)
    raise AssertionError("every caption says one word only")


# The way through the model


@pytest.fixture(scope="module")
def double(tmp_path_factory) -> LMM:
    """A tiny LLaVA in float64, so that differences give derivatives."""
    return in_plain_words(load_lmm(tiny_llava(tmp_path_factory.mktemp("double")), device="cpu", dtype="float64"))


@pytest.mark.parametrize("position", ["predicts", "own"])
@pytest.mark.parametrize("layer", [0, LAYER, "norm"])
@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_the_state_is_that_of_the_explanation(request, monkeypatch, pictures, name, layer, position):
    lmm = request.getfixturevalue(name)
    dictionary = SemiNMF.from_components(random_concepts(), 0.1)
    explained = explained_by(lmm, dictionary, pictures, layer=layer, position=position)
    assert explained.activations.any() and explained.step > 0
    seen = []
    transform = SemiNMF.transform
    monkeypatch.setattr(SemiNMF, "transform", lambda dictionary, Z: seen.append(transform(dictionary, Z)) or seen[-1])
    patch_map(lmm, explained, 0, "gradient")
    np.testing.assert_allclose(seen[0][0], explained.activations, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layer", [0, LAYER, "norm"])
def test_a_projection_is_that_of_each_image_tokens_state(llava, pictures, layer):
    dictionary = SemiNMF.from_components(random_concepts(), 0.1)
    explained = explained_by(llava, dictionary, pictures, layer=layer)
    inputs = llava.inputs([explained.picture])
    hidden = llava.model(**inputs, output_hidden_states=True).hidden_states
    states = hidden[-1 if layer == "norm" else layer][0, inputs["input_ids"][0] == llava.model.config.image_token_id]
    expected = dictionary.transform(states)  # (image tokens, concepts)
    for concept in np.argsort(-(expected > 0).sum(axis=0))[:2]:
        result = patch_map(llava, explained, concept)
        assert result.values.any() and result.values.shape == (4, 4) and result.values.dtype == np.float32
        np.testing.assert_allclose(result.values.ravel(), expected[:, concept], rtol=1e-3, atol=1e-3)


def state_when(lmm: LMM, explained: Explanation, token: int, factor: float) -> torch.Tensor:
    """The state behind the explained token, when what enters the first block at one image token is scaled."""
    ids = lmm.tokenizer.convert_tokens_to_ids(explained.tokens[: explained.step + 1])
    inputs = lmm.inputs([explained.picture], continuations=[ids])
    place = int((inputs["input_ids"][0] == lmm.model.config.image_token_id).nonzero()[token])
    kept = []

    def scale(block, args):
        stream = args[0].clone()
        stream[0, place] *= factor
        return (stream, *args[1:])

    keep = lambda block, args, out: kept.append(out[0, -2])  # the last position but one predicts the token
    with lmm.layers[0].register_forward_pre_hook(scale), lmm.layers[LAYER - 1].register_forward_hook(keep):
        lmm.model(**inputs)
    return kept[0][None]


DICTIONARIES = {
    "SemiNMF": lambda Z: SemiNMF.from_components(random_concepts(), 0.1),
    "PCA": lambda Z: PCA(3).fit(Z),
    "KMeans": lambda Z: KMeans(3).fit(Z),
}


@pytest.mark.parametrize("method", DICTIONARIES)
def test_a_gradient_is_what_scaling_an_image_token_does(double, pictures, method):
    Z = 5 * np.random.default_rng(1).standard_normal((20, WIDTH))
    dictionary = DICTIONARIES[method](Z)
    explained = explained_by(double, dictionary, pictures)
    concept = int(np.abs(explained.activations).argmax())
    side = np.sign(explained.activations[concept])  # the map is of the side that is active
    values = side * patch_map(double, explained, concept, "gradient").values.ravel()
    for token in (int(np.abs(values).argmax()), 0, 7):
        states = [state_when(double, explained, token, factor) for factor in (1.01, 0.99)]
        after, before = (dictionary.transform(state)[0, concept] for state in states)
        assert values[token] == pytest.approx((after - before) / 0.02, rel=2e-2, abs=2e-3 * float(np.abs(values).max()))


def test_a_concept_that_is_not_active_is_taken_as_on_the_verge(double, pictures):
    dictionary = SemiNMF.from_components(random_concepts(), 0.1)
    explained = explained_by(double, dictionary, pictures)
    inactive = int((explained.activations == 0).argmax())
    used = np.union1d(explained.activations.nonzero()[0], inactive)
    assert explained.activations[inactive] == 0 and len(used) > 1
    values = patch_map(double, explained, inactive, "gradient").values.ravel()
    token = int(np.abs(values).argmax())
    after, before = (
        np.linalg.lstsq(dictionary.components_[used].T, state_when(double, explained, token, factor)[0], rcond=None)[0]
        for factor in (1.01, 0.99)
    )
    assert values[token] == pytest.approx((after - before)[used == inactive].item() / 0.02, rel=1e-2) != 0


def n_hooks(lmm: LMM) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lmm.model.modules())


def test_it_may_be_called_where_gradients_are_off_and_leaves_nothing_behind(llava, pictures):
    explained = explained_by(llava, SemiNMF.from_components(random_concepts(), 0.1), pictures)
    expected, before = patch_map(llava, explained, 1, "gradient").values, n_hooks(llava)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            assert np.array_equal(patch_map(llava, explained, 1, "gradient").values, expected) and expected.any()
    assert n_hooks(llava) == before
    assert all(parameter.grad is None for parameter in llava.model.parameters())


def test_bad_requests_are_refused(llava, pictures):
    explained = explained_by(llava, SemiNMF.from_components(random_concepts(), 0.1), pictures)
    for concept in (-1, 6):
        with pytest.raises(ValueError, match=f"there is no concept {concept}: this bank has 0 to 5"):
            patch_map(llava, explained, concept)
    with pytest.raises(ValueError, match="there is no way 'attention'; choose one of projection, gradient"):
        patch_map(llava, explained, 0, "attention")


# Of a grid that is not square


def test_the_map_of_a_qwen_lies_over_the_whole_picture(qwen, pictures):
    explained = explained_by(qwen, SemiNMF.from_components(random_concepts(), 0.1), pictures)
    result = patch_map(qwen, explained, 0)
    assert result.values.shape == image_grid(qwen, qwen.inputs([explained.picture])) and result.box == (
        0,
        0,
        *explained.picture.size,
    )


# Over the picture


def overlaid(values: list[list[float]], size=(64, 64), box=None, side=64) -> np.ndarray:
    """The overlay of a grey picture."""
    grey = Image.new("RGB", size, (100, 100, 100))
    return np.asarray(PatchMap(0, "gradient", np.float32(values), grey, box or (0, 0, *size)).overlay(side)).astype(int)


def test_the_colour_is_where_the_value_is():
    shown = overlaid([[0, 0, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0], [-2, 0, 0, 0]])
    red, green, blue = shown[24, 56]  # row 1, column 3
    assert red > green > blue + 40
    red, green, blue = shown[56, 8]  # row 3, column 0
    assert blue > green > red + 20
    assert shown[8, 8].tolist() == shown[40, 40].tolist() == [100] * 3
    assert (shown == overlaid([[0, 0, 0, 0], [0, 0, 0, 9], [0, 0, 0, 0], [-9, 0, 0, 0]])).all()  # beside the largest


def test_it_is_smooth():
    red, _, blue = overlaid([[0, 0, 1, 0]] * 4)[32].T
    assert np.abs(np.diff(red - blue)).max() < 0.2 * (red - blue).max()


def test_a_map_of_zeros_leaves_the_picture():
    assert (overlaid([[0, 0], [0, 0]]) == 100).all()


def test_it_covers_what_the_model_sees_and_the_rest_is_faded():
    shown = overlaid([[1, 1], [1, 1]], size=(128, 64), box=(32, 0, 96, 64), side=256)
    seen = shown[..., 0] > shown[..., 2] + 40
    assert shown.shape == (128, 256, 3) and seen[:, 64:192].all() and not seen[:, :64].any() and not seen[:, 192:].any()
    assert shown[:, :64].min() > 180
    margin = overlaid([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], box=(-64, -64, 64, 64))
    assert margin[16, 16, 0] > margin[16, 16, 2] + 40  # the third row and column are the picture's first quarter
    assert margin[48, 48].tolist() == [100] * 3


# Known truth


def test_the_gradient_points_at_the_companion():
    """Golden dogs, which the model takes for no cats; chance is the share of patches that the companion is in."""
    lmm = load_lmm("picturebook", device="cpu")

    def mean_state(companion: str) -> np.ndarray:
        pictures = [page(8 * n, kind="dog", colour="golden", companion=companion).picture for n in range(8)]
        every = ((single, find_token(lmm, single.ids, ["dog"])) for single in generate_captions(lmm, pictures, [4]))
        return np.mean([single.state(4, step, "own").numpy() for single, step in every], axis=0)

    companions, without = ("tree", "child"), mean_state("none")
    concepts = np.stack([without, *(mean_state(companion) - without for companion in companions)])
    bank = bank_of(lmm, SemiNMF.from_components(concepts, 0), "dog", layer=4, position="own", n=40)
    hits, chance = [], []
    for number, (concept, companion) in product(range(2_000_000, 2_000_064, 8), enumerate(companions, start=1)):
        shown = page(number, kind="dog", colour="golden", companion=companion)
        values = patch_map(lmm, explain(lmm, bank, shown.picture), concept, "gradient").values
        there = shown.masks["companion"].reshape(8, 18, 8, 18).mean(axis=(1, 3)) > 0.05  # (rows, columns)
        hits.append(there.flat[values.argmax()])
        chance.append(there.mean())
    assert np.mean(hits) > 0.6 > 3 * np.mean(chance)
