"""DePALM, the kind of model that the CoX-LMM paper explains: a frozen CLIP and a frozen language model, joined by ten vectors."""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from .model import DePALMConfig, DePALMForConditionalGeneration, vision_tokens
from .processor import DePALMProcessor

__all__ = ["DePALMConfig", "DePALMForConditionalGeneration", "DePALMProcessor", "vision_tokens"]

AutoConfig.register(DePALMConfig.model_type, DePALMConfig, exist_ok=True)
AutoModelForImageTextToText.register(DePALMConfig, DePALMForConditionalGeneration, exist_ok=True)
AutoProcessor.register(DePALMConfig, DePALMProcessor, exist_ok=True)
