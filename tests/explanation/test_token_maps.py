"""Attention, gradient x input and occlusion on the grid of image tokens, and scores against a known place."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.explanation.explain import Explanation, explain
from coxlmm_utils.explanation.localization import mask_scores
from coxlmm_utils.explanation.token_maps import attention, gradient_times_input, occlusion
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.perturbed import GREY
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.attention import eager_attention
from coxlmm_utils.models.captioning import teacher_forced_states
from coxlmm_utils.models.image_tokens import image_grid
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.page import page
from tests.tiny_lmms import N_LAYERS

other_explanations = import_module("coxlmm_utils.explanation.token_maps")  # its room has a function of that name

CAPTION = "red grey dog"


@pytest.fixture
def of_bank(llava, bank):
    """Makes an explanation of "grey" in some caption, with the bank's settings changed."""

    def make(picture: Image.Image, caption: str = CAPTION, **provenance) -> Explanation:
        changed, words = replace(bank, provenance={**bank.provenance, **provenance}), caption.split()
        ids = ids_of(llava, caption)
        return Explanation(changed, picture, caption, ids, words, words.index("grey"), np.zeros(len(bank)))

    return make


@pytest.fixture
def explained(of_bank, pictures) -> Explanation:
    return of_bank(pictures[3])


def ids_of(lmm, text=CAPTION):
    return lmm.tokenizer(text, add_special_tokens=False)["input_ids"]


def log_probability(lmm, picture, caption=CAPTION, token="grey"):
    """Of the token where it stands in a caption, by the states behind the whole of it."""
    words = caption.split()
    [states] = teacher_forced_states(lmm, [picture], [ids_of(lmm, caption)], [N_LAYERS])
    logits = lmm.unembed(states[N_LAYERS][words.index(token)][None], N_LAYERS)
    return float(logits.log_softmax(-1)[0, ids_of(lmm, token)[0]])


# Attention


@pytest.mark.parametrize("layer, n_blocks", [(1, 1), (2, 2), (N_LAYERS, 3), ("norm", 3)])
@pytest.mark.parametrize("position, place", [("predicts", 0), ("own", 1)])
def test_attention_is_the_mean_over_heads_and_blocks(llava, of_bank, pictures, layer, n_blocks, position, place):
    explained = of_bank(pictures[3], layer=layer, position=position)
    batch = llava.inputs(pictures[3:4], continuations=[ids_of(llava)])  # the whole caption
    llava.model.set_attn_implementation("eager")
    weights = llava.model(**batch, output_attentions=True).attentions
    llava.model.set_attn_implementation("sdpa")
    image = batch["input_ids"][0] == llava.model.config.image_token_id
    row = batch["input_ids"].shape[1] - 3 + place  # "red" is read there, and predicts "grey"; then "grey" is
    expected = torch.stack([block[0, :, row] for block in weights[:n_blocks]]).mean((0, 1))[image]
    map = attention(llava, explained)
    np.testing.assert_allclose(map, expected.reshape(4, 4), rtol=1e-4, atol=1e-6)
    assert 0 < map.sum() < 1


def test_attention_is_computed_as_before_afterwards(llava, explained):
    configs = [llava.model.config, llava.model.config.text_config, llava.model.config.vision_config]
    configs[2]._attn_implementation_internal = "eager"  # not like the others
    before = [config._attn_implementation for config in configs]
    with pytest.raises(KeyboardInterrupt), eager_attention(llava.model):
        assert {config._attn_implementation for config in configs} == {"eager"}
        raise KeyboardInterrupt
    attention(llava, explained)
    assert [config._attn_implementation for config in configs] == before == ["sdpa", "sdpa", "eager"]
    llava.model.set_attn_implementation("sdpa")


def test_before_the_first_block_there_is_no_attention(llava, of_bank, pictures):
    with pytest.raises(ValueError, match="no block comes before layer 0"):
        attention(llava, of_bank(pictures[0], layer=0))


def test_a_grid_need_not_be_square(qwen, of_bank):
    wide = of_bank(Image.new("RGB", (160, 60), "red"))
    wide = replace(wide, bank=replace(wide.bank, provenance={**wide.bank.provenance, "model": of_model(qwen)}))
    batch = qwen.inputs([wide.picture])
    rows, columns = image_grid(qwen, batch)
    assert rows < columns and rows * columns == (batch["input_ids"] == qwen.model.config.image_token_id).sum()
    assert {map(qwen, wide).shape for map in (attention, gradient_times_input)} == {(rows, columns)}
    assert occlusion(qwen, wide, span=1).shape == (rows, columns)


