"""The same documents at the same kept share: ours beside four presses of kvpress 0.5.5.

    python benchmarks/bench_lookahead_kvpress.py --kvpress OTHER/bin/python
        [--model embedded:recall] [--indexer embedded] [--examples 26] [--split report] [--write]

`--kvpress` names the Python of an environment with kvpress 0.5.5 and transformers 5.2, made by
`pip install torch==2.13.0` and then `pip install kvpress==0.5.5 "transformers>=4.56,<5.3"`. The
model is saved and read again there; replies without any press tell whether both environments
agree. Documents are those of `recall:ruler:LENGTH`, each seed alike.

Kept shares: ours pays resident chunks, digests and all tokens until the next decision out of the
share; a press pays the prompt alone, and what it keeps of question and reply comes on top. `whole`
compresses behind the whole prompt, with the question in sight; `context` before the question, as
kvpress' pipeline does. Ours sees the question in both, because nothing is lost that is not on the
device: what a press evicts is gone.

Predicted: at 10 % and at 25 % of the KV ours is above every press under both protocols, by more
than the intervals; with `whole`, SnapKV is the best press and StreamingLLM the worst; with
`context`, no press is above 0.5. Families whose answer hangs on one record should be close to
SnapKV's with `whole`; long answers should not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish.embedded import path
from planish.methods.lookahead.evaluate.documents import Document, documents
from planish.methods.lookahead.evaluate.evaluating import evaluate
from planish.methods.lookahead.evaluate.outcomes import Outcome
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.evaluate.summary import Summary, macro_mean
from planish.models.local_loading import open_checkpoint
from planish.models.memory.indexer import MemoryIndexer
from planish.models.memory.loading import indexer_path
from planish.stats import Estimate
from planish.tasks.recall import RecallTask
from support import tell

PRESSES = ("SnapKV", "Knorm", "StreamingLLM", "ExpectedAttention")
PROTOCOLS = ("whole", "context")
OURS = ("lookahead", "snapkv", "recency", "oracle", "dense")


def prompt_row(document: Document, tokenizer: Any) -> dict[str, Any]:
    """A line for `kvpress_check.py`."""
    mark = tokenizer.convert_tokens_to_ids("?")
    ids = list(document.prompt_ids)
    gold = tokenizer(document.task.gold(document.example), add_special_tokens=False).input_ids
    return {
        "id": document.id,
        "prompt_ids": ids,
        "context_tokens": len(ids) - 1 - ids[::-1].index(mark),
        "gold_ids": gold,
    }


def press_replies(
    python: str,
    folder: Path,
    model: Any,
    rows: Sequence[dict[str, Any]],
    shares: Sequence[float],
    presses: Sequence[str] = ("none", *PRESSES),
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What kvpress says, and in which versions."""
    model.save_pretrained(folder / "model")
    prompts, out = folder / "prompts.jsonl", folder / "replies.json"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    script = Path(__file__).with_name("kvpress_check.py")
    command = [python, script, folder / "model", prompts, "--out", out, "--presses", *presses]
    command += ["--kept", *shares, "--protocols", *PROTOCOLS]
    told = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(told.stderr[-2000:])
    return json.loads(out.read_text("utf-8")), json.loads(told.stdout.splitlines()[-1])


Scores = dict[tuple[str, str, float], dict[str, float]]
"""(press, protocol, share) -> document -> score."""


def scored(
    found: Sequence[dict[str, Any]], by_id: dict[str, Document], tokenizer: Any
) -> tuple[Scores, dict[tuple[str, str, float], float]]:
    """Scores of the replies, and the largest share held."""
    scores: Scores = {}
    held: dict[tuple[str, str, float], float] = {}
    for each in found:
        document = by_id[each["id"]]
        reply = tokenizer.decode(each["reply_ids"], skip_special_tokens=True).strip()
        place = each["press"], each["protocol"], each["kept"]
        verdict = document.task.verify(document.example, reply)
        # A reply without a number is one that no reference is in.
        scores.setdefault(place, {})[document.id] = verdict.score or 0.0
        held[place] = max(held.get(place, 0.0), each["held"])
    return scores, held


def table(
    summary: Summary,
    scores: Scores,
    held: dict[tuple[str, str, float], float],
    families: dict[str, str],
    shares: Sequence[float],
) -> list[str]:
    """Accuracy of all arms, and what ours has more."""
    lines = [
        "| kept | arm | protocol | accuracy over families | lookahead minus it | held at most |",
        "|---|---|---|---|---|---|",
    ]
    for share in shares:
        ours = filled_in(summary.cell("lookahead", share))
        for arm in (each for each in OURS if each in summary.arms):
            mine = filled_in(summary.cell(arm, share))
            most = max((each.kv_fraction or 0.0 for each in summary.cell(arm, share)), default=0.0)
            name = f"**{arm}**" if arm == "lookahead" else f"{arm} (ours)"
            lines.append(_line(share, name, "whole", mine, ours, most, families))
        for (press, protocol, kept), theirs in scores.items():
            if press != "none" and kept == share:
                place = press, protocol, kept
                name = f"kvpress {press}"
                lines.append(_line(share, name, protocol, theirs, ours, held[place], families))
    return lines


