"""Which pictures are samples, which states are taken, what is cached and what is refused."""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from unicodedata import normalize

import numpy as np
import pytest
import torch

from coxlmm_utils.extraction import loop
from coxlmm_utils.extraction.extract import extract, extract_many
from coxlmm_utils.images.captioned_images import CaptionedImages
from coxlmm_utils.images.pictures import open_picture
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.models.captioning import (
    generate_batch,
    generate_captions,
    teacher_forced_batch,
    teacher_forced_states,
)
from coxlmm_utils.models.hooks import add
from coxlmm_utils.text import FUNCTION_WORDS
from tests.conftest import MAX_NEW_TOKENS, in_memory
from tests.tiny_lmms import N_LAYERS, WIDTH, WORDS

ALL_LAYERS = [*range(N_LAYERS + 1), "norm"]
SHORT = dict(max_new_tokens=MAX_NEW_TOKENS)
QUICK = dict(max_new_tokens=MAX_NEW_TOKENS, cache=False)


@pytest.fixture(scope="module")
def written(llava, pictures):
    return generate_captions(llava, pictures, ALL_LAYERS, max_new_tokens=MAX_NEW_TOKENS)


@pytest.fixture(scope="module")
def naming(written, token) -> list[int]:
    """The rows of the pictures whose captions have the token."""
    rows = [row for row, case in enumerate(written) if token in case.caption.split()]
    assert 4 < len(rows) < len(written) - 4
    return rows


def ids_of(rows) -> tuple[str, ...]:
    return tuple(f"p{row}" for row in rows)


# Samples


def test_a_sample_has_the_token_in_its_caption_and_in_a_reference(llava, pictures, written, naming, token):
    references = [(f"not {token}ish", f"a {token.upper()} thing") if row % 2 else ("other",) for row in range(24)]
    states = extract(llava, in_memory(pictures, references), token, 1, **QUICK)
    rows = [row for row in naming if row % 2]
    assert states.images.ids == ids_of(rows) and len(states) == len(rows)
    assert states.captions == [written[row].caption for row in rows]
    assert states.provenance["counts"] == {
        "pictures": 24,
        "mentioned": 12,
        "without_references": 0,
        "unreadable": 0,
        "kept": len(rows),
    }
    assert repr(states) == (
        f"States of 'grey' at layer 1, position 'predicts': {len(rows)} of 24 pictures kept "
        "(12 mention it in a reference)"
    )


def test_the_two_reference_rules(llava, pictures, naming, token):
    first, second, third = naming[:3]
    references = [("other",)] * 24
    references[first] = (f"un{token}ish", "other")  # a substring of the first
    references[second] = ("other", token)  # a word of the second
    references[third] = (token.title(), "other")
    images = in_memory(pictures, references)
    assert extract(llava, images, token, 1, **QUICK).images.ids == ids_of([second, third])
    by_substring = extract(llava, images, token, 1, references="substring", **QUICK)
    assert by_substring.images.ids == ids_of([first, third])
    assert by_substring.provenance["references"] == "substring"


def test_several_spellings_count_as_one(llava, pictures, written):
    images = in_memory(pictures, ("runs and stands",))
    rows = [row for row, case in enumerate(written) if {"runs", "stands"} & set(case.caption.split())]
    states = extract(llava, images, ["runs", "stands"], 1, **QUICK)
    assert states.images.ids == ids_of(rows) and states.provenance["token"] == ["runs", "stands"]


@pytest.mark.parametrize("rule", ["word", "substring"])
def test_without_references_the_caption_decides(llava, pictures, naming, token, rule):
    references = [(token,), *[()] * 20, *[("other",)] * 3]
    with pytest.warns(UserWarning, match="pictures without reference captions: 20;"):
        states = extract(llava, in_memory(pictures, references), token, 1, references=rule, **QUICK)
    assert states.images.ids == ids_of(row for row in naming if row < 21)
    assert states.provenance["counts"]["mentioned"] == 1
    assert states.provenance["counts"]["without_references"] == 20


