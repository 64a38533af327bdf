/* The points of the map as a table, a page at a time, or as a gallery: those chosen by lasso, or found
 * by name, or else those in view. What the maps drew stands in labMap.maps; a name is as good as a
 * click on its point. */
const find = (selector) => element.querySelector(selector);
const { state } = labMap, look = find(".map-points-look");
const PAGES = { table: 20, gallery: 60 };
let page = 0, order = { key: null, down: false }, gallery = false, listed = [];

const drawn = () => labMap.maps.first?.whole ? labMap.maps.first : null;

/* [how they were come by, the rows] */
function wanted({ whole, shown, plot, value, points }) {
  const visible = new Set(shown);
  if (state.chosen) return ["chosen", state.chosen.filter((row) => visible.has(row))];
  const found = labMap.found(whole);
  if (found) return [`found with “${state.find.trim()}”`, found.filter((row) => visible.has(row))];
  const [x, y] = [plot.layout?.xaxis?.range, plot.layout?.yaxis?.range];
  if (value.dimensions === 3 || !x || !y) return ["on the map", [...shown].sort((a, b) => a - b)];
  const within = (at, [low, high]) => at >= low && at <= high;
  const inside = shown.filter((row) => within(points[2 * row], x) && within(points[2 * row + 1], y));
  return ["in view", inside.sort((a, b) => a - b)];
}

/* Columns: [key, title, what a row has there]. What depends on the model comes for each map. */
function columns() {
  const { whole } = drawn(), of = (column) => (row) => column.values[column.rows[row]];
  const known = Object.entries(whole.columns).map(([key, column]) => [key, key, of(column)]);
  const places = ["first", "second"].filter((one) => labMap.maps[one]?.whole).flatMap((one) => {
    const map = labMap.maps[one], d = map.value.dimensions, name = map.value.model ? ` (${map.value.model})` : "";
    return [[one + "zero-shot", "zero-shot" + name, of(map.value.right)], ...["x", "y", "z"].slice(0, d).map((axis, i) =>
      [one + axis, axis + name, (row) => Math.round(1e4 * map.points[d * row + i]) / 1e4])];
  });
  return [["name", "name", (row) => whole.names[row]], ...known, ...places];
}

function ordered(rows) {
  const column = columns().find(([key]) => key === order.key);
  if (!column) return rows;
  const sign = order.down ? -1 : 1, of = column[2];
  return [...rows].sort((a, b) => {
    const [left, right] = [of(a), of(b)];
    return sign * (typeof left === "number" ? left - right : left.localeCompare(right)) || a - b;
  });
}

function head([key, title]) {
  const cell = lab.make("th"), button = lab.make("button", "", title);
  cell.scope = "col";
  if (order.key === key) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
  button.type = "button";
  button.onclick = () => {
    order = { key, down: order.key === key && !order.down };
    show();
    [...find("thead").querySelectorAll("button")].find((one) => one.textContent === title)?.focus();
  };
  cell.append(button);
  return cell;
}

function item(row, size) {
  const { whole, value } = drawn(), button = lab.make("button", "map-item");
  button.type = "button";
  button.setAttribute("aria-pressed", String(state.item === String(row)));
  button.append(labMap.thumb(value.collection, row, whole.pictures, size), lab.make("span", "", whole.names[row]));
  button.onclick = () => {
    labMap.pick(String(row));
    document.getElementById("map-near").scrollIntoView({ block: "nearest" }); // what it brings, is seen
  };
  return button;
}

function body(rows) {
  const [, ...rest] = columns();
  return rows.map((row) => {
    const line = lab.make("tr"), name = lab.make("th");
    name.scope = "row";
    name.append(item(row, 32));
    line.append(name, ...rest.map(([, , of]) => lab.make("td", "", typeof of(row) === "number" ? lab.signed(of(row), 3) : of(row))));
    return line;
  });
}

function counts(rows) {
  const { whole, sorted } = drawn(), inside = new Set(rows), pictures = rows.filter((row) => row < whole.pictures).length;
  const parts = sorted.map((one) => [one.label, one.rows.filter((row) => inside.has(row)).length])
    .filter(([, count]) => count).sort((a, b) => b[1] - a[1]);
  const few = parts.slice(0, 6).map(([label, count]) => `${label} ${count.toLocaleString("en")}`).join(", ");
  return `${pictures.toLocaleString("en")} pictures, ${(rows.length - pictures).toLocaleString("en")} texts` +
    (few ? `: ${few}${parts.length > 6 ? ", …" : ""}` : "");
}

function show() {
  if (!lab.begin(element, drawn() && {})) return;
  const [how, rows] = wanted(drawn()), most = PAGES[gallery ? "gallery" : "table"];
  listed = ordered(rows);
  const pages = Math.max(1, Math.ceil(listed.length / most));
  page = Math.min(page, pages - 1);
  const some = listed.slice(page * most, (page + 1) * most);
  find("h4").textContent = `${listed.length.toLocaleString("en")} points ${how}`;
  find(".map-points-counts").textContent = counts(rows);
  find("output").textContent = `${page + 1} of ${pages}`;
  find(".map-points-back").disabled = page === 0;
  find(".map-points-on").disabled = page === pages - 1;
  find(".map-points-clear").hidden = !state.chosen;
  find(".map-gallery").hidden = !gallery;
  find(".lab-scroll").hidden = gallery;
  find(".map-gallery").replaceChildren(...(gallery ? some.map((row) => item(row, 64)) : []));
  const line = lab.make("tr");
  line.append(...columns().map(head));
  find("thead").replaceChildren(line);
  find("tbody").replaceChildren(...(gallery ? [] : body(some)));
  lab.speak(find(".lab-spoken"), find("h4").textContent);
}

function numbers() {
  const { whole } = drawn(), all = columns();
  return [["row", "kind", ...all.map(([, title]) => title)],
    ...listed.map((row) => [row, row < whole.pictures ? "picture" : "text", ...all.map(([, , of]) => of(row))])];
}

const turn = (by) => () => { page += by; show(); };
find(".map-points-back").addEventListener("click", turn(-1));
find(".map-points-on").addEventListener("click", turn(1));
find(".map-points-clear").addEventListener("click", () => labMap.set("chosen", null));
look.addEventListener("click", () => { gallery = !gallery; page = 0; look.setAttribute("aria-pressed", String(gallery)); show(); });
lab.exports(find(".lab-body"), "clip-lab-points", numbers);
let waiting = 0;
labMap.listen((key) => {
  if (key === "near") return;
  if (["chosen", "find"].includes(key)) {
    page = 0;
    if (key === "chosen" && state.chosen) { gallery = true; look.setAttribute("aria-pressed", "true"); }
  }
  clearTimeout(waiting); // a wheel that turns says so many times a second
  waiting = setTimeout(show, 60);
});
show();
