"""Many texts behind one picture: a tree of token branches, trained in one forward pass (ours).

    prefix (<bos> USER: 64 x <image>)
    |- sentence prompt - sentence, sentence, ...
    |- tags prompt and tags
    |- question and answer, ...

A token sees itself, what came before it in its branch, and its branch's ancestors; positions count along the
path. The picture is encoded once, and each branch computes what it would compute alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedTokenizerFast

from coxlmm_utils.picturebook import (
    FACTS_BY_WORD,
    QUESTION_TOPICS,
    SENTENCE_PROMPT,
    TAGS_PROMPT,
    Factors,
    ask,
    ask_some_presence,
    sentence,
    tags,
)

from .architecture import N_PATCHES

SENTENCES_PER_PAGE = 3


@dataclass
class Tree:
    """The token branches of one page, laid out in a row."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)  # along the path from the root
    branches: list[int] = field(default_factory=list)  # the branch of each token
    ancestors: list[set[int]] = field(default_factory=list)  # per branch, itself included
    targets: list[tuple[int, int]] = field(default_factory=list)  # (index that predicts, id to predict)
    futures: list[tuple[int, list[int]]] = field(default_factory=list)  # (index, content ids to come)

    def grow(self, ids: list[int], parent: int | None) -> int:
        """Add a branch of tokens below `parent`; returns its number."""
        branch = len(self.ancestors)
        start = self.positions[self.last_index(parent)] + 1 if parent is not None else 0
        self.ids += ids
        self.positions += range(start, start + len(ids))
        self.branches += [branch] * len(ids)
        self.ancestors.append({branch} | (self.ancestors[parent] if parent is not None else set()))
        return branch

    def last_index(self, branch: int) -> int:
        """Where the last token of a branch lies in the row."""
        return len(self.branches) - 1 - self.branches[::-1].index(branch)

    def answer(self, ids: list[int], parent: int) -> list[int]:
        """Add a branch that the model is to predict, token by token; returns the indices that predict it."""
        sources = [self.last_index(parent)] + list(range(len(self.ids), len(self.ids) + len(ids) - 1))
        self.grow(ids, parent)
        self.targets += zip(sources, ids)
        return sources


@dataclass
class Packed:
    """A batch of trees, padded to one length."""

    ids: torch.Tensor  # (batch, length)
    positions: torch.Tensor  # (batch, length)
    sees: torch.Tensor  # (batch, 1, length, length), True where a token (row) sees another (column)
    targets: torch.Tensor  # (targets, 3): page, index that predicts, id
    futures: torch.Tensor  # (future words, 3): look-ahead position, id, words there
    future_positions: torch.Tensor  # (look-ahead positions, 2): page, index


class Packer:
    """Turns factors into trees of tokens.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        The picture book's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.tokenizer = tokenizer
        id_of = tokenizer.convert_tokens_to_ids
        self.content_ids = frozenset(map(id_of, FACTS_BY_WORD))
        self.prefix = [id_of("<bos>"), id_of("USER:")] + [id_of("<image>")] * N_PATCHES
        self.assistant, self.end = id_of("ASSISTANT:"), tokenizer.eos_token_id

    def tree(self, factors: Factors, rng: random.Random) -> Tree:
        """One page's texts: three sentences, a list of tags, two yes/no questions and two others."""
        tree = Tree()
        root = tree.grow(self.prefix, None)
        prompt = tree.grow(self._prompt(SENTENCE_PROMPT), root)
        for _ in range(SENTENCES_PER_PAGE):
            self._sentence(tree, prompt, sentence(factors, rng))
        tree.answer(self._answer(tags(factors, rng)), tree.grow(self._prompt(TAGS_PROMPT), root))
        questions = [ask_some_presence(factors, rng) for _ in range(2)]
        questions += [ask(factors, topic, rng) for topic in rng.sample(QUESTION_TOPICS, 2)]
        for question in questions:
            tree.answer(self._answer(question.answer), tree.grow(self._prompt(question.text), root))
        return tree

    def pack(self, pages: list[Factors], rng: random.Random) -> Packed:
        """A batch of trees, padded on the right."""
        trees = [self.tree(factors, rng) for factors in pages]
        length = max(len(tree.ids) for tree in trees)
        targets = [(row, *target) for row, tree in enumerate(trees) for target in tree.targets]
        positions = [(row, index, words) for row, tree in enumerate(trees) for index, words in tree.futures]
        futures = [(i, word, len(words)) for i, (_, _, words) in enumerate(positions) for word in words]
        return Packed(
            ids=_padded([tree.ids for tree in trees], self.tokenizer.pad_token_id),
            positions=_padded([tree.positions for tree in trees], 0),
            sees=torch.stack([_sees(tree, length) for tree in trees])[:, None],
            targets=torch.tensor(targets),
            futures=torch.tensor(futures),
            future_positions=torch.tensor([(row, index) for row, index, _ in positions]),
        )

    def _sentence(self, tree: Tree, prompt: int, text: str) -> None:
        """Add a sentence, and note at each of its positions the content words still to come."""
        ids = self._answer(text)
        for step, index in enumerate(tree.answer(ids, prompt)):
            future = [word for word in ids[step:] if word in self.content_ids]
            if future:
                tree.futures.append((index, future))

    def _prompt(self, text: str) -> list[int]:
        """The tokens of a prompt, after which the model is to answer."""
        return self._encode(text) + [self.assistant]

    def _answer(self, text: str) -> list[int]:
        """The tokens of an answer, and its end."""
        return self._encode(text) + [self.end]

    def _encode(self, text: str) -> list[int]:
        """The tokens of a text alone."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def _padded(rows: list[list[int]], padding: int) -> torch.Tensor:
    """Rows of numbers, filled up on the right to one length: (rows, length)."""
    length = max(map(len, rows))
    return torch.tensor([row + [padding] * (length - len(row)) for row in rows])


def _sees(tree: Tree, length: int) -> torch.Tensor:
    """Which token sees which: (length, length); padding sees itself, so that its softmax is finite."""
    n = len(tree.ids)
    kin = torch.zeros(len(tree.ancestors), len(tree.ancestors), dtype=torch.bool)
    for branch, ancestors in enumerate(tree.ancestors):
        kin[branch, list(ancestors)] = True
    branches = torch.tensor(tree.branches)
    sees = torch.eye(length, dtype=torch.bool)
    sees[:n, :n] = kin[branches][:, branches].tril()
    return sees
