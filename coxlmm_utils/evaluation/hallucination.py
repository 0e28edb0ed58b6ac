"""Objects that captions name though they are not there (CHAIR, Rohrbach et al. 2018), and answers that have a phrase."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..statistics import Mean, share_of
from ..text import whole_word


def chair(mentioned: Sequence[Collection[str]], present: Sequence[Collection[str]]) -> dict[str, float]:
    """CHAIR_s and CHAIR_i of captions.

    Parameters
    ----------
    mentioned : sequence of collection of str
        The objects that each caption names, by one word each: synonyms joined, repeats once.
    present : sequence of collection of str
        The objects that each picture shows.

    Returns
    -------
    dict of str to float
        chair_s, the share of captions that name an absent object; chair_i, the share of absent ones among all objects
        named; recall, the share of present objects that are named. NaN where there is nothing to divide by.
    """
    if len(mentioned) != len(present) or not mentioned:
        raise ValueError(f"there are {len(mentioned)} captions and {len(present)} pictures: give one of each, at least")
    named, there = [set(objects) for objects in mentioned], [set(objects) for objects in present]
    false = [own - shown for own, shown in zip(named, there)]
    n_named, n_there = sum(map(len, named)), sum(map(len, there))
    return {
        "chair_s": sum(map(bool, false)) / len(named),
        "chair_i": sum(map(len, false)) / n_named if n_named else float("nan"),
        "recall": sum(len(own & shown) for own, shown in zip(named, there)) / n_there if n_there else float("nan"),
    }


def phrase_share(answers: Sequence[str], phrases: Sequence[str]) -> Mean:
    """The share of answers that have one of some phrases as whole words (the ED-score of arXiv 2508.12815), with its interval."""
    if not answers or not phrases:
        raise ValueError("a share needs answers and phrases: give some of both")
    found = whole_word(*phrases)
    return share_of([found.search(answer.lower()) is not None for answer in answers])
