"""A model's inputs, its shown prompt and its unembedding."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn

from coxlmm_utils.models.generation_settings import caption_settings
from coxlmm_utils.models.hooks import capture
from coxlmm_utils.models.lmm import GREY, LMM, PAPER_PROMPT, collapse_repeats
from coxlmm_utils.models.loading import load_lmm
from tests.tiny_lmms import FAMILIES, N_LAYERS, WIDTH, tiny_llava, tiny_qwen

PICTURES = [Image.effect_noise(size, 60).convert("RGB") for size in [(40, 40), (64, 30), (100, 20)]]


@pytest.fixture(scope="module", params=[tiny_llava, tiny_qwen])
def lmm(request, tmp_path_factory) -> LMM:
    return load_lmm(request.param(tmp_path_factory.mktemp("lmm")), device="cpu")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> LMM:
    return load_lmm(tiny_qwen(tmp_path_factory.mktemp("qwen")), device="cpu")


@pytest.fixture(scope="module")
def plain_llava(tmp_path_factory) -> LMM:
    return load_lmm(tiny_llava(tmp_path_factory.mktemp("plain"), chat_template=None), device="cpu")


def logits(lmm: LMM, *pictures: Image.Image, **inputs) -> torch.Tensor:
    return lmm.model(**lmm.inputs(pictures, **inputs)).logits


def test_parts_are_found(lmm):
    assert (lmm.n_layers, lmm.width, lmm.device.type) == (N_LAYERS, WIDTH, "cpu")
    assert lmm.tokenizer is lmm.processor.tokenizer
    assert repr(lmm) == f"LMM({lmm.name!r}, 3 layers, width 64, on cpu)"


def test_every_picture_gets_the_prompt(lmm):
    ids = lmm.inputs(PICTURES)["input_ids"]
    assert len(ids) == 3
    for text in lmm.tokenizer.batch_decode(ids):
        assert PAPER_PROMPT in text and text.lower().rstrip(":").endswith("assistant")
    other = lmm.tokenizer.batch_decode(lmm.inputs(PICTURES, "Describe this picture.")["input_ids"])
    assert all("Describe this picture." in text and PAPER_PROMPT not in text for text in other)


def test_one_prompt_for_each_is_the_same_as_one_for_all(lmm):
    once, repeated = lmm.inputs(PICTURES, "a dog"), lmm.inputs(PICTURES, ("a dog",) * 3)
    assert once.keys() == repeated.keys() and all(torch.equal(once[key], repeated[key]) for key in once)


def test_each_picture_gets_its_own_prompt(plain_llava, lmm):
    for model in (lmm, plain_llava):
        ids = model.inputs(PICTURES, ["dog", "cat runs", "<image> bird" if model is plain_llava else "bird"])[
            "input_ids"
        ]
        for text, prompt in zip(
            model.tokenizer.batch_decode(ids, skip_special_tokens=True), ["dog", "cat runs", "bird"]
        ):
            assert prompt in text and sum(word in text for word in ("dog", "cat", "bird")) == 1


def test_pictures_of_different_sizes_are_padded_on_the_left(qwen):
    mask = qwen.inputs(PICTURES)["attention_mask"]
    assert mask[:, -1].all()
    assert len(set(mask.sum(1).tolist())) > 1
    assert (mask.diff(dim=1) >= 0).all()


def test_a_batch_gives_what_single_pictures_give(lmm):
    together = logits(lmm, *PICTURES)[:, -1]
    alone = torch.cat([logits(lmm, picture)[:, -1] for picture in PICTURES])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_continuations_follow_the_prompt(lmm):
    prompts = lmm.inputs(PICTURES)
    batch = lmm.inputs(PICTURES, continuations=[[9, 8, 7], [6], []])
    width = prompts["input_ids"].shape[1]
    pad = lmm.tokenizer.pad_token_id
    assert torch.equal(batch["input_ids"][:, :width], prompts["input_ids"])
    assert batch["input_ids"][:, width:].tolist() == [[9, 8, 7], [6, pad, pad], [pad] * 3]
    assert batch["attention_mask"][:, width:].tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert all(batch[key].shape == batch["input_ids"].shape for key in batch if key.endswith("type_ids"))


def test_a_padded_continuation_changes_nothing(lmm):
    long, short = [20, 21, 22, 23], [24, 25]
    together = logits(lmm, *PICTURES[:2], continuations=[long, short])
    alone = logits(lmm, PICTURES[1], continuations=[short])
    width = together.shape[1] - len(long)
    torch.testing.assert_close(together[1, width - 1 : width + 2], alone[0, -3:], rtol=1e-4, atol=1e-4)


def test_without_a_template_the_image_token_goes_first(plain_llava):
    def read(prompt: str) -> list[str]:
        return plain_llava.tokenizer.decode(plain_llava.inputs(PICTURES[:1], prompt)["input_ids"][0]).split()

    assert read("the dog") == ["<image>"] * 16 + ["the", "dog"]
    assert read("USER: <image> dog") == ["USER:"] + ["<image>"] * 16 + ["dog"]


def test_the_prompt_is_shown_with_its_image_tokens_counted(lmm):
    image = {"llava": "<image> x 16", "qwen2_5_vl": "<|vision_start|> <|image_pad|> x 16 <|vision_end|>"}
    start, end = {"llava": ("<s> USER:", "ASSISTANT:")}.get(
        lmm.model.config.model_type, ("<|im_start|> user", "<|im_end|> <|im_start|> assistant")
    )
    image = image[lmm.model.config.model_type]
    assert lmm.shown_prompt() == f"{start} {image} {PAPER_PROMPT} {end}"
    assert lmm.shown_prompt("a dog") == f"{start} {image} a dog {end}"


def test_a_prompt_without_a_template_is_shown_as_it_is(plain_llava):
    assert plain_llava.shown_prompt("the dog dog") == "<image> x 16 the dog dog"


def test_runs_of_special_tokens_are_collapsed_each_by_itself(llava):
    def collapse(text):
        return collapse_repeats(llava.tokenizer, llava.tokenizer.convert_tokens_to_ids(text.split()))

    assert collapse("<s> <image> <image> <image> red dog <image> </s> </s> dog dog") == (
        *("<s>", "<image> x 3", "red dog", "<image>", "</s> x 2", "dog dog"),
    )
    assert collapse("") == ()
    assert collapse("<s> <image> <image> </s> <image> <image> </s> <image> <image> </s> <image> <pad>") == (
        *("<s>", "(<image> x 2 </s>) x 3", "<image>", "<pad>"),
    )
    assert collapse("<image> </s> <image>") == ("<image>", "</s>", "<image>")


def test_the_width_is_not_read_off_packed_weights(lmm, monkeypatch):
    packed = nn.Parameter(torch.zeros(7, 1, dtype=torch.uint8), requires_grad=False)  # as quantised ones are
    monkeypatch.setitem(lmm.unembedding._parameters, "weight", packed)
    assert lmm.width == WIDTH


def test_unembedding_the_last_states_gives_the_logits(lmm):
    with capture(lmm, [N_LAYERS, "norm"]) as captured:
        expected = logits(lmm, *PICTURES)[:, -1]
    torch.testing.assert_close(lmm.unembed(captured[N_LAYERS][0], N_LAYERS), expected)
    torch.testing.assert_close(lmm.unembed(captured["norm"][0], "norm"), expected)


def test_either_reading_can_be_forced(lmm):
    vectors = torch.randn(2, WIDTH)
    normed, bare = lmm.unembedding(lmm.final_norm(vectors)), lmm.unembedding(vectors)
    assert not torch.allclose(normed, bare, atol=1e-2)
    assert torch.equal(lmm.unembed(vectors, "norm", norm=True), normed)
    assert torch.equal(lmm.unembed(vectors, 2, norm=False), bare)
    assert torch.equal(lmm.unembed(vectors.double(), 2), normed)


@pytest.mark.parametrize("layer", [0, N_LAYERS, "norm"])
def test_layers_that_exist_pass(lmm, layer):
    lmm.check_layer(layer)


@pytest.mark.parametrize("layer", [-1, N_LAYERS + 1, 1.0, "last", None])
def test_layers_that_do_not_exist_are_refused(lmm, layer):
    with pytest.raises(ValueError, match=r'0 \(the embeddings\) to 3 .* or "norm"'):
        lmm.check_layer(layer)
    with pytest.raises(ValueError, match="has no layer"):
        lmm.unembed(torch.zeros(1, WIDTH), layer)


def test_vectors_of_another_width_are_refused(lmm):
    with pytest.raises(ValueError, match=r"\(n, 64\), not \(2, 65\)"):
        lmm.unembed(torch.zeros(2, WIDTH + 1), 1)


def test_batches_that_do_not_fit_are_refused(lmm):
    with pytest.raises(ValueError, match="no pictures"):
        lmm.inputs([])
    with pytest.raises(ValueError, match="2 prompts for 3 pictures"):
        lmm.inputs(PICTURES, ["a dog", "a cat"])
    with pytest.raises(ValueError, match="2 continuations for 3 pictures"):
        lmm.inputs(PICTURES, continuations=[[5], [6]])


# Processors that write their image tokens by themselves


def test_an_image_token_is_put_into_the_text_only_where_the_processor_wants_it(tmp_path, monkeypatch):
    wants = load_lmm(tiny_llava(tmp_path, chat_template=None), device="cpu")
    want = wants.inputs([GREY], "a dog")["input_ids"].tolist()
    writes, processor = load_lmm(tmp_path, device="cpu"), type(wants.processor)

    class Writes(processor):
        def __call__(self, images=None, text=None, **options):
            return super().__call__(images=images, text=[self.image_token + one for one in text], **options)

    monkeypatch.setattr(writes.processor, "__class__", Writes)
    del vars(writes)["image_token_in_text"]  # of the processor before
    assert wants.image_token_in_text and not writes.image_token_in_text
    assert writes.inputs([GREY], "a dog")["input_ids"].tolist() == want
    assert caption_settings(writes, "x") == {"image_token": "of the processor"} and caption_settings(wants, "x") == {}


def test_a_processor_that_takes_both_gets_the_token(tmp_path):
    assert load_lmm(FAMILIES["PaliGemma"](tmp_path), device="cpu").image_token_in_text


def test_an_edit_of_one_weight_is_another_fingerprint_until_it_is_taken_back(llava):
    weight = llava.model.model.language_model.layers[0].mlp.down_proj.weight
    before, kept = llava.fingerprint, weight[7, 3].clone()
    weight[7, 3] += 1
    try:
        assert llava.fingerprint != before and len(llava.fingerprint) == 16
    finally:
        weight[7, 3] = kept
    assert llava.fingerprint == before


def test_an_edit_after_a_change_of_precision_is_another_fingerprint(tmp_path):
    lmm = load_lmm(tiny_llava(tmp_path), device="cpu")
    lmm.model.double()
    before = lmm.fingerprint
    lmm.layers[1].mlp.down_proj.weight[:, 7:40:2] = 0
    assert lmm.fingerprint != before


def test_a_model_in_training_mode_is_refused(qwen):
    for module in (qwen.model, qwen.layers[0].self_attn):
        module.train()
        qwen.layers[0].self_attn.attention_dropout = 0.5
        with pytest.raises(ValueError, match=r"training mode, .* call lmm.model.eval\(\) first"):
            qwen.inputs(PICTURES[:1])
        qwen.model.eval()
        qwen.layers[0].self_attn.attention_dropout = 0.0
    qwen.layers[0].self_attn.train()
    qwen.inputs(PICTURES[:1])  # nothing is random without dropout, as in a module that someone put in place
    qwen.model.eval()


def test_another_precision_of_the_same_weights_is_no_edit(tmp_path):
    lmm = load_lmm(tiny_llava(tmp_path), device="cpu", dtype="bfloat16")
    before = lmm.fingerprint
    lmm.model.float()
    assert lmm.fingerprint == before