def test_unreadable_pictures_are_skipped_and_recorded(llava, pictures, naming, token, tmp_path):
    for row, picture in enumerate(pictures):
        picture.save(tmp_path / f"{row:02d}.png")
    bad = [0, naming[2], naming[3], 23]
    for row in bad:
        (tmp_path / f"{row:02d}.png").write_bytes(b"no picture")
    ids = tuple(sorted(path.name for path in tmp_path.iterdir()))
    images = CaptionedImages("", "all", ids, [(token,)] * 24, lambda id: open_picture(tmp_path / id))
    with pytest.warns(UserWarning, match=r"could not be read and were skipped: 4 \(00.png, .*, \.\.\.\)$"):
        states = extract(llava, images, token, 1, batch_size=2, **QUICK)
    assert states.images.ids == tuple(ids[row] for row in naming if row not in bad)
    assert states.provenance["unreadable"] == [ids[row] for row in sorted(bad)]
    assert states.provenance["counts"]["unreadable"] == 4


def test_a_token_of_several_pieces_is_said(llava, pictures, written):
    first, second = written[1].caption.split()[:2]  # to this model two words are two tokens
    with pytest.warns(UserWarning, match=f"'{first} {second}' is several tokens .* first piece, '{first}'"):
        extract(llava, in_memory(pictures, (f"{first} {second}",)), f"{first} {second}", 1, **QUICK)


# States


@pytest.mark.parametrize("position, offset", [("predicts", 0), ("own", 1)])
def test_states_are_those_of_a_teacher_forced_pass(llava, pictures, written, naming, token, position, offset):
    images = in_memory(pictures, (token,))
    states = extract(llava, images, token, ALL_LAYERS, position, batch_size=5, **QUICK)
    captions = [written[row].ids for row in naming]
    forced = teacher_forced_states(llava, [pictures[row] for row in naming], captions, ALL_LAYERS)
    steps = [written[row].caption.split().index(token) + offset for row in naming]
    assert len(set(steps)) > 1
    for layer in ALL_LAYERS:
        assert states.vectors[layer].shape == (len(naming), WIDTH)
        expected = torch.stack([case[layer][step] for case, step in zip(forced, steps)])
        torch.testing.assert_close(states.vectors[layer], expected, rtol=1e-3, atol=1e-3)
    assert states.provenance["position"] == position


def test_the_last_allowed_token_has_its_own_state(llava, pictures, written):
    row = next(row for row, case in enumerate(written) if case.ids[-1] not in case.ids[:-1])
    last = written[row].caption.split()[-1]
    images = in_memory(pictures, [(last,) if i == row else ("other",) for i in range(24)])
    states = extract(llava, images, last, 2, "own", **QUICK)
    [forced] = teacher_forced_states(llava, [pictures[row]], [written[row].ids], [2])
    torch.testing.assert_close(states.Z, forced[2][-1:], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="none of the 1 captions"):
        extract(llava, images, last, 2, "own", max_new_tokens=MAX_NEW_TOKENS - 1, cache=False)


def test_one_layer_of_several_can_be_chosen(llava, pictures, token):
    images = in_memory(pictures, (token,))
    both = extract(llava, images, token, (1, "norm"), **QUICK)
    assert both.at("norm").layer == "norm"
    assert torch.equal(both.at(1).Z, extract(llava, images, token, 1, **QUICK).Z)
    assert torch.equal(extract(llava, images, token, np.arange(1, 3), **QUICK).at(1).Z, both.at(1).Z)
    with pytest.raises(ValueError, match=r"of layers \[1, 'norm'\]; choose one with states.at"):
        both.Z
    with pytest.raises(ValueError, match=r"no states at layer 2; there are \[1, 'norm'\]"):
        both.at(2)


# Refusals


def test_a_token_of_no_reference_is_refused_with_suggestions(llava, pictures):
    images = in_memory(pictures, ("a zebra of grass", "zebra"))
    message = "no reference caption of the 24 pictures has 'dog' or 'dogs'; words that do occur: zebra, grass"
    with pytest.raises(ValueError, match=message):
        extract(llava, images, ["dog", "dogs"], 1, **QUICK)


