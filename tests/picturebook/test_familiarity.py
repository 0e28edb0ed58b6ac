"""What is unlike a page of the book."""

import pytest
import torch

from coxlmm_utils.picturebook.familiarity import MARGIN, Familiarity


@pytest.fixture()
def familiarity():
    """Learned from a long thin cloud: spread 10 along the first axis, 0.1 along the second."""
    cloud = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([10.0, 0.1]) + 5
    return Familiarity.learn(cloud[:1000], cloud[1000:]), cloud


def test_distances_are_in_standard_deviations(familiarity):
    measure, _ = familiarity
    points = torch.tensor([[5.0, 5.0], [25.0, 5.0], [5.0, 5.2]])
    torch.testing.assert_close(measure.distances(points), torch.tensor([0.0, 2.0, 2.0]), atol=0.2, rtol=0)


def test_the_limit_lies_beyond_all_held_out_pages(familiarity):
    measure, cloud = familiarity
    assert measure.limit == pytest.approx(MARGIN * measure.distances(cloud[1000:]).max().item())


def test_saved_and_loaded(familiarity, tmp_path):
    measure, cloud = familiarity
    measure.save(tmp_path)
    again = Familiarity.load(tmp_path)
    assert again.limit == pytest.approx(measure.limit)
    assert torch.equal(again.distances(cloud), measure.distances(cloud))
