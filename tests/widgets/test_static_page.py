"""The static page: one file that holds all, asks for nothing, and in which every concept can be found and sorted."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from coxlmm_utils.concepts.grounding import Words, ground_pictures
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.widgets.cards import in_order, make_cards, matching, orders
from coxlmm_utils.widgets.html import Thumbnails
from coxlmm_utils.widgets.static_page import page_html, to_html
from tests.widgets.browsed import NASTY, Read, browsed_bank


@pytest.fixture(scope="module")
def browsed(bank, tmp_path_factory):
    bank = browsed_bank(bank, tmp_path_factory.mktemp("browsed"))
    return replace(bank, measures={"clipscore": np.array([1, 3, 2, np.nan])})


@pytest.fixture(scope="module")
def html(browsed):
    return page_html(browsed)


def test_every_concept_is_an_article_and_its_details_follow_it_closed(browsed, html):
    seen = Read(html)
    details = [attributes for attributes in seen.of_class("cox-opened") if "hidden" in attributes]
    assert [attributes["aria-controls"] for attributes in seen.of("button")] == [each["id"] for each in details]
    assert len(seen.of("article")) == len(details) == 4
    nearest = {attributes["href"] for attributes in seen.of("a")}
    assert nearest == {f"#{attributes['id']}" for attributes in seen.of("article")}
    assert "Concepts behind “dog”" in seen.text and "4 concepts learned from 40 pictures" in seen.text
    assert "More about beach, sand, Sea" in seen.text and "active on none of the 40 pictures" in seen.text


def test_each_concept_says_its_place_in_every_order_and_its_words(browsed, html):
    cards = make_cards(browsed, Thumbnails(browsed))
    articles = Read(html).of("article")
    first = in_order(cards, "most active overall")
    assert [article["data-said"].split("\n")[1:] for article in articles] == [
        [word.lower() for word in card.words] for card in first
    ]
    assert [card.number for card in matching(cards, "onerror")] == [1]
    assert [article["data-said"].split("\n")[0] for article in articles] == [card.name.lower() for card in first]
    ranks = [list(map(int, article["data-ranks"].split())) for article in articles]
    for position, order in enumerate(orders(browsed)):
        placed = sorted(zip(first, ranks), key=lambda pair: pair[1][position])
        assert [card.number for card, _ in placed] == [card.number for card in in_order(cards, order)]
    assert [Read(option).text for option in re.findall("<option>.*?</option>", html)] == orders(browsed)


def test_the_page_allows_its_own_script_and_nothing_else(html):
    [script] = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    [policy] = [meta["content"] for meta in Read(html).of("meta") if "http-equiv" in meta]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert "://" not in html.replace("folder://", "") and "innerHTML" not in script
    assert NASTY not in html


def test_the_page_is_written_whole(browsed, html, tmp_path):
    path = tmp_path / "deep" / "gallery.html"
    assert browsed.to_html(path) == path
    assert path.read_text(encoding="utf-8") == html
    assert [item.name for item in path.parent.iterdir()] == ["gallery.html"]


def test_only_its_own_page_is_replaced(browsed, html, tmp_path):
    path = tmp_path / "thesis.html"
    for held in ("", html, html):
        path.write_text(held, encoding="utf-8")
        assert browsed.to_html(path).read_text(encoding="utf-8") == html
    for held in ("<!doctype html><title>My thesis</title>", f"<html>Mine: {html}"):
        path.write_text(held, encoding="utf-8")
        with pytest.raises(FileExistsError, match="thesis.html is there and is no page of concepts"):
            browsed.to_html(path)
        assert path.read_text(encoding="utf-8") == held
    with pytest.raises(FileExistsError, match="no page of concepts"):
        browsed.to_html(tmp_path)


def test_given_images_are_shown(browsed, monkeypatch, tmp_path):
    gone = {"data": {"source": "folder:/nowhere", "split": "all"}}
    lost = replace(browsed, provenance={**browsed.provenance, **gone})
    assert Read(page_html(lost)).of_class("cox-missing")
    from coxlmm_utils.images.sources import load_images

    images = load_images(browsed.provenance["data"]["source"])
    to_html(lost, tmp_path / "page.html", images)
    assert not Read((tmp_path / "page.html").read_text()).of_class("cox-missing")


def test_twenty_concepts_of_photographs_stay_under_five_megabytes(bank):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (600, 15, 20, 3)).astype(np.uint8)  # as detailed as photographs, and more
    pictures = {f"p{row}": Image.fromarray(item).resize((224, 168)) for row, item in enumerate(coarse)}
    activations = rng.gamma(1, 1, (600, 20)).astype(np.float32)
    other = replace(
        bank,
        dictionary=SemiNMF.from_components(rng.normal(size=(20, 4))),
        activations=activations,
        words=[Words(("word",), ())] * 20,
        ids=list(pictures),
        captions=["a caption"] * 600,
        top=ground_pictures(activations),
        thumbnails=pictures,
    )
    html = page_html(other)
    assert len(Read(html).of("img")) == 20 * (5 + 12 + 7 + 5)
    assert 500_000 < len(html) < 5_000_000
