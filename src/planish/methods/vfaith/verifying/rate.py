"""Stage `rate`: two people look at a sample of a bench, and how far they agree is told beside it.

planish vfaith rate bench --sample 60 --seed 0 --out rating
planish vfaith rate bench --ratings ratings-anna.jsonl ratings-ben.jsonl

The first writes a page, `rate.html`, that each rater opens and saves ratings from, and
`ratings.jsonl` for those who fill them in by hand. The second tells raw agreement, Cohen's kappa
and the share of bad edits, and keeps all of it in the bench (`ratings.json`), from where
`planish vfaith score` tells it beside the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.records import BadInput
from planish.runs.console import Screen, command
from planish.runs.options import Count, Json, Seed

if TYPE_CHECKING:
    from planish.methods.vfaith.verifying.ratings import Agreement

__all__ = ["BLANK", "PAGE", "rate"]

PAGE, BLANK = "rate.html", "ratings.jsonl"
_SHOWN = 20  # disagreements on the screen
_SHORT = {
    "follows": "follows the cue",
    "one_true": "one option true",
    "else_changed": "else changed",
    "bad": "a bad edit",
}  # questions, where intervals need the room


def rate(
    bench: Path,
    /,
    *,
    sample: Count | None = None,
    out: Path | None = None,
    ratings: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")] = (),
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Let two people rate a sample of a bench: a page for them, then how far they agree.

    Args:
        bench: Folder that planish vfaith build made.
        sample: Pairs to rate, by chance; by default 60.
        out: Folder for the page and for the file to fill in by hand.
        ratings: The files of two raters.
        seed: Which pairs are drawn; with --ratings, seed of the intervals.
        json: One JSON object on stdout.
    """
    from planish.methods.vfaith.bench import read_bench

    screen = Screen(json=json)
    if bool(ratings) == (out is not None):
        raise BadInput(
            "give one of the two",
            where="--out and --ratings",
            fix="--out FOLDER to draw a sample, --ratings FILE FILE to tell what two raters said",
        )
    if out is not None:
        return _draw(read_bench(bench), sample or 60, seed, out, screen)
    if sample is not None:
        raise BadInput(
            "the files tell which sample they are of",
            where="--sample",
            fix="leave it out with --ratings",
        )
    from planish.methods.vfaith.verifying.ratings import agreement, keep

    held = read_bench(bench)
    found = agreement(held, ratings, seed=seed)
    path = keep(held, found)
    _show(screen, found)
    screen.say(f"kept in {path}, told by planish vfaith score")
    summary = found.model_dump(mode="json", exclude={"ratings"}) if json else {}
    screen.close({**summary, **({"file": str(path)} if json else {})})
    return 0


def _draw(bench: Any, size: int, seed: int, out: Path, screen: Screen) -> int:
    from planish.methods.vfaith.verifying.rating_page import rating_page
    from planish.methods.vfaith.verifying.ratings import blank, sampled
    from planish.records import write_text

    pairs = sampled(bench, size, seed)
    if not pairs:
        raise BadInput("no pairs to rate", where=str(bench.folder), fix="build a bench of pairs")
    if (out / BLANK).exists():
        raise BadInput(
            "there are ratings already, perhaps filled in",
            where=str(out / BLANK),
            fix="move the file away, or name another --out",
        )
    try:
        # A bench with fewer pairs than were asked for gives all of them.
        write_text(out / PAGE, rating_page(bench, pairs, len(pairs), seed))
        write_text(out / BLANK, blank(bench, pairs, len(pairs), seed))
    except OSError as error:
        raise BadInput(
            error.strerror or str(error), where=str(out), fix="choose another folder"
        ) from None
    if len(pairs) < size:
        screen.note(f"the bench has {len(pairs)} pairs, all are in the sample")
    screen.say(f"{len(pairs)} pairs to rate: {out / PAGE}")
    screen.say("give each rater a copy; they must not see what the other says")
    then = command("planish", "vfaith", "rate", bench.folder, "--ratings", "FILE", "FILE")
    summary = {"page": str(out / PAGE), "blank": str(out / BLANK), "pairs": len(pairs)}
    screen.close(summary, then=[then])
    return 0


def _show(screen: Screen, found: Agreement) -> None:
    names = " and ".join(found.raters)
    rows = [
        (
            _SHORT[name],
            str(each.agreement),
            str(each.kappa),
            *(str(each.yes[rater]) for rater in found.raters),
        )
        for name, each in found.questions.items()
    ]
    screen.table(
        ("question", "agreement", "kappa", *(f"yes, {rater}" for rater in found.raters)),
        rows,
        title=f"{names} on {found.pairs} of {found.sample} pairs, 95 % intervals over pairs",
    )
    screen.numbers(
        {
            "bad edits, by one of them at least": found.bad_either,
            "bad edits, by both": found.bad_both,
        }
    )
    shown = [
        (each.pair_id, _SHORT[each.question], *(each.answers[rater] for rater in found.raters))
        for each in found.disagreements
    ]
    screen.table(("they differ on", "question", *found.raters), shown[:_SHOWN], text=True)
    if len(shown) > _SHOWN:
        screen.say(f"and {len(shown) - _SHOWN} more, in --json")
