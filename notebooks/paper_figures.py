"""The figures and tables of arXiv 2406.08074, each a function of what was extracted; `reproduce.py` writes them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from coxlmm_utils import (
    LMM,
    ConceptBank,
    Explanation,
    SemiNMF,
    States,
    __version__,
    evaluate,
    explain,
    figures,
    grounding_quality,
    sweep,
)
from coxlmm_utils.dictionaries import largest_useful_lam
from coxlmm_utils.evaluation import METRICS, curves, grounding_by_layer, paper, tables
from coxlmm_utils.evaluation.figures import grounding_figure
from coxlmm_utils.statistics import SEEDS, bootstrap_mean

DESIGNED_IN = (
    "layer 4 of the bundled model was trained with a look-ahead loss to hold the words to come, and its vision tower "
    "with linear heads on the factors of a page: scores say how well a method finds what is there, not what large "
    "models hold"
)


@dataclass
class Item:
    """A figure or table: what the paper's is, what ours is, and what it is made of."""

    title: str
    paper: str
    ours: str
    figures: list[Figure] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # by the end of its file's name
    shown: tuple[str, ...] = ("",)  # which of the tables the page shows; it links to all of them


@dataclass
class Study:
    """What all figures and tables are made of."""

    options: argparse.Namespace
    lmm: LMM
    judges: tuple
    layer: int | str
    layers: list[int | str]  # of Fig 6
    states: dict[str, States]  # to learn from, by token
    tested: dict[str, States]
    left_out: list[str]  # why some tokens are
    seconds: float  # that all this took

    def first(self, *papers: str) -> list[str]:
        """The tokens of the paper's figure that are there, else the first of those given."""
        return [token for token in papers if token in self.states] or list(self.states)[: len(papers)]

    def dictionary(self, **options) -> SemiNMF:
        return SemiNMF(self.options.n_concepts, **{"lam": self.options.lam, "verbose": False} | options)

    @cached_property
    def banks(self) -> dict[str, ConceptBank]:
        tokens = self.first("dog", "cat", "bus")
        return {t: ConceptBank.learn(self.lmm, self.states[t].at(self.layer), self.dictionary()) for t in tokens}

    @cached_property
    def evaluations(self) -> list:
        seeds = SEEDS[: self.options.n_seeds]
        both = [(self.states[token].at(self.layer), self.tested[token]) for token in self.states]
        return [evaluate(self.lmm, *states, *self.judges, self.dictionary(), seeds) for states in both]

    @property
    def judged(self) -> str:
        """Who judges, and whether the paper's judges do."""
        clip, bert = self.judges
        released = "the released code's" if clip.name.startswith("ViT-B-32") else "not the paper's OpenAI ViT-B/32"
        return (
            f"CLIPScore is by {clip.name} ({released}); BERTScore is by {bert.name}, layer {bert.num_layers}, of the "
            "words as a comma list (which model and text the paper's had was not released)."
        )

    def settings(self) -> dict[str, str]:
        """What the results depend on, in words."""
        lmm, options = self.lmm, self.options
        ours = "the last block but one, as we read the paper's L = 31 of 32; what that number counts is not certain"
        provenance, tested = (next(iter(states.values())).provenance for states in (self.states, self.tested))
        split, tested_split = provenance["data"]["split"], tested["data"]["split"]
        designed = {"designed in": DESIGNED_IN} if options.model == "picturebook" else {}
        return {
            "model": f"{lmm.name}, {lmm.n_layers} blocks, weights {lmm.fingerprint}",
            "pictures": f"{options.data}: {split} to learn from, {tested_split} to test",
            "layer": f"{self.layer} of {lmm.n_layers} ({ours if options.layer is None else 'as asked'})",
            "position": "the one that predicts the token, as in the paper",
            "concepts": f"K = {options.n_concepts}, λ = {options.lam:g} (paper: 20 and, as recalled, 1), Semi-NMF",
            "seeds": f"{', '.join(map(str, SEEDS[: options.n_seeds]))} in Tables 1 and 2, else 0",
            "captions": f"prompt {provenance['prompt']!r}, at most {provenance['max_new_tokens']} tokens",
            "judges": self.judged,
            "version": f"coxlmm-utils {__version__}",
        } | designed


# The paper's figures and tables


