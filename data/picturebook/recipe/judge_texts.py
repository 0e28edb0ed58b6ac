"""What the picture book's judges read: sentences and word lists, all true of a page, and a tokenizer for them."""

from __future__ import annotations

import random
from dataclasses import replace

from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from coxlmm_utils.evaluation import MAX_WORDS, PREFIX
from coxlmm_utils.picturebook import FACTS_BY_WORD, Factors, allowed_values, sentence

from .architecture import PUNCTUATION, vocabulary, word_tokenizer

SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>", "<mask>")
LONGEST = 40  # tokens of a text; the longest sentence has about 25, ten words after the prefix 29
MOST_FACTS = 5  # in a list of words


def make_judge_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, as the LMM's, with the words of CLIPScore's prefix, and <bos> ... <eos> around each text (ours)."""
    words = sorted(set(vocabulary()) | set(PREFIX.lower().split()))
    tokenizer = word_tokenizer([*SPECIAL_TOKENS, *PUNCTUATION, *words])
    ends = [(token, tokenizer.token_to_id(token)) for token in ("<bos>", "<eos>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    names = dict(pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>", mask_token="<mask>")
    ends = dict(cls_token="<bos>", sep_token="<eos>")  # by which names bert_score asks for them
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LONGEST, **names, **ends)


def true_words(page: Factors, rng: random.Random) -> list[str]:
    """One to five facts of a page, each by some of its words, ten words at most, in any order (ours)."""
    words_of = {}
    for word, (factor, value) in FACTS_BY_WORD.items():
        if getattr(page, factor) == value:
            words_of.setdefault(factor, []).append(word)
    facts = rng.sample(list(words_of), rng.randint(1, min(MOST_FACTS, len(words_of))))
    mentioned = [word for fact in facts for word in rng.sample(words_of[fact], rng.randint(1, len(words_of[fact])))]
    rng.shuffle(mentioned)
    return mentioned[:MAX_WORDS]


def contrary(page: Factors, rng: random.Random) -> Factors:
    """A page of the same kind on which every other factor has another value (ours)."""
    allowed = {name: values for name, values in allowed_values(page.kind).items() if name != "kind"}
    others = {name: [value for value in values if value != getattr(page, name)] for name, values in allowed.items()}
    return replace(page, **{name: rng.choice(values) for name, values in others.items()})


def true_text(page: Factors, rng: random.Random, prefix: str) -> str:
    """A sentence or, every other time, a list of words after a prefix (ours)."""
    if rng.random() < 0.5:
        return sentence(page, rng)
    return prefix + ", ".join(true_words(page, rng))
