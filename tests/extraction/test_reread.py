"""States of known captions, read again."""

from dataclasses import replace

import numpy as np
import pytest

from coxlmm_utils.extraction.extract import reread
from coxlmm_utils.extraction.states import join_states
from tests.conftest import in_memory


def test_the_same_pictures_give_the_same_states(llava, states):
    again = reread(llava, states, states.layer, cache=False)
    assert (again.images.ids, again.captions) == (states.images.ids, states.captions)
    assert again.provenance["token"] == states.provenance["token"]
    np.testing.assert_allclose(again.Z, states.Z, rtol=1e-3, atol=1e-3)


def test_other_pictures_and_layers_under_the_same_captions(llava, states, pictures):
    others = in_memory(pictures[::-1], ())
    images = replace(states.images, open=others.open)
    again = reread(llava, states, 1, images, batch_size=4, cache=False)
    assert again.captions == states.captions and again.layer == 1 != states.layer
    plain = reread(llava, states, 1, cache=False)
    assert not np.allclose(again.Z, plain.Z, atol=1e-2)


def test_joined_states_of_several_tokens_are_refused(llava, states):
    joined = join_states([states, replace(states, provenance={**states.provenance, "token": ["blue"]})])
    with pytest.raises(ValueError, match="several tokens"):
        reread(llava, joined, joined.layer)
