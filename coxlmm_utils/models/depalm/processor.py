"""The processor: a picture for CLIP, and image tokens before all other tokens of the text."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from transformers import AddedToken, BaseImageProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images


class DePALMProcessor(ProcessorMixin):
    """Makes the inputs of a DePALM of pictures and texts (ours; the order as in the lab's code).

    Parameters
    ----------
    image_processor : BaseImageProcessor
        As CLIP's.
    tokenizer : PreTrainedTokenizerBase
        Of the language model, which gets the image token if it has none. What it puts before a text, such as a
        beginning-of-text token, comes after the image tokens.
    num_query_tokens : int, default 10
        How many image tokens stand for a picture: as many as the model has vectors.
    prompt : str, default ""
        The instruction that the model was trained with, which `load_lmm` takes where none is given.
    image_token : str, default "<image>"
        May be in a text, once, wherever a chat template puts it; it is moved to the front.
    chat_template : str, optional
    """

    def __init__(
        self,
        image_processor: BaseImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        num_query_tokens: int = 10,
        prompt: str = "",
        image_token: str = "<image>",
        chat_template: str | None = None,
    ) -> None:
        if image_token not in tokenizer.get_vocab():
            tokenizer.add_tokens([AddedToken(image_token, normalized=False, special=True)], special_tokens=True)
        self.num_query_tokens, self.prompt, self.image_token = num_query_tokens, prompt, image_token
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @property
    def image_token_id(self) -> int:
        """The id of the image token."""
        return self.tokenizer.convert_tokens_to_ids(self.image_token)

    def __call__(
        self,
        images: Image.Image | Sequence[Image.Image] | None = None,
        text: str | Sequence[str] | None = None,
        **kwargs,
    ) -> BatchFeature:
        """One picture for each text; the options are those of the tokenizer and the image processor.

        Parameters
        ----------
        images : PIL.Image.Image or sequence of PIL.Image.Image
        text : str or sequence of str

        Returns
        -------
        BatchFeature
            `input_ids` and `attention_mask`, (batch, positions), and `pixel_values`.

        Raises
        ------
        ValueError
            If there is not one picture for each text.
        """
        texts = [text] if isinstance(text, str) else list(text or [])
        pictures = [] if images is None else make_flat_list_of_images(images)
        if len(pictures) != len(texts) or not pictures:
            raise ValueError(f"there are {len(pictures)} pictures for {len(texts)} texts: give one for each.")
        if any(text.count(self.image_token) > 1 for text in texts):
            raise ValueError(f"a text has more than one {self.image_token}: a DePALM sees one picture.")
        options = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        of_text = options["text_kwargs"]
        tensors, padding = (of_text.pop(name, None) for name in ("return_tensors", "padding"))
        plain = self.tokenizer([text.replace(self.image_token, "") for text in texts], **of_text)["input_ids"]
        rows = [[self.image_token_id] * self.num_query_tokens + row for row in plain]
        batch = self.tokenizer.pad({"input_ids": rows}, padding=padding or False)  # also makes the mask
        batch = dict(batch) | dict(self.image_processor(pictures, **options["images_kwargs"]))
        return BatchFeature(batch, tensor_type=tensors)