def table1(study: Study) -> Item:
    table = tables.beside_the_paper(tables.table1(study.evaluations), tables.paper_table1())
    return Item(
        "Table 1: do the words of the most active concept fit test pictures?",
        "Mean ± standard deviation over test pictures, DePALM on COCO.",
        "The same, then the mean's 95% interval and the lowest and highest mean of a seed. A star marks the highest "
        "mean but GT-captions'. The model is not the paper's, and judges and pictures may not be either: compare the "
        "order within a row, not the digits. " + study.judged,
        tables={"": table, "_numbers": tables.score_numbers(study.evaluations)},
    )


def table2(study: Study) -> Item:
    systems = ["simple", "pca_released", "kmeans", "semi_nmf"]
    table = tables.beside_the_paper(tables.table2(study.evaluations, systems), tables.paper_table2())
    return Item(
        "Table 2: overlap of the concepts' words (lower is better)",
        "Mean over concepts, DePALM on COCO.",
        "The same with its 95% interval over seeds and concepts; a star marks the lowest. PCA's words are those of +u, "
        "as in the released code.",
        tables={"": table, "_numbers": tables.overlap_numbers(study.evaluations)},
    )


def fig2(study: Study) -> Item:
    [token] = study.first("dog")
    bank = study.banks[token]
    return Item(
        f"Fig 2: one concept of “{token}”",
        "One concept of “dog”: its five most activating pictures and five words.",
        "The most used concept, with the pictures learned from that activate it most, and its first five words.",
        [figures.concept(bank, most_used(bank)[0])],
    )


def fig3(study: Study) -> Item:
    states = [part.at(study.layer) for part in study.states.values()]
    dots = [grounding_quality(study.lmm, part, *study.judges, study.dictionary()) for part in states]
    own_pages = " The book's judges were trained on these very pages." if study.options.data == "picturebook" else ""
    return Item(
        "Fig 3: do a concept's own words fit its own pictures better than random words?",
        "A dot for each concept of eight tokens, nearly all above the line; where they lie was read off the figure.",
        f"A dot for each concept of {len(dots)} tokens, with the five pictures that activate it most.{own_pages}",
        [grounding_figure(dots)],
        {"": ranges(pd.concat(dots)), "_dots": pd.concat(dots).set_index(["token", "concept"])},
    )


def ranges(dots: pd.DataFrame) -> pd.DataFrame:
    """From where to where the dots of Fig 3 lie, the paper's and ours."""
    rows = {}
    for metric, name in METRICS.items():
        both = dots[[f"{metric}_random", metric]].dropna()
        ends = [f"{low:.2f} to {high:.2f}" for low, high in zip(both.min(), both.max())]
        ours = [*ends, f"{(both[metric] > both[f'{metric}_random']).sum()} of {len(both)}"]
        printed = [f"about {low:.2f} to {high:.2f}" for low, high in paper.FIG3_RANGES[metric]]
        rows |= {(name, "paper"): [*printed, "nearly all"], (name, "ours"): ours if len(both) else [tables.NOTHING] * 3}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["random words", "own words", "dots above the line"])
    return table.set_axis(pd.MultiIndex.from_tuples(table.index, names=["metric", "whose"]))


def fig4(study: Study) -> Item:
    [token] = study.first("dog")
    bank = study.banks[token]
    return Item(
        f"Fig 4: eight concepts of “{token}”",
        "Eight of the 20 concepts of “dog”, chosen by the authors.",
        f"The eight most used of {len(bank)}.",
        [bank.gallery(most_used(bank)[:8])],
    )


def fig5(study: Study) -> Item:
    tokens = study.first("dog", "cat", "bus")
    explained = {token: first_explained(study, token) for token in tokens}
    rows = {}
    for token, explanation in explained.items():
        printed = paper.FIG5_RELATIVE.get(token.capitalize(), ())
        for rank, k in enumerate(explanation.top(3)):
            theirs = f"{printed[rank]:.2f}" if rank < len(printed) else tables.NOTHING
            rows[token, rank + 1] = [theirs, f"{explanation.relative[k]:.2f}", str(explanation.words(k))]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["paper's picture", "our picture", "words (ours)"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["token", "concept by rank"])
    return Item(
        "Fig 5: explanations of test pictures",
        "A test picture of dog, cat and bus each, chosen by the authors: its three most active concepts, activations "
        "divided by the largest.",
        "The same of the first test picture of each token, not chosen: another picture, so that only the fall from the "
        "first to the third bar can be compared.",
        [explanation.figure() for explanation in explained.values()],
        {"": table},
    )


