"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);

  // ---- the table of patients: sort by a head, filter by a word and a tag ----
  const table = find("patient-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];

  function sortBy(head) {
    const column = head.cellIndex;
    const numeric = head.firstElementChild.dataset.kind === "number";
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const value = (row) => {
      const cell = row.cells[column];
      if (!numeric) return cell.textContent.trim();
      return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
    };
    const keyed = rows.map((row) => [value(row), row]);
    const empty = (v) => (numeric ? Number.isNaN(v) : v === "");
    keyed.sort(([a], [b]) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b); // what is missing comes last, either way
      return down * (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    });
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
    body.append(...keyed.map(([, row]) => row));
  }

  function filter() {
    const word = find("find").value.trim().toLowerCase();
    const tag = find("only").value;
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(row.textContent.toLowerCase().includes(word) && (!tag || row.dataset.tags.split("|").includes(tag)));
      shown += !row.hidden;
    }
    find("count").textContent = shown === rows.length ? `${shown} images` : `${shown} of ${rows.length} images`;
  }

  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (head) sortBy(head);
  });
  find("find").addEventListener("input", filter);
  find("only").addEventListener("change", filter);

  // ---- print everything that is folded away ----
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });

  // ---- the viewer ----
  if (!data.pictures.length) return;
  const slider = find("strength");
  const canvas = find("frame");
  const chart = find("patient-curve");
  const pick = find("pick");
  const modes = [...document.querySelectorAll("input[name=mode]")];
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const INFERNO = [[101, 21, 110], [137, 34, 106], [172, 46, 93], [203, 65, 73], [230, 93, 47], [247, 131, 17], [251, 171, 20], [243, 220, 87]];
  const COLD = [[20, 60, 200], [45, 105, 218], [70, 150, 235], [130, 185, 245], [190, 220, 255]];
  const box = { width: 480, height: 300, left: 56, right: 14, top: 12, bottom: 50 };
  const SVG = "http://www.w3.org/2000/svg";
  let current = null; // {picture, xs, ps, S, T, crossing}
  let index = -1;
  let held = false;
  let playing = 0;
  let marks = null;

  function colour(ramp, share) {
    const at = Math.min(1, share) * (ramp.length - 1);
    const i = Math.min(ramp.length - 2, Math.floor(at));
    return ramp[i].map((v, k) => v + (at - i) * (ramp[i + 1][k] - v));
  }

  function pixels(uri, width, height) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const sheet = document.createElement("canvas");
        sheet.width = width;
        sheet.height = height;
        const pen = sheet.getContext("2d", { willReadFrequently: true });
        pen.drawImage(image, 0, 0);
        const rgba = pen.getImageData(0, 0, width, height).data;
        resolve(Uint8Array.from({ length: width * height }, (_, i) => rgba[4 * i]));
      };
      image.onerror = () => reject(new Error("a picture cannot be read"));
      image.src = uri;
    });
  }

  // p at any strength: linear between the strengths that were scored; null beside a gap
  function at(strength) {
    const { xs, ps } = current;
    for (let i = 0; i + 1 < xs.length; i++) {
      if (strength >= xs[i] && strength <= xs[i + 1]) {
        if (ps[i] === null || ps[i + 1] === null) return null;
        const share = xs[i + 1] > xs[i] ? (strength - xs[i]) / (xs[i + 1] - xs[i]) : 0;
        return ps[i] + share * (ps[i + 1] - ps[i]);
      }
    }
    return null;
  }

  function crossing(xs, ps) {
    const point = data.point;
    if (point === null) return null;
    for (let i = 0; i + 1 < xs.length; i++) {
      const [a, b] = [ps[i], ps[i + 1]];
      if (a !== null && b !== null && a < point && b >= point) return xs[i] + ((point - a) / (b - a)) * (xs[i + 1] - xs[i]);
    }
    return null;
  }

  // x = S + (1 - S)(1 - exp(-lambda tau)); a layer that darkens takes its share of S instead
  function paint(strength) {
    const { picture, S, T } = current;
    const mode = modes.find((each) => each.checked).value;
    const pen = canvas.getContext("2d");
    const out = pen.createImageData(picture.width, picture.height);
    const tau = (byte) => (picture.signed ? (byte - 128) / 127 : byte / 255) * picture.white;
    const alpha = Float64Array.from({ length: 256 }, (_, b) => Math.sign(tau(b)) * -Math.expm1(-strength * Math.abs(tau(b))));
    const warm = Array.from({ length: 256 }, (_, i) => colour(INFERNO, i / 255));
    const cold = Array.from({ length: 256 }, (_, i) => colour(COLD, i / 255));
    for (let i = 0, o = 0; i < S.length; i++, o += 4) {
      const s = S[i];
      const a = alpha[T[i]];
      const gain = a >= 0 ? (255 - s) * a : s * a;
      let base = s + gain;
      let share = 0;
      if (mode === "layer") share = Math.min(1, Math.abs(a) / data.scale);
      if (mode === "difference") {
        share = Math.min(1, Math.abs(gain) / 255 / data.scale);
        base = 32 + 0.25 * s;
      }
      const weight = 0.85 * share ** 0.7;
      const tint = (a >= 0 ? warm : cold)[Math.round(share * 255)];
      for (let k = 0; k < 3; k++) out.data[o + k] = base * (1 - weight) + tint[k] * weight + 0.5;
      out.data[o + 3] = 255;
    }
    pen.putImageData(out, 0, 0);
    ramp(mode);
  }

  function ramp(mode) {
    const strip = find("ramp");
    strip.hidden = mode === "image";
    const full = data.scale.toFixed(2);
    if (mode === "image") {
      find("ramp-text").textContent = "the frame at this strength";
      return;
    }
    const pen = strip.getContext("2d");
    const signed = current.picture.signed;
    for (let x = 0; x < strip.width; x++) {
      const share = signed ? (2 * x) / (strip.width - 1) - 1 : x / (strip.width - 1);
      const weight = 0.85 * Math.abs(share) ** 0.7;
      const tint = colour(share >= 0 ? INFERNO : COLD, Math.abs(share));
      pen.fillStyle = `rgb(${tint.map((v) => Math.round(40 * (1 - weight) + v * weight)).join(" ")})`;
      pen.fillRect(x, 0, 1, strip.height);
    }
    const what = mode === "layer" ? "opacity 1 − exp(−λτ)" : "brightness gained since λ = 0";
    find("ramp-text").textContent = `${what}: ${signed ? `−${full}` : "0"} to ${full}, the same colours for every patient`;
  }

  // ---- the patient's curve ----
  const reach = () => current.xs[current.xs.length - 1] || 1;
  const px = (x) => box.left + (x / reach()) * (box.width - box.left - box.right);
  const py = (y) => box.top + (1 - y) * (box.height - box.top - box.bottom);

  function draw(name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    chart.append(node);
    return node;
  }

  function curve(xs, ys, attributes) {
    let run = [];
    const flush = () => {
      if (run.length) draw("polyline", { ...attributes, points: run.join(" ") });
      run = [];
    };
    xs.forEach((x, i) => (ys[i] === null ? flush() : run.push(`${px(x).toFixed(1)},${py(ys[i]).toFixed(1)}`)));
    flush();
  }

  function axes() {
    chart.replaceChildren();
    const floor = py(0);
    const right = box.width - box.right;
    for (const y of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
      draw("line", { class: "grid", x1: box.left, x2: right, y1: py(y), y2: py(y) });
      draw("text", { class: "tick end", x: box.left - 7, y: py(y) + 4 }, String(y));
    }
    const step = reach() > 3 ? 1 : reach() > 1.2 ? 0.5 : 0.2;
    for (let x = 0; x <= reach() + 1e-9; x += step) {
      draw("line", { class: "axis", x1: px(x), x2: px(x), y1: floor, y2: floor + 4 });
      draw("text", { class: "tick mid", x: px(x), y: floor + 17 }, String(Math.round(x * 100) / 100));
    }
    draw("line", { class: "axis", x1: box.left, x2: right, y1: floor, y2: floor });
    draw("text", { class: "name mid", x: (box.left + right) / 2, y: box.height - 9 }, "strength λ");
    draw("text", { class: "name mid", transform: `translate(14 ${(box.top + floor) / 2}) rotate(-90)` }, data.yLabel);
    const band = data.bands[current.picture.way];
    if (band) curve(band.x, band.mean, { class: "line cohort t6", "stroke-dasharray": "6 4" });
    if (data.point !== null) {
      draw("line", { class: "point", x1: box.left, x2: right, y1: py(data.point), y2: py(data.point) });
    }
    curve(current.xs, current.ps, { class: "line t0" });
    current.xs.forEach((x, i) => current.ps[i] !== null && draw("circle", { class: "dot", cx: px(x), cy: py(current.ps[i]), r: 2 }));
    if (current.crossing !== null) draw("circle", { class: "star", cx: px(current.crossing), cy: py(data.point), r: 4.5 });
    if (data.point !== null) {
      const lift = data.point < 0.92 ? -5 : 14;
      draw("text", { class: "tick end halo", x: right, y: py(data.point) + lift }, `p* = ${data.point.toFixed(2)}`);
    }
    marks = { guide: draw("line", { class: "guide", y1: box.top, y2: floor }), here: draw("circle", { class: "here", r: 6.5 }) };
  }

  function show() {
    if (!current) return;
    const strength = held ? 0 : Number(slider.value);
    const p = at(strength);
    paint(strength);
    marks.guide.setAttribute("x1", px(strength));
    marks.guide.setAttribute("x2", px(strength));
    marks.here.setAttribute("cx", px(strength));
    marks.here.setAttribute("cy", py(p === null ? 0 : p));
    marks.here.setAttribute("visibility", p === null ? "hidden" : "visible");
    const says = p === null ? "p not measured here" : `p = ${p.toFixed(3)}`;
    const called = p === null || data.point === null ? "" : p >= data.point ? ", called positive" : ", called negative";
    const text = `λ = ${strength.toFixed(2)}, ${says}${called}`;
    find("reading").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    canvas.setAttribute("aria-label", `${current.picture.name.patient_id}: ${text}`);
  }

  async function choose(to) {
    index = (to + data.pictures.length) % data.pictures.length;
    const mine = index;
    const picture = data.pictures[index];
    const [S, T] = await Promise.all([picture.structure, picture.layer].map((uri) => pixels(uri, picture.width, picture.height)));
    if (mine !== index) return; // another was chosen meanwhile
    const xs = data.strengths[picture.way];
    const ps = picture.probability;
    current = { picture, xs, ps, S, T, crossing: crossing(xs, ps) };
    canvas.width = picture.width;
    canvas.height = picture.height;
    slider.max = reach();
    pick.value = String(index);
    const { name } = picture;
    const facts = [name.path, name.source, name.label && `label ${name.label}`, name.called && `called ${name.called}`];
    if (picture.way === "healed") facts.push("λ = 0 is this image with its layer taken off");
    const strong = document.createElement("b");
    strong.textContent = name.patient_id;
    find("identity").replaceChildren(strong, ` ${facts.filter(Boolean).join(" · ")}`);
    document.querySelector("[data-go=cross]").disabled = current.crossing === null;
    for (const row of rows) row.classList.toggle("now", Number(row.dataset.row) === picture.row);
    axes();
    show();
  }

  function go(strength) {
    slider.value = String(strength);
    show();
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    find("play").setAttribute("aria-pressed", "false");
  }

  function play() {
    if (playing) return stop();
    if (still.matches) return go(reach());
    const start = performance.now();
    const tick = (now) => {
      const share = (now - start) / 4000;
      go(Math.min(1, share) * reach());
      if (share < 1) playing = requestAnimationFrame(tick);
      else stop();
    };
    find("play").setAttribute("aria-pressed", "true");
    playing = requestAnimationFrame(tick);
  }

  function hold(on) {
    if (held === on) return;
    held = on;
    find("hold").setAttribute("aria-pressed", String(on));
    show();
  }

  data.pictures.forEach((picture, i) => {
    const { name } = picture;
    pick.append(new Option(`${name.rank}. ${name.patient_id} · ${name.path}${picture.way === "healed" ? " · healed" : ""}`, String(i)));
  });
  pick.addEventListener("change", () => choose(Number(pick.value)));
  find("previous").addEventListener("click", () => choose(index - 1));
  find("next").addEventListener("click", () => choose(index + 1));
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  for (const each of modes) each.addEventListener("change", show);
  for (const each of document.querySelectorAll("[data-go]")) {
    each.addEventListener("click", () => go(each.dataset.go === "cross" ? current.crossing : Number(each.dataset.go)));
  }
  find("play").addEventListener("click", play);
  const button = find("hold");
  button.addEventListener("pointerdown", () => hold(true));
  button.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && hold(true));
  button.addEventListener("keyup", () => hold(false));
  for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => hold(false));
  body.addEventListener("click", (event) => {
    const asked = event.target.closest("[data-show]");
    if (!asked) return;
    choose(Number(asked.dataset.show));
    find("viewer").scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
    slider.focus({ preventScroll: true });
  });

  const scrub = (event) => {
    const area = chart.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * box.width;
    stop();
    go(Math.max(0, Math.min(1, (x - box.left) / (box.width - box.left - box.right))) * reach());
  };
  chart.addEventListener("pointerdown", (event) => {
    chart.setPointerCapture(event.pointerId);
    scrub(event);
  });
  chart.addEventListener("pointermove", (event) => event.buttons && scrub(event));

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input[type=search], select, textarea")) return;
    if (event.key === "j") choose(index + 1);
    if (event.key === "k") choose(index - 1);
    if (event.key === "c") hold(true);
    if (event.key === "d") {
      modes[(modes.findIndex((each) => each.checked) + 1) % modes.length].checked = true;
      show();
    }
  });
  addEventListener("keyup", (event) => event.key === "c" && hold(false));
  choose(0);
})();
