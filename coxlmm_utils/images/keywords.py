"""Subsets of captioned pictures by keyword, as concept shift is studied on (arXiv 2501.03012); the words are ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..text import common_words, quoted, whole_word
from .captioned_images import CaptionedImages

N_SHOWN = 8  # keywords that a message names

KEYWORDS = {
    "colour": tuple(
        """
        black white grey gray red orange yellow green blue purple pink brown beige tan cream ivory gold golden silver
        maroon burgundy crimson turquoise teal navy violet lavender magenta khaki
        """.split()
    ),
    "place": tuple(
        """
        beach ocean sea lake river pond shore harbor harbour island desert forest woods jungle mountain hill valley
        meadow pasture farm garden park playground zoo street road highway sidewalk alley bridge city town village market
        store restaurant cafe bakery hotel kitchen bathroom bedroom office classroom school church museum library
        hospital airport stadium
        """.split()
    ),
    "sentiment": tuple(
        """
        happy happily happiness joy joyful cheerful glad delighted pleased excited exciting thrilled enthusiastic playful
        smile smiles smiling grin grinning laugh laughing giggling amused funny fun silly calm peaceful relaxed relaxing
        serene comfortable cozy cosy confident proud hopeful grateful love loving lovely romantic affectionate friendly
        gentle beautiful pretty gorgeous cute adorable charming elegant attractive handsome wonderful amazing awesome
        fantastic great excellent perfect nice pleasant delicious impressive majestic spectacular festive
        surprised astonished shocked curious bored boring tired sleepy exhausted sad sadly sadness unhappy miserable
        gloomy depressed depressing dreary lonely crying tears weeping upset disappointed frustrated annoyed angry mad
        furious grumpy fierce aggressive worried anxious nervous tense stressed scared afraid frightened frightening
        terrified scary creepy spooky eerie dangerous ugly disgusting gross nasty awful terrible horrible bad filthy
        painful suffering frown frowning embarrassed ashamed serious solemn
        """.split()
    ),
}


def keyword_subset(images: CaptionedImages, words: Iterable[str]) -> CaptionedImages:
    """The pictures with a reference that has one of the words, and of their references only those that do (ours).

    Models are fine-tuned on such subsets of Visual Genome in arXiv 2501.03012. Its code for it was not released
    (its lists of words were): which words, and that they are whole words in any case, are ours.

    Parameters
    ----------
    images : CaptionedImages
        Of any source; of "visual_genome:DIR" the references are phrases about regions.
    words : iterable of str
        Such as `KEYWORDS["colour"]`, or ["dog", "hot dog"]. No other forms of a word are looked for: give "dogs", too.

    Returns
    -------
    CaptionedImages
        In the same order, with the same ids.

    Raises
    ------
    ValueError
        If no reference has one of the words, none is given, or they are one text.

    Examples
    --------
    >>> colours = keyword_subset(load_images("visual_genome:/data/vg", "train"), KEYWORDS["colour"])  # doctest: +SKIP
    """
    if isinstance(words, str):
        raise ValueError(f'give a list of words, as in KEYWORDS["colour"], not the text {words!r:.80}')
    words = tuple(words)
    pattern = whole_word(*words)
    subset = images[images.rows_with(pattern)]
    if not len(subset):
        more = f" or {len(words) - N_SHOWN} others" if len(words) > N_SHOWN else ""
        raise ValueError(
            f"no reference of the {len(images):,} pictures has {quoted(words[:N_SHOWN])}{more}; "
            f"words that do occur: {common_words(images.words())}"
        )
    return replace(subset, references=tuple(tuple(filter(pattern.search, texts)) for texts in subset.references))
