// Two classifiers and what lies between them: (1 − α) × the names' logits + α × those of a probe
// that saw a few examples. Follows base.js. State: names, probes, shots, targets, classes, shown,
// pictures, alpha, at, draw.

const STEPS = 100; // from α = 0 to 1: the slider's, and the curve's

const SKELETON = `<div class="cl clf">
  <div class="clf-choices">
    <fieldset class="cl-switches clf-shots"><legend>Examples a class</legend></fieldset>
    <fieldset class="cl-switches clf-draws"><legend>Draw of the examples</legend></fieldset>
  </div>
  <p class="clf-alpha"><b></b> <span></span></p>
  <figure class="clf-figure" aria-hidden="true">
    <div class="clf-ticks"></div>
    <div class="clf-plot"><svg viewBox="0 0 100 100" preserveAspectRatio="none"></svg>
      <i class="clf-best"></i><i class="clf-dot"></i></div>
  </figure>
  <input type="range" min="0" max="${STEPS}" step="1" aria-label="α, the weight of the examples">
  <p class="clf-ends" aria-hidden="true"><span>α = 0: names alone</span>
    <span>α = 1: examples alone</span></p>
  <p class="clf-keys" aria-hidden="true"><span><i></i>right (%) by α, this draw</span>
    <span><i class="clf-other"></i>other draws</span>
    <span><i class="clf-names"></i>names alone</span><span><i class="clf-chance"></i>chance</span>
    <span><i class="clf-best"></i>best on these pictures</span></p>
  <div class="cl-chips"></div>
  <p class="cl-said" role="status"><b></b> <span></span></p>
  <div class="cl-scroll"><table class="clf-answers"><caption></caption>
    <thead><tr></tr></thead><tbody></tbody></table></div>
  <details>
    <summary>The curves as a table</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="accuracy by α and examples">
      <table class="cl-digest"><thead><tr><th scope="col">α</th></tr></thead><tbody></tbody></table>
    </div>
  </details>
</div>`;

/** Base64 of 16-bit numbers, little-endian: as Python packed them. */
function unpack(text) {
  const view = new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  return Int16Array.from({ length: view.byteLength / 2 }, (_, k) => view.getInt16(2 * k, true));
}

/** Each picture's answer: the class of its largest blended logit. */
function answers(names, probe, classes, alpha) {
  return Array.from({ length: names.length / classes }, (_, n) => {
    let [best, most] = [0, -Infinity];
    for (let k = 0; k < classes; k++) {
      const place = n * classes + k;
      const logit = (1 - alpha) * names[place] + alpha * probe[place];
      if (logit > most) [best, most] = [k, logit];
    }
    return best;
  });
}

const hits = (said, targets) => said.filter((k, n) => k === targets[n]).length;

/** How many are right at each step of α. */
function curve(data, probe) {
  return Array.from({ length: STEPS + 1 }, (_, step) => hits(
    answers(data.names, probe, data.classes.length, step / STEPS), data.targets));
}

const told = (step) => (step / STEPS).toFixed(2);
const bestStep = (counts) => counts.indexOf(Math.max(...counts));
const points = (counts, y) => counts.map((count, step) =>
  `${(100 * step) / STEPS},${y(count).toFixed(2)}`).join(" ");

/** SVG has its own namespace, so `make` won't do. */
function line(svg, name, path) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  element.setAttribute("class", name);
  element.setAttribute("points", path);
  svg.append(element);
}

/** The axis, from the ten per cent below all to those above; returns how far below its top a count
 * of right answers stands, in per cent. */
function addAxis(box, data) {
  const tenths = data.curves.flat(2).map((count) => (10 * count) / data.targets.length);
  const low = Math.floor(Math.min(10 / data.classes.length, ...tenths));
  const high = Math.max(low + 1, Math.ceil(Math.max(...tenths)));
  const down = (tenth) => (100 * (high - tenth)) / (high - low);
  for (let tenth = low; tenth <= high; tenth += high - low > 6 ? 2 : 1) {
    const tick = make("span", {}, `${10 * tenth} %`);
    tick.style.top = `${down(tenth)}%`;
    box.append(tick);
  }
  return (count) => down((10 * count) / data.targets.length);
}

