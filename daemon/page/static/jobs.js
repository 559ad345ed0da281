// The list of jobs and the state of the service, as events bring them.

import { attempt, askJson, byId, element, emit, set, state } from "./model.js";

const MARKS = { approved: "✓", rejected: "✕" };
const ENDED = ["done", "failed", "cancelled"];

export function listen() {
  const source = new EventSource("api/events");
  source.onmessage = (event) => {
    const seen = JSON.parse(event.data);
    if (seen.error) { showLost(seen.error); return; }
    set({ jobs: seen.jobs, status: seen.status });
    showStatus(seen.status, seen.jobs);
    showJobs(seen.jobs);
    const row = seen.jobs.find((j) => j.job === state.job);
    if (row) emit("row", row);
    if (state.job === null && seen.jobs.length) emit("choose", (seen.jobs.find((j) => j.kind === "dub") ?? seen.jobs[0]).job);
  };
  source.onerror = () => showLost("the service does not answer");
}

function showLost(text) {
  byId("status").replaceChildren(element("span", { class: "lost" }, text));
}

export function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) { count /= 1024; at += 1; }
  return `${count < 10 && at > 1 ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

function showStatus(status, jobs) {
  const memory = status.memory + status.workers.reduce((sum, w) => sum + w.memory, 0);
  const busy = status.workers.filter((w) => w.job).length;
  const rate = jobs.filter((j) => j.state === "running").reduce((sum, j) => sum + j.rate, 0);
  const parts = [
    ["Workers", `${busy}/${status.workers.length}`],
    ["Rate", rate ? `${rate.toFixed(1)}/s` : "–"],
    ["Queued", String(status.jobs.queued ?? 0)],
    ["Memory", bytes(memory)],
    ["Frames kept", `${bytes(status.cache_bytes)} of ${bytes(status.cache_limit)}`],
  ];
  byId("status").replaceChildren(...parts.map(([name, value]) => element("span", {}, `${name} `, element("b", {}, value))));
}

let shown = "";

function showJobs(jobs) {
  const text = JSON.stringify([jobs, state.job]);
  if (text === shown) return;
  shown = text;
  byId("job-count").textContent = String(jobs.length || "");
  byId("no-jobs").hidden = jobs.length > 0;
  byId("job-list").replaceChildren(...jobs.map(card));
}

export function showChosen() {
  showJobs(state.jobs);
}

function card(job) {
  const name = job.title.split(/[\\/]/).pop() || job.kind;
  const mark = job.review && MARKS[job.review.decision];
  const far = job.state === "running" && job.total ? `${job.stage} ${job.done}/${job.total}` : "";
  const rate = far && job.rate ? `${job.rate.toFixed(1)}/s` : "";
  const said = far || (job.state === "done" ? took(job) : "");
  return element("li", {
    class: "job", "data-job": job.job, "aria-current": String(job.job === state.job), title: job.title,
    onclick: () => emit("choose", job.job),
  },
    element("div", { class: "name" },
      element("span", { class: "number" }, `${job.job}`),
      element("b", {}, name),
      mark ? element("span", { class: `mark ${job.review.decision}${job.review.outdated ? " outdated" : ""}` }, mark) : null),
    element("div", { class: "line" },
      element("span", { class: `state ${job.state}` }, job.state),
      element("span", { class: "what" }, [job.kind === "dub" ? "" : job.kind, job.quality === "draft" ? "draft" : "", said].filter(Boolean).join(" · ")),
      element("span", {}, rate)),
    job.state === "running" ? element("progress", { max: job.total || 1, value: job.total ? job.done : 0 }) : null,
    job.reason && job.state !== "done" && job.reason !== job.state ? element("div", { class: "reason" }, job.reason) : null,
    actions(job));
}

function took(job) {
  const seconds = job.ended - job.started;
  return seconds > 0 ? `${seconds < 90 ? seconds.toFixed(seconds < 10 ? 1 : 0) + " s" : (seconds / 60).toFixed(1) + " min"}` : "";
}

function actions(job) {
  const made = [];
  const change = (label, what, body = {}, title = "") => {
    made.push(element("button", {
      "data-change": what, title: title || null,
      onclick: (event) => { event.stopPropagation(); attempt(() => askJson(`api/jobs/${job.job}/${what}`, body)); },
    }, label));
  };
  const active = !ENDED.includes(job.state);
  if (active) change("Cancel", "cancel");
  if (["failed", "cancelled", "paused"].includes(job.state)) change("Retry", "retry");
  if (job.quality === "draft" && job.state === "done") change("Make final", "final");
  if (job.state === "queued" || job.state === "paused") {
    change("−", "priority", { priority: Math.max(-10, job.priority - 1) }, "Later");
    made.push(element("span", { class: "dim", title: "Priority" }, String(job.priority)));
    change("+", "priority", { priority: Math.min(10, job.priority + 1) }, "Sooner");
  }
  return made.length ? element("div", { class: "actions" }, ...made) : null;
}
