"""The explainer as its controls are worked: what each does, what it costs, and that nothing shown is ever lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from io import BytesIO

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from PIL import Image

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.explanation.explain import explain, next_words
from coxlmm_utils.extraction import prompt_states
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import allowed_values
from coxlmm_utils.picturebook.page import page
from coxlmm_utils.steering import Direction, learn_to_steer, prompt_to_steer, steered
from coxlmm_utils.widgets import explainer as asking
from coxlmm_utils.widgets.explainer import ask
from tests.conftest import in_memory, noise

ATTACK = "<img src=x onerror=alert(1)>"


@pytest.fixture
def images(states) -> CaptionedImages:
    """Pictures whose captions have the token."""
    return in_memory([states.images.picture(row) for row in range(4)], ())


@pytest.fixture
def explainer(llava, bank, images):
    return ask(llava, bank, images)


@pytest.fixture
def silent(bank) -> ConceptBank:
    """The same concepts, of words that the model never writes."""
    return replace(bank, provenance=bank.provenance | {"token": ["zebra", "zebras"]})


@pytest.fixture(scope="module")
def book():
    return load_lmm("picturebook", device="cpu")


@pytest.fixture(scope="module")
def of_dogs(book) -> ConceptBank:
    images = load_images("picturebook", "train").mentioning("dog")[:16]
    return ConceptBank.learn(book, extract(book, images, "dog", 4, cache=False), SemiNMF(4, random_state=0))


@pytest.fixture
def runs(monkeypatch) -> dict[str, int]:
    """How often the explainer asked for what needs the model."""
    counted = dict.fromkeys(("explain_picture", "patch_map", "next_words"), 0)
    for name in counted:

        def count(*given, _name=name, _real=getattr(asking, name)):
            counted[_name] += 1
            return _real(*given)

        monkeypatch.setattr(asking, name, count)
    return counted


def upload(explainer, content: bytes, name: str = "own.png") -> None:
    """Give a file as the front end does."""
    file = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content)}
    explainer.upload.value = (file | {"last_modified": datetime.now(UTC)},)


def as_png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def is_shown(widget: widgets.Widget) -> bool:
    return widget.layout.display != "none"


# Choosing a picture


def test_the_first_picture_is_explained_at_once(explainer, llava, bank, images):
    expected = explain(llava, bank, images.picture(0))
    assert explainer.current.captions == (expected.caption,) and "<mark>grey</mark>" in explainer.answer.value
    np.testing.assert_array_equal(explainer.current.explanations[0].activations, expected.activations)
    assert explainer.status.value == "" and not is_shown(explainer.bank) and not is_shown(explainer.switches)


def test_another_picture_is_read_once(explainer, images, runs):
    first = explainer.answer.value
    explainer.pictures.buttons.value = 2
    assert runs == {"explain_picture": 1, "patch_map": 0, "next_words": 0}
    assert explainer.answer.value != first
    np.testing.assert_array_equal(np.asarray(explainer.current.picture), np.asarray(images.picture(2)))
    assert "cox-bar-before" not in explainer.answer.value


def test_more_pictures_take_turns(llava, bank, states, runs):
    images = in_memory([noise(seed) for seed in range(30)], ())
    explainer = ask(llava, bank, images)
    choice, answer = explainer.pictures, explainer.answer.value
    offered = []
    for _ in range(3):
        offered.append([row for _, row in choice.buttons.options])
        choice.more.click()
        assert choice.buttons.value is None
    assert offered == [[*range(12)], [*range(12, 24)], [*range(24, 30)]]
    assert choice.buttons.options[0][1] == 0 and is_shown(choice.more)
    assert explainer.answer.value == answer and runs["explain_picture"] == 1
    choice.more.click()
    choice.buttons.value = 13
    np.testing.assert_array_equal(np.asarray(explainer.current.picture), np.asarray(noise(13)))


def test_pictures_are_called_by_what_is_known_of_them(llava, bank, images):
    named = ask(llava, bank, replace(images, references=(("a grey day", "fog"), (), (), ())))
    assert [name for name, _ in named.pictures.buttons.options] == ["p0: a grey day", "p1", "p2", "p3"]
    [explained] = named.current.explanations.values()
    assert f'alt="the picture, captioned: {explained.caption}"' in named.answer.value
    shown = bank.captions[bank.top_of(explained.top(1)[0], 1)[0]]
    assert f'alt="{shown}"' in named.answer.value


def test_few_pictures_need_no_button_for_more(explainer):
    assert not is_shown(explainer.pictures.more)


def test_a_picture_that_is_gone_leaves_all_as_it_was(llava, bank, images):
    def gone(id: str) -> Image.Image:
        if id == "p1":
            raise FileNotFoundError(f"there is no file {ATTACK}")
        return images.open(id)

    explainer = ask(llava, bank, replace(images, open=gone))
    answer = explainer.answer.value
    assert "nth-child(2)" not in explainer.pictures.children[0].value
    assert "nth-child(3)" in explainer.pictures.children[0].value
    explainer.pictures.buttons.value = 1
    assert "There is no file &lt;img" in explainer.status.value and ATTACK not in explainer.status.value
    assert explainer.answer.value == answer and explainer.pictures.buttons.value == 0
    explainer.pictures.buttons.value = 3
    assert explainer.status.value == "" and explainer.answer.value != answer


# The pictures there are without being given any


def test_test_pages_that_mention_a_explained_words_word_are_offered(book, of_dogs):
    explainer = ask(book, of_dogs)
    images = explainer.pictures.images
    assert images.split == "test" and all("dog" in " ".join(references) for references in images.references[:5])
    assert len(images) < 1600 and explainer.pictures.buttons.value == 0


def test_without_test_pictures_one_is_to_be_uploaded(llava, bank, images):
    explainer = ask(llava, bank)  # learned from pictures in memory
    assert "Upload a picture to begin." in explainer.status.value and explainer.answer.value == ""
    assert not is_shown(explainer.pictures) and not is_shown(explainer.pictures.more)
    upload(explainer, as_png(images.picture(1)))
    assert "<mark>grey</mark>" in explainer.answer.value and explainer.status.value == ""


def test_test_pictures_that_have_moved_are_said_to(llava, bank, tmp_path):
    moved = bank.provenance["data"] | {"source": f"folder:{tmp_path / 'gone'}"}
    explainer = ask(llava, replace(bank, provenance=bank.provenance | {"data": moved}))
    assert "The test pictures cannot be shown: there is no folder" in explainer.status.value


# An upload


def test_an_uploaded_picture_is_explained(explainer, images, runs):
    upload(explainer, as_png(images.picture(3)))
    assert runs["explain_picture"] == 1 and explainer.pictures.buttons.value is None
    np.testing.assert_array_equal(np.asarray(explainer.current.picture), np.asarray(images.picture(3)))
    explainer.pictures.buttons.value = 0  # which was chosen before
    assert runs["explain_picture"] == 2


def test_what_is_no_picture_is_refused_and_nothing_lost(explainer, runs):
    answer = explainer.answer.value
    for content, sentence in ((b"", "is empty"), (b"hello", "is not a picture")):
        upload(explainer, content, f"{ATTACK}.png")
        assert sentence in explainer.status.value and "&lt;img" in explainer.status.value
        assert ATTACK not in explainer.status.value
        assert explainer.answer.value == answer and explainer.pictures.buttons.value == 0
        assert explainer.upload.value == ()
    assert runs["explain_picture"] == 0


def test_the_same_file_can_be_given_twice(explainer, images, runs):
    content = as_png(images.picture(1))
    for run in (1, 3):
        upload(explainer, content)
        assert runs["explain_picture"] == run and len(explainer.upload.value) == 1  # the button counts it
        explainer.pictures.buttons.value = 0
        assert explainer.upload.value == ()


# Several banks


def test_the_bank_whose_token_is_written_explains(llava, bank, silent, images):
    explainer = ask(llava, [silent, bank], images)
    assert explainer.bank.value == 1 and not is_shown(explainer.bank)
    assert "<mark>grey</mark>" in explainer.answer.value


def test_one_of_several_banks_is_chosen_without_a_run(llava, bank, images, runs):
    other = replace(bank, names={0: "first", 1: "second", 2: "third"})
    explainer = ask(llava, [bank, other], images)
    assert is_shown(explainer.bank) and [number for _, number in explainer.bank.options] == [0, 1]
    first = explainer.answer.value
    explainer.bank.value = 1
    assert runs["explain_picture"] == 1 and explainer.answer.value != first
    assert any(name in explainer.concept.label for name in other.names.values())
    explainer.pictures.buttons.value = 1
    assert explainer.bank.value == 1  # as chosen, for the next picture too


def test_a_caption_that_no_bank_covers_is_said_plainly(llava, silent, images):
    explainer = ask(llava, [silent, silent], images)
    sentence = "The model did not write zebra about this picture, so there is no state to explain."
    assert sentence in explainer.answer.value and explainer.current.captions[0] in explainer.answer.value
    assert not any(map(is_shown, (explainer.bank, explainer.children[5])))
    assert is_shown(explainer.children[2]) and explainer.upload in explainer.children[2].children
    explainer.pictures.buttons.value = 1  # and on it goes
    assert sentence in explainer.answer.value


# Looking closer


def test_a_patch_map_is_made_when_asked_for(explainer, runs):
    plain = explainer.answer.value
    explainer.way.value = "projection"
    assert "by projection" in explainer.answer.value and runs["patch_map"] == 1
    explainer.way.value = "gradient"
    assert "by gradient times input" in explainer.answer.value and runs["patch_map"] == 2
    explainer.way.value = "projection"
    assert runs == {"explain_picture": 0, "patch_map": 2, "next_words": 0}  # the first is kept
    explainer.way.value = ""
    assert explainer.answer.value == plain


def test_the_map_is_of_the_chosen_concept(explainer):
    explainer.current.explanations[0].activations[:] = 3, 2, 1
    explainer._look()
    assert [concept for _, concept in explainer.concept.options] == [0, 1, 2]
    explainer.concept.value = 2
    title = explainer.banks[0].title(2)
    assert explainer.way.value == "projection" and f"Where: {title}" in explainer.answer.value


def test_words_that_may_follow_are_shown_when_asked_for(explainer, llava, runs):
    expected = next_words(llava, explainer.current.explanations[0])
    explainer.following.value = True
    assert all(f"<span>{escape(word)}</span>" in explainer.answer.value for word, _ in expected)
    explainer.pictures.buttons.value = 1
    assert runs["next_words"] == 2 and "What may follow" in explainer.answer.value
    explainer.following.value = False
    assert "What may follow" not in explainer.answer.value


def test_a_map_that_cannot_be_made_is_said_and_switched_off(explainer, monkeypatch):
    answer = explainer.answer.value

    def refuse(*_):
        raise ValueError("there is no patch map for this model")

    monkeypatch.setattr(asking, "patch_map", refuse)
    explainer.way.value = "gradient"
    assert "There is no patch map for this model." in explainer.status.value
    assert explainer.way.value == "" and explainer.answer.value == answer


# Switches of the picture book


def test_a_switch_draws_the_page_anew_and_bars_move(book, of_dogs, runs):
    explainer = ask(book, of_dogs)
    dropdowns, number = explainer.switches.dropdowns, int(explainer.pictures.images.ids[0])
    was = page(number).factors
    assert is_shown(explainer.switches) and {name: widget.value for name, widget in dropdowns.items()} == {
        name: getattr(was, name) for name in dropdowns
    }
    before = explainer.current.explanations[0]
    place = next(place for place in ("snow", "street") if place != was.place)
    runs["explain_picture"] = 0
    dropdowns["place"].value = place
    expected = explain(book, of_dogs, page(number).with_(place=place).picture)
    np.testing.assert_allclose(explainer.current.explanations[0].activations, expected.activations, rtol=1e-4)
    assert runs == {"explain_picture": 1, "patch_map": 0, "next_words": 0}
    assert not np.allclose(before.relative, expected.relative, atol=0.02)
    assert explainer.answer.value.count("cox-bar-before") >= 1
    assert f"was {before.relative[expected.top(1)[0]]:.2f}" in explainer.answer.value
    explainer.pictures.buttons.value = 1
    assert "cox-bar-before" not in explainer.answer.value


def test_switches_are_those_of_the_pages_kind(book, of_dogs):
    images = load_images("picturebook", "test")
    explainer = ask(book, of_dogs, images.with_ids([str(2_000_000 + n) for n in range(8)]))  # one of each kind
    for row, kind in enumerate(("dog", "cat", "bird", "horse", "bus", "train", "car", "boat")):
        explainer.pictures.buttons.value = row
        offered = explainer.switches.dropdowns
        assert offered["colour"]._options_values == allowed_values(kind)["colour"]
        assert (f"another {kind}", "friend") in offered["companion"].options
    explainer.switches.dropdowns["colour"].value = "green"
    assert "The model did not write dog about this picture" in explainer.answer.value
    assert explainer.switches.page.factors.colour == "green"


def test_an_upload_has_no_switches_and_its_remark_is_shown(book, of_dogs, recwarn):
    explainer = ask(book, of_dogs)
    upload(explainer, as_png(noise(3)))
    assert not is_shown(explainer.switches) and "unlike a page of the picture book" in explainer.answer.value
    assert not recwarn.list
    explainer.pictures.buttons.value = 1
    assert is_shown(explainer.switches) and "unlike a page" not in explainer.answer.value


# Handles


def test_a_slider_writes_the_caption_anew_and_reset_takes_it_away(explainer, runs):
    concept = next(iter(explainer.handles.sliders))
    answer, slider = explainer.answer.value, explainer.handles.sliders[concept]
    assert list(explainer.handles.sliders) == explainer.current.explanations[0].top(5)
    slider.value = 0.0
    assert "1.00 → 0.00" in explainer.rewritten.value and ">steered</span>" in explainer.rewritten.value
    assert explainer.answer.value == answer and runs["explain_picture"] == 0
    explainer.handles.reset.click()
    assert explainer.rewritten.value == "" and explainer.handles.values == {}
    explainer.handles.sliders[concept].value = 0.0
    explainer.pictures.buttons.value = 1  # another picture has its own
    assert explainer.rewritten.value == "" and explainer.handles.values == {}


def test_a_page_of_the_book_says_what_is_false_now_and_an_upload_does_not(book, of_dogs, monkeypatch):
    monkeypatch.setattr(asking, "caption_with", lambda *_: "a purple cat on the moon")
    explainer = ask(book, of_dogs)
    for expected, act in ((True, lambda: None), (False, lambda: upload(explainer, as_png(page(1).picture)))):
        act()
        if explainer.handles.sliders:
            next(iter(explainer.handles.sliders.values())).value = 0.0
            assert ("False of this page" in explainer.rewritten.value) == expected


def test_what_cannot_be_written_is_said(explainer, monkeypatch):
    def refuse(*_):
        raise ValueError("no such state")

    monkeypatch.setattr(asking, "caption_with", refuse)
    answer = explainer.answer.value
    next(iter(explainer.handles.sliders.values())).value = 0.0
    assert "No such state." in explainer.status.value and explainer.answer.value == answer


def test_what_is_shown_is_written_as_a_page(explainer, tmp_path):
    next(iter(explainer.handles.sliders.values())).value = 0.0
    text = explainer.to_html(tmp_path / "ask.html").read_text()
    assert explainer.answer.value in text and explainer.rewritten.value in text and "<script" not in text


# Conduct


def test_it_says_that_it_is_busy_while_the_model_runs(explainer, monkeypatch):
    seen = []
    real = asking.explain_picture
    monkeypatch.setattr(asking, "explain_picture", lambda *given: seen.append(explainer.status.value) or real(*given))
    explainer.pictures.buttons.value = 1
    assert len(seen) == 1 and "Reading the picture" in seen[0] and explainer.status.value == ""


def test_a_fault_of_ours_is_not_hidden(explainer, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(asking, "explain_picture", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        explainer.pictures.buttons.value = 1
    assert explainer.status.value == ""
    monkeypatch.undo()
    explainer.pictures.buttons.value = 2  # and it still works
    assert explainer.current.captions[0] in explainer.answer.value.replace("<mark>", "").replace("</mark>", "")


def test_two_of_them_have_nothing_in_common(llava, bank, images):
    widget, other = ask(llava, bank, images), ask(llava, bank, images[[3, 2]])
    answer = other.answer.value
    widget.pictures.buttons.value = 2
    widget.following.value = True
    assert other.answer.value == answer and other.pictures.buttons.value == 0
    scopes = [set(explainer.pictures._dom_classes) for explainer in (widget, other)]
    assert len(scopes[0] & scopes[1]) == 1 and len(scopes[0] | scopes[1]) == 3


def test_without_anything_to_steer_by_there_is_no_switch(explainer):
    assert not is_shown(explainer.steering) and not explainer.steering.on


@pytest.fixture(params=["direction", "network"])
def steering(request, llava, bank, images):
    """Something that changes what the model says."""
    if request.param == "direction":
        return Direction(torch.ones(llava.width), bank.layer, "ones", llava.name, llava.fingerprint)
    vectors = prompt_to_steer(llava, images, bank.prompt, ["grey dog"] * 4, ["cat"] * 4, bank.layer)
    return learn_to_steer(prompt_states(llava, images, bank.prompt, [bank.layer]), vectors, epochs=50, rate=1e-2)


def test_a_switch_says_it_steered_and_back(llava, bank, images, steering):
    explainer = ask(llava, bank, images, steering, alpha=30.0)
    unsteered = explainer.answer.value
    assert is_shown(explainer.steering) and is_shown(explainer.handles)
    explainer.steering.value = "steered"
    edit = steering if isinstance(steering, Direction) else steering.vectors(llava, images[:1], bank.prompt)
    length = bank.provenance["max_new_tokens"]
    expected = steered(llava, images[:1], edit, 30.0, prompt=bank.prompt, max_new_tokens=length)
    assert explainer.current.captions == (expected[30.0].item(),) != (expected["unsteered"].item(),)
    assert not is_shown(explainer.handles) and explainer.status.value == ""
    explainer.steering.value = "unsteered"
    assert explainer.current.captions == (expected["unsteered"].item(),) and is_shown(explainer.handles)
    explainer.pictures.buttons.value = 1
    explainer.pictures.buttons.value = 0
    assert explainer.answer.value == unsteered


def test_steering_of_another_model_is_refused(llava, bank, images, steering):
    with pytest.raises(ValueError, match="not of"):
        ask(llava, bank, images, replace(steering, fingerprint="another"))


def test_a_banks_model_must_be_given(qwen, llava, bank):
    with pytest.raises(ValueError, match="were learned on"):
        ask(qwen, bank)
    with pytest.raises(ValueError, match="no concept bank"):
        ask(llava, [])