function paintPlot(find, data, y, { at, draw, step }) {
  const svg = find(".clf-plot svg");
  svg.replaceChildren();
  const level = (name, count) => line(svg, name, `0,${y(count)} 100,${y(count)}`);
  level("clf-chance", data.targets.length / data.classes.length);
  level("clf-names", data.curves[at][draw][0]);
  const counts = data.curves[at][draw];
  const others = data.curves[at].filter((other) => other !== counts);
  for (const other of others) line(svg, "clf-other", points(other, y));
  line(svg, "clf-this", points(counts, y));
  for (const [mark, place] of [[".clf-plot .clf-best", bestStep(counts)], [".clf-dot", step]]) {
    find(mark).style.left = `${(100 * place) / STEPS}%`;
    find(mark).style.top = `${y(counts[place])}%`;
  }
}

const more = (difference, than) => difference === 0 ? `as many as by ${than}`
  : `${Math.abs(difference)} ${difference > 0 ? "more" : "fewer"} than by ${than}`;

/** What became of the answers that are no longer the names'. */
function changes(data, said, bare) {
  const changed = said.flatMap((k, n) => (k === bare[n] ? [] : [n]));
  if (changed.length === 0) return "All answers are the names' own.";
  const right = (answered) => changed.filter((n) => answered[n] === data.targets[n]).length;
  return `${changed.length} answers differ from the names': ${right(said)} became right, ` +
    `${right(bare)} wrong, the others were and stay wrong.`;
}

/** What this α does, how it compares, and where the best one lies. */
function say(paragraph, data, { at, draw, step }, said, bare) {
  const [counts, shots, total] = [data.curves[at][draw], data.shots[at], data.targets.length];
  const [right, best] = [counts[step], bestStep(counts)];
  const share = (count) => `${((100 * count) / total).toFixed(1)} %`;
  const bests = data.curves[at].map(bestStep);
  const range = bests.length === 1 ? "" : `; over the ${bests.length} draws it goes from ` +
    `${told(Math.min(...bests))} to ${told(Math.max(...bests))}`;
  paragraph.firstChild.textContent = `With ${shots} example${shots > 1 ? "s" : ""} a class and ` +
    `α = ${told(step)}, ${right} of ${total} are right (${share(right)}):`;
  paragraph.lastChild.textContent = `${more(right - counts[0], "the names alone")}, ` +
    `${more(right - counts[STEPS], "the examples alone")}. ${changes(data, said, bare)} The best ` +
    `α for this draw is ${told(best)} (${share(counts[best])})${range}. It was read off these ` +
    "very pictures, which flatters.";
}

/** A column for each class, with its pictures; returns what each picture's answer is written in. */
function fillAnswers(table, data, pictures) {
  const columns = data.classes.map((_, k) => data.shown.flatMap((place, i) =>
    (data.targets[place] === k ? [i] : [])));
  table.caption.textContent = `${data.shown.length} of the pictures, under what they are. ` +
    "✓ right, ✗ wrong. In a frame: not the names' answer, which is struck through.";
  table.tHead.rows[0].append(...data.classes.map((name) => make("th", { scope: "col" }, name)));
  const tiles = [];
  for (let row = 0; row < Math.max(...columns.map((column) => column.length)); row++) {
    table.tBodies[0].append(make("tr", {}, ...columns.map((column, k) => {
      const cell = make("td");
      if (row in column) {
        const [mark, now, was] = [make("b"), make("span"), make("s")];
        const image = make("img", { src: pictures[column[row]], alt: `${data.classes[k]}:` });
        cell.append(image, mark, now, was);
        tiles[column[row]] = { cell, mark, now, was };
      }
      return cell;
    })));
  }
  return tiles;
}

function paintAnswers(tiles, data, said, bare) {
  data.shown.forEach((place, i) => {
    const { cell, mark, now, was } = tiles[i];
    const [right, changed] = [said[place] === data.targets[place], said[place] !== bare[place]];
    cell.className = `${right ? "clf-right" : "clf-wrong"}${changed ? " clf-changed" : ""}`;
    mark.replaceChildren(make("span", { ariaHidden: "true" }, right ? "✓" : "✗"),
      make("span", { className: "cl-unseen" }, right ? "right: " : "wrong: "));
    now.textContent = data.classes[said[place]];
    was.replaceChildren(...(changed ? [make("span", { className: "cl-unseen" }, ", by the names "),
      data.classes[bare[place]]] : []));
  });
}

