// The timeline: flags, waveform, phones and one curve of the performance, which is dragged, smoothed and scaled.

import { attempt, askJson, byId, choices, clamped, emit, fitted, on, set, state } from "./model.js";

const LABEL = 54, RULER = 18, FLAGS = 13, WAVE = 30, PHONES = 17;
const COLOURS = {
  soft: "#cdb04a", flicker: "#d9814a", "low confidence": "#a18bd6", "another person": "#5ea6cf", occluded: "#d06a93",
  "passed through": "#7f868f",
};
const canvas = byId("curves");
let rows = [], original = null, rest = {}, peaks = [], words = [];
let name = "jaw", span = { from: 0, to: 1 }, selection = null;
let undone = [], redone = [], brush = null, pointer = null, sending = Promise.resolve();
let edits = 0; // made so far
state.tool = "drag";

// ---- what is shown

export function load(shot, keepView) {
  rows = shot.performance.curves.slice().sort((a, b) => a.frame - b.frame);
  original = shot.original ? shot.original.slice().sort((a, b) => a.frame - b.frame) : null;
  rest = shot.performance.rest ?? {};
  words = shot.performance.words ?? [];
  if (keepView) { draw(); return; }
  undone = []; redone = []; selection = null; peaks = [];
  span = { from: 0, to: shot.count };
  const names = Object.keys(rows[0] ?? {}).filter((k) => !["frame", "phone", "draw"].includes(k));
  const select = byId("curve");
  select.replaceChildren(...names.map((n) => new Option(shownName(n), n)));
  if (!names.includes(name)) name = names[0];
  select.value = name;
  draw();
  const job = state.job;
  attempt(async () => { // the waveform may come later
    const found = await askJson(`api/jobs/${job}/peaks`);
    if (state.job === job) { peaks = found.peaks; draw(); }
  });
}

function shownName(key) {
  return key === "jaw" ? "Jaw" : key.replace("speech_", "Mouth ");
}

byId("curve").addEventListener("change", (event) => { name = event.target.value; draw(); });
byId("reach").addEventListener("input", () => { byId("reach-out").textContent = byId("reach").value; draw(); });
choices("tools", "tool", "tool");

const xOf = (frame, width) => LABEL + ((frame - span.from) / (span.to - span.from)) * (width - LABEL);
const frameOf = (x) => span.from + ((x - LABEL) / (canvas.clientWidth - LABEL)) * (span.to - span.from);

function lanes(height) {
  let y = 0;
  const lane = (size) => { const made = { top: y, height: size }; y += size; return made; };
  const made = { ruler: lane(RULER), flags: lane(FLAGS), wave: lane(WAVE), phones: lane(PHONES) };
  if (words.length) made.words = lane(PHONES);
  made.curve = { top: y + 6, height: Math.max(20, height - y - 12) };
  return made;
}

function limits() {
  let low = rest[name] ?? 0, high = low;
  for (const row of rows) { low = Math.min(low, row[name]); high = Math.max(high, row[name]); }
  for (const row of original ?? []) { low = Math.min(low, row[name]); high = Math.max(high, row[name]); }
  if (brush?.limits) return brush.limits; // the scale stays while the curve is held
  const room = Math.max((high - low) * 0.18, name === "jaw" ? 0.02 : 0.3);
  return { low: low - room, high: high + room };
}

function yOf(value, lane, range) {
  return lane.top + lane.height * (1 - (value - range.low) / (range.high - range.low));
}

// ---- drawing

export function draw() {
  const { context, width, height } = fitted(canvas);
  context.clearRect(0, 0, width, height);
  if (!state.shot || !rows.length) return;
  const at = lanes(height);
  context.font = "10px system-ui, sans-serif";
  context.textBaseline = "middle";
  drawLabels(context, at);
  context.save();
  context.beginPath();
  context.rect(LABEL, 0, width - LABEL, height);
  context.clip();
  if (selection) {
    context.fillStyle = "#d79a4a22";
    const x = xOf(selection.from, width);
    context.fillRect(x, RULER, xOf(selection.to, width) - x, height - RULER);
  }
  drawRuler(context, at.ruler, width, height);
  drawFlags(context, at.flags, width);
  drawWave(context, at.wave, width);
  drawPhones(context, at.phones, width);
  if (at.words) drawWords(context, at.words, width);
  drawCurve(context, at.curve, width);
  const x = xOf(state.frame + 0.5, width);
  context.fillStyle = "#e9b872";
  context.fillRect(x - 0.5, 0, 1, height);
  context.beginPath();
  context.moveTo(x - 5, 0); context.lineTo(x + 5, 0); context.lineTo(x, 7); context.fill();
  context.restore();
}