@pytest.mark.parametrize("references", [("a zebra",), ()])
def test_a_token_of_no_caption_is_refused_with_suggestions(llava, pictures, written, references):
    words = Counter(word for case in written for word in case.caption.split())
    often = next(word for word, _ in words.most_common() if len(word) > 2 and word not in FUNCTION_WORDS)
    message = rf"'zebra' occurs in none of the 24 captions .* words that do occur: {often}, "
    with pytest.raises(ValueError, match=message):
        extract(llava, in_memory(pictures, references), "zebra", 1, **QUICK)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(token=""), "token is empty"),
        (dict(token=[]), "token is empty"),
        (dict(layer=N_LAYERS + 1), "has no layer 4"),
        (dict(layer=[1, "last"]), "has no layer 'last'"),
        (dict(token=5), "token is not a word: 5; give a word, or several"),
        (dict(token=["dog", None]), "token is not a word"),
        (dict(layer=2.5), "has no layer 2.5"),
        (dict(batch_size=0), "batch_size must be at least 1, not 0"),
        (dict(batch_size=2.5), "batch_size must be a whole number, not 2.5"),
        (dict(max_new_tokens=0), "max_new_tokens must be at least 1"),
        (dict(captions={"image0": "a dog"}), "captions= has none of these 24 pictures: .* as 'image0', .* as 'p0'"),
        (dict(captions={5: "a dog"}), "keys are such as 5, the pictures' ids such as 'p0'; give it a caption for each"),
        (dict(captions={}), "captions= has none .* such as None"),
        (dict(captions=["a dog"]), "captions= maps picture ids to captions, and this is a list"),
        (dict(captions={"p3": ["a dog", "the dog"]}), "captions= has .*the dog.* for 'p3'; give one text"),
        (dict(captions={"p3": float("nan")}), "captions= has nan for 'p3'"),
        (dict(layer=[]), "no layer to read"),
        (dict(position="after"), "no position 'after'; choose one of predicts, own"),
        (dict(references="any"), "no reference rule 'any'; choose one of word, substring"),
    ],
)
def test_bad_requests_are_refused(llava, pictures, token, change, message):
    with pytest.raises(ValueError, match=message):
        extract(llava, in_memory(pictures, (token,)), **{"token": token, "layer": 1, **QUICK, **change})


def test_given_captions_go_by_id_and_what_has_none_is_left_out(llava, pictures, token):
    given = {0: f"a {token} dog", "1": [f"the {token} cat"], "2": None, 3: [], "elsewhere": "a"}
    states = extract(llava, load_images(pictures), token, 2, captions=given, **QUICK)
    assert states.images.ids == ("0", "1")


def test_given_captions_are_found_however_a_disk_writes_accents(llava, pictures, token):
    images = in_memory(pictures, (token,))[:2]
    ids = tuple(normalize(form, f"café{form}.png") for form in ("NFC", "NFD"))
    images = CaptionedImages("", "all", ids, images.references, dict(zip(ids, pictures)).__getitem__)
    for form in ("NFC", "NFD"):
        given = {normalize(form, id): f"a {token} dog" for id in ids}
        assert extract(llava, images, token, 2, captions=given, **QUICK).images.ids == ids


def test_one_token_may_be_given_as_it_is_and_a_position_is_needed(llava, pictures, token):
    assert list(extract_many(llava, in_memory(pictures, (token,)), token, 2, "own", **QUICK)) == [(token, "own")]
    with pytest.raises(ValueError, match="token is not a word: None"):
        extract_many(llava, in_memory(pictures, (token,)), None, [2], **QUICK)
    with pytest.raises(ValueError, match="no position to read"):
        extract_many(llava, in_memory(pictures, (token,)), token, [2], [], **QUICK)


# Saving and the cache


def folder_of(pictures, folder, token):
    """The pictures as files, with one caption each."""
    folder.mkdir()
    for row, picture in enumerate(pictures):
        picture.save(folder / f"{row:02d}.png")
    captions = {f"{row:02d}.png": f"{token} runs" for row in range(len(pictures))}
    (folder / "captions.json").write_text(json.dumps(captions))
    return load_images(f"folder:{folder}")


