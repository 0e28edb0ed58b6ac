"""Thumbnails: small, made once, and a sentence where there is no picture."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from coxlmm_utils.images.sources import load_images
from coxlmm_utils.widgets.html import Thumbnails, data_uri
from tests.conftest import noise
from tests.widgets.browsed import NASTY, browsed_bank

START = "data:image/jpeg;base64,"


def decoded(uri: str) -> Image.Image:
    assert uri.startswith(START)
    return Image.open(BytesIO(base64.b64decode(uri[len(START) :])))


@pytest.fixture
def browsed(bank, tmp_path):
    return browsed_bank(bank, tmp_path / "pictures")


@pytest.fixture
def elsewhere(browsed):
    """A row whose picture is not in the bank."""
    return next(row for row, id in enumerate(browsed.ids) if id not in browsed.thumbnails)


def test_an_address_holds_a_small_jpeg():
    large = Image.new("RGB", (600, 300), "red")
    small = decoded(data_uri(large))
    assert (small.format, small.size, large.size) == ("JPEG", (144, 72), (600, 300))
    assert decoded(data_uri(large, 50)).size == (50, 25)
    assert decoded(data_uri(Image.new("RGB", (20, 10)))).size == (20, 10)  # never enlarged
    assert decoded(data_uri(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))).getpixel((1, 1)) == (255, 255, 255)


def test_pictures_come_from_the_bank_first_and_are_made_once(browsed, elsewhere, monkeypatch):
    made = []
    monkeypatch.setattr("coxlmm_utils.widgets.html.data_uri", lambda *args: made.append(args) or "uri")
    red = Image.new("RGB", (8, 8), "red")
    kept = next(iter(browsed.thumbnails))
    own = replace(browsed, thumbnails={kept: red})
    thumbnails = Thumbnails(own, side=77)
    for _ in range(2):
        assert thumbnails.of(browsed.ids.index(kept)).uri == "uri"
        assert thumbnails.of(elsewhere).uri == "uri"
    images = load_images(browsed.provenance["data"]["source"])
    assert [picture.tobytes() for picture, _ in made] == [red.tobytes(), images.picture(elsewhere).tobytes()]
    assert {side for _, side in made} == {77}


def test_given_pictures_are_used_before_the_source(browsed, elsewhere):
    images = replace(load_images(browsed.provenance["data"]["source"]), open=lambda id: Image.new("RGB", (9, 5)))
    assert decoded(Thumbnails(browsed, images).of(elsewhere).uri).size == (9, 5)


def test_a_moved_picture_is_named_with_its_path(browsed, elsewhere, tmp_path):
    (tmp_path / "pictures" / browsed.ids[elsewhere]).unlink()
    thumb = Thumbnails(browsed).of(elsewhere)
    assert thumb.uri is None and thumb.id == browsed.ids[elsewhere]
    source = f"folder:{tmp_path / 'pictures'}"
    assert thumb.problem == f"The picture {thumb.id} cannot be shown: it is not among the pictures of {source}"


def test_a_picture_that_goes_later_is_named_with_its_path(browsed, elsewhere, tmp_path):
    images = load_images(browsed.provenance["data"]["source"])
    path = tmp_path / "pictures" / browsed.ids[elsewhere]
    path.unlink()
    assert f"there is no picture file {path}" in Thumbnails(browsed, images).of(elsewhere).problem


def test_a_moved_folder_is_named_and_the_banks_own_pictures_stay(browsed, elsewhere, tmp_path):
    (tmp_path / "pictures").rename(tmp_path / "moved")
    thumbnails = Thumbnails(browsed)
    assert f"there is no folder {tmp_path / 'pictures'}" in thumbnails.of(elsewhere).problem
    assert thumbnails.of(browsed.ids.index(f"{NASTY}.png")).uri and not thumbnails.note
    assert thumbnails.can_look_for(elsewhere)


def test_an_id_that_the_images_lack_is_said(browsed, elsewhere):
    images = load_images(browsed.provenance["data"]["source"], limit=1)
    assert "it is not among the pictures of folder:" in Thumbnails(browsed, images).of(elsewhere).problem


def test_pictures_in_memory_are_looked_for_nowhere(browsed, elsewhere):
    data = {"data": {"source": "", "split": "all"}}
    lost = replace(browsed, provenance={**browsed.provenance, **data})
    thumbnails = Thumbnails(lost)
    assert "give them as `images`" in thumbnails.note
    assert not thumbnails.can_look_for(elsewhere) and thumbnails.note in thumbnails.of(elsewhere).problem
    assert thumbnails.can_look_for(browsed.ids.index(f"{NASTY}.png"))
    given = Thumbnails(lost, replace(load_images(f"folder:{browsed.provenance['data']['source'][7:]}")))
    assert not given.note and given.can_look_for(elsewhere) and given.of(elsewhere).uri


def test_noise_is_a_few_kilobytes():
    assert len(data_uri(noise(0).resize((640, 480)))) < 20_000