function drawLabels(context, at) {
  context.textAlign = "left";
  context.fillStyle = "#6d737b";
  const say = (text, lane) => context.fillText(text, 8, lane.top + lane.height / 2);
  say("Flags", at.flags); say("Sound", at.wave); say("Phones", at.phones);
  if (at.words) say("Words", at.words);
  const range = limits(), digits = name === "jaw" ? 3 : 2;
  for (const value of [range.high, (range.high + range.low) / 2, range.low]) {
    const y = Math.min(at.curve.top + at.curve.height - 5, Math.max(at.curve.top + 5, yOf(value, at.curve, range)));
    context.fillText(value.toFixed(digits), 8, y);
  }
}

function drawRuler(context, lane, width, height) {
  const perFrame = (width - LABEL) / (span.to - span.from);
  const step = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000].find((s) => s * perFrame >= 54) ?? 10000;
  const first = state.shot.first;
  context.textAlign = "left";
  for (let f = Math.ceil((span.from + first) / step) * step; f < span.to + first; f += step) {
    const x = Math.round(xOf(f - first, width));
    context.fillStyle = "#222529";
    context.fillRect(x, lane.height, 1, height);
    context.fillStyle = "#7b8189";
    context.fillRect(x, lane.height - 5, 1, 5);
    context.fillText(String(f), x + 3, lane.height / 2);
  }
  context.fillStyle = "#2d3035";
  context.fillRect(LABEL, lane.height - 0.5, width, 1);
}

function drawFlags(context, lane, width) {
  for (const flag of state.shot.flags) {
    const x = xOf(flag.start - state.shot.first, width), to = xOf(flag.end - state.shot.first, width);
    context.fillStyle = COLOURS[flag.kind] ?? "#888";
    context.fillRect(x, lane.top + 3, Math.max(2, to - x - 1), lane.height - 6);
  }
}

function drawWave(context, lane, width) {
  const per = peaks.length / state.shot.count, middle = lane.top + lane.height / 2;
  context.fillStyle = "#2d3035";
  context.fillRect(LABEL, middle, width, 1);
  context.fillStyle = "#6f8fa8";
  for (let i = Math.max(0, Math.floor(span.from * per)); i < Math.min(peaks.length, span.to * per); i += 1) {
    const x = xOf(i / per, width), wide = xOf((i + 1) / per, width) - x;
    const tall = Math.max(0.5, Math.sqrt(peaks[i]) * (lane.height / 2 - 2));
    context.fillRect(x, middle - tall, Math.max(0.7, wide - 0.5), 2 * tall);
  }
}

function drawPhones(context, lane, width) {
  let start = 0;
  for (let i = 1; i <= rows.length; i += 1) {
    if (i < rows.length && rows[i].phone === rows[start].phone) continue;
    const phone = rows[start].phone ?? "";
    if (phone && phone !== "SIL" && phone !== "sil") box(context, lane, xOf(start, width), xOf(i, width), phone, "#2a3036", "#b9c0c8");
    start = i;
  }
}

function drawWords(context, lane, width) {
  const frames = state.shot.count / (state.shot.times[state.shot.count - 1] || 1);
  for (const word of words) {
    const weak = word.confidence !== undefined && word.confidence < 0.5;
    box(context, lane, xOf(word.start * frames, width), xOf(word.end * frames, width), word.word, "#2c2b33", weak ? "#a18bd6" : "#c9c4d6");
  }
}

function box(context, lane, x, to, text, fill, ink) {
  context.fillStyle = fill;
  context.fillRect(x + 0.5, lane.top + 1, Math.max(1, to - x - 1), lane.height - 2);
  if (context.measureText(text).width < to - x - 2) {
    context.fillStyle = ink;
    context.textAlign = "center";
    context.fillText(text, (x + to) / 2, lane.top + lane.height / 2 + 0.5);
  }
}

function drawCurve(context, lane, width) {
  const range = limits(), { drawn } = state.shot;
  context.fillStyle = "#1e2023";
  for (let i = 0; i < drawn.length; i += 1) { // frames that keep their pixels
    if (!drawn[i]) context.fillRect(xOf(i, width), lane.top, xOf(i + 1, width) - xOf(i, width) + 0.5, lane.height);
  }
  const zero = yOf(rest[name] ?? 0, lane, range);
  context.strokeStyle = "#40454c";
  context.setLineDash([2, 4]);
  context.beginPath(); context.moveTo(LABEL, zero); context.lineTo(width, zero); context.stroke();
  context.setLineDash([]);
  if (original) line(context, original, lane, range, width, "#8d949d", 1.2);
  line(context, rows, lane, range, width, "#e0a85c", 1.6);
  const perFrame = (width - LABEL) / (span.to - span.from);
  if (perFrame > 7) {
    context.fillStyle = "#e0a85c";
    for (let i = Math.max(0, Math.floor(span.from)); i < Math.min(rows.length, Math.ceil(span.to)); i += 1) {
      context.fillRect(xOf(i + 0.5, width) - 1.5, yOf(rows[i][name], lane, range) - 1.5, 3, 3);
    }
  }
  const held = rows[state.frame];
  if (held) {
    context.beginPath();
    context.arc(xOf(state.frame + 0.5, width), yOf(held[name], lane, range), 3.5, 0, 7);
    context.fillStyle = "#fff";
    context.fill();
  }
  if (pointer && !selection && pointer.y > lane.top) { // what the tool will reach
    const reach = Number(byId("reach").value), centre = Math.floor(frameOf(pointer.x));
    context.fillStyle = "#ffffff10";
    const x = xOf(centre - reach, width);
    context.fillRect(x, lane.top, xOf(centre + reach + 1, width) - x, lane.height);
  }
}

