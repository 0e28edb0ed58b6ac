"""What fine-tuning does to concepts, in numbers, where what it was tuned on is known: part `shift` of `make scores` (ours)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from ..images import CaptionedImages, load_images
from ..models import LMM, Layer, load_lmm
from ..shift import PERMUTED, RANDOM, SHIFTED, UNCHANGED, UNSHIFTED, ConceptShift, Cuts, compare, correlation, gains
from ..statistics import nested_bootstrap, share_over_seeds
from ..steering import Direction, captions_under, random_direction, shift_direction
from .fine_tuned import TOKEN, FineTuned, fine_tuned, kmeans, n_about
from .model_scores import as_text
from .planted_shifts import rename_found, sign_scores, signed_states
from .steering_effects import facts_of
from .truth_scores import GALLERY_LAYER

SETS = ("colour", "place", "time")  # captions about one factor
NULL, RENAME, SIGN = "null", "rename", "sign"
FACTORS = ("colour", "place", "action", "time")
N_CONCEPTS, SEEDS = 12, range(5)
ALPHAS = (0.5, 1.0, 1.5, 2.0)
N_STEERED = {"validation": 80, "test": 160}  # pages
MAX_NEW_TOKENS = 40
RECOVERED = (  # scores of `recovery`: name, kind and column
    ("cosine_before", UNSHIFTED, "cosine"),
    ("cosine_after", SHIFTED, "cosine"),
    ("cosine_permuted", PERMUTED, "cosine"),
    ("cosine_random", RANDOM, "cosine"),
    ("words_before", UNSHIFTED, "words"),
    ("words_after", SHIFTED, "words"),
)


def adapter_of(kind: str) -> str:
    """The name of the book's own adapter for a set of captions."""
    return f"picturebook-{kind}"


def shift_scores(lmm: LMM, layer: Layer = GALLERY_LAYER) -> dict:
    """For each set `set_scores`, and of the planted changes `rename_found` and `sign_scores`.

    Returns
    -------
    dict
        colour, place, time and null (the old captions once more), with forgotten, of each kind of question the share
        answered right before and after, and steering; rename; sign, of the model after, with before, the same of the
        model before; cuts, from the null's banks, those before of one seed and those after of the next, of one half of the samples.
    """
    null = fine_tuned(adapter_of(NULL), lmm, layer)
    cuts = Cuts.of_null(null_shifts(null, N_CONCEPTS, SEEDS))
    scores = {"cuts": {"cosine": cuts.cosine, "t_overlap": cuts.overlap}}
    scores[NULL] = set_scores(swapped(null), cuts) | {"forgotten": null.forgotten}  # other samples than of the cuts
    for kind in SETS:
        tuned = fine_tuned(adapter_of(kind), lmm, layer)
        scores[kind] = set_scores(tuned, cuts) | {"steering": steering_scores(tuned), "forgotten": tuned.forgotten}
    scores[RENAME] = rename_scores(fine_tuned(adapter_of(RENAME), lmm, layer))
    sign = load_lmm(lmm.name, adapter=adapter_of(SIGN))
    runs = {
        name: sign_scores(one, signed_states(one, layer), kmeans(0, N_CONCEPTS))
        for name, one in (("after", sign), ("before", lmm))
    }
    scores[SIGN] = runs["after"] | {"before": runs["before"]}
    return scores


def null_shifts(null: FineTuned, n_concepts: int, seeds: Sequence[int]) -> list[ConceptShift]:
    """Comparisons in which nothing changed but the dictionaries' seeds, so that the method's own noise is in them, too."""
    banks = [null.banks(kmeans(seed, n_concepts)) for seed in seeds]
    return [compare(before, after) for (before, _), (_, after) in zip(banks, banks[1:] + banks[:1])]


def swapped(tuned: FineTuned) -> FineTuned:
    """With its held-out samples to learn from."""
    return FineTuned(tuned.before, tuned.after, tuned.held_out, tuned.learned)


def set_scores(tuned: FineTuned, cuts: Cuts, n_concepts: int = N_CONCEPTS, seeds: Sequence[int] = SEEDS) -> dict:
    """What became of the concepts of one set, over dictionaries of several seeds.

    Returns
    -------
    dict
        [mean, low, high] over seeds and concepts: cosine_before and cosine_after of unshifted and shifted concepts with
        those after; cosine_permuted and cosine_random of the controls; words_before and words_after, their T-Overlaps; gain
        in cosine, and nearer_share, of shifted concepts; nearer_permuted, of those moved by another's vector; t_overlap of each concept with its nearest after; changed, the
        share of concepts beyond the cuts; consistency; magnitude. with_gain: Pearson's r of consistency and magnitude with
        the gain, over the concepts of all seeds, of which many are alike: its intervals are too narrow. about, by factor:
        how many concepts are about one value, before and after, means over seeds. counts of what became of concepts,
        too. n: samples.
    """
    banks = [tuned.banks(kmeans(seed, n_concepts)) for seed in seeds]
    shifts = [compare(*pair, cuts) for pair in banks]
    tables = [tuned.recovery(pair) for pair in banks]
    moved = [tuned.vectors(before).table for before, _ in banks]
    gained = [gains(table) for table in tables]
    scores = {
        name: over(table.loc[table["kind"] == kind, column] for table in tables) for name, kind, column in RECOVERED
    }
    scores |= {
        "gain": over(gain["cosine_gain"] for gain in gained),
        "nearer_share": share_over_seeds([gain["nearer"] for gain in gained]).ends,
        "nearer_permuted": share_over_seeds([gains(table, kind=PERMUTED)["nearer"] for table in tables]).ends,
        "t_overlap": over(shift.before_table["t_overlap"] for shift in shifts),
        "changed": share_over_seeds([changed(shift) for shift in shifts]).ends,
        "consistency": over(table["consistency"] for table in moved),
        "magnitude": over(table["magnitude"] for table in moved),
    }
    by_concept = pd.concat([pd.concat([moves, gain], axis=1) for moves, gain in zip(moved, gained)])
    scores["with_gain"] = {
        name: correlation(by_concept[name], by_concept["cosine_gain"]).ends for name in ("consistency", "magnitude")
    }
    scores["about"] = {factor: about(tuned, banks, factor) for factor in FACTORS}
    counts = pd.DataFrame([shift.counts for shift in shifts]).mean()
    return scores | {"counts": counts.to_dict(), "n": len(tuned.learned)}


