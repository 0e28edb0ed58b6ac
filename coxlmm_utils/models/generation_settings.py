"""Greedy captions: which generation settings count, which of a checkpoint are left out, what decides a caption."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
from jinja2 import meta
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME, cached_file

from ..files import digest
from .lmm import GREY, LMM

# With these, every step takes the most probable token, and runs the model once: hooks see each step as it is.
GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "return_dict_in_generate": False,
    "use_cache": True,
    "cache_implementation": None,
    "disable_compile": True,  # hooks that come later are not in compiled code
    "guidance_scale": None,
    "penalty_alpha": None,
    "dola_layers": None,
    "constraints": None,
    "force_words_ids": None,
    "prompt_lookup_num_tokens": None,
    "prefill_chunk_size": None,
    "stop_strings": None,
    "max_time": None,
    "token_healing": False,
    "watermarking_config": None,
}
# What the model can or may never say, such as image tokens, and where captions end: of a checkpoint these are kept.
KEPT = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids")
ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")
# What makes another token than the most probable one come out: only if someone sets it after loading.
OVERRULING = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
}
NEVER = (
    "num_beams",
    "num_return_sequences",
    "guidance_scale",
    "penalty_alpha",
    "dola_layers",
    "stop_strings",
    "watermarking_config",
)
DAMAGED = GENERATION_CONFIG_NAME + " of {} is damaged: fetch it again."
# What a chat template may ask for without giving another text for the same messages.
CONSTANTS = {"messages", "add_generation_prompt", "bos_token", "eos_token", "raise_exception", "tools", "documents"}
CONSTANTS |= set(jinja2.defaults.DEFAULT_NAMESPACE)


def refused_settings(source: str, hub: dict) -> GenerationConfig | None:
    """The checkpoint's settings where transformers refuses to load them, as it does several sequences without beams."""
    try:
        GenerationConfig.from_pretrained(source, **hub)
    except OSError as error:
        if isinstance(error.__context__, ValueError):
            raise OSError(DAMAGED.format(source)) from error
        return None  # it has none
    except (AttributeError, TypeError, ValueError):
        found, path = GenerationConfig(), cached_file(source, GENERATION_CONFIG_NAME, **hub)
        settings = json.loads(Path(path).read_text())
        if not isinstance(settings, dict):
            raise OSError(DAMAGED.format(source)) from None
        for name, value in settings.items():
            setattr(found, name, value)  # nothing is checked
        return found
    return None


def make_greedy(model: PreTrainedModel) -> dict:
    """Leave out the checkpoint's settings that would overrule the most probable token, and return them (ours)."""
    found = model.generation_config
    kept = {name: value for name in (*KEPT, *ENDS) if (value := getattr(found, name, None)) is not None}
    model.generation_config = GenerationConfig(**kept)
    names = [name for name in NEVER if getattr(found, name, None) not in (None, 1, GREEDY[name])]
    return {**_set(found, OVERRULING), **_set(found, dict.fromkeys(names))}


def configuration(model: PreTrainedModel) -> str:
    """A digest of the model's configuration, and of where its captions end."""
    record = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    record |= {name: getattr(model.generation_config, name) for name in ENDS}
    return digest(_plain(record))


def digest_of_files(lmm: LMM, prompt: str) -> str:
    """A digest of what decides states beside the weights: configuration, ends, tokenizer, the prompt's tokens (ours).

    Parameters
    ----------
    lmm : LMM
    prompt : str

    Returns
    -------
    str
        16 hexadecimal digits: the same in any precision and version of transformers.
    """
    tokenizer = lmm.tokenizer
    if tokenizer.is_fast:
        words = json.loads(tokenizer.backend_tokenizer.to_str()) | {"padding": None, "truncation": None}  # of last use
    else:
        words = tokenizer.get_vocab()
    try:
        rendered = lmm.inputs([GREY], prompt)["input_ids"].tolist()
    except Exception:  # of any kind: the passes over pictures will say what is wrong
        rendered = None
    ends = {name: getattr(lmm.model.generation_config, name) for name in ENDS}
    record = [_decisive(lmm.model.config.to_dict()), ends, words, tokenizer.special_tokens_map, rendered]
    return digest(_plain(record))


def caption_settings(lmm: LMM, prompt: str) -> dict:
    """What decides a greedy caption besides weights, picture, prompt and template; {} where that is all (ours).

    Parameters
    ----------
    lmm : LMM
    prompt : str

    Returns
    -------
    dict
        As json holds it: "generation", settings that are in effect; "left_out", those of the checkpoint that are not;
        "configuration", a digest, if it has been changed since loading; "rendered", a digest of the prompt as the model
        gets it, if its template asks for more than the messages, such as today's date; "image_token", if there is no
        template, and the processor writes its image tokens by itself.
    """
    in_effect = _set(lmm.model.generation_config, OVERRULING | dict.fromkeys(KEPT))
    settings = {
        "generation": in_effect,
        "left_out": {name: value for name, value in lmm.left_out.items() if name not in in_effect},
        "configuration": "" if configuration(lmm.model) == lmm.configuration else configuration(lmm.model),
        "rendered": digest(lmm.inputs([GREY], prompt)["input_ids"].tolist()) if _asks_for_more(lmm) else "",
        "image_token": "of the processor" if _writes_image_tokens(lmm) else "",
    }
    return {name: value for name, value in settings.items() if value}


def _decisive(record):
    """A configuration, without what differs between copies, versions and precisions of one model."""
    if not isinstance(record, dict):
        return record
    kept = {name: _decisive(value) for name, value in record.items() if not str(name).startswith("_")}
    return {name: value for name, value in kept.items() if name not in ("transformers_version", "dtype", "torch_dtype")}


def _set(config: GenerationConfig, neutral: dict) -> dict:
    """The settings that are not neutral, as json holds them."""
    values = {name: getattr(config, name, None) for name in neutral}
    return {name: _plain(value) for name, value in values.items() if value not in (None, neutral[name])}


def _writes_image_tokens(lmm: LMM) -> bool:
    """Whether the processor has an image token that is not to be in the text, where that is all that it gets."""
    plain = getattr(lmm.processor, "chat_template", None) is None
    return plain and isinstance(getattr(lmm.processor, "image_token", None), str) and not lmm.image_token_in_text


def _asks_for_more(lmm: LMM) -> bool:
    """Whether the chat template may give another text for the same messages."""
    template = getattr(lmm.processor, "chat_template", None)
    if template is None:
        return False
    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])
    try:
        return not meta.find_undeclared_variables(environment.parse(template)) <= CONSTANTS
    except (jinja2.TemplateSyntaxError, TypeError):  # an extension of transformers; several templates by name
        return True


def _plain(value):
    """The same as json holds it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
