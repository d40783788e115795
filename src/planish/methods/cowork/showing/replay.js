"use strict";
// One episode, moved through tick by tick. Text goes in as textContent only.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const { width, height, terrain } = data.layout;
const tiles = width * height;
const ON = 6, ONIONS = 6 + tiles, COOKED = 6 + 2 * tiles;
const MOVES = [[0, -1], [0, 1], [1, 0], [-1, 0]];
const WAYS = ["north", "south", "east", "west"];
const SPEEDS = [1, 2, 4, 8, 16, 32, 64];

// Frames are kept as what changed since the tick before.
const frames = [data.start];
for (const changes of data.deltas) {
  const next = frames[frames.length - 1].slice();
  for (let i = 0; i < changes.length; i += 2) next[changes[i]] = changes[i + 1];
  frames.push(next);
}
const last = frames.length - 1;
const decisions = data.actions[0].length;
const word = (index) => (index < 0 ? "" : data.strings[index]);
const list = (index) => (index < 0 ? [] : data.lists[index].map(word));
const scores = [];
let total = 0;
for (let t = 0, d = 0; t <= last; t++) {
  scores.push(total);
  for (; d < data.deliveries.length && data.deliveries[d][0] === t; d++) total += data.deliveries[d][2];
}
const topScore = Math.max(total, 1);

function traceOf(seat, t) {
  const columns = data.seats[seat].columns;
  if (!columns || t >= decisions || columns.stack[t] < 0) return null;
  return {
    stack: list(columns.stack[t]), operator: word(columns.operator[t]),
    rejected: list(columns.rejected[t]), event: word(columns.event[t]),
    fallback: word(columns.fallback[t]), plan: columns.plan[t], missed: columns.missed.includes(t),
  };
}

// ---- moments that one wants to jump to

const moments = [];
const oddities = [];
for (let t = 0; t <= last; t++) {
  const odd = [0, 1].map((seat) => {
    const trace = traceOf(seat, t);
    return trace ? [trace.event === "done" ? "" : trace.event, trace.fallback, trace.missed || ""].join(" ").trim() : "";
  });
  oddities.push(odd);
  // Of a fallback that lasts, only the first tick is news.
  const news = odd.some((kind, seat) => kind && (t === 0 || oddities[t - 1][seat] !== kind));
  if (news || data.deliveries.some((one) => one[0] === t)) moments.push(t);
}

// ---- colours

let colors = {};
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "muted", "rule", "accent", "sheet", "wash", "floor", "grid", "counter", "counter-edge",
    "onion", "onion-edge", "dish", "dish-edge", "soup", "pot", "pot-edge", "window", "ready", "bad", "on-seat"];
  colors = { series: [] };
  for (const name of names) colors[name] = style.getPropertyValue("--" + name).trim();
  for (let n = 1; n <= 6; n++) colors.series.push(style.getPropertyValue("--series-" + n).trim());
  colors.seats = colors.series.slice(0, 2);
  colors.font = getComputedStyle(document.body).fontFamily;
}
const dark = matchMedia("(prefers-color-scheme: dark)");
const operators = data.operators;
function operatorColor(name) {
  const index = operators.indexOf(name);
  // Golden angle: neighbours in the legend stay far apart, however many there are.
  return `hsl(${(205 + index * 137.5) % 360} 55% ${dark.matches ? 62 : 46}%)`;
}

function fitted(canvas, cssHeight) {
  const ratio = window.devicePixelRatio || 1;
  const cssWidth = canvas.clientWidth;
  canvas.style.height = cssHeight + "px";
  canvas.width = Math.round(cssWidth * ratio);
  canvas.height = Math.round(cssHeight * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "12px " + colors.font;
  return [pen, cssWidth];
}

// ---- the kitchen

function disc(pen, x, y, radius, fill, edge, line) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = fill;
  pen.fill();
  if (edge) {
    pen.lineWidth = line || 1.5;
    pen.strokeStyle = edge;
    pen.stroke();
  }
}

