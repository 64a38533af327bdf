// The N x N matrix of picture-caption cosines, its softmax along either axis, and the loss.
// Follows base.js. State: cosines, pictures, captions, tau, show.

const VIEWS = {
  cosine: ["cosine", "How alike picture and caption are, from −1 to 1. τ plays no part yet."],
  logits: ["logit", "The cosine divided by τ. Nothing has been compared yet."],
  captions: ["softmax over captions", "“Which caption fits this picture?” Rows sum to 100 %."],
  pictures: ["softmax over pictures", "“Which picture fits this caption?” Columns sum to 100 %."],
};
const [LOWEST, START, HIGHEST] = [0.01, 0.07, 1]; // CLIP clamps the scale 1/τ to [1, 100]
const [WIDTH, HEIGHT] = [260, 96]; // of the curve, in its own units

// What does not depend on the data.
const SKELETON = `<div class="cl clm">
  <output class="clm-tau"></output>
  <input type="range" min="${Math.log(LOWEST)}" max="${Math.log(HIGHEST)}" step="0.005"
    aria-label="temperature τ, on a logarithmic scale">
  <div class="cl-chips clm-presets"></div>
  <fieldset class="cl-switches clm-views"><legend>Show</legend></fieldset>
  <p class="clm-about"></p>
  <div class="cl-scroll">
    <table role="grid" class="cl-matrix" aria-label="pictures (rows) against captions (columns)">
      <thead><tr><td></td></tr></thead><tbody></tbody>
    </table>
  </div>
  <p class="cl-said" role="status"><b></b><span></span></p>
  <div class="clm-foot">
    <figure>
      <svg class="clm-curve" aria-hidden="true" viewBox="-7 -7 ${WIDTH + 14} ${HEIGHT + 14}">
        <line x2="${WIDTH}" y1="${HEIGHT}" y2="${HEIGHT}"></line>
        <line x2="${WIDTH}" class="clm-chance"></line>
        <polyline></polyline><circle r="5"></circle>
      </svg>
      <figcaption>loss against τ (0.01 to 1)</figcaption>
    </figure>
    <p class="clm-loss">Loss <b class="clm-total"></b> nats<span></span></p>
  </div>
  <details>
    <summary>The same as a table, picture by picture</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="the matrix in words">
      <table class="cl-digest">
        <thead><tr><th scope="col">picture of</th><th scope="col">cosine with its caption</th>
          <th scope="col">share of its row</th><th scope="col">share of its column</th>
          <th scope="col">caption it likes best</th></tr></thead><tbody></tbody>
      </table>
    </div>
  </details>
</div>`;

const transpose = (rows) => rows[0].map((_, column) => rows.map((row) => row[column]));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const best = (row) => row.indexOf(Math.max(...row));

