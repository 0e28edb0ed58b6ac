"""What is to be extracted: the tokens, layers and positions, of which pictures, under which settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from unicodedata import normalize

from .._version import __version__
from ..files import digest, is_trouble
from ..images import CaptionedImages
from ..models import LMM, POSITIONS, Layer, caption_settings, digest_of_files, encode_captions, find_token, first_pieces
from ..text import check_counts, common_words, quoted, whole_word
from . import blocks
from .blocks import BlockFolder, block_name
from .provenance import SAID, SAID_AND_THERE, SAID_BUT_ABSENT, SAMPLES, THERE_BUT_UNSAID

REFERENCE_RULES = ("word", "substring")


@dataclass(frozen=True)
class Settings:
    """How an extraction is done: the arguments of `extract_many` under the same names, and `token_ids`, by `reread`."""

    layers: Sequence[Layer]
    positions: Sequence[str] = POSITIONS
    references: str = "word"
    prompt: str | None = None
    max_new_tokens: int = 40
    captions: Mapping[str, str] | None = None
    stop_early: bool = False
    # By picture id, of given captions whose ids simply tokenizing the text would not give.
    token_ids: Mapping[str, list[int]] = field(default_factory=dict)
    samples: str = SAID_AND_THERE


@dataclass(frozen=True)
class Targets:
    """The tokens that are looked for."""

    spellings: dict[str, list[str]]
    eligible: dict[str, set[str]]  # for each token the ids of pictures that may be its samples

    def of(self, id: str) -> list[str]:
        """The tokens that one picture may be a sample of."""
        return [token for token in self.spellings if id in self.eligible[token]]

    def steps(self, lmm: LMM, id: str, ids: Sequence[int]) -> dict[str, int]:
        """The step of a caption, by its token ids, at which each of the picture's tokens first occurs, if it does."""
        steps = {token: find_token(lmm, ids, self.spellings[token]) for token in self.of(id)}
        return {token: step for token, step in steps.items() if step is not None}

    def complete(self, lmm: LMM, id: str, ids: Sequence[int]) -> bool:
        """Whether an unfinished caption has all the picture's tokens already, and something after each."""
        return all(find_token(lmm, ids, self.spellings[token], finished=False) is not None for token in self.of(id))


@dataclass(frozen=True)
class ExtractionPlan:
    """One extraction: the states of which tokens in which pictures, under which settings."""

    images: CaptionedImages  # those that may be samples of some token
    targets: Targets
    settings: Settings
    caption_settings: dict  # all that decides the captions, as json holds it: it names the folder
    mentioned: dict[str, int]  # how many pictures have each token in a reference
    files: str = ""  # a digest of the model's configuration, tokenizer and ends: see `digest_of_files`
    otherwise: bool = False  # whether version 0.1.0 found the tokens at other steps of captions, or not at all

    @property
    def lasting(self) -> bool:
        """Whether it can be checked later that the pictures are still the same."""
        return self.images.version is not None

    @property
    def sample_settings(self) -> dict:
        """The settings beside those of the captions that states remember."""
        return {"references": self.settings.references, "stop_early": self.settings.stop_early, **self._samples}

    @property
    def _samples(self) -> dict:
        """Which samples are taken, where they are not the paper's: those were the only ones when names were given."""
        return {} if self.settings.samples == SAID_AND_THERE else {"samples": self.settings.samples}

    @cached_property
    def keys(self) -> list[tuple[str, str, Layer]]:
        """(token, position, layer) of everything that a block keeps."""
        settings = self.settings
        return [(t, p, layer) for t in self.targets.spellings for p in settings.positions for layer in settings.layers]

    def version(self, id: str) -> str:
        """What changes when the picture of an id does."""
        try:
            return str(self.images.version(id)) if self.lasting else ""
        except OSError as error:
            if is_trouble(error):
                raise
            return "missing"

    def folder(self, root: Path) -> BlockFolder:
        """Where its blocks are, or will be."""
        settings, caption_settings = self.settings, self.caption_settings
        readout_settings = {
            "tokens": self.targets.spellings,
            "layers": list(settings.layers),
            "positions": list(settings.positions),
            "stop_early": settings.stop_early,
            **self._samples,
            **({"token_rule": 2} if self.otherwise else {}),
        }
        if settings.stop_early:  # then the tokens decide where captions end
            caption_settings = {**caption_settings, "stopped_after": self.targets.spellings}
        names = [block_name(number, self.content(rows)) for number, rows in enumerate(self.blocks())]
        folder = BlockFolder(root, caption_settings, readout_settings, names)
        if folder.captions_folder.exists():  # as version 0.1.0 named it
            return folder
        return replace(folder, caption_settings={**caption_settings, "files": self.files})

    def blocks(self) -> list[range]:
        """The rows of the pictures of each block."""
        return blocks.block_rows(len(self.images))

    def content(self, rows: range) -> list:
        """All that a block depends on, besides the settings: what its name is made of."""
        given, token_ids = self.settings.captions or {}, self.settings.token_ids
        content = []
        for id in (self.images.ids[row] for row in rows):
            caption = [given[id], token_ids[id]] if id in token_ids else given.get(id)
            content.append([id, self.version(id), self.targets.of(id), caption])
        return content


