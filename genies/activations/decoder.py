"""A causal language model as extraction sees it: blocks, attention output projections, and one hooked forward pass.

The parts are found by structure: blocks are the list of equal modules as long as the configuration's number of layers;
the output projection of an attention module is the last linear layer that runs inside it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genies.activations.forest import PackedBatch
from genies.activations.masks import tree_masks
from genies.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

LOGITS_AT_ONCE = 2**21
"""Numbers of the output head's result that are worked on at a time."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Shape:
    """Sizes of the features of one text: heads (layers, heads, head_dim), residual (layers + 1, hidden)."""

    layers: int
    heads: int
    head_dim: int
    hidden: int

    @property
    def values(self) -> int:
        """Numbers stored for one text."""
        return self.layers * self.heads * self.head_dim + (self.layers + 1) * self.hidden


@dataclass(frozen=True)
class Features:
    """What one pass gives for its T texts, in the order of the batch.

    Attributes:
        heads: inputs of each block's attention output projection at the last token, (T, layers, heads, head_dim).
        residual: input of each block at the last token, then the state after the final norm, (T, layers + 1, hidden).
        log_probability: natural logarithm, summed over the scored tokens, float64 (T,); 0 where none is scored.
        scored_tokens: number of tokens summed over, int64 (T,).
    """

    heads: torch.Tensor
    residual: torch.Tensor
    log_probability: torch.Tensor
    scored_tokens: torch.Tensor


