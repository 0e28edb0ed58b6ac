"""The loop: what is wanted of each picture, and that every state is the right one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coxlmm_utils.extraction import loop
from coxlmm_utils.extraction.blocks import BlockFolder
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.extraction_plan import Settings, Targets, make_plan
from coxlmm_utils.extraction.loop import make_blocks
from coxlmm_utils.models.captioning import generate_captions, state_of
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import MAX_NEW_TOKENS, in_memory
from tests.extraction.test_extract import folder_of
from tests.tiny_lmms import FAMILIES


def plan_of(lmm, images, tokens, stop_early=False, captions=None):
    settings = Settings([1, "norm"], max_new_tokens=MAX_NEW_TOKENS, captions=captions, stop_early=stop_early)
    return make_plan(lmm, images, tokens, settings)


@pytest.fixture(scope="module")
def words(llava, pictures) -> list[str]:
    """The two words that most captions have."""
    written = generate_captions(llava, pictures, max_new_tokens=MAX_NEW_TOKENS)
    result = [word for single in written for word in {*single.caption.split()}]
    return sorted({*result}, key=lambda word: (result.count(word), word))[-2:]


@pytest.fixture(scope="module")
def plan(llava, pictures, words):
    return plan_of(llava, in_memory(pictures, (" ".join(words),)), words)


def test_targets_of_a_picture_are_those_it_mentions():
    targets = Targets({"dog": ["dog", "dogs"], "cat": ["cat"]}, {"dog": {"p", "q"}, "cat": {"q"}})
    assert targets.of("p") == ["dog"] and targets.of("q") == ["dog", "cat"] and targets.of("r") == []


def test_steps_are_of_the_first_time_and_complete_needs_a_word_more(llava):
    targets = Targets({"dog": ["dog"], "cat": ["cat"]}, {"dog": {"p"}, "cat": {"p"}})
    ids = llava.tokenizer.convert_tokens_to_ids(["a", "dog", "cat", "dog"])
    assert targets.steps(llava, "p", ids) == {"dog": 1, "cat": 2}
    assert targets.steps(llava, "p", ids[:2]) == {"dog": 1}
    assert targets.complete(llava, "p", ids) and not targets.complete(llava, "p", ids[:3])


@pytest.mark.parametrize("batch_size", [5, 24])
def test_every_state_is_that_of_its_picture(llava, pictures, plan, batch_size, tmp_path):
    folder = plan.folder(tmp_path)
    make_blocks(llava, plan, folder, batch_size)
    (block,) = folder.read()
    written = generate_captions(llava, pictures, [1, "norm"], max_new_tokens=MAX_NEW_TOKENS)
    assert [picture["caption"] for picture in block.pictures] == [single.caption for single in written]
    for token in plan.targets.spellings:
        for place, picture in enumerate(block.having(token)):
            single, step = written[int(picture["id"][1:])], picture["steps"][token]
            assert llava.tokenizer.decode([picture["ids"][step]]).strip() == token
            for position in ("predicts", "own"):
                state = block.states[f"{token}/{position}/norm"][place]
                assert torch.allclose(state, single.states["norm"][state_of(step, position)], atol=1e-4)


def test_states_of_known_captions_are_the_same(llava, plan, pictures, words, tmp_path):
    make_blocks(llava, plan, plan.folder(tmp_path), 24)
    again = plan_of(llava, in_memory(pictures, (" ".join(words),)), words[::-1])  # another order: another extraction
    assert again.folder(tmp_path).known_captions()
    make_blocks(llava, again, again.folder(tmp_path), 24)
    (first,), (second,) = plan.folder(tmp_path).read(), again.folder(tmp_path).read()
    assert first.pictures[0]["ids"] == second.pictures[0]["ids"]
    for name, states in first.states.items():
        assert torch.cosine_similarity(states, second.states[name]).min() > 0.9999


def test_pictures_that_cannot_be_read_are_noted(llava, pictures, words, tmp_path):
    def open_one(id):
        if id == "p3":
            raise OSError("p3 is damaged")
        return pictures[int(id[1:])]

    images = in_memory(pictures, (" ".join(words),))
    object.__setattr__(images, "open", open_one)
    plan = plan_of(llava, images, words)
    make_blocks(llava, plan, plan.folder(tmp_path), 7)
    (block,) = plan.folder(tmp_path).read()
    assert block.unreadable == {"p3": "p3 is damaged"} and len(block.pictures) == 23


def test_a_block_is_named_by_all_that_it_depends_on(llava, pictures, words, tmp_path):
    def names(references, **more):
        folder: BlockFolder = plan_of(llava, in_memory(pictures, references), words, **more).folder(tmp_path)
        return folder.folder, folder.names

    usual = names((" ".join(words),))
    assert names((" ".join(words), "more")) == usual  # what references say besides does not matter
    assert names([(" ".join(words),)] * 23 + [(words[0],)]) != usual
    assert names((" ".join(words),), stop_early=True) != usual
    assert names((" ".join(words),), captions={f"p{row}": "a" for row in range(24)}) != usual


@pytest.mark.parametrize("spelling, otherwise", [("dog", False), ("hot dog", True), ("狗", True)])
def test_blocks_of_words_that_were_found_otherwise_are_not_taken(llava, pictures, spelling, otherwise, tmp_path):
    plan = plan_of(llava, in_memory(pictures, (spelling,)), [spelling])
    assert ("token_rule" in plan.folder(tmp_path).readout_settings) == otherwise


def test_shards_make_all_blocks_and_none_twice(llava, plan, monkeypatch, tmp_path):
    monkeypatch.setattr("coxlmm_utils.extraction.blocks.BLOCK", 5)
    folder, made = plan.folder(tmp_path), []
    monkeypatch.setattr(BlockFolder, "write", lambda self, number, block: made.append(number))
    for shard in range(3):
        make_blocks(llava, plan, folder, 5, shard, n_shards=3)
    assert sorted(made) == list(range(5))


def test_given_captions_are_read_as_the_model_would_write_them(llava, pictures, monkeypatch, tmp_path):
    images, given = in_memory(pictures[:2], ("red",)), {"p0": "<image> is red", "p1": "is red"}
    plain = plan_of(llava, images, ["red"], captions=given)
    assert list(plain.settings.token_ids) == ["p0"]  # the other is as simply tokenized: its block keeps its name
    monkeypatch.setattr(
        "coxlmm_utils.extraction.extraction_plan.encode_captions", lambda lmm, texts, prompt: [[7, 8], [9]]
    )
    other = plan_of(llava, images, ["red"], captions=given)
    assert other.settings.token_ids == {"p0": [7, 8], "p1": [9]}
    assert other.folder(tmp_path).names != plain.folder(tmp_path).names
    make_blocks(llava, plain, plain.folder(tmp_path), 2)
    (block,) = plain.folder(tmp_path).read()
    unknown = llava.tokenizer.unk_token_id
    assert block.pictures[0]["ids"][:2] == [unknown, unknown] and block.pictures[0]["steps"] == {"red": 3}
    assert block.states["red/predicts/1"].isfinite().all()


def test_a_picture_whose_state_is_not_finite_is_left_out_with_the_reason(llava, plan, monkeypatch, tmp_path):
    generated = loop._generated

    def overflowing(*arguments):
        captions, steps, states = generated(*arguments)
        first = next(iter(states))[0]
        return captions, steps, {key: state * torch.inf if key[0] == first else state for key, state in states.items()}

    monkeypatch.setattr(loop, "_generated", overflowing)
    folder = plan.folder(tmp_path)
    make_blocks(llava, plan, folder, 24)
    (block,) = folder.read()
    ((id, reason),) = block.unreadable.items()
    assert id in plan.images.ids and "has a NaN or infinite value" in reason
    assert len(block.pictures) == len(plan.images) - 1


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """Whose language model learned its 512 positions one by one."""
    return load_lmm(FAMILIES["BLIP-2"](tmp_path_factory.mktemp("blip")), device="cpu")


def test_a_caption_longer_than_the_positions_is_left_out(blip, pictures):
    images = in_memory(pictures[:3], ("dog",))
    given = {"p0": "a dog runs", "p1": "a dog " + "and a cat " * 300, "p2": "a dog"}
    with pytest.warns(UserWarning, match=r"skipped: 1 \(p1\)"):
        states = extract(blip, images, "dog", 2, captions=given)
    assert list(states.images.ids) == ["p0", "p2"] and states.provenance["unreadable"] == ["p1"]
    with pytest.raises(
        ValueError, match="none of the 0 captions .*1 pictures could not be read, the first: its caption"
    ):
        extract(blip, images.with_ids(["p1"]), "dog", 2, captions=given)


def test_what_never_fits_the_positions_is_refused_beforehand(blip, pictures):
    images = in_memory(pictures[:2], ("dog",))
    with pytest.raises(ValueError, match="max_new_tokens=600 is too long.* of the model's 512 positions: give at most"):
        extract(blip, images, "dog", 2, max_new_tokens=600)
    with pytest.raises(ValueError, match="the model's 512 positions: give a shorter prompt"):
        extract(blip, images, "dog", 2, prompt="this picture " * 400, max_new_tokens=4)


@pytest.mark.parametrize("back", [False, True], ids=["still gone", "back at once"])
def test_pictures_that_go_away_for_a_moment_are_not_unreadable_for_good(llava, pictures, tmp_path, back):
    place, away = tmp_path / "pictures", tmp_path / "away"
    images, opened = folder_of(pictures[:6], place, "grey"), []

    def open_one(id):
        opened.append(id)
        if len(opened) == 3 or (back and len(opened) == 5):
            (place if place.exists() else away).rename(away if place.exists() else place)
        return images.open(id)

    with pytest.raises(FileNotFoundError, match="went away while pictures were read"):
        extract(llava, replace(images, open=open_one), "grey", 2, max_new_tokens=MAX_NEW_TOKENS)
    if not back:
        away.rename(place)
    states = extract(llava, images, "grey", 2, max_new_tokens=MAX_NEW_TOKENS)
    assert states.provenance["unreadable"] == []


def test_a_count_may_be_numpys_and_may_not_be_true(llava, pictures, token, tmp_path):
    images = in_memory(pictures, (token,))
    plans = [make_plan(llava, images, [token], Settings([1], max_new_tokens=count)) for count in (6, np.int64(6))]
    assert plans[0].folder(tmp_path) == plans[1].folder(tmp_path)
    with pytest.raises(ValueError, match="max_new_tokens must be a whole number, not True"):
        make_plan(llava, images, [token], Settings([1], max_new_tokens=True))


@pytest.mark.parametrize("samples, occurs", [("there but unsaid", "is missing"), ("said and there", "occurs")])
def test_empty_captions_are_counted_apart(llava, pictures, samples, occurs):
    images = in_memory(pictures[:2], ("dog",))
    with pytest.raises(ValueError, match=f"{occurs} in none of the 0 captions .*; 2 more captions are empty"):
        extract(llava, images, "dog", 2, captions={"p0": "", "p1": " "}, samples=samples)
