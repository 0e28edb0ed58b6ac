"""Figures: what they show, that nothing is cut off or overlaps, and that text is literal."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from coxlmm_utils import figures
from coxlmm_utils.concepts.grounding import Words, ground_pictures
from coxlmm_utils.dictionaries.baselines import PCA, KMeans
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.explanation.explain import Explanation
from coxlmm_utils.picturebook.page import page
from coxlmm_utils.plots import new_figure, save_figure

N, K = 20, 16
WORDS = [
    ("brown", "beach", "sand", "shore", "waves"),
    ("$100", "a_b", "<unk>", "x^2$", r"\frac"),
    (),
    ("international", "counterrevolutionary", "electroencephalography", "deinstitutionalisation"),
    ("W" * 90,),
]
LONG = "a brown dog with $5 and $x$ in <unk> " + "next to a small white house and a river " * 8
SIZES = [(224, 168), (168, 224), (224, 150), (149, 224), (224, 224)]  # as thumbnails of photographs


@pytest.fixture(scope="module")
def odd(bank):
    """A bank of odd words and pictures; nothing activates its concept 2."""
    activations = np.random.default_rng(0).gamma(1, 1, (N, K)).astype(np.float32)
    activations[:, 2] = 0
    ids = [f"p{row}" for row in range(N)]
    return replace(
        bank,
        dictionary=SemiNMF.from_components(np.eye(K)),
        activations=activations,
        words=[Words(WORDS[k % len(WORDS)], ()) for k in range(K)],
        negative_words=[Words(WORDS[-k % len(WORDS)], ()) for k in range(K)],
        ids=ids,
        top=ground_pictures(activations),
        thumbnails={id: Image.linear_gradient("L").resize(SIZES[row % 5]) for row, id in enumerate(ids)},
    )


def explained(bank, *active: float, caption: str = "a brown dog", size=(640, 480)) -> Explanation:
    activations = np.zeros(len(bank))
    activations[: len(active)] = active
    bank = replace(bank, provenance={**bank.provenance, "token": ["dog", "dogs"]})
    return Explanation(bank, Image.linear_gradient("L").resize(size), caption, [], [], 0, activations)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def check_layout(figure: Figure) -> None:
    """Every text and picture is inside the figure, and none lies on another."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    shown = [text.get_window_extent(renderer) for text in figure.texts]
    shown += [axes.images[0].get_window_extent(renderer) for axes in figure.axes]
    for box in shown:
        assert 0 <= box.x0 and box.x1 <= figure.bbox.width and 0 <= box.y0 and box.y1 <= figure.bbox.height
    for single, other in combinations(shown, 2):
        common = Bbox.intersection(single, other)
        assert common is None or min(common.width, common.height) < 1  # they may touch


def test_a_gallery_shows_all_concepts_and_pictures(odd):
    figure = odd.gallery()
    assert isinstance(figure, Figure)
    check_layout(figure)
    assert len(figure.axes) == 5 * (K - 1)
    assert "“grey”: 16 concepts" in texts(figure)
    assert "layer 2, position that predicts it (the paper's)  ·  20 samples" in texts(figure)
    assert texts(figure).count("no picture activates it") == 1
    by_activation = np.argsort(-odd.activations.sum(0)).tolist()
    assert [int(text) for text in texts(figure) if text.isdigit()] == by_activation


def test_a_gallery_names_a_method_that_is_not_the_papers(odd):
    figure = replace(odd, dictionary=KMeans()).gallery([3])
    check_layout(figure)
    assert "“grey”: 1 of 16 concepts (K-Means)" in texts(figure)


@pytest.fixture
def signed(odd):
    """Of three concepts with activations of both signs, and of others that are never active."""
    activations = np.zeros_like(odd.activations)
    activations[:2, 4:7] = [[1, -3, 2], [-1, -3, -3]]
    top, minus = ground_pictures(activations.clip(min=0)), [Words((f"minus {k}",), ()) for k in range(K)]
    return replace(odd, dictionary=PCA(K), activations=activations, top=top, negative_words=minus)