function fillDigest(table, data, draw) {
  const share = (count) => `${percent(count / data.targets.length)} %`;
  const own = data.curves.map((draws) => draws[Math.min(draw, draws.length - 1)]);
  const row = (name, texts) => make("tr", {}, make("th", { scope: "row" }, name),
    ...texts.map((text) => make("td", {}, text)));
  const every = Array.from({ length: 11 }, (_, k) => (k * STEPS) / 10);
  table.tHead.rows[0].replaceChildren(table.tHead.rows[0].cells[0], ...data.shots.map((k) =>
    make("th", { scope: "col" }, `${k} a class`)));
  table.tBodies[0].replaceChildren(
    ...every.map((step) => row(told(step), own.map((counts) => share(counts[step])))),
    row("best α", own.map((counts) => told(bestStep(counts)))));
}

/** The slider, the plot and the buttons all set α; the switches set what is blended. */
function connect(find, data, put) {
  const range = find("input[type=range]");
  range.addEventListener("input", () => put("alpha", range.value / STEPS));
  const plot = find(".clf-plot");
  const point = (event) => {
    const { left, width } = plot.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
    if (event.buttons) put("alpha", Math.round(share * STEPS) / STEPS);
  };
  for (const kind of ["pointerdown", "pointermove"]) plot.addEventListener(kind, point);
  const quick = [["names alone", () => 0], ["half and half", () => 0.5],
    ["examples alone", () => 1], ["best on these pictures", (now) => now()]];
  const buttons = quick.map(([name, alpha]) => [make("button",
    { type: "button", className: "cl-chip" }, name), alpha]);
  find(".cl-chips").append(...buttons.map(([button]) => button));
  const shots = radios(find(".clf-shots"), data.shots.map((k, at) => [at, `${k}`]),
    (at) => put("at", Number(at)));
  const most = Math.max(...data.probes.map((draws) => draws.length));
  const draws = radios(find(".clf-draws"), Array.from({ length: most }, (_, d) => [d, `${d + 1}`]),
    (draw) => put("draw", Number(draw)));
  find(".clf-draws").hidden = most < 2;
  return ({ at, draw, step }) => {
    const best = () => bestStep(data.curves[at][draw]) / STEPS;
    for (const [button, alpha] of buttons) button.onclick = () => put("alpha", alpha(best));
    range.value = step;
    range.setAttribute("aria-valuetext", `α = ${told(step)}`);
    check(shots, at);
    check(draws, draw);
    find(".clf-draws").disabled = data.probes[at].length < 2;
    find(".clf-alpha b").textContent = `α = ${told(step)}`;
    find(".clf-alpha span").textContent = `logits = ${told(STEPS - step)} · names + ` +
      `${told(step)} · examples`;
  };
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const data = Object.fromEntries(["shots", "targets", "classes", "shown"]
    .map((name) => [name, model.get(name)]));
  data.names = unpack(model.get("names"));
  data.probes = model.get("probes").map((draws) => draws.map(unpack));
  data.curves = data.probes.map((draws) => draws.map((probe) => curve(data, probe)));
  const bare = answers(data.names, data.names, data.classes.length, 0);
  const y = addAxis(find(".clf-ticks"), data);
  const tiles = fillAnswers(find(".clf-answers"), data, model.get("pictures"));
  const setControls = connect(find, data, put);
  return () => {
    const at = model.get("at");
    const draw = Math.min(model.get("draw"), data.probes[at].length - 1);
    const now = { at, draw, step: Math.round(STEPS * model.get("alpha")) };
    const said = answers(data.names, data.probes[at][draw], data.classes.length, now.step / STEPS);
    setControls(now);
    paintPlot(find, data, y, now);
    say(find(".cl-said"), data, now, said, bare);
    paintAnswers(tiles, data, said, bare);
    fillDigest(find(".cl-digest"), data, model.get("draw"));
  };
}

const render = renderer(build, ["alpha", "at", "draw"],
  ["names", "probes", "shots", "targets", "classes", "shown", "pictures"]);

export default { render };