function drawThing(pen, thing, x, y, size) {
  if (thing === 1) {
    disc(pen, x, y + size * 0.05, size * 0.34, colors.onion, colors["onion-edge"]);
    pen.beginPath();
    pen.moveTo(x, y - size * 0.28);
    pen.lineTo(x - size * 0.1, y - size * 0.5);
    pen.moveTo(x, y - size * 0.28);
    pen.lineTo(x + size * 0.1, y - size * 0.5);
    pen.stroke();
  } else if (thing >= 2) {
    disc(pen, x, y, size * 0.44, colors.dish, colors["dish-edge"]);
    disc(pen, x, y, size * 0.28, thing === 2 ? colors.dish : colors.soup, colors["dish-edge"], 1);
  }
}

function drawPot(pen, frame, tile, x, y, size) {
  const onions = frame[ONIONS + tile], cooked = frame[COOKED + tile], needed = data.cook[onions];
  const ready = onions > 0 && cooked >= needed && cooked >= 0;
  disc(pen, x, y, size * 0.34, ready ? colors.soup : colors.pot, colors["pot-edge"], 2);
  for (let n = 0; n < onions && !ready; n++) {
    const angle = (n / 3) * 2 * Math.PI - Math.PI / 2;
    disc(pen, x + Math.cos(angle) * size * 0.15, y + Math.sin(angle) * size * 0.15, size * 0.1, colors.onion);
  }
  if (cooked < 0 || !onions) return;
  pen.beginPath();
  pen.lineWidth = size * 0.08;
  pen.strokeStyle = ready ? colors.ready : colors.onion;
  pen.arc(x, y, size * 0.43, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * (needed ? Math.min(1, cooked / needed) : 1));
  pen.stroke();
  if (ready) return;
  disc(pen, x, y, size * 0.17, colors.pot);
  label(pen, String(needed - cooked), x, y, size * 0.26, "#fff");
}

