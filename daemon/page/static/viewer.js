// The picture: plate and dub of one frame, compared in four ways.

import { ask, byId, clamped, emit, fitted, on, set, state } from "./model.js";

const KEPT = 200, AT_ONCE = 3, AHEAD = 10, AGAIN_MS = 3000;
const canvas = byId("picture");
let pictures = new Map(); // address -> {bitmap} or {error}
let waiting = []; // addresses, the most wanted last
let loading = new Set();
let shown = null; // the bitmap that is on the screen, while the right one is on its way
let stats = { asked: 0, loaded: 0 };

export function address(frame) {
  const { shot } = state;
  return `api/jobs/${state.job}/frames/${shot.first + frame}?view=${state.view}&v=${shot.version}`;
}

// ---- loading

export function forget() {
  for (const picture of pictures.values()) picture.bitmap?.close();
  pictures = new Map();
  waiting = [];
  shown = null;
}

function want(frame) {
  const key = address(frame);
  if (pictures.has(key) || loading.has(key)) return;
  waiting = waiting.filter((k) => k !== key);
  waiting.push(key);
  if (waiting.length > AHEAD + 2) waiting.shift();
  pump();
}

function pump() {
  while (loading.size < AT_ONCE && waiting.length) load(waiting.pop());
}

async function load(key) {
  loading.add(key);
  stats.asked += 1;
  try {
    const response = await ask(key);
    pictures.set(key, { bitmap: await createImageBitmap(await response.blob()) });
    stats.loaded += 1;
  } catch (error) {
    pictures.set(key, { error: error.message });
    setTimeout(() => again(key, error.passing), AGAIN_MS);
  }
  loading.delete(key);
  while (pictures.size > KEPT) {
    const oldest = pictures.keys().next().value;
    if (pictures.get(oldest).bitmap !== shown) pictures.get(oldest).bitmap?.close();
    pictures.delete(oldest);
  }
  if (state.shot && key === address(state.frame)) draw();
  pump();
}

function again(key, passing) { // a picture that did not come is asked for again, at once where it may come now
  if (!pictures.get(key)?.error) return;
  pictures.delete(key);
  if (passing && state.shot && key === address(state.frame)) draw();
}

// ---- drawing

export function draw() {
  const { context, width, height } = fitted(canvas);
  context.clearRect(0, 0, width, height);
  canvas.classList.toggle("wipe", state.mode === "wipe");
  const message = byId("message");
  if (!state.shot) { byId("busy").hidden = true; return; }
  const key = address(state.frame), picture = pictures.get(key);
  if (!picture) want(state.frame);
  if (picture?.bitmap) {
    pictures.delete(key); // used last, evicted last
    pictures.set(key, picture);
    shown = picture.bitmap;
    canvas.dataset.shown = String(state.shot.first + state.frame);
    canvas.dataset.version = state.shot.version;
  }
  byId("busy").hidden = Boolean(picture);
  message.textContent = picture?.error ?? (shown ? "" : "Rendering the frame …");
  if (shown && !picture?.error) {
    context.imageSmoothingEnabled = !state.pixels;
    context.imageSmoothingQuality = "high";
    compare(context, width, height);
    emit("drawn", state.frame);
  }
  for (let i = state.playing ? AHEAD : 2; i > 0; i -= 1) {
    if (state.frame + i < state.shot.count) want(state.frame + i);
  }
  if (!picture) want(state.frame);
}

let area = { x: 0, width: 1 };

function compare(context, width, height) {
  const w = shown.width / 2, h = shown.height, aspect = (w * state.shot.pixel_aspect) / h;
  const halves = state.mode === "pair" ? 2 : 1, gap = 8, pad = 10;
  const room = (width - 2 * pad - gap * (halves - 1)) / halves;
  let wide = Math.min(room, (height - 2 * pad) * aspect);
  if (state.pixels) wide = Math.max(w, Math.floor(wide / w) * w) || wide;
  const tall = wide / aspect;
  const left = (width - wide * halves - gap * (halves - 1)) / 2, top = (height - tall) / 2;
  const half = (which, x, from = 0, to = 1) => {
    if (to <= from) return;
    context.drawImage(shown, (which + from) * w, 0, (to - from) * w, h, x + from * wide, top, (to - from) * wide, tall);
  };
  const label = (text, x, align) => {
    context.font = "11px system-ui, sans-serif";
    context.textAlign = align;
    context.textBaseline = "top";
    const inner = context.measureText(text).width + 10, at = align === "right" ? x - inner - 6 : x + 6;
    context.fillStyle = "#101010b0";
    context.fillRect(at, top + 6, inner, 17);
    context.fillStyle = "#d0d3d7";
    context.textAlign = "left";
    context.fillText(text, at + 5, top + 8.5);
  };
  area = { x: left, width: wide };
  if (state.mode === "pair") {
    half(0, left);
    half(1, left + wide + gap);
    label("Plate", left, "left");
    label("Dub", left + wide + gap, "left");
  } else if (state.mode === "wipe") {
    half(0, left, 0, state.wipe);
    half(1, left, state.wipe, 1);
    const x = left + state.wipe * wide;
    context.fillStyle = "#000000a0";
    context.fillRect(x - 1.5, top, 3, tall);
    context.fillStyle = "#e6e6e6";
    context.fillRect(x - 0.5, top, 1, tall);
    context.beginPath();
    context.arc(x, top + tall / 2, 7, 0, 2 * Math.PI);
    context.fillStyle = "#101010c0";
    context.fill();
    context.strokeStyle = "#e6e6e6";
    context.stroke();
    if (state.wipe > 0.12) label("Plate", left, "left");
    if (state.wipe < 0.88) label("Dub", left + wide, "right");
  } else {
    half(state.mode === "dub" ? 1 : 0, left);
    label(state.mode === "dub" ? "Dub" : "Plate", left, "left");
  }
}

// ---- dragging: the wipe's line, or through the frames

let grabbed = null;

canvas.addEventListener("pointerdown", (event) => {
  if (!state.shot) return;
  canvas.setPointerCapture(event.pointerId);
  grabbed = { x: event.offsetX, frame: state.frame, wipe: state.mode === "wipe" };
  move(event);
});
canvas.addEventListener("pointermove", (event) => { if (grabbed) move(event); });
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { grabbed = null; });

function move(event) {
  if (grabbed.wipe) {
    set({ wipe: Math.max(0, Math.min(1, (event.offsetX - area.x) / area.width)) });
  } else {
    emit("scrub", clamped(grabbed.frame + (event.offsetX - grabbed.x) / 8));
  }
}

for (const name of ["shot", "frame", "mode", "view", "wipe", "pixels"]) on(name, draw);
new ResizeObserver(draw).observe(canvas);
canvas.stats = stats;
