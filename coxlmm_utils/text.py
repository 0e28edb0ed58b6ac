"""Words in text, and which of the words that a model's unembedding yields may ground a concept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from numbers import Integral

FUNCTION_WORDS = frozenset(
    """
    a an the this that these those such same other another each every either neither both all any some none
    no not nor i me my mine myself we us our ours ourselves you your yours yourself he him his himself she her
    hers herself it its itself they them their theirs themselves who whom whose which what when where why how
    someone somebody something anyone anybody anything everyone everybody everything nobody nothing
    and but or so yet if then than because though although while whereas unless until since whether as like
    at by for from in into of off on onto out over to toward towards up upon with within without via per
    about above across after against along among amongst around before behind below beneath beside besides
    between beyond despite down during except near next through throughout under underneath unlike
    am is are was were be been being do does did doing done has have had having
    can cannot could may might must shall should will would ought
    there here thus hence therefore however also too very just only even ever never always often again already
    still almost quite rather perhaps maybe else more most much many few fewer less least several enough own
    zero one two three four five six seven eight nine ten eleven twelve thirteen fifteen twenty thirty forty
    fifty hundred thousand million first second third fourth fifth once twice
""".split()
)  # words of grammar and of counting; home, side, front, top have a meaning of their own: not here

WORD_STARTS = (" ", "\u2581", "\u0120")  # a space, and what SentencePiece and byte-level tokenizers write

WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")

# Scripts that are written without spaces: Thai, Lao, Burmese, Khmer, Hiragana, Han. Katakana are apart: a run of them
# is a word, and stands among the others without a space. Marks of vowels and tones belong to the letter before them.
_SPACELESS = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u309f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_MARKS = (
    "\u0300-\u036f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    "\u102b-\u103e\u17b6-\u17d3\u3099\u309a"
)


def words_in(text: str) -> list[str]:
    """The words of a text in order, in lower case; "t-shirt" and "dog's" are one word each (ours)."""
    return WORD.findall(text.lower())


def whole_word(*spellings: str) -> re.Pattern[str]:
    """A pattern that finds any of the spellings as a whole word, whatever the case (ours).

    The paper asks for the token in the caption; the released code takes any substring ("cat" in "cattle"). Where a
    script has no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) it cannot be seen where a word ends: there, any
    place counts, also inside a longer word. A word in Katakana or Latin letters among them must be whole.

    Parameters
    ----------
    *spellings : str
        Such as "dog", "dogs"; a spelling may have several words ("hot dog"), with any white space between them.

    Returns
    -------
    re.Pattern
        `whole_word("dog").search(caption)` is None where the caption does not mention it.

    Raises
    ------
    ValueError
        If no spelling is given, or a blank one.
    """
    if not spellings or not all(spelling.strip() for spelling in spellings):
        raise ValueError(f"give at least one spelling to look for and no blank ones, not {spellings}")
    return re.compile("|".join(map(_whole, spellings)), re.IGNORECASE)


def _whole(spelling: str) -> str:
    """The pattern of one spelling: no letter of its kind comes before or after it."""
    words = spelling.split()
    before, after = (_same_kind(letter) for letter in (words[0][0], words[-1][-1]))
    return rf"(?<!{before})" + r"\s+".join(map(re.escape, words)) + rf"(?![{_MARKS}]|{after})"


def _same_kind(letter: str) -> str:
    """The letters that would make a longer word beside a letter, as a class of characters."""
    if re.match(f"[{_SPACELESS}]", letter):
        return r"[^\s\S]"  # none
    return f"[{_KATAKANA}]" if re.match(f"[{_KATAKANA}]", letter) else rf"[^\W{_SPACELESS}{_KATAKANA}]"


def quoted(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)


def common_words(words: Counter, n: int = 12) -> str:
    """The most frequent words with a meaning of their own, as a list to choose from."""
    frequent = [word for word, _ in words.most_common() if len(word) > 2 and word not in FUNCTION_WORDS]
    return ", ".join(frequent[:n]) or "none"


def check_counts(**counts: int | None) -> None:
    """Refuse (ValueError) counts that are not whole numbers from 1 on; None stands for a default (ours)."""
    for name, count in counts.items():
        if count is not None and not (isinstance(count, Integral) and count >= 1):
            kind = "at least 1" if isinstance(count, Integral) else "a whole number"
            raise ValueError(f"{name} must be {kind}, not {count!r}.")
