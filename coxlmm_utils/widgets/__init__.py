"""Widgets for notebooks: browse the concepts of banks, explain a picture of one's own, write a bank as a static page."""

from .browser import Browser, browse
from .explainer import ask
from .static_page import to_html
from .steering_view import steering

__all__ = [
    "Browser",
    "ask",
    "browse",
    "steering",
    "to_html",
]
