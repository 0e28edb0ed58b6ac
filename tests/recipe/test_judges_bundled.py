"""The judges that come with the book: they load without a network, are small, and judge well."""

import socket

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer, BertForMaskedLM

import coxlmm_utils.files
from coxlmm_utils.evaluation.bertscore import BASELINE_FILE, load_bert_judge
from coxlmm_utils.evaluation.clipscore import clip_score, load_clip_judge, words_as_text
from coxlmm_utils.files import bundled_folder
from coxlmm_utils.picturebook.captions import references
from coxlmm_utils.picturebook.factors import factors_of, page_numbers
from coxlmm_utils.picturebook.page import page
from data.picturebook.recipe.bert import BertLearner, share_true_above_false
from data.picturebook.recipe.judge_texts import make_judge_tokenizer

TEST_PAGES = page_numbers("test")


@pytest.fixture(scope="module", autouse=True)
def offline():
    """No name leads anywhere, and none is asked for."""
    asked = []

    def look_up(*args, **options):
        asked.append(args)
        raise socket.gaierror("Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield
    assert asked == []


@pytest.fixture(scope="module")
def clip():
    return load_clip_judge("picturebook", device="cpu")


@pytest.fixture(scope="module")
def bert():
    return load_bert_judge("picturebook", device="cpu")


# Both


def test_together_they_are_small():
    files = [path for kind in ("clip", "bert") for path in bundled_folder(kind).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6e6


@pytest.mark.parametrize("kind", ["clip", "bert"])
def test_they_read_the_books_words_of_today(kind):
    assert AutoTokenizer.from_pretrained(bundled_folder(kind)).get_vocab() == make_judge_tokenizer().get_vocab()


@pytest.mark.parametrize(("kind", "load"), [("clip", load_clip_judge), ("bert", load_bert_judge)])
def test_a_missing_folder_is_named(kind, load, tmp_path, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.files, "BUNDLED", tmp_path)
    with pytest.raises(FileNotFoundError, match=f"bundled model is not at {tmp_path / kind}: run from a full clone"):
        load("picturebook", device="cpu")


# CLIP


def test_most_pages_are_told_from_a_hundred_by_their_captions(clip):
    pages = [page(number) for number in TEST_PAGES[:100]]
    seen = clip.encode_pictures([single.picture for single in pages])
    near = seen @ clip.encode_texts([single.references[0] for single in pages]).T  # (pictures, captions)
    for dim in (1, 0):
        assert (near.argmax(dim) == torch.arange(100)).float().mean() > 0.5


def test_words_that_are_true_of_a_page_fit_it_better(clip):
    pages = [page(number) for number in TEST_PAGES[:24]]
    seen = clip.encode_pictures([single.picture for single in pages])
    true = [(single.factors.kind, single.factors.colour, single.factors.time) for single in pages]
    false = true[1:] + true[:1]  # of the page after it, which has another subject
    scores = [
        clip_score(seen, clip.encode_texts([words_as_text(words) for words in mentioned]))
        for mentioned in (true, false)
    ]
    assert (scores[0] > scores[1]).float().mean() > 0.9


def test_the_clip_says_its_name(clip):
    assert clip.name == "picturebook"


# BERT


def test_masked_words_are_filled_in_better_than_by_the_commonest():
    learner = BertLearner(AutoTokenizer.from_pretrained(bundled_folder("bert")))
    learner.bert = BertForMaskedLM.from_pretrained(bundled_folder("bert")).float().eval()
    shares = learner.quality(None, [references(number)[0] for number in TEST_PAGES[:100]])
    assert shares["masked_word"] > shares["masked_word_by_the_commonest"] + 0.1


def test_the_layer_is_the_one_that_train_pages_choose(bert):
    """True lists above false ones; what data/README.md prints is of 4,000 pages."""
    pages = [factors_of(number) for number in page_numbers("train")[-400:]]
    judges = {layer: load_bert_judge(bundled_folder("bert"), layer, rescale=False, device="cpu") for layer in (1, 2)}
    shares = {layer: share_true_above_false(judge, pages) for layer, judge in judges.items()}
    assert max(shares, key=shares.get) == bert.num_layers
    assert shares[bert.num_layers] > max(share for layer, share in shares.items() if layer != bert.num_layers) + 0.05


def test_the_table_has_a_row_for_each_layer(bert):
    table = pd.read_csv(bundled_folder("bert") / BASELINE_FILE)
    layers = BertForMaskedLM.from_pretrained(bundled_folder("bert")).config.num_hidden_layers
    assert table["LAYER"].tolist() == list(range(layers + 1))
    assert ((table[["P", "R", "F"]] > 0) & (table[["P", "R", "F"]] < 1)).all(axis=None)
    assert bert.name == "picturebook" and bert.rescaled


def test_unrelated_captions_have_about_nothing_and_a_pages_own_more(bert):
    mentioned = [references(number) for number in TEST_PAGES[:200]]
    first = [texts[0] for texts in mentioned]
    own = bert.f1(first, [texts[1:2] for texts in mentioned])
    others = bert.f1(first, [texts[:1] for texts in np.roll(np.array(mentioned, dtype=object), 7, axis=0).tolist()])
    assert abs(others.mean()) < 0.15
    assert own.mean() > others.mean() + 0.1
