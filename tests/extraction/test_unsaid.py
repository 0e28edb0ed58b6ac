"""The kinds of samples, and where a caption is closest to a word that it does not say."""

from __future__ import annotations

import pytest
import torch

from coxlmm_utils.concepts import ConceptBank
from coxlmm_utils.dictionaries import SemiNMF
from coxlmm_utils.extraction import extract, extract_many, join_states, reread
from coxlmm_utils.extraction.extraction_plan import Settings, Targets, make_plan
from coxlmm_utils.extraction.provenance import SAMPLES
from coxlmm_utils.extraction.unsaid import unsaid_steps
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.captioning import generate_captions, teacher_forced_states
from tests.conftest import MAX_NEW_TOKENS, in_memory
from tests.extraction.test_extract import QUICK, counted, folder_of  # noqa: F401

THERE, SAID, ABSENT, UNSAID = SAMPLES


@pytest.fixture(scope="module")
def written(llava, pictures):
    return generate_captions(llava, pictures, [1, "norm"], max_new_tokens=MAX_NEW_TOKENS)


@pytest.fixture(scope="module")
def images(pictures, token):
    """A third of the pictures shows the token, by a reference; a third does not; a third has no references."""
    return in_memory(pictures, [((token,), ("a zebra",), ())[row % 3] for row in range(24)])


def closest(lmm, caption, token) -> int:
    """The step of the highest probability by the states of generation, one after the other."""
    [piece] = lmm.tokenizer.encode(token, add_special_tokens=False)
    logits = lmm.unembed(caption.states["norm"], "norm")[: len(caption.ids)]
    return int(logits.softmax(dim=1)[:, piece].argmax())


@pytest.mark.filterwarnings("ignore:pictures without reference captions")  # of the first kind
def test_which_pictures_each_kind_has(llava, images, written, token):
    says = {f"p{row}" for row, single in enumerate(written) if token in single.caption.split()}
    shows, bare = ({f"p{row}" for row in range(start, 24, 3)} for start in (0, 2))
    kinds = {kind: extract(llava, images, token, 1, samples=kind, **QUICK) for kind in SAMPLES}
    assert set(kinds[THERE].images.ids) == says & (shows | bare)
    assert set(kinds[SAID].images.ids) == says
    assert set(kinds[ABSENT].images.ids) == says - shows - bare
    assert set(kinds[UNSAID].images.ids) == shows - says
    for kind, states in kinds.items():
        assert states.samples == kind and states.provenance["counts"]["mentioned"] == 8
        assert states.provenance["counts"]["kept"] == len(states) > 0
        assert (f", {kind}: " in repr(states)) == (kind != THERE)
    assert "samples" not in kinds[THERE].provenance  # as it was when there were no others


@pytest.mark.parametrize("position, offset", [("predicts", 0), ("own", 1)])
def test_an_unsaid_token_is_read_where_it_was_most_probable(llava, pictures, images, written, token, position, offset):
    states = extract(llava, images, token, [1, "norm"], position, samples=UNSAID, batch_size=3, **QUICK)
    rows = [int(id[1:]) for id in states.images.ids]
    steps = [closest(llava, written[row], token) for row in rows]
    assert len(set(steps)) > 1 and states.captions == [written[row].caption for row in rows]
    for layer in (1, "norm"):
        expected = torch.stack([written[row].states[layer][step + offset] for row, step in zip(rows, steps)])
        torch.testing.assert_close(states.vectors[layer], expected, rtol=1e-3, atol=1e-3)
    instead = [written[row].caption.split()[step] for row, step in zip(rows, steps)]
    assert states.provenance["said_instead"] == {word: instead.count(word) for word in {*instead}}
    assert states.provenance["pieces"] == [token]


def test_padding_and_tokens_that_are_said_do_not_matter(llava, pictures, written, token):
    captions = [written[row].ids[: 1 + row] for row in range(5)] + [[]]  # of different lengths
    ids = [f"p{row}" for row in range(6)]
    said = next(word for word in written[2].caption.split()[:3] if word != token)
    targets = Targets({token: [token], said: [said]}, {token: set(ids), said: {"p2"}})
    steps = unsaid_steps(llava, targets, ids, pictures[:6], captions, llava.prompt)
    assert said not in steps[2] and steps[5] == {}
    for row in range(5):
        if token not in written[row].caption.split()[: 1 + row]:
            [alone] = teacher_forced_states(llava, [pictures[row]], [captions[row]], ["norm"])
            [piece] = llava.tokenizer.encode(token, add_special_tokens=False)
            p = llava.unembed(alone["norm"][:-1], "norm").softmax(dim=1)[:, piece]
            assert steps[row] == {token: int(p.argmax())}