def test_signed_concepts_have_a_card_for_each_side_in_order_of_magnitude(signed):
    figure = signed.gallery()
    check_layout(figure)
    numbers = [text for text in texts(figure) if text[:-1].isdigit() and text[-1] in "+−"]
    assert numbers[:8] == ["5+", "5−", "6+", "6−", "4+", "4−", "0+", "0−"] and len(numbers) == 2 * K
    assert f"minus {K - 1}" in texts(figure) and any("above zero (+) and below (−)" in text for text in texts(figure))
    assert len(figure.axes) == 6  # a picture each of 4+, 4-, 6+ and 6-, two of 5-
    large = figures.concept(signed, 4)
    check_layout(large)
    assert {"4+", "4−", "minus 4"} <= set(texts(large)) and len(large.axes) == 2


def test_an_explanation_shows_the_side_that_is_active(signed):
    figure = explained(signed, 0, 0, 0, 0, 2, -4).figure()
    check_layout(figure)
    assert {"5−", "4+", "minus 5"} <= set(texts(figure)) and "minus 4" not in texts(figure)
    assert texts(figure).count("minus 5") == 2  # over its bar and on its card
    assert len(figure.axes) == 1 + 1 + 2


def test_an_explanation_says_how_much_of_the_activation_is_shown(odd):
    figure = explained(odd, 5, 4, 0, 1, 1, 1).figure(2)
    assert "bars: activation / largest; 2 of 5 active concepts hold 75% of the activation" in texts(figure)


@pytest.mark.parametrize("concepts", [[3], [4, 1, 2]])
def test_concepts_can_be_chosen(odd, concepts):
    figure = odd.gallery(concepts)
    check_layout(figure)
    assert [int(text) for text in texts(figure) if text.isdigit()] == concepts
    assert f"“grey”: {len(concepts)} of 16 concepts" in texts(figure)


def test_words_are_literal_and_fitted(odd):
    figure = odd.gallery([0, 1, 2, 3, 4], n_words=4)
    assert not any(text.get_parse_math() for text in figure.texts)  # else $ begins a formula
    shown = texts(figure)
    assert {"brown, beach, sand, shore", "$100, a_b, <unk>, x^2$", "no words left by the filter"} <= set(shown)
    assert "international, counterrevolutionary …" in shown or (
        "international, counterrevolutionary, electroencephalography …" in shown  # how many fit depends on the font
    )
    assert any(text.startswith("WWWWWWWWWW") and text.endswith("W …") for text in shown)


def test_one_concept_is_shown_large(odd):
    for number in range(5):
        figure = figures.concept(odd, number)
        check_layout(figure)
        assert str(number) in texts(figure)


@pytest.mark.parametrize("size", [(640, 480), (30, 300)])
@pytest.mark.parametrize("caption", ["dog", LONG])
@pytest.mark.parametrize("active", [(), (1, 4, 2), (5, 4, 3, 2, 1), (-1, 4, -2), (-5, -4)])
def test_an_explanation_shows_caption_bars_and_concepts(odd, size, caption, active):
    figure = explained(odd, *active, caption=caption, size=size).figure(5)
    check_layout(figure)
    shown = texts(figure)
    assert any(caption.replace("dog", "[dog]").strip() == text.replace("\n", " ") for text in shown)
    order = np.argsort(-np.abs(active), kind="stable").tolist()
    titles = [text.get_text() for text in figure.texts if text.get_fontsize() == 10][::2]  # each before its value
    assert len(titles) == len(order)
    for k, title in zip(order, titles):
        name = odd.title(k, active[k])
        assert title == name or title.endswith(" …") and name.startswith(title[:-2])
    values = [f"{active[k] / max(np.abs(active)):.2f}" for k in order]
    assert [text for text in shown if text.lstrip("-")[:2] in ("0.", "1.")] == values
    assert len(figure.axes) == 1 + 4 * sum(k != 2 and active[k] > 0 for k in order)


