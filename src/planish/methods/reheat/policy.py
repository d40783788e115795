"""A policy that is looked at from inside: what it draws, and every next-token distribution.

    policy = Policy(open_checkpoint("./checkpoint"), name="hf:./checkpoint")
    drawn = policy.draw(chats, n=8, max_tokens=64, seed=0)
    texts = policy.texts(chats, drawn)
    entropy_of(policy, texts).mean
    changes(before, after, texts).token_kl

Only local weights tell the exact entropy: over the whole vocabulary, at temperature 1, in nats,
mean over completion tokens, of which the end of the sequence is one.

Shape suffixes: B rows, T reply positions, N positions of all replies, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from planish.methods.reheat.method import Preservation, TokenEntropy
from planish.models.base import Watcher
from planish.models.local import LocalModel
from planish.models.local_batches import Batches, Row
from planish.models.local_loading import Checkpoint
from planish.models.local_prompts import PromptWriter, end_id
from planish.records import Chat, Completion, Sampling
from planish.sampling import entropy, kl
from planish.stats import Estimate, ratio

__all__ = ["Policy", "Text", "changes", "entropies_of", "entropy_of"]

_TOP = 10
_MEANS = ("token_kl", "top10_overlap", "retained_mass", "greedy_agreement")
_LOGITS_AT_ONCE = 2**26  # in float32 they are 256 MiB
_CKA_POSITIONS = 1024
"""A layer's similarity is told from so many positions at most, evenly spaced: it costs N x N."""


@dataclass(frozen=True)
class Text:
    """A prompt with a reply, as token ids; the reply ends with its end token if it has one."""

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]


class Policy:
    """A causal language model that is open.

    Args:
        checkpoint: its model is left as it was found but for its generation settings.
        name: for messages.
        batch_size: rows at once.
    """

    def __init__(self, checkpoint: Checkpoint, *, name: str, batch_size: int = 64) -> None:
        self.checkpoint, self.name = checkpoint, name
        self.model = LocalModel(name, name=name, batch_size=batch_size, checkpoint=checkpoint)
        self._writer = PromptWriter(checkpoint.tokenizer, name)
        self._batches = Batches(checkpoint.model, pad_id=checkpoint.pad_id, size=batch_size)

    def draw(
        self,
        chats: Sequence[Chat],
        *,
        n: int = 1,
        max_tokens: int,
        seed: int,
        temperature: float = 1.0,
        watcher: Watcher | None = None,
    ) -> list[list[Completion]]:
        """Replies to every chat; greedy at temperature 0. See `LocalModel.generate`."""
        sampling = Sampling(temperature=temperature, n=n, max_tokens=max_tokens, seed=seed)
        return self.model.generate(chats, sampling, watcher=watcher)

    def texts(self, chats: Sequence[Chat], drawn: Sequence[Sequence[Completion]]) -> list[Text]:
        """Every reply that came, in order, as token ids."""
        end = end_id(self.checkpoint.tokenizer)
        found = []
        for chat, completions in zip(chats, drawn, strict=True):
            prompt = tuple(self._writer.encode(self._writer.write(chat)))
            for each in completions:
                if each.finish != "error":
                    ending = (end,) if each.finish == "stop" else ()
                    found.append(Text(prompt, (*(each.token_ids or ()), *ending)))
        return found

    @property
    def batch_size(self) -> int:
        """Rows at once."""
        return self._batches.size

    def read(
        self, texts: Sequence[Text], *, hidden: bool = False, size: int | None = None
    ) -> Iterator[Reading]:
        """The distribution before every token of every reply, a bounded number at a time.

        Batches are of similar length, so that they are not in the order of `texts`, and the same
        for every policy of one vocabulary.

        Args:
            texts: prompts with replies.
            hidden: whether the hidden states are wanted, too.
            size: rows at once, in place of the policy's own.
        """
        rows = [
            Row(place, list(text.prompt_ids), list(text.reply_ids))
            for place, text in enumerate(texts)
            if text.reply_ids
        ]
        for batch in self._split(rows, size or self.batch_size):
            ids_BT, mask_BT = self._batches.left_padded(batch)
            longest = max(len(row.reply_ids) for row in batch)
            text_BT = torch.full((len(batch), longest), -1, device=ids_BT.device)
            for place, row in enumerate(batch):
                text_BT[place, longest - len(row.reply_ids) :] = row.index
            yield from self._look(ids_BT, mask_BT, text_BT, hidden).parts()

    def _split(self, rows: list[Row], size: int) -> Iterator[list[Row]]:
        waiting = sorted(rows, key=lambda row: (-len(row), row.index))
        while waiting:
            fit = self._batches.rows_at_once(waiting[:size])
            yield waiting[:fit]
            waiting = waiting[fit:]

    def _look(self, ids_BT: Tensor, mask_BT: Tensor, text_BT: Tensor, hidden: bool) -> Reading:
        longest, kept_BT = text_BT.shape[1], text_BT >= 0
        text_N, ids_N = text_BT[kept_BT], ids_BT[:, -longest:][kept_BT]
        layers_BTH: tuple[Tensor, ...] = ()
        if hidden:
            logits_BTV, layers_BTH = self._batches.logits_and_states(ids_BT, mask_BT, longest + 1)
        else:
            logits_BTV = self._batches.logits(ids_BT, mask_BT, longest + 1)
        layers_NH = tuple(layer[:, :-1][kept_BT] for layer in layers_BTH)
        return Reading(logits_BTV[:, :-1][kept_BT], ids_N, layers_NH, text_N)


