"""What would follow the explained token."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

explain_module = import_module("coxlmm_utils.explanation.explain")
from coxlmm_utils.explanation.explain import Explanation, explain, next_words
from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.models.lmm import LMM
from coxlmm_utils.models.loading import load_lmm
from tests.conftest import MAX_NEW_TOKENS
from tests.tiny_lmms import tiny_llava


@pytest.fixture(scope="module")
def explained(llava, pictures, bank) -> Explanation:
    """Of a caption in which the token is neither first nor among the last two."""
    every = (explain(llava, bank, pictures[int(id[1:])]) for id in bank.ids)
    return next(single for single in every if 0 < single.step < len(single.tokens) - 2)


def expected(lmm: LMM, explained: Explanation, step: int, n: int) -> tuple[list[str], list[float]]:
    """The n most probable tokens where the caption's token at `step` is fed in, from one pass over all of it."""
    ids = lmm.tokenizer.convert_tokens_to_ids(explained.tokens)
    logits = lmm.model(**lmm.inputs([explained.picture], continuations=[ids])).logits[0, step - len(ids)]
    best = logits.softmax(0).sort(descending=True)
    return lmm.tokenizer.convert_ids_to_tokens(best.indices[:n].tolist()), best.values[:n].tolist()


def test_the_words_are_the_most_probable_after_the_token(llava, explained):
    words, probabilities = expected(llava, explained, explained.step, 5)
    result = next_words(llava, explained)
    assert [word for word, _ in result] == words
    assert [p for _, p in result] == pytest.approx(probabilities, rel=1e-3)
    assert next_words(llava, explained, n=2) == result[:2]


def test_they_follow_the_end_of_a_token_of_several_pieces(llava, explained):
    step = explained.step
    both = " ".join(explained.tokens[step : step + 2])
    bank = replace(explained.bank, provenance={**explained.bank.provenance, "token": [both]})
    words, _ = expected(llava, explained, step + 1, 5)
    assert [word for word, _ in next_words(llava, replace(explained, bank=bank))] == words


def test_the_prompt_is_the_banks(llava, pictures, bank):
    bank = replace(bank, provenance={**bank.provenance, "prompt": "Describe this picture."})
    [written] = generate_captions(llava, pictures[:1], prompt="Describe this picture.", max_new_tokens=MAX_NEW_TOKENS)
    bank.provenance["token"] = [written.caption.split()[0]]
    explained = explain(llava, bank, pictures[0])
    ids = written.ids
    logits = llava.model(**llava.inputs(pictures[:1], "Describe this picture.", [ids])).logits[0, -len(ids)]
    assert next_words(llava, explained, 1)[0][1] == pytest.approx(logits.softmax(0).max().item(), rel=1e-3)


def test_all_words_together_have_probability_1(llava, explained):
    words = next_words(llava, explained, n=10**6)
    assert len(words) == llava.unembedding.out_features
    assert sum(p for _, p in words) == pytest.approx(1, abs=1e-4)


def test_a_piece_that_goes_on_has_a_hyphen_and_a_special_token_is_named(monkeypatch):
    vocabulary = {"<unk>": 0, "</s>": 1, "dog": 2, "##s": 3, "with": 4, ".": 5}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece(cleanup=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>", eos_token="</s>")
    lmm = SimpleNamespace(tokenizer=tokenizer)
    shown = [explain_module._as_next(lmm, [2], token) for token in (3, 4, 5, 1)]
    assert shown == ["-s", "with", ".", "</s>"]


def test_they_follow_the_explanations_own_tokens_whatever_the_model_would_write(llava, explained):
    changed = replace(explained, picture=Image.new("RGB", (60, 60), "red"))
    [written] = generate_captions(llava, [changed.picture], max_new_tokens=MAX_NEW_TOKENS)
    assert written.ids != changed.ids
    assert [word for word, _ in next_words(llava, changed)] == expected(llava, changed, changed.step, 5)[0]


def test_another_model_is_refused(llava, explained, tmp_path):
    other = load_lmm(tiny_llava(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(ValueError, match=f"'{llava.name}' .* '{other.name}'"):
        next_words(other, explained)
