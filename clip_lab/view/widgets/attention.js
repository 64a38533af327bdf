// What each token of a transformer looks at, by layer and head: arcs, a matrix, and a table.
// Follows base.js. State: weights, names, causal, grid, picture, layer, head, token, show.

const MEAN = -1; // as a head: the mean of all of them
const NARROW = 62; // pixels a token, below which names are written upright
const FAINT = 0.004; // shares below this get no arc
const MANY = 24; // tokens, above which shades are relative and the matrix has no names

// What does not depend on the data.
const SKELETON = `<div class="cl cla">
  <div class="cla-picks">
    <fieldset class="cl-switches" data-pick="layer"><legend>Layer</legend></fieldset>
    <fieldset class="cl-switches" data-pick="head"><legend>Head</legend></fieldset>
    <fieldset class="cl-switches" data-pick="show"><legend>Show</legend></fieldset>
  </div>
  <p class="cla-about"></p>
  <div class="cla-stage">
    <svg class="cla-arcs" aria-hidden="true" preserveAspectRatio="none"></svg>
    <div class="cla-matrix" aria-hidden="true"></div>
    <fieldset class="cl-choices cla-tokens"><legend class="cl-unseen">Token that looks</legend>
    </fieldset>
  </div>
  <p class="cl-said" role="status"><b></b><span></span></p>
  <details>
    <summary>The same as a table, for the token chosen</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="the shares in words">
      <table class="cl-digest">
        <thead><tr><th scope="col">looks at</th><th scope="col">this head</th>
          <th scope="col">mean of the layer’s heads</th></tr></thead><tbody></tbody>
      </table>
    </div>
  </details>
</div>`;

/** An (n, n) matrix: one head's, or the mean of the layer's heads. */
function matrixOf(heads, head) {
  if (head !== MEAN) return heads[head];
  return heads[0].map((row, i) => row.map((_, j) =>
    heads.reduce((sum, matrix) => sum + matrix[i][j], 0) / heads.length));
}

/** How deep the colour of each share of a row is; `relative`: to the row's largest. */
function depths(row, relative) {
  const full = relative ? Math.max(...row) : 1;
  return row.map((share) => `${((100 * share) / full).toFixed(1)}%`);
}

/** The three switches; returns a function that sets them from the model. */
function connect(find, model, put) {
  const heads = model.get("weights")[0].length;
  const count = (n) => Array.from({ length: n }, (_, k) => [k, String(k + 1)]);
  const choices = {
    layer: count(model.get("weights").length),
    head: heads > 1 ? [...count(heads), [MEAN, "mean"]] : count(1),
    show: [["arcs", model.get("grid").length ? "patches" : "arcs"], ["matrix", "matrix"]],
  };
  const inputs = Object.entries(choices).map(([name, options]) => [name,
    radios(find(`[data-pick=${name}]`), options, (value) => put(name, value))]);
  return () => inputs.forEach(([name, row]) => check(row, model.get(name)));
}

/** The tokens, each a radio button that says its share; returns what paints them. */
function fillTokens(fieldset, model, put) {
  const [names, [rows = 0, columns = 0]] = [model.get("names"), model.get("grid")];
  const first = names.length - rows * columns; // what comes before the patches
  const labels = names.map((name) => [make("i", { className: "cla-name" }, name),
    make("i", { className: "cla-share" })]);
  const inputs = radios(fieldset, labels.map((label, i) => [i, ...label]),
    (i) => put("token", i));
  const cells = inputs.map((input) => input.parentElement);
  cells.forEach((cell, i) => {
    cell.title = names[i];
    cell.addEventListener("pointerenter", (e) => e.pointerType === "mouse" && put("token", i));
    cell.classList.toggle("cla-patch", rows > 0 && i >= first);
  });
  if (rows) {
    const patches = make("div", { className: "cla-patches" }, ...cells.slice(first));
    patches.style.setProperty("--columns", columns);
    if (model.get("picture")) patches.style.backgroundImage = `url("${model.get("picture")}")`;
    fieldset.append(patches);
  }
  const relative = rows > 0 || names.length > MANY;
  return (row, token, hidden) => {
    check(inputs, token);
    depths(row, relative).forEach((depth, j) => {
      labels[j][1].textContent = hidden(j) ? "·" : `${percent(row[j])} %`;
      cells[j].style.setProperty("--depth", depth);
      cells[j].classList.toggle("cla-hidden", hidden(j));
    });
  };
}