function softmax(row) {
  const top = Math.max(...row); // taken off first, so that exp cannot overflow
  const powers = row.map((value) => Math.exp(value - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** All the matrices of one temperature, and the loss in nats: rows, columns, and their mean. */
function quantities(cosine, tau) {
  const logits = cosine.map((row) => row.map((value) => value / tau));
  const captions = logits.map(softmax);
  const pictures = transpose(transpose(logits).map(softmax));
  const loss = (shares) => mean(shares.map((row, i) => -Math.log(Math.max(row[i], 1e-300))));
  const [rows, columns] = [loss(captions), loss(pictures)];
  return { cosine, logits, captions, pictures, rows, columns, total: (rows + columns) / 2 };
}

/** A cell's text, and how strongly it is coloured, on a scale that does not move with the data. */
const LOOK = {
  cosine: (value) => [signed(value), Math.abs(value)],
  logits: (value) => [signed(value, 1), Math.tanh(Math.abs(value) / 12)],
  captions: (value) => [percent(value), value],
  pictures: (value) => [percent(value), value],
};

function paintGrid(cells, view, matrix, [row, column]) {
  cells.forEach((line, i) => line.forEach((cell, j) => {
    const here = i === row && j === column;
    const [text, depth] = LOOK[view](matrix[i][j]);
    cell.textContent = text;
    cell.tabIndex = here ? 0 : -1; // one stop for the Tab key; arrows do the rest
    cell.style.setProperty("--depth", `${(100 * depth).toFixed(1)}%`);
    cell.classList.toggle("cl-negative", matrix[i][j] < 0);
    cell.classList.toggle("cl-here", here);
    // What a share is a share of: the whole row, or the whole column.
    const together = view === "captions" ? i === row : view === "pictures" && j === column;
    cell.classList.toggle("clm-line", together);
  }));
}

/** Draws the loss at every τ; returns a function that moves the dot. */
function drawCurve(svg, cosines) {
  const taus = Array.from({ length: 61 }, (_, k) => LOWEST * (HIGHEST / LOWEST) ** (k / 60));
  const losses = taus.map((tau) => quantities(cosines, tau).total);
  const chance = Math.log(cosines.length);
  const x = (tau) => ((WIDTH * Math.log(tau / LOWEST)) / Math.log(HIGHEST / LOWEST)).toFixed(1);
  const y = (loss) => (HEIGHT * (1 - loss / Math.max(1.1 * chance, ...losses))).toFixed(1);
  const points = taus.map((tau, k) => `${x(tau)},${y(losses[k])}`).join(" ");
  svg.querySelector("polyline").setAttribute("points", points);
  for (const end of ["y1", "y2"]) svg.querySelector(".clm-chance").setAttribute(end, y(chance));
  return (tau, loss) => {
    svg.querySelector("circle").setAttribute("cx", x(tau));
    svg.querySelector("circle").setAttribute("cy", y(loss));
  };
}

/** A line of words for each picture: the table for who can't use the colours. */
function fillDigest(table, captions, all) {
  table.tBodies[0].replaceChildren(...captions.map((caption, i) => make("tr", {},
    make("th", { scope: "row" }, caption),
    make("td", {}, signed(all.cosine[i][i])),
    make("td", {}, `${percent(all.captions[i][i])} %`),
    make("td", {}, `${percent(all.pictures[i][i])} %`),
    make("td", {}, captions[best(all.cosine[i])]))));
}

function sayCell(paragraph, captions, all, [i, j]) {
  const own = i === j ? " (its own)" : "";
  const pair = `Picture of “${captions[i]}”, caption “${captions[j]}”${own}: `;
  paragraph.firstChild.textContent = pair;
  paragraph.lastChild.textContent =
    `cosine ${signed(all.cosine[i][j], 3)} ÷ τ = logit ${signed(all.logits[i][j])} → ` +
    `${percent(all.captions[i][j])} % of its row, ${percent(all.pictures[i][j])} % of its column.`;
}

function sayLoss(paragraph, all) {
  const count = all.cosine.length;
  const right = (rows) => rows.filter((row, k) => best(row) === k).length;
  paragraph.querySelector("b").textContent = all.total.toFixed(3);
  paragraph.lastChild.textContent =
    ` = mean of rows ${all.rows.toFixed(3)} and columns ${all.columns.toFixed(3)}. ` +
    `Knowing nothing: ln ${count} = ${Math.log(count).toFixed(3)} (dashed). ` +
    `Best in its row: ${right(all.cosine)} of ${count}; ` +
    `in its column: ${right(transpose(all.cosine))}.`;
}

/** The slider, its presets and the switch; returns a function that sets them from the model. */
function connect(find, model, put) {
  const [range, given] = [find("input[type=range]"), model.get("tau")];
  range.addEventListener("input", () => put("tau", Math.exp(Number(range.value))));
  const presets = [[LOWEST, "sharpest"], [START, "CLIP's start"], [HIGHEST, "flattest"]];
  if (!presets.some(([tau]) => Math.abs(tau / given - 1) < 0.01)) presets.push([given, "as given"]);
  find(".clm-presets").append(...presets.sort((a, b) => a[0] - b[0]).map(([tau, name]) => {
    const label = `${Number(tau.toPrecision(2))} ${name}`;
    return make("button", { type: "button", className: "cl-chip", onclick: () => put("tau", tau) },
      label);
  }));
  const views = Object.entries(VIEWS).map(([view, [name]]) => [view, name]);
  const switches = radios(find(".clm-views"), views, (view) => put("show", view));
  return (tau, view) => {
    range.value = Math.log(tau);
    range.setAttribute("aria-valuetext", `τ = ${tau.toPrecision(2)}`);
    find(".clm-tau").replaceChildren(make("b", {}, `τ = ${tau.toPrecision(2)}`),
      `  scale 1/τ = ${(1 / tau).toPrecision(3)}  logit_scale = ${Math.log(1 / tau).toFixed(2)}`);
    check(switches, view);
    find(".clm-about").textContent = VIEWS[view][1];
  };
}

/** Puts a whole matrix into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [cosines, captions] = [model.get("cosines"), model.get("captions")];
  let focus = [0, 0];
  const setControls = connect(find, model, put);
  const moveDot = drawCurve(find("svg"), cosines);
  const onFocus = (i, j) => { focus = [i, j]; update(); };
  const cells = fillMatrix(find("[role=grid]"), captions, model.get("pictures"), onFocus);
  const update = () => {
    const [tau, view] = [model.get("tau"), model.get("show")];
    const all = quantities(cosines, tau);
    setControls(tau, view);
    paintGrid(cells, view, all[view], focus);
    moveDot(tau, all.total);
    sayCell(find(".cl-said"), captions, all, focus);
    sayLoss(find(".clm-loss"), all);
    fillDigest(find(".cl-digest"), captions, all);
  };
  return update;
}

const render = renderer(build, ["tau", "show"], ["cosines", "pictures", "captions"]);

export default { render };
