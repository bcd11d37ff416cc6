"""A causal language model as extraction sees it: blocks, attention output projections, and one hooked forward pass.

The parts are found by structure: blocks are the list of equal modules as long as the configuration's number of layers;
the output projection of an attention module is the last linear layer that runs inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genies.engine.arithmetic import DTYPES, choose_kernels, resolve_device, to_device
from genies.engine.features import Features, Past
from genies.engine.forest import PackedBatch
from genies.engine.masks import separate_inputs, tree_masks
from genies.engine.parts import attention_layers, check_layers, find_blocks, head_width, hooks, input_width
from genies.engine.positions import announced, begin, of_one_length
from genies.engine.quantization import quantization_config
from genies.engine.shape import Shape, chosen_parts
from genies.engine.virtual import after_virtual, embedded, read_virtual, shifted
from genies.errors import ModelError, readable
from genies.models.load import load_weights, moved, refuse_lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel


LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}
"""Numbers of the output head's result that are worked on at a time: what stays in a core's cache, or fills a GPU."""


class Decoder:
    """A loaded decoder-only model with its parts found, ready to read features of packed batches.

    Attributes:
        shape: what is read.
        alike_up_to: see ``genies.engine.positions``.
        without_heads: why no heads can be read of this model; None where they can.
        sizes: of the model: ``blocks``, ``heads`` of each (0 where none can be read), ``head_dim``, ``hidden``.
        virtual_tokens: how many embeddings are read before every text.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        virtual: torch.Tensor | None = None,
    ) -> None:
        """Find the parts.

        Args:
            model: a causal language model.
            layers: layers to read, from 0 (embedding) to the number of blocks (after the final norm), and the heads of
                the blocks of these numbers; None for all.
            heads: heads to read; None for all.
            virtual: embeddings that the model reads before every text, (tokens, hidden); None for none.

        Raises:
            ModelError: the model has no blocks or no output head, or they do not all run once on a residual stream of
                one width; or it has not the layers and heads asked for.
        """
        self.model = model.eval().requires_grad_(False)
        embeddings = model.get_input_embeddings().get_parameter("weight")
        self.device, self.dtype = embeddings.device, embeddings.dtype
        choose_kernels(self.device)
        config = model.config.get_text_config()
        self.alike_up_to = announced(model, model.config)
        self.blocks = find_blocks(model, config.num_hidden_layers)
        self.output_head = model.get_output_embeddings()
        if self.output_head is None:
            raise ModelError(f"{type(model).__name__}: the model has no output head; a causal language model is needed")
        projections, self.head_is_more = self._try_out()
        count = getattr(config, "num_attention_heads", None) or 0
        self.without_heads = self._no_heads(projections, config, count)
        name = type(model).__name__
        chosen = chosen_parts(name, len(self.blocks), 0 if self.without_heads else count, layers, heads)
        width = 0 if self.without_heads else head_width(config, count)
        self.shape = Shape(blocks=len(self.blocks), **chosen, head_dim=width, hidden=config.hidden_size)
        self.sizes = {
            "blocks": len(self.blocks), "heads": 0 if self.without_heads else count, "head_dim": width,
            "hidden": config.hidden_size,
        }  # fmt: skip
        self.projections = [projections[layer] for layer in self.shape.head_layers]
        self._heads = count
        self._virtual = [] if virtual is None else [virtual]
        self.virtual_tokens = 0 if virtual is None else len(virtual)

    def _no_heads(self, projections: dict[int, torch.nn.Module], config: Any, count: int) -> str | None:
        name = type(self.model).__name__
        lacking = [index for index in range(len(self.blocks)) if index not in projections]
        if lacking or not count:
            return f"{name} has blocks without attention heads (the first is block {lacking[0] if lacking else 0})"
        widths = {input_width(module) for module in projections.values()}
        if widths != {count * head_width(config, count)}:
            return (
                f"the attention outputs of {name} ({sorted(filter(None, widths))} wide) are not {count} heads of "
                f"{head_width(config, count)}"
            )
        return None

    @classmethod
    def load(
        cls,
        folder: Path,
        dtype: str,
        device: str,
        attention: str | None,
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        quantization: str | None = None,
    ) -> Decoder:
        """Load a causal language model from a folder; safetensors only, no remote code.

        Args:
            folder: a folder in the format of ``save_pretrained``.
            dtype: "float32" or "bfloat16".
            device: a torch device; "auto" for the first CUDA device where there is one, else the CPU; "balanced" to
                spread the blocks over all CUDA devices.
            attention: attention implementation of transformers: "sdpa" or "eager"; None for its own choice.
            layers: as the constructor takes them.
            heads: likewise.
            quantization: weights in 8 (``int8``) or 4 bits (``nf4``), by bitsandbytes on CUDA; or None.

        Raises:
            ModelError: the folder holds no model that transformers can load as a causal language model, or not all of
                its weights.
            ConfigError: quantized weights without CUDA or without bitsandbytes.
        """
        from transformers import AutoModelForCausalLM

        spread = device == "balanced"
        place = None if spread else resolve_device(device)
        options: dict[str, Any] = {"device_map": "balanced"} if spread else {}
        if quantization is not None:
            options |= {"device_map": "balanced" if spread else {"": place}}
            options |= {"quantization_config": quantization_config(quantization, DTYPES[dtype], place)}
        model, missing = load_weights(
            AutoModelForCausalLM,
            folder,
            "a causal language model",
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            **options,
        )
        refuse_lacking(folder, missing, "give a whole causal language model, its output head included")
        with readable(folder, "its configuration and its weights do not run as a causal language model"):
            model = model if options else moved(model, place)
            return cls(model, layers, heads, read_virtual(folder, model.get_input_embeddings().weight.device))

    @torch.inference_mode()
    def read(self, batch: PackedBatch, past: Past | None = None) -> Features:
        """Features of the batch's texts in one forward pass; they stay on the model's device.

        Args:
            batch: the batch.
            past: what comes before every text of it, where its trees leave that out.

        Raises:
            ValueError: texts of different lengths cannot be read together.
        """
        begin(self.model, self.alike_up_to, int(batch.position.max()) + 1 + self.virtual_tokens)
        tokens, position, end = map(self._there, (batch.tokens, batch.position, batch.end))
        before = past.length if past else 0
        inputs = {"input_ids": tokens} if past else self.inputs_of(tokens)
        # What was passed before the texts began with the virtual tokens.
        position, end = (position + self.virtual_tokens, end) if past else shifted(position, end, self.virtual_tokens)
        masks = tree_masks(self.model.config.get_text_config(), end, position, self.dtype, before)
        cache = past.rows(len(tokens)) if past else None
        return self._pass(
            batch, 0 if past else self.virtual_tokens, **inputs, position_ids=position, attention_mask=masks,
            past_key_values=cache, use_cache=past is not None,
        )  # fmt: skip

    @torch.inference_mode()
    def remember(self, tokens: np.ndarray) -> Past:
        """Pass tokens that come before many texts, int (length,), and keep their keys and values.

        Raises:
            ValueError: as ``read``.
        """
        from transformers import DynamicCache

        length = len(tokens) + self.virtual_tokens
        begin(self.model, self.alike_up_to, length)
        ids = torch.as_tensor(tokens, dtype=torch.int64, device=self.device)[None]
        position = torch.arange(length, device=self.device)[None]
        end = torch.full_like(position, length)
        masks = tree_masks(self.model.config.get_text_config(), end, position, self.dtype)
        # Without a configuration it keeps what lies behind a sliding window, too: the masks say what is seen.
        cache = DynamicCache()
        # Of the output head one result is enough; it is the widest matrix of a small model.
        with hooks(self.output_head.register_forward_pre_hook(lambda _, args: (args[0][:, -1:], *args[1:]))):
            self.model(
                **self.inputs_of(ids), position_ids=position, attention_mask=masks, past_key_values=cache,
                use_cache=True,
            )  # fmt: skip
        return Past(cache, length)

    @torch.inference_mode()
    def read_separately(self, batch: PackedBatch) -> Features:
        """The same for rows that hold one text each and right padding: ordinary causal attention."""
        parts, features = of_one_length(batch, self.alike_up_to, self.virtual_tokens), []
        for _, part in parts:
            begin(self.model, self.alike_up_to)
            inputs = separate_inputs(part, self.device)
            mask = after_virtual(inputs["attention_mask"], self.virtual_tokens)
            given = self.inputs_of(inputs["input_ids"])
            features.append(self._pass(part, self.virtual_tokens, **given, attention_mask=mask, use_cache=False))
        return Features.joined(features, np.concatenate([rows for rows, _ in parts]))

    @contextmanager
    def widened(self) -> Iterator[None]:
        """Compute in float32 meanwhile; the weights are the same before and after, and take twice the memory."""
        narrow = [value for value in (*self.model.parameters(), *self.model.buffers()) if value.dtype == self.dtype]
        dtype = self.dtype
        try:
            self.dtype = torch.float32
            for value in narrow:
                value.data = value.data.float()
            yield
        finally:
            self.dtype = dtype
            for value in narrow:
                value.data = value.data.to(dtype)

    def inputs_of(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """Arguments of the model for rows of tokens, int64 (R, W), each after the virtual tokens."""
        return embedded(self.model.get_input_embeddings(), tokens, self._virtual)

    def _pass(self, batch: PackedBatch, skipped: int, **inputs: Any) -> Features:
        """Features of one pass, of which each row begins with so many virtual tokens."""
        last = self._there(batch.last)
        shape = self.shape
        # The output head is the widest matrix of a small model: it runs on the nodes that are scored, each once.
        unique, inverse = np.unique(batch.score_node, return_inverse=True)
        nodes = self._there(unique)
        heads: list[torch.Tensor] = []
        residual: list[torch.Tensor] = []
        scored: list[torch.Tensor] = []

        def rows(hidden: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            """Hidden states at flat indices, on the device of the first block: blocks may be spread over several."""
            hidden = hidden[:, skipped:]
            return hidden.reshape(-1, hidden.shape[-1])[index.to(hidden.device)].to(self.device)

        def at_block(_: Any, args: tuple, kwargs: dict) -> None:
            residual.append(rows(hidden_states(args, kwargs), last))

        def at_projection(_: Any, args: tuple) -> None:
            of_all = rows(args[0], last).unflatten(-1, (self._heads, shape.head_dim))
            heads.append(of_all if len(shape.heads) == self._heads else of_all[:, list(shape.heads)])

        def at_output_head(_: Any, args: tuple) -> tuple:
            hidden = args[0]
            if shape.layers[-1:] == (shape.blocks,):
                residual.append(rows(hidden, last))
            flat = hidden[:, skipped:].reshape(-1, hidden.shape[-1])
            scored.append(flat[nodes.to(hidden.device)])
            return (scored[0] if len(nodes) and self.head_is_more else flat[:1])[None], *args[1:]

        read = [self.blocks[layer] for layer in shape.layers if layer < shape.blocks]
        with hooks(
            *(block.register_forward_pre_hook(at_block, with_kwargs=True) for block in read),
            *(projection.register_forward_pre_hook(at_projection) for projection in self.projections),
            self.output_head.register_forward_pre_hook(at_output_head),
        ):
            logits = self.model(**inputs).logits[0]
        scores = self._scores(batch, scored[0], logits, inverse)
        return Features(torch.stack(heads, 1) if heads else None, torch.stack(residual, 1), *scores)

    def _scores(
        self, batch: PackedBatch, hidden: torch.Tensor, logits: torch.Tensor, node: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of each text of a batch, float64 (texts,), and how many tokens it sums, int64 (texts,)."""
        texts = len(batch.last)
        text = self._there(batch.score_text)
        log_probability = torch.zeros(texts, dtype=torch.float64, device=self.device)
        log_probability.index_add_(0, text, self._log_probabilities(hidden, logits, node, batch.score_token))
        return log_probability, self._there(np.bincount(batch.score_text, minlength=texts))

    def _log_probabilities(
        self, hidden: torch.Tensor, logits: torch.Tensor, node: np.ndarray, token: np.ndarray
    ) -> torch.Tensor:
        """Log-probability of ``token[i]`` after ``hidden[node[i]]``, float64 (S,), in pieces that stay in the cache.

        ``logits`` are those of all of ``hidden`` where the model does more than its output head, else unused.
        """
        order = np.argsort(node, kind="stable")
        at_once = LOGITS_AT_ONCE.get(self.device.type, LOGITS_AT_ONCE["cpu"])
        rows = max(1, at_once // self.output_head.weight.shape[0])
        starts = np.arange(0, len(hidden) + rows, rows)
        bounds = np.searchsorted(node[order], starts)
        row, column = self._there(node[order] % rows), self._there(token[order])
        value = torch.zeros(len(node), dtype=torch.float64, device=self.device)
        for start, first, end in zip(starts.tolist(), bounds.tolist(), bounds[1:].tolist(), strict=False):
            piece = (
                logits[start : start + rows] if self.head_is_more else self.output_head(hidden[start : start + rows])
            )
            chosen = row[first:end].to(piece.device), column[first:end].to(piece.device)
            value[first:end] = piece.float().log_softmax(-1)[chosen].double().to(self.device)
        return torch.empty_like(value).index_copy_(0, self._there(order), value)

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return to_device(array, self.device)

    def _try_out(self) -> tuple[dict[int, torch.nn.Module], bool]:
        """Run some tokens through the model to see its parts at work.

        Returns:
            The attention output projection by block, where it has one (the last linear layer that runs in its attention
            module), and whether logits are more than the output head's result (scaled, or capped).
        """
        ran: list[tuple[int, torch.nn.Module]] = []
        seen: list[tuple[int, int]] = []
        plain: list[torch.Tensor] = []

        def at_layer(layer: int) -> Callable:
            return lambda _module, args, kwargs: seen.append((layer, hidden_states(args, kwargs).shape[-1]))

        def at_linear(index: int) -> Callable:
            return lambda module, _args: ran.append((index, module))

        handles = [self.output_head.register_forward_hook(lambda _module, _args, output: plain.append(output))]
        for index, layer in enumerate((*self.blocks, self.output_head)):
            handles.append(layer.register_forward_pre_hook(at_layer(index), with_kwargs=True))
        for index, block in enumerate(self.blocks):
            handles += [module.register_forward_pre_hook(at_linear(index)) for module in attention_layers(block)]
        with hooks(*handles), torch.inference_mode():
            # Not token 0: where it is padding its embedding is zero, and so would be all that follows from it.
            tokens = torch.arange(1, 5, device=self.device)[None]
            logits = self.model(tokens, use_cache=False).logits
        layers = [[width for index, width in seen if index == layer] for layer in range(len(self.blocks) + 1)]
        check_layers(type(self.model).__name__, layers, self.model.config.get_text_config().hidden_size)
        # The last one of each block stays.
        return dict(ran), not torch.equal(plain[0].float(), logits.float())


def hidden_states(args: tuple, kwargs: dict[str, Any]) -> torch.Tensor:
    """The residual stream among the arguments of a block or an output head."""
    return args[0] if args else kwargs["hidden_states"]
