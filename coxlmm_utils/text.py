"""Words in text, and which of the words that a model's unembedding yields may ground a concept."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import groupby
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

# Scripts that are written without spaces: Thai, Lao, Burmese, Khmer, Hiragana, Han. Katakana are apart: a run of them
# is a word, and stands among the others without a space.
_SPACELESS = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u309f\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"

# Marks of vowels, tones and accents belong to the letter before them, as in Hindi and Thai; not those of emoji. (No
# further than this: a class of characters is fast only below \U00010000.)
_MARKS = "".join(mark for mark in map(chr, range(0xFE00)) if unicodedata.category(mark)[0] == "M")
_SPACED_MARKS = re.sub(f"[{_SPACELESS}]", "", _MARKS)
_ALIKE = ("'\u2019\u02bc", "-\u2010\u2011")  # apostrophes, and hyphens

LETTERS = rf"[^\W\d_]+(?:[{_MARKS}]+[^\W\d_]*)*"
WORD = re.compile(rf"{LETTERS}(?:[{re.escape(''.join(_ALIKE))}]{LETTERS})*")


def words_in(text: str) -> list[str]:
    """The words of a text in order, in lower case; "t-shirt" and "dog's" are one word each (ours).

    However a text writes accents, apostrophes and hyphens, a word comes out in one way.
    """
    text = unicodedata.normalize("NFC", text.lower())
    for alike in _ALIKE:
        text = re.sub(f"[{alike[1:]}]", alike[0], text)
    return WORD.findall(text)


def whole_word(*spellings: str) -> re.Pattern[str]:
    """A pattern that finds any of the spellings as a whole word, whatever the case (ours).

    The paper asks for the token in the caption; the released code takes any substring ("cat" in "cattle"). Where a
    script has no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) it cannot be seen where a word ends: there, any
    place counts, also inside a longer word. A word in Katakana or Latin letters among them must be whole. An accented
    letter may be one character or two (as macOS writes file names), and apostrophes and hyphens are all alike.

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
    if not all(isinstance(spelling, str) for spelling in spellings):
        raise ValueError(f'give the spellings one by one, as in "dog", "dogs", not {spellings!r:.80}')
    if not spellings or not all(spelling.strip() for spelling in spellings):
        raise ValueError(f"give at least one spelling to look for and no blank ones, not {spellings}")
    words = [unicodedata.normalize("NFC", spelling).split() for spelling in spellings]
    # Spellings in a row that begin and end in one script share their look around: 18 times as fast for 120 of them.
    return re.compile("|".join(_whole(*kinds, alike) for kinds, alike in groupby(words, _kinds)), re.IGNORECASE)


def _whole(before: str, after: str, spellings: Iterable[list[str]]) -> str:
    """The pattern of spellings, each in its words: no letter of the kinds comes before or after them."""
    texts = [r"\s+".join("".join(map(_written, word)) for word in words) for words in spellings]
    return rf"(?<!{before})(?:{'|'.join(texts)})(?![{_MARKS}]|{after})"


def _kinds(words: list[str]) -> tuple[str, str]:
    """The characters that would make a spelling longer, before it and after it."""
    return _same_kind(words[0][0]), _same_kind(words[-1][-1])


def _written(letter: str) -> str:
    """The ways in which a letter is written."""
    alike = next((alike for alike in _ALIKE if letter in alike), None)
    apart = unicodedata.normalize("NFD", letter)
    return f"[{re.escape(alike)}]" if alike else re.escape(letter) if apart == letter else f"(?:{letter}|{apart})"


def _same_kind(letter: str) -> str:
    """The characters that would make a longer word beside a letter, as a pattern of one of them."""
    if re.match(f"[{_SPACELESS}]", letter):
        return r"[^\s\S]"  # none
    if re.match(f"[{_KATAKANA}]", letter):
        return f"[{_KATAKANA}]"
    return rf"(?:[^\W{_SPACELESS}{_KATAKANA}]|[{_SPACED_MARKS}])"


def quoted(words: Sequence[str]) -> str:
    return " or ".join(f"'{word}'" for word in words)


def common_words(words: Counter, n: int = 12) -> str:
    """The most frequent words with a meaning of their own, as a list to choose from."""
    frequent = [word for word, _ in words.most_common() if len(word) > 2 and word not in FUNCTION_WORDS]
    return ", ".join(frequent[:n]) or "none"


def changed_phrases(before: str, after: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Two texts in phrases, each with whether the other text lacks it where it stands; as few words as can be are (ours)."""
    words, kept = (before.split(), after.split()), (set(), set())
    for block in SequenceMatcher(None, *words, autojunk=False).get_matching_blocks():
        for rows, start in zip(kept, (block.a, block.b)):
            rows.update(range(start, start + block.size))
    left, right = (
        [
            (" ".join(text[i] for i in run), changed)
            for changed, run in groupby(range(len(text)), key=lambda i, rows=rows: i not in rows)
        ]
        for text, rows in zip(words, kept)
    )
    return left, right


def check_counts(**counts: int | None) -> None:
    """Refuse (ValueError) counts that are not whole numbers from 1 on; None stands for a default (ours)."""
    for name, count in counts.items():
        is_whole = isinstance(count, Integral) and not isinstance(count, bool)
        if count is not None and not (is_whole and count >= 1):
            kind = "at least 1" if is_whole else "a whole number"
            raise ValueError(f"{name} must be {kind}, not {count!r}.")


def in_bytes(count: float) -> str:
    """A number of bytes as "13.2 GB", "35 MB", "1.8 MB" or "20 kB", in powers of 1,024 as graphics cards are measured."""
    if count >= 2**30:
        return f"{count / 2**30:,.1f} GB"
    if count >= 2**20:
        return f"{count / 2**20:,.{int(count < 10 * 2**20)}f} MB"
    return f"{count / 2**10:,.0f} kB"
