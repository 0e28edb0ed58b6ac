"""A drawn, captioned world whose factors are known: pages, their reference captions, and questions about them.

`factors` decides what is on a page, `captions` says it, `drawing` and its helpers draw it; `page_cache` keeps drawings.
"""

from .captions import (
    FACTS_BY_WORD,
    FUNCTION_WORDS,
    SENTENCE_PROMPT,
    TAG_WORDS,
    TAGS_PROMPT,
    facts_in,
    references,
    references_for,
    sentence,
    tags,
)
from .drawing import PICTURE_SIDE
from .factors import (
    ACTIONS,
    COLOURS,
    COMPANIONS,
    PLACES,
    SIZES,
    SUBJECTS,
    TIMES,
    Factors,
    allowed_values,
    factors_of,
    page_numbers,
)
from .page import Page, page
from .page_cache import drawing_version, drawn_pages
from .questions import (
    ASKED_NOUNS,
    QUESTION_TOPICS,
    Question,
    ask,
    ask_presence,
    ask_some_presence,
    present_nouns,
    question_words,
)

__all__ = [
    "ACTIONS",
    "ASKED_NOUNS",
    "COLOURS",
    "COMPANIONS",
    "FACTS_BY_WORD",
    "FUNCTION_WORDS",
    "Factors",
    "PICTURE_SIDE",
    "PLACES",
    "Page",
    "QUESTION_TOPICS",
    "Question",
    "SENTENCE_PROMPT",
    "SIZES",
    "SUBJECTS",
    "TAGS_PROMPT",
    "TAG_WORDS",
    "TIMES",
    "allowed_values",
    "ask",
    "ask_presence",
    "ask_some_presence",
    "drawing_version",
    "drawn_pages",
    "factors_of",
    "facts_in",
    "page",
    "page_numbers",
    "present_nouns",
    "question_words",
    "references",
    "references_for",
    "sentence",
    "tags",
]
