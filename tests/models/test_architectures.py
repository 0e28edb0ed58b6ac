"""Every family of image-text models: found by structure, read, batched and teacher-forced alike."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from coxlmm_utils.models import randomly_initialised
from coxlmm_utils.models.captioning import GeneratedCaption, generate_captions, teacher_forced_states
from coxlmm_utils.models.dry_run import memory_of_batch
from coxlmm_utils.models.hooks import add, capture
from coxlmm_utils.models.lmm import LMM, PAPER_PROMPT
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.models.passes import last_logits
from coxlmm_utils.models.structure import Parts, check_lens
from coxlmm_utils.models.without_weights import weights_of, without_weights
from tests.conftest import in_plain_words
from tests.measured_memory import memory_of_generating
from tests.tiny_lmms import FAMILIES, N_LAYERS, WIDTH

LAYERS = [*range(N_LAYERS + 1), "norm"]
N_PICTURES, N_TOKENS = 4, 5
SAME_LENGTH = {
    "LLaVA",
    "Idefics2",
    "PaliGemma",
    "Gemma 3",
    "Mllama",
    "BLIP-2",
    "InstructBLIP",
    "DePALM",
}  # whatever the picture
CLOSE = 0.9999


@pytest.fixture(scope="session", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def folder(family, tmp_path_factory):
    return FAMILIES[family](tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="session")
def lmm(folder) -> LMM:
    lmm = in_plain_words(load_lmm(folder, device="cpu"))
    writer = getattr(lmm.model, "language_model", lmm.model)
    if writer.can_generate():  # BLIP's language model writes by settings of its own
        writer.generation_config.suppress_tokens = lmm.model.generation_config.suppress_tokens
    return lmm


@pytest.fixture(scope="session")
def few(pictures) -> list[Image.Image]:
    """Wide, high and square ones."""
    return pictures[:N_PICTURES]


@pytest.fixture(scope="session")
def generated(lmm, few) -> list[GeneratedCaption]:
    return generate_captions(lmm, few, LAYERS, max_new_tokens=N_TOKENS)


def cosine(states: torch.Tensor, others: torch.Tensor) -> float:
    """The smallest cosine of any two rows that belong together."""
    return torch.cosine_similarity(states, others, dim=-1).min().item()


def test_it_is_found_by_structure(lmm):
    assert (lmm.n_layers, lmm.width, lmm.lens) == (N_LAYERS, WIDTH, "exact") and not lmm.one_by_one


def test_it_is_read_in_bfloat16_too(folder):
    half = load_lmm(folder, device="cpu", dtype="bfloat16")
    assert half.lens == "exact" and not half.one_by_one


def test_its_memory_is_known_without_its_weights(lmm, few, monkeypatch):
    planned = memory_of_batch(without_weights(lmm), few, LAYERS, max_new_tokens=N_TOKENS)
    measured = memory_of_generating(lmm, few, LAYERS, N_TOKENS, monkeypatch)
    assert planned.total == pytest.approx(measured, rel=0.1)
    assert weights_of(without_weights(lmm)) == weights_of(lmm)


def test_its_prompt_is_shown(lmm, family):
    shown = lmm.shown_prompt()
    assert PAPER_PROMPT in shown
    assert " x " in shown or family == "Mllama"  # whose pictures are no tokens


def test_hooks_see_the_hidden_states(lmm, few):
    batch = lmm.inputs(few)
    with capture(lmm, LAYERS) as captured:
        output = lmm.model(**batch, output_hidden_states=True)
    output = getattr(output, "language_model_outputs", output)  # of BLIP
    expected = [states[:, -1] for states in output.hidden_states]
    assert len(expected) == N_LAYERS + 1
    for layer, states in zip([*range(N_LAYERS), "norm"], expected):
        torch.testing.assert_close(captured[layer][0], states)


def test_the_last_states_unembed_to_the_logits(lmm, few):
    with capture(lmm, [N_LAYERS, "norm"]) as captured:
        logits = lmm.model(**lmm.inputs(few)).logits[:, -1]
    for layer in (N_LAYERS, "norm"):
        torch.testing.assert_close(lmm.unembed(captured[layer][0], layer), logits, rtol=1e-4, atol=1e-4)


def test_a_batch_gives_what_single_pictures_give(lmm, family, few, generated):
    mask = lmm.inputs(few)["attention_mask"]
    assert mask[:, -1].all() and mask.all() == (family in SAME_LENGTH)
    for together, picture in zip(generated, few):
        [alone] = generate_captions(lmm, [picture], LAYERS, max_new_tokens=N_TOKENS)
        assert together.ids == alone.ids and len(alone.ids) == N_TOKENS
        for layer in LAYERS:
            assert cosine(together.states[layer], alone.states[layer]) > CLOSE


def test_each_picture_may_have_its_own_prompt(lmm, few):
    prompts = ["dog", PAPER_PROMPT, "Describe this picture.", "a small red bird"]
    captions = [[20, 21, 22], [23], [24, 25], [26, 27]]
    together = lmm.inputs(few, prompts, continuations=captions)
    mask = together["attention_mask"]
    prompt_mask = mask[:, : mask.shape[1] - 3]
    assert not prompt_mask.all() and (prompt_mask.diff(dim=1) >= 0).all()  # padded on the left
    logits = last_logits(lmm, together, 4)  # (batch, states, vocabulary)
    for row, (picture, prompt, ids) in enumerate(zip(few, prompts, captions)):
        alone = last_logits(lmm, lmm.inputs([picture], prompt, continuations=[ids]), len(ids) + 1)[0]
        torch.testing.assert_close(logits[row, : len(ids) + 1], alone, rtol=1e-3, atol=1e-3)
    generated = generate_captions(lmm, few, [2], prompts, N_TOKENS)
    forced = teacher_forced_states(lmm, few, [caption.ids for caption in generated], [2], prompts)
    for picture, prompt, together, states in zip(few, prompts, generated, forced):
        [alone] = generate_captions(lmm, [picture], [2], prompt, N_TOKENS)
        assert together.ids == alone.ids
        assert cosine(together.states[2], alone.states[2]) > CLOSE and cosine(states[2], alone.states[2]) > CLOSE


@pytest.mark.parametrize("positions", ["all", "generated", "last_prompt"])
def test_steering_a_given_caption_is_steering_while_it_is_generated(lmm, few, positions):
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    plain = generate_captions(lmm, few, ["norm"], max_new_tokens=N_TOKENS)
    with add(lmm, 2, vector, positions):
        steered = generate_captions(lmm, few, ["norm"], max_new_tokens=N_TOKENS)
    ids = [caption.ids[: 2 + row] for row, caption in enumerate(steered)]  # of different lengths
    with add(lmm, 2, vector, positions, n_forced=len(ids[-1])):
        forced = teacher_forced_states(lmm, few, ids, ["norm"])
    unsteered = teacher_forced_states(lmm, few, ids, ["norm"])
    for caption, states, other in zip(steered, forced, unsteered):
        assert cosine(caption.states["norm"][: len(states["norm"])], states["norm"]) > CLOSE
        assert (torch.cosine_similarity(states["norm"], other["norm"]) < 0.99).all() or positions == "last_prompt"
    assert [caption.ids for caption in plain] != [caption.ids for caption in steered]


def test_it_can_be_randomly_initialised(lmm, few, generated):
    fresh, again = randomly_initialised(lmm), randomly_initialised(lmm)
    assert fresh.fingerprint == again.fingerprint != lmm.fingerprint
    assert all(parameter.isfinite().all() and not parameter.requires_grad for parameter in fresh.model.parameters())
    assert check_lens(fresh.model, fresh.inputs(few[:1]), Parts(fresh.layers, fresh.final_norm, fresh.unembedding))
    ids = [caption.ids for caption in generated]
    for states, trained in zip(teacher_forced_states(fresh, few, ids, [2]), generated):
        assert states[2].shape == trained.states[2].shape and not torch.allclose(states[2], trained.states[2], atol=0.1)


def test_pictures_make_a_difference(generated):
    first = torch.stack([caption.states["norm"][0] for caption in generated])
    assert torch.cosine_similarity(first[:1], first[1:]).max() < 0.999


def test_given_captions_give_the_states_of_generated_ones(lmm, few, generated):
    ids = [caption.ids[: 2 + row] for row, caption in enumerate(generated)]  # of different lengths
    for caption, kept, forced in zip(generated, ids, teacher_forced_states(lmm, few, ids, LAYERS)):
        for step in range(len(kept)):
            for layer in LAYERS:
                predicts, own = forced[layer][step], forced[layer][step + 1]
                assert cosine(caption.state(layer, step, "predicts"), predicts) > CLOSE
                assert cosine(caption.state(layer, step, "own"), own) > CLOSE
