"""Measure the picture book's LMM, its dictionaries, the paper's evaluation, and the checks of truth: `make scores`.

Prints tables and writes build/scores.json.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..concepts import ConceptBank
from ..dictionaries import SemiNMF
from ..evaluation import METRICS, evaluate, load_judges
from ..extraction import States, extract
from ..faithfulness import removal_summary, remove_concepts, visual_dependence, words_before
from ..files import atomic_write
from ..images import blank_images, load_images, noise_images
from ..models import LMM, Layer, generate_captions, load_lmm
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
from ..statistics import Mean, bootstrap_mean
from .controls import factor_recovery
from .counterfactuals import counterfactual_edits, diagonal
from .factor_matching import best_aucs, matched_values, shuffled_auc
from .without_picture import best_values, known_truth

GALLERY_LAYER = 4  # the last block but one, as in the gallery notebook
N_CONCEPTS = 16
PAGES_PER_SUBJECT = 1200
YES_NO_PAGES = 60  # of each answer, for each noun
BATCH = 64
CHECKED = "dog"  # the subject of the checks of truth
EVALUATED = ("dog", "bus", "train", "cat")  # the tokens of the paper's Table 1
EVALUATED_SYSTEMS = ("semi_nmf", "rnd_words", "noise_imgs", "simple", "pca", "kmeans", "gt_captions")


def caption_scores(captions: Sequence[str], pages: Sequence[Factors]) -> dict:
    """How true captions are, and what they name.

    Parameters
    ----------
    captions : sequence of str
        Synonyms count as right.
    pages : sequence of Factors
        What each picture shows.

    Returns
    -------
    dict
        Shares: noun (of all captions; one without a noun is wrong), noun_by_subject, colour, place, action (of the
        captions that name them), caption_true (every word of it), names_noun, names_colour, names_place, names_action.
    """
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
    asked = []
    for noun in ASKED_NOUNS:
        with_it = [i for i, page in enumerate(pages) if noun in present_nouns(page)]
        without = [i for i, page in enumerate(pages) if noun not in present_nouns(page)]
        n = min(YES_NO_PAGES, len(with_it), len(without))
        chosen = rng.sample(with_it, n) + rng.sample(without, n)
        asked += [(i, ask_presence(pages[i], noun, rng)) for i in chosen]
    return asked


def topic_questions(pages: Sequence[Factors], seed: int = 0) -> list[tuple[int, Question]]:
    """(page, question) pairs: one question a page; colour, place, count and action take turns within each subject."""
    rng = random.Random(f"topics {seed}")
    topics = [QUESTION_TOPICS[(i // len(SUBJECTS)) % len(QUESTION_TOPICS)] for i in range(len(pages))]
    return [(i, ask(page, topic, rng)) for i, (page, topic) in enumerate(zip(pages, topics))]


def share_answered(lmm: LMM, images, asked: Sequence[tuple[int, Question]]) -> float:
    """The share of questions that the LMM answers right, word for word."""
    by_text = defaultdict(list)
    for row, question in asked:
        by_text[question.text].append((row, question.answer))
    right = []
    with tqdm(total=len(asked), desc="asking") as bar:
        for text, cases in by_text.items():
            for start in range(0, len(cases), BATCH):
                batch = cases[start : start + BATCH]
                pictures = [images.picture(row) for row, _ in batch]
                written = generate_captions(lmm, pictures, prompt=text, max_new_tokens=6)
                right += [one.caption == answer for one, (_, answer) in zip(written, batch)]
                bar.update(len(batch))
    return float(np.mean(right))


def model_scores(lmm: LMM) -> dict:
    """The model's table, on the 1,600 test pages (200 a subject), greedy decoding."""
    images = load_images("picturebook", split="test")
    pages = [factors_of(number) for number in page_numbers("test")]
    captions = []
    for start in tqdm(range(0, len(images), BATCH), desc="captioning"):
        pictures = [images.picture(row) for row in range(start, min(start + BATCH, len(images)))]
        captions += [one.caption for one in generate_captions(lmm, pictures)]
    scores = caption_scores(captions, pages)
    scores["yes_no"] = share_answered(lmm, images, yes_no_questions(pages))
    scores["questions"] = share_answered(lmm, images, topic_questions(pages))
    return scores


