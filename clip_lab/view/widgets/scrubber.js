// A training to be gone through: a slider over its moments, three curves with a mark, a matrix.
// Follows base.js. State: steps, cosines, pictures, captions, curves, chance, at, show.

const [WIDTH, HEIGHT] = [200, 84]; // of a curve, in its own units
const PAUSE = 900; // milliseconds a moment, when it plays
const VIEWS = [["cosine", "cosine"], ["captions", "softmax over captions"]];
// Each curve: what stands above it, where its axis begins, how a value is said.
const PLOTS = {
  loss: ["loss", 0, (value) => value.toFixed(2)],
  scale: ["scale 1/τ", 0, (value) => value.toFixed(1)],
  accuracy: ["right, held out", 0, (value) => `${percent(value)} %`],
};

const SKELETON = `<div class="cl clt">
  <div class="clt-head"><p class="clt-step"></p>
    <button type="button" class="cl-chip clt-play">Play</button></div>
  <input type="range" min="0" step="1" aria-label="moment of the training">
  <div class="clt-plots"></div>
  <p class="clt-axis"></p>
  <fieldset class="cl-switches clt-views"><legend>Show</legend></fieldset>
  <div class="cl-scroll">
    <table role="grid" class="cl-matrix"
      aria-label="held-out pictures (rows) against captions (columns)">
      <thead><tr><td></td></tr></thead><tbody></tbody>
    </table>
  </div>
  <p class="cl-said" role="status"><b></b> <span></span></p>
  <details>
    <summary>The run as a table</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="the run, moment by moment">
      <table class="cl-digest">
        <thead><tr><th scope="col">step</th><th scope="col">loss</th><th scope="col">scale</th>
          <th scope="col">right, held out</th><th scope="col">of these pairs</th></tr></thead>
        <tbody></tbody>
      </table>
    </div>
  </details>
</div>`;

const best = (row) => row.indexOf(Math.max(...row));
const whole = (number) => number.toLocaleString("en-GB");

