"""Explaining one picture, and many."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.explanation.explain import Explanation, explain, explain_many
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.pictures import as_rgb
from coxlmm_utils.models.captioning import generate_captions, teacher_forced_states
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import in_memory
from tests.tiny_lmms import WORDS, tiny_llava


@pytest.fixture(scope="module")
def named(bank) -> int:
    """The number of a picture whose caption has the token."""
    return int(bank.ids[1][1:])


@pytest.fixture(scope="module")
def unnamed(bank) -> int:
    """The number of a picture whose caption does not have it."""
    return next(row for row in range(24) if f"p{row}" not in bank.ids)


def made(bank, *activations: float) -> Explanation:
    return Explanation(bank, Image.new("RGB", (9, 9)), "all grey", [4, 5], ["all", "grey"], 1, np.array(activations))


# One picture


@pytest.mark.parametrize("position", ["predicts", "own"])
@pytest.mark.parametrize("layer", [2, "norm"])
def test_an_explanation_is_the_projection_of_the_tokens_state(llava, pictures, token, layer, position):
    states = extract(llava, in_memory(pictures, (token,)), token, layer, position, max_new_tokens=6, cache=False)
    bank = ConceptBank.learn(llava, states, SemiNMF(3))
    for row, id in list(enumerate(bank.ids))[:3]:
        explained = explain(llava, bank, pictures[int(id[1:])])
        assert explained.caption == bank.captions[row] == " ".join(explained.tokens)
        assert explained.step == explained.tokens.index(token)
        ids = llava.tokenizer.convert_tokens_to_ids(explained.tokens)
        [forced] = teacher_forced_states(llava, [explained.picture], [ids], [layer])
        state = forced[layer][explained.step + (position == "own")]
        np.testing.assert_allclose(explained.activations, bank.project(state[None])[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(explained.activations, bank.activations[row], rtol=1e-3, atol=1e-3)


def test_the_tokens_are_those_that_were_written(llava, pictures, bank, named):
    [written] = generate_captions(llava, [pictures[named]], max_new_tokens=bank.provenance["max_new_tokens"])
    explained = explain(llava, bank, pictures[named])
    assert explained.ids == written.ids
    assert llava.tokenizer.convert_ids_to_tokens(written.ids) == explained.tokens


def test_relative_activations_are_in_0_1_and_reach_1(llava, pictures, bank, named):
    explained = explain(llava, bank, pictures[named])
    assert explained.relative.min() >= 0 and explained.relative.max() == 1
    np.testing.assert_allclose(made(bank, 2.0, 0.0, 8.0).relative, [0.25, 0, 1])
    assert made(bank, 0.0, 0.0, 0.0).relative.tolist() == [0, 0, 0]


def test_signed_activations_count_by_magnitude_and_keep_their_sign(bank):
    minus = [Words((word,), ()) for word in ("night", "beach", "far")]
    explained = made(replace(bank, negative_words=minus), 2.0, -8.0, -4.0)
    assert explained.relative.tolist() == [0.25, -1, -0.5]
    assert explained.top() == [1, 2, 0] and made(bank, -1.0, 0.0, 1.0).top() == [0, 2]
    assert explained.table(2).relative.tolist() == [-1, -0.5]
    assert explained.table(2).activation.tolist() == [-8, -4]
    assert explained.table().words.tolist() == ["beach", "far", str(bank.words[0])]  # of the side that is active
    assert explained.title(1) == "beach"
    shown = f"-1.00 beach; -0.50 far; 0.25 {bank.words[0]} (3 of 3 active concepts hold 100% of the activation)"
    assert repr(explained) == f"Explanation of 'grey' in 'all grey': {shown}"


def test_how_much_of_the_activation_the_top_concepts_hold(bank):
    explained = made(replace(bank, negative_words=bank.words), 2.0, -5.0, 1.0)
    assert explained.shares.tolist() == [0.25, 0.625, 0.125] and explained.table(2).share.tolist() == [0.625, 0.25]
    assert explained.share_text(2) == "2 of 3 active concepts hold 88% of the activation"
    assert explained.share_text(1) == "1 of 3 active concepts holds 62% of the activation"
    nothing = made(bank, 0.0, 0.0, 0.0)
    assert nothing.shares.tolist() == [0, 0, 0]
    assert nothing.share_text() == "no concept is active"


def test_how_much_of_the_state_concepts_reconstruct(bank):
    dictionary = SemiNMF(3)
    dictionary.components_ = np.eye(3, 4, dtype=np.float32)
    z = np.array([4, 0, 2, np.sqrt(5)], np.float32)  # of squared norm 25; the last is no concept's
    others = np.array([[5, 0, 0], [3, 0, 2]], np.float32)  # whose mean is (4, 0, 1)
    explained = replace(made(replace(bank, dictionary=dictionary, activations=others), 4.0, 0.0, 2.0), state=z)
    for concepts, part in [([0], 0.64), ([2], 0.16), ([1], 0), ([], 0), (None, 0.8)]:
        assert explained.reconstructed(concepts) == pytest.approx(part)
    assert explained.mean_alone == pytest.approx(1 - (1 + 5) / 25)
    text = "1 of 2 active concepts holds 67% of the activation and reconstructs 64% of the state "
    assert explained.share_text(1) == text + "(all concepts 80%, the mean state alone 76%)" and np.isnan(
        replace(explained, state=0 * z).reconstructed()
    )
    assert np.isnan(replace(explained, state=None).reconstructed())
    dictionary.mean_ = np.array([0, 0, 0, 3], np.float32)  # is added, and counts as reconstructed
    assert explained.reconstructed([0]) == pytest.approx(1 - (4 + (np.sqrt(5) - 3) ** 2) / 25)


def test_an_explanation_reconstructs_as_its_bank_does(llava, pictures, states, bank, named):
    explained = explain(llava, bank, pictures[named])
    z, V = states.Z[1].double().numpy(), bank.activations[1]
    error = np.linalg.norm(z - V @ bank.concepts.astype(float)) / np.linalg.norm(z)
    assert explained.reconstructed() == pytest.approx(1 - error**2, abs=1e-3)
    mean = states.Z.double().numpy().mean(axis=0)
    assert explained.mean_alone == pytest.approx(1 - np.square(z - mean).sum() / np.square(z).sum(), abs=0.05)


def test_a_bank_of_signed_activations_explains(llava, pictures, states, named):
    bank = ConceptBank.learn(llava, states, PCA(3))
    explained = explain(llava, bank, pictures[named])
    np.testing.assert_allclose(explained.activations, bank.activations[1], rtol=1e-3, atol=1e-3)
    assert explained.top() == np.argsort(-np.abs(bank.activations[1])).tolist()
    assert explained.activations.min() < 0 and np.abs(explained.relative).max() == 1


def test_top_concepts_are_the_active_ones_in_order(bank):
    assert made(bank, 1.0, 0.0, 8.0).top() == [2, 0]
    assert made(bank, 1.0, 3.0, 3.0).top(2) == [1, 2]
    assert made(bank, 0.0, 0.0, 0.0).top() == []


def test_the_table_of_an_explanation(bank):
    table = made(bank, 2.0, 0.0, 8.0).table()
    assert table.to_dict("list") == {
        "concept": [2, 0],
        "activation": [8.0, 2.0],
        "relative": [1.0, 0.25],
        "share": [0.8, 0.2],
        "words": [str(bank.words[2]), str(bank.words[0])],
    }
    assert made(bank, 0.0, 0.0, 0.0).table().empty
    assert repr(made(bank, 2.0, 0.0, 8.0)) == (
        f"Explanation of 'grey' in 'all grey': 1.00 {bank.words[2]}; 0.25 {bank.words[0]} "
        "(2 of 2 active concepts hold 100% of the activation)"
    )
    assert isinstance(made(bank, 2.0, 0.0, 8.0).figure(), Figure)


def test_a_picture_may_be_an_image_an_array_or_a_path(llava, pictures, bank, named, tmp_path):
    path = tmp_path / "picture.png"
    pictures[named].save(path)
    expected = explain(llava, bank, pictures[named]).activations
    for given in (np.asarray(pictures[named]), path, str(path), pictures[named].convert("RGBA")):
        assert np.array_equal(explain(llava, bank, given).activations, expected)


@pytest.fixture(scope="module")
def anything(bank) -> ConceptBank:
    """A bank that explains whatever word comes first."""
    return replace(bank, provenance={**bank.provenance, "token": WORDS})


@pytest.mark.parametrize("mode", ["L", "LA", "CMYK", "RGBA", "P", "1", "I;16"])
def test_pictures_of_any_mode_are_read_as_rgb(llava, anything, pictures, mode):
    image = pictures[3].convert("L" if mode in ("LA", "I;16") else "RGB").convert(mode)
    explained = explain(llava, anything, image)
    assert explained.picture.mode == "RGB" and explained.step == 0
    assert np.array_equal(explained.activations, explain(llava, anything, as_rgb(image)).activations)


def test_a_transparent_picture_lies_on_white(llava, anything, pictures):
    image = pictures[3].convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    ours, second = explain(llava, anything, image), explain(llava, anything, white)
    assert ours.caption == second.caption and np.array_equal(ours.activations, second.activations)


def test_a_caption_without_the_token_is_shown(llava, pictures, bank, unnamed):
    with pytest.raises(ValueError, match=r"the caption is '\w+ .*': it has no 'grey'"):
        explain(llava, bank, pictures[unnamed])


def test_other_models_and_unreadable_pictures_are_refused(llava, pictures, bank, tmp_path):
    other = load_lmm(tiny_llava(tmp_path / "other", seed=1), device="cpu")
    for run in (
        lambda: explain(other, bank, pictures[0]),
        lambda: explain_many(other, bank, in_memory([], ())),
    ):
        with pytest.raises(ValueError, match=f"'{llava.name}' .* '{other.name}'"):
            run()
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        explain(llava, bank, tmp_path / "nowhere.png")
    with pytest.raises(TypeError, match="a picture is"):
        explain(llava, bank, None)


def test_the_model_may_warn_of_a_strange_picture(llava, pictures, bank, named, monkeypatch):
    seen = []
    ood = SimpleNamespace(warn_if_out_of_domain=lambda lmm, pictures: seen.append((lmm, pictures[0].size)))
    monkeypatch.setattr(llava, "ood", ood)
    explain(llava, bank, pictures[named])
    assert seen == [(llava, pictures[named].size)]


# Many pictures


@pytest.fixture(params=[2, 3], ids=lambda size: f"batches of {size}")
def table(request, llava, pictures, bank, named, unnamed):
    def open(id: str) -> Image.Image:
        if id == "broken":
            raise OSError("broken is empty")
        return pictures[int(id)]

    images = CaptionedImages("", "all", (str(named), "broken", str(unnamed)), [()] * 3, open)
    return explain_many(llava, bank, images, n_concepts=4, batch_size=request.param)


def test_many_explanations_are_the_single_ones(llava, pictures, bank, named, table):
    explained = explain(llava, bank, pictures[named])
    row, expected = table.iloc[0], explained.table(4)
    assert (row.id, row.caption, row.problem) == (str(named), explained.caption, "")
    for rank, (_, concept) in enumerate(expected.iterrows(), start=1):
        assert row[f"concept_{rank}"] == concept.concept and row[f"words_{rank}"] == concept.words
        assert row[f"activation_{rank}"] == pytest.approx(concept.activation, rel=1e-3)
        assert row[f"relative_{rank}"] == pytest.approx(concept.relative, rel=1e-3)
    assert row[f"concept_{len(expected) + 1}" :].isna().all()


def test_rows_without_an_explanation_say_why(table, unnamed):
    broken, other = table.iloc[1], table.iloc[2]
    assert (broken.id, broken.problem) == ("broken", "broken is empty") and pd.isna(broken.caption)
    assert (other.id, other.problem) == (str(unnamed), "no 'grey' in the caption") and other.caption
    assert table.loc[1:, "concept_1":].isna().all(axis=None)


def test_the_table_survives_csv(table, tmp_path):
    table.to_csv(tmp_path / "table.csv", index=False)
    types = {f"concept_{rank}": "Int64" for rank in range(1, 5)} | {"id": str, "problem": str}
    loaded = pd.read_csv(tmp_path / "table.csv", dtype=types, keep_default_na=True).fillna({"problem": ""})
    pd.testing.assert_frame_equal(loaded, table, check_dtype=False)
    assert "1.0" not in (tmp_path / "table.csv").read_text().splitlines()[1].split(",")[3]  # concepts are integers


def test_no_pictures_give_an_empty_table(llava, bank):
    with pytest.raises(ValueError, match="batch_size must be at least 1, not -1"):
        explain_many(llava, bank, in_memory([], ()), batch_size=-1)
    table = explain_many(llava, bank, in_memory([], ()), n_concepts=1)
    assert table.empty
    assert list(table) == ["id", "caption", "problem", "concept_1", "activation_1", "relative_1", "share_1", "words_1"]
