// A picture cut into patches; one token's pixels, its position against all others, and the cost.
// Follows base.js. State: pixels, positions, sizes, layers, patch, token.

// What does not depend on the data.
const SKELETON = `<div class="cl clp">
  <output class="clp-count"></output>
  <input type="range" min="0" step="1" aria-label="patch size">
  <div class="clp-pair">
    <figure>
      <div class="clp-frame"><canvas class="clp-picture" aria-hidden="true"></canvas>
        <table role="grid" class="clp-grid" aria-label="patches of the picture"><tbody></tbody>
        </table></div>
      <figcaption>the picture: choose a patch, then walk with the arrow keys</figcaption>
    </figure>
    <figure>
      <div class="clp-map" role="img"></div>
      <figcaption class="clp-mapname"></figcaption>
      <p class="clp-key"><span>−1</span><i></i><span>1</span></p>
    </figure>
  </div>
  <button type="button" class="cl-chip clp-class">class token (0)</button>
  <div class="cl-said clp-token">
    <canvas class="clp-zoom" aria-hidden="true"></canvas>
    <p role="status"><b></b><span></span></p>
  </div>
  <table class="clp-cost">
    <caption></caption>
    <tbody></tbody>
  </table>
  <details>
    <summary>The same as a table, token by token</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="all tokens in words">
      <table class="cl-digest">
        <thead><tr><th scope="col">token</th><th scope="col">row, column</th>
          <th scope="col">mean colour</th><th scope="col">cosine of its position with the chosen
          one’s</th></tr></thead><tbody></tbody>
      </table>
    </div>
  </details>
</div>`;

/** 12345678 as "12.3 M". */
function short(count) {
  const steps = [[1e9, " G"], [1e6, " M"], [1e3, " k"], [1, ""]];
  const [unit, name] = steps.find(([size]) => count >= size) ?? [1, ""];
  return unit === 1 ? String(count) : (count / unit).toPrecision(3) + name;
}

const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);

function cosine(a, b) {
  return dot(a, b) / Math.max(Math.sqrt(dot(a, a) * dot(b, b)), 1e-12);
}

/** For each of `fresh` places the two old ones that it lies between, and the second one's share. */
function between(old, fresh) {
  return Array.from({ length: fresh }, (_, k) => {
    const at = Math.min(Math.max(((k + 0.5) * old) / fresh - 0.5, 0), old - 1);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, old - 1), at - low];
  });
}

/** Learned positions for another grid, bilinear; the class token's has no place: it stays. */
function resized(positions, grid) {
  const [first, ...rest] = positions;
  const old = Math.round(Math.sqrt(rest.length));
  if (old === grid) return positions;
  const steps = between(old, grid);
  const blend = (a, b, share) => a.map((value, k) => value * (1 - share) + b[k] * share);
  return [first, ...steps.flatMap(([top, bottom, down]) => steps.map(([left, right, across]) =>
    blend(blend(rest[top * old + left], rest[top * old + right], across),
      blend(rest[bottom * old + left], rest[bottom * old + right], across), down)))];
}

/** Multiply-adds by part. Only matrix products count (see `vit_cost` in patches.py). */
function costs(side, patch, width, layers) {
  const patches = (side / patch) ** 2;
  const tokens = patches + 1;
  return [
    ["patches to tokens", patches * 3 * patch ** 2 * width],
    ["queries, keys, values, output", layers * 4 * tokens * width ** 2],
    ["MLP", layers * 8 * tokens * width ** 2],
    ["attention products (tokens²)", layers * 2 * tokens ** 2 * width],
  ];
}

/** The pixels of a square part of the picture, drawn so that a pixel of it is one of the canvas. */
function paint(canvas, pixels, top, left, size) {
  [canvas.width, canvas.height] = [size, size];
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  for (let y = 0; y < size; y += 1) for (let x = 0; x < size; x += 1) {
    image.data.set([...pixels[top + y][left + x], 255], 4 * (y * size + x));
  }
  context.putImageData(image, 0, 0);
}

