// The shot's sound, fetched in pieces: played in step with the picture, and a moment of it for a single frame.

import { ask, emit, on, rate, state, tell } from "./model.js";

const PIECE_S = 10, AHEAD_S = 4, SLICE_S = 0.09, KEPT = 8;
let context = null;
let pieces = new Map(); // key -> promise of a buffer
let playing = null; // {begun, from, next, nodes, timer, clock}
let scrubbed = null;

function audio() {
  if (context === null) context = new AudioContext();
  if (context.state === "suspended") context.resume();
  return context;
}

export function forget() {
  stop();
  pieces = new Map();
}

on("sound", () => {
  if (playing) { const at = now(); stop(); play(at); }
});

function piece(number) {
  const key = `${state.job} ${state.sound} ${number}`;
  if (!pieces.has(key)) {
    const of = state.sound === "plate" ? "plate" : "dialogue";
    const path = `api/jobs/${state.job}/sound?of=${of}&start=${number * PIECE_S}&length=${PIECE_S}`;
    const made = ask(path).then((r) => r.arrayBuffer()).then((data) => audio().decodeAudioData(data));
    made.catch((error) => { pieces.delete(key); tell(`no sound: ${error.message}`); });
    pieces.set(key, made);
    while (pieces.size > KEPT) pieces.delete(pieces.keys().next().value);
  }
  return pieces.get(key);
}

// ---- playing

export function play(from) {
  stop();
  const mine = { from, next: Math.floor(from / PIECE_S), nodes: [], timer: 0, begun: null, waiting: false };
  playing = mine;
  if (state.sound === "off") {
    mine.clock = () => performance.now() / 1000;
    mine.begun = mine.clock();
    return;
  }
  mine.clock = () => audio().currentTime;
  schedule(mine);
  mine.timer = setInterval(() => schedule(mine), 250);
}

async function schedule(mine) {
  if (mine.waiting || mine !== playing) return;
  mine.waiting = true;
  try {
    while (mine === playing && mine.next * PIECE_S < (mine.begun === null ? mine.from : now()) + AHEAD_S) {
      const number = mine.next;
      mine.next += 1;
      let buffer = null;
      try { buffer = await piece(number); } catch { /* told already; the picture goes on */ }
      if (mine !== playing) return;
      if (mine.begun === null) mine.begun = mine.clock() + 0.03;
      if (buffer === null) continue;
      const node = audio().createBufferSource();
      node.buffer = buffer;
      node.connect(audio().destination);
      const offset = Math.max(0, now() - number * PIECE_S, number * PIECE_S < mine.from ? mine.from - number * PIECE_S : 0);
      const at = mine.begun + number * PIECE_S + offset - mine.from;
      if (offset < buffer.duration) node.start(Math.max(at, audio().currentTime), offset);
      mine.nodes.push(node);
    }
  } finally {
    mine.waiting = false;
  }
}

export function now() { // seconds after the shot's first frame
  if (!playing) return 0;
  if (playing.begun === null) return playing.from;
  return playing.from + Math.max(0, playing.clock() - playing.begun);
}

export function stop() {
  if (!playing) return;
  clearInterval(playing.timer);
  for (const node of playing.nodes) { try { node.stop(); } catch { /* it was not started */ } }
  playing = null;
}

// ---- a moment, while stepping and scrubbing

export async function slice(time) {
  if (state.sound === "off" || playing) return;
  let buffer;
  try { buffer = await piece(Math.floor(time / PIECE_S)); } catch { return; }
  const out = audio();
  if (scrubbed) { try { scrubbed.stop(); } catch { /* ended */ } }
  const length = Math.max(SLICE_S, 1 / rate());
  const node = out.createBufferSource(), gain = out.createGain();
  node.buffer = buffer;
  node.connect(gain).connect(out.destination);
  gain.gain.setValueAtTime(0, out.currentTime);
  gain.gain.linearRampToValueAtTime(1, out.currentTime + 0.008);
  gain.gain.setValueAtTime(1, out.currentTime + length - 0.015);
  gain.gain.linearRampToValueAtTime(0, out.currentTime + length);
  node.start(0, Math.max(0, time % PIECE_S), length);
  scrubbed = node;
  emit("sounded", time);
}