def first_explained(study: Study, token: str) -> Explanation:
    """The first test picture whose caption, when it is generated alone, has the token."""
    images = study.tested[token].images
    for row in range(len(images)):
        try:
            return explain(study.lmm, study.banks[token], images.picture(row))
        except ValueError as error:  # generated in a batch, the caption had it
            reason = error
    raise ValueError(f"no test picture of {token!r} is explained; the last: {reason}")


def fig6(study: Study) -> Item:
    table = pd.DataFrame(
        [layer_row(study, token, layer) for token in study.first("dog", "cat") for layer in study.layers]
    )
    ours = table.pivot(index="layer", columns="token", values="clipscore").loc[study.layers]
    ours["random words"] = table.groupby("layer")["clipscore_random"].mean()
    printed = pd.DataFrame(paper.FIG6_CLIPSCORE, index=paper.FIG6_LAYERS).rename_axis("layer of 32 (paper)")
    return Item(
        "Fig 6: which layer?",
        f"Average CLIPScore of the concepts' words and pictures, read off the plot to ±{paper.FIG6_PRECISION}.",
        "Mean CLIPScore of each concept's words with its five most activating pictures of those learned from, on a "
        "scale of its own. λ is relative, since layers differ in norm: what "
        f"λ = {study.options.lam:g} is at layer {study.layer}.",
        [grounding_by_layer(table, study.lmm.n_layers)],
        {
            "_paper": printed,
            "": ours.rename_axis(f"layer of {study.lmm.n_layers} (ours)"),
            "_numbers": table.set_index(["token", "layer"]),
        },
        shown=("", "_paper"),
    )


def layer_row(study: Study, token: str, layer: int | str) -> dict:
    """The CLIPScore of a token's concepts at a layer, and of as many random words."""
    relative = min(1.0, study.options.lam / largest_useful_lam(study.states[token].at(study.layer).Z))
    dictionary = study.dictionary(relative_lam=relative)
    scores = grounding_quality(study.lmm, study.states[token].at(layer), study.judges[0], None, dictionary)
    row = {
        "token": token,
        "layer": layer,
        "concepts": len(scores),
        "clipscore_random": scores["clipscore_random"].mean(),
    }
    if len(scores) > 1:
        return row | bootstrap_mean(scores["clipscore"]).named("clipscore")
    return row | dict.fromkeys(("clipscore", "clipscore_low", "clipscore_high"), np.nan)


def fig7(study: Study) -> Item:
    [token] = study.first("dog")
    bank = study.banks[token]
    order = most_used(bank)
    rows = [(k, str(bank.words[k]), bank.activations[:, k].sum() / bank.activations.sum()) for k in order]
    words = pd.DataFrame(rows, columns=["concept", "words", "share of all activation"]).set_index("concept")
    return Item(
        f"Fig 7: all concepts of “{token}”",
        "All 20 concepts of “dog” at L = 31.",
        f"All {len(bank)}, the most used first.",
        [bank.gallery()],
        {"_words": words},
        shown=(),
    )


def fig11(study: Study) -> Item:
    tokens = study.first("dog", "cat", "bus", "train")
    most = min(len(study.states[token]) for token in tokens)
    ks = sorted({k for k in study.options.ks if k <= most} or {study.options.n_concepts})
    swept = [sweep(study.states[t].at(study.layer), ks, [study.options.lam]).assign(token=t) for t in tokens]
    table = pd.concat(swept, ignore_index=True)
    error = table.pivot(index="token", columns="n_concepts", values="reconstruction_error").loc[tokens]
    error.columns = [f"K = {k}" for k in error]
    return Item(
        "Fig 11: reconstruction error against K",
        "It falls with K for dog, cat, bus and train; its values are not known to us.",
        "‖Z - UV‖ / ‖Z‖ of the samples that were learned from; each K also starts from the concepts of the last one.",
        [curves(table, "n_concepts", ["reconstruction_error"])],
        {"": error},
    )


def most_used(bank: ConceptBank) -> list[int]:
    """Concepts by their activation over all samples, the most used first."""
    return np.argsort(-bank.activations.sum(axis=0), kind="stable").tolist()


ITEMS: dict[str, Callable[[Study], Item]] = {
    item.__name__: item for item in (table1, table2, fig2, fig3, fig4, fig5, fig6, fig7, fig11)
}
