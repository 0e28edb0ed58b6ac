"""Which judges are loaded for which pictures."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
from transformers import AutoConfig

from coxlmm_utils import load_images, load_judges
from coxlmm_utils.evaluation import judges
from coxlmm_utils.evaluation.clipscore import clip_score
from tests.evaluation.test_bertscore import tiny_bert
from tests.evaluation.test_clipscore import tiny_clip

BASELINE = "LAYER,P,R,F\n0,0,0,0\n1,0.1,0.1,0.1\n2,0.2,0.3,0.4\n"


@pytest.fixture
def asked(monkeypatch) -> dict[str, tuple]:
    """What the loaders are asked for; they give nothing."""
    calls = {}

    def load_clip_judge(name="ViT-B-32", pretrained="openai", device=None):
        calls["clip"] = (name, pretrained, device)

    def load_bert_judge(model="roberta-large", num_layers=None, rescale=True, baseline_path=None, device=None):
        calls["bert"] = (model, num_layers, rescale, baseline_path, device)

    monkeypatch.setattr(judges, "load_clip_judge", load_clip_judge)
    monkeypatch.setattr(judges, "load_bert_judge", load_bert_judge)
    return calls


@pytest.mark.parametrize("source", ["coco:/data/coco", "folder:/data/pets", ""])
def test_the_papers_judges_for_photographs(asked, source):
    load_judges(source, device="cpu")
    assert asked["clip"] == ("ViT-B-32", "openai", "cpu")
    assert asked["bert"] == ("roberta-large", None, True, None, "cpu")


def test_others_by_name(asked):
    load_judges("coco:/data/coco", clip="ViT-L-14", bert="bert-base-uncased", bert_layers=9)
    assert asked["clip"] == ("ViT-L-14", "openai", None)
    assert asked["bert"] == ("bert-base-uncased", 9, True, None, None)


def test_a_folder_is_rescaled_if_it_brings_a_baseline(tmp_path):
    clip, bare = tmp_path / "clip", tmp_path / "bare"
    clip.mkdir()
    tiny_clip(clip), tiny_bert(bare)
    seen, plain = load_judges("coco:/data/coco", clip, bare, 2, "cpu")
    assert seen.name == str(clip) and (plain.name, plain.num_layers, plain.rescaled) == (str(bare), 2, False)
    (bare / "baseline.tsv").write_text(BASELINE)
    rescaled = load_judges("picturebook", clip, bare, 2, "cpu")[1]
    assert rescaled.rescaled
    mentioned, references = ["a dog", "snow"], [["a cat in the park"], ["a bus"]]
    assert rescaled.f1(mentioned, references) == pytest.approx((plain.f1(mentioned, references) - 0.4) / 0.6, abs=1e-5)


def test_a_folder_needs_the_number_of_layers(tmp_path):
    (tmp_path / "clip").mkdir()
    with pytest.raises(ValueError, match="give num_layers"):
        load_judges("coco:/data/coco", tiny_clip(tmp_path / "clip"), tiny_bert(tmp_path / "bert"), device="cpu")


def test_judges_that_cannot_be_downloaded_are_named(monkeypatch):
    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", fail)
    monkeypatch.setattr(AutoConfig, "from_pretrained", fail)
    with pytest.raises(OSError, match='CLIP judge "ViT-B-32" with the weights "openai".*or give a folder'):
        load_judges("coco:/data/coco", device="cpu")
    with pytest.raises(OSError, match='BERTScore judge "roberta-large".*or give a folder'):
        load_judges("coco:/data/coco", clip="picturebook", device="cpu")


# The picture book's own


@pytest.fixture(scope="module")
def bundled():
    return load_judges(device="cpu")


def test_the_books_own_judges_need_nothing_else(bundled):
    clip, bert = bundled
    assert (clip.name, bert.name, bert.num_layers, bert.rescaled) == ("picturebook", "picturebook", 1, True)


def test_wherever_python_was_started(bundled, tmp_path, monkeypatch):
    (tmp_path / "picturebook").mkdir()
    monkeypatch.chdir(tmp_path)
    clip, bert = load_judges("picturebook", device="cpu")
    assert bert.rescaled and clip.name == bert.name == "picturebook"
    assert bert.f1(["a brown dog"], [["a red bus"]]) == bundled[1].f1(["a brown dog"], [["a red bus"]])


def test_they_tell_pages_and_captions_apart(bundled):
    """Each of six pages fits its own caption best, and each caption the page's other captions."""
    clip, bert = bundled
    pages = load_images("picturebook", "test", limit=6)
    captions = list(pages.references)
    seen = clip.encode_pictures([pages.picture(row) for row in range(6)])
    table = clip_score(seen[:, None], clip.encode_texts([texts[0] for texts in captions]))  # (pages, captions)
    assert table.argmax(dim=1).tolist() == list(range(6))
    others = [texts[1:] for texts in captions]
    own = bert.f1([texts[0] for texts in captions], others)
    foreign = bert.f1([texts[0] for texts in captions], others[1:] + others[:1])
    assert (own > foreign).all() and np.mean(own) > 0.5