def test_kinds_are_not_confused_in_the_cache(llava, pictures, token, counted, tmp_path):  # noqa: F811
    images = folder_of(pictures, tmp_path / "pictures", token)
    usual = extract(llava, images, token, 1, max_new_tokens=6)
    unsaid = extract(llava, images, token, 1, max_new_tokens=6, samples=UNSAID)
    assert counted == ["written", "read"]  # the same captions
    assert {*usual.images.ids, *unsaid.images.ids} == set(images.ids) and len(usual) + len(unsaid) == 24
    again = extract(llava, load_images(images.source), token, 1, max_new_tokens=6, samples=UNSAID)
    assert torch.equal(again.Z, unsaid.Z) and again.provenance == unsaid.provenance and len(counted) == 2
    assert extract(llava, images, token, 1, max_new_tokens=6).images.ids == usual.images.ids and len(counted) == 2
    folders = [
        make_plan(llava, images, [token], Settings([1], samples=kind)).folder(tmp_path) for kind in (THERE, UNSAID)
    ]
    assert folders[0].captions_folder == folders[1].captions_folder and folders[0].folder != folders[1].folder


def test_captions_are_generated_where_none_are_known(llava, images, token, counted):  # noqa: F811
    many = extract_many(llava, images, [token], [1], samples=UNSAID, **QUICK)
    assert counted == ["written", "read"] and set(many) == {(token, "predicts"), (token, "own")}


def test_a_bank_may_read_errors_but_they_are_not_joined_with_samples(llava, images, bank, token):
    errors = extract(llava, images, token, 2, samples=UNSAID, **QUICK)
    assert bank.project(errors.Z).shape == (len(errors), 3)
    of_errors = ConceptBank.learn(llava, errors, SemiNMF(2, random_state=0))
    assert of_errors.samples == UNSAID and f"{len(errors)} samples, there but unsaid)" in repr(of_errors)
    assert bank.samples == THERE and repr(bank).endswith(" samples)")
    other = extract(llava, in_memory([images.picture(row) for row in range(24)], ("blue",)), "blue", 2, **QUICK)
    with pytest.raises(ValueError, match="differ in samples: 'said and there' and 'there but unsaid'"):
        join_states([other, errors])


def test_only_words_that_are_said_are_read_again(llava, images, token):
    with pytest.raises(ValueError, match=f"do not say '{token}': there is no word whose state to re-encode"):
        reread(llava, extract(llava, images, token, 1, samples=UNSAID, **QUICK), 2)
    absent = extract(llava, images, token, [1, 2], samples=ABSENT, **QUICK)
    again = reread(llava, absent.at(1), 2, cache=False)
    assert again.images.ids == absent.images.ids and torch.allclose(again.Z, absent.at(2).Z, atol=1e-4)


@pytest.mark.parametrize(
    "references, kind, message",
    [
        (
            ("grey",),
            "errors",
            "no samples 'errors'; choose one of said and there, said, said but absent, there but unsaid",
        ),
        (("grey",), ABSENT, "no reference caption of the 24 pictures is without 'grey'"),
        (("a zebra",), UNSAID, "no reference caption of the 24 pictures has 'grey'"),
        ((), UNSAID, "no reference caption of the 24 pictures has 'grey'"),
    ],
)
def test_what_cannot_be_is_refused(llava, pictures, references, kind, message):
    with pytest.raises(ValueError, match=message):
        extract(llava, in_memory(pictures, references), "grey", 1, samples=kind, **QUICK)


def test_a_word_that_the_model_always_says_is_not_unsaid(llava, pictures, written):
    images = in_memory(pictures[:1], (written[0].caption,))
    with pytest.raises(ValueError, match="is missing in none of the 1 captions"):
        extract(llava, images, written[0].caption.split()[0], 1, samples=UNSAID, **QUICK)
    with pytest.raises(ValueError, match="'quokka' cannot be written by the tokenizer"):
        extract(llava, in_memory(pictures, ("a quokka",)), "quokka", 1, samples=UNSAID, **QUICK)
