"""A tree of texts trains each branch as if it stood alone."""

import random

import pytest
import torch
from PIL import Image

from coxlmm_utils.picturebook.captions import FACTS_BY_WORD, SENTENCE_PROMPT, TAGS_PROMPT, sentence, tags
from coxlmm_utils.picturebook.factors import factors_of
from coxlmm_utils.picturebook.questions import QUESTION_TOPICS, ask, ask_some_presence
from data.picturebook.recipe.architecture import make_processor, make_tokenizer
from data.picturebook.recipe.learner import Learner
from data.picturebook.recipe.packing import Packer

TOKENIZER = make_tokenizer()
PACKER = Packer(TOKENIZER)
PAGES = [factors_of(number) for number in (0, 5, 10)]


def texts_of(page, seed):
    """The (prompt, answer) pairs that a tree holds, drawn anew from the same stream."""
    rng = random.Random(seed)
    texts = [(SENTENCE_PROMPT, sentence(page, rng)) for _ in range(3)] + [(TAGS_PROMPT, tags(page, rng))]
    questions = [ask_some_presence(page, rng) for _ in range(2)]
    questions += [ask(page, topic, rng) for topic in rng.sample(QUESTION_TOPICS, 2)]
    return texts + [(question.text, question.answer) for question in questions]


def path_to(tree, index):
    """The places that the token at `index` is to see, itself included, in order."""
    kin = tree.ancestors[tree.branches[index]]
    return [i for i in range(index + 1) if tree.branches[i] in kin]


def as_conversation(prompt):
    """The token ids that the processor makes of a picture with a prompt."""
    processor = make_processor(TOKENIZER)
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor(images=[Image.new("RGB", (144, 144))], text=[text])["input_ids"][0]


@pytest.mark.parametrize("page", PAGES)
def test_targets_are_the_answers_and_what_leads_to_them_is_the_conversation(page):
    tree, targets = PACKER.tree(page, random.Random(1)), []
    for prompt, answer in texts_of(page, 1):
        ids = TOKENIZER(answer)["input_ids"] + [TOKENIZER.eos_token_id]
        before = as_conversation(prompt)
        targets += [(before + ids[:place], id) for place, id in enumerate(ids)]
    paths = [(path_to(tree, index), id) for index, id in tree.targets]
    assert [([tree.ids[i] for i in path], id) for path, id in paths] == targets
    assert all([tree.positions[i] for i in path] == list(range(len(path))) for path, _ in paths)


def test_futures_are_the_content_words_still_to_come():
    page = PAGES[1]
    tree, expected = PACKER.tree(page, random.Random(1)), []
    for _, text in texts_of(page, 1)[:3]:
        words = text.split()
        for place in range(len(words)):
            future = [word for word in words[place:] if word in FACTS_BY_WORD]
            expected += [(words[place - 1] if place else "ASSISTANT:", future)] if future else []
    word = TOKENIZER.convert_ids_to_tokens
    assert [(word(tree.ids[index]), word(future)) for index, future in tree.futures] == expected


def test_packed_trees_hold_what_the_trees_hold():
    rng = random.Random(2)
    trees = [PACKER.tree(page, rng) for page in PAGES]
    packed = PACKER.pack(PAGES, random.Random(2))
    for row, tree in enumerate(trees):
        n = len(tree.ids)
        assert packed.ids[row, :n].tolist() == tree.ids and set(packed.ids[row, n:].tolist()) <= {0}
        assert packed.positions[row, :n].tolist() == tree.positions
        targets = packed.targets[packed.targets[:, 0] == row, 1:]
        assert [tuple(target) for target in targets.tolist()] == tree.targets
        for index in (0, n // 2, n - 1):
            assert packed.sees[row, 0, index].nonzero()[:, 0].tolist() == path_to(tree, index)
    futures = [(row, index, words) for row, tree in enumerate(trees) for index, words in tree.futures]
    assert packed.future_positions.tolist() == [[row, index] for row, index, _ in futures]
    expected = [[i, word, len(words)] for i, (_, _, words) in enumerate(futures) for word in words]
    assert packed.futures.tolist() == expected


def test_each_branch_computes_what_it_computes_alone():
    torch.manual_seed(0)
    learner = Learner(TOKENIZER).eval()
    pixels = torch.randn(len(PAGES), 3, 144, 144)
    rng = random.Random(3)
    trees = [PACKER.tree(page, rng) for page in PAGES]
    with torch.no_grad():
        _, normed = learner.read(learner.see(pixels), PACKER.pack(PAGES, random.Random(3)))
        for row in (0, 2):
            tree, packed = trees[row], learner.lmm.lm_head(normed[row])  # (length, vocabulary)
            last = {tree.branches[index]: index for index, _ in tree.targets}  # of each branch that predicts
            for index in last.values():
                path = path_to(tree, index)
                ids = torch.tensor([[tree.ids[i] for i in path]])
                alone = learner.lmm(input_ids=ids, pixel_values=pixels[row : row + 1]).logits[0]
                torch.testing.assert_close(packed[path], alone, atol=1e-4, rtol=0)
