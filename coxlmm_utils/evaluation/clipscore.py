"""CLIPScore: how well a text fits a picture, by a CLIP model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import open_clip
import torch
from PIL import Image
from torch import Tensor, nn

from ..files import bundled_folder

PREFIX = "A photo is described by the words "
MAX_WORDS = 10  # per concept, in a text
SCALE = 2.5
TEXT_BATCH_SIZE = 256


def words_as_text(words: Sequence[str], n_concepts: int = 1) -> str:
    """The text that stands for a concept's words: "A photo is described by the words dog, brown."

    Prefix and joining are the released code's, as is that no words leave the prefix and a full stop. At most ten
    words per concept are said, the first ones, as the paper is recalled. What is longer than the judge reads (77 tokens
    of OpenAI's CLIP: about thirty words) is cut by its tokenizer.
    """
    return PREFIX + ", ".join(words[: MAX_WORDS * n_concepts]) + "."


@dataclass(frozen=True)
class ClipJudge:
    """A CLIP model that judges pictures and texts; see `load_clip_judge`."""

    name: str  # the model and its weights, or the folder
    model: nn.Module  # frozen and in evaluation mode
    preprocess: Callable[[Image.Image], Tensor]  # from a picture of any size and mode to what the model takes
    tokenizer: Callable[[list[str]], Tensor]  # from texts to (texts, context) token numbers; cuts what is too long
    device: torch.device

    @torch.inference_mode()
    def encode_pictures(self, pictures: Sequence[Image.Image], batch_size: int = 64) -> Tensor:
        """Pictures as vectors of length 1."""
        _check_some(pictures, "pictures")
        batches = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
        return torch.cat([_unit(self.model.encode_image(self._stack(batch))) for batch in batches])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts as vectors of length 1; a text that comes again is encoded only once."""
        _check_some(texts, "texts")
        row = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        tokens = self.tokenizer(list(row)).to(self.device)  # (distinct texts, context)
        vectors = torch.cat([_unit(self.model.encode_text(part)) for part in tokens.split(TEXT_BATCH_SIZE)])
        return vectors[[row[text] for text in texts]]

    def _stack(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(pictures, 3, side, side) as the model takes them, on its device."""
        return torch.stack([self.preprocess(picture) for picture in pictures]).to(self.device)


def load_clip_judge(
    name: str | Path = "ViT-B-32", pretrained: str = "openai", device: str | torch.device | None = None
) -> ClipJudge:
    """Load a CLIP model as a judge, through open_clip.

    The default is the released code's: OpenAI's ViT-B/32, about 600 MB, fetched at the first use. Where the weights
    ask for QuickGELU, as OpenAI's do, they get it (open_clip by itself builds a plain GELU and only warns).

    Parameters
    ----------
    name : str or Path
        A model of open_clip; "picturebook", the bundled judge of its pages; or a folder with `open_clip_config.json`
        and `open_clip_model.safetensors`.
    pretrained : str
        Which weights of that model, as open_clip calls them. Not used with a folder.
    device : str or torch.device, optional
        By default cuda if there is one, else the CPU.

    Returns
    -------
    ClipJudge

    Raises
    ------
    OSError
        If the judge is not known, cannot be downloaded, or its folder holds no model.
    """
    folder = bundled_folder("clip") if name == "picturebook" else Path(name).expanduser()
    source, weights = (f"local-dir:{folder.resolve()}", None) if folder.is_dir() else (str(name), pretrained)
    quick_gelu = bool(weights and open_clip.get_pretrained_cfg(source, weights).get("quick_gelu"))
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            source, pretrained=weights, device=device, force_quick_gelu=quick_gelu, require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(source)
    except (OSError, RuntimeError, ValueError) as error:
        raise OSError(_cannot_be_had(str(name), weights, error)) from error
    full_name = f"{name} ({weights})" if weights else str(name)
    return ClipJudge(full_name, model.eval().requires_grad_(False), preprocess, tokenizer, device)


def clip_score(picture_vectors: Tensor, text_vectors: Tensor) -> Tensor:
    """CLIPScore of pairs: ``2.5 * max(cos, 0)`` (the released code)."""
    return SCALE * (picture_vectors * text_vectors).sum(dim=-1).clamp(min=0)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1, in float32 on the CPU."""
    return nn.functional.normalize(vectors.float(), dim=-1).cpu()


def _check_some(items: Sequence, what: str) -> None:
    """Refuse to encode nothing."""
    if len(items) == 0:
        raise ValueError(f"There are no {what} to encode: give at least one.")


def _cannot_be_had(name: str, weights: str | None, error: Exception) -> str:
    """One sentence on why there is no judge, and how to give one from a folder."""
    judge = f'The CLIP judge "{name}"' + (f' with the weights "{weights}"' if weights else "")
    reason = shorten(str(error), 200).rstrip(" .")
    files = "open_clip_config.json and open_clip_model.safetensors"
    return (
        f"{judge} cannot be loaded ({reason}): check its name and the network, or give a folder with {files} as `clip`."
    )