@pytest.fixture
def counted(monkeypatch, tmp_path) -> list:
    """An empty cache, and a list of what was done with each batch: "written" or "read"."""
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path / "cache"))
    calls = []

    def count(name, function):
        monkeypatch.setattr(
            loop, function.__name__, lambda *args, **more: calls.append(name) or function(*args, **more)
        )

    count("written", generate_batch)
    count("read", teacher_forced_batch)
    return calls


def test_the_same_states_come_from_the_cache(llava, pictures, token, counted, tmp_path):
    images = folder_of(pictures, tmp_path / "pictures", token)
    first = extract(llava, images, token, [1, "norm"], max_new_tokens=6)
    second = extract(llava, load_images(images.source), [token], [1, "norm"], max_new_tokens=6, batch_size=3)
    assert len(counted) == 1
    assert all(torch.equal(first.vectors[layer], second.vectors[layer]) for layer in (1, "norm"))
    assert (first.captions, first.provenance) == (second.captions, second.provenance)
    extract(llava, images, token, [1, "norm"], max_new_tokens=6, cache=False)
    assert len(counted) == 2


@pytest.mark.parametrize(
    "change, done",
    [
        (dict(token=["grey", "runs"]), ["read"]),
        (dict(layer=2), ["read"]),
        (dict(layer=[1, 2]), ["read"]),
        (dict(position="own"), ["read"]),
        (dict(references="substring"), []),
        (dict(prompt="dog"), ["written"]),
        (dict(max_new_tokens=5), ["written"]),
        (dict(stop_early=True), ["written"]),
    ],
)
def test_another_setting_is_done_anew_but_known_captions_are_only_read(
    llava, pictures, token, counted, tmp_path, change, done
):
    images = folder_of(pictures, tmp_path / "pictures", token)
    usual = dict(token=token, layer=1, max_new_tokens=6)
    extract(llava, images, **usual)
    second = extract(llava, images, **{**usual, **change})
    assert counted == ["written", *done]
    alone = extract(llava, images, **{**usual, **change}, cache=False)
    assert second.captions == alone.captions
    assert torch.allclose(
        second.Z if "layer" not in change else second.at(2).Z, alone.vectors[list(alone.vectors)[-1]], atol=1e-4
    )