def of_model(lmm):
    return {"name": lmm.name, "fingerprint": lmm.fingerprint}


# Gradient x input


def test_a_cell_is_what_scaling_its_embedding_does_to_the_logit(llava, of_bank, pictures):
    explained = of_bank(pictures[21])  # a map of both signs
    map = gradient_times_input(llava, explained)
    batch = llava.inputs([explained.picture], continuations=[ids_of(llava, "red")])
    image = (batch["input_ids"][0] == llava.model.config.image_token_id).nonzero()[:, 0]

    def logit(places, factor):
        scale = torch.ones(batch["input_ids"].shape[1], 1)
        scale[places] = factor
        with llava.layers[0].register_forward_pre_hook(lambda block, args: (args[0] * scale, *args[1:])):
            return float(llava.model(**batch).logits[0, -1, ids_of(llava, "grey")[0]])

    slopes = [(logit(place, 1.05) - logit(place, 0.95)) / 0.1 for place in image]
    np.testing.assert_allclose(map.ravel(), slopes, rtol=0.05, atol=3e-4)
    assert map.min() < -0.005 and map.max() > 0.005
    assert all(parameter.grad is None for parameter in llava.model.parameters())
    assert not llava.layers[0]._forward_pre_hooks


def test_the_token_may_come_first(llava, of_bank, pictures):
    explained = of_bank(pictures[3], "grey dog")
    assert gradient_times_input(llava, explained).shape == (4, 4)
    whole = log_probability(llava, pictures[3], "grey dog") - log_probability(llava, grey_like(pictures[3]), "grey dog")
    assert occlusion(llava, explained, span=4) == pytest.approx(np.full((4, 4), whole), abs=1e-3)


# Occlusion


def grey_like(picture):
    return Image.new("RGB", picture.size, GREY)


def test_a_square_over_the_whole_picture_takes_it_all_away(llava, explained):
    drop = log_probability(llava, explained.picture) - log_probability(llava, grey_like(explained.picture))
    assert abs(drop) > 0.01
    assert occlusion(llava, explained, span=4) == pytest.approx(np.full((4, 4), drop), abs=1e-3)


def test_a_square_of_one_cell(llava, of_bank):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    map = occlusion(llava, of_bank(picture), span=1)
    hidden = picture.copy()
    hidden.paste(GREY, (20, 10, 30, 20))  # second row, third column
    drop = log_probability(llava, picture) - log_probability(llava, hidden)
    assert map[1, 2] == pytest.approx(drop, abs=1e-3) and abs(drop) > 5e-3
    assert map == pytest.approx(occlusion(llava, of_bank(picture), span=1, batch_size=5), abs=1e-3)


def test_a_cell_has_the_mean_of_the_squares_that_hide_it(llava, explained, monkeypatch):
    scores = iter(range(0, -10, -1))  # uncovered, then the four squares of 3 x 3 cells
    monkeypatch.setattr(
        other_explanations,
        "_log_probability",
        lambda lmm, batch, token: [next(scores) for _ in batch["input_ids"]],
    )
    map = occlusion(llava, explained, span=3)
    assert map[0].tolist() == [1, 1.5, 1.5, 2] and map[1, 1] == 2.5 and map[3].tolist() == [3, 3.5, 3.5, 4]


def test_the_squares_lie_over_what_the_model_sees(llava, of_bank, monkeypatch):
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    monkeypatch.setattr(llava.processor, "image_processor", processor)
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8))
    map = occlusion(llava, of_bank(wide), span=1)
    hidden = wide.copy()
    hidden.paste(GREY, (0, 10, 30, 20))  # the first column that is seen is from 20 to 30
    drop = log_probability(llava, wide) - log_probability(llava, hidden)
    assert map[1, 0] == pytest.approx(drop, abs=1e-3) and abs(drop) > 2e-3


@pytest.mark.parametrize("span", [0, 5])
def test_a_square_that_does_not_fit(llava, explained, span):
    with pytest.raises(ValueError, match=f"square of {span} cells does not fit a grid of 4 x 4"):
        occlusion(llava, explained, span)