function meanColour(pixels, top, left, size) {
  const sums = [0, 0, 0];
  for (let y = 0; y < size; y += 1) for (let x = 0; x < size; x += 1) {
    pixels[top + y][left + x].forEach((value, k) => { sums[k] += value; });
  }
  return sums.map((sum) => Math.round(sum / size ** 2));
}

/** All that follows from the state: one object, made anew at each change. */
function facts(model) {
  const [pixels, patch] = [model.get("pixels"), model.get("patch")];
  const grid = pixels.length / patch;
  const token = Math.min(model.get("token"), grid ** 2);
  const positions = resized(model.get("positions"), grid);
  const cosines = positions.map((position) => cosine(position, positions[token]));
  const learnt = Math.round(Math.sqrt(model.get("positions").length - 1));
  return { pixels, patch, grid, token, cosines, learnt, width: positions[0].length,
    layers: model.get("layers") };
}

/** Row and column of a patch's token, counted from 0. */
const placeOf = (token, grid) => [Math.floor((token - 1) / grid), (token - 1) % grid];

/** Cells over the picture and squares of the map: only made anew when the grid changes. */
function buildGrids(find, grid, choose) {
  const cellAt = (row, column) => {
    const token = row * grid + column + 1;
    const cell = make("td", { tabIndex: -1 });
    cell.setAttribute("aria-label", `token ${token}: row ${row + 1}, column ${column + 1}`);
    cell.addEventListener("click", () => cell.focus());
    cell.addEventListener("focus", () => choose(token));
    return cell;
  };
  const rows = Array.from({ length: grid }, (_, row) =>
    Array.from({ length: grid }, (_, column) => cellAt(row, column)));
  walk(rows);
  find(".clp-grid tbody").replaceChildren(...rows.map((cells) => make("tr", {}, ...cells)));
  const cells = rows.flat();
  const squares = cells.map(() => make("span"));
  const map = find(".clp-map");
  map.style.setProperty("--grid", grid);
  map.classList.toggle("clp-fine", grid > 8);
  find(".clp-grid").classList.toggle("clp-fine", grid > 8);
  map.replaceChildren(...squares);
  return { grid, cells, squares };
}

function paintGrids({ cells, squares }, now) {
  cells.forEach((cell, k) => {
    const here = k + 1 === now.token;
    cell.tabIndex = k + 1 === Math.max(now.token, 1) ? 0 : -1; // one stop for the Tab key
    cell.classList.toggle("clp-here", here);
    cell.setAttribute("aria-selected", here);
    cell.textContent = now.grid > 8 ? "" : k + 1;
  });
  squares.forEach((square, k) => {
    const value = now.cosines[k + 1];
    square.style.setProperty("--depth", `${(100 * Math.min(Math.abs(value), 1)).toFixed(1)}%`);
    square.classList.toggle("clp-negative", value < 0);
    square.classList.toggle("clp-here", k + 1 === now.token);
    square.textContent = now.grid > 8 ? "" : signed(value);
  });
}

function sayCount(find, now) {
  const tokens = now.grid ** 2 + 1;
  find(".clp-count").replaceChildren(make("b", {}, `patch ${now.patch} px`),
    `  ${now.grid} × ${now.grid} = ${now.grid ** 2} patches + class token = ${tokens} tokens`);
  const name = now.token ? `token ${now.token}` : "the class token";
  const own = now.grid === now.learnt ? "" :
    ` (learnt for ${now.learnt} × ${now.learnt}, interpolated)`;
  find(".clp-mapname").textContent = `cosine of ${name}’s position with each patch’s${own}`;
  find(".clp-map").setAttribute("aria-label",
    `Heat map: cosine of the position of ${name} with each patch’s. Numbers in the table below.`);
}

