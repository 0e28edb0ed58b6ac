"""The steering widget: both captions of each picture, by alpha and positions, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.picturebook.factors import factors_of
from coxlmm_utils.steering import Direction, steer
from coxlmm_utils.widgets import steering_view
from coxlmm_utils.widgets.steering_view import N_PICTURES, steering
from tests.conftest import in_memory, noise


@pytest.fixture(scope="module")
def direction(llava) -> Direction:
    vector = torch.randn(llava.width, generator=torch.Generator().manual_seed(1)) * 5
    return Direction(vector, 2, "for a test", llava.name, llava.fingerprint)


@pytest.fixture
def images():
    return in_memory([noise(seed) for seed in range(3)], ())


@pytest.fixture
def view(llava, direction, images):
    return steering(llava, direction, images)


def captions(lmm, pictures) -> list[str]:
    return [generated.caption for generated in generate_captions(lmm, pictures)]


def plain(html: str) -> str:
    for tag in ("<mark>", "</mark>", "<del>", "</del>"):
        html = html.replace(tag, "")
    return html


def test_each_picture_has_both_captions(view, llava, direction, images):
    pictures = [images.picture(row) for row in range(3)]
    unsteered = captions(llava, pictures)
    for alpha, positions in ((1.0, "generated"), (4.0, "generated"), (4.0, "all")):
        view.alpha.value, view.positions.value = alpha, positions
        with steer(llava, direction, alpha, positions):
            steered = captions(llava, pictures)
        assert all(f"“{caption}”" in plain(view.answer.value) for caption in (*unsteered, *steered))
    assert view.status.value == "" and "positions: all" in view.answer.value


def test_alpha_0_changes_nothing_and_a_change_is_one_run(view, monkeypatch):
    runs = []
    real = steering_view.generate_captions
    monkeypatch.setattr(steering_view, "generate_captions", lambda *given: runs.append(given) or real(*given))
    view.alpha.value = 0
    assert len(runs) == 1 and "0 of 3 captions change" in view.answer.value and "<mark>" not in view.answer.value


def test_pages_of_the_book_are_shown_where_none_are_given_and_say_what_is_false(monkeypatch):
    book = load_lmm("picturebook", device="cpu")
    strong = Direction(torch.randn(book.width) * 50, 4, "noise", book.name, book.fingerprint)
    view = steering(book, strong)
    assert len(view.pictures) == N_PICTURES == view.answer.value.count("cox-steered-picture")
    monkeypatch.setattr(view, "_captions", lambda: ["a dog"] * N_PICTURES)
    view.alpha.value = 2.0
    kinds = [factors_of(int(id)).kind for id in load_images("picturebook", "test").ids[:N_PICTURES]]
    assert len(set(kinds)) > 1
    for kind in set(kinds):
        assert (f"kind dog (it shows {kind})" in view.answer.value) == (kind != "dog")


def test_what_cannot_be_steered_is_refused(llava, qwen, direction, images):
    with pytest.raises(ValueError, match="the direction is of"):
        steering(qwen, direction, images)
    with pytest.raises(ValueError, match="no picture"):
        steering(llava, direction, images[[]])

    def gone(id: str):
        raise FileNotFoundError(f"{id} is gone")

    with pytest.raises(ValueError, match="no picture.*gone"):
        steering(llava, direction, replace(images, open=gone))


def test_what_goes_wrong_is_said_and_nothing_is_lost(view, monkeypatch):
    shown = view.answer.value

    def fail(*_):
        raise ValueError("there is <no> such layer")

    monkeypatch.setattr(steering_view, "steer", fail)
    view.alpha.value = 2.0
    assert "There is &lt;no&gt; such layer." in view.status.value and view.answer.value == shown


def test_it_is_written_as_a_page_and_nothing_else_is_replaced(view, tmp_path):
    path = view.to_html(tmp_path / "steered.html")
    text = path.read_text()
    assert text.startswith("<!doctype html>") and "<script" not in text and view.answer.value in text
    view.to_html(path)
    (tmp_path / "notes.html").write_text("my notes")
    with pytest.raises(FileExistsError, match="is no page of"):
        view.to_html(tmp_path / "notes.html")