class Decoder:
    """A loaded decoder-only model with its parts found, ready to read features of packed batches."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval().requires_grad_(False)
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        config = model.config.get_text_config()
        self.blocks = _find_blocks(model, config.num_hidden_layers)
        self.output_head = model.get_output_embeddings()
        if self.output_head is None:
            raise ModelError(f"{type(model).__name__}: the model has no output head; a causal language model is needed")
        self.projections, self._head_is_more = self._try_out()
        width = _input_width(self.projections[0])
        if width % config.num_attention_heads:
            raise ModelError(
                f"{type(model).__name__}: its attention output ({width} wide) does not split into "
                f"{config.num_attention_heads} heads; head features need heads of equal width"
            )
        self.shape = Shape(
            layers=len(self.blocks),
            heads=config.num_attention_heads,
            head_dim=width // config.num_attention_heads,
            hidden=config.hidden_size,
        )

    @classmethod
    def load(cls, folder: Path, dtype: str, device: str, attention: str) -> Decoder:
        """Load a causal language model from a folder; safetensors only, no remote code.

        Args:
            folder: a folder in the format of ``save_pretrained``.
            dtype: "float32" or "bfloat16".
            device: a torch device, or "auto" for the first CUDA device where there is one, else the CPU.
            attention: attention implementation of transformers: "sdpa" or "eager".

        Raises:
            ModelError: the folder holds no model that transformers can load as a causal language model.
        """
        from transformers import AutoModelForCausalLM

        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=DTYPES[dtype],
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{folder}: cannot be loaded as a causal language model ({reason})") from None
        return cls(model.to(resolve_device(device)))

    @torch.inference_mode()
    def read(self, batch: PackedBatch) -> Features:
        """Features of the batch's texts in one forward pass; they stay on the model's device."""
        tokens, position, end = (
            torch.as_tensor(array, device=self.device) for array in (batch.tokens, batch.position, batch.end)
        )
        masks = tree_masks(self.model.config.get_text_config(), end, position, self.dtype)
        return self._pass(batch, input_ids=tokens, position_ids=position, attention_mask=masks)

    @torch.inference_mode()
    def read_separately(self, batch: PackedBatch) -> Features:
        """The same for rows that hold one text each and right padding: ordinary causal attention."""
        width = batch.tokens.shape[1]
        real = torch.arange(width) < torch.as_tensor(batch.last % width + 1)[:, None]
        return self._pass(
            batch,
            input_ids=torch.as_tensor(batch.tokens, device=self.device),
            attention_mask=real.long().to(self.device),
        )

    def _pass(self, batch: PackedBatch, **inputs: torch.Tensor) -> Features:
        last = torch.as_tensor(batch.last, device=self.device)
        # The output head is the widest matrix of a small model: it runs on the nodes that are scored, each once.
        nodes, inverse = torch.as_tensor(batch.score_node, device=self.device).unique(return_inverse=True)
        heads: list[torch.Tensor] = []
        residual: list[torch.Tensor] = []
        scored: list[torch.Tensor] = []

        def flat(hidden: torch.Tensor) -> torch.Tensor:
            return hidden.reshape(-1, hidden.shape[-1])

        def at_block(_: Any, args: tuple, kwargs: dict) -> None:
            residual.append(flat(args[0] if args else kwargs["hidden_states"])[last])

        def at_projection(_: Any, args: tuple) -> None:
            heads.append(flat(args[0])[last].unflatten(-1, (self.shape.heads, self.shape.head_dim)))

        def at_output_head(_: Any, args: tuple) -> tuple:
            hidden = flat(args[0])
            residual.append(hidden[last])
            scored.append(hidden[nodes])
            return (hidden[nodes] if len(nodes) and self._head_is_more else hidden[:1])[None], *args[1:]

        with _hooks(
            *(block.register_forward_pre_hook(at_block, with_kwargs=True) for block in self.blocks),
            *(projection.register_forward_pre_hook(at_projection) for projection in self.projections),
            self.output_head.register_forward_pre_hook(at_output_head),
        ):
            logits = self.model(**inputs, use_cache=False).logits[0]
        text = torch.as_tensor(batch.score_text, device=self.device)
        token = torch.as_tensor(batch.score_token, device=self.device)
        log_probability = torch.zeros(len(last), dtype=torch.float64, device=self.device)
        log_probability.index_add_(0, text, self._log_probabilities(scored[0], logits, inverse, token))
        scored_tokens = torch.bincount(text, minlength=len(last))
        return Features(torch.stack(heads, 1), torch.stack(residual, 1), log_probability, scored_tokens)

    def _log_probabilities(
        self, hidden: torch.Tensor, logits: torch.Tensor, node: torch.Tensor, token: torch.Tensor
    ) -> torch.Tensor:
        """Log-probability of ``token[i]`` after ``hidden[node[i]]``, float64 (S,), in pieces that stay in the cache.

        ``logits`` are those of all of ``hidden`` where the model does more than its output head, else unused.
        """
        order = torch.argsort(node)
        node, token = node[order], token[order]
        value = torch.zeros(len(node), dtype=torch.float64, device=self.device)
        rows = max(1, LOGITS_AT_ONCE // self.output_head.weight.shape[0])
        for start in range(0, len(hidden), rows):
            piece = (
                logits[start : start + rows] if self._head_is_more else self.output_head(hidden[start : start + rows])
            )
            here = slice(*torch.searchsorted(node, torch.tensor([start, start + rows], device=self.device)).tolist())
            value[here] = piece.float().log_softmax(-1)[node[here] - start, token[here]].double()
        return torch.empty_like(value).index_copy_(0, order, value)

    def _try_out(self) -> tuple[list[torch.nn.Module], bool]:
        """Run two tokens through the model to see its parts at work.

        Returns:
            The attention output projection of each block (the last linear layer that runs in its attention module), and
            whether logits are more than the output head's result (scaled, or capped).
        """
        ran: list[tuple[int, torch.nn.Module]] = []
        handles = []
        for index, block in enumerate(self.blocks):
            attention = [m for m in block.modules() if "attention" in type(m).__name__.lower()]
            for module in {leaf for m in attention for leaf in m.modules() if _input_width(leaf)}:
                handles.append(
                    module.register_forward_pre_hook(lambda module, _args, index=index: ran.append((index, module)))
                )
        plain: list[torch.Tensor] = []
        handles.append(self.output_head.register_forward_hook(lambda _module, _args, output: plain.append(output)))
        with _hooks(*handles), torch.inference_mode():
            logits = self.model(torch.zeros((1, 2), dtype=torch.int64, device=self.device), use_cache=False).logits
        projections = dict(ran)  # the last one of each block stays
        if sorted(projections) != list(range(len(self.blocks))):
            raise ModelError(
                f"{type(self.model).__name__}: no attention output projection found in some blocks; "
                "head features need a model whose every block has attention heads"
            )
        return [projections[index] for index in range(len(self.blocks))], not torch.equal(
            plain[0].float(), logits.float()
        )


def resolve_device(device: str) -> torch.device:
    """ "auto" is the first CUDA device where there is one, else the CPU; anything else is torch's own name."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def _find_blocks(model: PreTrainedModel, layers: int) -> torch.nn.ModuleList:
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == layers]
    if not lists:
        raise ModelError(f"{type(model).__name__}: no list of {layers} blocks found; its layers cannot be read")
    return lists[0]


def _input_width(module: torch.nn.Module) -> int | None:
    """Input width of a linear layer (GPT-2's transposed kind too), None for other modules."""
    if isinstance(module, torch.nn.Linear):
        return module.in_features
    if type(module).__name__ == "Conv1D":
        return module.nx
    return None


@contextmanager
def _hooks(*handles: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