def test_other_pictures_captions_or_weights_are_another_entry(llava, pictures, token, counted, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"

    def again():
        extract(llava, load_images(f"folder:{folder}"), token, 1, max_new_tokens=6)
        return len(counted)

    extract(llava, folder_of(pictures, folder, token), token, 1, max_new_tokens=6)
    assert again() == 1
    os.utime(folder / "05.png", ns=(1, 1))
    assert again() == 3 and counted[1:] == ["read", "written"]  # only the changed picture's caption is not known
    extract(llava, load_images(f"folder:{folder}", limit=20), token, 1, max_new_tokens=6)
    assert counted[3:] == ["read"]
    captions = (folder / "captions.json").read_text()
    (folder / "captions.json").write_text(captions.replace(f"{token} runs", "no such word", 1))
    assert again() == 5 and counted[-1] == "read"  # one picture less may be a sample
    monkeypatch.setattr(llava, "name", "other")
    assert again() == 6 == again() and counted[-1] == "written"


@contextmanager
def edited(llava):
    weight = llava.layers[1].mlp.down_proj.weight
    before = weight.clone()
    weight.data += 0.1  # which torch itself does not count as a change
    yield
    weight.data.copy_(before)


@contextmanager
def adapted(llava):
    class Adapter(torch.nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base, self.b = base, torch.nn.Parameter(torch.full((base.out_features, base.in_features), 0.1))

        def forward(self, x):
            return self.base(x) + x @ self.b.T

    before = llava.layers[1].mlp.down_proj
    llava.layers[1].mlp.down_proj = Adapter(before)
    yield
    llava.layers[1].mlp.down_proj = before


@contextmanager
def penalised(llava):
    llava.model.generation_config.repetition_penalty = 1.5
    yield
    llava.model.generation_config.repetition_penalty = None


@contextmanager
def other_template(llava):
    before = llava.processor.chat_template
    llava.processor.chat_template = before + "{{ strftime_now('%Y') }}"
    yield
    llava.processor.chat_template = before


@pytest.mark.parametrize("change", [edited, adapted, penalised, other_template])
def test_what_the_model_is_now_decides_what_is_taken_from_the_cache(llava, pictures, counted, tmp_path, change):
    words = " ".join(WORDS)
    images, usual = folder_of(pictures, tmp_path / "pictures", words), dict(layer=1, max_new_tokens=6)
    before = extract(llava, images, WORDS[5:], **usual)
    with change(llava), torch.inference_mode(False):
        after = extract(llava, images, WORDS[5:], **usual)
        anew = extract(llava, images, WORDS[5:], **usual, cache=False)
    assert counted == ["written"] * 3 and after.captions == anew.captions and torch.equal(after.Z, anew.Z)
    assert after.captions != before.captions
    assert extract(llava, images, WORDS[5:], **usual).captions == before.captions and len(counted) == 3


def test_nothing_is_kept_or_taken_while_hooks_change_the_model(llava, pictures, token, counted, tmp_path):
    images = folder_of(pictures, tmp_path / "pictures", token)
    usual = extract(llava, images, token, 1, max_new_tokens=6)
    with add(llava, 1, 5 * torch.ones(WIDTH), "last_prompt"):
        changed = extract(llava, images, token, 1, max_new_tokens=6)
        with pytest.raises(ValueError, match="hooks change, .* are not kept: leave folder out"):
            extract(llava, images, token, 1, max_new_tokens=6, folder=tmp_path / "blocks")
    assert counted == ["written", "written"] and changed.captions != usual.captions
    assert extract(llava, images, token, 1, max_new_tokens=6).captions == usual.captions and len(counted) == 2


def test_an_empty_prompt_is_a_prompt(llava, pictures, token):
    states = extract(llava, in_memory(pictures, (" ".join(WORDS),)), WORDS[5:], 1, prompt="", **QUICK)
    assert states.prompt == "" and states.captions == [
        single.caption for single in generate_captions(llava, pictures, prompt="", max_new_tokens=MAX_NEW_TOKENS)
    ]


def test_what_was_warned_of_is_warned_of_again(llava, pictures, token, counted, tmp_path):
    images = folder_of(pictures, tmp_path / "pictures", token)
    (tmp_path / "pictures" / "00.png").write_bytes(b"no picture")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"could not be read and were skipped: 1 \(00.png\)$"):
            extract(llava, images, token, 1, max_new_tokens=6)
    assert len(counted) == 1


def test_pictures_in_memory_are_not_cached(llava, pictures, token, counted, tmp_path):
    for _ in range(2):
        extract(llava, in_memory(pictures, (token,)), token, 1, max_new_tokens=6)
    assert len(counted) == 2 and not (tmp_path / "cache").exists()


def test_a_usual_extraction_warns_of_nothing(llava, pictures, token):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract(llava, in_memory(pictures, (token,)), token, 1, **QUICK)


# Several tokens, given captions, early stopping


def test_many_tokens_layers_and_positions_come_from_one_pass(llava, pictures, written, counted, tmp_path):
    tokens = sorted({word for case in written for word in case.caption.split()} - FUNCTION_WORDS)[:3]
    images = folder_of(pictures, tmp_path / "pictures", " ".join(tokens))
    result = extract_many(llava, images, tokens, [1, 2], max_new_tokens=6)
    assert counted == ["written"]
    assert set(result) == {(token, position) for token in tokens for position in ("predicts", "own")}
    for (token, position), states in result.items():
        alone = extract(llava, images, token, [1, 2], position, max_new_tokens=6, cache=False)
        assert alone.captions == states.captions and alone.images.ids == states.images.ids
        assert all(torch.equal(alone.vectors[layer], states.vectors[layer]) for layer in (1, 2))
        assert alone.provenance == states.provenance


def test_only_pictures_that_mention_a_token_are_its_samples(llava, pictures, written, naming, token):
    rows = [row for row, case in enumerate(written) if token in case.caption.split()]
    references = [(token,) if row != rows[0] else ("a zebra",) for row in range(len(pictures))]
    result = extract_many(
        llava, in_memory(pictures, references), {token: [token], "first": ["zebra", token]}, [1], **QUICK
    )
    assert f"p{rows[0]}" not in result[token, "own"].images.ids
    assert f"p{rows[0]}" in result["first", "own"].images.ids


def test_given_captions_are_read_by_one_pass(llava, pictures, token, counted):
    captions = {f"p{row}": f"a {token} dog" for row in range(0, 24, 2)}
    states = extract(llava, in_memory(pictures, (token,)), token, [2], "own", captions=captions, cache=False)
    assert counted == ["read"]
    assert states.images.ids == tuple(captions) and set(states.captions) == {f"a {token} dog"}
    ids = [llava.tokenizer(caption, add_special_tokens=False)["input_ids"] for caption in captions.values()]
    expected = teacher_forced_states(llava, pictures[::2], ids, [2])
    step = 1 + (len(ids[0]) - 3)  # pieces of "a" may be several
    assert torch.allclose(states.Z, torch.stack([item[2][step + 1] for item in expected]), atol=1e-5)


@pytest.mark.parametrize("position", ["predicts", "own"])
def test_stopping_early_gives_the_same_states_and_shorter_captions(llava, pictures, token, position):
    images = in_memory(pictures, (token,))
    usual = extract(llava, images, token, 2, position, **QUICK)
    early = extract(llava, images, token, 2, position, stop_early=True, **QUICK)
    assert early.images.ids == usual.images.ids
    assert torch.allclose(early.Z, usual.Z, atol=1e-5)
    assert all(whole.startswith(cut) for cut, whole in zip(early.captions, usual.captions))
    assert sum(map(len, early.captions)) < sum(map(len, usual.captions))


def test_the_batch_size_does_not_matter(llava, pictures, token):
    images = in_memory(pictures, (token,))
    whole, single = (extract(llava, images, token, 2, batch_size=n, **QUICK) for n in (24, 1))
    assert whole.captions == single.captions
    assert torch.cosine_similarity(whole.Z, single.Z).min() > 0.9999


def test_pictures_in_memory_cannot_be_kept_in_a_folder(llava, pictures, token, tmp_path):
    with pytest.raises(ValueError, match="pictures in memory cannot be kept apart in a folder: save them as files"):
        extract(llava, in_memory(pictures, (token,)), token, 1, folder=tmp_path)


def test_a_cache_that_cannot_be_written_to_is_said_before_the_work(llava, pictures, token, tmp_path, monkeypatch):
    images = folder_of(pictures, tmp_path / "pictures", token)
    (tmp_path / "file").touch()
    monkeypatch.setenv("COXLMM_CACHE", str(tmp_path / "file"))
    with monkeypatch.context() as patch, pytest.raises(OSError, match="nothing can be kept in .*COXLMM_CACHE"):
        patch.setattr(loop, "generate_batch", lambda *_, **__: pytest.fail("the model ran"))
        extract(llava, images, token, 2, **SHORT)
    assert len(extract(llava, images, token, 2, **QUICK)) > 3


def test_pictures_that_the_disk_fails_to_read_are_not_kept_as_damaged(llava, pictures, token, tmp_path, monkeypatch):
    images = folder_of(pictures, tmp_path / "pictures", token)
    monkeypatch.setattr("coxlmm_utils.images.captioned_images.WAITS", ())

    def fail(id):
        if id == images.ids[5]:
            raise OSError(errno.ESTALE, "Stale file handle")
        return images.open(id)

    with pytest.raises(OSError, match="Stale file handle"):
        extract(llava, replace(images, open=fail), token, 2, folder=tmp_path / "blocks", **SHORT)
    states = extract(llava, images, token, 2, folder=tmp_path / "blocks", **SHORT)
    assert states.provenance["unreadable"] == []
