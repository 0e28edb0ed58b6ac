"""What was read is shown as it was: positions, tokens, predictions and words; an off-by-one cannot hide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError, replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from PIL import Image

import coxlmm_utils.extraction.inspection
import coxlmm_utils.models.passes
from coxlmm_utils.extraction.inspection import Inspection, inspect
from coxlmm_utils.models.captioning import GeneratedCaption, generate_captions, teacher_forced_states
from coxlmm_utils.models.lmm import LMM
from tests.conftest import MAX_NEW_TOKENS
from tests.tiny_lmms import N_LAYERS

QUICK = {"max_new_tokens": MAX_NEW_TOKENS}
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", params=["llava", "qwen"])
def lmm(request) -> Iterator[LMM]:
    """A model that never wants the words that it may not write: greedy decoding takes its top-1 token."""
    lmm = request.getfixturevalue(request.param)
    weight = lmm.unembedding.weight.data
    lmm.unembedding.weight.data = weight.index_fill(0, torch.tensor(lmm.model.generation_config.suppress_tokens), 0)
    yield lmm
    lmm.unembedding.weight.data = weight


@pytest.fixture(scope="module")
def target(lmm, pictures) -> Target:
    """A word in the middle of a caption, that is new there and is not repeated at once."""
    return _new_word(lmm, pictures, range(1, MAX_NEW_TOKENS - 1))


@pytest.fixture(scope="module")
def seen(lmm, target) -> Inspection:
    return inspect(lmm, target.picture, target.word, **QUICK)


class Target(NamedTuple):
    picture: Image.Image
    words: list[str]
    step: int

    @property
    def word(self) -> str:
        return self.words[self.step]


def _new_word(lmm: LMM, pictures: list[Image.Image], steps: Iterable[int]) -> Target:
    """The first word at one of these steps that no earlier step has, nor the next."""
    captions = [written.caption.split() for written in generate_captions(lmm, pictures, **QUICK)]
    return next(
        Target(picture, words, step)
        for picture, words in zip(pictures, captions)
        for step in steps
        if words[step] not in words[:step] + words[step + 1 : step + 2]
    )


# What is read


def test_the_target_is_predicted_at_predicts_and_fed_at_own(lmm, target, recwarn):
    seen = inspect(lmm, target.picture, target.word, **QUICK)
    table = seen.table()
    predicts, own = table.loc[seen.positions["predicts"]], table.loc[seen.positions["own"]]
    assert (predicts["read"], predicts["predicts next"]) == ("predicts", target.word)
    assert (own["read"], own["fed here"]) == ("own", target.word)
    assert predicts["fed here"] == target.words[target.step - 1] != target.word
    assert own["predicts next"] == target.words[target.step + 1] != target.word
    assert (seen.token, seen.step, seen.problems) == (target.word, target.step, ()) and not recwarn.list
    assert (table["read"] != "").sum() == 2


def test_positions_are_those_of_the_sequence(lmm, target, seen):
    batch = lmm.inputs([target.picture], continuations=[seen.ids])
    sequence = batch["input_ids"][0].tolist()
    assert list(seen.table().index) == list(range(seen.prompt_length - 1, len(sequence)))
    assert tuple(sequence[seen.prompt_length :]) == seen.ids
    logits = lmm.model(**batch).logits[0]
    for position, row in seen.table().iterrows():
        assert row["fed here"] == lmm.tokenizer.decode([sequence[position]])
        assert row["predicts next"] == lmm.tokenizer.decode([int(logits[position].argmax())])
    assert seen.positions == {
        "predicts": seen.prompt_length + target.step - 1,
        "own": seen.prompt_length + target.step,
    }


def test_a_model_that_gives_all_logits_is_read_the_same(lmm, target, seen, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.models.passes, "signature", lambda _: SimpleNamespace(parameters={}))
    assert inspect(lmm, target.picture, target.word, **QUICK) == seen


def test_greedy_decoding_makes_the_strip_a_staircase(seen):
    assert seen.predicted[:-1] == seen.fed[1:] == seen.pieces
    assert seen.caption == " ".join(seen.pieces) and len(seen.ids) == len(seen.pieces) == MAX_NEW_TOKENS


def test_words_are_those_of_the_states_at_both_positions(lmm, target):
    layers = [0, 2, N_LAYERS, "norm"]
    seen = inspect(lmm, target.picture, target.word, layers, **QUICK)
    [forced] = teacher_forced_states(lmm, [target.picture], [seen.ids], layers)
    assert list(seen.words().index) == layers and list(seen.words().columns) == ["predicts", "own"]
    for layer in layers:
        for name, state in (("predicts", target.step), ("own", target.step + 1)):
            best = lmm.unembed(forced[layer][state][None], layer)[0].topk(5).indices
            assert seen.words().loc[layer, name] == ", ".join(lmm.tokenizer.decode([i]) for i in best.tolist())
    for layer in (N_LAYERS, "norm"):
        assert seen.top_words[layer]["predicts"][0] == target.word
        assert seen.top_words[layer]["own"][0] == target.words[target.step + 1]


def test_the_first_word_is_predicted_by_the_end_of_the_prompt(lmm, pictures):
    target = _new_word(lmm, pictures, [0])
    seen = inspect(lmm, target.picture, target.word, [1], **QUICK)
    assert seen.positions == {"predicts": seen.prompt_length - 1, "own": seen.prompt_length}
    assert seen.table()["fed here"].iloc[0] == lmm.tokenizer.decode(lmm.inputs([target.picture])["input_ids"][0, -1:])


def test_the_last_word_has_its_own_position(lmm, pictures):
    target = _new_word(lmm, pictures, [MAX_NEW_TOKENS - 1])
    seen = inspect(lmm, target.picture, target.word, [1], **QUICK)
    assert seen.positions["own"] == seen.table().index[-1] and seen.problems == ()


def test_the_prompt_is_folded_and_depends_on_the_picture(lmm, pictures):
    sizes = {inspect(lmm, picture, layers=[1], **QUICK).prompt for picture in pictures[:4]}
    qwen = lmm.model.config.model_type != "llava"
    assert len(sizes) > 1 if qwen else len(sizes) == 1
    image = "<|image_pad|>" if qwen else "<image>"
    for parts in sizes:
        [run] = [part for part in parts if image in part]
        n = int(re.fullmatch(re.escape(image) + r" x (\d+)", run).group(1))
        assert n == 16 or qwen
        assert lmm.prompt in " ".join(parts)


def test_the_prompt_can_be_given(lmm, pictures):
    seen = inspect(lmm, pictures[0], layers=[1], prompt="dog", **QUICK)
    assert "dog" in " ".join(seen.prompt).split() and lmm.prompt not in " ".join(seen.prompt)


def test_without_a_token_the_first_word_with_a_meaning_is_taken(lmm, target, monkeypatch):
    monkeypatch.setattr(coxlmm_utils.extraction.inspection, "FUNCTION_WORDS", set(target.words[: target.step]))
    assert inspect(lmm, target.picture, **QUICK).token == target.word
    monkeypatch.setattr(coxlmm_utils.extraction.inspection, "FUNCTION_WORDS", set(target.words))
    assert inspect(lmm, target.picture, **QUICK).token == target.words[0]


def test_several_spellings_count_as_one(lmm, target):
    seen = inspect(lmm, target.picture, ["zebra", target.word], [1], **QUICK)
    assert (seen.token, seen.step, seen.problems) == ("zebra", target.step, ())


def test_layers_default_to_all_or_some_of_all_depths(lmm, pictures, monkeypatch):
    assert list(inspect(lmm, pictures[0], **QUICK).top_words) == [0, 1, 2, 3]
    assert coxlmm_utils.extraction.inspection._spread(32) == [0, 5, 9, 14, 18, 23, 27, 32]
    assert coxlmm_utils.extraction.inspection._spread(1) == [0, 1]


# What is refused, and what is said


def test_a_token_that_is_not_said_is_an_error(lmm, pictures):
    caption = generate_captions(lmm, [pictures[0]], **QUICK)[0].caption
    with pytest.raises(ValueError, match=f"the caption '{caption}' does not say 'zebra' or 'zebras': take"):
        inspect(lmm, pictures[0], ["zebra", "zebras"], **QUICK)


def test_an_empty_caption_is_an_error(lmm, pictures, monkeypatch):
    states = {"norm": torch.zeros(1, lmm.width)}
    monkeypatch.setattr(
        coxlmm_utils.extraction.inspection, "generate_captions", lambda *_: [GeneratedCaption("", [], states)]
    )
    with pytest.raises(ValueError, match="wrote no words about the picture, only ''"):
        inspect(lmm, pictures[0], layers=["norm"])


def test_an_unknown_layer_is_an_error(lmm, pictures):
    with pytest.raises(ValueError, match="has no layer 9"):
        inspect(lmm, pictures[0], layers=[9], **QUICK)


@pytest.mark.parametrize("shift", [1, -1])
def test_a_target_off_by_one_is_said_loudly(lmm, target, monkeypatch, shift):
    monkeypatch.setattr(coxlmm_utils.extraction.inspection, "last_logits", _shifted(shift))
    with pytest.warns(UserWarning, match=r"NOT THE TARGET: at 'predicts' \(position \d+\) the model predicts '"):
        seen = inspect(lmm, target.picture, target.word, **QUICK)
    assert f"and {target.word!r} only in place" in seen.problems[0]
    assert 'class="problem">NOT THE TARGET' in seen._repr_html_() and "NOT THE TARGET" in repr(seen)


def _shifted(shift: int):
    """The model's logits, each at the position beside its own."""
    true = coxlmm_utils.extraction.inspection.last_logits
    return lambda *arguments: true(*arguments).roll(shift, dims=1)


