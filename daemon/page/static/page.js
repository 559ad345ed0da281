// The page: puts its parts together, knows the keys, and moves through the frames.

import * as curves from "./curves.js";
import * as jobs from "./jobs.js";
import { attempt, askJson, byId, choices, clamped, element, emit, frameAt, on, rate, set, state, tell, timeOf } from "./model.js";
import * as sound from "./sound.js";
import * as viewer from "./viewer.js";

// ---- choosing a shot

const AGAIN_MS = 3000;
let lastState = "", loading = false, later = 0;

on("choose", async (job) => {
  if (state.job === job && state.shot) return;
  stop();
  viewer.forget();
  sound.forget();
  lastState = "";
  set({ job, shot: null, frame: 0 });
  history.replaceState(null, "", `#${job}`);
  jobs.showChosen();
  byId("message").textContent = "";
  await reload(false);
});

async function reload(keepView) {
  const { job } = state;
  if (keepView) byId("message").textContent = "";
  else byId("message").textContent ||= "Loading the shot …"; // or why it is asked for again
  let shot;
  loading = true;
  try {
    shot = await curves.unedited(() => askJson(`api/jobs/${job}/shot`));
  } catch (error) {
    if (state.job !== job) return;
    byId("message").textContent = error.message;
    clearTimeout(later);
    if (error.passing) later = setTimeout(() => { if (state.job === job) reload(Boolean(state.shot)); }, AGAIN_MS);
    showShot();
    return;
  } finally {
    loading = false;
  }
  if (state.job !== job) return;
  byId("message").textContent = "";
  lastState = shot.job.state;
  set({ shot });
  if (!keepView) set({ frame: 0 });
  curves.load(shot, keepView);
  showShot();
}

on("reload", () => reload(true));

on("row", (row) => { // a job that gets further has more to show
  const moved = lastState && row.state !== lastState;
  if (state.shot) {
    state.shot.job = row;
    curves.buttons();
  }
  if (moved || (!state.shot && row.state === "running" && row.stage === "rendering" && !loading)) {
    lastState = row.state;
    reload(Boolean(state.shot));
  } else if (!lastState) {
    lastState = row.state;
  }
});

on("edited", ({ version, frames }) => {
  state.shot.version = version;
  state.shot.stale = true;
  if (state.shot.review) state.shot.review.outdated = true;
  if (!state.shot.original) reload(true);
  byId("edit-state").textContent = `${frames} frames …`;
  const once = () => {
    if (byId("picture").dataset.version !== version) return;
    byId("edit-state").textContent = `${frames} frames changed`;
    settled = null;
  };
  settled = once;
  viewer.draw();
  curves.buttons();
  showReview();
});

let settled = null;
on("drawn", () => settled?.());

// ---- what is said about it

const KEYS = { "low confidence": "low-confidence", "another person": "another-person", "passed through": "passed" };

function showShot() {
  const { shot } = state;
  byId("shot-title").textContent = shot ? shot.job.title.split(/[\\/]/).pop() : "No shot";
  byId("shot-title").title = shot ? shot.job.title : "";
  byId("flag-count").textContent = shot?.flags.length || "";
  const none = element("li", { class: "none" }, shot?.quality ? "None" : "None so far");
  byId("flags").replaceChildren(...(shot?.flags.length ? shot.flags.map(flagRow) : shot ? [none] : []));
  curves.buttons();
  showReview();
  showFrame();
}

function flagRow(flag) {
  const frames = flag.end - flag.start > 1 ? `${flag.start}–${flag.end - 1}` : `${flag.start}`;
  return element("li", {}, element("button", {
    class: `flag ${KEYS[flag.kind] ?? flag.kind}`, "data-frame": flag.worst,
    onclick: () => scrub(flag.worst - state.shot.first),
  }, element("i"), element("span", {}, flag.kind), element("span", { class: "frames" }, frames), element("span", { class: "why" }, flag.text)));
}

function showReview() {
  const review = state.shot?.review;
  for (const button of byId("decisions").children) {
    button.setAttribute("aria-pressed", String(review?.decision === button.dataset.decision));
    button.disabled = !state.shot || state.shot.job.kind !== "dub";
  }
  byId("save-note").disabled = !state.shot || state.shot.job.kind !== "dub";
  if (document.activeElement !== byId("note")) byId("note").value = review?.note ?? "";
  byId("decided").textContent = review ? (review.outdated ? "before the last change" : review.date.slice(0, 16).replace("T", " ")) : "";
}

