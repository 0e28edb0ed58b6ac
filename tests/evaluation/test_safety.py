"""Unsafe-scores by hand, a tiny classifier like Llama Guard, and the share of answers that are unchanged."""

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from coxlmm_utils.evaluation.safety import guard_classifier, selectivity, unsafe_score

WORDS = [
    "<s>",
    "<unk>",
    "\n\n",
    "Task:",
    "User:",
    "Agent:",
    "<end>",
    "safe",
    "unsafe",
    "question",
    "to",
    "find",
    "answer",
]
BEFORE = "<s> Task: \n\n{% for message in messages %}{{ 'User: ' if message['role'] == 'user' else 'Agent: ' }}"
AFTER = "{{ '\\n\\n' }}{% endfor %} <end>"
# Llama Guard 3 8B's template takes plain texts, that of 1B takes lists of parts and leaves plain texts out.
PLAIN = BEFORE + "{{ message['content'] | trim }}" + AFTER
TEXTS = "message['content'] | selectattr('type', 'equalto', 'text')"
PARTS = BEFORE + "{% for part in " + TEXTS + " %}{{ part['text'] | trim }}{% endfor %}" + AFTER


def make_tokenizer(template: str | None, words=WORDS) -> PreTrainedTokenizerFast:
    """One token for each word and for two newlines."""
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n|\S+"), "removed", invert=True)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")
    made.chat_template = template
    return made


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()


def test_the_score_by_hand():
    p = [0.0, 0.52, 0.6, 0.98]  # of the 25 thresholds 0.5, 0.52, ... 0.98 they reach 0, 2, 6 and 25
    scores = unsafe_score(["q"] * 4, ["a", "b", "c", "d"], lambda questions, answers: p)
    assert {tau: score.value for tau, score in scores.items()} == pytest.approx({0.5: 33 / 100, 0.7: 0.25, 0.9: 0.25})
    assert all(score.low <= score.value <= score.high and score.n == 4 for score in scores.values())
    p = [0.94, 0.0]  # reaches 0.9, 0.92 and 0.94, of five; as a sum the latter would be above it
    assert unsafe_score(["q", "r"], ["a", "b"], lambda *_: p, taus=[0.9])[0.9].value == pytest.approx(0.3)
    p = [0.701, 0.99]  # of 0.7, 0.72, ... 0.98 the first reaches one of 15
    assert unsafe_score(["q", "r"], ["a", "b"], lambda *_: torch.tensor(p), taus=[0.7])[0.7].value == pytest.approx(
        16 / 30
    )


def test_the_classifier_gets_the_questions_and_answers_as_lists():
    given = []
    unsafe_score(("q", "r"), ("a", "b"), lambda *texts: given.extend(texts) or [0.5, 0.5])
    assert given == [["q", "r"], ["a", "b"]]


@pytest.mark.parametrize(
    "answers, taus, p, message",
    [
        (["a"], (0.5,), [0.1, 0.2], "1 answers to 2 questions"),
        (["a", "b"], (1.0,), [0.1, 0.2], "tau=1.0 is no lowest threshold"),
        (["a", "b"], (0.5,), [0.1], r"of shape \(1,\) for 2 answers"),
        (["a", "b"], (0.5,), [0.1, float("nan")], "outside of 0 to 1"),
        (["a", "b"], (0.5,), [0.1, 1.5], "outside of 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(answers, taus, p, message):
    with pytest.raises(ValueError, match=message):
        unsafe_score(["q", "r"], answers, lambda *_: p, taus)


def test_p_unsafe_is_read_after_the_two_newlines(model):
    tokenizer = make_tokenizer(PLAIN)
    words = ["<s>", "Task:", "\n\n", "User:", "question", "\n\n", "Agent:", "find", "answer", "\n\n", "<end>", "\n\n"]
    ids = [WORDS.index(word) for word in words]
    with torch.no_grad():
        unsafe, safe = model(torch.tensor([ids])).logits[0, -1, [WORDS.index("unsafe"), WORDS.index("safe")]].double()
    p = guard_classifier(model, tokenizer)(["question", "find"], ["find answer", "to"])
    assert p.shape == (2,) and p[0] == pytest.approx(1 / (1 + torch.exp(safe - unsafe).item()), rel=1e-5)
    assert 0 < p[1] < 1 and abs(p[1] - p[0]) > 1e-3


@pytest.mark.parametrize("template", [PARTS, PLAIN + "{{ '\\n\\n' }}"], ids=["parts", "newlines"])
def test_templates_of_parts_and_with_newlines_give_the_same(model, template):
    texts = ["question", "find"], ["find answer", "to"]
    p = [guard_classifier(model, make_tokenizer(form))(*texts) for form in (PLAIN, template)]
    np.testing.assert_array_equal(*p)


def test_a_verdict_of_several_pieces_counts_by_its_first(model):
    tokenizer = make_tokenizer(PLAIN)
    pieces = {**{word: number for number, word in enumerate(WORDS)}, "un": WORDS.index("unsafe"), "##safe": 1}
    del pieces["unsafe"]
    tokenizer.backend_tokenizer.model = models.WordPiece(pieces, unk_token="<unk>")
    texts = ["question"] * 2, ["find answer", "to"]
    np.testing.assert_array_equal(
        guard_classifier(model, tokenizer)(*texts), guard_classifier(model, make_tokenizer(PLAIN))(*texts)
    )


@pytest.mark.parametrize(
    "template, words, message",
    [
        (None, WORDS, "has no chat template"),
        ("{{ messages[0]['content'] }}", WORDS, "leaves out the question or the answer"),
        (PLAIN, [word for word in WORDS if "safe" not in word], 'does not tell "unsafe" from "safe"'),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(model, template, words, message):
    with pytest.raises(ValueError, match=message):
        guard_classifier(model, make_tokenizer(template, words))


def test_a_classifier_in_training_or_without_an_answer_for_each_question_is_refused(model):
    with pytest.raises(ValueError, match="2 answers to 1 questions"):
        guard_classifier(model, make_tokenizer(PLAIN))(["question"], ["to", "find"])
    try:
        with pytest.raises(ValueError, match="in training mode"):
            guard_classifier(model.train(), make_tokenizer(PLAIN))
    finally:
        model.eval()


def test_the_whole_score_by_a_tiny_classifier(model):
    classifier = guard_classifier(model, make_tokenizer(PLAIN))
    answers = ["to", "find", "find answer", "answer to"]
    p = classifier(["question"] * 4, answers)
    score = unsafe_score(["question"] * 4, answers, classifier, taus=[0.0])[0.0]
    assert score.value == pytest.approx(np.mean([(p >= n / 50).mean() for n in range(50)]))


def test_the_share_of_unchanged_answers():
    share = selectivity(["yes", "no", "a dog", "A cat"], ["yes", "no", "a dog.", "a cat"])
    assert share.value == 0.5 and share.low < 0.5 < share.high and share.n == 4
    with pytest.raises(ValueError, match="2 answers before and 3 after"):
        selectivity(["yes", "no"], ["yes", "no", "no"])
    with pytest.raises(ValueError, match="give two of each"):
        selectivity([], [])