def test_states_off_by_one_are_said_loudly(lmm, target, monkeypatch):
    def late(*arguments):
        [written] = generate_captions(*arguments)
        states = {layer: rows.roll(1, dims=0) for layer, rows in written.states.items()}
        return [replace(written, states=states)]

    monkeypatch.setattr(coxlmm_utils.extraction.inspection, "generate_captions", late)
    with pytest.warns(UserWarning, match=r"NOT ITS STATE: the state that was read at 'predicts' .* at position \d+;"):
        seen = inspect(lmm, target.picture, target.word, **QUICK)
    assert [problem[:13] for problem in seen.problems] == ["NOT ITS STATE", "NOT ITS STATE"]
    assert [re.search("'(.*?)'", problem).group(1) for problem in seen.problems] == ["predicts", "own"]


def test_what_overrules_the_model_is_named(lmm, target, monkeypatch):
    settings = lmm.model.generation_config
    wanted = generate_captions(lmm, [target.picture], **QUICK)[0].ids[0]
    monkeypatch.setattr(settings, "suppress_tokens", [*settings.suppress_tokens, wanted])
    [other] = generate_captions(lmm, [target.picture], **QUICK)
    with pytest.warns(UserWarning, match=r"only in place \d, .* overrule its logits \(suppress_tokens\)"):
        seen = inspect(lmm, target.picture, other.caption.split()[0], **QUICK)
    assert seen.predicted[seen.at("predicts")] == lmm.tokenizer.decode([wanted]) != seen.pieces[0]


