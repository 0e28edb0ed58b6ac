"""Which words have enough samples to learn concepts from, estimated before any long run (all ours)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..images import CaptionedImages, warn_of_unreadable
from ..models import LMM, generate_captions, without_refused
from ..statistics import wilson_interval
from ..text import FUNCTION_WORDS, LETTERS

BATCH = 32  # pictures

Words = set[str] | None  # those of a picture's references; None where it has none

_WORD = re.compile(rf"(?<!\w)(?>{LETTERS})(?!\w)")  # found by `whole_word`, too: "dog" in "dog's", but not in "dog_2"


def suggest_tokens(
    images: CaptionedImages,
    lmm: LMM | None = None,
    n_pictures: int = 200,
    min_samples: int = 100,
    seed: int = 0,
    prompt: str | None = None,
) -> pd.DataFrame:
    """Which words have enough samples for `extract`, from the references and, with an LMM, from a few captions.

    A sample is a picture that a reference mentions the word for and whose generated caption says it, as in the paper
    (arXiv 2406.08074; the table is ours). Pictures without references count as `extract` has it: the caption decides.

    Parameters
    ----------
    images : CaptionedImages
    lmm : LMM, optional
        With it, `n_pictures` pictures taken at random are captioned. Without, only references are counted: each count
        is the most samples that there can be.
    n_pictures : int
        How many pictures are captioned; all, if there are no more. More of them make narrower intervals.
    min_samples : int
        How many samples are enough; 100 are five for each of the paper's 20 concepts.
    seed : int
        Which pictures are taken.
    prompt : str, optional
        Default: the LMM's own.

    Returns
    -------
    pandas.DataFrame
        A row for each word of the references, and of the captions, that is not a function word and has two letters or
        more; most expected samples first, and of equals the most said (without an LMM, most mentions).

        - mentioned: pictures with a reference that has it, as a whole word
        - enough: "yes", "no" or "perhaps" (`min_samples` is inside the interval, or nothing was captioned)

        and with an LMM also

        - sampled: pictures captioned that may be samples: those that mention it or have no references
        - said: captions that say it
        - both: captions that say it for such a picture, which are samples
        - expected: samples over all pictures, the share both / sampled of those that may be; NaN if none was captioned
        - low, high: the same at the ends of that share's 95 % Wilson interval, for the pictures not captioned
        - pieces: how many tokens the word is to this model (the paper's are single); 0 if it cannot write it

    Raises
    ------
    ValueError
        If `n_pictures` or `min_samples` is below 1.

    Warns
    -----
    UserWarning
        Of pictures that cannot be read; they are left out.
    """
    if n_pictures < 1 or min_samples < 1:
        raise ValueError(f"n_pictures={n_pictures} and min_samples={min_samples} must be at least 1")
    reading = tqdm(images.references, desc="reading references", leave=False, delay=1)
    references = [content_words(captions) if captions else None for captions in reading]
    mentioned = _counted(references)
    if lmm is None:
        table = pd.DataFrame({"mentioned": mentioned}, index=pd.Index(list(mentioned), name="word"), dtype=int)
        table["enough"] = np.where(table["mentioned"] < min_samples, "no", "perhaps")
        return _ordered(table, ["mentioned"])
    rows, captions = _captioned(lmm, images, n_pictures, seed, prompt)
    table = _estimated(references, rows, [content_words([caption]) for caption in captions])
    table["enough"] = np.select([table["low"] >= min_samples, table["high"] < min_samples], ["yes", "no"], "perhaps")
    table["pieces"] = [n_pieces(lmm, word) for word in table.index]
    return _ordered(table, ["expected", "said", "high"])


def content_words(captions: Iterable[str]) -> set[str]:
    """The words of some captions that could be a token: in lower case, whole, without function words and letters."""
    words = {word for caption in captions for word in _WORD.findall(caption.lower()) if len(word) > 1}
    return words - FUNCTION_WORDS


def n_pieces(lmm: LMM, word: str) -> int:
    """How many tokens a word is inside a caption; 0 if the tokenizer has none for it."""
    before, both = (lmm.tokenizer.encode(text, add_special_tokens=False) for text in ("a", f"a {word}"))
    pieces = both[len(before) :]
    return 0 if lmm.tokenizer.unk_token_id in pieces else len(pieces)


def _captioned(
    lmm: LMM, images: CaptionedImages, n_pictures: int, seed: int, prompt: str | None
) -> tuple[list[int], list[str]]:
    """Captions of some pictures taken at random, with their rows."""
    n = min(n_pictures, len(images))
    chosen = np.sort(np.random.default_rng(seed).choice(len(images), n, replace=False)).tolist()
    rows, captions, unreadable = [], [], {}
    with tqdm(total=n, desc="captioning a sample", unit="pictures") as bar:
        for start in range(0, n, BATCH):
            opened, pictures, failed = images.opened(chosen[start : start + BATCH])
            if pictures and not rows:
                lmm.warn_if_out_of_domain(pictures)

            def run(taken: list[int]) -> list[str]:
                some = [pictures[i] for i in taken]
                return [each.caption for each in generate_captions(lmm, some, prompt=prompt)] if some else []

            written, refused = without_refused(lmm, pictures, prompt, run)
            captions += written
            rows += [row for i, row in enumerate(opened) if i not in refused]
            unreadable |= failed | {images.ids[opened[i]]: reason for i, reason in refused.items()}
            bar.update(len(chosen[start : start + BATCH]))
    warn_of_unreadable(list(unreadable))
    return rows, captions


def _estimated(references: list[Words], rows: list[int], captions: list[set[str]]) -> pd.DataFrame:
    """Counts over all pictures and over those captioned, and the samples to expect."""
    here = [references[row] for row in rows]
    counts = {
        "mentioned": _counted(references),
        "sampled": _counted(here),
        "said": _counted(captions),
        "both": _counted(caption if words is None else caption & words for caption, words in zip(captions, here)),
    }
    words = pd.Index(list({**counts["mentioned"], **counts["said"]}), name="word")
    table = pd.DataFrame({name: [count[word] for word in words] for name, count in counts.items()}, index=words)
    table["sampled"] += here.count(None)
    possible, both = table["mentioned"] + references.count(None), table["both"]
    rest = possible - table["sampled"]  # pictures that may be samples, and were not captioned
    low, high = wilson_interval(both, table["sampled"])
    share = both / table["sampled"].where(table["sampled"] > 0)
    table["expected"] = (both + rest * share).where(possible > 0, 0.0)
    table["low"], table["high"] = both + rest * low, both + rest * high
    return table.round({"expected": 1, "low": 1, "high": 1})


def _counted(sets: Iterable[Words]) -> Counter:
    """In how many of the sets each word is."""
    return Counter(word for words in sets for word in words or ())


def _ordered(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Most first, and of equals in the order of the alphabet; "enough" comes after the counts."""
    columns = [name for name in table if name not in ("enough", "pieces")]
    table = table.sort_index().sort_values(by, ascending=False, kind="stable", na_position="last")
    return table[[*columns, "enough", *(["pieces"] if "pieces" in table else [])]]
