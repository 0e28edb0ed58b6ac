"""Changing one state while a caption is forced: what changes, by how much, and what does not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.faithfulness.edited_forward import TeacherForcedCaption, can_branch, effects, token_ids
from coxlmm_utils.models.captioning import teacher_forced_states
from coxlmm_utils.models.hooks import add, capture
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.models.passes import last_logits
from tests.conftest import in_memory
from tests.tiny_lmms import FAMILIES, N_LAYERS, WIDTH

STEP, N = 2, 6  # of the target, and tokens of the caption
SETS = [[20], [21, 22, 23], []]
BY_WHOLE_PASSES = ("Mllama", "Qwen3-VL")  # pictures enter at later layers, too


def forced_on(lmm, picture, state=STEP) -> TeacherForcedCaption:
    words = "a small grey dog runs snow".split()[-N:]
    ids = [lmm.tokenizer.convert_tokens_to_ids(word) for word in ["an", *words[1:]]]
    return TeacherForcedCaption(picture, ids, STEP, state, "Describe this picture.")


def some_changes(n: int = 3) -> torch.Tensor:
    return 3 * torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(0))


def by_hand(lmm, forced, state, layer) -> torch.Tensor:
    """Log-probabilities from one state as the last block, or the norm, leaves it."""
    return lmm.unembed(state[None], layer)[0].double().log_softmax(0)


@pytest.mark.parametrize("layer", [0, 2, N_LAYERS, "norm"])
@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_a_change_of_nothing_changes_nothing(name, layer, request, pictures):
    lmm = request.getfixturevalue(name)
    result = effects(lmm, forced_on(lmm, pictures[0]), layer, torch.zeros(3, WIDTH), SETS[:2])
    for values in (result.words, result.mentions, result.target, result.rest):
        assert values.abs().max() < 1e-6


@pytest.mark.parametrize("family", ["LLaVA-NeXT", "Qwen2.5-VL", "Mllama", "BLIP-2", "Gemma 3"])
@pytest.mark.parametrize("layer", [N_LAYERS, "norm"])
def test_after_the_last_block_it_is_the_unembedding_of_the_changed_state(family, layer, tmp_path, pictures):
    lmm = load_lmm(FAMILIES[family](tmp_path / "lmm"), device="cpu")
    forced, changes = forced_on(lmm, pictures[1]), some_changes()
    [states] = teacher_forced_states(lmm, [forced.picture], [forced.ids], [layer], forced.prompt)
    before = by_hand(lmm, forced, states[layer][STEP], layer)
    result = effects(lmm, forced, layer, changes, SETS)
    for place, change in enumerate(changes):
        moved = by_hand(lmm, forced, states[layer][STEP] + change, layer) - before
        assert result.target[place].item() == pytest.approx(moved[forced.ids[STEP]].item(), abs=1e-4)
        assert moved[20].item() == pytest.approx(result.words[place, 0, 0].item(), abs=1e-4)
    assert result.words[:, 0, 1:].abs().max() < 1e-6  # later steps come from later states
    assert result.target.abs().max() > 0.1
    assert result.rest.abs().max() < 1e-6


def test_below_the_last_block_later_steps_change_and_earlier_ones_do_not(llava, pictures):
    predicts = effects(llava, forced_on(llava, pictures[0]), 2, some_changes(), SETS[:1])
    own = effects(llava, forced_on(llava, pictures[0], STEP + 1), 2, some_changes(), SETS[:1])
    assert predicts.target.abs().min() > 1e-3 and predicts.rest.abs().min() > 1e-3
    assert own.target.abs().max() == 0 and own.rest.abs().min() > 1e-3


def test_the_measures_are_those_of_every_step_from_the_change_on(llava, pictures):
    forced, change = forced_on(llava, pictures[2], STEP + 1), some_changes(1)
    batch = llava.inputs([forced.picture], forced.prompt, continuations=[forced.ids])
    place = batch["input_ids"].shape[1] - N + STEP
    plain = last_logits(llava, batch, N + 1)[0].double().softmax(1)  # (steps, vocabulary)
    with add(llava, 1, change, torch.tensor([place])):
        edited = last_logits(llava, batch, N + 1)[0].double().softmax(1)
    result = effects(llava, forced, 1, change, SETS)
    for number, ids in enumerate(SETS[:2]):
        before, after = (p[STEP + 1 :, ids].sum(1) for p in (plain, edited))
        assert len(before) == N - STEP
        assert result.words[0, number].tolist() == pytest.approx((after.log() - before.log()).tolist(), abs=1e-5)
        expected = (after.sum().log() - before.sum().log()).item()
        assert result.mentions[0, number].item() == pytest.approx(expected, abs=1e-5)
    ratios = [(edited[i, forced.ids[i]] / plain[i, forced.ids[i]]).log().item() for i in range(N)]
    assert result.rest[0].item() == pytest.approx(sum(ratios[STEP + 1 :]), abs=1e-5)
    assert result.words[:, 2].isnan().all() and result.mentions[:, 2].isnan().all()
    unpatched = [plain[STEP + 1, ids].sum().log().item() for ids in SETS[:2]] + [
        plain[STEP, forced.ids[STEP]].log().item()
    ]
    assert result.before[[0, 1, -1]].tolist() == pytest.approx(unpatched, abs=1e-5)


def test_the_size_of_batches_does_not_matter(llava, pictures):
    forced, changes = forced_on(llava, pictures[0]), some_changes(5)
    once, one_by_one, unevenly = (effects(llava, forced, 2, changes, SETS[:2], size) for size in (32, 2, 4))
    for other in (one_by_one, unevenly):
        torch.testing.assert_close(other.words, once.words, atol=1e-5, rtol=0)
        torch.testing.assert_close(other.rest, once.rest, atol=1e-5, rtol=0)
    assert not torch.allclose(once.rest[1:], once.rest[:1])  # each change has its own effect


def test_without_sets_there_is_the_caption_still(llava, pictures):
    result = effects(llava, forced_on(llava, pictures[0]), 2, some_changes(), [])
    assert result.words.shape[:2] == result.mentions.shape == (3, 0) and result.rest.shape == (3,)


@pytest.mark.parametrize("layer", [0, 2, "norm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_branch_at_the_layer_are_those_of_whole_passes(family, layer, tmp_path, pictures):
    lmm = load_lmm(FAMILIES[family](tmp_path / "lmm"), device="cpu")
    forced, changes = forced_on(lmm, pictures[1]), some_changes()
    if not can_branch(lmm, forced, layer):
        assert family in BY_WHOLE_PASSES
        return
    branched, whole = (
        effects(lmm, forced, layer, changes, SETS[:2], branching=branching) for branching in (True, False)
    )
    for name in ("words", "mentions", "target", "rest"):
        torch.testing.assert_close(getattr(branched, name), getattr(whole, name), atol=1e-4, rtol=1e-3)
    assert whole.words[:, :, 0].abs().max() > 1e-2


def test_only_one_position_of_each_row_is_changed(llava, pictures):
    batch, changes = llava.inputs(pictures[:2]), some_changes(2)
    with capture(llava, [1], "all") as before:
        last_logits(llava, batch, 1)
    with add(llava, 1, changes, torch.tensor([4, 4])), capture(llava, [1], "all") as after:
        last_logits(llava, batch, 1)
    with capture(llava, [1], "all") as later:
        last_logits(llava, batch, 1)
    moved = after[1][0] - before[1][0]
    torch.testing.assert_close(moved[:, 4], changes)
    moved[:, 4] = 0
    assert not moved.any() and torch.equal(later[1][0], before[1][0])


@pytest.mark.parametrize(
    ("changes", "size", "message"),
    [(torch.zeros(2, 5), 32, r"\(2, 5\) do not fit"), (torch.zeros(WIDTH), 32, "do not fit"), (None, 1, "at least 2")],
)
def test_what_cannot_be_is_refused(llava, pictures, changes, size, message):
    changes = torch.zeros(2, WIDTH) if changes is None else changes
    with pytest.raises(ValueError, match=message):
        effects(llava, forced_on(llava, pictures[0]), 2, changes, [], size)


# Where the caption and the tokens come from


@pytest.mark.parametrize("position", ["predicts", "own"])
def test_a_samples_caption_is_forced_up_to_its_own_state(llava, pictures, token, position):
    states = extract(llava, in_memory(pictures, (token,)), token, 2, position, max_new_tokens=6, cache=False)
    for row in range(3):
        forced = TeacherForcedCaption.of(llava, states, row)
        assert llava.tokenizer.decode(forced.ids) == states.captions[row]
        assert states.captions[row].split()[forced.step] == token
        assert forced.prompt == states.provenance["prompt"]
        [result] = teacher_forced_states(llava, [forced.picture], [forced.ids], [2], forced.prompt)
        torch.testing.assert_close(result[2][forced.state], states.Z[row], atol=1e-3, rtol=1e-3)


def test_a_caption_without_the_target_is_refused(llava, states):
    strange = replace(states, captions=["red dog"] * len(states))
    with pytest.raises(ValueError, match="'red dog' of 'p.*' has no 'grey'"):
        TeacherForcedCaption.of(llava, strange, 0)


def test_every_spelling_of_a_token_counts():
    texts = ["dog", " dog", "\u2581Dog", "dogs", "\u0120cat", "do", "g"]
    methods = {"decode": lambda _, ids: texts[ids[0]], "convert_ids_to_tokens": lambda _, token: texts[token]}
    tokenizer = type("Tokenizer", (), {"__len__": lambda _: 7, **methods})()
    lmm = SimpleNamespace(tokenizer=tokenizer)
    assert token_ids(lmm, [["Dog"], ["cat", "dogs"], [], ["horse"]]) == [[0, 1, 2], [3, 4], [], []]
