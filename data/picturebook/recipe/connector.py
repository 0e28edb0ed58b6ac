"""What the picture book's DePALM learns by: a connector that makes a frozen language model say captions (ours)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from coxlmm_utils.models.depalm import DePALMForConditionalGeneration
from coxlmm_utils.picturebook import Factors, sentence

IGNORED = -100  # of F.cross_entropy
BATCHES_SORTED = 8  # whose captions are sorted by length together, so that a batch has little padding


class ConnectorLearner(nn.Module):
    """The connector of a DePALM while it learns; the vision tower and the language model stay as they are.

    The language model computes in bfloat16, which on CPUs that can takes two thirds of the time; the connector, and
    the sums of its gradients, are in float32.
    """

    def __init__(self, model: DePALMForConditionalGeneration, tokenizer) -> None:
        super().__init__()
        model.language_model.bfloat16()
        self.connector = model.connector
        self.frozen = (model, tokenizer)  # in a tuple, so that they are not among the learner's weights

    def start_as_words(self, features: Tensor) -> None:
        """Scale the last layer, so that vectors begin as long as the embeddings of words are on average."""
        model, _ = self.frozen
        embeddings = model.get_input_embeddings().weight
        with torch.no_grad():
            self.connector.out.weight *= embeddings.float().std() / self.connector(features).std()
            self.connector.out.bias.zero_()

    def loss(self, features: Tensor, rows: Sequence[list[int]]) -> Tensor:
        """Mean cross-entropy of the tokens of captions, given the features of their pictures."""
        model, _ = self.frozen
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=IGNORED)
        words = model.get_input_embeddings()(ids[:, :-1].clamp(min=0))  # padding is on the right, so nothing sees it
        vectors = self.connector(features).to(words.dtype)  # (batch, queries, width)
        embedded = torch.cat([vectors, words], dim=1)
        with sdpa_kernel(SDPBackend.MATH):  # on short rows in bfloat16 the fused kernels are slower on CPUs
            states = model.language_model.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        states = states[:, vectors.shape[1] - 1 :]  # the last vector predicts the first token
        logits = model.get_output_embeddings()(states[ids != IGNORED])  # (tokens, vocabulary), none of padding
        return F.cross_entropy(logits.float(), ids[ids != IGNORED])

    def batch(self, pages: Sequence[Factors], size: int, seed: str, step: int) -> tuple[list[int], list[list[int]]]:
        """The pages of a step and the tokens of a caption of each, by the seed and the step's number alone."""
        turn, place = divmod(step, BATCHES_SORTED)
        rng = random.Random(f"{seed} batches {turn}")
        chosen = rng.sample(range(len(pages)), size * BATCHES_SORTED)
        captions = [(page, self._tokens(self.caption(pages[page], rng))) for page in chosen]
        captions.sort(key=lambda caption: len(caption[1]))
        starts = rng.sample(range(0, len(captions), size), BATCHES_SORTED)
        batch = captions[starts[place] : starts[place] + size]
        return [page for page, _ in batch], [tokens for _, tokens in batch]

    def caption(self, page: Factors, rng: random.Random) -> str:
        """What is learned of a page."""
        return sentence(page, rng)

    def _tokens(self, caption: str) -> list[int]:
        """Of a caption and its end."""
        _, tokenizer = self.frozen
        return tokenizer(caption, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
