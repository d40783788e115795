"""Stage `chat`: a conversation in the terminal that keeps its memory between turns.

planish lookahead chat --model hf:./checkpoint --indexer indexer --document long.txt
echo "What did they agree on?" | planish lookahead chat --model hf:./checkpoint --indexer indexer

Only what is new is read in each turn. After every reply one line on standard error says how much
of the keys and values is on the device. /quit, Ctrl-C or the end of the input ends it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from planish.methods.lookahead.running.generate import remembering
from planish.methods.lookahead.running.replies import read_document, readable, token_bytes
from planish.models.memory.loading import MemoryOptions
from planish.records import BadInput, Message
from planish.runs.console import Screen
from planish.runs.options import Count, Json, Seed
from planish.runs.visible import visible

if TYPE_CHECKING:
    from planish.models.local import LocalModel
    from planish.models.memory.attach import Session
    from planish.models.memory.deepseek import DeepseekMemory

__all__ = ["QUIT", "Conversation", "chat"]

QUIT = "/quit"
_PROMPT = "> "
_DENSE = " dense from here on: too much was wanted"
_Temperature = Annotated[float, Parameter(validator=Number(gte=0, lte=100))]
_Dials = Annotated[MemoryOptions, Parameter(name="*")]


def chat(
    *,
    model: str | None = None,
    indexer: str | None = None,
    document: Path | None = None,
    max_tokens: Count = 512,
    temperature: _Temperature = 0.0,
    budget: _Dials = MemoryOptions(),  # noqa: B008 - frozen
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Talk with a model that keeps a part of the keys and values on the device.

    Args:
        model: hf:PATH-OR-ID or embedded:NAME; with ?lookahead=DIR it brings its indexer along.
        indexer: Folder that planish lookahead train wrote; embedded models bring one.
        document: Text file to talk about.
        max_tokens: Tokens of a reply, at most.
        temperature: 0 takes the most likely token.
        seed: Of what is drawn, where the temperature is above 0.
        json: Refused; planish lookahead generate writes JSON.
    """
    if json:
        raise BadInput(
            "a conversation is not one JSON object",
            where="--json",
            fix="use planish lookahead generate --json",
        )
    if model is None:
        raise BadInput("is missing", where="--model", fix="give --model hf:./checkpoint")
    text = "" if document is None else read_document(document)
    screen = Screen()
    opened = remembering(model, indexer, budget)
    with contextlib.suppress(KeyboardInterrupt), Conversation.over(opened, text) as talk:
        talk.max_tokens, talk.temperature, talk.seed = max_tokens, temperature, seed
        screen.note(f"{opened.name}; {QUIT} leaves")
        if not talk.remembers:
            screen.note("its template keeps no earlier turns: each question stands for itself")
        for line in _lines():
            try:
                talk.ask(line)
            except BadInput as error:  # of this turn, such as one that is too long
                screen.warn(str(error))
            else:
                screen.note(talk.told())
    return 0


def _lines() -> Iterator[str]:
    """What the user says, until the end of the input or /quit."""
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - lets a line be edited
    while True:
        try:
            line = input(_PROMPT if at_terminal else "").strip()
        except EOFError:
            return
        if line == QUIT:
            return
        if line:
            yield line


