"use strict";
// The review page: shows what the server says, sends what a key decides. All text is set as text, never as HTML.

const view = crypto.randomUUID();
const byId = (id) => document.getElementById(id);
const state = { start: null, face: null, grid: null, history: [], last: [], pair: null, here: 0, chosen: new Set(), busy: false, grids: false };

const COMMANDS = [
  ["Enter", "accept the refined label", accept],
  ["k", "keep the given label", keep],
  ["m", "ambiguous: two classes", ambiguous],
  ["x", "not a face", () => decide({ kind: "not a face", classes: [] }, "not a face")],
  ["s", "skip", () => decide({ kind: "skip", classes: [] }, "skip")],
  ["b", "back", back],
  ["u", "undo", undo],
  ["n", "neighbors", neighbors],
  ["g", "grid of faces alike", toggleGrid],
  ["h", "all keys", help],
];

// Characters that would not show, or would turn the text around, are shown as their code.
function visible(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]/g,
    (c) => "\u27e8" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9");
}

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const reply = await fetch(path, options);
  const value = await reply.json().catch(() => ({ error: "no answer" }));
  if (!reply.ok) throw new Error(value.error || "refused");
  return value;
}

async function run(work) {
  if (state.busy) return;
  state.busy = true;
  try {
    await work();
    byId("error").hidden = true;
  } catch (error) {
    byId("error").hidden = false;
    byId("error").textContent = "Not saved: " + error.message + (error instanceof TypeError ? " Is fercleaner review still running?" : "");
  } finally {
    state.busy = false;
  }
}

const pictureOf = (row) => "picture/" + row;
const nextPath = () => "api/next?window=" + view;
const prefetched = new Set();

function prefetch(rows) {
  for (const row of rows || []) {
    if (prefetched.has(row)) continue;
    prefetched.add(row);
    new Image().src = pictureOf(row);
  }
}

function showProgress(p) {
  if (!p) return;
  const share = (part) => part.total ? `${part.count} of ${part.total} (${Math.round(100 * part.low)} to ${Math.round(100 * part.high)} %)` : "none yet";
  byId("progress").textContent =
    `${state.start.who}: ${p.decided.toLocaleString("en")} decided, ${p.skipped} skipped, ${p.open.toLocaleString("en")} of ` +
    `${p.faces.toLocaleString("en")} faces open. Refined label right: ${share(p.refined_right)}; given: ${share(p.given_right)}. ` +
    `Expected among the open: ${Math.round(p.wrong_given_low).toLocaleString("en")} to ${Math.round(p.wrong_given_high).toLocaleString("en")} ` +
    `wrong given labels, ${Math.round(p.wrong_refined_low).toLocaleString("en")} to ${Math.round(p.wrong_refined_high).toLocaleString("en")} wrong refined ones.`;
}

function take(answer) {
  showProgress(answer.progress);
  if (answer.done) return finish();
  if (answer.faces) return showGrid(answer);
  state.face = answer.face;
  showFace(answer.face);
  prefetch(answer.ahead);
}

function finish() {
  state.face = state.grid = null;
  byId("one").hidden = byId("many").hidden = true;
  byId("done").hidden = false;
}

