"""Are several scored layers better joined by their largest score or by the mean?

    python benchmarks/bench_lookahead_joining.py --work DIR [--documents 480] [--write]

The indexer that ships with the embedded reader has one scored layer, which both leave alone. So
three layers are trained, one by one and on the same few documents, by the preset `tiny`; what is
compared is the share of the needed chunks among the highest tenth of the scores, at the decisions
of documents of the split gate, as long as those trained on and four times as long. Nobody decodes
with it, and it tells little of an indexer that has seen more.

Not here: keys that are not turned back. Of the embedded reader the first layer alone turns its
keys, and what enters it is the current word, from which nothing can be foreseen.

Predicted before a document of the split gate was scored: at 384 words the mean is within .02 of
the largest score, and both are within .02 of the best layer alone; at 1,536 words too. One
training, fixed: 480 documents of `recall:lookup:384`, layers 1, 2 and 3, seed 0.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from planish.methods.lookahead.building import DUMPING, MODEL, TRAINING
from planish.methods.lookahead.dumping.folder import Dump
from planish.methods.lookahead.running.dump import dump
from planish.methods.lookahead.train.bank import Bank, limits_of, read_labels, rule_of
from planish.methods.lookahead.train.fit import judged_of, score_all
from planish.methods.lookahead.train.lessons import learn_layer, new_indexer, prepare
from planish.methods.lookahead.train.measure import Judged, Mode, combine, measure
from planish.stats import Estimate, mean, shown
from support import tell

LAYERS = ("l1", "l2", "l3")
SCORED = {384: 60, 1536: 30}
"""Words of a document, and how many of them are of the split gate."""

BUDGET = 0.1
MODES: tuple[Mode, ...] = ("max", "mean")


def dumped(work: Path, words: int, split: str, limit: int) -> Dump:
    """Documents of that length, dumped if they are not there yet."""
    place = work / f"{split}-{words}"
    with contextlib.redirect_stdout(io.StringIO()):
        dump(
            model=MODEL, task=f"recall:lookup:{words}", split=split, limit=limit, out=place,
            config=DUMPING.model_copy(update={"continuation": 66}), resume=place.exists(),
            runs=work / "runs", json=True,
        )  # fmt: skip
    return Dump(place)


def recalls(judged: Sequence[Judged], logits: Sequence[Tensor]) -> dict[int, float]:
    """By document, the share of its needed chunks among the highest tenth; those that need any."""
    found: dict[int, float] = {}
    for place, (one, scores_NC) in enumerate(zip(judged, logits, strict=True)):
        told = measure([one], [scores_NC], threshold=0.5, budgets=(BUDGET,))
        share = told[f"recall@{BUDGET:g}"] if len(scores_NC) else None
        if share is not None:
            found[place] = share
    return found


def joined(
    judged: Sequence[Judged], by_layer: Mapping[str, list[Tensor]]
) -> dict[str, dict[int, float]]:
    """The recalls of each layer alone, and of all of them joined either way."""
    found = {layer: recalls(judged, logits) for layer, logits in by_layer.items()}
    for mode in MODES:
        found[mode] = recalls(judged, combine(list(by_layer.values()), mode))
    return found


def less(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate:
    """One less the other, by document."""
    return mean([one[place] - other[place] for place in sorted(one.keys() & other.keys())])


def rows(found: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Lines of the table of one length."""
    layers = [name for name in found if name not in MODES]
    best = max(layers, key=lambda name: sum(found[name].values()))
    lines = []
    for name, one in found.items():
        cells = [name + (", the best alone" if name == best else "")]
        cells.append(shown(mean(list(one.values()))))
        cells.append("" if name == "max" else shown(less(one, found["max"]), "+.3f"))
        cells.append("" if name == best else shown(less(one, found[best]), "+.3f"))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Dumps and trains what is missing, and scores the documents of the split gate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=480, help="to train on")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lesson = prepare([dumped(options.work, 384, "train", options.documents)], TRAINING)
    weights = {}
    for layer in LAYERS:
        weights[layer], _ = learn_layer(lesson, layer, options.work / "trainer" / layer)
        print(layer, "is trained", flush=True)
    indexer = new_indexer(lesson.header, LAYERS, TRAINING)
    for layer, tensors in weights.items():
        indexer.retrievers[layer].load_state_dict(tensors)
    lines = [
        f"{options.documents} documents of `recall:lookup:384` to train on; recall at a tenth of "
        "the candidates, intervals over documents of the split gate, differences paired.",
    ]
    for words, limit in SCORED.items():
        there = dumped(options.work, words, "gate", limit)
        limits = limits_of(TRAINING, there.header.chunk_tokens)
        labelled = read_labels(
            lambda document, there=there: there,  # type: ignore[misc]
            there.documents, rule_of(TRAINING), limits, TRAINING, keep=True,
        )  # fmt: skip
        banks = {
            layer: Bank.of(lambda document, there=there: there, labelled, layer)  # type: ignore[misc]
            for layer in LAYERS
        }
        by_layer = {
            layer: score_all(indexer.retrievers[layer], bank) for layer, bank in banks.items()
        }
        found = joined(judged_of(banks[LAYERS[0]]), by_layer)
        lines += ["", f"{words} words, {len(there.documents)} documents:", ""]
        lines += ["| | recall | less `max` | less the best alone |", "| --- | --- | --- | --- |"]
        lines += rows(found)
    title = "lookahead: layers joined by the largest score or the mean"
    tell("lookahead-joining", title, "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
