"""Which positions `extract` reads for one picture: the tokens fed in and predicted there, and the words (all ours)."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import jinja2
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from ..images import as_rgb
from ..models import (
    LMM,
    POSITIONS,
    GeneratedCaption,
    Layer,
    collapse_repeats,
    find_token,
    generate_captions,
    last_logits,
)
from ..text import FUNCTION_WORDS, words_in

N_LAYERS = 8  # inspected where none are named
N_WORDS = 5
PAGE = Path(__file__).with_name("inspection.html")
SIDE = 160  # pixels of the longer side of the picture on the page
N_COLUMNS = 12  # positions in a row of the page, before it goes on below
MIN_CORRELATION = 0.99  # of the logits from an extracted state with the model's own at its position
OVERRIDING = ("repetition_penalty", "no_repeat_ngram_size", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids")


@dataclass(frozen=True, repr=False)
class Inspection:
    """What the model was fed and predicted at every position of one caption, and which positions were read.

    Attributes
    ----------
    token : str
        The target word, as it was asked for.
    caption : str
    prompt : tuple of str
        What comes before the caption, repeats of a special token collapsed: "<image> x 64".
    prompt_length : int
        The same in positions: caption token i is at position `prompt_length + i`.
    ids, pieces : tuple of int, tuple of str
        The caption's tokens.
    fed, predicted : tuple of str
        The tokens fed in at the last position of the prompt and at each of the caption, (tokens + 1), and the top-1
        tokens by the model's own logits there.
    step : int
        Which of the caption's tokens is the target, or its first piece.
    positions : dict of str to int
        Where the states were read: "predicts", from where the target is predicted, and "own", where it is fed back.
    top_words : dict of layer to dict of str to tuple of str
        At each layer and both positions the words of highest probability, by `LMM.unembed`.
    problems : tuple of str
        Sentences on what does not fit; empty if all is well.
    picture : PIL.Image.Image
    """

    token: str
    caption: str
    prompt: tuple[str, ...]
    prompt_length: int
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    fed: tuple[str, ...]
    predicted: tuple[str, ...]
    step: int
    positions: dict[str, int]
    top_words: dict[Layer, dict[str, tuple[str, ...]]]
    problems: tuple[str, ...]
    picture: Image.Image = field(compare=False)

    def __repr__(self) -> str:
        where = ", ".join(f"{name} at position {position}" for name, position in self.positions.items())
        return "\n".join([f"{self.token!r} in {self.caption!r}: {where}", *self.problems])

    def at(self, position: str) -> int:
        """Row of `table`, and place in `fed` and `predicted`, of a position that was read."""
        return self.positions[position] - self.prompt_length + 1

    def table(self) -> pd.DataFrame:
        """The caption's strip: for each position what is fed in, what is predicted next, and whether it was read."""
        numbers = range(self.prompt_length - 1, self.prompt_length + len(self.ids))
        strip = {"fed here": self.fed, "predicts next": self.predicted, "read": self._read()}
        return pd.DataFrame(strip, index=pd.Index(numbers, name="position"))

    def _read(self) -> list[str]:
        """For each position of the strip "predicts", "own" or ""."""
        names = {self.at(name): name for name in self.positions}
        return [names.get(row, "") for row in range(len(self.fed))]

    def words(self) -> pd.DataFrame:
        """The top words as text, layers x positions."""
        rows = {layer: {at: ", ".join(words[at]) for at in POSITIONS} for layer, words in self.top_words.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(POSITIONS)).rename_axis("layer")

    def _repr_html_(self) -> str:
        strips = [range(start, min(start + N_COLUMNS, len(self.fed))) for start in range(0, len(self.fed), N_COLUMNS)]
        template = jinja2.Template(PAGE.read_text(), autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return template.render(inspection=self, strips=strips, read=self._read(), image=_data_uri(self.picture))


@torch.inference_mode()
def inspect(
    lmm: LMM,
    picture: Image.Image,
    token: str | Sequence[str] | None = None,
    layers: Sequence[Layer] | None = None,
    prompt: str | None = None,
    max_new_tokens: int = 40,
) -> Inspection:
    """Let the model write about one picture, and show which positions `extract` reads, and what is there.

    At "predicts" the word before the target is fed in and the target is predicted; at "own" the target is fed in. Both
    are checked, against the logits of a second pass over picture, prompt and finished caption.

    Parameters
    ----------
    picture : PIL.Image.Image
    token : str or sequence of str, optional
        The target word, or several spellings of it. Default: the first word of the caption that has a meaning of its
        own.
    layers : sequence of layer, optional
        Where to read words. Default: at most 8, evenly spread from the embeddings to the last block.
    prompt : str, optional
        Default: the LMM's own.
    max_new_tokens : int

    Returns
    -------
    Inspection
        Notebooks show it as a page; `table` and `words` give its two tables.

    Raises
    ------
    ValueError
        If the caption does not say the token, or for a layer that there is not.

    Warns
    -----
    UserWarning
        If the model does not predict the target where it should, or the states are not those of their positions.
    """
    layers = _spread(lmm.n_layers) if layers is None else list(layers)
    picture = as_rgb(picture)
    [generated] = generate_captions(lmm, [picture], list(dict.fromkeys([*layers, "norm"])), prompt, max_new_tokens)
    spellings = _spellings(generated.caption, token)
    step = _step(lmm, generated, spellings)
    batch = lmm.inputs([picture], prompt, continuations=[generated.ids])
    sequence, n = batch["input_ids"][0].tolist(), len(generated.ids)
    logits = last_logits(lmm, batch, n + 1)[0].float()  # (tokens + 1, vocabulary)
    length = len(sequence) - n
    positions = {"predicts": length + step - 1, "own": length + step}
    problems = _problems(lmm, generated, step, positions, logits)
    if problems:
        warnings.warn(" ".join(problems))
    return Inspection(
        token=spellings[0],
        caption=generated.caption,
        prompt=collapse_repeats(lmm.tokenizer, sequence[:length]),
        prompt_length=length,
        ids=tuple(generated.ids),
        pieces=_pieces(lmm, generated.ids),
        fed=_pieces(lmm, sequence[length - 1 :]),
        predicted=_pieces(lmm, logits.argmax(dim=1).tolist()),
        step=step,
        positions=positions,
        top_words={layer: _top_words(lmm, generated, step, layer) for layer in layers},
        problems=problems,
        picture=picture,
    )


def _spread(n_layers: int) -> list[int]:
    """Some layers of all depths."""
    n = min(N_LAYERS, n_layers + 1)
    return sorted({round(i * n_layers / max(1, n - 1)) for i in range(n)})


def _spellings(caption: str, token: str | Sequence[str] | None) -> list[str]:
    """The target's spellings; without a target, the caption's first word with a meaning of its own."""
    if token is not None:
        return [token] if isinstance(token, str) else list(token)
    words = words_in(caption)
    if not words:
        raise ValueError(f"the model wrote no words about the picture, only {caption!r}: try another picture or prompt")
    return [next((word for word in words if len(word) > 1 and word not in FUNCTION_WORDS), words[0])]


def _step(lmm: LMM, generated: GeneratedCaption, spellings: Sequence[str]) -> int:
    """Where the target begins in the caption."""
    step = find_token(lmm, generated.ids, spellings)
    if step is None:
        asked = " or ".join(map(repr, spellings))
        raise ValueError(
            f"the caption {generated.caption!r} does not say {asked}: take a word of it, or another picture"
        )
    return step


def _problems(
    lmm: LMM, generated: GeneratedCaption, step: int, positions: dict[str, int], logits: Tensor
) -> tuple[str, ...]:
    """What does not fit: the token that is predicted, or the states that were read."""
    problems = [_not_the_target(lmm, generated.ids[step], positions["predicts"], logits[step])]
    for name, row in zip(POSITIONS, (step, step + 1)):
        unembedded = lmm.unembed(generated.state("norm", step, name)[None], "norm")[0].float()
        problems.append(
            "" if _correlation(unembedded, logits[row]) > MIN_CORRELATION else _not_its_state(name, positions[name])
        )
    return tuple(filter(None, problems))


def _not_the_target(lmm: LMM, target: int, position: int, logits: Tensor) -> str:
    """Greedy decoding writes the top-1 token, so the target must be it."""
    top = int(logits.argmax())
    if top == target:
        return ""
    predicted, wanted = _pieces(lmm, [top, target])
    rank, gap = int((logits > logits[target]).sum()) + 1, float(logits[top] - logits[target])
    settings = [name for name in OVERRIDING if getattr(lmm.model.generation_config, name, None)]
    return (
        f"NOT THE TARGET: at 'predicts' (position {position}) the model predicts {predicted!r}, and {wanted!r} only in "
        f"place {rank:,}, {gap:.2g} below; the position is wrong, or two logits are equal but for rounding, or the model's "
        f"generation settings overrule its logits ({', '.join(settings) or 'none that is known to'})."
    )


def _not_its_state(name: str, position: int) -> str:
    return (
        f"NOT ITS STATE: the state that was read at {name!r} does not yield the model's logits at position {position}; "
        "the position is wrong, or the model does not unembed its states by its final norm and unembedding alone."
    )


def _correlation(a: Tensor, b: Tensor) -> float:
    """Of two vectors; the same whatever scale some models put on their logits."""
    return float(torch.corrcoef(torch.stack([a, b.to(a.device)]))[0, 1])


def _top_words(lmm: LMM, generated: GeneratedCaption, step: int, layer: Layer) -> dict[str, tuple[str, ...]]:
    """The most probable tokens at both positions."""
    states = torch.stack([generated.state(layer, step, position) for position in POSITIONS])  # (2, width)
    best = lmm.unembed(states, layer).topk(N_WORDS, dim=1).indices.tolist()
    return {position: _pieces(lmm, ids) for position, ids in zip(POSITIONS, best)}


def _pieces(lmm: LMM, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token as text; a token of white space alone as the tokenizer writes it, so that it can be seen."""
    return tuple(lmm.tokenizer.decode([i]).strip() or lmm.tokenizer.convert_ids_to_tokens(i) for i in ids)


def _data_uri(picture: Image.Image) -> str:
    """A small copy of the picture, as an address that holds it."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
