"""TODO widgets"""

from .browser import Browser, browse
from .explainer import ask
from .static_page import to_html

__all__ = [
    "Browser",
    "ask",
    "browse",
    "to_html",
]