function label(pen, text, x, y, size, color) {
  pen.save();
  pen.font = `650 ${size}px ${colors.font}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillStyle = color;
  pen.fillText(text, x, y + size * 0.06);
  pen.restore();
}

function drawTile(pen, frame, tile, size) {
  const symbol = terrain[tile];
  const left = (tile % width) * size, above = Math.floor(tile / width) * size;
  const x = left + size / 2, y = above + size / 2;
  pen.fillStyle = symbol === " " ? colors.floor : symbol === "S" ? colors.window : colors.counter;
  pen.fillRect(left, above, size, size);
  pen.lineWidth = 1;
  pen.strokeStyle = symbol === " " ? colors.grid : colors["counter-edge"];
  pen.strokeRect(left + 0.5, above + 0.5, size - 1, size - 1);
  if (symbol === "O") for (const [dx, dy] of [[-0.18, 0.12], [0.18, 0.12], [0, -0.14]]) drawThing(pen, 1, x + dx * size, y + dy * size, size * 0.42);
  if (symbol === "D") for (const dy of [0.12, 0, -0.12]) drawThing(pen, 2, x, y + dy * size, size * 0.6);
  if (symbol === "S") label(pen, "serve", x, y, size * 0.26, colors.ink);
  if (symbol === "P") drawPot(pen, frame, tile, x, y, size);
  if (frame[ON + tile]) drawThing(pen, frame[ON + tile], x, y, size * 0.62);
}

function drawCook(pen, frame, next, seat, part, size) {
  const from = frame[seat], to = next[seat];
  const x = ((from % width) * (1 - part) + (to % width) * part + 0.5) * size;
  const y = (Math.floor(from / width) * (1 - part) + Math.floor(to / width) * part + 0.5) * size;
  const [dx, dy] = MOVES[frame[2 + seat]];
  pen.beginPath();
  pen.moveTo(x + dx * size * 0.46, y + dy * size * 0.46);
  pen.lineTo(x + (dx * 0.2 - dy * 0.27) * size, y + (dy * 0.2 + dx * 0.27) * size);
  pen.lineTo(x + (dx * 0.2 + dy * 0.27) * size, y + (dy * 0.2 - dx * 0.27) * size);
  pen.closePath();
  pen.fillStyle = colors.seats[seat];
  pen.fill();
  disc(pen, x, y, size * 0.31, colors.seats[seat], colors.sheet, 1.5);
  const thing = frame[4 + seat], back = thing ? 0.12 : 0;
  label(pen, String(seat), x - dx * size * back, y - dy * size * back, size * (thing ? 0.28 : 0.34), colors["on-seat"]);
  if (thing) drawThing(pen, thing, x + dx * size * 0.27, y + dy * size * 0.27, size * 0.42);
}

function drawKitchen(part) {
  const canvas = byId("kitchen");
  const size = Math.max(12, Math.min(96, (canvas.parentElement.clientWidth - 28) / width));
  canvas.style.width = size * width + "px";
  canvas.style.margin = "0 auto";
  const [pen] = fitted(canvas, size * height);
  const frame = frames[tick], next = frames[Math.min(last, tick + 1)];
  for (let tile = 0; tile < tiles; tile++) drawTile(pen, frame, tile, size);
  for (const seat of [0, 1]) drawCook(pen, frame, next, seat, part, size);
}

// ---- words

function node(tag, text, kind) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const holding = (frame, seat) => ["empty hands", "holds an onion", "holds a dish", "holds a soup"][Math.min(3, frame[4 + seat])];
const actionOf = (seat, t) => (t < decisions ? data.names[Number(data.actions[seat][t])] : "");

function showSeat(seat) {
  const box = byId("seat-" + seat), frame = frames[tick];
  const trace = traceOf(seat, tick), action = actionOf(seat, tick);
  const does = box.querySelector(".does");
  does.replaceChildren(node("b", action || "the end"), ` · ${holding(frame, seat)}, faces ${WAYS[frame[2 + seat]]}`);
  const stack = box.querySelector(".stack"), guards = box.querySelector(".guards");
  if (!stack) return;
  stack.replaceChildren();
  guards.replaceChildren();
  if (!trace) {
    if (tick < decisions) stack.append(node("li", "no decision in this tick", "none"));
    return;
  }
  if (trace.event) does.append(node("span", trace.event, trace.event === "done" ? "chip" : "chip bad"));
  if (trace.fallback) does.append(node("span", "fallback: " + trace.fallback, "chip bad"));
  if (trace.plan) does.append(node("span", spoken(trace.plan), trace.missed ? "chip bad" : "chip"));
  trace.stack.forEach((entry, depth) => {
    const [method, subtask] = [entry.split(":")[0], entry.split(":").slice(1).join(":")];
    const row = node("li", method);
    row.style.marginLeft = depth * 0.9 + "rem";
    row.append(" ", node("small", `→ ${subtask}` + (data.methods[method] ? ` · ${data.methods[method]}` : "")));
    stack.append(row);
  });
  if (trace.operator) {
    const row = node("li", trace.operator);
    row.style.marginLeft = trace.stack.length * 0.9 + "rem";
    if (data.described[trace.operator]) row.append(" ", node("small", data.described[trace.operator]));
    stack.append(row);
  } else stack.append(node("li", trace.fallback ? "no method applied" : "nothing is running", "none"));
  for (const guard of trace.rejected) {
    const [method, condition] = [guard.split(": ")[0], guard.split(": ").slice(1).join(": ")];
    const row = node("li", method);
    row.append(" ", node("small", `needs ${condition}`.replace("needs cooling", "is cooling after a failure")));
    guards.append(row);
  }
  if (!trace.rejected.length) guards.append(node("li", trace.stack.length ? "none: it went on with what it was at, or the first method was taken" : "none", "none"));
}

const spoken = (ns) => (ns >= 1e6 ? (ns / 1e6).toFixed(1) + " ms" : ns >= 1e3 ? (ns / 1e3).toFixed(0) + " µs" : ns + " ns");

function showWords() {
  byId("tick").textContent = `${tick} of ${last}`;
  byId("score").textContent = scores[tick];
  const here = data.deliveries.filter((one) => one[0] === tick);
  byId("delivery").textContent = here.map((one) => `seat ${one[1]} delivers, +${one[2]}`).join("; ");
  byId("slider").value = tick;
  byId("slider").setAttribute("aria-valuetext", "tick " + tick);
  for (const seat of [0, 1]) showSeat(seat);
  if (!playing) byId("said").textContent = `Tick ${tick}, score ${scores[tick]}. ` + [0, 1].map((seat) => {
    const cell = frames[tick][seat];
    return `Seat ${seat} at column ${cell % width}, row ${Math.floor(cell / width)}, faces ${WAYS[frames[tick][2 + seat]]}, ${holding(frames[tick], seat)}, action ${actionOf(seat, tick) || "none"}.`;
  }).join(" ");
}