function showFace(face) {
  byId("one").hidden = false;
  byId("many").hidden = byId("done").hidden = true;
  const picture = byId("picture");
  picture.hidden = false;
  byId("missing").hidden = true;
  picture.onload = () => { document.body.dataset.shown = face.row; };
  picture.onerror = () => {
    picture.hidden = true;
    byId("missing").hidden = false;
    byId("missing").textContent = "No picture can be shown of this face.";
    document.body.dataset.shown = face.row;
  };
  picture.alt = "face " + visible(face.id);
  picture.src = pictureOf(face.row);
  byId("name").textContent = visible(face.id) + (face.split ? " \u00b7 " + visible(face.split) : "") + " \u00b7 rank " + face.rank;
  const refined = make("strong", visible(face.refined), { class: "refined" });
  byId("verdict").replaceChildren(...(face.given === face.refined ? ["given and refined: ", refined]
    : ["given ", make("strong", visible(face.given || "nothing"), { class: "given" }), " \u2192 refined ", refined]));
  byId("quality").textContent = `Quality ${face.quality.toFixed(3)}: how far the given label is supported, 0 to 1` + (face.flagged ? "; flagged" : "");
  const body = byId("bars").tBodies[0];
  body.replaceChildren(...state.start.classes.map((known, c) => {
    const row = make("tr", undefined, { class: known.name === face.refined ? "refined" : known.name === face.given ? "given" : "" });
    const bar = make("td", undefined, { class: "share", "aria-hidden": "true" });
    const share = face.distribution[c];
    bar.append(make("span"));
    bar.firstChild.style.width = 100 * share + "%";
    const role = [known.name === face.given && "given", known.name === face.refined && "refined"].filter(Boolean).join(", ");
    row.append(make("th", visible(known.name) + (role ? ` (${role})` : ""), { scope: "row" }), bar, make("td", share.toFixed(3)));
    return row;
  }));
  byId("reason").textContent = visible(face.reason);
  byId("standing").textContent = face.decision ? "Decided: " + said(face.decision) : "";
  if (!byId("neighbors").hidden) showNeighbors(face);
}

const said = (decision) => visible(decision.classes.join(" / ") || decision.kind);

function showNeighbors(face) {
  const parts = [];
  for (const side of ["for", "against"]) {
    const list = make("ul");
    for (const other of face.neighbors.filter((n) => n.side === side)) {
      const item = make("li");
      item.append(make("img", undefined, { src: pictureOf(other.row), alt: "face " + visible(other.id) }), make("span", visible(other.given || "no label")));
      list.append(item);
    }
    parts.push(make("h2", side === "for" ? "Nearest faces with the given label" : "Nearest faces with another label"), list);
  }
  byId("neighbors").replaceChildren(...parts);
}

function showGrid(answer) {
  state.grid = answer.faces;
  state.here = 0;
  state.chosen = new Set(answer.faces.map((face) => face.row));
  byId("one").hidden = byId("done").hidden = true;
  byId("many").hidden = false;
  byId("about").textContent = `${answer.faces.length} faces given ${visible(answer.given || "nothing")} and refined to ${visible(answer.refined)}. ` +
    "Arrows move, Space takes a face out or in, t turns all; a decision goes to the marked faces.";
  byId("tiles").replaceChildren(...answer.faces.map((face, place) => {
    const tile = make("li", undefined, { tabindex: "-1", role: "checkbox" });
    tile.append(make("img", undefined, { src: pictureOf(face.row), alt: "face " + visible(face.id) }), make("p", visible(face.id)), make("p", "quality " + face.quality.toFixed(3)));
    tile.addEventListener("click", () => { state.here = place; toggleTile(); });
    return tile;
  }));
  drawGrid();
}

function drawGrid() {
  [...byId("tiles").children].forEach((tile, place) => {
    const on = state.chosen.has(state.grid[place].row);
    tile.className = (on ? "on " : "") + (place === state.here ? "here" : "");
    tile.setAttribute("aria-checked", on);
    if (place === state.here) tile.focus({ preventScroll: false });
  });
}

function toggleTile() {
  const row = state.grid[state.here].row;
  if (!state.chosen.delete(row)) state.chosen.add(row);
  drawGrid();
}

function decide(decision, action) {
  state.pair = null;
  mode("");
  const rows = state.grids ? state.grid.filter((face) => state.chosen.has(face.row)).map((face) => face.row) : state.face ? [state.face.row] : [];
  if (!rows.length) return mode("No face is marked.");
  return run(async () => {
    const answer = await ask("api/decide", { window: view, action, then: state.grids ? "grid" : "next", items: rows.map((row) => ({ row, decision })) });
    state.last.push(rows);
    if (!state.grids) state.history.push(rows[0]);
    take(answer);
  });
}

function label(name, action = "label") {
  if (state.pair !== null) {
    if (!state.pair.length) {
      state.pair = [name];
      return mode(`Ambiguous: ${visible(name)} and which other class?`);
    }
    if (state.pair[0] === name) return mode("Choose another second class.");
    return decide({ kind: "ambiguous", classes: [state.pair[0], name] }, "ambiguous");
  }
  return decide({ kind: "label", classes: [name] }, action);
}

