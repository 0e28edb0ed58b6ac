"""The model: all tokens of a frozen CLIP, a connector that makes a few vectors of them, a frozen language model."""

from __future__ import annotations

from copy import deepcopy
from inspect import signature

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CLIPVisionConfig,
    CLIPVisionModel,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutputWithPast


class DePALMConfig(PreTrainedConfig):
    """What a DePALM is made of (arXiv 2406.08074; sizes by default as in the lab's code, mshukor/ima-lmms).

    Parameters
    ----------
    vision_config : CLIPVisionConfig or dict
        Of the vision tower.
    text_config : PreTrainedConfig or dict
        Of the language model: any that `AutoModelForCausalLM` knows.
    num_query_tokens : int, default 10
        How many vectors stand for a picture.
    connector_hidden_size, connector_layers, connector_heads : int, default 256, 5 and 8
        Of the connector; its feed-forward layers are twice as wide.
    image_token_id : int, optional
        What stands in the inputs where a vector comes; the id after the vocabulary by default. The language model never
        sees it, so it need not have an embedding.

    Raises
    ------
    ValueError
        If a part is missing or cannot be used, or the connector's sizes do not fit each other.
    """

    model_type = "depalm"
    sub_configs = {"vision_config": CLIPVisionConfig, "text_config": AutoConfig}
    has_no_defaults_at_init = True

    def __init__(
        self,
        vision_config: PreTrainedConfig | dict | None = None,
        text_config: PreTrainedConfig | dict | None = None,
        num_query_tokens: int = 10,
        connector_hidden_size: int = 256,
        connector_layers: int = 5,
        connector_heads: int = 8,
        image_token_id: int | None = None,
        **kwargs,
    ) -> None:
        self.vision_config = _part(vision_config, "vision_config", "a CLIP vision model's")
        self.text_config = _part(text_config, "text_config", "a language model's")
        self.num_query_tokens = num_query_tokens
        self.connector_hidden_size = connector_hidden_size
        self.connector_layers = connector_layers
        self.connector_heads = connector_heads
        self._check()
        self.image_token_id = self.text_config.vocab_size if image_token_id is None else image_token_id
        super().__init__(**kwargs)

    def _check(self) -> None:
        """One sentence on what a DePALM cannot be made of."""
        kind, text = self.vision_config.model_type, self.text_config
        if kind != "clip_vision_model":
            raise ValueError(f"vision_config is of type {kind}: a DePALM sees with a clip_vision_model.")
        if type(text) not in AutoModelForCausalLM._model_mapping or text.is_encoder_decoder:
            raise ValueError(f"text_config is of type {text.model_type}, which is no causal language model.")
        for name in ("num_query_tokens", "connector_hidden_size", "connector_layers", "connector_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more.")
        if self.connector_hidden_size % self.connector_heads:
            width, heads = self.connector_hidden_size, self.connector_heads
            raise ValueError(f"{width} values of the connector cannot be shared by {heads} heads: give a multiple.")


def _part(config: PreTrainedConfig | dict | None, name: str, what: str) -> PreTrainedConfig:
    """The configuration of a part, also of what json holds of it."""
    if config is None:
        raise ValueError(f"a DePALM needs {name}, {what} configuration.")
    return AutoConfig.for_model(**config) if isinstance(config, dict) else config