def over(columns) -> list[float]:
    """The mean over seeds and concepts, with seeds as the outer level of its interval."""
    return nested_bootstrap([column.to_numpy(float) for column in columns]).ends


def changed(shift: ConceptShift) -> list[float]:
    """Of each concept, before and after, whether it is beyond the cuts."""
    tables = (shift.before_table, shift.after_table)
    return [float(change != UNCHANGED) for table in tables for change in table["change"]]


def about(tuned: FineTuned, banks, factor: str) -> list[float]:
    """How many concepts are about one value of a factor, before and after: means over seeds, by held-out samples."""
    sides = (tuned.held_out.before, tuned.held_out.after)
    return [
        sum(n_about(pair[side], states, factor) for pair in banks) / len(banks) for side, states in enumerate(sides)
    ]


def rename_scores(tuned: FineTuned) -> dict:
    """`rename_found`, means over seeds."""
    rows = [rename_found(tuned, tuned.banks(kmeans(seed, N_CONCEPTS))) for seed in SEEDS]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in ("found", "elsewhere", "moved")}
    return means | {"n": [sum(counts) for counts in zip(*(row["n"] for row in rows))]}


def steering_scores(tuned: FineTuned) -> dict:
    """Does the mean shift vector make the model before speak as the one after, and taken away the other way round?

    Returns
    -------
    dict
        forward and undo, each: hit, the share of captions that name the same facts as the other model's; hit_random, of a
        random direction as long; unsteered, without either; alpha, chosen on validation pages by hit, None where no alpha hits there.
    """
    return {name: one_way(tuned, undo) for name, undo in (("forward", False), ("undo", True))}


def one_way(tuned: FineTuned, undo: bool) -> dict:
    """One of the two directions."""
    steered, other = (tuned.after, tuned.before) if undo else (tuned.before, tuned.after)
    direction = shift_direction(tuned.learned, undo)
    pages = {split: load_images("picturebook", split).mentioning(TOKEN)[:n] for split, n in N_STEERED.items()}
    tried = hits(steered, other, pages["validation"], {alpha: direction for alpha in ALPHAS})
    alpha = max(ALPHAS, key=lambda alpha: tried[alpha].mean())
    edits = {(alpha, "own"): direction, (alpha, "random"): random_direction(direction)}
    tested = hits(steered, other, pages["test"], edits, lambda name: name[0])
    rows = {"hit": tested[alpha, "own"], "hit_random": tested[alpha, "random"], "unsteered": tested["unsteered"]}
    shares = {name: share_over_seeds([row.astype(float)]).ends for name, row in rows.items()}
    return shares | {"alpha": alpha if tried[alpha].any() else None}


def hits(
    lmm: LMM,
    other: LMM,
    images: CaptionedImages,
    edits: dict[object, Direction],
    alpha_of: Callable = lambda alpha: alpha,
) -> pd.DataFrame:
    """For each page whether the caption names the same facts as the other model's: under each edit, and unsteered."""
    wanted = captions_under(other, images, [], "generated", None, MAX_NEW_TOKENS)["unsteered"].map(facts_of)
    runs = [(name, edit, alpha_of(name)) for name, edit in edits.items()]
    captions = captions_under(lmm, images, runs, "generated", None, MAX_NEW_TOKENS)
    return captions.apply(lambda column: column.map(facts_of) == wanted)


def shift_table(scores: dict) -> str:
    """The scores as text: a row for each set, then the two planted changes."""
    sets = {kind: scores[kind] for kind in (*SETS, NULL)}
    names = [name for name, value in scores[NULL].items() if isinstance(value, list)]
    table = pd.DataFrame({kind: {name: row[name][0] for name in names} for kind, row in sets.items()}).T
    planted = {"rename": {name: scores[RENAME][name] for name in ("found", "elsewhere", "moved")}}
    planted["sign"] = {"auc": scores[SIGN]["auc"][0], "auc before": scores[SIGN]["before"]["auc"][0]}
    return "\n\n".join([as_text(table), *(as_text(pd.DataFrame({name: row})) for name, row in planted.items())])