function sayToken(find, now) {
  const [bold, text] = find("[role=status]").children;
  const zoom = find(".clp-zoom");
  const others = now.cosines.map((value, k) => [value, k]).filter(([, k]) => k && k !== now.token);
  others.sort((a, b) => b[0] - a[0]);
  const like = others.slice(0, 3).map(([value, k]) => `${k} (${signed(value)})`).join(", ");
  const ends = ` Positions most like its own: ${like}.`;
  zoom.hidden = now.token === 0;
  if (now.token === 0) {
    bold.textContent = "Token 0, the class token. ";
    text.textContent = "It sees no pixel. It starts as the same learned vector for every picture," +
      ` asks the other ${now.grid ** 2} tokens in every block, and ends as the picture’s.${ends}`;
    return;
  }
  const [row, column] = placeOf(now.token, now.grid);
  paint(zoom, now.pixels, row * now.patch, column * now.patch, now.patch);
  bold.textContent =
    `Token ${now.token} of ${now.grid ** 2}: row ${row + 1}, column ${column + 1}. `;
  text.textContent = `It sees ${now.patch} × ${now.patch} pixels × 3 colours = ` +
    `${3 * now.patch ** 2} numbers, and nothing of its neighbours before the first attention.` +
    ends;
}

function sayCost(table, now) {
  const parts = costs(now.pixels.length, now.patch, now.width, now.layers);
  const total = parts.reduce((sum, [, count]) => sum + count, 0);
  table.caption.textContent = `A tower of ${now.layers} blocks, width ${now.width}: ` +
    `${short(total)} multiply-adds a picture`;
  table.tBodies[0].replaceChildren(...parts.map(([name, count]) => {
    const bar = make("span", { className: "clp-bar" });
    bar.style.setProperty("--share", `${((100 * count) / total).toFixed(1)}%`);
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, short(count)),
      make("td", {}, `${((100 * count) / total).toFixed(1)} %`), make("td", {}, bar));
  }));
}

function fillDigest(table, now) {
  const row = (token) => {
    const [down, across] = placeOf(token, now.grid);
    const colour = token && meanColour(now.pixels, down * now.patch, across * now.patch, now.patch);
    return make("tr", {}, make("th", { scope: "row" }, token ? String(token) : "0 (class)"),
      make("td", {}, token ? `${down + 1}, ${across + 1}` : "none"),
      make("td", {}, token ? `rgb ${colour.join(" ")}` : "none"),
      make("td", {}, signed(now.cosines[token])));
  };
  table.tBodies[0].replaceChildren(...now.cosines.map((_, token) => row(token)));
}

/** Puts the whole widget into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [range, sizes] = [find("input[type=range]"), model.get("sizes").toReversed()];
  range.max = sizes.length - 1;
  range.addEventListener("input", () => { // the token that holds the same spot of the picture
    const [fresh, now] = [sizes[Number(range.value)], facts(model)];
    const spot = (k) => Math.floor(((k + 0.5) * now.patch) / fresh);
    const [row, column] = now.token ? placeOf(now.token, now.grid).map(spot) : [0, -1];
    const token = now.token ? row * (now.pixels.length / fresh) + column + 1 : 0;
    put("token", token);
    put("patch", fresh);
  });
  find(".clp-class").addEventListener("click", () => put("token", 0));
  paint(find(".clp-picture"), model.get("pixels"), 0, 0, model.get("pixels").length);
  let grids = { grid: 0 };
  const update = () => {
    const now = facts(model);
    if (grids.grid !== now.grid) grids = buildGrids(find, now.grid, (token) => put("token", token));
    range.value = sizes.indexOf(now.patch);
    range.setAttribute("aria-valuetext", `${now.patch} pixels, ${now.grid ** 2} patches`);
    find(".clp-class").setAttribute("aria-pressed", now.token === 0);
    paintGrids(grids, now);
    sayCount(find, now);
    sayToken(find, now);
    sayCost(find(".clp-cost"), now);
    fillDigest(find(".cl-digest"), now);
  };
  return update;
}

const render = renderer(build, ["patch", "token", "layers"], ["positions", "pixels", "sizes"]);

export default { render };