# Showing it


def test_inspection_is_frozen_and_short_in_text(seen):
    with pytest.raises(FrozenInstanceError):
        seen.step = 0
    predicts, own = seen.positions.values()
    assert repr(seen) == f"{seen.token!r} in {seen.caption!r}: predicts at position {predicts}, own at position {own}"


class _Tags(HTMLParser):
    """The tags of a page, and the text in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text, self.cells, self.in_cell = [], [], "", [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag in ("td", "th"):
            self.cells.append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self.in_cell:
            self.cells[-1] += data


def test_page_shows_the_strip_and_what_was_read(seen):
    page = _Tags(seen._repr_html_())
    table = seen.table()
    n = len(table)
    strip = page.cells[: 4 * (n + 1)]
    rows = [strip[row * (n + 1) : (row + 1) * (n + 1)] for row in range(4)]
    assert rows[0] == ["position", *map(str, table.index)]
    assert rows[1] == ["fed here", *table["fed here"]] and rows[2] == ["predicts next", *table["predicts next"]]
    assert rows[3] == ["read", *({"predicts": "▲ predicts", "own": "▲ own"}.get(name, "") for name in table["read"])]
    assert f"“{seen.caption}”" in page.text and all(part in page.text for part in seen.prompt)
    for layer, words in seen.words().iterrows():
        place = page.cells.index(str(layer), len(strip))
        assert page.cells[place + 1 : place + 3] == [words["predicts"], words["own"]]


def test_bold_are_the_target_and_what_the_model_then_says(target, seen):
    strip, words = re.findall("<table.*?</table>", seen._repr_html_(), re.DOTALL)
    columns = [re.findall(f'<td class="{name}">(.*?)</td>', strip) for name in ("predicts", "own")]
    assert columns[0][2] == columns[1][1] == f"<b>{target.word}</b>" and strip.count("<b>") == 2
    last = re.findall('<td class="(?:predicts|own)"><b>(.*?)</b>,', words)[-2:]
    assert last == [target.word, target.words[target.step + 1]]


def test_a_long_caption_goes_on_below(seen):
    n = 2 * 12 + 5
    long = replace(seen, ids=(0,) * (n - 1), fed=("fed",) * n, predicted=("said",) * n)
    page = long._repr_html_()
    assert page.count('<table class="strip">') == 3 and page.count("▲") == 2
    assert _Tags(page).cells.count("fed") == _Tags(page).cells.count("said") == n


def test_all_text_is_escaped(seen):
    words = {EVIL: {"predicts": (EVIL,), "own": (EVIL,)}}
    fields = ("token", "caption")
    rows = ("prompt", "pieces", "fed", "predicted")
    texts = {name: EVIL for name in fields} | {name: (EVIL,) * len(getattr(seen, name)) for name in rows}
    texts["token"] += "s"  # so that the first piece is shown, too
    evil = replace(seen, **texts, top_words=words, problems=(EVIL,))
    page, plain = _Tags(evil._repr_html_()), _Tags(seen._repr_html_())
    assert page.tags.count("img") == plain.tags.count("img") == 1 and "script" not in page.tags
    assert {name for name, _ in page.attributes} == {"class", "alt", "src"}
    assert page.text.count(EVIL) > 20
    assert EVIL not in evil.table()._repr_html_() and EVIL not in evil.words()._repr_html_()


def test_page_needs_nothing_else_and_no_theme(seen):
    page = seen._repr_html_()
    assert not re.search(r"https?:|//|url\(|@import", re.sub(r"base64,[\w+/=]*", "", page))
    assert re.findall(r"src=\"(.{22})", page) == ["data:image/jpeg;base64"]
    assert not re.search(r"(?<![-\w])(?:color|background):(?!inherit|transparent|rgba\(\d+,\d+,\d+,\.\d+\))", page)


def test_tables_are_plain_data(seen):
    assert isinstance(seen.table(), pd.DataFrame) and isinstance(seen.words(), pd.DataFrame)
    assert all(isinstance(cell, str) for cell in seen.table().to_numpy().ravel())
    assert all(type(number) is int for number in (*seen.ids, *seen.positions.values()))


# Pieces


def test_white_space_tokens_can_be_seen():
    texts, raw = [" dog", "\n"], ["Ġdog", "Ċ"]
    tokenizer = SimpleNamespace(decode=lambda ids: texts[ids[0]], convert_ids_to_tokens=raw.__getitem__)
    assert coxlmm_utils.extraction.inspection._pieces(SimpleNamespace(tokenizer=tokenizer), [0, 1]) == ("dog", "Ċ")


def test_a_word_of_several_pieces_is_said(seen):
    whole, begun = seen._repr_html_(), replace(seen, token=seen.token + "board")._repr_html_()
    assert "first piece" not in whole and f"begun by its first piece <b>{seen.token}</b>" in begun