def make_plan(
    lmm: LMM, images: CaptionedImages, tokens: Sequence[str] | Mapping[str, Sequence[str]], settings: Settings
) -> ExtractionPlan:
    """Check the settings and find the pictures that may be samples; ValueError says what does not fit."""
    spellings = tokens if isinstance(tokens, Mapping) else {token: [token] for token in words_of(tokens)}
    spellings = {token: words_of(words) for token, words in spellings.items()}
    _check(lmm, spellings, settings)
    settings = replace(settings, max_new_tokens=int(settings.max_new_tokens))  # which json does not hold as numpy does
    captions = settings.captions
    if captions is not None:
        captions = _by_id(captions, images)
        token_ids = _written(lmm, captions, settings.prompt) | {**settings.token_ids}
        images, settings = images.with_ids(captions), replace(settings, captions=captions, token_ids=token_ids)
    mentioned = {token: _mentioned(images, words, settings.references) for token, words in spellings.items()}
    eligible = {
        token: _eligible(images, words, mentioned[token], settings.samples) for token, words in spellings.items()
    }
    anywhere = set().union(*eligible.values())
    prompt = lmm.prompt if settings.prompt is None else settings.prompt
    # The names of these keys are part of the names of folders on disk: they never change.
    decisive = {
        "prompt": prompt,
        "processor": digest(_processor_settings(lmm)),
        "max_new_tokens": settings.max_new_tokens,
        "captions": "written" if captions is None else "given",
        "model": {"name": lmm.name, "fingerprint": lmm.fingerprint, "dtype": str(lmm.model.dtype)},
        "source": images.source,
        "versions": {"coxlmm_utils": __version__} | {name: version(name) for name in ("torch", "transformers")},
    } | caption_settings(lmm, prompt)
    images = images.with_ids([id for id in images.ids if id in anywhere])
    counts = {token: len(ids) for token, ids in mentioned.items()}
    targets, files = Targets(spellings, eligible), digest_of_files(lmm, prompt)
    return ExtractionPlan(images, targets, settings, decisive, counts, files, _found_otherwise(lmm, spellings))


def words_of(token: str | Sequence[str]) -> list[str]:
    """A token's spellings; ValueError for what is no word."""
    words = [token] if isinstance(token, str) or not isinstance(token, Iterable) else list(token)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"the token is not a word: {token!r}; give a word, or several spellings of one")
    if not words or not all(word.strip() for word in words):
        raise ValueError(f"the token is empty: {token!r}; give a word, or several spellings of one")
    return words


def _written(lmm: LMM, captions: Mapping[str, str], prompt: str | None) -> dict[str, list[int]]:
    """The token ids of given captions as the model would write them, where simply tokenizing gives others."""
    simply = lmm.tokenizer([*captions.values()], add_special_tokens=False)["input_ids"]
    written = encode_captions(lmm, [*captions.values()], lmm.prompt if prompt is None else prompt)
    return {id: ids for id, ids, others in zip(captions, written, simply) if ids != others}


def _by_id(captions: Mapping[str, str], images: CaptionedImages) -> dict[str, str]:
    """Given captions by the ids of the pictures that have one; ValueError for what cannot be understood."""
    if not isinstance(captions, Mapping):
        raise ValueError(f"captions= maps picture ids to captions, and this is a {type(captions).__name__}")
    by_name = {str(key): caption for key, caption in captions.items()}
    composed = {
        normalize("NFC", name): caption for name, caption in by_name.items()
    }  # macOS parts accents in file names
    by_id = {id: by_name.get(id, composed.get(normalize("NFC", id))) for id in images.ids}
    by_id = {id: given for id, given in by_id.items() if given not in (None, [], ())}
    if not by_id:
        key, id = (next(iter(names), None) for names in (captions, images.ids))
        raise ValueError(
            f"captions= has none of these {len(images):,} pictures: its keys are such as {key!r}, the pictures' ids such "
            f"as {id!r}; give it a caption for each id"
        )
    for id, given in by_id.items():
        if isinstance(given, list | tuple) and len(given) == 1:
            by_id[id] = given = given[0]
        if not isinstance(given, str):
            raise ValueError(f"captions= has {given!r:.80} for {id!r}; give one text for each picture")
    return by_id


