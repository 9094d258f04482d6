"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const classes = data.classes_in_order, points = data.points, NONE = 65535, PAGE = 24;
  const FLAGGED = 1, CHANGED = 2, AMBIGUOUS = 4, LABELED = 8, PLACED = 32;
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  // Names are text, never markup; signs that steer a terminal or turn the direction of writing are spelled out.
  const visible = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (sign) =>
    sign.codePointAt(0) < 256 ? "\\x" + sign.codePointAt(0).toString(16).padStart(2, "0")
      : "\\u" + sign.codePointAt(0).toString(16).padStart(4, "0"));
  const whole = (count) => count.toLocaleString("en-US");
  const named = (index) => index >= 0 && index < classes.length ? visible(classes[index]) : "no label";

  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }
  function bar(share) {
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of [["class", "bar"], ["viewBox", "0 0 100 10"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
    for (const [kind, width] of [["track", 100], ["fill", 100 * share]]) {
      const rect = document.createElementNS(SVG, "rect");
      rect.setAttribute("class", kind); rect.setAttribute("width", width.toFixed(2)); rect.setAttribute("height", 10);
      svg.append(rect);
    }
    return svg;
  }
  function unpacked(text, wide) {
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    if (!wide) return bytes;
    const view = new DataView(bytes.buffer), numbers = new Uint16Array(bytes.length / 2);
    for (let i = 0; i < numbers.length; i++) numbers[i] = view.getUint16(2 * i, true);
    return numbers;
  }
  const given = unpacked(points.given, true), refined = unpacked(points.refined, true), state = unpacked(points.state),
    quality = unpacked(points.quality), x = unpacked(points.x, true), y = unpacked(points.y, true);
  const columns = points.columns.map((column) => ({ ...column, at: unpacked(column.index, true) }));

  // ---- pictures -------------------------------------------------------------------------------------------------
  const sheets = {}, waiting = [];
  for (const [name, sheet] of Object.entries(data.sprites)) {
    if (!sheet.url) continue;
    const image = new Image();
    image.onload = () => { sheets[name] = image; waiting.splice(0).forEach((draw) => draw()); };
    image.src = sheet.url;
  }
  const landmarks = { on: false };
  function picture(sheet, tile, label, marks, missing) {
    const small = sheet === "small";
    if (tile < 0) return el("div", { class: small ? "none tiny" : "none" }, missing || "no picture");
    const side = data.sprites[sheet].side, columnsIn = data.sprites[sheet].columns, zoom = small ? 1 : 2;
    const canvas = el("canvas", { class: small ? "" : "face", width: side * zoom, height: side * zoom, role: "img", "aria-label": label });
    canvas.draw = () => {
      if (!sheets[sheet]) { waiting.push(canvas.draw); return; }
      const pen = canvas.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.drawImage(sheets[sheet], tile % columnsIn * side, Math.floor(tile / columnsIn) * side, side, side, 0, 0, side * zoom, side * zoom);
      if (!landmarks.on || !marks || !marks.length) return;
      pen.fillStyle = "#ffe14d"; pen.strokeStyle = "#000";
      pen.lineWidth = .5;
      for (const [left, top] of marks) { pen.beginPath(); pen.arc(left * zoom, top * zoom, canvas.width / 64, 0, 7); pen.fill(); pen.stroke(); }
    };
    canvas.draw();
    return canvas;
  }

  // ---- one face -------------------------------------------------------------------------------------------------
  function distribution(values, face) {
    const order = values.map((_, i) => i).filter((i) => values[i] >= .005 || i === face.given || i === face.refined);
    order.sort((a, b) => values[b] - values[a]);
    const list = el("div", { class: "dist" });
    for (const i of order) {
      const role = i === face.refined ? "refined" : i === face.given ? "given" : "";
      const mark = i === face.given ? (i === face.refined ? " (given, refined)" : " (given)") : i === face.refined ? " (refined)" : "";
      list.append(el("span", { class: role }, named(i) + mark), bar(values[i]), el("span", { class: "value" }, values[i].toFixed(2)));
    }
    return list;
  }
  function neighbors(title, list) {
    if (!list.length) return el("div", {}, el("h4", {}, title), el("p", { class: "small" }, "none named"));
    return el("div", {}, el("h4", {}, title), el("div", { class: "strip" }, ...list.map((near) => el("figure", { title: visible(near.id) },
      picture("small", near.tile, `neighbor ${visible(near.id)}, labeled ${named(near.given)}`), el("figcaption", {}, named(near.given))))));
  }
  function experts(face) {
    const names = Object.keys(face.support), listed = face.experts;
    if (!names.length && !listed.length) return null;
    const list = el("div", { class: "dist" });
    for (const name of names) {
      const value = face.support[name];
      list.append(el("span", {}, visible(name)), bar(Math.max(0, Math.min(1, value))), el("span", { class: "value" }, value.toFixed(2)));
    }
    const lines = listed.map((expert) => {
      const best = expert.distribution.map((_, i) => i).sort((a, b) => expert.distribution[b] - expert.distribution[a]).slice(0, 3);
      return el("li", {}, `${visible(expert.name)}: ` + best.map((i) => `${named(i)} ${expert.distribution[i].toFixed(2)}`).join(", "));
    });
    return el("div", {}, names.length ? el("h4", {}, face.given < 0 ? "Evidence" : `What each expert gives the label ${named(face.given)}`) : null, names.length ? list : null,
      lines.length ? el("h4", {}, "What experts say") : null, lines.length ? el("ul", {}, ...lines) : null);
  }
  function card(face) {
    const [head, decision, ...pieces] = face.reason ? face.reason.split("; ") : ["", ""];
    const verdict = face.changed ? `${named(face.given)} → ${named(face.refined)}` : face.given < 0 ? `no label → ${named(face.refined)}` : `${named(face.given)} (kept)`;
    const badges = [face.flagged ? el("span", { class: "badge flagged" }, "flagged") : null, face.kind === "ambiguous" ? el("span", { class: "badge" }, "ambiguous") : null];
    for (const column of columns) {
      const value = column.values[column.at[face.row]];
      if (value) badges.push(el("span", { class: "badge" }, `${visible(column.name)}: ${visible(value)}`));
    }
    return el("article", { class: "card", tabindex: "0", "aria-label": `face ${visible(face.id)}, ${verdict}` },
      el("header", {}, picture("faces", face.tile, `face ${visible(face.id)}`, face.points, face.missing && visible(face.missing)),
        el("div", {}, el("h3", { class: "mono" }, visible(face.id)), el("p", { class: "verdict" }, verdict),
          el("p", { class: "small" }, `quality ${face.quality.toFixed(4)}, weight ${face.weight.toFixed(3)}`), el("div", { class: "badges" }, ...badges))),
      el("div", {}, el("h4", {}, "Refined distribution"), distribution(face.distribution, face)),
      pieces.length || decision ? el("div", {}, el("h4", {}, "Why"), el("ul", {}, ...[face.flagged || face.changed ? null : decision, ...pieces].filter(Boolean).map((piece) =>
        el("li", { class: piece.startsWith("but ") ? "but" : "" }, visible(piece)))))
        : el("p", { class: "small" }, visible(head || "nothing to say")),
      experts(face),
      el("div", { class: "near" }, neighbors(face.given < 0 ? "Nearest of this class" : "Nearest with the same label", face.for), neighbors("Nearest with another", face.against)));
  }

  // ---- filters --------------------------------------------------------------------------------------------------
  const filters = { kind: "suspicious", given: "", refined: "", reason: "", columns: columns.map(() => "") };
  let page = 0, listed = [];
  function passes(row) {
    if (filters.given !== "" && given[row] !== +filters.given) return false;
    if (filters.refined !== "" && refined[row] !== +filters.refined) return false;
    return columns.every((column, i) => filters.columns[i] === "" || column.at[row] === +filters.columns[i]);
  }
  function counted() {
    let faces = 0, flagged = 0, unsure = 0;
    for (let row = 0; row < points.count; row++) if (passes(row)) {
      faces++;
      if (state[row] & FLAGGED) flagged++;
      if (state[row] & AMBIGUOUS) unsure++;
    }
    return `${whole(faces)} of ${whole(points.count)} faces pass the filters; ${whole(flagged)} are flagged, ${whole(unsure)} ambiguous.`;
  }
  function refresh(keepPage) {
    listed = data.shown.filter((face) => face.kind === filters.kind && passes(face.row) && (filters.reason === "" || face.reasons.includes(filters.reason)));
    if (!keepPage) page = 0;
    const pages = Math.max(1, Math.ceil(listed.length / PAGE)), start = page * PAGE;
    $("status").textContent = `${counted()} This page holds ${whole(listed.length)} ${filters.kind} ones of them with pictures` +
      (listed.length ? `; here are ${start + 1} to ${Math.min(start + PAGE, listed.length)}.` : ".");
    $("cards").replaceChildren(...listed.slice(start, start + PAGE).map(card));
    $("pager").replaceChildren(
      el("button", { type: "button", disabled: page === 0, onclick: () => turn(-1) }, "Back"),
      el("span", {}, `${page + 1} of ${pages}`),
      el("button", { type: "button", disabled: page >= pages - 1, onclick: () => turn(1) }, "Next"));
    paint();
  }
  function turn(step) {
    const pages = Math.ceil(listed.length / PAGE);
    if (page + step < 0 || page + step >= pages) return;
    page += step;
    refresh(true);
    const first = $("cards").firstElementChild;
    if (first) { first.focus({ preventScroll: true }); $("status").scrollIntoView(); }
  }
  function choice(label, options, current, change) {
    const select = el("select", { "aria-label": label, onchange: () => change(select.value) }, ...options.map(([value, text]) => el("option", { value, selected: value === current }, text)));
    return el("label", {}, label, select);
  }
  function controls() {
    const totals = { suspicious: 0, ambiguous: 0 };
    data.shown.forEach((face) => totals[face.kind]++);
    const kinds = el("div", { class: "segment", role: "group", "aria-label": "Kind of faces" }, ...Object.keys(totals).map((kind) =>
      el("button", { type: "button", "aria-pressed": String(filters.kind === kind), onclick: (event) => {
        filters.kind = kind;
        for (const other of event.target.parentNode.children) other.setAttribute("aria-pressed", String(other === event.target));
        refresh();
      } }, `${kind[0].toUpperCase()}${kind.slice(1)} (${whole(totals[kind])})`)));
    const byClass = [["", "all"], ...classes.map((name, i) => [String(i), visible(name)])];
    const reasons = [...new Set(data.shown.flatMap((face) => face.reasons))].sort();
    const set = (name) => (value) => { filters[name] = value; refresh(); };
    $("controls").replaceChildren(kinds, choice("given label", byClass, filters.given, set("given")), choice("refined label", byClass, filters.refined, set("refined")),
      ...(reasons.length ? [choice("evidence named", [["", "all"], ...reasons.map((name) => [name, visible(name)])], filters.reason, set("reason"))] : []),
      ...columns.map((column, i) => choice(visible(column.name) + (column.whole ? "" : " (of shown faces)"), [["", "all"], ...column.values.map((value, k) => [String(k), visible(value) || "(none)"])], filters.columns[i],
        (value) => { filters.columns[i] = value; refresh(); })),
      ...(data.shown.some((face) => face.points.length) ? [el("label", { class: "check" }, el("input", { type: "checkbox", id: "landmarks", onchange: (event) => {
        landmarks.on = event.target.checked;
        document.querySelectorAll("canvas.face").forEach((canvas) => canvas.draw());
      } }), "landmarks")] : []),
      el("button", { type: "button", onclick: () => { Object.assign(filters, { given: "", refined: "", reason: "", columns: columns.map(() => "") }); controls(); refresh(); } }, "Clear filters"),
      el("p", { class: "small keys" }, "Keys: j and k to the next and the previous face, n and p to the next and the previous page, l landmarks."));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const cards = [...$("cards").children], at = cards.indexOf(document.activeElement);
    if (event.key === "j" || event.key === "k") {
      const next = cards[Math.max(0, Math.min(cards.length - 1, at < 0 ? 0 : at + (event.key === "j" ? 1 : -1)))];
      if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); event.preventDefault(); }
    } else if (event.key === "n") turn(1);
    else if (event.key === "p") turn(-1);
    else if (event.key === "l" && $("landmarks")) $("landmarks").click();
  });
  document.querySelectorAll("button.pair").forEach((button) => {
    const pair = data.pairs[+button.dataset.given];
    button.hidden = false;
    button.setAttribute("aria-label", `Show faces given ${visible(pair.given)} and refined to ${visible(pair.refined)}`);
    button.addEventListener("click", () => {
      Object.assign(filters, { kind: "suspicious", given: String(classes.indexOf(pair.given)), refined: String(classes.indexOf(pair.refined)), reason: "", columns: columns.map(() => "") });
      controls(); refresh(); $("faces").scrollIntoView();
    });
  });
  document.querySelectorAll(".examples").forEach((place) => {
    for (const example of data.checks.find((check) => check.name === place.dataset.check).examples) place.append(el("div", { class: "set" }, example.text ? el("p", {}, visible(example.text)) : null,
      ...example.faces.map((face) => el("figure", { title: visible(face.id) }, picture("small", face.tile, visible(face.id)), el("figcaption", {}, visible(face.text))))));
  });

  // ---- map ------------------------------------------------------------------------------------------------------
  const PALETTE = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#e07b39", "#8c8c8c", "#44aa99", "#882255", "#999933", "#6a5acd"];
  const RAMP = ["#d7301f", "#fc8d59", "#fdcc8a", "#a6bddb", "#3690c0", "#1a5276"];
  const STATES = [["flagged", "#d7301f"], ["ambiguous", "#e0a100"], ["neither", "#7a8fa6"]];
  const modes = [["given", "given label"], ["refined", "refined label"], ["quality", "quality"], ["state", "flagged or ambiguous"], ...columns.map((column, i) => [`column ${i}`, visible(column.name)])];
  let mode = "given";
  const canvas = $("map-canvas");
  const shownAt = new Map(data.shown.map((face) => [face.row, face]));
  function paints() {
    if (mode === "given" || mode === "refined") {
      const at = mode === "given" ? given : refined;
      return [(row) => at[row] < NONE ? PALETTE[at[row] % PALETTE.length] : "#888888", classes.map((name, i) => [visible(name), PALETTE[i % PALETTE.length]])];
    }
    if (mode === "quality") return [(row) => RAMP[Math.min(5, Math.floor(quality[row] / 42.6))], RAMP.map((color, i) => [`${(i / 6).toFixed(2)} to ${((i + 1) / 6).toFixed(2)}`, color])];
    if (mode === "state") return [(row) => STATES[state[row] & AMBIGUOUS ? 1 : state[row] & FLAGGED ? 0 : 2][1], STATES];
    const column = columns[+mode.split(" ")[1]];
    const legend = column.values.slice(0, 24).map((value, i) => [visible(value) || "(none)", PALETTE[i % PALETTE.length]]);
    return [(row) => column.at[row] < NONE ? PALETTE[column.at[row] % PALETTE.length] : "#888888", legend];
  }
  function spot(row, width, height) { return [8 + x[row] / 65534 * (width - 16), height - 8 - y[row] / 65534 * (height - 16)]; }
  function paint() {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const pen = canvas.getContext("2d"), [color, legend] = paints();
    pen.scale(ratio, ratio);
    const radius = points.count > 50000 ? .6 : points.count > 5000 ? 1 : 2.2, byColor = new Map();
    for (let row = 0; row < points.count; row++) if (state[row] & PLACED && passes(row)) {
      const ink = color(row);
      if (!byColor.has(ink)) byColor.set(ink, []);
      byColor.get(ink).push(row);
    }
    pen.globalAlpha = points.count > 5000 ? .6 : .8;
    for (const [ink, rows] of byColor) {
      pen.fillStyle = ink;
      for (const row of rows) { const [left, top] = spot(row, width, height); pen.fillRect(left - radius, top - radius, 2 * radius, 2 * radius); }
    }
    $("map-legend").replaceChildren(...legend.map(([name, ink]) => {
      const svg = document.createElementNS(SVG, "svg"), rect = document.createElementNS(SVG, "rect");
      svg.setAttribute("viewBox", "0 0 10 10"); svg.setAttribute("aria-hidden", "true");
      rect.setAttribute("width", 10); rect.setAttribute("height", 10); rect.setAttribute("fill", ink);
      svg.append(rect);
      return el("li", {}, svg, name);
    }));
  }
  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    let best = -1, least = 144;
    for (let row = 0; row < points.count; row++) if (state[row] & PLACED && passes(row)) {
      const [left, top] = spot(row, box.width, box.height), far = (left - event.clientX + box.left) ** 2 + (top - event.clientY + box.top) ** 2;
      if (far < least) { least = far; best = row; }
    }
    return best;
  }
  canvas.addEventListener("click", (event) => {
    const row = nearest(event), line = $("map-face");
    if (row < 0) { line.textContent = "No face here."; return; }
    const face = shownAt.get(row);
    line.replaceChildren((face ? `${visible(face.id)}: ` : `Row ${whole(row + 1)} of the file: `) + `given ${named(given[row] < NONE ? given[row] : -1)}, refined ${named(refined[row])}, quality ${(quality[row] / 255).toFixed(2)}` +
      `${state[row] & FLAGGED ? ", flagged" : ""}${state[row] & AMBIGUOUS ? ", ambiguous" : ""}.`, ...(face ? [card(face)] : []));
  });
  $("map-controls").replaceChildren(choice("color", modes, mode, (value) => { mode = value; paint(); }), el("p", { class: "small" }, "Click or tap a point to see the face."));
  let resizing = 0;
  addEventListener("resize", () => { cancelAnimationFrame(resizing); resizing = requestAnimationFrame(paint); });
  controls();
  refresh();
  document.documentElement.dataset.ready = "yes";
})();
