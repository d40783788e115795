// ---- the strip over time: score and deliveries, running operators, planning time

const ROWS = { score: [4, 40], seats: [[64, 20], [96, 20]], plan: [146, 92] };
const STRIP = 262, GUTTER = 62, EDGE = 14;
const plans = data.seats.flatMap((seat) => (seat.columns ? seat.columns.plan : [])).filter((ns) => ns > 0);
const slowest = Math.max(data.deadline || 0, ...plans, 1e4) * 1.3;
const fastest = Math.min(1e4, ...plans) / 1.3;
const planned = (ns) => ROWS.plan[0] + ROWS.plan[1] * (1 - Math.log(ns / fastest) / Math.log(slowest / fastest));
let still = null; // everything but the playhead, drawn once

function placed(t, cssWidth) {
  return GUTTER + ((cssWidth - GUTTER - EDGE) * t) / Math.max(1, last);
}

function drawScore(pen, cssWidth) {
  const [above, size] = ROWS.score;
  const y = (score) => above + size * (1 - score / topScore);
  pen.beginPath();
  pen.moveTo(placed(0, cssWidth), y(0));
  for (let t = 1; t <= last; t++) {
    pen.lineTo(placed(t, cssWidth), y(scores[t - 1]));
    pen.lineTo(placed(t, cssWidth), y(scores[t]));
  }
  pen.lineWidth = 1.5;
  pen.strokeStyle = colors.ink;
  pen.stroke();
  for (const [t, seat, value] of data.deliveries) disc(pen, placed(t, cssWidth), y(scores[t] + value), 3.5, colors.seats[seat], colors.sheet, 1);
  caption(pen, `score ${total}`, above + size / 2);
}

function caption(pen, text, y, color) {
  pen.fillStyle = color || colors.muted;
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  pen.fillText(text, 0, y);
}

function drawOperators(pen, cssWidth, seat) {
  const [above, size] = ROWS.seats[seat];
  caption(pen, "seat " + seat, above + size / 2, colors.seats[seat]);
  if (!data.seats[seat].columns) {
    pen.fillStyle = colors.muted;
    pen.fillText(data.seats[seat].why, GUTTER, above + size / 2);
    return;
  }
  for (let t = 0; t < decisions; ) {
    const name = (traceOf(seat, t) || { operator: "" }).operator;
    let end = t + 1;
    while (end < decisions && (traceOf(seat, end) || { operator: "" }).operator === name) end++;
    const left = placed(t, cssWidth), right = placed(end, cssWidth);
    pen.fillStyle = name ? operatorColor(name) : colors.rule;
    pen.fillRect(left, above, Math.max(0.7, right - left - (right - left > 3 ? 0.7 : 0)), size);
    t = end;
  }
  for (let t = 0; t < decisions; t++) {
    const trace = traceOf(seat, t);
    if (!trace || !((trace.event && trace.event !== "done") || trace.fallback)) continue;
    pen.fillStyle = trace.fallback ? colors.bad : colors.ink;
    pen.fillRect(placed(t, cssWidth) - 0.6, above + size + 1, 1.4, 5);
  }
}

function drawPlans(pen, cssWidth) {
  const [above, size] = ROWS.plan;
  caption(pen, "planning", above - 16);
  pen.lineWidth = 1;
  for (let ns = 1e2; ns < slowest; ns *= 10) {
    if (ns < fastest) continue;
    pen.strokeStyle = colors.rule;
    line(pen, cssWidth, planned(ns));
    caption(pen, ns >= 1e9 ? ns / 1e9 + " s" : ns >= 1e6 ? ns / 1e6 + " ms" : ns >= 1e3 ? ns / 1e3 + " µs" : ns + " ns", planned(ns));
  }
  if (data.deadline) {
    pen.strokeStyle = colors.bad;
    pen.setLineDash([5, 3]);
    line(pen, cssWidth, planned(data.deadline));
    pen.setLineDash([]);
    pen.fillStyle = colors.bad;
    pen.textAlign = "right";
    pen.fillText(`deadline ${data.deadline / 1e6} ms`, cssWidth - EDGE, planned(data.deadline) - 8);
  }
  data.seats.forEach((seat, number) => {
    if (!seat.columns) return;
    for (let t = 0; t < decisions; t++) {
      if (seat.columns.plan[t] <= 0) continue;
      const missed = seat.columns.missed.includes(t);
      disc(pen, placed(t + 0.5, cssWidth), planned(seat.columns.plan[t]), missed ? 3 : 1.6, missed ? colors.bad : colors.seats[number]);
    }
  });
  pen.fillStyle = colors.muted;
  pen.textAlign = "center";
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((n) => last / n <= cssWidth / 80) || last;
  for (let t = 0; t <= last; t += every) pen.fillText(String(t), placed(t, cssWidth), above + size + 14);
}

function line(pen, cssWidth, y) {
  pen.beginPath();
  pen.moveTo(GUTTER, y);
  pen.lineTo(cssWidth - EDGE, y);
  pen.stroke();
}