# Refusals


def test_another_model_is_refused(qwen, explained):
    for map in (attention, gradient_times_input, occlusion):
        with pytest.raises(ValueError, match="learned on"):
            map(qwen, explained)


# Scores


def placed(*corner, shape=(4, 6), size=(40, 60)):
    """A mask of the cells of one row and column, and the map that is 1 there."""
    map = np.zeros(shape)
    map[corner] = 1
    return map, np.kron(map, np.ones((size[0] // shape[0], size[1] // shape[1]))).astype(bool)


def test_a_map_of_just_the_object():
    map, mask = placed(slice(1, 3), slice(4, 6))
    scores = mask_scores(map, mask)
    assert (scores.pointing, scores.iou, scores.energy) == (True, 1, 1)


def test_a_map_of_all_but_the_object():
    map, mask = placed(slice(1, 3), slice(4, 6))
    scores = mask_scores(1 - map, mask)
    assert (scores.pointing, scores.iou, scores.energy) == (False, 0, 0)


def test_an_even_map_has_the_objects_share():
    _, mask = placed(slice(1, 3), slice(4, 6))
    assert mask_scores(np.ones((4, 6)), mask).energy == pytest.approx(mask.mean())


def test_half_a_hit():
    map, mask = np.zeros((2, 2)), np.zeros((20, 20), bool)
    map[0] = 3, 1
    mask[:, :10] = True  # both cells of the first column
    scores = mask_scores(map, mask)
    assert scores.pointing and scores.iou == pytest.approx(1 / 3) and scores.energy == pytest.approx(3 / 4)


def test_the_centre_of_the_largest_cell_decides():
    mask = np.ones((20, 20), bool)
    mask[5, 15] = False  # of the cell in the first row, second column
    assert not mask_scores(np.array([[0, 1], [0, 0]]), mask).pointing
    assert mask_scores(np.array([[0, 0], [0, 1]]), mask).pointing


def test_an_object_smaller_than_a_cell_has_one_cell():
    map, mask = np.zeros((2, 2)), np.zeros((20, 20), bool)
    map[1, 0], mask[12:14, 3:7] = 1, True
    scores = mask_scores(map, mask)
    assert scores.iou == pytest.approx(8 / 100) and scores.energy == pytest.approx(8 / 100)


def test_what_is_negative_has_no_energy():
    map, mask = placed(slice(0, 1), slice(0, 1))
    assert np.isnan(mask_scores(-map, mask).energy) and not mask_scores(-map, mask).pointing
    assert mask_scores(map - 0.5, mask).energy == 1


def test_cells_need_not_be_alike():
    map, mask = np.arange(9.0).reshape(3, 3), np.zeros((10, 10), bool)
    mask[7:, 7:] = True  # centres of the last third
    scores = mask_scores(map, mask)
    assert scores.pointing and scores.iou == 1 and scores.energy == pytest.approx(8 / 36)


@pytest.mark.parametrize(
    "map, mask, message",
    [
        (np.zeros(4), np.ones((4, 4)), r"shape \(4,\) cannot be laid over"),
        (np.zeros((5, 4)), np.ones((4, 4)), "cannot be laid over"),
        (np.full((2, 2), np.nan), np.ones((4, 4)), "not finite"),
        (np.ones((2, 2)), np.zeros((4, 4)), "mask is empty"),
    ],
)
def test_what_cannot_be_scored(map, mask, message):
    with pytest.raises(ValueError, match=message):
        mask_scores(map, mask)


def test_hiding_the_dog_matters_most_on_a_page():
    """Known truth: more of the occlusion map is on the dog than of an even one."""
    lmm = load_lmm("picturebook", device="cpu")
    states = extract(lmm, load_images("picturebook", split="test", limit=48), "dog", 4, cache=False)
    bank = ConceptBank.learn(lmm, states, SemiNMF(2, random_state=0))
    gains = []
    for id in states.images.ids[:4]:
        shown = page(int(id))
        energy = mask_scores(occlusion(lmm, explain(lmm, bank, shown.picture)), shown.masks["subject"]).energy
        gains.append(energy / shown.masks["subject"].mean())
    assert min(gains) > 1 and np.mean(gains) > 1.5