const shown = () => state.grids ? state.grid && state.grid[0] : state.face;

function accept() {
  const face = shown();
  return face ? label(face.refined, "accept") : undefined;
}

function keep() {
  const face = shown();
  if (!face) return undefined;
  return face.given ? label(face.given, "keep") : mode("This face was given no label.");
}

function ambiguous() {
  state.pair = [];
  mode("Ambiguous: press the keys of two classes. Escape ends this.");
}

function back() {
  if (state.grids) return toggleGrid();
  const row = state.history.at(-1);
  if (row === undefined) return mode("This is the first face of this page.");
  return run(async () => {
    state.face = await ask("api/face/" + row);
    state.history.pop();
    showFace(state.face);
    mode("");
  });
}

function undo() {
  const rows = state.last.at(-1);
  if (!rows) return mode("Nothing to undo on this page.");
  return run(async () => {
    const answer = await ask("api/decide", { window: view, action: "undo", then: state.grids ? "grid" : "stay", items: rows.map((row) => ({ row, decision: null })) });
    state.last.pop();
    if (state.history.at(-1) === rows[0]) state.history.pop();
    take(answer);
    mode(`Undone: ${rows.length} ${rows.length === 1 ? "face" : "faces"}.`);
  });
}

function neighbors() {
  if (state.grids || !state.face) return;
  const panel = byId("neighbors");
  panel.hidden = !panel.hidden;
  if (!panel.hidden) showNeighbors(state.face);
}

function toggleGrid() {
  return run(async () => {
    state.grids = !state.grids;
    state.pair = null;
    mode("");
    take(await ask(state.grids ? "api/grid?window=" + view : nextPath()));
  });
}

function help() {
  byId("help").showModal();
}

function mode(text) {
  byId("mode").textContent = text;
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.target instanceof HTMLButtonElement && (key === "Enter" || key === " ")) return;
  let act = COMMANDS.find((command) => command[0] === key)?.[2];
  const known = state.start.classes.find((one) => one.key === key);
  if (known) act = () => label(known.name);
  if (key === "ArrowLeft" && !state.grids) act = back;
  if (key === "Escape") act = () => { state.pair = null; mode(""); };
  if (state.grids && state.grid) act = gridKey(key) || act;
  if (!act) return;
  event.preventDefault();
  if (event.repeat && !key.startsWith("Arrow")) return;  // a key that is held decides about one face
  act();
}

function gridKey(key) {
  const across = Math.max(1, Math.floor(byId("tiles").clientWidth / 162));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[key];
  if (step) return () => { state.here = Math.min(state.grid.length - 1, Math.max(0, state.here + step)); drawGrid(); };
  if (key === " ") return toggleTile;
  if (key === "t") return () => {
    state.chosen = new Set(state.grid.map((face) => face.row).filter((row) => !state.chosen.has(row)));
    drawGrid();
  };
  return undefined;
}

function button(key, text, act) {
  const node = make("button", undefined, { type: "button" });
  node.append(make("kbd", key), text);
  node.addEventListener("click", () => { act(); node.blur(); });
  return node;
}

async function start() {
  state.start = await ask("api/start");
  byId("classes").replaceChildren(...state.start.classes.map((one) => button(one.key || "\u2013", visible(one.name), () => label(one.name))));
  byId("commands").replaceChildren(...COMMANDS.map(([key, text, act]) => button(key, text, act)));
  const rows = [...state.start.classes.map((one) => [one.key, visible(one.name)]), ...COMMANDS, ["\u2190", "back (in the grid: move)"], ["Space", "in the grid: take a face out or in"], ["t", "in the grid: turn all"]];
  byId("keys").tBodies[0].replaceChildren(...rows.map(([key, text]) => {
    const row = make("tr");
    const head = make("th", undefined, { scope: "row" });
    head.append(make("kbd", key));
    row.append(head, make("td", text));
    return row;
  }));
  document.addEventListener("keydown", pressed);
  take(await ask(nextPath()));
  document.body.dataset.ready = "yes";
}

run(start);
