/* Pictures and texts on a map, drawn by plotly. props.of is "first" or "second"; props.value is null,
 * {waiting}, {error} or {model, collection, view, dimensions, points, box, titles, right, approximate,
 * note, mine: [{name, src, point}]}. Names and small pictures come from the server once (map_tools.js).
 *
 * A kind of thing is a trace: the pictures of a category are dots, its texts diamonds. What isn't
 * chosen or found pales; rings and lines mark what was clicked and its true neighbours. While a flat
 * map is dragged about, map_pan.js moves a picture of it.
 */
const find = (selector) => element.querySelector(selector);
const plot = find(".map-plot"), tip = find(".map-tip"), legend = find(".map-legend");
const { state } = labMap;
const DRAWN = { modeBarButtonsToRemove: ["autoScale2d"], displaylogo: false, displayModeBar: true,
  showSendToCloud: false, scrollZoom: true, doubleClick: "reset",
  plotGlPixelRatio: Math.min(2, window.devicePixelRatio) }; // of itself plotly draws four pixels for one
const webgl = !!document.createElement("canvas").getContext("webgl");
let whole = null, points = null, sorted = [], drawnScene = null, pointer = { x: 0, y: 0 };

const seen = () => !!element.offsetParent;
const ink = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const isText = (row) => row >= whole.pictures;
const kind = (flat) => flat ? (webgl ? "scattergl" : "scatter") : "scatter3d";

/* Rows as a trace. `symbol` gives the shape of pictures and of texts; all rows are of one kind. */
function trace(rows, size, colour, open, more = {}) {
  const d = props.value.dimensions, flat = d === 2;
  const along = (axis) => Array.from(rows, (row) => points[d * row + axis]);
  const symbol = (rows.length && isText(rows[0]) ? "diamond" : "circle") + (open ? "-open" : "");
  return { type: kind(flat), mode: "markers", x: along(0), y: along(1), ...(flat ? {} : { z: along(2) }),
    customdata: Array.from(rows), hoverinfo: "none", showlegend: false,
    marker: { symbol, color: colour, size: flat ? size : 0.7 * size, line: { width: open ? 1.5 : 0, color: colour } },
    selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } }, opacity: 0.75, ...more };
}

const byKind = (rows) => [rows.filter((row) => !isText(row)), rows.filter(isText)].filter((some) => some.length);

function shownRows() {
  return sorted.filter((one) => !state.hidden.has(one.label)).flatMap((one) => one.rows);
}

/* What is chosen by the lasso, or else found by name; null: everything alike. */
function bright() {
  const rows = state.chosen || labMap.found(whole);
  return rows && new Set(rows);
}

function clouds() {
  const chosen = bright(), drawn = [], flat = props.value.dimensions === 2;
  if (chosen) {
    const pale = byKind(shownRows().filter((row) => !chosen.has(row)));
    drawn.push(...pale.map((rows) => trace(rows, flat ? 5 : 2.5, labMap.grey(), false, { opacity: 0.18 })));
  }
  const size = (chosen ? 8 : whole.names.length > 2000 ? 4.5 : 5.5) * (plot.clientWidth < 480 ? 0.75 : 1);
  for (const one of sorted.filter((some) => !state.hidden.has(some.label))) {
    const rows = chosen ? one.rows.filter((row) => chosen.has(row)) : one.rows;
    drawn.push(...byKind(rows).map((some) => trace(some, size, one.colour, one.open)));
  }
  return drawn;
}

/* Where an item lies: a row's number, or "own 0". */
function place(item) {
  const d = props.value.dimensions;
  if (String(item).startsWith("own ")) return props.value.mine[Number(String(item).slice(4))]?.point;
  return item !== "" && item < whole.names.length ? Array.from(points.slice(d * item, d * item + d)) : undefined;
}

function lines(from, rows) {
  const d = props.value.dimensions, ends = rows.flatMap((row) => [from, place(row), Array(d).fill(null)]);
  const [x, y, z] = [0, 1, 2].map((axis) => ends.map((end) => end[axis]));
  return { type: kind(d === 2), mode: "lines", x, y, ...(d === 2 ? {} : { z }), hoverinfo: "skip", showlegend: false,
    connectgaps: false, line: { width: d === 2 ? 1 : 2, color: ink("--body-text-color-subdued") }, opacity: 0.6 };
}

/* One's own: large, outlined, with the number that the list below the map has. */
function own() {
  const { mine, dimensions } = props.value, flat = dimensions === 2;
  return [false, true].flatMap((texts) => {
    const some = mine.map((one, i) => ({ ...one, i })).filter((one) => (one.src === "") === texts);
    if (!some.length) return [];
    const along = (axis) => some.map((one) => one.point[axis]);
    return [{ ...trace([], 15, ink("--lab-mark-fill"), false), mode: "markers+text", x: along(0), y: along(1),
      ...(flat ? {} : { z: along(2) }), customdata: some.map((one) => "own " + one.i), opacity: 1,
      text: some.map((one) => String(one.i + 1)), textfont: { color: ink("--lab-mark"), size: 11 },
      marker: { symbol: texts ? "diamond" : "circle", size: flat ? 20 : 14, color: ink("--lab-mark-fill"),
        line: { width: 2, color: ink("--lab-mark") } } }];
  });
}

