/* Pictures against captions: the matrix, its softmaxes, CLIP's loss and the loss's gradient.
 *
 * The server sends cosines and lengths once; temperature, normalisation and the order of the captions
 * change here. props.value is null, {error} or {model, pictures: [{src, name}], captions, cosines,
 * picture_lengths, caption_lengths, scale}.
 */
const find = (selector) => element.querySelector(selector);
const { make, percent, signed, decimals } = lab;
const slider = find(".matrix-tau"), view = find(".matrix-view"), unit = find(".matrix-unit");
const LOW = 0.002, HIGH = 2;
const NOTES = {
  cosine: "The direction alone counts. Matching pairs stand on the diagonal.",
  logit: "What the softmax sees. The smaller τ, the further apart.",
  row: "For each picture: which caption is its own? Each row adds up to 100 %.",
  column: "For each caption: which picture is its own? Each column adds up to 100 %.",
  gradient: "(row share + column share − 2 on the diagonal) / 2N. A step of training goes against it: blue cells are pulled together, orange ones pushed apart.",
};
let tau = null, order = [], held = null;

const toSlider = (t) => slider.max * Math.log(t / LOW) / Math.log(HIGH / LOW);
const fromSlider = (x) => LOW * Math.pow(HIGH / LOW, x / slider.max);

/* The products as the model, or a model without normalisation, would have them: pictures × captions
   in the order that the user gave them. */
function products(value) {
  return value.cosines.map((row, i) => order.map((j) => unit.checked
    ? row[j] : row[j] * value.picture_lengths[i] * value.caption_lengths[j]));
}

const transpose = (rows) => rows[0].map((_, j) => rows.map((row) => row[j]));

function worked(value) {
  const cosine = products(value);
  const logit = cosine.map((row) => row.map((x) => x / tau));
  const row = logit.map(lab.softmax), column = transpose(transpose(logit).map(lab.softmax));
  const n = logit.length, square = n === order.length;
  const gradient = row.map((line, i) => line.map((p, j) => (p + column[i][j] - (i === j ? 2 : 0)) / (2 * n)));
  // The loss by log-sum-exp: a share may be too small for its logarithm.
  const surprise = (line, i) => {
    const best = Math.max(...line);
    return best + Math.log(line.reduce((sum, x) => sum + Math.exp(x - best), 0)) - line[i];
  };
  const mean = (lines) => lines.reduce((sum, line, i) => sum + surprise(line, i), 0) / n;
  const losses = square ? [mean(logit), mean(transpose(logit))] : null;
  return { cosine, logit, row, column, gradient, losses };
}

function paint(cell, kind, x, most) {
  const share = kind === "row" || kind === "column";
  const strength = Math.min(Math.abs(share ? x : x / most), 1);
  const hue = kind === "gradient" ? (x < 0 ? "--lab-cosine" : "--lab-share") : share ? "--lab-share" : x < 0 ? "--lab-logit" : "--lab-cosine";
  cell.style.background = `color-mix(in srgb, var(${hue}) ${(strength * 50).toFixed(1)}%, transparent)`;
  cell.textContent = share ? percent(x) : signed(x, kind === "logit" ? 1 : kind === "gradient" ? 3 : Math.abs(x) >= 10 ? 1 : 2);
}

function redraw() {
  const value = props.value, kind = view.value, found = worked(value);
  const numbers = found[kind], n = numbers.length;
  const most = Math.max(1e-9, ...numbers.flat().map(Math.abs));
  [...find("tbody").children].forEach((line, i) => {
    [...line.children].slice(1).forEach((cell, j) => {
      paint(cell, kind, numbers[i][j], most);
      cell.className = i === j ? "matrix-own" : "";
    });
  });
  find("output").textContent = decimals(tau);
  slider.setAttribute("aria-valuetext", decimals(tau));
  find(".lab-note").textContent = NOTES[kind];
  const right = found.row.filter((line, i) => line.indexOf(Math.max(...line)) === i).length;
  const line = find(".matrix-loss");
  if (!found.losses) {
    line.textContent = `${n} pictures and ${order.length} captions: CLIP's loss needs as many of each.`;
  } else {
    const [rows, columns] = found.losses;
    line.replaceChildren(make("b", "", `loss ${((rows + columns) / 2).toFixed(3)}`), make("span", "",
      ` = (${rows.toFixed(3)} by rows + ${columns.toFixed(3)} by columns) / 2; guessing gives ln ${n} = ${Math.log(n).toFixed(3)}. ` +
      `${right} of ${n} pictures choose their own caption.`));
  }
  lab.speak(find(".lab-spoken"), line.textContent);
}

function head(value) {
  const row = make("tr"), corner = make("th", "", "picture \\ caption");
  corner.scope = "col";
  row.append(corner, ...order.map((j, place) => {
    const cell = make("th"), button = make("button", "", value.captions[j]);
    cell.scope = "col";
    button.type = "button";
    button.title = "Swap with another caption: click both";
    button.setAttribute("aria-pressed", String(held === place));
    button.onclick = () => swap(place);
    cell.append(button);
    return cell;
  }));
  return row;
}

function swap(place) {
  if (held === null) held = place;
  else {
    [order[held], order[place]] = [order[place], order[held]];
    held = null;
  }
  find("thead").replaceChildren(head(props.value));
  find("thead").querySelectorAll("button")[place].focus();
  redraw();
}

function body(value) {
  return value.pictures.map((picture) => {
    const row = make("tr"), name = make("th"), image = make("img");
    name.scope = "row";
    image.src = picture.src;
    image.alt = picture.name;
    image.title = picture.name;
    name.append(image);
    row.append(name, ...order.map(() => make("td")));
    return row;
  });
}

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return;
  order = value.captions.map((_, j) => j);
  held = null;
  if (tau === null) tau = 1 / value.scale;
  slider.value = toSlider(tau);
  find("caption").textContent = "Click two captions to swap them.";
  find("thead").replaceChildren(head(value));
  find("tbody").replaceChildren(...body(value));
  redraw();
}

function numbers() {
  const value = props.value, found = worked(value)[view.value];
  return [[view.value, ...order.map((j) => value.captions[j])],
    ...found.map((row, i) => [value.pictures[i].name, ...row])];
}

slider.addEventListener("input", () => { tau = fromSlider(slider.value); redraw(); });
view.addEventListener("change", redraw);
unit.addEventListener("change", redraw);
find(".matrix-reset").addEventListener("click", () => { tau = null; unit.checked = true; show(); });
lab.exports(find(".lab-body"), "clip-lab-matrix", numbers);
watch("value", show);
show();