@dataclass
class Conversation:
    """A model, what was said, and the memory of it.

    Use `Conversation.over`.

    Attributes:
        document: stands before the first question; before each, if the model keeps no turns.
        remembers: whether the model's template writes earlier turns.
        messages: so far.
    """

    model: LocalModel
    session: Session | DeepseekMemory
    document: str
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        from planish.models.local_prompts import PromptWriter

        self.writer = PromptWriter(self.model.tokenizer, self.model.name)
        self.remembers = _keeps_turns(self.writer)
        self.cache: Any = self.session.new_cache()
        self.ids: list[int] = []
        self.read = 0

    @classmethod
    @contextlib.contextmanager
    def over(cls, model: LocalModel, document: str = "") -> Iterator[Conversation]:
        """A conversation with a model that has a memory; nothing of it is left afterwards."""
        import torch

        assert model.memory is not None
        # Every question is read with the whole history at hand, however short it is.
        budget = model.memory.budget.model_copy(update={"dense_queries": 1})
        memory = replace(model.memory, budget=budget)
        with torch.inference_mode(), memory.decoding(model.model) as session:
            yield cls(model, session, document)

    def ask(self, question: str) -> str:
        """Reads what is new, writes the reply to standard output as it comes, and returns it.

        Raises:
            BadInput: the conversation and `max_tokens` do not fit into the model's context, or
                the template refuses it; the turn counts as not said.
        """
        said = Message(role="user", content=self._framed(question))
        chat = (*self.messages, said) if self.remembers else (said,)
        prompt = self.writer.encode(self.writer.write(chat))
        bound = self.model.checkpoint.max_positions
        if bound is not None and len(prompt) + self.max_tokens > bound:
            raise BadInput(
                f"the conversation's {len(prompt)} tokens and {self.max_tokens} more exceed the "
                f"model's context of {bound}",
                where=self.model.name,
                fix="ask something shorter, or start anew",
            )
        self._take_back(prompt)
        self.read = len(prompt) - len(self.ids)
        reply = self._decode(prompt)
        if self.remembers:
            self.messages += [said, Message(role="assistant", content=reply)]
        return reply

    def told(self) -> str:
        """What lies where now, in one line."""
        from planish.models.memory.deepseek import DeepseekMemory

        if isinstance(self.session, DeepseekMemory):
            return _told_of_entries(self.session, self.read)
        held = self.cache.bytes_per_row()[0]
        dense = self.cache.length * token_bytes(self.session.backbone)
        share = (held.resident + held.digest) / dense
        line = (
            f"[{self.read} tokens read; on the device {readable(held.resident)} and "
            f"{readable(held.digest)} of digests, {share:.0%} of {readable(dense)} dense "
            f"({int(self.cache.resident_BC[0].sum())} of {self.cache.num_chunks} chunks); "
            f"host {readable(held.host)}]"
        )
        return f"{line}{_DENSE}" if bool(self.cache.dense_B.any()) else line

    def _framed(self, question: str) -> str:
        first = not self.messages
        return f"{self.document}\n\n{question}" if self.document and first else question

    def _take_back(self, prompt: Sequence[int]) -> None:
        """Leaves in the memory only what the new prompt begins with, and less than all of it."""
        pairs = zip(self.ids, prompt, strict=False)
        same = next((i for i, (old, new) in enumerate(pairs) if old != new), None)
        if same is None:
            same = min(len(self.ids), len(prompt))
        same = min(same, len(prompt) - 1)
        gone = len(self.ids) - same
        if gone and (not same or any(self.cache.is_sliding)):
            self.cache.reset()  # a sliding window has forgotten what came before it
            same = 0
        elif gone:
            self.cache.crop(-gone)
        self.ids = self.ids[:same]

    def _decode(self, prompt: list[int]) -> str:
        import torch
        from transformers import GenerationConfig, TextStreamer

        from planish.models.local_decoding import NextToken, row_seed

        tokenizer, opened = self.model.tokenizer, self.model.checkpoint
        plain = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        draw = NextToken(
            temperature=self.temperature,
            top_p=1.0,
            seeds=[row_seed(self.seed, prompt)],
            keep_logprobs=False,
            device=self.model.model.device,
        )
        make: Any = GenerationConfig
        ids_BT = torch.tensor([prompt], device=self.model.model.device)
        streamer: Any = TextStreamer(tokenizer, skip_prompt=True, **plain)
        write = streamer.on_finalized_text
        streamer.on_finalized_text = lambda text, stream_end=False: write(visible(text), stream_end)
        try:
            output_BT = self.model.model.generate(
                input_ids=ids_BT,
                attention_mask=torch.ones_like(ids_BT),
                past_key_values=self.cache,
                logits_processor=[draw],
                streamer=streamer,
                generation_config=make(
                    max_new_tokens=self.max_tokens,
                    do_sample=False,
                    eos_token_id=list(opened.eos_ids),
                    pad_token_id=opened.pad_id,
                ),
            )
        except BaseException:
            self.cache.reset()
            self.ids = []
            raise
        ids: list[int] = output_BT[0].tolist()
        self.ids = ids[: self.cache.get_seq_length()]
        text: str = tokenizer.decode(ids[len(prompt) :], **plain)
        return text


def _told_of_entries(memory: DeepseekMemory, read: int) -> str:
    """Where nothing is moved: what lies there, and what of it attention may choose from."""
    held, chunks = memory.bytes_per_row()[0], memory.num_chunks
    kept = memory.kept_per_row()[0] if memory.kept_per_row() else chunks
    line = (
        f"[{read} tokens read; attention may choose from {kept} of {chunks} entries; on the device "
        f"all {readable(held.resident)} of them, which are not moved, and "
        f"{readable(held.digest)} of digests]"
    )
    return f"{line}{_DENSE}" if bool(memory.dense_B.any()) else line


def _keeps_turns(writer: Any) -> bool:
    """Whether a prompt holds what was said before its last question."""
    first, second = "first-turn", "its-reply"
    turns = (("user", first), ("assistant", second), ("user", "next"))
    try:
        text = writer.write(tuple(Message(role=role, content=said) for role, said in turns))
    except BadInput:
        return False
    return first in text and second in text
