// What is shown, and who wants to know when it changes.

export const state = {
  jobs: [], status: null, job: null, shot: null, frame: 0, // frame: of the shot, from 0
  mode: "wipe", view: "mouth", wipe: 0.5, pixels: false, playing: false, loop: false, sound: "dialogue",
};

const listeners = new Map();

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, []);
  listeners.get(name).push(listener);
}

export function emit(name, value) {
  for (const listener of listeners.get(name) ?? []) listener(value);
}

export function set(values) {
  const changed = Object.keys(values).filter((k) => state[k] !== values[k]);
  Object.assign(state, values);
  for (const name of changed) emit(name, state[name]);
}

// ---- requests

// `passing` marks an error that may be gone when it is asked again: nobody answers, or too many ask.
export async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("the service does not answer"), { passing: true });
  }
  if (response.status === 202) { // it is being made
    throw Object.assign(new Error((await response.json()).waiting), { passing: true });
  }
  if (!response.ok) {
    const text = await response.text();
    let said = text;
    try { said = JSON.parse(text).error; } catch { /* no JSON: shown as it is */ }
    throw Object.assign(new Error(said || `status ${response.status}`), { passing: response.status > 500 });
  }
  return response;
}

export async function askJson(path, body) {
  return (await ask(path, body)).json();
}

let toastTimer = 0;

export function tell(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 6000);
}

export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    tell(error.message);
    return undefined;
  }
}

// ---- frames and times of the shot

export function rate() {
  const [above, below] = state.shot.rate.split("/");
  return Number(above) / Number(below ?? 1);
}

export function clamped(frame) {
  return Math.max(0, Math.min(state.shot.count - 1, Math.round(frame)));
}

export function timeOf(frame) {
  const { times } = state.shot;
  return times[frame] ?? times[times.length - 1] + 1 / rate();
}

export function frameAt(time) {
  const { times } = state.shot;
  let low = 0, high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= time + 1e-6) low = middle; else high = middle - 1;
  }
  return low;
}

// ---- elements

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((c) => c !== null));
  return made;
}

export const byId = (id) => document.getElementById(id);

export function choices(id, key, name) {
  for (const button of byId(id).children) {
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => set({ [key]: button.dataset[name] }));
  }
  const show = () => {
    for (const button of byId(id).children) button.setAttribute("aria-checked", String(button.dataset[name] === state[key]));
  };
  on(key, show);
  show();
}

export function fitted(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height };
}