function line(context, values, lane, range, width, colour, thickness) {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  context.lineJoin = "round";
  context.beginPath();
  const from = Math.max(0, Math.floor(span.from) - 1), to = Math.min(values.length, Math.ceil(span.to) + 1);
  for (let i = from; i < to; i += 1) {
    const x = xOf(i + 0.5, width), y = yOf(values[i][name], lane, range);
    if (i === from) context.moveTo(x, y); else context.lineTo(x, y);
  }
  context.stroke();
  context.lineWidth = 1;
}

// ---- tools: each changes the frames it reaches, by weights from 0 to 1

function weights(centre) {
  const found = new Map();
  if (selection && centre >= selection.from && centre < selection.to) {
    for (let i = selection.from; i < selection.to; i += 1) {
      const edge = Math.min(i - selection.from + 1, selection.to - i);
      found.set(i, Math.min(1, edge / 3));
    }
    return found;
  }
  const reach = Number(byId("reach").value);
  for (let d = -reach; d <= reach; d += 1) {
    const i = centre + d;
    if (i >= 0 && i < rows.length) found.set(i, 0.5 + 0.5 * Math.cos((Math.PI * d) / (reach + 1)));
  }
  return found;
}

const bound = (value) => (name === "jaw" ? Math.max(-1.5, Math.min(1.5, value)) : Math.max(-100, Math.min(100, value)));

function begin(x, y) {
  const centre = Math.max(0, Math.min(rows.length - 1, Math.floor(frameOf(x))));
  brush = { centre, y, name, before: rows.map((r) => r[name]), limits: limits(), weights: weights(centre) };
  if (state.tool === "smooth") apply(x, y);
}

function apply(x, y) {
  const lane = lanes(canvas.clientHeight).curve, range = brush.limits, still = rest[name] ?? 0;
  if (state.tool === "smooth") {
    const near = selection ? brush.weights : weights(Math.max(0, Math.min(rows.length - 1, Math.floor(frameOf(x)))));
    const old = rows.map((r) => r[name]);
    for (const [i, weight] of near) {
      const mean = (old[Math.max(0, i - 1)] + 2 * old[i] + old[Math.min(old.length - 1, i + 1)]) / 4;
      rows[i][name] = old[i] + (mean - old[i]) * weight;
    }
  } else {
    const up = ((brush.y - y) / lane.height) * (range.high - range.low), gain = Math.exp((brush.y - y) / 80);
    for (const [i, weight] of brush.weights) {
      const was = brush.before[i];
      const now = state.tool === "gain" ? still + (was - still) * gain : was + up;
      rows[i][name] = bound(was + (now - was) * weight);
    }
  }
  draw();
}

function end() {
  const { before } = brush, changed = [];
  rows.forEach((row, i) => { if (row[name] !== before[i]) changed.push(i); });
  brush = null;
  draw();
  if (!changed.length) return;
  const first = changed[0], last = changed[changed.length - 1] + 1;
  const edit = { name, first, before: before.slice(first, last), after: rows.slice(first, last).map((r) => r[name]) };
  undone.push(edit);
  redone = [];
  send(edit.name, edit.first, edit.after);
}

// Asks for a shot until no edit was made meanwhile: an answer from before it would take it off the screen.
export async function unedited(ask) {
  for (;;) {
    await sending;
    while (brush) await new Promise((resolve) => setTimeout(resolve, 50)); // a drag is under way
    const before = edits, answer = await ask();
    if (edits === before && !brush) return answer;
  }
}

function send(curve, first, values) {
  const { job } = state;
  edits += 1;
  byId("edit-state").textContent = `${values.length} frames …`;
  buttons();
  sending = sending.then(() => attempt(async () => {
    const body = { edits: [{ name: curve, first: state.shot.first + first, values }] };
    const done = await askJson(`api/jobs/${job}/performance`, body);
    if (state.job !== job) return;
    emit("edited", { version: done.version, frames: values.length });
  }));
  return sending;
}

