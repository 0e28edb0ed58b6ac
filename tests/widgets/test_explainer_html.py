"""Views of one explained picture: what they show, and that text of any origin stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.explanation.concept_maps import PatchMap
from coxlmm_utils.explanation.explain import Explanation
from coxlmm_utils.widgets.caption_and_explain import PictureExplanation
from coxlmm_utils.widgets.explainer_html import (
    answer_page,
    bars,
    marked,
    notice,
    percent,
    sentence,
    shown_concepts,
    strip_style,
    unexplained_page,
)
from coxlmm_utils.widgets.html import Thumb, Thumbnails

ATTACK = "<img src=x onerror=alert(1)>\"'</style><script>"
PICTURE = Image.new("RGB", (60, 40), "navy")


class Seen(HTMLParser):
    """The tags with their attributes, and the text, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def widths(self, kind: str) -> list[float]:
        """How long bars are, in percent."""
        styles = [attrs["style"] for _, attrs in self.tags if attrs.get("class") == kind]
        return [float(re.fullmatch(r"width:([\d.]+)%", style)[1]) for style in styles]

    def harmless(self) -> bool:
        """Whether nothing in it can run, or comes from elsewhere."""
        return all(
            tag not in ("script", "style")
            and not any(name.startswith("on") for name in attrs)
            and attrs.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
            for tag, attrs in self.tags
        )


@pytest.fixture
def bank(bank):
    """Three concepts with known words, each active on every picture."""
    kept = (("snow", "winter", "hill", "cold", "white", "sixth"), ("grass", "lawn", "field"), ())
    words = [Words(words, ()) for words in kept]
    return replace(bank, words=words, names={1: "meadows"}, activations=bank.activations + 1)


def explained(bank, *activations: float, caption: str = "a grey day, grey") -> Explanation:
    return Explanation(bank, PICTURE, caption, [4, 5], caption.split(), 1, np.array(activations))


def shown(*given, **options) -> Seen:
    return Seen(answer_page(given[0], Thumbnails(given[0].bank), *given[1:], **options))


# Bars


def test_bars_are_those_of_the_papers_figure(bank):
    first, second = bars(explained(bank, 0.0, 3.0, 1.5), Thumbnails(bank))
    assert (first.concept, first.value, first.before) == (1, 1, None)
    assert (second.concept, second.value) == (2, 0.5)


def test_words_beside_a_title_are_those_that_it_has_not(bank):
    snow, meadows, none = bars(explained(bank, 3.0, 2.0, 1.0), Thumbnails(bank))
    assert (snow.title, snow.words) == ("snow, winter, hill", ("cold", "white"))
    assert (meadows.title, meadows.words) == ("meadows", ("grass", "lawn", "field"))
    assert (none.title, none.words) == ("concept 2", ("no words left by the filter",))


def test_a_bar_has_the_pictures_that_activate_its_concept_most(bank):
    top, activations = np.array([[3, 1, 0, 2, 4], [1, 3, 0, 2, 4], [0, 1, 2, 3, 4]]), bank.activations.copy()
    activations[[1, 0], 0] = 0
    activations[[3, 2, 4], 0] = 1
    changed = replace(bank, top=top, activations=activations)
    [bar] = bars(explained(changed, 1.0, 0.0, 0.0), Thumbnails(changed))
    assert [shown.thumb.id for shown in bar.pictures] == [changed.ids[row] for row in (3, 2, 4)]


def test_what_was_active_before_has_a_bar_too(bank):
    now, before = explained(bank, 2.0, 0.0, 1.0), explained(bank, 1.0, 4.0, 0.0)
    assert shown_concepts(now, before) == [0, 2, 1] and shown_concepts(now) == [0, 2]
    assert [(bar.value, bar.before) for bar in bars(now, Thumbnails(bank), before)] == [(1, 0.25), (0.5, 0), (0, 1)]


# The answer


def test_an_answer_shows_caption_bars_and_pictures(bank):
    seen = shown(explained(bank, 0.0, 3.0, 1.5))
    assert "“a grey day, grey”" in "".join(seen.texts) and seen.tags.count(("mark", {})) == 1
    assert "What the model sees behind “grey”" in seen.text
    assert seen.widths("cox-bar-now") == [100, 50] and seen.widths("cox-bar-before") == []
    assert "meadows" in seen.text and "snow" not in seen.text and "was" not in seen.text.split()
    assert len([1 for tag, attrs in seen.tags if tag == "img"]) == 1 + 2 * 4
    assert seen.harmless()


def test_bars_before_the_change_are_thin_ones(bank):
    seen = shown(explained(bank, 2.0, 0.0, 1.0), explained(bank, 1.0, 4.0, 0.0))
    assert seen.widths("cox-bar-now") == [100, 50, 0]
    assert seen.widths("cox-bar-before") == [25, 0, 100]
    assert "0.50 was 0.00" in seen.text and "Thin bars: before the last change." in seen.text


