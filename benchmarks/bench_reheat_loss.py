"""What does the loss of reheating cost beside its closed form in plain torch? Memory and seconds.

    python benchmarks/bench_reheat_loss.py [--tokens 4096] [--vocabulary 32000] [--rounds 3]

The peer is the same mean written as torch users write it: two log-softmaxes over whole tensors, and
autograd. Each variant runs in processes of its own, in turns; memory is the peak of the process
above what it holds once the logits are there, in units of one tensor of logits. Predicted: at most
1.2 tensors where the peer needs at least 3, and no more seconds than the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch

from planish.methods.reheat import reheat_loss
from planish.sampling import log_softmax
from support import write_result


def plain(student_BTV: torch.Tensor, mask_BT: torch.Tensor, temperature: float) -> torch.Tensor:
    logp_BTV = log_softmax(student_BTV.detach(), temperature)
    logq_BTV = log_softmax(student_BTV)
    divergence_BT = (logp_BTV.exp() * (logp_BTV - logq_BTV)).sum(-1)
    return (divergence_BT * mask_BT).sum() / mask_BT.sum()


def measure(variant: str, tokens: int, vocabulary: int) -> dict[str, float]:
    """Peak memory in tensors of logits, seconds, and the loss."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    student_BTV = torch.randn((4, tokens // 4, vocabulary), generator=draw).requires_grad_()
    mask_BT = torch.ones((4, tokens // 4))
    loss = {"ours": reheat_loss, "plain": plain}[variant]
    loss(student_BTV[:1, :2].detach().requires_grad_(), mask_BT[:1, :2], 1.2).backward()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    value = loss(student_BTV, mask_BT, 1.2)
    torch.autograd.grad(value, student_BTV)  # not backward, which would copy it for a leaf
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    unit = student_BTV.numel() * student_BTV.element_size() / 1024
    return {"tensors": peak / unit, "seconds": seconds, "loss": value.item()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", choices=("ours", "plain"))
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options.tokens, options.vocabulary)))
        return
    found: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    sizes = ("--tokens", str(options.tokens), "--vocabulary", str(options.vocabulary))
    for _ in range(options.rounds):
        for variant, results in found.items():
            result = subprocess.run(
                [sys.executable, __file__, *sizes, "--variant", variant],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            results.append(json.loads(result.stdout))
    rows = [
        "| variant | memory in tensors of logits | seconds over the peer's | loss |",
        "|---|---|---|---|",
    ]
    for variant, results in found.items():
        ratios = [
            own["seconds"] / peer["seconds"]
            for own, peer in zip(results, found["plain"], strict=True)
        ]
        rows.append(
            f"| {variant} | {statistics.median(each['tensors'] for each in results):.2f} "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) "
            f"| {results[0]['loss']:.6f} |"
        )
    write_result(
        "reheat-loss",
        "The loss of reheating beside its closed form in plain torch",
        f"{options.tokens} tokens, a vocabulary of {options.vocabulary}, float32, forward and "
        f"backward, live teacher at T = 1.2; {options.rounds} rounds in turns, median.\n\n"
        + "\n".join(rows),
    )


if __name__ == "__main__":
    main()
