"""What is unlike a page of the book."""

import warnings

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from coxlmm_utils.models.loading import load_lmm
from coxlmm_utils.models.out_of_domain import MARGIN, OODDetector, OutOfDomainWarning
from coxlmm_utils.picturebook.factors import page_numbers
from coxlmm_utils.picturebook.page import page


@pytest.fixture()
def ood():
    """Learned from a long thin cloud: spread 10 along the first axis, 0.1 along the second."""
    cloud = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([10.0, 0.1]) + 5
    return OODDetector.learn(cloud[:1000], cloud[1000:]), cloud


def test_distances_are_in_standard_deviations(ood):
    detector, _ = ood
    points = torch.tensor([[5.0, 5.0], [25.0, 5.0], [5.0, 5.2]])
    torch.testing.assert_close(detector.distances(points), torch.tensor([0.0, 2.0, 2.0]), atol=0.2, rtol=0)


def test_the_limit_lies_beyond_all_held_out_pages(ood):
    detector, cloud = ood
    assert detector.limit == pytest.approx(MARGIN * detector.distances(cloud[1000:]).max().item())


def test_saved_and_loaded(ood, tmp_path):
    detector, cloud = ood
    detector.save(tmp_path)
    loaded = OODDetector.load(tmp_path)
    assert loaded.limit == pytest.approx(detector.limit)
    assert torch.equal(loaded.distances(cloud), detector.distances(cloud))


def test_the_bundled_model_knows_its_pages_and_no_photographs():
    lmm = load_lmm("picturebook", device="cpu")
    pages = [page(number).picture for number in page_numbers("test")[:40]]
    enlarged = page(8).picture.resize((640, 640))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lmm.ood.warn_if_out_of_domain(lmm, [*pages, enlarged])
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    with pytest.warns(OutOfDomainWarning, match="2 of 4 pictures are unlike a page"):
        lmm.ood.warn_if_out_of_domain(lmm, [*photographs, *pages[:2]])
    with pytest.warns(OutOfDomainWarning, match="this picture is unlike a page"):
        lmm.ood.warn_if_out_of_domain(lmm, [Image.new("RGB", (50, 80), "white")])
