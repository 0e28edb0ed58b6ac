"""Scores of answers and captions: VQAv2's accuracy, POPE's, counts of answers, and CIDEr-D."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

# VQAv2's own rules for comparing answers (Antol et al. 2015, its evaluation code).
ARTICLES = ("a", "an", "the")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
MARKS = ';/[]"{}()=+\\_-><@`,?!'
CONTRACTED = """ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll
    how's i'd i'll i'm i've isn't it'd it'll let's ma'am mightn't might've mustn't must've needn't o'clock oughtn't
    shan't she's should've shouldn't somebody's someone's something's that'd that's there'd there're there's they'd
    they'll they're they've wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd
    who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've""".split()
APOSTROPHES = {word.replace("'", ""): word for word in CONTRACTED}
NEEDED = 3  # of the other people, whose answer an answer must be to be wholly right

N_GRAMS, SIGMA, SCALE = 4, 6.0, 10.0  # of CIDEr-D (Vedantam et al. 2015)


def normalised_answer(text: str) -> str:
    """An answer as VQAv2 compares them: without articles and punctuation, numbers as digits."""
    text = without_marks(text.replace("\n", " ").replace("\t", " ").strip())
    words = [DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(APOSTROPHES.get(word, word) for word in words if word not in ARTICLES)


def without_marks(text: str) -> str:
    """Text without punctuation, as VQAv2 takes it out: a mark between two letters leaves a space."""
    kept = text
    has_thousands = re.search(r"\d,\d", text) is not None
    for mark in MARKS:
        at_an_end = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if at_an_end or has_thousands else " ")
    return re.sub(r"\.(?!\d)", "", kept)


def vqa_accuracy(answer: str, given: Sequence[str]) -> float:
    """VQAv2's accuracy of an answer: the mean over people of min(1, how many of the others gave it / 3), from 0 to 1.

    Parameters
    ----------
    answer : str
        The model's.
    given : sequence of str
        People's answers, ten in VQAv2. Of a single one (ours) it is 1 for the same answer, else 0.

    Returns
    -------
    float
        NaN where no answer is right, as in MM-SafetyBench.
    """
    if not given:
        return math.nan
    answer = normalised_answer(answer)
    given = [text.replace("\n", " ").replace("\t", " ").strip() for text in given]
    if len(set(given)) > 1:
        given = [normalised_answer(text) for text in given]
    if len(given) == 1:
        return float(answer == normalised_answer(given[0]))
    n_same = given.count(answer)
    return float(np.mean([min(1, (n_same - (text == answer)) / NEEDED) for text in given]))


def answer_table(answers: Sequence[str], given: Sequence[Sequence[str]], kinds: Sequence[str]) -> pd.Series:
    """VQA accuracy for each kind of answer, and over all (`all`).

    Parameters
    ----------
    answers : sequence of str
        The model's.
    given : sequence of sequence of str
        People's answers to each question.
    kinds : sequence of str
        Of the answers, such as "yes/no", "number" and "other".

    Returns
    -------
    pandas.Series
    """
    scores = pd.Series([vqa_accuracy(*pair) for pair in zip(answers, given, strict=True)], dtype=float)
    return pd.concat([scores.groupby(list(kinds), sort=False).mean(), pd.Series({"all": scores.mean()})])


def answer_counts(answers: Sequence[str]) -> Counter[str]:
    """How often each answer is given, as VQAv2 compares them."""
    return Counter(map(normalised_answer, answers))


def pope_scores(answers: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """POPE's scores of answers to yes/no questions; "yes" is the positive class (Li et al. 2023).

    Parameters
    ----------
    answers : sequence of str
        The model's; one counts as yes unless "no" or "not" is among its words, as in POPE's code.
    labels : sequence of str
        "yes" or "no".

    Returns
    -------
    dict of str to float
        accuracy, precision, recall, f1 and yes_share; and f1_released, 2 accuracy / (1 + accuracy): what the released
        code of Learning to Steer (arXiv 2508.12815) computes under the name F1, since it takes every label for true.
    """
    said = np.array([not {"no", "not"} & set(re.findall(r"[a-z]+", answer.lower())) for answer in answers])
    there = np.array([label == "yes" for label in labels])
    if not len(said) or len(said) != len(there):
        raise ValueError(
            f"there are {len(said)} answers to {len(there)} questions: give one for each, and one at least"
        )
    right, both = float((said == there).mean()), int((said & there).sum())
    precision, recall = (both / max(1, int(part.sum())) for part in (said, there))
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    scores = {
        "accuracy": right,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "f1_released": 2 * right / (1 + right),
    }
    return scores | {"yes_share": float(said.mean())}


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """CIDEr-D of each caption (Vedantam et al. 2015): about 0 to 10, the mean is a corpus's score.

    Words are lower-case letters and digits; document frequencies are those of these references.

    Parameters
    ----------
    captions : sequence of str
    references : sequence of sequence of str
        One or more for each caption.

    Returns
    -------
    numpy.ndarray
        (captions,)
    """
    if len(captions) != len(references) or not all(map(len, references)):
        raise ValueError("CIDEr compares each caption with references: give one or more for each")
    counted = [[_n_grams(text) for text in texts] for texts in references]
    documents = Counter(gram for texts in counted for gram in set().union(*texts))
    log_n = math.log(len(references))
    scores = []
    for caption, texts in zip(captions, counted):
        own = _weighed(_n_grams(caption), documents, log_n)
        similarities = [_similarity(own, _weighed(text, documents, log_n)) for text in texts]
        scores.append(SCALE * float(np.mean(similarities)))
    return np.array(scores)


def _n_grams(text: str) -> Counter[tuple[str, ...]]:
    """How often each run of one to four words occurs."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    return Counter(tuple(words[i : i + n]) for n in range(1, N_GRAMS + 1) for i in range(len(words) - n + 1))


def _weighed(grams: Counter, documents: Counter, log_n: float) -> tuple[list[dict], list[float], int]:
    """TF-IDF of the runs of each length, their norms, and the number of words but one (as in the released code)."""
    weights: list[dict] = [{} for _ in range(N_GRAMS)]
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * (log_n - math.log(max(1.0, documents[gram])))
    norms = [math.sqrt(sum(weight**2 for weight in part.values())) for part in weights]
    return weights, norms, sum(count for gram, count in grams.items() if len(gram) == 2)


def _similarity(caption: tuple, reference: tuple) -> float:
    """Mean over lengths of the clipped cosine, lowered where the two differ in length."""
    values = []
    for own, other, own_norm, other_norm in zip(caption[0], reference[0], caption[1], reference[1]):
        product = sum(min(weight, other.get(gram, 0.0)) * other.get(gram, 0.0) for gram, weight in own.items())
        values.append(product / (own_norm * other_norm) if own_norm and other_norm else 0.0)
    difference = caption[2] - reference[2]
    return float(np.mean(values)) * math.exp(-(difference**2) / (2 * SIGMA**2))