function marks() {
  const from = place(state.item), near = labMap.maps[props.of]?.near;
  if (!from) return own();
  const rows = near?.item === state.item ? [...near.pictures, ...near.texts].map(([row]) => row) : [];
  const dark = ink("--body-text-color"), skip = { hoverinfo: "skip", opacity: 1 };
  const ring = { ...trace([], 18, dark, true, skip), x: [from[0]], y: [from[1]] };
  if (from.length === 3) ring.z = [from[2]];
  return [...(rows.length ? [lines(from, rows)] : []), ...byKind(rows).map((some) => trace(some, 11, dark, true, { opacity: 1 })),
    ring, ...own()];
}

function limits(axis) {
  const all = [...props.value.box[axis], ...props.value.mine.map((one) => one.point[axis])];
  const low = Math.min(...all), high = Math.max(...all), pad = 0.06 * (high - low) || 1;
  return [low - pad, high + pad];
}

/* What is seen: while it is the same, zoom and camera stay where the visitor left them. */
const scene = ({ collection, view, dimensions, model, mine }) =>
  JSON.stringify([collection, view, dimensions, model, mine.map((one) => one.name)]);

/* plotly's own memory of a zoom (uirevision) loses it where both axes have one scale. */
function range(i) {
  const kept = scene(props.value) === drawnScene && plot.layout?.[i ? "yaxis" : "xaxis"]?.range;
  return kept ? [...kept] : limits(i);
}

function layout() {
  const { view, dimensions, titles } = props.value, linear = view !== "umap";
  const text = ink("--body-text-color-subdued"), lines = ink("--lab-faint");
  const axis = (i) => ({ title: { text: titles[i], font: { size: 12 } }, range: range(i), color: text, gridcolor: lines,
    zeroline: false, showticklabels: linear, tickfont: { size: 10 }, nticks: 6 });
  const shared = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: ink("--font") || "sans-serif", color: text }, uirevision: true,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: text, activecolor: ink("--lab-cosine") } };
  if (dimensions === 2) {
    return { ...shared, margin: { l: linear ? 46 : 12, r: 12, t: 32, b: linear ? 40 : 12 }, dragmode: "pan", selections: [],
      selectionrevision: Math.random(), xaxis: axis(0), yaxis: { ...axis(1), scaleanchor: "x" } };
  }
  const axes = { xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), aspectmode: "cube" };
  return { ...shared, margin: { l: 0, r: 0, t: 28, b: 0 }, scene: axes };
}

/* -- what the pointer does ------------------------------------------------------------------------- */

function pointed(event) {
  const item = event.points[0]?.customdata;
  if (item === undefined) return;
  const own = String(item).startsWith("own "), mine = own && props.value.mine[Number(item.slice(4))];
  const picture = own ? lab.make(mine.src ? "img" : "span", "map-thumb", mine.src ? undefined : "◆")
    : labMap.thumb(props.value.collection, item, whole.pictures, 64);
  if (own && mine.src) picture.src = mine.src;
  const group = whole.columns.group, words = own ? "yours" : [isText(item) ? "text" : "picture", group.values[group.rows[item]]].join(" · ");
  tip.replaceChildren(picture, lab.make("b", "", own ? mine.name : whole.names[item]), lab.make("small", "", words));
  tip.hidden = false;
  const frame = find(".map-frame").getBoundingClientRect(), { offsetWidth: wide, offsetHeight: high } = tip;
  const left = pointer.x - frame.left + 14, top = pointer.y - frame.top + 14;
  tip.style.left = Math.max(0, left + wide > frame.width ? left - wide - 28 : left) + "px";
  tip.style.top = Math.max(0, top + high > frame.height ? top - high - 28 : top) + "px";
}

function connectPlot() {
  plot.on("plotly_hover", pointed);
  plot.on("plotly_unhover", () => { tip.hidden = true; });
  plot.on("plotly_click", (event) => {
    const item = event.points[0]?.customdata;
    if (item !== undefined) labMap.pick(String(item));
  });
  plot.on("plotly_selected", (event) => {
    const rows = (event?.points || []).map((one) => one.customdata).filter(Number.isInteger);
    if (rows.length) labMap.set("chosen", [...new Set(rows)].sort((a, b) => a - b));
  });
  plot.on("plotly_deselect", () => labMap.set("chosen", null));
  plot.on("plotly_relayout", () => publish("view"));
}

/* -- drawing ----------------------------------------------------------------------------------------- */

