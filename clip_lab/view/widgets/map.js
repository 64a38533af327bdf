// An embedding space as a map: pictures as dots, texts as diamonds, and who is near in the full
// space. Follows base.js. State: vectors, width, names, sheet, views, view, share, chosen. Rows are
// numbered through: n pictures, then their n texts.

const [WIDE, HIGH, EDGE] = [640, 430, 16]; // of the map, in its own units
const [LISTED, BESIDE] = [6, 10]; // neighbours of each kind shown; neighbours that are counted
const [ACROSS, CELL] = [20, 40]; // of the sheet of small pictures, as map.py makes it
const REACH = 18; // how far from a point, in the map's units, a click still means it
const SVG = "http://www.w3.org/2000/svg";
const BENT = "UMAP keeps neighbours together and bends all else: it has no axes to move along.";

// What does not depend on the data.
const SKELETON = `<div class="cl cle">
  <fieldset class="cl-switches cle-views"><legend>View</legend></fieldset>
  <label class="cle-close"><span>Close the gap</span>
    <input type="range" min="0" max="1" step="0.01"></label>
  <p class="cle-gap"></p>
  <div class="cle-plot" tabindex="0" role="application" aria-label="Map of pictures and texts. Arrow
    keys go to the next point in that direction; what is chosen is said below.">
    <svg viewBox="0 0 ${WIDE} ${HIGH}" aria-hidden="true">
      <g class="cle-lines"></g><g class="cle-points"></g>
      <text class="cle-x" x="${WIDE - 6}" y="${HIGH - 6}" text-anchor="end"></text>
      <text class="cle-y" transform="translate(13 8) rotate(-90)" text-anchor="end"></text>
      <text class="cle-hover"></text>
    </svg>
  </div>
  <p class="cle-key"><i class="cle-dot"></i> picture <i class="cle-diamond"></i> text
    <i class="cle-ring"></i> among the ${LISTED} nearest of its kind, in the full space</p>
  <label class="cle-find">Choose by name <select></select></label>
  <p class="cl-said" role="status"><b></b> <span></span></p>
  <div class="cle-lists">
    <table><caption>Nearest pictures</caption><tbody></tbody></table>
    <table><caption>Nearest texts</caption><tbody></tbody></table>
  </div>
</div>`;

const middle = (rows) => rows[0].map(
  (_, k) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length);
const svg = (tag, attributes) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

function dot(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}

function unit(row) {
  const length = Math.sqrt(dot(row, row));
  return row.map((value) => value / length);
}

/** The vectors, from base64 of 16-bit whole numbers. */
function decode(text, width) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const numbers = Array.from(new Int16Array(bytes.buffer));
  return Array.from({ length: numbers.length / width },
    (_, i) => unit(numbers.slice(i * width, (i + 1) * width)));
}

/** What points from the texts' centroid to the pictures'. */
function gapOf(rows) {
  const pairs = rows.length / 2;
  const [pictures, texts] = [rows.slice(0, pairs), rows.slice(pairs)].map(middle);
  return pictures.map((value, k) => value - texts[k]);
}

/** Both kinds moved along the gap by a share of it, towards each other, and back to length 1. */
function moved(rows, gap, share) {
  if (share === 0) return rows;
  return rows.map((row, i) => {
    const step = i < rows.length / 2 ? -share : share;
    return unit(row.map((value, k) => value + step * gap[k]));
  });
}

const place = (view, rows) => view.points ?? rows.map((row) => {
  const off = row.map((value, k) => value - view.mean[k]);
  return view.axes.map((axis) => dot(axis, off));
});

/** From a view's coordinates to the map's: the same scale along both axes, nothing stretched. */
function frame(view, rows, gap) {
  const shares = view.points ? [0] : [0, 0.5, 1];
  const all = shares.flatMap((share) => place(view, moved(rows, gap, share)));
  const [low, high] = [Math.min, Math.max].map((most) => [0, 1].map(
    (axis) => all.reduce((end, point) => most(end, point[axis]), all[0][axis])));
  const size = [WIDE - 2 * EDGE, HIGH - 2 * EDGE];
  const scale = Math.min(...size.map((length, axis) => length / (high[axis] - low[axis] || 1)));
  const at = (point, axis) => (point[axis] - (low[axis] + high[axis]) / 2) * scale;
  return (point) => [WIDE / 2 + at(point, 0), HIGH / 2 - at(point, 1)];
}

