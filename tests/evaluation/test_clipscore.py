"""The CLIP judge, on a tiny CLIP made here, and its score."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from coxlmm_utils.evaluation.clipscore import ClipJudge, clip_score, load_clip_judge, words_as_text

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
VISION = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
LOOKS = {"mean": [0.2, 0.3, 0.4], "std": [0.5, 0.6, 0.7], "interpolation": "bicubic", "resize_mode": "shortest"}
TEXTS = ["a dog", "a brown dog on a long street at night", "snow", "a red bus"]


def tiny_clip(folder: Path, **settings) -> Path:
    """A random CLIP, saved as open_clip wants it."""
    config = {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": TEXT, **settings}
    torch.manual_seed(3)  # whose cosines have both signs
    model = open_clip.CLIP(**config)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": LOOKS}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def judge(folder) -> ClipJudge:
    return load_clip_judge(folder, device="cpu")


def by_hand(folder, picture, text) -> float:
    """The cosine of a picture and a text, one at a time and by open_clip alone."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")([text])
    with torch.no_grad():
        image, words = model.eval().encode_image(preprocess(picture)[None]), model.encode_text(tokens)
    return torch.cosine_similarity(image, words).item()


# Scores


def test_scores_are_those_of_open_clip_by_hand(judge, folder, pictures):
    scores = clip_score(judge.encode_pictures(pictures[:4]), judge.encode_texts(TEXTS))
    expected = [2.5 * max(by_hand(folder, *pair), 0) for pair in zip(pictures, TEXTS)]
    assert min(expected) == 0 < max(expected)
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)


def test_score_is_the_cosine_times_two_and_a_half_and_never_negative():
    pictures = torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0]])
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert clip_score(pictures, texts).tolist() == pytest.approx([2.5, 1.5, 0])


def test_all_pictures_with_all_texts(judge, pictures):
    seen, mentioned = judge.encode_pictures(pictures[:3]), judge.encode_texts(TEXTS)
    table = clip_score(seen[:, None], mentioned)
    assert table.shape == (3, 4)
    assert table[2, 1].item() == pytest.approx(clip_score(seen[2:3], mentioned[1:2]).item(), abs=1e-6)


# Vectors


def test_vectors_are_of_length_one_in_float32_on_the_cpu(judge, pictures):
    for vectors in (judge.encode_pictures(pictures[:2]), judge.encode_texts(TEXTS[:2])):
        assert (vectors.shape, vectors.dtype, vectors.device.type) == ((2, 8), torch.float32, "cpu")
        assert vectors.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_neither_batch_size_nor_order_matters(judge, pictures):
    all_at_once = judge.encode_pictures(pictures[:5])
    assert (all_at_once[0] - all_at_once[1]).abs().max() > 1e-3
    torch.testing.assert_close(judge.encode_pictures(pictures[:5], batch_size=2), all_at_once, rtol=0, atol=1e-5)
    torch.testing.assert_close(judge.encode_pictures(pictures[4::-1]), all_at_once.flip(0), rtol=0, atol=1e-5)
    mentioned = judge.encode_texts(TEXTS)
    torch.testing.assert_close(judge.encode_texts(TEXTS[::-1]), mentioned.flip(0), rtol=0, atol=1e-5)


def test_more_texts_than_are_encoded_at_once(judge, monkeypatch):
    mentioned = judge.encode_texts(TEXTS)
    monkeypatch.setattr("coxlmm_utils.evaluation.clipscore.TEXT_BATCH_SIZE", 3)
    torch.testing.assert_close(judge.encode_texts(TEXTS), mentioned, rtol=0, atol=1e-5)


def test_each_text_is_encoded_once(judge, monkeypatch):
    encoded, encode = [], judge.model.encode_text
    monkeypatch.setattr(judge.model, "encode_text", lambda tokens: encoded.append(len(tokens)) or encode(tokens))
    vectors = judge.encode_texts(["snow", "a dog", "snow", "snow"])
    assert sum(encoded) == 2
    assert torch.equal(vectors[0], vectors[2]) and torch.equal(vectors[0], vectors[3])
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


def test_pictures_of_any_mode(judge, pictures):
    grey = pictures[0].convert("L")
    vectors = judge.encode_pictures([grey, grey.convert("RGB"), grey.convert("RGBA")])
    torch.testing.assert_close(vectors, vectors[:1].expand(3, -1), rtol=0, atol=1e-5)


def test_a_text_that_is_too_long_is_cut(judge):
    assert torch.equal(*judge.encode_texts(["dog " * 30 + "cat", "dog " * 30 + "bus"]))


def test_nothing_to_encode_is_refused(judge):
    with pytest.raises(ValueError, match="no pictures to encode"):
        judge.encode_pictures([])
    with pytest.raises(ValueError, match="no texts to encode"):
        judge.encode_texts([])


# The words of a concept as a text


def test_words_as_the_released_code_says_them():
    assert words_as_text(("dog", "brown")) == "A photo is described by the words dog, brown."


def test_at_most_ten_words_the_first_ones():
    assert words_as_text([str(n) for n in range(12)]).endswith("words 0, 1, 2, 3, 4, 5, 6, 7, 8, 9.")


def test_no_words_leave_the_prefix_and_a_full_stop():
    assert words_as_text(()) == "A photo is described by the words ."


# Loading


def test_judge_is_frozen_and_named(judge, folder):
    assert not judge.model.training and not any(p.requires_grad for p in judge.model.parameters())
    assert judge.name == str(folder) and judge.device == torch.device("cpu")


def test_the_folder_says_how_pictures_are_prepared(judge):
    assert "mean=[0.2, 0.3, 0.4]" in str(judge.preprocess)


@pytest.mark.parametrize(
    ("pretrained", "quick"), [("openai", True), ("laion2b_s34b_b79k", False), ("laion400m_e32", True)]
)
def test_quick_gelu_where_the_weights_ask_for_it(judge, monkeypatch, pretrained, quick):
    calls = []

    def create(*names, **options):
        calls.append((names, options))
        return judge.model, None, judge.preprocess

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    loaded = load_clip_judge("ViT-B-32", pretrained, device="cpu")
    assert calls[0][0] == ("ViT-B-32",) and calls[0][1]["pretrained"] == pretrained
    assert calls[0][1]["force_quick_gelu"] is quick
    assert loaded.name == f"ViT-B-32 ({pretrained})"


def test_a_folder_keeps_the_activation_that_it_names(tmp_path):
    quick = load_clip_judge(tiny_clip(tmp_path, quick_gelu=True), device="cpu").model
    assert any(isinstance(part, open_clip.transformer.QuickGELU) for part in quick.modules())


def test_a_judge_that_cannot_be_downloaded_is_named(monkeypatch):
    def download(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", download)
    with pytest.raises(
        OSError, match=r'"ViT-B-32" with the weights "openai".*no network.*give a folder with open_clip'
    ):
        load_clip_judge(device="cpu")


def test_a_judge_that_nobody_knows_is_named():
    with pytest.raises(OSError, match='"ViT-B-33" with the weights "openai" cannot be loaded'):
        load_clip_judge("ViT-B-33", device="cpu")


def test_a_folder_without_weights_is_refused(folder, tmp_path):
    (tmp_path / CONFIG).write_text((folder / CONFIG).read_text())
    with pytest.raises(OSError, match="cannot be loaded"):
        load_clip_judge(tmp_path, device="cpu")