def dictionary_scores(lmm: LMM, subject: str, position: str, layer=GALLERY_LAYER) -> dict:
    """Known truth about one subject's concepts: mean best AUC, how many lie above .9, and the shuffled control."""
    images = load_images("picturebook").mentioning(subject)[:PAGES_PER_SUBJECT]
    states = extract(lmm, images, token=subject, layer=layer, position=position)
    pages = [factors_of(int(id)) for id in states.images.ids]
    activations = SemiNMF(n_concepts=N_CONCEPTS).fit_transform(states.Z)
    best = [auc for auc, _, _ in best_aucs(activations, pages)]
    return {
        "mean_auc": float(np.mean(best)),
        "above_0_9": int(np.sum(np.array(best) > 0.9)),
        "shuffled_auc": shuffled_auc(activations, pages),
        "samples": len(pages),
    }


def evaluation_scores(lmm: LMM, subject: str, layer=GALLERY_LAYER) -> dict:
    """The paper's evaluation of one subject on 400 held-out pages, by the bundled judges, with the paper's K = 20.

    Returns
    -------
    dict
        For each of `EVALUATED_SYSTEMS` clipscore, bertscore and overlap: [mean, low, high], or None where there is none.
    """
    images = load_images("picturebook").mentioning(subject)[:PAGES_PER_SUBJECT]
    states = extract(lmm, images, token=subject, layer=layer)
    tested = extract(lmm, load_images("picturebook", split="validation+test"), token=subject, layer=layer)
    found = evaluate(lmm, states, tested, *load_judges("picturebook"))
    means = {system: {metric: found.mean(system, metric) for metric in METRICS} for system in EVALUATED_SYSTEMS}
    for system, scores in means.items():
        scores["overlap"] = found.overlap(system)
    return {
        system: {name: mean and [mean.value, mean.low, mean.high] for name, mean in scores.items()}
        for system, scores in means.items()
    }


def measure(lmm: LMM, subjects: Sequence[str]) -> dict:
    """All scores, as they are written to build/scores.json."""
    dictionary = {
        subject: {position: dictionary_scores(lmm, subject, position) for position in ("predicts", "own")}
        for subject in subjects
    }
    evaluation = {subject: evaluation_scores(lmm, subject) for subject in EVALUATED if subject in subjects}
    truth = {"truth": truth_scores(lmm, CHECKED, GALLERY_LAYER)} if CHECKED in subjects else {}
    return {"picturebook": model_scores(lmm), "dictionary": dictionary, "evaluation": evaluation} | truth


def model_table(scores: dict) -> str:
    """The model's scores as text."""
    shares = pd.Series({name: value for name, value in scores.items() if not isinstance(value, dict)}, name="share")
    nouns = pd.Series(scores["noun_by_subject"], name="noun right")
    return "\n\n".join(_text(table.to_frame()) for table in (shares, nouns))


def dictionary_table(scores: dict) -> str:
    """The dictionaries' scores as text."""
    rows = {(subject, position): row for subject, rows in scores.items() for position, row in rows.items()}
    return _text(pd.DataFrame.from_dict(rows, orient="index"))


def evaluation_table(scores: dict) -> str:
    """The evaluation's means as text; intervals are in the file."""
    rows = {(subject, system): row for subject, systems in scores.items() for system, row in systems.items()}
    means = {key: {name: ends and ends[0] for name, ends in row.items()} for key, row in rows.items()}
    return _text(pd.DataFrame.from_dict(means, orient="index").astype(float))


def truth_table(scores: dict) -> str:
    """The checks of truth as text; intervals are in the file."""
    rows = {"own": scores, "predicts": scores["predicts"]} if scores else {}
    numbers = {
        position: {name: value for name, value in row.items() if not isinstance(value, dict)}
        for position, row in rows.items()
    }
    return _text(pd.DataFrame(numbers))


def _text(table: pd.DataFrame) -> str:
    return table.to_string(float_format="{:.3f}".format)


def main() -> None:
    """Measure, print, and write build/scores.json."""
    parser = argparse.ArgumentParser(description="Measure the picture book's LMM and its dictionaries.")
    parser.add_argument("--model", default="picturebook", help="the bundled model, or a folder")
    parser.add_argument("--out", type=Path, default=Path("build/scores.json"))
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS), choices=SUBJECTS)
    options = parser.parse_args()
    scores = measure(load_lmm(options.model), options.subjects)
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    atomic_write(options.out, lambda path: path.write_text(json.dumps(known | scores, indent=1)))
    print(model_table(scores["picturebook"]), dictionary_table(scores["dictionary"]), sep="\n\n")
    print("", evaluation_table(scores["evaluation"]), "", truth_table(scores.get("truth", {})), sep="\n")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()