function softmax(row) {
  const top = Math.max(...row); // taken off first, so that exp cannot overflow
  const powers = row.map((value) => Math.exp(value - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** A curve's value at a step: on the straight line between the points around it. */
function valueAt(points, step) {
  const after = points.findIndex(([at]) => at >= step);
  if (after === 0) return points[0][1];
  if (after < 0) return points.at(-1)[1];
  const [[s, v], [t, w]] = [points[after - 1], points[after]];
  return v + ((w - v) * (step - s)) / (t - s);
}

/** How many of the pictures prefer their own caption. */
const matched = (matrix) => matrix.filter((row, i) => best(row) === i).length;

/** SVG has its own namespace, so `make` won't do. */
function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** One curve over a logarithmic axis of steps; returns a function that moves its mark. */
function addPlot(box, name, points, last, chance) {
  const [title, low, told] = PLOTS[name];
  const high = name === "accuracy" ? 1 : 1.05 * Math.max(...points.map(([, value]) => value));
  const x = (step) => (WIDTH * Math.log1p(step / 10)) / Math.log1p(last / 10);
  const y = (value) => HEIGHT * (1 - (value - low) / (high - low));
  const svg = draw("svg", { viewBox: `-7 -7 ${WIDTH + 14} ${HEIGHT + 14}`, "aria-hidden": "true" });
  const line = draw("line", { class: "clt-now", y1: 0, y2: HEIGHT });
  const dot = draw("circle", { r: 5 });
  svg.append(draw("line", { x2: WIDTH, y1: HEIGHT, y2: HEIGHT }));
  if (name === "accuracy" && chance) {
    svg.append(draw("line", { x2: WIDTH, y1: y(chance), y2: y(chance), class: "clt-chance" }));
  }
  const path = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
  svg.append(line, draw("polyline", { points: path.join(" ") }), dot);
  const value = make("b", {});
  box.append(make("figure", {}, make("figcaption", {}, `${title} `, value), svg));
  return (step) => {
    const now = valueAt(points, step);
    for (const end of ["x1", "x2"]) line.setAttribute(end, x(step));
    dot.setAttribute("cx", x(step));
    dot.setAttribute("cy", y(now));
    value.textContent = told(now);
  };
}

function paintGrid(cells, values, view, [row, column]) {
  cells.forEach((line, i) => line.forEach((cell, j) => {
    const value = values[i][j];
    const here = i === row && j === column;
    cell.textContent = view === "cosine" ? signed(value) : percent(value);
    cell.tabIndex = here ? 0 : -1; // one stop for the Tab key; arrows do the rest
    cell.style.setProperty("--depth", `${(100 * Math.abs(value)).toFixed(1)}%`);
    cell.classList.toggle("cl-negative", value < 0);
    cell.classList.toggle("clt-best", j === best(values[i]));
    cell.classList.toggle("cl-here", here);
  }));
}

/** The slider and what else chooses; returns a function that sets them from the model. */
function connect(find, model, put) {
  const [range, steps, play] = [find("input[type=range]"), model.get("steps"), find(".clt-play")];
  range.max = steps.length - 1;
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  const on = () => {
    const next = model.get("at") + 1;
    if (next >= steps.length || !play.isConnected) stop();
    else put("at", next);
  };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (model.get("at") === steps.length - 1) put("at", 0);
    play.textContent = "Stop";
    timer = setInterval(on, PAUSE);
  });
  range.addEventListener("input", () => { stop(); put("at", Number(range.value)); });
  const switches = radios(find(".clt-views"), VIEWS, (view) => put("show", view));
  return () => {
    const step = whole(steps[model.get("at")]);
    range.value = model.get("at");
    range.setAttribute("aria-valuetext", `step ${step}`);
    find(".clt-step").replaceChildren(make("b", {}, `Step ${step}`), ` of ${whole(steps.at(-1))}`);
    for (const radio of switches) radio.checked = radio.value === model.get("show");
  };
}

/** A line for each moment: the table for who can't use the curves. */
function fillDigest(table, steps, cosines, curves) {
  table.tBodies[0].replaceChildren(...steps.map((step, k) => make("tr", {},
    make("th", { scope: "row" }, whole(step)),
    ...Object.keys(PLOTS).map((name) => make("td", {}, PLOTS[name][2](valueAt(curves[name], step)))),
    make("td", {}, `${matched(cosines[k])} of ${cosines[k].length}`))));
}

function say(paragraph, captions, matrix, shares, [i, j]) {
  const count = captions.length;
  paragraph.firstChild.textContent =
    `${matched(matrix)} of these ${count} pictures prefer their own caption.`;
  paragraph.lastChild.textContent =
    `Picture of “${captions[i]}”, caption “${captions[j]}”${i === j ? " (its own)" : ""}: ` +
    `cosine ${signed(matrix[i][j])}, ${percent(shares[i][j])} % of its row; ` +
    `its best is “${captions[best(matrix[i])]}”.`;
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [steps, cosines, captions, curves] = ["steps", "cosines", "captions", "curves"]
    .map((name) => model.get(name));
  let focus = [0, 0];
  const setControls = connect(find, model, put);
  const marks = Object.keys(PLOTS).map((name) =>
    addPlot(find(".clt-plots"), name, curves[name], steps.at(-1), model.get("chance")));
  const onFocus = (i, j) => { focus = [i, j]; update(); };
  const cells = fillMatrix(find("[role=grid]"), captions, model.get("pictures"), onFocus);
  fillDigest(find(".cl-digest"), steps, cosines, curves);
  find(".clt-axis").textContent = `Across: steps 0 to ${whole(steps.at(-1))}, logarithmic.` +
    (model.get("chance") ? " Dashed: chance." : "");
  const update = () => {
    const [at, view] = [model.get("at"), model.get("show")];
    const scale = valueAt(curves.scale, steps[at]);
    const shares = cosines[at].map((row) => softmax(row.map((value) => scale * value)));
    setControls();
    for (const mark of marks) mark(steps[at]);
    paintGrid(cells, view === "cosine" ? cosines[at] : shares, view, focus);
    say(find(".cl-said"), captions, cosines[at], shares, focus);
  };
  return update;
}

const render = renderer(build, ["at", "show"],
  ["steps", "cosines", "pictures", "captions", "curves", "chance"]);

export default { render };
