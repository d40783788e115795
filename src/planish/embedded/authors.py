"""Two authors of judgments in the chain grammar: one works, the other is right by luck.

    >>> draw = random.Random(0)
    >>> judgment("3 + 4 - 2", ("7 5", "8 6"), careful=True, draw=draw)
    '7 5 V [[A]]'
    >>> judgment("3 + 4 - 2", ("7 5", "8 6"), careful=False, draw=draw)
    '7 9 V [[B]]'

A pairwise verdict is right by luck half of the time, so judgments that agree with gold hold many
that reason wrongly: on JudgeBench strong models are right in little more than half of the pairs.
Here a careful author works the chain out and takes the reply that ends alike; a careless one reads
every minus as a plus, which mostly fits neither reply, and tosses a coin. A model that has read
both, in the proportion of its corpus, can judge like either: what is latent in it has to be
brought out.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from planish.embedded.reasoner_model import VERDICTS, judge_prompt
from planish.models.base import Watcher
from planish.records import BadInput, Chat, Completion, Sampling
from planish.tasks.chain import ChainTask, candidates, partials

__all__ = ["Teacher", "corpus", "judgment"]

_PROMPT = re.compile(r"Q (.+?) A (.+?) B (.+) J")


def judgment(question: str, replies: Sequence[str], *, careful: bool, draw: random.Random) -> str:
    """One author's judgment of two replies, for instance `7 5 V [[A]]`.

    Args:
        question: a chain.
        replies: the replies in slots A and B.
        careful: whether the author reads a minus as a minus.
        draw: tossed where both replies end like the author's own chain, or neither does.

    Raises:
        BadInput: the question is not a chain.
    """
    read = question if careful else question.replace("-", "+")
    chain = " ".join(map(str, partials(read)))
    fits = [slot for slot, reply in enumerate(replies) if reply.split()[-1:] == chain.split()[-1:]]
    slot = fits[0] if len(fits) == 1 else draw.randrange(2)
    return f"{chain} V {VERDICTS[slot]}"


def corpus(careful: float, seed: int, size: int = 20_000) -> list[tuple[str, str]]:
    """What an apprentice reads: prompts, and judgments by authors of both kinds.

    Args:
        careful: share of the judgments that the careful author writes.
        seed: draws the questions, the replies, their slots and the authors.
        size: number of rows; questions of the training split come back with other replies.
    """
    task = ChainTask()
    draw = random.Random(f"corpus/{seed}")
    examples = list(task.examples("train", task.capped("train", size), seed))
    rows = []
    for number in range(size):
        example = examples[number % len(examples)]
        question = example.prompt[0].content
        replies = list(candidates(example, seed=seed * size + number))
        draw.shuffle(replies)
        text = judgment(question, replies, careful=draw.random() < careful, draw=draw)
        rows.append((judge_prompt(question, *replies), text))
    return rows


class Teacher:
    """A model that judges as a mixture of both authors; it never sees gold.

    Its seed, the prompt and the number of the sample decide alone: `sampling.seed` changes nothing.

    Args:
        careful: share of the judgments that the careful author writes.
        seed: another one is another teacher.
    """

    draws_by_number = True  # see `ScriptedModel`

    def __init__(self, careful: float, seed: int) -> None:
        self.careful, self.seed = careful, seed
        self.name, self.revision = f"teacher {careful:g}", str(seed)

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, watcher: Watcher | None = None
    ) -> list[list[Completion]]:
        """See `LanguageModel.generate`.

        Raises:
            BadInput: a prompt that does not show a chain and two replies in the chain grammar.
        """
        watcher = watcher or Watcher()
        results: list[list[Completion]] = []
        for index, chat in enumerate(chats):
            results.append([])
            for sample in range(sampling.n):
                completion = Completion(text=self._judge(chat, sample))
                results[-1].append(completion)
                watcher.completed(index, sample, completion)
        return results

    def _judge(self, chat: Chat, sample: int) -> str:
        prompt = chat[-1].content
        shown = _PROMPT.fullmatch(prompt)
        if chat[-1].role != "user" or shown is None:
            raise BadInput(
                f"not a chain to judge: {prompt[:60]!r}",
                where=self.name,
                fix="write it like 'Q 3 + 4 - 5 A 7 2 B 7 3 J' (the template `chain`)",
            )
        question, *replies = shown.groups()
        key = hashlib.sha256(f"{self.seed}/{self.careful}/{sample}/{prompt}".encode()).digest()
        draw = random.Random(key)
        careful = draw.random() < self.careful
        return judgment(question, replies, careful=careful, draw=draw)
