"""How true the captions and answers of the picture book's LMM are, on its test pages (ours)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..images import CaptionedImages, load_images
from ..models import LMM, generate_captions
from ..picturebook import (
    ASKED_NOUNS,
    QUESTION_TOPICS,
    SUBJECTS,
    Factors,
    Question,
    ask,
    ask_presence,
    factors_of,
    facts_in,
    page_numbers,
    present_nouns,
)

YES_NO_PAGES = 60  # of each answer, for each noun
BATCH_SIZE = 64


def caption_scores(captions: Sequence[str], pages: Sequence[Factors]) -> dict:
    """How true captions are, and what they name."""
    rows = []
    for caption, page in zip(captions, pages):
        right = defaultdict(list)
        for factor, value in facts_in(caption):
            right[factor].append(getattr(page, factor) == value)
        rows.append({factor: all(values) for factor, values in right.items()})
        rows[-1] |= {"subject": page.kind, "true": all(map(all, right.values()))}
    table = pd.DataFrame(rows, columns=["subject", "true", "kind", "colour", "place", "action"])
    noun = table["kind"].eq(True)
    scores = {"noun": noun.mean(), "noun_by_subject": noun.groupby(table["subject"]).mean().to_dict()}
    scores |= {factor: table[factor].dropna().astype(bool).mean() for factor in ("colour", "place", "action")}
    scores |= {"caption_true": table["true"].mean(), "names_noun": table["kind"].notna().mean()}
    return scores | {f"names_{factor}": table[factor].notna().mean() for factor in ("colour", "place", "action")}


def yes_no_questions(pages: Sequence[Factors], seed: int = 0) -> list[tuple[int, Question]]:
    """(page, question) pairs: for each noun as many pages with it as without."""
    rng = random.Random(f"yes or no {seed}")
    questions = []
    for noun in ASKED_NOUNS:
        with_it = [i for i, page in enumerate(pages) if noun in present_nouns(page)]
        without = [i for i, page in enumerate(pages) if noun not in present_nouns(page)]
        n = min(YES_NO_PAGES, len(with_it), len(without))
        chosen = rng.sample(with_it, n) + rng.sample(without, n)
        questions += [(i, ask_presence(pages[i], noun, rng)) for i in chosen]
    return questions


def topic_questions(pages: Sequence[Factors], seed: int = 0) -> list[tuple[int, Question]]:
    """(page, question) pairs: one question per page; colour, place, count and action take turns within each subject."""
    rng = random.Random(f"topics {seed}")
    topics = [QUESTION_TOPICS[(i // len(SUBJECTS)) % len(QUESTION_TOPICS)] for i in range(len(pages))]
    return [(i, ask(page, topic, rng)) for i, (page, topic) in enumerate(zip(pages, topics))]


def share_answered(lmm: LMM, images, questions: Sequence[tuple[int, Question]]) -> float:
    """The share of questions that the LMM answers right, word for word."""
    by_text = defaultdict(list)
    for row, question in questions:
        by_text[question.text].append((row, question.answer))
    right = []
    with tqdm(total=len(questions), desc="asking") as bar:
        for text, cases in by_text.items():
            for start in range(0, len(cases), BATCH_SIZE):
                batch = cases[start : start + BATCH_SIZE]
                pictures = [images.picture(row) for row, _ in batch]
                answers = generate_captions(lmm, pictures, prompt=text, max_new_tokens=6)
                right += [given.caption == answer for given, (_, answer) in zip(answers, batch)]
                bar.update(len(batch))
    return float(np.mean(right))


def captions_of_test_pages(lmm: LMM) -> tuple[list[str], list[Factors]]:
    """What is said of the 1,600 test pages (200 per subject), greedy decoding, and what they show."""
    captions = captions_of(lmm, load_images("picturebook", split="test"))
    return captions, [factors_of(number) for number in page_numbers("test")]


def captions_of(lmm: LMM, images: CaptionedImages) -> list[str]:
    """What the model says of pictures, greedy decoding."""
    captions = []
    for start in tqdm(range(0, len(images), BATCH_SIZE), desc="captioning"):
        pictures = [images.picture(row) for row in range(start, min(start + BATCH_SIZE, len(images)))]
        captions += [generated.caption for generated in generate_captions(lmm, pictures)]
    return captions


def model_scores(lmm: LMM) -> dict:
    """The model's table, on the test pages."""
    captions, pages = captions_of_test_pages(lmm)
    images, scores = load_images("picturebook", split="test"), caption_scores(captions, pages)
    scores["yes_no"] = share_answered(lmm, images, yes_no_questions(pages))
    scores["questions"] = share_answered(lmm, images, topic_questions(pages))
    return scores


def model_table(scores: dict) -> str:
    """The model's scores as text."""
    shares = pd.Series({name: value for name, value in scores.items() if not isinstance(value, dict)}, name="share")
    nouns = pd.Series(scores["noun_by_subject"], name="noun right")
    return "\n\n".join(as_text(table.to_frame()) for table in (shares, nouns))


def as_text(table: pd.DataFrame) -> str:
    """A table of scores with three digits."""
    return table.to_string(float_format="{:.3f}".format)
