"""The picture book's BERT judge: a small BERT of transformers' own classes, which has read the book's captions (ours)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from coxlmm_utils.evaluation import BASELINE_FILE, BertJudge, load_bert_judge
from coxlmm_utils.files import atomic_write
from coxlmm_utils.picturebook import FACTS_BY_WORD, Factors, references_for

from .judge_texts import LONGEST, contrary, true_text, true_words

MASKED = 0.35  # of a text's content words
BASELINE_PAIRS = 4000


class BertLearner(nn.Module):
    """The BERT while it learns to fill in masked words.

    It is to tell what a text says, so three things differ from a usual BERT. Only content words are masked. It reads
    two texts of a page at once, so that what is masked in one can be inferred from the other by whoever knows which words
    mean the same ("sand" and "beach"), and which only stand in the same place ("brown" and "white"). And its position
    embeddings stay zero: in this book order says nothing, and a list of words has none.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        super().__init__()
        self.tokenizer = tokenizer
        settings = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=384)
        settings |= dict(vocab_size=len(tokenizer), max_position_embeddings=2 * LONGEST, type_vocab_size=1)
        settings |= dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)  # no two batches are the same
        self.bert = BertForMaskedLM(BertConfig(**settings, pad_token_id=tokenizer.pad_token_id))
        self.bert.bert.embeddings.position_embeddings.weight.requires_grad_(False).zero_()
        self.telling = torch.tensor([i for word, i in tokenizer.vocab.items() if word in FACTS_BY_WORD])

    def loss(self, pictures: np.ndarray, pages: Sequence[Factors], rng: random.Random) -> Tensor:
        """Cross-entropy of the masked words of two texts a page; it looks at no pictures."""
        texts = [" . ".join(true_text(page, rng, prefix="") for _ in range(2)) for page in pages]
        ids, mask = self._tokens(texts)
        chosen = torch.tensor([[rng.random() < MASKED for _ in row] for row in ids.tolist()])
        chosen &= torch.isin(ids, self.telling)
        return self.bert(
            ids.masked_fill(chosen, self.tokenizer.mask_token_id), mask, labels=ids.where(chosen, -100)
        ).loss

    @torch.inference_mode()
    def quality(self, pictures: np.ndarray, sentences: Sequence[str]) -> dict[str, float]:
        """Shares of content words that are filled in right, each masked alone, and of the commonest word among them."""
        ids, mask = self._tokens(sentences)
        row, column = torch.isin(ids, self.telling).nonzero(as_tuple=True)
        index = torch.arange(len(row))
        one_masked = ids[row].clone()  # (words, length): a sentence for each word to fill in
        one_masked[index, column] = self.tokenizer.mask_token_id
        parts = zip(one_masked.split(512), mask[row].split(512))
        logits = torch.cat([self.bert(*part).logits.argmax(-1) for part in parts])  # (words, length)
        right = (logits[index, column] == ids[row, column]).float().mean().item()
        commonest = Counter(ids[row, column].tolist()).most_common(1)[0][1] / len(row)
        return {"masked_word": right, "masked_word_by_the_commonest": commonest}

    def save(self, folder: Path) -> None:
        """Save in float16, as transformers does, with the tokenizer."""

        def write(scratch: Path) -> None:
            self.bert.half().save_pretrained(scratch)
            self.tokenizer.save_pretrained(scratch)
            for file in scratch.iterdir():
                file.chmod(0o644)

        atomic_write(folder, write)
        self.bert.float()

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token numbers and attention mask: (texts, length) each."""
        result = self.tokenizer(list(texts), padding=True, truncation=True, max_length=2 * LONGEST, return_tensors="pt")
        return result.input_ids, result.attention_mask


def measure_baseline(folder: Path, captions: Sequence[str], seed: int = 0) -> None:
    """Save beside a judge what unrelated captions score, for each layer: the table that rescaling needs.

    As the library made its own: mean precision, recall and F1 of captions drawn at random, two by two.

    Parameters
    ----------
    folder : Path
        Of the judge.
    captions : sequence of str
        Of as many different pages.
    seed : int
    """
    rng = random.Random(seed)
    pairs = [rng.sample(captions, 2) for _ in range(BASELINE_PAIRS)]
    lines = ["LAYER,P,R,F"]
    for layer in range(BertConfig.from_pretrained(folder).num_hidden_layers + 1):
        judge = load_bert_judge(folder, layer, rescale=False, device="cpu")
        means = judge.match([first for first, _ in pairs], [(second,) for _, second in pairs]).mean(axis=1)
        lines.append(",".join([str(layer), *(f"{mean:.6f}" for mean in means)]))
    atomic_write(folder / BASELINE_FILE, lambda path: path.write_text("\n".join(lines) + "\n"))


def share_true_above_false(judge: BertJudge, pages: Sequence[Factors], seed: int = 0) -> float:
    """How often words that are true of a page score above false ones, against the page's references (ours).

    The false words are drawn in the same way, but of a page of the same kind on which every other factor has another
    value. A list that names the kind alone is true of both.

    Parameters
    ----------
    judge : BertJudge
    pages : sequence of Factors
    seed : int

    Returns
    -------
    float
        .5 is chance.
    """
    rng = random.Random(seed)
    lists = [", ".join(true_words(page, random.Random(index))) for index, page in enumerate(pages)]
    false = [", ".join(true_words(contrary(page, rng), random.Random(index))) for index, page in enumerate(pages)]
    references = [references_for(page, seed) for page in pages]
    better, worse = judge.f1(lists, references), judge.f1(false, references)
    return float(np.mean((better > worse) + 0.5 * (better == worse)))