function showLegend() {
  const both = sorted.some((one) => byKind(one.rows).length === 2);
  legend.replaceChildren(...sorted.map((one) => {
    const button = lab.make("button"), signs = byKind(one.rows).map((rows) => isText(rows[0]) ? "text" : "picture");
    button.type = "button";
    button.setAttribute("aria-pressed", String(!state.hidden.has(one.label)));
    button.append(...signs.map((sign) => labMap.sign(sign, one.colour, one.open)), lab.make("span", "", one.label),
      lab.make("small", "", one.rows.length.toLocaleString("en")));
    button.onclick = () => toggle(one.label);
    button.ondblclick = () => only(one.label);
    return button;
  }), whole_or_none(true), whole_or_none(false));
  if (both) legend.append(lab.make("span", "map-kinds", "● picture ◆ text"));
}

function whole_or_none(all) {
  const button = lab.make("button", "map-all", all ? "all" : "none");
  button.type = "button";
  button.setAttribute("aria-label", all ? "Show all colours" : "Hide all colours");
  button.onclick = () => hide(all ? [] : sorted.map((one) => one.label));
  return button;
}

function hide(labels) {
  state.hidden = new Set(labels);
  labMap.changed("hidden");
}
const toggle = (label) => hide(state.hidden.has(label) ? [...state.hidden].filter((one) => one !== label) : [...state.hidden, label]);
const only = (label) => hide(sorted.map((one) => one.label).filter((one) => one !== label));

function showMine() {
  const { mine, approximate } = props.value;
  find(".map-mine").replaceChildren(...mine.map((one, i) => {
    const line = lab.make("li"), button = lab.make("button", "", one.name);
    button.type = "button";
    button.onclick = () => labMap.pick("own " + i);
    line.append(lab.make("b", "", String(i + 1)), button, lab.make("small", "",
      `${one.src ? "picture" : "text"}, its place is ${approximate ? "approximate" : "exact"}`));
    return line;
  }));
}

/* For the list of points under the map. */
function publish(key) {
  labMap.maps[props.of] = { ...labMap.maps[props.of], whole, value: props.value, points, sorted, shown: shownRows(), plot };
  labMap.changed(key);
}

async function draw() {
  const value = props.value;
  if (!whole || value.waiting || value.error || !seen()) return;
  const Plotly = await labMap.plotly();
  await still();
  if (value !== props.value) return;
  sorted = labMap.categories(whole, value.right, state.colour);
  const focused = [...legend.children].indexOf(document.activeElement);
  showLegend();
  if (focused >= 0) legend.children[focused]?.focus();
  const isNew = scene(value) !== drawnScene, parts = [[...clouds(), ...marks()], layout(), DRAWN];
  drawnScene = scene(value);
  await (isNew ? Plotly.newPlot(plot, ...parts) : Plotly.react(plot, ...parts));
  if (isNew) connectPlot();
  plot.setAttribute("aria-label", `Map of ${whole.pictures} pictures and ${whole.names.length - whole.pictures} texts. ` +
    "To reach points by keyboard, use the field “Find by name” and the list of points below.");
  find(".map-waiting").hidden = true;
}

async function show() {
  const value = props.value;
  if (!value) delete labMap.maps[props.of];
  if (!lab.begin(element, value)) { whole = null; return labMap.changed("view"); }
  find(".map-waiting").textContent = value.waiting || "";
  find(".map-waiting").hidden = !value.waiting;
  if (value.waiting) return;
  find(".lab-note").textContent = value.note;
  find(".map").setAttribute("aria-label", "Map of the embedding space " + value.model);
  const content = await labMap.content(value.collection);
  if (value !== props.value) return;
  [whole, points] = [content, labMap.floats(value.points)];
  showMine();
  await draw().catch((error) => { find(".map-waiting").hidden = false; find(".map-waiting").textContent = error.message; });
  publish("view");
}

labMap.listen((key) => {
  if (!["view", "asked"].includes(key) && whole && props.value) draw().then(() => publish("view"));
});
const still = labPan(plot);
element.addEventListener("pointermove", (event) => { pointer = { x: event.clientX, y: event.clientY }; });
element.addEventListener("pointerleave", () => { tip.hidden = true; });
document.addEventListener("lab-theme", () => labMap.changed("theme"));
new ResizeObserver(() => {
  if (!seen()) return;
  if (props.of === "first") labMap.refresh();
  if (plot.classList.contains("js-plotly-plot")) still().then(() => window.Plotly.relayout(plot, { autosize: true }));
  else draw();
}).observe(element);
if (props.of === "first") {
  labMap.connect({ seen, content: server.content_value, sheet: server.sheet,
    call: (name) => ({ wanted: () => trigger("wanted"), picked: () => trigger("picked"), asked: () => trigger("asked") })[name]() });
}
watch("value", show);
show();
