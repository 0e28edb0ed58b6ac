"""The picture book: a drawn, captioned world in which the right answers are known."""

from .factors import SUBJECTS, Factors, allowed_values, factors_of, page_numbers
from .page import Page, page

__all__ = ["SUBJECTS", "Factors", "Page", "allowed_values", "factors_of", "page", "page_numbers"]
