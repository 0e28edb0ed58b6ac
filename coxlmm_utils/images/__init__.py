"""Pictures with their reference captions, whatever their source; uploads, and perturbed copies."""

from .book_questions import POPE_SETS
from .captioned_images import CaptionedImages, renamed_images, warn_of_unreadable
from .keywords import KEYWORDS, keyword_subset
from .perturbed import GREY, blank_images, blurred_images, masked_images, noise_images, perturbed_images
from .pictures import as_rgb, open_picture, read_upload
from .questions import Questions, join_questions, load_questions
from .sources import load_images

__all__ = [
    "CaptionedImages",
    "GREY",
    "KEYWORDS",
    "POPE_SETS",
    "Questions",
    "as_rgb",
    "blank_images",
    "blurred_images",
    "join_questions",
    "keyword_subset",
    "load_images",
    "load_questions",
    "masked_images",
    "noise_images",
    "open_picture",
    "perturbed_images",
    "read_upload",
    "renamed_images",
    "warn_of_unreadable",
]