/** An arc from the token to each that it looks at, as strong as it looks. One unit a token. */
function drawArcs(svg, row, token) {
  const n = row.length;
  svg.setAttribute("viewBox", `0 0 ${n} 1`);
  svg.replaceChildren(...row.flatMap((share, j) => {
    if (share < FAINT) return [];
    const [from, to] = [token + 0.5, j + 0.5];
    const [rx, ry] = j === token ? [0.22, 0.14] : [Math.abs(from - to) / 2,
      0.2 + (0.74 * Math.abs(from - to)) / (n - 1)];
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const sweep = to > from ? 1 : 0;
    path.setAttribute("d", j === token
      ? `M${from - 0.12},1 A${rx},${ry} 0 1 1 ${from + 0.12},1`
      : `M${from},1 A${rx},${ry} 0 0 ${sweep} ${to},1`);
    path.style.strokeWidth = `${(1 + 9 * share).toFixed(2)}px`;
    path.style.opacity = (0.3 + 0.7 * share).toFixed(2);
    return [path];
  }));
}

/** The whole matrix: a row for each token that looks, a column for each that is looked at. */
function fillSquare(box, names, hidden, put) {
  box.style.setProperty("--n", names.length);
  const labelled = names.length <= MANY;
  const label = (name, kind) => make("span", { className: kind }, labelled ? name : "");
  const cells = names.map((_, i) => names.map((__, j) => make("span", {
    className: hidden(i, j) ? "cla-cell cla-hidden" : "cla-cell",
    onpointerenter: () => put("token", i), onclick: () => put("token", i),
  })));
  box.replaceChildren(make("span"), ...names.map((name) => label(name, "cla-column")),
    ...cells.flatMap((row, i) => [label(names[i], "cla-line"), ...row]));
  return (matrix, token) => cells.forEach((row, i) => {
    depths(matrix[i], !labelled).forEach((depth, j) => {
      row[j].style.setProperty("--depth", depth);
      row[j].title = `${names[i]} → ${names[j]}: ${percent(matrix[i][j])} %`;
      row[j].classList.toggle("cla-here", i === token);
    });
  });
}

/** In words: the three that the token looks at most, and what the mask keeps from it. */
function say(paragraph, names, row, token, where, later) {
  const most = row.map((share, j) => [share, j]).sort((a, b) => b[0] - a[0]).slice(0, 3);
  const told = most.filter(([share]) => share >= FAINT).map(([share, j]) =>
    `${j === token ? "itself" : `“${names[j]}” (${j + 1})`} ${percent(share)}\u00a0%`);
  const unseen = later ? ` The mask hides the ${later} after it.` : "";
  paragraph.firstChild.textContent = `“${names[token]}”, token ${token + 1} of ${names.length}`;
  paragraph.lastChild.textContent = `, ${where}, looks most at ${told.join(", ")}.${unseen}`;
}

function fillTable(body, names, row, mean, hidden) {
  body.replaceChildren(...names.map((name, j) => make("tr", {},
    make("th", { scope: "row" }, `${j + 1} ${name}`),
    ...[row, mean].map((of) => make("td", {}, hidden(j) ? "hidden" : `${percent(of[j])} %`)))));
}

/** Puts the whole widget into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [weights, names, causal] = ["weights", "names", "causal"].map((name) => model.get(name));
  const hidden = (i, j) => causal && j > i;
  const setPicks = connect(find, model, put);
  const paintTokens = fillTokens(find(".cla-tokens"), model, put);
  const paintMatrix = fillSquare(find(".cla-matrix"), names, hidden, put);
  find(".cla").classList.toggle("cla-grid", model.get("grid").length > 0);
  find(".cla-stage").style.setProperty("--n", names.length);
  find(".cla-about").textContent = causal
    ? "A causal mask: every token sees itself and what stands before it. Hatched: hidden."
    : "No mask: every token sees all of them.";
  if (model.get("grid").length) {
    find(".cla-about").textContent += " The deeper the colour, the more it looks there.";
  }
  const watch = new ResizeObserver(([{ contentRect }]) =>
    find(".cla").classList.toggle("cla-tall", contentRect.width / names.length < NARROW));
  watch.observe(find(".cla-tokens"));
  return () => {
    const [layer, head, token] = ["layer", "head", "token"].map((name) => model.get(name));
    const [matrix, mean] = [matrixOf(weights[layer], head), matrixOf(weights[layer], MEAN)];
    const unseen = (j) => hidden(token, j);
    setPicks();
    find(".cla").dataset.show = model.get("show");
    paintTokens(matrix[token], token, unseen);
    drawArcs(find(".cla-arcs"), matrix[token], token);
    paintMatrix(matrix, token);
    const where = `layer ${layer + 1}, ${head === MEAN ? "mean of heads" : `head ${head + 1}`}`;
    say(find(".cl-said"), names, matrix[token], token, where,
      causal ? names.length - 1 - token : 0);
    fillTable(find("tbody"), names, matrix[token], mean[token], unseen);
  };
}

const render = renderer(build, ["layer", "head", "token", "show"],
  ["weights", "names", "grid", "picture"]);

export default { render };