/** Rows by falling cosine to the chosen one, which is left out: [row, cosine]. */
function ranking(rows, chosen) {
  return rows.map((row, i) => [i, dot(row, rows[chosen])]).filter(([i]) => i !== chosen)
    .sort((a, b) => b[1] - a[1]);
}

/** The rows that lie nearest to the chosen one on the map. */
function beside(points, chosen) {
  const [x, y] = points[chosen];
  return points.map(([a, b], i) => [i, (a - x) ** 2 + (b - y) ** 2]).filter(([i]) => i !== chosen)
    .sort((a, b) => a[1] - b[1]).slice(0, BESIDE).map(([i]) => i);
}

/** The nearest point in a direction, at most 45 degrees off it; the chosen one if there is none. */
function step(points, chosen, [down, right]) {
  const [x, y] = points[chosen];
  let [best, least] = [chosen, Infinity];
  points.forEach(([a, b], i) => {
    const [along, across] = [(a - x) * right + (b - y) * down, (a - x) * down + (b - y) * right];
    if (i === chosen || along <= 0 || Math.abs(across) > along) return;
    const distance = along + 1.5 * Math.abs(across);
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}

/** A mark for each row, drawn once; `drawPoints` moves them. */
function addPoints(group, pairs) {
  const marks = Array.from({ length: 2 * pairs }, (_, i) => (i < pairs
    ? svg("circle", { r: 3.6, class: "cle-dot" })
    : svg("path", { d: "M0-4.8 4.8 0 0 4.8-4.8 0Z", class: "cle-diamond" })));
  marks.forEach((mark, i) => { mark.dataset.row = i; });
  group.append(...marks);
  return marks;
}

function drawPoints(marks, lines, points, chosen, near) {
  const pairs = marks.length / 2;
  const own = (chosen + pairs) % marks.length;
  marks.forEach((mark, i) => {
    mark.style.translate = `${points[i][0].toFixed(1)}px ${points[i][1].toFixed(1)}px`;
    mark.classList.toggle("cle-near", near.has(i));
    mark.classList.toggle("cle-chosen", i === chosen);
  });
  const [[x1, y1], [x2, y2]] = [points[chosen], points[own]];
  lines.replaceChildren(svg("line", { x1, y1, x2, y2 }));
  for (const i of near) marks[i].parentNode.append(marks[i]); // above the others
  marks[chosen].parentNode.append(marks[chosen]);
}

/** A small picture, cut out of the sheet by its background's position. */
function thumbnail(sheet, i) {
  const image = make("i", { className: "cle-small" });
  image.style.backgroundImage = `url("${sheet}")`;
  const [x, y] = [i % ACROSS, Math.floor(i / ACROSS)];
  image.style.backgroundPosition = `${-x * CELL}px ${-y * CELL}px`;
  return image;
}

function fillList(table, found, names, sheet, own) {
  table.tBodies[0].replaceChildren(...found.map(([i, cosine]) => make("tr",
    { className: i === own ? "cle-own" : "" },
    make("td", {}, ...(i < names.length ? [thumbnail(sheet, i)] : ["“"])),
    make("th", { scope: "row" }, names[i % names.length], i === own ? " (its own)" : ""),
    make("td", {}, signed(cosine)))));
}

const called = (names, i) => (i < names.length ? `Picture of “${names[i]}”`
  : `Text “${names[i - names.length]}”`);

/** What the picture shows, in words. */
function say(paragraph, names, chosen, ranked, points) {
  const [head, words] = paragraph.children;
  const pairs = names.length;
  const own = (chosen + pairs) % (2 * pairs);
  const [kind, other] = chosen < pairs ? ["name", "texts"] : ["picture", "pictures"];
  const others = ranked.filter(([i]) => (i < pairs) !== (chosen < pairs));
  const rank = others.findIndex(([i]) => i === own) + 1;
  const first = ranked.slice(0, BESIDE).map(([i]) => i);
  const pictures = first.filter((i) => i < pairs).length;
  const among = new Set(first);
  const kept = beside(points, chosen).filter((i) => among.has(i)).length;
  head.textContent = `${called(names, chosen)}.`;
  words.textContent = `Its own ${kind} is number ${rank} of ${pairs} ${other}. Of its ${BESIDE} ` +
    `nearest in the full space, ${pictures} are pictures and ${BESIDE - pictures} texts. Of the ` +
    `${BESIDE} beside it on this map, ${kept} are among them.`;
}

/** The switch, the slider and the list of names; returns what sets them from the model. */
function connect(find, model, put) {
  const views = model.get("views");
  const switches = radios(find(".cle-views"), views.map(({ name }) => [name, name]),
    (name) => put("view", name));
  const range = find("input[type=range]");
  range.addEventListener("input", () => put("share", Number(range.value)));
  const select = find("select");
  const names = model.get("names");
  ["Pictures", "Texts"].forEach((label, kind) => select.append(make("optgroup", { label },
    ...names.map((name, i) => make("option", { value: i + kind * names.length }, name)))));
  select.addEventListener("change", () => put("chosen", Number(select.value)));
  return (view, share, chosen, distance) => {
    check(switches, view.name);
    range.disabled = Boolean(view.points);
    range.value = share;
    range.setAttribute("aria-valuetext", `${Math.round(100 * share)} % of the gap`);
    select.value = chosen;
    find(".cle-gap").textContent = view.points ? BENT
      : `Both kinds moved by ${Math.round(100 * share)} % of the gap. Distance of the centroids: ` +
        `${distance.toFixed(2)}.`;
    const [x, y] = view.titles ?? ["", ""];
    find(".cle-x").textContent = x && `${x} →`;
    find(".cle-y").textContent = y && `${y} →`;
  };
}

/** Mouse and keys on the map. `points()` are where things lie now. */
function listen(plot, hover, names, points, choose, chosen) {
  const under = (event) => {
    const box = plot.querySelector("svg").getBoundingClientRect();
    const scale = WIDE / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let [best, least] = [-1, REACH ** 2];
    points().forEach(([a, b], i) => {
      const distance = (a - x) ** 2 + (b - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  };
  plot.addEventListener("pointermove", (event) => {
    const i = under(event);
    hover.textContent = i < 0 ? "" : called(names, i);
    if (i < 0) return;
    const [x, y] = points()[i];
    hover.setAttribute("text-anchor", x > WIDE / 2 ? "end" : "start");
    hover.setAttribute("x", x + (x > WIDE / 2 ? -9 : 9));
    hover.setAttribute("y", Math.max(14, y - 7));
  });
  plot.addEventListener("pointerleave", () => { hover.textContent = ""; });
  plot.addEventListener("click", (event) => { const i = under(event); if (i >= 0) choose(i); });
  plot.addEventListener("keydown", (event) => {
    if (!MOVES[event.key]) return;
    event.preventDefault();
    choose(step(points(), chosen(), MOVES[event.key]));
  });
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [names, sheet] = [model.get("names"), model.get("sheet")];
  const rows = decode(model.get("vectors"), model.get("width"));
  const gap = gapOf(rows);
  const frames = Object.fromEntries(model.get("views").map((v) => [v.name, frame(v, rows, gap)]));
  const marks = addPoints(find(".cle-points"), names.length);
  const setControls = connect(find, model, put);
  let points = [];
  listen(find(".cle-plot"), find(".cle-hover"), names, () => points, (i) => put("chosen", i),
    () => model.get("chosen"));
  return () => {
    const chosen = model.get("chosen");
    const view = model.get("views").find(({ name }) => name === model.get("view"));
    const share = view.points ? 0 : model.get("share");
    const now = moved(rows, gap, share);
    const rest = gapOf(now);
    points = place(view, now).map(frames[view.name]);
    const ranked = ranking(now, chosen);
    const near = [true, false].map((picture) => ranked
      .filter(([i]) => (i < names.length) === picture).slice(0, LISTED));
    setControls(view, share, chosen, Math.sqrt(dot(rest, rest)));
    drawPoints(marks, find(".cle-lines"), points, chosen, new Set(near.flat().map(([i]) => i)));
    const own = (chosen + names.length) % (2 * names.length);
    el.querySelectorAll("table").forEach((table, k) => fillList(table, near[k], names, sheet, own));
    say(find(".cl-said"), names, chosen, ranked, points);
  };
}

const render = renderer(build, ["view", "share", "chosen"], ["vectors", "names", "sheet", "views"]);

export default { render };
