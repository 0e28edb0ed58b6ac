"""What the explainer shows of a picture, each view a function from data to HTML; all text in it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..explanation import Explanation, PatchMap
from ..text import whole_word
from .caption_and_explain import PictureExplanation
from .cards import Shown, show
from .html import Thumbnails, data_uri, render

N_BARS = 5  # concepts
N_PICTURES = 4  # per concept
N_WORDS = 5
SIDE = 640  # pixels of the longer side of the explained picture, as it is enlarged
HINT = "A hint only: in the picture book, where the object is known, no map finds it reliably (notebook 07)."
WAYS = {
    "projection": (
        "by projection",
        "Orange to yellow where a piece of the picture, by itself, holds the concept.",
    ),
    "gradient": (
        "by gradient times input",
        "Orange to yellow where the picture speaks for the concept, blue where it speaks against it.",
    ),
}


@dataclass(frozen=True)
class Bar:
    """A concept's bar, with the words and pictures beside it."""

    concept: int
    title: str  # the user's name of it, or its first words
    words: tuple[str, ...]  # those that the title does not have
    value: float  # activation divided by the picture's largest (paper's Fig 5), from -1 to 1
    before: float | None  # the same before the picture was changed; None if it was not
    pictures: tuple[Shown, ...]  # those that activate it most


def shown_concepts(explained: Explanation, before: Explanation | None = None, n: int = N_BARS) -> list[int]:
    """Which concepts have a bar: the n most active ones, then those that were among them before the change."""
    now = explained.top(n)
    return now + [concept for concept in (before.top(n) if before else []) if concept not in now]


def bars(explained: Explanation, thumbnails: Thumbnails, before: Explanation | None = None) -> list[Bar]:
    """The bars of an explanation, most active first (paper's Fig 5; what was before is ours)."""
    return [_bar(explained, thumbnails, before, concept) for concept in shown_concepts(explained, before)]


def _bar(explained: Explanation, thumbnails: Thumbnails, before: Explanation | None, concept: int) -> Bar:
    rows = explained.bank.top_of(concept, explained.activations[concept])[:N_PICTURES]
    words, title = explained.words(concept).kept[:N_WORDS], explained.title(concept)
    others = (
        tuple(word for word in words if word not in title.split(", ")) if words else ("no words left by the filter",)
    )
    was = float(before.relative[concept]) if before else None
    value = float(explained.relative[concept])
    pictures = tuple(show(explained.bank, thumbnails, row, concept) for row in rows)
    return Bar(concept, title, others, value, was, pictures)


def answer_page(
    explained: Explanation,
    thumbnails: Thumbnails,
    before: Explanation | None = None,
    remarks: Sequence[str] = (),
    map: PatchMap | None = None,
    following: Sequence[tuple[str, float]] | None = None,
) -> str:
    """The caption with its token marked, the picture, and the bars of its concepts."""
    return render(
        "ask_answer.html",
        picture=data_uri(explained.picture, SIDE),
        caption=marked(explained.caption, explained.bank.spellings),
        token=_token_as_spelled(explained),
        bars=bars(explained, thumbnails, before),
        changed=before is not None,
        remarks=[sentence(remark) for remark in remarks],
        share=sentence(explained.share_text(N_BARS)),
        map=_map(map, explained.title(map.concept)) if map else None,
        following=None if following is None else [(word, p, percent(p)) for word, p in following],
    )


def unexplained_page(shown: PictureExplanation, words: Sequence[str]) -> str:
    """The picture and its caption where no bank explains a word of the caption."""
    picture, remarks = data_uri(shown.picture, SIDE), [sentence(remark) for remark in shown.remarks]
    return render("ask_silent.html", picture=picture, captions=shown.captions, words=words, remarks=remarks)


def notice(kind: str, text: str) -> str:
    """One sentence above the answer: "busy" while the model runs, "problem" where something failed, "note" else."""
    return render("ask_notice.html", kind=kind, text=sentence(text))


def strip_style(scope: str, thumbs: Sequence[str | None]) -> str:
    """A style that puts small pictures on the buttons that choose them."""
    return render("ask_strip.html", scope=scope, thumbs=thumbs)


def marked(caption: str, spellings: Sequence[str]) -> tuple[str, str, str]:
    """A caption in three parts: before the token, the token as it is spelled there, and after it."""
    match = whole_word(*spellings).search(caption)
    if match is None:
        return caption, "", ""
    return caption[: match.start()], match.group(), caption[match.end() :]


def sentence(text: str) -> str:
    """A message with a capital and a full stop."""
    text = text.strip()
    return text if not text else text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")


def percent(probability: float) -> str:
    """A probability for people."""
    return "under 1%" if probability < 0.01 else f"{probability:.0%}"


def _token_as_spelled(explained: Explanation) -> str:
    """The token as the caption has it."""
    return marked(explained.caption, explained.bank.spellings)[1] or explained.bank.token


def _map(map: PatchMap, title: str) -> dict[str, str]:
    """A patch map with the words under it."""
    way, legend = WAYS[map.way]
    if map.way == "projection" and map.values.min() < 0:
        legend += " Blue: its opposite."
    return {"picture": data_uri(map.overlay(SIDE), SIDE), "title": title, "way": way, "legend": f"{legend} {HINT}"}