@dataclass(frozen=True)
class Reading:
    """What a policy thinks before each of N tokens.

    Args:
        logits_NV: of the next token.
        ids_N: the token that came.
        layers_NH: the hidden state after every layer, if it was asked for.
        text_N: which of the texts it belongs to.
    """

    logits_NV: Tensor
    ids_N: Tensor
    layers_NH: tuple[Tensor, ...]
    text_N: Tensor

    def parts(self) -> Iterator[Reading]:
        """The same in stretches that leave room for sums over the vocabulary."""
        most = max(1, _LOGITS_AT_ONCE // self.logits_NV.shape[-1])
        for start in range(0, len(self.ids_N), most):
            part = slice(start, start + most)
            yield Reading(
                self.logits_NV[part],
                self.ids_N[part],
                tuple(layer_NH[part] for layer_NH in self.layers_NH),
                self.text_N[part],
            )


def entropy_of(policy: Policy, texts: Sequence[Text]) -> TokenEntropy:
    """The exact entropy over the tokens of replies.

    Raises:
        ValueError: there is no token.
    """
    return TokenEntropy.of([value for row in entropies_of(policy, texts) for value in row])


def entropies_of(policy: Policy, texts: Sequence[Text]) -> list[list[float]]:
    """The exact entropy of every token of every reply, in order."""
    found: list[list[float]] = [[] for _ in texts]
    for reading in policy.read(texts):
        values = entropy(reading.logits_NV).tolist()
        for place, value in zip(reading.text_N.tolist(), values, strict=True):
            found[place].append(value)
    return found


def changes(before: Policy, after: Policy, texts: Sequence[Text]) -> Preservation:
    """How far a policy has moved, token by token on frozen replies.

    Args:
        before: the policy as it was.
        after: as it is, with the same tokenizer.
        texts: replies that the policy drew before.

    Raises:
        ValueError: there is no reply.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in _MEANS}
    text_N: list[int] = []
    size = min(before.batch_size, after.batch_size)
    for old, new in zip(before.read(texts, size=size), after.read(texts, size=size), strict=True):
        old_NV, new_NV = old.logits_NV.float(), new.logits_NV.float()
        top = min(_TOP, old_NV.shape[-1])
        ten_NK, mine_NK = old_NV.topk(top).indices, new_NV.topk(top).indices
        same_N = (ten_NK[:, :, None] == mine_NK[:, None, :]).any(-1).float().mean(-1)
        found["token_kl"].append(kl(old_NV, new_NV, "forward"))
        found["top10_overlap"].append(same_N)
        found["retained_mass"].append(_mass(new_NV, ten_NK) / _mass(old_NV, ten_NK))
        found["greedy_agreement"].append((old_NV.argmax(-1) == new_NV.argmax(-1)).float())
        text_N += old.text_N.tolist()
    if not text_N:
        raise ValueError("there is no reply to compare on")
    whole = {name: torch.cat(parts).cpu() for name, parts in found.items()}
    return Preservation(
        num_tokens=len(text_N),
        **{name: values_N.mean().item() for name, values_N in whole.items()},
        cka_per_layer=_similarities(before, after, texts),
        over_replies={name: _over(values_N, text_N) for name, values_N in whole.items()},
    )


def _over(values_N: Tensor, text_N: Sequence[int]) -> Estimate:
    """A mean over tokens with its interval over replies."""
    sums, counts = dict.fromkeys(text_N, 0.0), Counter(text_N)
    for text, value in zip(text_N, values_N.tolist(), strict=True):
        sums[text] += value
    return ratio([sums[text] for text in counts], list(counts.values()))


def _mass(logits_NV: Tensor, ids_NK: Tensor) -> Tensor:
    return logits_NV.softmax(-1).gather(-1, ids_NK).sum(-1)


def _similarities(before: Policy, after: Policy, texts: Sequence[Text]) -> tuple[float, ...]:
    """Linear CKA of every layer (Kornblith et al., arXiv 1905.00414), of evenly spaced replies."""
    chosen, positions = [], 0
    for text in texts[:: max(1, sum(len(t.reply_ids) for t in texts) // _CKA_POSITIONS)]:
        if positions >= _CKA_POSITIONS:
            break
        chosen.append(text)
        positions += len(text.reply_ids)
    pairs: list[tuple[list[Tensor], list[Tensor]]] = []
    size = min(before.batch_size, after.batch_size)
    for old, new in zip(
        before.read(chosen, hidden=True, size=size),
        after.read(chosen, hidden=True, size=size),
        strict=True,
    ):
        pairs = pairs or [([], []) for _ in old.layers_NH]
        for (olds, news), old_NH, new_NH in zip(pairs, old.layers_NH, new.layers_NH, strict=True):
            olds.append(old_NH.float().cpu())
            news.append(new_NH.float().cpu())
    return tuple(_linear_cka(torch.cat(olds), torch.cat(news)) for olds, news in pairs)


def _linear_cka(old_NH: Tensor, new_NH: Tensor) -> float:
    """1 for representations that differ by a rotation and a scale at most; from Gram matrices."""
    old_NH, new_NH = old_NH - old_NH.mean(0), new_NH - new_NH.mean(0)
    old_NN, new_NN = (old_NH @ old_NH.T).double(), (new_NH @ new_NH.T).double()
    joint = (old_NN * new_NN).sum()
    return float(joint / (old_NN.norm() * new_NN.norm()).clamp(min=1e-30))