function drawStrip() {
  const canvas = byId("strip");
  const [pen, cssWidth] = fitted(canvas, STRIP);
  drawScore(pen, cssWidth);
  for (const seat of [0, 1]) drawOperators(pen, cssWidth, seat);
  drawPlans(pen, cssWidth);
  still = document.createElement("canvas");
  still.width = canvas.width;
  still.height = canvas.height;
  still.getContext("2d").drawImage(canvas, 0, 0);
  drawHead();
}

function drawHead() {
  const canvas = byId("strip"), pen = canvas.getContext("2d");
  pen.save();
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(still, 0, 0);
  pen.restore();
  const x = placed(tick, canvas.clientWidth);
  pen.fillStyle = colors.accent;
  pen.fillRect(x - 0.75, 0, 1.5, ROWS.plan[0] + ROWS.plan[1]);
}

function drawLegend() {
  const box = byId("legend");
  box.replaceChildren();
  for (const name of operators) {
    const entry = node("span"), mark = node("i");
    mark.style.background = operatorColor(name);
    entry.append(mark, name);
    box.append(entry);
  }
  if (operators.length) box.append(node("span", "Marks below the rows: interrupt, timeout, failure; red: fallback. Dots: deliveries above, planning time below; red: past the deadline."));
}

// ---- moving

let tick = 0, playing = false, speed = 8, then = 0, part = 0;

function draw(fraction) {
  drawKitchen(fraction || 0);
  if (still) drawHead();
}

function go(to, quiet) {
  tick = Math.max(0, Math.min(last, Math.round(to) || 0));
  part = 0;
  showWords();
  draw();
  if (quiet) return;
  // A page opened from disk may not be allowed to change its address.
  try { history.replaceState(null, "", "#t=" + tick); } catch (_) { /* moves all the same */ }
}

function play(on) {
  playing = on && last > 0;
  byId("play").textContent = playing ? "pause" : "play";
  if (!playing) return go(tick);
  if (tick >= last) go(0, true);
  then = 0;
  requestAnimationFrame(roll);
}

function roll(time) {
  if (!playing) return;
  part += then ? (Math.min(250, time - then) / 1000) * speed : 0;
  then = time;
  if (part >= 1) {
    tick = Math.min(last, tick + Math.floor(part));
    part %= 1;
    showWords();
  }
  if (tick >= last) return play(false);
  draw(speed <= 16 ? part : 0);
  requestAnimationFrame(roll);
}

function jump(way) {
  const found = way > 0 ? moments.find((t) => t > tick) : moments.filter((t) => t < tick).pop();
  if (found !== undefined) go(found);
}

function faster(way) {
  const at = Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(speed) + way));
  speed = SPEEDS[at];
  byId("speed").value = String(speed);
}

function fromAddress() {
  const found = /(?:^#t=|@|%40)(\d+)$/.exec(location.hash);
  if (found) { playing = false; byId("play").textContent = "play"; go(Number(found[1]), true); }
}

const KEYS = {
  " ": () => play(!playing), Home: () => go(0), End: () => go(last), n: () => jump(1), p: () => jump(-1),
  "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1), "−": () => faster(-1),
  ArrowLeft: (event) => go(tick - (event.shiftKey ? 10 : 1)), ArrowRight: (event) => go(tick + (event.shiftKey ? 10 : 1)),
};
addEventListener("keydown", (event) => {
  const inside = (what) => event.target.closest && event.target.closest(what);
  // A focused button keeps its space bar; the slider moves with the same arrows as the page.
  if (inside("select, summary, a") || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  if (event.key === " " && inside("button")) return;
  event.preventDefault();
  KEYS[event.key](event);
});

function begin() {
  for (const [id, act] of Object.entries({
    first: () => go(0), back: () => go(tick - 1), play: () => play(!playing), step: () => go(tick + 1),
    last: () => go(last), before: () => jump(-1), after: () => jump(1),
  })) byId(id).addEventListener("click", act);
  for (const each of SPEEDS) {
    const option = node("option", `${each} ticks/s`);
    option.value = String(each);
    byId("speed").append(option);
  }
  byId("speed").value = String(speed);
  byId("speed").addEventListener("change", (event) => { speed = Number(event.target.value); });
  byId("slider").max = last;
  byId("slider").addEventListener("input", (event) => go(Number(event.target.value), true));
  byId("slider").addEventListener("change", (event) => go(Number(event.target.value)));
  const strip = byId("strip");
  const point = (event) => {
    const box = strip.getBoundingClientRect();
    go(((event.clientX - box.left - GUTTER) / (box.width - GUTTER - EDGE)) * last, event.type === "pointermove");
  };
  strip.addEventListener("pointerdown", point);
  strip.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
  const paint = () => { readColors(); drawLegend(); still = null; draw(); drawStrip(); };
  addEventListener("resize", paint);
  dark.addEventListener("change", paint);
  addEventListener("hashchange", fromAddress);
  readColors();
  drawLegend();
  go(0, true);
  fromAddress();
  paint();
}
begin();
