"""The evaluation of one token: scores by hand for systems made by hand, then the whole with a tiny model."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from coxlmm_utils.concepts.grounding import Words
from coxlmm_utils.concepts.word_filter import WordFilter
from coxlmm_utils.dictionaries.semi_nmf import SemiNMF
from coxlmm_utils.evaluation.bertscore import BertJudge
from coxlmm_utils.evaluation.clipscore import PREFIX, words_as_text
from coxlmm_utils.evaluation.comparison import compare
from coxlmm_utils.evaluation.evaluate import Evaluation, evaluate
from coxlmm_utils.evaluation.systems import NAMES, System
from coxlmm_utils.extraction.extract import extract
from coxlmm_utils.extraction.provenance import ALIKE
from coxlmm_utils.images.sources import load_images
from coxlmm_utils.statistics import bootstrap_mean, nested_bootstrap
from tests.conftest import in_memory
from tests.evaluation.test_judges import bert_by_hand, clip_by_hand, tiny_judges

module = import_module("coxlmm_utils.evaluation.evaluate")  # its room has a function of that name

DOG, BUS, SNOW, NONE = WORDS = (("dog", "brown"), ("bus", "dog"), ("snow", "park", "small"), ())
ACTIVATIONS = np.array([[3, 1, 0, 0], [0, 2, 1, 3], [0, 0, 0, 0], [4, 3, 2, 1], [0, 0, 1, 0], [0, 0, 2, 3]], float)
SAID = [[DOG, BUS], [NONE, BUS, SNOW], [()], [DOG, BUS, SNOW], [SNOW], [NONE, SNOW]]  # three at most
REFERENCES = [
    ("a grey dog", "a small dog in the park"),
    ("the grey snow", "a red bus"),
    ("a grey cat",),
    ("grey", "a dog runs", "a brown dog sleeps"),
    (),
    ("a bus", "grey street"),
]
pytestmark = pytest.mark.filterwarnings("ignore:pictures without reference captions")

FILTER = WordFilter(min_length=2)
GIVEN = ("a small grey dog sits", "the grey bus", "grey snow on a street")


def given(lmm, images):
    """States of a word in captions that are given, so that every picture is a sample."""
    captions = {id: GIVEN[int(re.sub(r"\D", "", id)) % 3] for id in images.ids}
    return extract(lmm, images, "grey", 2, captions=captions, cache=False)


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    return tiny_judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def images(pictures):
    return in_memory(pictures[6:18] + pictures[:6], [("all grey",)] * 12 + REFERENCES)


@pytest.fixture(scope="module")
def states(llava, images):
    return given(llava, images[:12]), given(llava, images[12:])


@pytest.fixture
def evaluated(monkeypatch, llava, states, judges):
    """Evaluates systems made by hand."""

    def of(*systems: System, tested=states[1], seeds=(0, 1)) -> Evaluation:
        monkeypatch.setattr(module, "make_systems", lambda *made_of: list(systems))
        return evaluate(llava, states[0], tested, *judges, seeds=seeds)

    return of


def system(name: str = "semi_nmf", seed: int = 0, words=WORDS, activations=ACTIVATIONS) -> System:
    return System(name, seed, [Words(own, ()) for own in words], activations)


# Scores by hand


def test_clip_score_of_the_most_active_and_of_three(evaluated, judges, pictures):
    result = evaluated(system())
    item = [
        [clip_by_hand(judges[0], picture, words_as_text(words)) for words in mentioned]
        for picture, mentioned in zip(pictures[:6], SAID)
    ]
    assert result.per_picture()["semi_nmf"] == pytest.approx([scores[0] for scores in item], abs=1e-5)
    three = result.per_picture("clipscore", top=3)["semi_nmf"]
    assert three == pytest.approx([np.mean(scores) for scores in item], abs=1e-5)
    assert np.ptp(item[3]) > 1e-3  # else the mean of three would tell nothing


def test_bert_score_of_the_most_active_and_of_three(evaluated, judges):
    result = evaluated(system())
    item = [
        [bert_by_hand(judges[1], ", ".join(words), texts) if words and texts else 0 for words in mentioned]
        for mentioned, texts in zip(SAID, REFERENCES)
    ]
    item[4] = [np.nan]  # it has no reference
    assert result.per_picture("bertscore")["semi_nmf"] == pytest.approx([s[0] for s in item], abs=1e-5, nan_ok=True)
    three = result.per_picture("bertscore", 3)["semi_nmf"]
    assert three == pytest.approx([np.mean(scores) for scores in item], abs=1e-5, nan_ok=True)
    assert item[1][0] == item[5][0] == 0 < three[1]  # the wordless concept counts as 0


def test_scores_of_three_concepts_words_as_one_list(evaluated, judges, pictures):
    result = evaluated(system())
    lists = [("dog", "brown", "bus"), ("bus", "dog", "snow", "park", "small"), (), ("dog", "brown", "bus"), SNOW, SNOW]
    lists[3] += SNOW  # a word that two concepts have is said once
    assert result.scores["n_words"].tolist()[:6] == [len(words) for words in lists]
    by_hand = [clip_by_hand(judges[0], picture, words_as_text(words)) for picture, words in zip(pictures[:6], lists)]
    assert result.per_picture("clipscore", "union")["semi_nmf"] == pytest.approx(by_hand, abs=1e-5)
    bert = [bert_by_hand(judges[1], ", ".join(w), texts) if w and texts else 0 for w, texts in zip(lists, REFERENCES)]
    bert[4] = np.nan  # it has no reference
    assert result.per_picture("bertscore", "union")["semi_nmf"] == pytest.approx(bert, abs=1e-5, nan_ok=True)


def test_words_of_several_concepts_are_all_said(evaluated, judges, pictures):
    """At most ten of one concept, but not of three."""
    many = [tuple(f"{letter}{number}" for number in range(6)) for letter in "abcd"]
    result = evaluated(system(words=many))
    said = PREFIX + ", ".join(many[0] + many[1] + many[2]) + "."
    one = result.per_picture("clipscore", "union")["semi_nmf"][3]
    assert one == pytest.approx(clip_by_hand(judges[0], pictures[3], said), abs=1e-5)
    assert words_as_text(many[0] * 2) == PREFIX + ", ".join(many[0] + many[0][:4]) + "."


def test_all_means_of_a_system_by_name(evaluated):
    result = evaluated(system())
    means = result.means("semi_nmf")
    assert list(means) == ["clipscore", "bertscore", "union_clipscore", "union_bertscore", "overlap"]
    assert means["union_clipscore"] == result.mean("semi_nmf", "clipscore", "union") != means["clipscore"]
    assert means["overlap"] == result.overlap("semi_nmf") and result.means("gt_captions")["overlap"] is None


def test_captions_of_the_pictures_themselves(evaluated, judges, pictures):
    result = evaluated(system())
    rows = result.scores[result.scores["system"] == "gt_captions"]
    assert len(rows) == 6 and set(rows["seed"]) == {0} and rows["picture"].tolist() == [f"p{n}" for n in range(12, 18)]
    clip, bert = rows["clipscore"].to_numpy(), rows["bertscore"].to_numpy()
    assert clip[3] == pytest.approx(np.mean([clip_by_hand(judges[0], pictures[3], t) for t in REFERENCES[3]]), abs=1e-5)
    first, second = REFERENCES[0]
    turns = [(first, (second,)), (second, (first,))]
    assert bert[0] == pytest.approx(np.mean([bert_by_hand(judges[1], *turn) for turn in turns]), abs=1e-5)
    assert np.isnan(clip).nonzero()[0].tolist() == [4] and np.isnan(bert).nonzero()[0].tolist() == [2, 4]
    for metric in ("clipscore", "bertscore"):
        for column in (f"{metric}_top3", f"{metric}_union"):
            assert rows[metric].equals(rows[column].rename(metric))


def test_concepts_with_the_number_of_their_words_and_their_overlap(evaluated):
    result = evaluated(system(), system("simple", 0, [DOG, DOG, SNOW, BUS]))
    ours = result.concepts[result.concepts["system"] == "semi_nmf"]
    assert ours["concept"].tolist() == [0, 1, 2, 3] and ours["words"].tolist() == [2, 2, 3, 0]
    assert ours["overlap"].tolist() == pytest.approx([1 / 6, 1 / 6, 0, np.nan], nan_ok=True)
    assert result.overlap("semi_nmf") == bootstrap_mean([1 / 6, 1 / 6, 0, np.nan])
    assert result.overlap("simple").value == pytest.approx((1 / 2 + 1 / 2 + 0 + 1 / 3) / 4)
    assert result.overlap("gt_captions") is None


def test_overlap_has_seeds_as_the_outer_level_and_needs_two_concepts(evaluated):
    result = evaluated(system(), system(seed=1, words=[DOG, DOG, DOG, DOG]), system("kmeans", 0, [DOG, (), (), ()]))
    assert result.overlap("semi_nmf") == nested_bootstrap([[1 / 6, 1 / 6, 0, np.nan], [1, 1, 1, 1]])
    assert result.seed_means("semi_nmf", "overlap") == pytest.approx([1 / 9, 1])
    assert result.overlap("kmeans") is None


# Seeds


def test_scores_of_a_picture_are_averaged_over_seeds_and_seeds_are_in_the_interval(evaluated):
    single, other = system(), system(seed=1, activations=ACTIVATIONS[:, ::-1])
    alone = [evaluated(item).per_picture("clipscore")["semi_nmf"] for item in (single, other)]
    both = evaluated(single, other, system("pca"))
    assert both.per_picture()["semi_nmf"] == pytest.approx((alone[0] + alone[1]) / 2)
    assert both.per_seed()["semi_nmf"] == pytest.approx(np.array(alone))
    assert both.mean("semi_nmf") == nested_bootstrap(alone, crossed=True) and both.mean("semi_nmf").n_seeds == 2
    assert both.seed_means("semi_nmf") == pytest.approx([alone[0].mean(), alone[1].mean()])
    for name in ("pca", "gt_captions"):
        assert both.mean(name).n_seeds == len(both.seed_means(name)) == 1
        assert both.mean(name) == bootstrap_mean(both.per_picture()[name])


def test_pictures_keep_their_places(evaluated, states):
    tested = replace(states[1], images=states[1].images[[5, 0, 4, 1, 3, 2]])
    result = evaluated(system("simple"), system(), tested=tested)
    turned = result.per_picture("bertscore")["semi_nmf"]
    assert result.scores["picture"][:6].tolist() == list(tested.images.ids)
    assert np.isnan(turned).nonzero()[0].tolist() == [2]
    assert result.systems == ["simple", "semi_nmf", "gt_captions"] == list(result.per_picture())


# Judged once


def test_each_picture_and_each_text_is_looked_at_once(evaluated, judges, monkeypatch):
    clip, bert = judges
    seen, read, compared = [], [], []
    encode_image, encode_text, match = clip.model.encode_image, clip.model.encode_text, BertJudge.match
    monkeypatch.setattr(clip.model, "encode_image", lambda batch: seen.append(len(batch)) or encode_image(batch))
    monkeypatch.setattr(clip.model, "encode_text", lambda tokens: read.append(len(tokens)) or encode_text(tokens))
    monkeypatch.setattr(BertJudge, "match", lambda *asked: compared.append(len(asked[1])) or match(*asked))
    evaluated(system(), system("simple"), system(seed=1), system("pca"), system("kmeans"))
    assert seen == [6]
    assert read == [4, 5, 10]  # the distinct texts of the systems, those of three concepts, and the captions
    pairs = sum(len({words for words in mentioned if words}) for row, mentioned in enumerate(SAID) if REFERENCES[row])
    assert compared == [pairs, 4, 9]  # four pictures with words and captions; nine captions with another beside them


# What is missing


def test_without_any_reference_there_is_no_bertscore_and_no_upper_bound(evaluated, states):
    bare = replace(states[1].images, references=[()] * 6)
    result = evaluated(
        system(), system("simple", activations=ACTIVATIONS[:, ::-1]), tested=replace(states[1], images=bare)
    )
    assert result.mean("semi_nmf").n == 6
    assert (
        result.mean("semi_nmf", "bertscore") is result.mean("gt_captions") is result.mean("gt_captions", top=3) is None
    )
    assert result.compare().index.tolist() == ["simple"]


def test_a_comparison_leaves_out_what_has_fewer_than_two_scores(evaluated, states):
    images = replace(states[1].images, references=[("grey", "a grey dog")] + [("grey",)] * 5)
    result = evaluated(system(), system("simple"), tested=replace(states[1], images=images))
    assert result.compare("bertscore").index.tolist() == ["simple"] and result.mean("gt_captions", "bertscore") is None
    assert result.compare("clipscore").index.tolist() == ["simple", "gt_captions"]


def test_missing_pictures_are_counted(evaluated):
    result = evaluated(system(), system("simple", activations=ACTIVATIONS[:, ::-1]))
    mean = result.mean("gt_captions", "bertscore")
    assert (mean.n, mean.n_missing) == (4, 2)
    table = result.compare("bertscore", 3)
    assert table.equals(compare(result.per_seed("bertscore", 3), "semi_nmf"))
    assert table.loc["simple", ["n", "n_missing"]].tolist() == [5, 1]
    assert result.compare(ours="simple").index.tolist() == ["semi_nmf", "gt_captions"]


@pytest.mark.parametrize("metric, top", [("bleu", 1), ("clipscore", 2)])
def test_scores_that_there_are_not(evaluated, metric, top):
    with pytest.raises(ValueError, match=f"no '{metric}' of the top {top}: choose one of clipscore, bertscore"):
        evaluated(system()).per_picture(metric, top)


# The whole


@pytest.fixture(scope="module")
def whole(llava, states, judges) -> Evaluation:
    return evaluate(llava, *states, *judges, SemiNMF(3), (0, 1), FILTER)


def test_all_systems_on_all_pictures(whole, states):
    assert whole.systems == list(NAMES)
    once = {"simple": 1, "pca": 1, "pca_released": 1, "gt_captions": 1}
    assert whole.scores.groupby("system").size().to_dict() == {name: 6 * once.get(name, 2) for name in NAMES}
    assert set(whole.scores["picture"]) == set(states[1].images.ids)
    assert whole.concepts.groupby("system").size().to_dict() == {
        name: 3 * (1 + (name == "pca")) * once.get(name, 2) for name in NAMES if name != "gt_captions"
    }  # of PCA, each side


def test_it_says_what_it_was_made_from(whole, judges, states):
    known = whole.provenance
    assert whole.token == "grey" and repr(whole) == "Evaluation of 'grey' on 6 test pictures (12 learned from)"
    assert (known["samples"], known["tested"], known["layer"], known["seeds"]) == (12, 6, 2, [0, 1])
    assert known["judges"] == {"clip": judges[0].name, "bert": judges[1].name}
    assert known["dictionary"]["n_concepts"] == 3 and known["prompt"] == states[0].provenance["prompt"]


def test_neither_order_of_test_pictures_nor_batch_sizes_matter(whole, llava, states, images, judges, monkeypatch):
    monkeypatch.setattr("coxlmm_utils.evaluation.judges.BATCH_SIZE", 4)
    monkeypatch.setattr("coxlmm_utils.evaluation.clipscore.TEXT_BATCH_SIZE", 3)
    turned = given(llava, images[17:11:-1])
    assert turned.images.ids == states[1].images.ids[::-1]
    result = evaluate(llava, states[0], turned, *judges, SemiNMF(3), (0, 1), FILTER)
    keys = ["system", "seed", "picture"]
    own, other = (item.scores.sort_values(keys).reset_index(drop=True) for item in (whole, result))
    assert own[keys].equals(other[keys])
    for column in own.columns.drop(keys):
        assert own[column].to_numpy() == pytest.approx(other[column].to_numpy(), abs=1e-4, nan_ok=True), column


def test_the_papers_number_of_concepts_is_the_default(llava, states, judges, monkeypatch):
    monkeypatch.setattr(module, "make_systems", lambda *made_of: [system(seed=made_of[3].n_concepts)])
    assert set(evaluate(llava, *states, *judges).concepts["seed"]) == {20}


# What is refused


@pytest.mark.parametrize("name", ["token", *ALIKE])
def test_states_that_are_not_alike(llava, states, judges, name):
    other = replace(states[1], provenance=states[1].provenance | {name: "another"})
    with pytest.raises(ValueError, match=f"differ in {name}: .* and 'another'"):
        evaluate(llava, states[0], other, *judges)


def test_states_of_another_layer(llava, states, judges):
    other = replace(states[1], vectors={1: states[1].Z})
    with pytest.raises(ValueError, match="of layer 2, those to test of layer 1"):
        evaluate(llava, states[0], other, *judges)


def test_fewer_than_two_test_samples(llava, images, states, judges):
    with pytest.raises(ValueError, match="there are 1 test samples of 'grey': two at least"):
        evaluate(llava, states[0], given(llava, images[12:13]), *judges)


def test_test_pictures_that_were_learned_from(llava, images, states, judges):
    with pytest.raises(ValueError, match="2 of 8 test pictures were also learned from: give others"):
        evaluate(llava, states[0], given(llava, images[10:]), *judges)


def test_pictures_of_files_that_were_loaded_twice(llava, pictures, judges, tmp_path):
    for number, picture in enumerate(pictures[:4]):
        picture.save(tmp_path / f"p{number}.png")
    single, other = (load_images(f"folder:{tmp_path}")[rows] for rows in (slice(0, 3), slice(2, 4)))
    with pytest.raises(ValueError, match="1 of 2 test pictures were also learned from"):
        evaluate(llava, given(llava, single), given(llava, other), *judges)


def test_row_numbers_of_two_lists_are_different_pictures(llava, pictures, judges, states):
    """As of a data set's split for training and its split for tests."""
    other = given(llava, in_memory(pictures[18:], [("grey",)] * 6))
    result = evaluate(llava, states[0], other, *judges, SemiNMF(3), (0,), FILTER)
    assert set(result.scores["picture"]) == {f"p{number}" for number in range(6)}


@pytest.mark.parametrize("seeds", [(), (1, 0, 1)])
def test_seeds_are_some_and_different(llava, states, judges, seeds):
    with pytest.raises(ValueError, match="give at least one, and none twice"):
        evaluate(llava, *states, *judges, seeds=seeds)