def test_bars_are_as_long_as_their_values(odd):
    figure = explained(odd, 1, 4).figure()
    bars = [box.get_width() for box in figure.artists if box.get_facecolor() == to_rgba(figures.ACCENT)]
    assert bars[1] / bars[0] == pytest.approx(0.25)


def test_a_negative_bar_has_its_own_colour_and_the_length_of_its_magnitude(odd):
    drawn = explained(odd, 1, -4, -2).figure().artists
    shown = {to_rgba(colour): [] for colour in (figures.ACCENT, figures.NEGATIVE, figures.PANEL)}
    for box in drawn:
        shown[box.get_facecolor()].append(box.get_width())
    negative, [positive] = shown[to_rgba(figures.NEGATIVE)], shown[to_rgba(figures.ACCENT)]
    assert np.array([*negative, positive]) / negative[0] == pytest.approx([1, 0.5, 0.25])


def test_a_name_stands_before_the_words_wherever_a_concept_is_shown(odd):
    named = replace(odd, names={0: "shore", 1: "$x$ & co", 2: "never", 3: "W" * 60})
    gallery = named.gallery([0, 1, 2])
    for figure in (gallery, figures.concept(named, 0)):
        check_layout(figure)
        [name] = [text for text in figure.texts if text.get_text() == "shore"]
        [words] = [text for text in figure.texts if text.get_text().startswith("brown, beach")]
        assert name.get_fontweight() == "bold" and words.get_position()[0] > name.get_position()[0]
    assert {"$x$ & co", "never", "no words left by the filter"} <= set(texts(gallery))
    assert any(text.startswith("WWW") and text.endswith("W …") for text in texts(figures.concept(named, 3)))
    figure = explained(named, 4, 1).figure()
    check_layout(figure)
    assert texts(figure).count("shore") == 2  # over its bar and on its card


def test_a_notebook_shows_a_gallery_of_pages_as_a_small_picture(odd):
    pages = replace(odd, thumbnails={id: page(number).picture for number, id in enumerate(odd.ids)})
    jpeg = b64decode(pages.gallery()._repr_mimebundle_()[0]["image/jpeg"])
    assert jpeg.startswith(b"\xff\xd8") and 100_000 < len(jpeg) < 450_000  # less: the pictures are hidden


# Export


def test_a_figure_is_saved_as_pdf_and_png(tmp_path):
    figure = new_figure(3, 1.5)
    figure.text(0.1, 0.5, "two dogs")
    save_figure(figure, tmp_path / "new" / "fig3.v1")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["fig3.v1.pdf", "fig3.v1.png"]
    assert (tmp_path / "new" / "fig3.v1.pdf").read_bytes().startswith(b"%PDF-")
    saved = Image.open(tmp_path / "new" / "fig3.v1.png")
    assert saved.format == "PNG" and saved.size == (600, 300)  # 200 dots for an inch
    assert np.asarray(saved.convert("L")).min() < 100 < 255 == np.asarray(saved.convert("L")).max()


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one(tmp_path, monkeypatch):
    save_figure(new_figure(1, 1), str(tmp_path / "fig3"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = new_figure(2, 2)
    monkeypatch.setattr(broken, "draw", lambda renderer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_figure(broken, tmp_path / "fig3")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("chosen", [[], [3], [0, -1], [1.5], ["0"]])
def test_concepts_that_there_are_not_are_refused(bank, chosen):
    with pytest.raises(ValueError, match=r"concepts \[.*\] cannot be shown: give some of 0 to 2"):
        figures.gallery(bank, chosen)
    for number in chosen[-1:]:
        with pytest.raises(ValueError, match="cannot be shown"):
            figures.concept(bank, number)
    assert isinstance(figures.gallery(bank, 1), Figure)