def filled_in(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Scores by document; no number is wrong, what could not run is left out."""
    return {each.document_id: each.correct or 0.0 for each in outcomes if each.steps}


def _line(
    share: float,
    name: str,
    protocol: str,
    theirs: dict[str, float],
    ours: dict[str, float],
    held: float,
    families: dict[str, str],
) -> str:
    both = {key: ours[key] - theirs[key] for key in ours if key in theirs}
    difference = "" if name.startswith("**") else str(macro_mean(both, families))
    accuracy = macro_mean(theirs, families)
    return f"| {share:g} | {name} | {protocol} | {accuracy} | {difference} | {held:.3f} |"


def by_family(
    summary: Summary, scores: Scores, families: dict[str, str], share: float
) -> list[str]:
    """One column per arm."""
    places = [place for place in scores if place[0] != "none" and place[2] == share]
    heads = ["lookahead", "dense", *(f"{press}, {protocol}" for press, protocol, _ in places)]
    lines = ["", f"By family at {share:g}:", "", f"| family | {' | '.join(heads)} |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for family in sorted(set(families.values())):
        cells = [_of(filled_in(summary.cell(arm, share)), families, family) for arm in heads[:2]]
        cells += [_of(scores[place], families, family) for place in places]
        told = " | ".join("-" if each.value is None else f"{each.value:.3f}" for each in cells)
        lines.append(f"| {family} | {told} |")
    return lines


def _of(scores: dict[str, float], families: dict[str, str], family: str) -> Estimate:
    return macro_mean(
        {key: each for key, each in scores.items() if families[key] == family}, families
    )


def agreement(summary: Summary, found: Sequence[dict[str, Any]], tokenizer: Any) -> str:
    """How many replies are the same in both environments without any press."""
    theirs = {
        each["id"]: tokenizer.decode(each["reply_ids"], skip_special_tokens=True).split()
        for each in found
        if each["press"] == "none"
    }
    dense = {each.document_id: each.reply.split() for each in summary.cell("dense", 1.0)}
    same = sum(dense.get(key) == words for key, words in theirs.items())
    return (
        f"Without a press, {same} of {len(theirs)} replies are the same in both environments, "
        "word for word."
    )


TERMS = """\
`whole`: a press compresses behind the whole prompt, the question in sight, as `generate` under it
does; a reply's first token is then the dense model's. `context`: before the question, as kvpress'
pipeline does. Ours sees the question in both: what is not on the device is not lost. A press keeps
its share of the prompt in every layer and head, and all of the question (`context`) and of the
reply on top; ours pays digests, resident chunks and the tokens until the next decision out of the
share (`held at most` tells both). Presses are as they come, with their own defaults, but layers
without rotary positions are scored without them."""


def compare(
    model: Any,
    tokenizer: Any,
    indexer: Any,
    task: RecallTask,
    python: str,
    folder: Path,
    *,
    shares: Sequence[float],
    seeds: Sequence[int],
    examples: int,
    settings: Settings,
    split: str = "report",
) -> str:
    """The page."""
    found = documents([task], tokenizer, split=split, number=examples, seeds=seeds)
    by_id = {document.id: document for document in found}
    families = {document.id: document.family for document in found}
    rows = [prompt_row(document, tokenizer) for document in found]
    told, versions = press_replies(python, folder, model, rows, shares)
    scores, held = scored(told, by_id, tokenizer)
    arms = [arm for arm in OURS if arm != "lookahead" or indexer is not None]
    outcomes = evaluate(
        model,
        tokenizer,
        [task],
        arms,
        shares,
        indexer=indexer,
        seeds=seeds,
        examples=examples,
        split=split,
        settings=settings,
    )
    summary = Summary(outcomes)
    lines = [
        f"{len(found)} documents of `{task.name}`, split {split}, seeds "
        f"{', '.join(map(str, seeds))}; means over {len(set(families.values()))} families, "
        f"intervals by document. kvpress 0.5.5 with {versions['versions']}. Decisions every "
        f"{settings.interval} tokens. A reply without a number counts as wrong.",
        "",
        agreement(summary, told, tokenizer),
        "",
        TERMS,
        "",
        *table(summary, scores, held, families, shares),
    ]
    for share in shares:
        lines += by_family(summary, scores, families, share)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kvpress", required=True, help="the Python of its environment")
    parser.add_argument("--model", default="embedded:recall", help="or a folder")
    parser.add_argument("--indexer", default="embedded", help="a folder; `none` leaves ours out")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--kept", type=float, nargs="+", default=[0.1, 0.15, 0.25])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--examples", type=int, default=26, help="of each seed, over 13 families")
    parser.add_argument("--interval", type=int, default=32)
    parser.add_argument("--split", default="report", choices=("gate", "report"))
    parser.add_argument("--write", action="store_true", help="into results/, not only printed")
    given = parser.parse_args()
    shipped = given.model.startswith("embedded:")
    name = str(path(given.model.partition(":")[2])) if shipped else given.model
    checkpoint = open_checkpoint(name, device="cpu")
    indexer = None
    if given.indexer != "none":
        indexer = MemoryIndexer.from_pretrained(indexer_path(given.indexer)).eval()
    with tempfile.TemporaryDirectory() as folder:
        page = compare(
            checkpoint.model,
            checkpoint.tokenizer,
            indexer,
            RecallTask("ruler", given.length),
            given.kvpress,
            Path(folder),
            shares=given.kept,
            seeds=given.seeds,
            examples=given.examples,
            settings=Settings(interval=given.interval, quality=False),
            split=given.split,
        )
    tell(
        "lookahead-kvpress", "lookahead: beside kvpress at the same share", page, write=given.write
    )


if __name__ == "__main__":
    main()
