"""Sliders of concepts: where they are, what they say is set, and that the caption they make is that of `set_concepts`."""

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.concepts.bank import ConceptBank
from coxlmm_utils.dictionaries.baselines import PCA
from coxlmm_utils.explanation.explain import explain
from coxlmm_utils.models.captioning import generate_captions
from coxlmm_utils.steering import set_concepts, steer
from coxlmm_utils.widgets.handles import CHOOSE, Handles, caption_with


@pytest.fixture
def explained(llava, bank, states):
    """An explanation with known activations."""
    of_picture = explain(llava, bank, states.images.picture(0))
    return replace(of_picture, activations=np.array([2.0, 0, 1], dtype=np.float32))


@pytest.fixture
def calls():
    return []


@pytest.fixture
def handles(explained, calls):
    handles = Handles(calls.append)
    handles.show(explained, [0, 2])
    return handles


def test_sliders_are_where_the_bars_are_and_set_nothing(handles, calls):
    assert {k: slider.value for k, slider in handles.sliders.items()} == {0: 1.0, 2: 0.5}
    assert handles.values == {} and calls == [] and handles.layout.display is None
    assert handles.more.options[0] == CHOOSE and [k for _, k in handles.more.options] == [-1, 1]
    assert all(slider.min == 0 and slider.max >= 1.5 for slider in handles.sliders.values())


def test_what_is_moved_is_set_in_the_dictionarys_unit(handles, calls):
    handles.sliders[2].value = 1.25
    assert handles.values == {2: 2.5} and len(calls) == 1
    handles.sliders[2].value = 0.5  # back again
    assert handles.values == {} and len(calls) == 2


def test_another_concept_is_added_at_what_it_is(handles, calls):
    handles.more.value = 1
    assert handles.sliders[1].value == 0 and handles.values == {} and calls == []
    assert [k for _, k in handles.more.options] == [-1] and len(handles._rows.children) == 3
    handles.sliders[1].value = 1.0
    assert handles.values == {1: 2.0} and len(calls) == 1


def test_reset_puts_all_back_and_ends_the_old_sliders(handles, calls):
    handles.more.value = 1
    old = handles.sliders[1]
    old.value = 1.0
    handles.reset.click()
    assert handles.values == {} and set(handles.sliders) == {0, 1, 2} and len(calls) == 2 and old.comm is None


def test_without_an_explanation_there_are_none(handles):
    handles.show(None, [])
    assert handles.values == {} == handles.sliders and handles.layout.display == "none"


def test_activations_with_signs_have_sliders_to_both_sides(llava, states, calls):
    bank = ConceptBank.learn(llava, states, PCA(3))
    explained, handles = explain(llava, bank, states.images.picture(0)), Handles(calls.append)
    handles.show(explained, explained.top(3))
    for k, slider in handles.sliders.items():
        assert slider.min == -slider.max and np.sign(slider.value) == np.sign(explained.activations[k])


def test_the_caption_is_that_of_the_set_concepts(llava, explained):
    values = {0: 40.0, 1: 0.0}
    with steer(llava, set_concepts(explained.bank, values)):
        [expected] = generate_captions(
            llava, [explained.picture], max_new_tokens=explained.bank.provenance["max_new_tokens"]
        )
    assert caption_with(llava, explained, values) == expected.caption != explained.caption