function showFrame() {
  const { shot, frame } = state;
  if (!shot) { byId("facts").replaceChildren(); byId("time").textContent = ""; return; }
  if (document.activeElement !== byId("frame")) byId("frame").value = shot.first + frame;
  byId("time").textContent = `${timeOf(frame).toFixed(2)} s of ${(timeOf(shot.count - 1) + 1 / rate()).toFixed(2)} s`;
  const row = shot.performance.curves.find((r) => r.frame === shot.first + frame) ?? {};
  const number = (value, unit = "") => (value === null || value === undefined ? "–" : value.toFixed(2) + unit);
  const facts = [
    ["Drawn", shot.drawn[frame] ? (row.draw < 1 ? `fades, ${number(row.draw)}` : "yes") : "as filmed"],
    ["Phone", row.phone || "–"],
    ["Track confidence", number(shot.confidence[frame])],
    ["Enlarged", number(shot.enlarged[frame], "×")],
    ["Sharpness / plate", number(shot.quality?.sharpness[frame])],
    ["Flicker / plate", number(shot.quality?.flicker[frame])],
    ["Picture", `${shot.width}×${shot.height}`],
    ["Rate", `${Number(rate().toFixed(3))} fps`],
    ["Actor", shot.performance.actor ?? "–"],
  ];
  byId("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

on("frame", showFrame);

for (const button of byId("decisions").children) {
  button.addEventListener("click", () => {
    const same = state.shot.review?.decision === button.dataset.decision && !state.shot.review.outdated;
    decide(same ? "open" : button.dataset.decision);
  });
}
byId("save-note").addEventListener("click", () => decide(state.shot.review?.decision ?? "open"));

async function decide(decision) {
  const body = { decision, note: byId("note").value };
  const done = await attempt(() => askJson(`api/jobs/${state.job}/review`, body));
  if (done) { state.shot.review = done.review; showReview(); }
}

// ---- moving through the frames

function scrub(frame) {
  if (!state.shot) return;
  if (state.playing) stop();
  const next = clamped(frame);
  if (next === state.frame) return;
  set({ frame: next });
  sound.slice(timeOf(next));
}

on("scrub", scrub);

function play() {
  if (!state.shot) return;
  const from = state.frame >= state.shot.count - 1 ? 0 : state.frame;
  set({ playing: true, frame: from });
  sound.play(timeOf(from));
  byId("play-shape").setAttribute("d", "M3 3h10v10H3z");
  requestAnimationFrame(advance);
}

function stop() {
  sound.stop();
  set({ playing: false });
  byId("play-shape").setAttribute("d", "M4 2.5v11L13 8z");
}

function advance() {
  if (!state.playing) return;
  const time = sound.now();
  if (time >= timeOf(state.shot.count - 1) + 1 / rate()) {
    if (!state.loop) { set({ frame: state.shot.count - 1 }); stop(); return; }
    set({ frame: 0 });
    sound.play(0);
  } else {
    set({ frame: frameAt(time) });
  }
  requestAnimationFrame(advance);
}

function toFlag(direction) {
  if (!state.shot) return;
  const at = state.shot.first + state.frame;
  const frames = state.shot.flags.map((f) => f.worst).sort((a, b) => a - b);
  const next = direction > 0 ? frames.find((f) => f > at) : frames.filter((f) => f < at).pop();
  if (next !== undefined) scrub(next - state.shot.first);
}

// ---- keys and buttons

let before = "pair";

function wipe() {
  if (state.mode === "wipe") set({ mode: before });
  else { before = state.mode; set({ mode: "wipe" }); }
}

const toggles = { pixels: "pixels", loop: "loop" };
for (const [id, key] of Object.entries(toggles)) {
  byId(id).addEventListener("click", () => set({ [key]: !state[key] }));
  on(key, (value) => byId(id).setAttribute("aria-pressed", String(value)));
}

const KEYBOARD = {
  ArrowLeft: (e) => scrub(state.frame - (e.shiftKey ? 10 : 1)),
  ArrowRight: (e) => scrub(state.frame + (e.shiftKey ? 10 : 1)),
  Home: () => scrub(0),
  End: () => scrub(state.shot.count - 1),
  " ": () => (state.playing ? stop() : play()),
  "[": () => toFlag(-1),
  "]": () => toFlag(1),
  w: wipe,
  1: () => set({ mode: "plate" }),
  2: () => set({ mode: "dub" }),
  3: () => set({ mode: "pair" }),
  m: () => set({ view: state.view === "mouth" ? "whole" : "mouth" }),
  p: () => set({ pixels: !state.pixels }),
  l: () => set({ loop: !state.loop }),
  d: () => set({ tool: "drag" }),
  s: () => set({ tool: "smooth" }),
  g: () => set({ tool: "gain" }),
  "?": () => byId("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("textarea, select, input");
  if (event.target.matches("input[type=number]") && event.key === "Enter") event.target.blur();
  if (typing || byId("help").open || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z" || !curves.editable()) return;
    event.preventDefault();
    if (event.shiftKey) curves.redo(); else curves.undo();
    return;
  }
  const action = KEYBOARD[event.key] ?? KEYBOARD[event.key.toLowerCase()];
  if (!action || !state.shot && event.key !== "?") return;
  event.preventDefault();
  action(event);
});

const clicks = {
  back: () => scrub(state.frame - 1), forward: () => scrub(state.frame + 1), play: KEYBOARD[" "],
  "previous-flag": () => toFlag(-1), "next-flag": () => toFlag(1),
  undo: curves.undo, redo: curves.redo, reset: curves.reset,
  render: () => attempt(() => askJson(`api/jobs/${state.job}/retry`, {})),
  "help-button": () => byId("help").showModal(), "help-close": () => byId("help").close(),
};
for (const [id, action] of Object.entries(clicks)) {
  byId(id).addEventListener("click", () => { if (state.shot || id.startsWith("help")) action(); });
}
byId("frame").addEventListener("change", (event) => { if (state.shot) scrub(Number(event.target.value) - state.shot.first); });

choices("modes", "mode", "mode");
choices("views", "view", "view");
choices("sounds", "sound", "sound");
// what a pointer has chosen keeps no focus, so that the keys go on moving through the frames
document.addEventListener("click", (event) => { if (event.detail > 0) event.target.closest("button")?.blur(); });
for (const id of ["curve", "reach"]) byId(id).addEventListener("change", (event) => event.target.blur());

// ---- begin

showShot();
const named = Number(location.hash.slice(1));
if (named > 0) emit("choose", named);
jobs.listen();
window.addEventListener("unhandledrejection", (event) => tell(event.reason?.message ?? "something failed"));