function put(curve, first, values) {
  values.forEach((value, i) => { rows[first + i][curve] = value; });
  draw();
  send(curve, first, values);
}

export function undo() {
  const edit = undone.pop();
  if (!edit) return;
  redone.push(edit);
  put(edit.name, edit.first, edit.before);
}

export function redo() {
  const edit = redone.pop();
  if (!edit) return;
  undone.push(edit);
  put(edit.name, edit.first, edit.after);
}

export async function reset() {
  const job = state.job;
  await attempt(async () => {
    await sending;
    await askJson(`api/jobs/${job}/performance`, { reset: true });
    edits += 1;
    undone = []; redone = [];
    emit("reload");
  });
}

export function buttons() {
  const free = state.shot && !["queued", "running"].includes(state.shot.job.state);
  const said = byId("edit-state"), wait = "curves can be edited once the job has ended";
  if (state.shot && !free) said.textContent = wait;
  else if (said.textContent === wait) said.textContent = "";
  byId("undo").disabled = !undone.length || !free;
  byId("redo").disabled = !redone.length || !free;
  byId("reset").disabled = !free || !state.shot?.original;
  byId("render").disabled = !free || !state.shot?.stale;
}

export const editable = () => state.shot && !["queued", "running"].includes(state.shot.job.state);

// ---- pointer

let grabbed = null;

canvas.addEventListener("pointerdown", (event) => {
  if (!state.shot || event.offsetX < LABEL) return;
  canvas.setPointerCapture(event.pointerId);
  const at = lanes(canvas.clientHeight), { offsetX: x, offsetY: y } = event;
  if (event.shiftKey) {
    grabbed = "select";
    selection = null;
    canvas.anchor = Math.floor(frameOf(x));
  } else if (y >= at.curve.top - 4 && editable()) {
    grabbed = "curve";
    begin(x, y);
  } else {
    grabbed = "scrub";
    const flag = state.shot.flags.find((f) => y >= at.flags.top && y < at.flags.top + at.flags.height
      && frameOf(x) >= f.start - state.shot.first && frameOf(x) < f.end - state.shot.first);
    emit("scrub", flag ? flag.worst - state.shot.first : clamped(frameOf(x) - 0.5));
  }
  draw();
});
canvas.addEventListener("pointermove", (event) => {
  const { offsetX: x, offsetY: y } = event;
  pointer = { x, y };
  if (grabbed === "select") {
    const here = Math.floor(frameOf(x)), from = Math.min(canvas.anchor, here), to = Math.max(canvas.anchor, here) + 1;
    selection = { from: Math.max(0, from), to: Math.min(state.shot.count, to) };
  } else if (grabbed === "curve") {
    apply(x, y);
  } else if (grabbed === "scrub") {
    emit("scrub", clamped(frameOf(x) - 0.5));
  }
  if (state.shot) {
    const at = lanes(canvas.clientHeight);
    canvas.style.cursor = y >= at.curve.top - 4 ? (state.tool === "smooth" ? "crosshair" : "ns-resize") : "default";
  }
  draw();
});
canvas.addEventListener("pointerleave", () => { pointer = null; draw(); });
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, () => {
    if (grabbed === "curve") end();
    if (grabbed === "select" && selection && selection.to - selection.from < 2) selection = null;
    grabbed = null;
    draw();
  });
}
canvas.addEventListener("wheel", (event) => {
  if (!state.shot) return;
  event.preventDefault();
  const size = span.to - span.from, sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    show(span.from + (sideways / 600) * size, size);
  } else {
    const at = frameOf(event.offsetX), next = Math.max(8, Math.min(state.shot.count, size * Math.exp(event.deltaY / 400)));
    show(at - ((at - span.from) / size) * next, next);
  }
}, { passive: false });

function show(from, size) {
  const start = Math.max(0, Math.min(state.shot.count - size, from));
  span = { from: start, to: start + size };
  draw();
}

on("frame", (frame) => { // the playhead stays in sight
  const size = span.to - span.from;
  if (frame < span.from || frame >= span.to) show(frame - (frame < span.from ? size * 0.8 : size * 0.2), size);
  draw();
});
on("tool", draw);
new ResizeObserver(draw).observe(canvas);

// for tests and consoles: where a frame and a value lie on the canvas
canvas.placeOf = (frame) => {
  const lane = lanes(canvas.clientHeight).curve;
  return { x: xOf(frame - state.shot.first + 0.5, canvas.clientWidth), y: yOf(rows[frame - state.shot.first][name], lane, limits()) };
};
canvas.valueOf = (frame) => rows[frame - state.shot.first][name];