def _check(lmm: LMM, tokens: Mapping[str, Sequence[str]], settings: Settings) -> None:
    """Refuse tokens, layers, positions and rules that there are not."""
    check_counts(max_new_tokens=settings.max_new_tokens)
    if not tokens:
        raise ValueError("the token is empty: there is none; give a word, or several spellings of one")
    if not settings.layers or not settings.positions:
        raise ValueError(f"there is no {'position' if settings.layers else 'layer'} to read: give at least one")
    for layer in settings.layers:
        lmm.check_layer(layer)
    for position in settings.positions:
        if position not in POSITIONS:
            raise ValueError(f"there is no position {position!r}; choose one of {', '.join(POSITIONS)}")
    if settings.references not in REFERENCE_RULES:
        rules = ", ".join(REFERENCE_RULES)
        raise ValueError(f"there is no reference rule {settings.references!r}; choose one of {rules}")
    if settings.samples not in SAMPLES:
        raise ValueError(f"there are no samples {settings.samples!r}; choose one of {', '.join(SAMPLES)}")
    if settings.samples == THERE_BUT_UNSAID:
        for words in tokens.values():
            if not first_pieces(lmm, words):
                raise ValueError(f"{quoted(words)} cannot be written by the tokenizer: there is no token to look for")


def _processor_settings(lmm: LMM) -> dict:
    """All that turns a picture and a prompt into the model's inputs, but not the tokenizer's words."""
    template, image_processor = getattr(lmm.processor, "chat_template", None), lmm.processor.image_processor
    return {"template": template, "images": image_processor.to_dict()}


def warn_of_other_settings(lmm: LMM, provenance: Mapping) -> None:
    """Warn of a model that reads or writes otherwise than when states were taken, if that is known of them."""
    if "processor" not in provenance or provenance["versions"].get("transformers") != version("transformers"):
        return
    names = {"processor": "chat template or picture processor"}
    names |= {"generation": "generation settings"} if provenance.get("captions") == "written" else {}
    now = {"processor": digest(_processor_settings(lmm)), **caption_settings(lmm, provenance["prompt"])}
    if other := [text for name, text in names.items() if provenance.get(name) != now.get(name)]:
        warnings.warn(
            f"the model's {' and '.join(other)} are not those that the concepts were learned under, so its states may be "
            "others: load and set it as it was then, or learn the concepts again",
            stacklevel=3,
        )


def _found_otherwise(lmm: LMM, tokens: Mapping[str, Sequence[str]]) -> bool:
    """Whether version 0.1.0 may have found a word elsewhere: after letters in bytes, without spaces, over a line end."""
    in_bytes = lmm.tokenizer.convert_tokens_to_ids("<0x0A>") not in (None, lmm.tokenizer.unk_token_id)
    return in_bytes or any(len(word.split()) > 1 or not word.isascii() for words in tokens.values() for word in words)


def _mentioned(images: CaptionedImages, spellings: Sequence[str], references: str) -> set[str]:
    """The pictures that have the token in a reference."""
    if references == "word":
        return {images.ids[row] for row in images.rows_with(whole_word(*spellings))}
    first = [captions[0].lower() if captions else "" for captions in images.references]
    return {id for id, text in zip(images.ids, first) if any(s.lower() in text for s in spellings)}


def _eligible(images: CaptionedImages, spellings: Sequence[str], mentioned: set[str], samples: str) -> set[str]:
    """The pictures that may be samples: by what their references say, or because they have none."""
    # Without references nobody knows what is there: the caption decides, but nothing is an error.
    bare = {id for id, captions in zip(images.ids, images.references) if not captions}
    eligible = {
        SAID_AND_THERE: mentioned | bare,
        SAID: set(images.ids),
        SAID_BUT_ABSENT: set(images.ids) - mentioned - bare,
        THERE_BUT_UNSAID: mentioned,
    }[samples]
    if not len(images):
        raise ValueError(f"there are no pictures, so that nothing can mention {quoted(spellings)}: choose others")
    if not eligible:
        has = "is without" if samples == SAID_BUT_ABSENT else "has"
        raise ValueError(
            f"no reference caption of the {len(images):,} pictures {has} {quoted(spellings)}; "
            f"words that do occur: {common_words(images.words())}"
        )
    return eligible