K_TRUTH = 16
N_TRAIN, N_TESTED, N_REDRAWN = 1200, 200, 40  # pages to learn from; pages not learned from, for single checks
POSITIONS = ("own", "predicts")  # the first one's scores are the main result
NO_PICTURE = {"blank": blank_images, "noise": noise_images}


def truth_scores(lmm: LMM, subject: str, layer: Layer) -> dict:
    """The checks of one subject's concepts, on pages of the validation and test splits (ours).

    Parameters
    ----------
    lmm : LMM
    subject : str
    layer : layer

    Returns
    -------
    dict
        At position "own":

        - as numbers: covered (factor values told at held-out AUC above .9); removal_share (of concepts that the model
          uses, see `removal_summary`), removal_minus_random (nats), removal_share_later and removal_share_mentions (by
          the other measures); blank_auc and noise_auc (mean known-truth AUC over concepts with such a picture in the
          place of the page); diagonal (share of matched concepts whose own factor moves them most) and diagonal_sure
          (by more than its interval);
        - intervals: [low, high] of each; controls: what each of `SYSTEMS` covers, [value, low, high];
        - predicts: all of it at that position.
    """
    scores = {position: _at(lmm, subject, layer, position) for position in POSITIONS}
    return scores["own"] | {"predicts": scores["predicts"]}


def _at(lmm: LMM, subject: str, layer: Layer, position: str) -> dict:
    """The scores at one position."""
    train = load_images("picturebook").mentioning(subject)[:N_TRAIN]
    test = load_images("picturebook", split="validation+test").mentioning(subject)
    states, held_out, few = (
        extract(lmm, images, subject, layer, position) for images in (train, test, test[:N_TESTED])
    )
    bank = ConceptBank.learn(lmm, states, SemiNMF(K_TRUTH, verbose=False))
    covered = {name: found.known.covered for name, found in factor_recovery(lmm, states, held_out, K_TRUTH).items()}
    means = {"covered": covered["semi_nmf"]} | _used(lmm, bank, few)
    means |= _without_picture(lmm, bank, few, subject, position) | _redrawn(lmm, bank, test.ids[:N_REDRAWN])
    scores = {name: mean.value for name, mean in means.items()}
    scores["intervals"] = {name: [mean.low, mean.high] for name, mean in means.items()}
    return scores | {"controls": {name: [mean.value, mean.low, mean.high] for name, mean in covered.items()}}


def _used(lmm: LMM, bank: ConceptBank, few: States) -> dict[str, Mean]:
    """Concepts whose removal lowers their own words."""
    table = remove_concepts(lmm, bank, few)
    words = removal_summary(table)
    found = {"removal_share": words.share, "removal_minus_random": words.minus_random}
    others = {f"removal_share_{name}": removal_summary(table, name).share for name in ("later", "mentions")}
    return found | others


def _without_picture(lmm: LMM, bank: ConceptBank, few: States, subject: str, position: str) -> dict[str, Mean]:
    """Known truth on blank pages and on noise, of the values that concepts tell on the pages they were learned from."""
    prefixes = words_before(lmm, bank.captions, [subject], position)
    values = best_values(bank.activations, prefixes, _pages(bank.ids))
    found = visual_dependence(lmm, bank, few, NO_PICTURE, cut_from=())
    table = known_truth(found, _pages(found.ids), values).set_index("condition")
    return {f"{name}_auc": bootstrap_mean(table.loc[name, "auc"]) for name in NO_PICTURE}


def _redrawn(lmm: LMM, bank: ConceptBank, ids) -> dict[str, Mean]:
    """Concepts that their own factor moves most."""
    values = matched_values(bank.activations, _pages(bank.ids))
    found = diagonal(counterfactual_edits(lmm, bank, [int(id) for id in ids]), values)
    return {"diagonal": found.share, "diagonal_sure": found.share_sure}


def _pages(ids) -> list[Factors]:
    """What is on pages of the book."""
    return [factors_of(int(id)) for id in ids]