def test_a_negative_activation_has_a_bar_of_its_own_colour(bank):
    activations = bank.activations.copy()
    activations[:2, 0] = [-1, -2]
    signed = replace(bank, negative_words=[Words(("night",), ())] * 3, activations=activations)
    seen = shown(explained(signed, -2.0, 1.0, 0.0))
    assert seen.widths("cox-bar-now") == [100, 50] and "-1.00" in seen.text
    assert sum(attrs.get("class") == "cox-bar cox-bar-negative" for _, attrs in seen.tags) == 1
    [bar, _] = bars(explained(signed, -2.0, 1.0, 0.0), Thumbnails(signed))
    assert bar.title == "night" and [shown.thumb.id for shown in bar.pictures] == [bank.ids[1], bank.ids[0]]


def test_an_answer_says_how_much_of_the_activation_its_bars_hold(bank):
    assert "2 of 2 active concepts hold 100% of the activation." in shown(explained(bank, 0.0, 3.0, 1.5)).text


def test_where_no_concept_is_active_that_is_said(bank):
    seen = shown(explained(bank, 0.0, 0.0, 0.0))
    assert "No concept is active behind “grey”." in seen.text and not seen.widths("cox-bar-now")


def test_a_patch_map_comes_with_its_concept_and_what_it_means(bank):
    values = np.zeros((2, 3), dtype=np.float32)
    seen = shown(explained(bank, 0.0, 3.0, 1.5), map=PatchMap(1, "gradient", values, PICTURE, (0, 0, 60, 40)))
    assert "Where: meadows , by gradient times input." in seen.text and "speaks against it" in seen.text
    assert "no map finds it reliably" in seen.text
    values[0, 0] = -1
    signed = shown(explained(bank, 1.0, 0.0, 0.0), map=PatchMap(0, "projection", values, PICTURE, (0, 0, 60, 40)))
    assert "by projection." in signed.text and "Blue: its opposite." in signed.text
    positive = PatchMap(0, "projection", -values, PICTURE, (0, 0, 60, 40))
    assert "Blue" not in shown(explained(bank, 1.0, 0.0, 0.0), map=positive).text


def test_words_that_may_follow_have_their_probabilities(bank):
    seen = shown(explained(bank, 1.0, 0.0, 0.0, caption="Grey sky"), following=[("sky", 0.85), ("-ish", 0.004)])
    assert "What may follow “Grey”" in seen.text and "85%" in seen.text and "under 1%" in seen.text
    assert seen.widths("cox-bar-now")[:2] == [85, 0.4]


def test_a_picture_that_cannot_be_shown_is_a_placeholder(bank, monkeypatch):
    monkeypatch.setattr(Thumbnails, "of", lambda self, row: Thumb("p", None, f"gone: {ATTACK}"))
    seen = shown(explained(bank, 1.0, 0.0, 0.0))
    missing = [attrs["aria-label"] for _, attrs in seen.tags if attrs.get("class") == "cox-missing"]
    assert missing == [f"gone: {ATTACK}"] * 4 and seen.harmless()


# Text stays text


def test_text_of_any_origin_is_escaped(bank):
    attacked = replace(
        bank,
        words=[Words((ATTACK, "b", "c", ATTACK + "d"), ())] * 3,
        names={0: ATTACK},
        provenance=bank.provenance | {"token": ["onerror"]},
    )
    values = np.ones((2, 3), dtype=np.float32)
    seen = shown(
        explained(attacked, 2.0, 1.0, 0.5, caption=ATTACK),
        remarks=[ATTACK],
        map=PatchMap(0, "projection", values, PICTURE, (0, 0, 60, 40)),
        following=[(ATTACK, 0.5)],
    )
    assert seen.harmless() and ("mark", {}) in seen.tags
    assert seen.text.count(ATTACK) == 9  # three titles, other words of each, remark, map, word that follows
    reading = PictureExplanation(PICTURE, (ATTACK, "b"), {}, (ATTACK,))
    silent = Seen(unexplained_page(reading, [ATTACK]))
    assert silent.harmless() and silent.text.count(ATTACK) == 3
    assert Seen(notice("problem", ATTACK)).text == f"{ATTACK}."


# Where nothing is explained


def test_an_unexplained_words_caption_is_said_plainly():
    seen = Seen(unexplained_page(PictureExplanation(PICTURE, ("a red bus",), {}, ("this is odd",)), ["dog", "cat"]))
    assert "The model did not write dog or cat about this picture, so there is no state to explain." in seen.text
    assert "It says: “a red bus”" in seen.text and "This is odd." in seen.text


# Parts


def test_a_caption_is_cut_around_the_first_mention():
    assert marked("A Dog, a dog", ("dog", "dogs")) == ("A ", "Dog", ", a dog")
    assert marked("a doghouse", ("dog",)) == ("a doghouse", "", "")


def test_a_button_without_a_picture_keeps_its_text():
    style = strip_style("one", ["data:image/jpeg;base64,AA+/=", None, "data:image/jpeg;base64,BB"])
    assert re.findall(r"^\.one .*nth-child\((\d)\).*base64,(\S+)\"\)", style, re.MULTILINE) == [
        ("1", "AA+/="),
        ("3", "BB"),
    ]


def test_sentences_and_percentages_are_for_people():
    assert sentence("it failed") == "It failed." and sentence("Why? ") == "Why?" and sentence("") == ""
    assert [percent(p) for p in (1, 0.2857, 0.01, 0.009)] == ["100%", "29%", "1%", "under 1%"]
