"""What is to be read: the tokens, layers and positions, of which pictures, under which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .._version import __version__
from ..files import digest
from ..images import CaptionedImages
from ..models import LMM, POSITIONS, Layer, find_token
from ..text import common_words, quoted
from . import blocks
from .blocks import BlockFolder, block_name

REFERENCE_RULES = ("word", "substring")


def make_plan(
    lmm: LMM,
    images: CaptionedImages,
    tokens,
    layers,
    positions,
    references,
    prompt,
    max_new_tokens,
    captions,
    stop_early,
) -> ExtractionPlan:
    """What is to be read, of which pictures."""
    spellings = tokens if isinstance(tokens, Mapping) else {token: [token] for token in tokens}
    spellings = {token: [each] if isinstance(each, str) else list(each) for token, each in spellings.items()}
    _check(lmm, spellings, layers, positions, references)
    if captions is not None:
        images = images.with_ids([id for id in images.ids if id in captions])
    targets = Targets(spellings, {token: _eligible(images, each, references) for token, each in spellings.items()})
    wanted = set().union(*targets.eligible.values())
    captioning = {
        "prompt": prompt or lmm.prompt,
        "processor": digest(_processor_settings(lmm)),
        "max_new_tokens": max_new_tokens,
        "captions": "written" if captions is None else "given",
        "model": {"name": lmm.name, "fingerprint": lmm.fingerprint, "dtype": str(lmm.model.dtype)},
        "source": images.source,
        "versions": {"coxlmm_utils": __version__} | {name: version(name) for name in ("torch", "transformers")},
    }
    layers = [layer if isinstance(layer, str) else int(layer) for layer in layers]  # json knows no numpy
    return ExtractionPlan(
        images.with_ids([id for id in images.ids if id in wanted]),
        targets,
        layers,
        list(dict.fromkeys(positions)),
        captioning,
        {"references": references, "stop_early": stop_early},
        captions,
    )


def _check(lmm: LMM, tokens: Mapping[str, Sequence[str]], layers, positions, references: str) -> None:
    if not tokens or not all(each and all(spelling.strip() for spelling in each) for each in tokens.values()):
        raise ValueError(f"the token is empty: {tokens}; give a word, or several spellings of one")
    if not layers:
        raise ValueError("there is no layer to read: give at least one")
    for layer in layers:
        lmm.check_layer(layer)
    for position in positions:
        if position not in POSITIONS:
            raise ValueError(f"there is no position {position!r}; choose one of {', '.join(POSITIONS)}")
    if references not in REFERENCE_RULES:
        raise ValueError(f"there is no reference rule {references!r}; choose one of {', '.join(REFERENCE_RULES)}")


def _processor_settings(lmm: LMM) -> dict:
    """All that turns a picture and a prompt into the model's inputs, but not the tokenizer's words."""
    return {
        "template": getattr(lmm.processor, "chat_template", None),
        "images": lmm.processor.image_processor.to_dict(),
    }


def _eligible(images: CaptionedImages, spellings: Sequence[str], references: str) -> set[str]:
    """The pictures whose references have the token, or that have no references."""
    bare = {id for id, captions in zip(images.ids, images.references) if not captions}
    if references == "word":
        mentioned = set(images.mentioning(*spellings).ids)
    else:
        first = [captions[0].lower() if captions else "" for captions in images.references]
        mentioned = {id for id, text in zip(images.ids, first) if any(s.lower() in text for s in spellings)}
    if not mentioned | bare:
        raise ValueError(
            f"no reference caption of the {len(images):,} pictures has {quoted(spellings)}; "
            f"words that do occur: {common_words(images.words())}"
        )
    return mentioned | bare


@dataclass(frozen=True)
class Targets:
    """The tokens that are looked for.

    Attributes
    ----------
    spellings : dict of str to list of str
    eligible : dict of str to set of str
        For each token the ids of pictures that may be its samples.
    """

    spellings: dict[str, list[str]]
    eligible: dict[str, set[str]]

    def of(self, id: str) -> list[str]:
        """The tokens that one picture may be a sample of."""
        return [token for token in self.spellings if id in self.eligible[token]]

    def steps(self, lmm: LMM, id: str, ids: Sequence[int]) -> dict[str, int]:
        """At which step of a caption each of the picture's tokens first is, if it is."""
        steps = {token: find_token(lmm, ids, self.spellings[token]) for token in self.of(id)}
        return {token: step for token, step in steps.items() if step is not None}

    def all_out(self, lmm: LMM, id: str, ids: Sequence[int]) -> bool:
        """Whether an unfinished caption has all the picture's tokens already, and something after each."""
        return all(find_token(lmm, ids, self.spellings[token], finished=False) is not None for token in self.of(id))


@dataclass(frozen=True)
class ExtractionPlan:
    """One extraction: of which pictures what is read, under which settings.

    Attributes
    ----------
    images : CaptionedImages
        Those that may be samples of some token.
    targets : Targets
    layers, positions : list
    captioning : dict
        What decides the captions.
    rules : dict
        The reference rule, and whether captions stop early.
    captions : mapping of str to str, optional
        Given captions.
    """

    images: CaptionedImages
    targets: Targets
    layers: list[Layer]
    positions: list[str]
    captioning: dict
    rules: dict
    captions: Mapping[str, str] | None

    @property
    def lasting(self) -> bool:
        """Whether it can be told later that the pictures are still the same."""
        return self.images.version is not None

    def version(self, id: str) -> str:
        """What changes when the picture of an id does."""
        try:
            return str(self.images.version(id)) if self.lasting else ""
        except OSError:
            return "missing"

    def folder(self, root: Path) -> BlockFolder:
        """Where its blocks are, or will be."""
        reading = {
            "tokens": self.targets.spellings,
            "layers": self.layers,
            "positions": self.positions,
            "stop_early": self.rules["stop_early"],
        }
        if self.rules["stop_early"]:  # then the tokens decide the captions, too
            captioning = {**self.captioning, "stopped_after": self.targets.spellings}
        else:
            captioning = self.captioning
        names = [block_name(number, self._content(rows)) for number, rows in enumerate(self.blocks())]
        return BlockFolder(root, captioning, reading, names)

    def blocks(self) -> list[range]:
        """The rows of the pictures of each block."""
        n = len(self.images)
        return [range(start, min(start + blocks.BLOCK, n)) for start in range(0, n, blocks.BLOCK)]

    def _content(self, rows: range) -> list:
        """All that a block depends on, besides the settings."""
        ids = [self.images.ids[row] for row in rows]
        given = self.captions or {}
        return [[id, self.version(id), self.targets.of(id), given.get(id)] for id in ids]
