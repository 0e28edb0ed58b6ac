"""The picture book's LMM while it learns: what it sees, what it says, and the losses of both."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from coxlmm_utils.picturebook import ACTIONS, COLOURS, COMPANIONS, PLACES, SIZES, SUBJECTS, TIMES, Factors

from .architecture import make_model
from .packing import Packed


def _all_values(table: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The values of a factor over all subjects, sorted."""
    return tuple(sorted({value for values in table.values() for value in values}))


FACTOR_VALUES = {
    "kind": SUBJECTS,
    "colour": _all_values(COLOURS),
    "size": SIZES,
    "action": _all_values(ACTIONS),
    "place": _all_values(PLACES),
    "companion": COMPANIONS,
    "time": TIMES,
}


def factor_indices(pages: list[Factors]) -> torch.Tensor:
    """Each page's factor values as numbers: (pages, factors)."""
    rows = [[values.index(getattr(page, name)) for name, values in FACTOR_VALUES.items()] for page in pages]
    return torch.tensor(rows)


class Learner(nn.Module):
    """The LMM with one linear head a factor on its mean patch state."""

    def __init__(self, tokenizer):
        super().__init__()
        self.lmm = make_model(tokenizer)
        width = self.lmm.config.vision_config.hidden_size
        self.norm = nn.LayerNorm(width)
        heads = {name: nn.Linear(width, len(values)) for name, values in FACTOR_VALUES.items()}
        self.heads = nn.ModuleDict(heads)

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """Patch states without the class token: (batch, patches, vision width)."""
        return self.lmm.model.vision_tower(pixels).last_hidden_state[:, 1:]

    def factor_loss(self, patches: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the factor heads; `values` is (batch, factors)."""
        pooled = self.norm(patches.mean(1))
        losses = [F.cross_entropy(head(pooled), values[:, i]) for i, head in enumerate(self.heads.values())]
        return torch.stack(losses).mean()

    def read(self, patches: torch.Tensor, packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
        """The states after the last block but one, and after the final norm: (batch, length, width) each."""
        decoder = self.lmm.model.language_model
        embedded = self.lmm.get_input_embeddings()(packed.ids)
        image = packed.ids == self.lmm.config.image_token_id
        embedded = embedded.masked_scatter(image[..., None], self.lmm.model.multi_modal_projector(patches))
        mask = torch.zeros(packed.sees.shape).masked_fill(~packed.sees, torch.finfo(torch.float32).min)
        out = decoder(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=packed.positions,
            use_cache=False,
            output_hidden_states=True,
        )
        return out.hidden_states[-2], out.last_hidden_state

    def text_loss(self, normed: torch.Tensor, packed: Packed) -> torch.Tensor:
        """Cross-entropy of every answer token."""
        page, index, target = packed.targets.unbind(1)
        return F.cross_entropy(self.lmm.lm_head(normed[page, index]), target)

    def look_ahead_loss(self, last_but_one: torch.Tensor, packed: Packed) -> torch.Tensor:
        """Cross-entropy to an even spread over the content words still to come in the sentence."""
        page, index = packed.future_positions.unbind(1)
        states = self.lmm.model.language_model.norm(last_but_one[page, index])
        log_p = self.lmm.lm_head(states).log_softmax(-1)  # (positions, vocabulary)
        position, word, n_words = packed.futures.unbind(1)
        return -(log_p[position, word] / n_words).sum() / len(page)
