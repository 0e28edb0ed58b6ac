"""Loading a model's processor, and trying out that it makes inputs of a picture and a prompt."""

from __future__ import annotations

import json

from transformers import AutoProcessor, BatchFeature, PreTrainedConfig, ProcessorMixin

from .lmm import GREY, LMM

CLASS_TOKEN = ("clip_vision_model", "dinov2", "mlcd_vision_model")  # towers with one state that is of no patch


def load_processor(
    source: str, hub: dict, config: PreTrainedConfig, chat_template: str | None = None
) -> ProcessorMixin:
    """The processor, which knows how many image tokens there are, with a tokenizer that can pad on the left.

    It gets the chat template, if one is given in place of its own.
    """
    try:
        processor = AutoProcessor.from_pretrained(source, **hub)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{source} has no processor ({reason}): add it with processor.save_pretrained.") from error
    if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
        kind = type(processor).__name__
        raise ValueError(f"{source} has only a {kind}, which does not take pictures and text: add one.")
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    _check_complete(source, processor, config)
    processor.chat_template = chat_template or getattr(processor, "chat_template", None)
    return processor


def _check_complete(source: str, processor: ProcessorMixin, config: PreTrainedConfig) -> None:
    """Refuse an older processor that does not know how many image tokens this model needs; say what it has to know."""
    tower = getattr(config, "vision_config", None)
    patch, side = (getattr(tower, name, None) for name in ("patch_size", "image_size"))
    needed = {
        "patch_size": patch,
        "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", None),
        "num_query_tokens": getattr(config, "num_query_tokens", None),
        "num_image_tokens": (side // patch) ** 2 if isinstance(patch, int) and isinstance(side, int) else None,
    }
    lacking = {name: value for name, value in needed.items() if value and getattr(processor, name, value) is None}
    if getattr(processor, "num_additional_image_tokens", None) == 0 and tower.model_type in CLASS_TOKEN:
        lacking["num_additional_image_tokens"] = 1  # the processor takes 0 where the folder says nothing
    if lacking:
        wanted = ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in lacking.items())
        raise ValueError(
            f"The {type(processor).__name__} of {source} does not fit its model, since it is older: "
            f"write {wanted} into processor_config.json, or take a newer version."
        )


def trial_inputs(lmm: LMM) -> BatchFeature:
    """Inputs for a grey picture, or one sentence on what keeps the processor from making them."""
    if getattr(lmm.processor, "chat_template", None) is not None and not _template_takes_pictures(lmm.processor):
        raise ValueError(
            f"The chat template of {lmm.name} takes text only: give one that takes a list of parts, "
            '{"type": "image"} and {"type": "text", "text": ...}: load_lmm(..., chat_template="...").'
        )
    try:
        return lmm.inputs([GREY])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        kind, unset = type(lmm.processor).__name__, sorted(k for k, v in vars(lmm.processor).items() if v is None)
        lacks = f", which lacks {', '.join(unset)}" if unset else ""
        raise ValueError(
            f"The processor of {lmm.name}, a {kind}{lacks}, makes no inputs of a picture and a prompt ({error}): "
            'see to its chat template, load_lmm(..., chat_template="..."), and to its processor_config.json.'
        ) from error


def _template_takes_pictures(processor: ProcessorMixin) -> bool:
    """Whether a turn of a picture and a text becomes a text, and not the text that Python prints for its parts."""
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}
    try:
        return "'type'" not in processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    except Exception:  # a template may raise anything
        return False