class Connector(nn.Module):
    """Makes the vectors that stand for a picture: queries that attend to its tokens, and to each other.

    Linear, learned queries after the picture's tokens, pre-norm transformer layers over all of them, the queries'
    outputs alone, and two linear layers (the lab's code).
    """

    def __init__(self, config: DePALMConfig, width_out: int) -> None:
        super().__init__()
        width, width_in = config.connector_hidden_size, config.vision_config.hidden_size
        self.down = nn.Linear(width_in, width)
        self.queries = nn.Parameter(torch.randn(config.num_query_tokens, width))
        layer = nn.TransformerEncoderLayer(
            width, config.connector_heads, 2 * width, dropout=0.0, activation="relu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, config.connector_layers, enable_nested_tensor=False)
        self.up = nn.Linear(width, width_in)
        self.out = nn.Linear(width_in, width_out)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, tokens, vision width) to (batch, queries, width of the language model's embeddings)."""
        queries = self.queries.expand(len(features), -1, -1)
        stream = self.body(torch.cat([self.down(features), queries], dim=1))  # (batch, tokens + queries, width)
        return self.out(self.up(stream[:, -queries.shape[1] :]))


def vision_tokens(vision_tower: CLIPVisionModel, pixel_values: Tensor) -> Tensor:
    """All tokens of the last layer, that of the class included, after the final norm: (batch, tokens, width)."""
    return vision_tower.post_layernorm(vision_tower(pixel_values).last_hidden_state)


class DePALMForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """A DePALM: its picture's vectors come before the text, beginning-of-text token included (arXiv 2406.08074).

    Only the connector is trained: the vision tower and the language model are frozen, also in training mode, in which
    they drop nothing out.

    Parameters
    ----------
    config : DePALMConfig
    """

    config: DePALMConfig
    config_class = DePALMConfig
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_attention_backend = True

    def __init__(self, config: DePALMConfig) -> None:
        super().__init__(config)
        self.vision_tower = CLIPVisionModel._from_config(config.vision_config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.connector = Connector(config, self.get_input_embeddings().embedding_dim)
        self.post_init()
        self.train(self.training)

    @classmethod
    def from_parts(
        cls, vision_tower: CLIPVisionModel, language_model: PreTrainedModel, **sizes
    ) -> DePALMForConditionalGeneration:
        """Join two models by a connector that has still to be trained (ours).

        Parameters
        ----------
        vision_tower : CLIPVisionModel
        language_model : PreTrainedModel
            Of `AutoModelForCausalLM`. All is brought to its precision.
        **sizes
            Of the connector, and `image_token_id`, as in `DePALMConfig`.

        Returns
        -------
        DePALMForConditionalGeneration
        """
        with torch.device("meta"):  # its own parts would be replaced at once
            model = cls(DePALMConfig(vision_tower.config, language_model.config, **sizes))
        model.vision_tower, model.language_model = vision_tower, language_model
        model.connector = Connector(model.config, model.get_input_embeddings().embedding_dim)
        model.connector.apply(model._init_weights)
        model.generation_config = deepcopy(language_model.generation_config)
        return model.to(language_model.dtype).eval()

    def _init_weights(self, module: nn.Module) -> None:
        """The connector begins as PyTorch's layers do, its queries at normal numbers, as in the lab's code."""
        if isinstance(module, Connector):
            init.normal_(module.queries)
        elif isinstance(module, nn.Linear):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    def train(self, mode: bool = True) -> DePALMForConditionalGeneration:
        """Training mode for the connector alone; the other parts stay as they are used, and frozen."""
        super().train(mode)
        for frozen in (self.vision_tower, self.language_model):
            frozen.eval().requires_grad_(False)
        return self

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def embed(self, input_ids: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Embeddings of the tokens, with a picture's vectors where image tokens are.

        Parameters
        ----------
        input_ids : Tensor
            (batch, positions), with `num_query_tokens` image tokens in each row.
        vectors : Tensor, optional
            (batch, queries, width), of the connector; by default there is no image token.

        Returns
        -------
        Tensor
            (batch, positions, width).
        """
        embeddings = self.get_input_embeddings()
        is_image = input_ids == self.config.image_token_id  # (batch, positions)
        if vectors is None:
            return embeddings(input_ids)
        if len(vectors) != len(input_ids) or (is_image.sum(1) != vectors.shape[1]).any():
            counts = sorted(set(is_image.sum(1).tolist()))
            raise ValueError(
                f"each of {len(vectors)} pictures has {vectors.shape[1]} vectors, but the {len(input_ids)} rows of "
                f"inputs have {counts} image tokens: make them with this model's processor"
            )
        embedded = embeddings(input_ids.masked_fill(is_image, 0))  # which may have none for an image token
        return embedded.masked_scatter(is_image[..., None], vectors.to(embedded))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values=None,
        inputs_embeds: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """What the language model makes of the vectors and the text; `labels` and all else go to it as they are."""
        if inputs_embeds is None:
            if pixel_values is None and past_key_values is None and (input_ids == self.config.image_token_id).any():
                raise ValueError("the inputs have image tokens, but no picture: give its pixel_values, too.")
            seen = None if pixel_values is None else self.connector(vision_tokens(self.vision_tower, pixel_values))
            inputs_embeds = self.embed(input_ids, seen)
        if position_ids is None and attention_mask is not None:  # padding on the left does not count
            counted = attention_mask.long().cumsum(dim=1) - 1
            position_ids = counted.clamp(min=0)[:, -inputs_embeds.shape[1] :]
        if "position_ids" in signature(self.language_model.forward).parameters:
            kwargs["position_ids"] = position_ids
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
