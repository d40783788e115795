"use strict";
// Collects the answers of the page; a pair is saved once all of its questions are answered.
const { bench, sample, seed } = document.body.dataset;
const pairs = [...document.querySelectorAll(".pair")];
const rater = document.getElementById("rater");
const memory = `planish-ratings-${bench}-${sample}-${seed}`;
let current = 0;

const answersOf = (pair) =>
  Object.fromEntries(
    [...pair.querySelectorAll("input:checked")].map((box) => [box.dataset.question, box.value]),
  );

const isRated = (pair) =>
  Object.keys(answersOf(pair)).length === pair.querySelectorAll("fieldset").length;

function remember() {
  const answers = Object.fromEntries(pairs.map((pair) => [pair.dataset.pair, answersOf(pair)]));
  try {
    localStorage.setItem(memory, JSON.stringify({ rater: rater.value, answers }));
  } catch {
    // A browser that keeps nothing for files: what is answered is saved at the end all the same.
  }
}

function recall() {
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem(memory));
  } catch {
    return;
  }
  if (!kept) return;
  rater.value = kept.rater ?? "";
  for (const pair of pairs) {
    const answers = kept.answers?.[pair.dataset.pair] ?? {};
    for (const box of pair.querySelectorAll("input")) {
      box.checked = answers[box.dataset.question] === box.value;
    }
  }
}

function show() {
  pairs.forEach((pair, place) => {
    pair.classList.toggle("current", place === current);
    pair.classList.toggle("rated", isRated(pair));
  });
  document.getElementById("done").textContent =
    `${pairs.filter(isRated).length} of ${pairs.length} rated`;
}

function go(place) {
  current = Math.max(0, Math.min(pairs.length - 1, place));
  pairs[current]?.scrollIntoView({ block: "start" });
  show();
}

function save() {
  const name = rater.value.trim();
  if (!name) {
    rater.focus();
    document.getElementById("done").textContent = "write your name first";
    return;
  }
  const rows = pairs.filter(isRated).map((pair) =>
    JSON.stringify({
      pair_id: pair.dataset.pair, rater: name, ...answersOf(pair),
      sample: Number(sample), seed: Number(seed), bench,
    }),
  );
  const link = document.createElement("a");
  link.href = URL.createObjectURL(
    new Blob(rows.map((row) => `${row}\n`), { type: "application/jsonl" }),
  );
  link.download = `ratings-${name.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);  // some browsers read it later
}

// Keys answer for the pair that is looked at, not for one that has left the window.
document.addEventListener("scroll", () => {
  const seen = pairs.findIndex((pair) => pair.getBoundingClientRect().bottom > innerHeight / 4);
  if (seen >= 0 && seen !== current) {
    current = seen;
    show();
  }
}, { passive: true });
document.addEventListener("change", (event) => {
  const pair = event.target.closest(".pair");
  if (pair) current = pairs.indexOf(pair);
  remember();
  show();
});
document.addEventListener("keydown", (event) => {
  if (event.target === rater || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") go(current + 1);
  else if (event.key === "p") go(current - 1);
  else if (/^[1-6]$/.test(event.key)) {
    const box = pairs[current]?.querySelectorAll("input")[Number(event.key) - 1];
    if (!box) return;
    box.checked = true;
    remember();
    show();
  } else return;
  event.preventDefault();
});
document.getElementById("save").addEventListener("click", save);
recall();
show();
