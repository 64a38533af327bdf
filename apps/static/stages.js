/* The way from cosine to probability, drawn in the browser.
 *
 * The server sends each cosine once. Moving the temperature only multiplies them and takes the
 * softmax (or sigmoid) again, so that happens here, without a request.
 *
 * Runs as the body of a function of (element, props, watch), see Gradio's gr.HTML; `lab` is lab.js.
 * props.value is null, {error} or {model, labels, cosines, scale, bias, prompt, seen, size}: the best
 * labels' names and every label's cosine, both from the best down; scale is the learned 1/τ; bias is
 * null but in SigLIP's models.
 */
const find = (selector) => element.querySelector(selector);
const { make, percent, signed, decimals } = lab;
const slider = find("input[type=range]"), cut = find("input[type=number]");
const TICKS = [[0.01, "0.01", "the paper's limit"], [0.07, "0.07", "where training starts"], [1, "1", "no scaling"]];
const NOTES = {
  softmax: "The shares always add up to 100 %, even where no label fits. Softmax ranks your labels " +
    "against each other; it does not say how likely the thing is to be in the picture.",
  sigmoid: "Each label is judged by itself, so the numbers need not add up to anything.",
};
let tau = null; // kept from picture to picture, once there is one
let reading = "softmax";
let threshold = null; // the cosine that sigmoid reads as 50 %; null: the model's own, or a guess
let range = [0.002, 2];
let rows = [];

const toSlider = (t) => slider.max * Math.log(t / range[0]) / Math.log(range[1] / range[0]);
const fromSlider = (x) => range[0] * Math.pow(range[1] / range[0], x / slider.max);

/* SigLIP learns where the middle lies: σ(scale · cosine + bias) is a half at -bias/scale. For other
   models halfway between the best label and the one in the middle of the list is a start. */
function middle(value) {
  if (threshold !== null) return threshold;
  if (value.bias !== null) return -value.bias / value.scale;
  return (value.cosines[0] + value.cosines[Math.floor(value.cosines.length / 2)]) / 2;
}

function sharesOf(value, scale) {
  if (reading === "softmax") return lab.softmax(value.cosines.map((cosine) => scale * cosine));
  const half = middle(value);
  return value.cosines.map((cosine) => 1 / (1 + Math.exp(-scale * (cosine - half))));
}

function cell(kind) {
  const node = make("td", "stages-" + kind);
  node.setAttribute("role", "cell");
  const number = make("span", "stages-number");
  const track = make("span", "stages-track");
  const bar = make("span", "stages-bar");
  track.append(bar);
  node.append(number, track);
  return { node, number, bar };
}

/* The bar from `zero` to `value` on an axis from `low` to `high`. */
function setBar(bar, value, low, high) {
  const at = (x) => 100 * (Math.min(Math.max(x, low), high) - low) / (high - low);
  bar.style.left = Math.min(at(0), at(value)) + "%";
  bar.style.width = Math.abs(at(value) - at(0)) + "%";
}

function buildRows(value) {
  const body = find("tbody");
  rows = value.labels.map((label) => {
    const row = make("tr");
    row.setAttribute("role", "row");
    const name = make("th", "stages-label");
    name.append(make("span", "", label));
    name.setAttribute("scope", "row");
    name.setAttribute("role", "rowheader");
    name.title = label;
    const cells = ["cosine", "logit", "share"].map(cell);
    row.append(name, ...cells.map((c) => c.node));
    return { row, cells };
  });
  body.replaceChildren(...rows.map((r) => r.row));
  const low = lowest(value);
  element.style.setProperty("--stages-zero", 100 * -low / (1 - low) + "%");
}

const lowest = (value) => Math.min(0, 1.15 * value.cosines[value.cosines.length - 1]);

function redraw() {
  const value = props.value;
  const scale = 1 / tau, low = lowest(value);
  const shares = sharesOf(value, scale);
  const reach = Math.max(100, scale); // a logit's bar is as long as its cosine's at a scale of 100
  rows.forEach(({ cells }, i) => {
    const cosine = value.cosines[i];
    cells[0].number.textContent = signed(cosine, 3);
    cells[1].number.textContent = signed(scale * cosine, 2);
    cells[2].number.textContent = percent(shares[i]);
    setBar(cells[0].bar, cosine, low, 1);
    setBar(cells[1].bar, scale * cosine, low * reach, reach);
    setBar(cells[2].bar, shares[i], 0, 1);
  });
  const scaleText = scale >= 99.95 ? scale.toFixed(0) : scale.toFixed(1);
  find(".stages-times").textContent = "× " + scaleText;
  find("output").textContent = "τ = " + decimals(tau) + ", so cosines are multiplied by 1/τ = " + scaleText;
  slider.setAttribute("aria-valuetext", decimals(tau) + ", scale " + scaleText);
  find(".stages-winner").replaceChildren(
    make("span", "", "Nearest label: "), make("b", "", value.labels[0]),
    make("span", "stages-winner-share", percent(shares[0])));
  drawReading(value, shares);
  drawRest(value, shares);
  lab.speak(find(".lab-spoken"), value.labels[0] + " is nearest, with " + percent(shares[0]));
}

function drawReading(value, shares) {
  const soft = reading === "softmax";
  for (const one of element.querySelectorAll("[data-reading]")) {
    one.setAttribute("aria-checked", String(one.dataset.reading === reading));
    one.tabIndex = one.dataset.reading === reading ? 0 : -1;
  }
  find(".stages-function").textContent = reading;
  find(".stages-function").nextElementSibling.textContent = soft ? "share of 100 %" : "yes, by itself";
  const bits = -shares.reduce((sum, p) => sum + (p > 0 ? p * Math.log2(p) : 0), 0);
  const most = Math.log2(shares.length);
  find(".stages-entropy").textContent = soft
    ? "entropy " + Math.abs(bits).toFixed(2) + " of at most " + most.toFixed(2) + " bits" : "";
  find(".stages-threshold").hidden = soft;
  if (document.activeElement !== cut) cut.value = middle(value).toFixed(3);
  find(".stages-threshold span").textContent = value.bias !== null
    ? "This model learned its own threshold." : "This model was trained with softmax: the threshold is yours to set.";
  find(".stages-note").textContent = NOTES[reading];
}

/* The line for the labels that are not drawn, and the sum over all. */
function drawRest(value, shares) {
  const drawn = value.labels.length, all = value.cosines.length;
  const lines = [];
  if (all > drawn) {
    const rest = shares.slice(drawn).reduce((a, b) => a + b, 0);
    const next = "≤ " + signed(value.cosines[drawn], 3);
    lines.push([(all - drawn).toLocaleString("en") + " other labels", next, "",
      reading === "softmax" ? percent(rest) : "≤ " + percent(shares[drawn])]);
  }
  const sum = shares.reduce((a, b) => a + b, 0);
  lines.push([all === 1 ? "the one label" : "all " + all.toLocaleString("en") + " labels", "", "",
    reading === "softmax" ? "100 %" : (100 * sum).toFixed(0) + " %"]);
  find("tfoot").replaceChildren(...lines.map((texts) => {
    const row = make("tr");
    row.setAttribute("role", "row");
    row.append(...texts.map((text, i) => {
      const node = make(i ? "td" : "th");
      node.setAttribute("role", i ? "cell" : "rowheader");
      node.append(make("span", i ? "stages-number" : "", text));
      return node;
    }));
    return row;
  }));
}

function setTau(t) {
  tau = t;
  slider.value = toSlider(t);
  redraw();
}

function buildTau(value) {
  const learned = 1 / value.scale;
  range = [Math.min(0.002, learned), Math.max(2, learned)];
  const place = (node, t) => { node.style.left = 100 * toSlider(t) / slider.max + "%"; };
  const mark = find(".stages-learned");
  mark.textContent = "learned " + decimals(learned);
  mark.title = "What this model learned in training. Click to go back to it.";
  mark.onclick = () => setTau(learned);
  place(mark, learned);
  find(".stages-ticks").replaceChildren(...TICKS.map(([t, text, why]) => {
    const tick = make("button", "", text);
    tick.type = "button";
    tick.title = "τ = " + text + ": " + why;
    tick.setAttribute("aria-label", tick.title);
    tick.onclick = () => setTau(t);
    place(tick, t);
    return tick;
  }));
  if (tau === null) tau = learned;
  slider.value = toSlider(tau);
}

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return;
  const image = find("img");
  image.src = value.seen;
  image.alt = "Your picture as the model sees it, " + value.size + " pixels a side";
  find("figcaption").textContent = "as the model sees it: " + value.size + " px";
  find(".stages-prompt").textContent = value.prompt;
  find("caption").textContent = value.cosines.length > value.labels.length
    ? "The best " + value.labels.length + " of " + value.cosines.length.toLocaleString("en") + " labels"
    : "Every label, the best first";
  buildTau(value);
  buildRows(value);
  redraw();
  // On a phone the first rows only, until asked for more (the style sheet decides which width).
  find(".stages-more").textContent = "Show all " + rows.length + " rows";
  if (rows.length <= 8) unfold();
}

const unfold = () => element.querySelector(".stages").classList.remove("stages-folded");

function numbers() {
  const value = props.value, shares = sharesOf(value, 1 / tau);
  const head = ["label", "cosine", "logit at tau=" + decimals(tau), reading];
  return [head, ...value.labels.map((label, i) => [label, value.cosines[i], value.cosines[i] / tau, shares[i]])];
}

slider.id = "stages-tau-" + Math.random().toString(36).slice(2);
find("label").htmlFor = slider.id;
slider.addEventListener("input", () => { tau = fromSlider(slider.value); redraw(); });
cut.addEventListener("input", () => { threshold = cut.value === "" ? null : Number(cut.value); redraw(); });
const readings = [...element.querySelectorAll("[data-reading]")];
readings.forEach((one, i) => {
  one.addEventListener("click", () => { reading = one.dataset.reading; redraw(); });
  one.addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    readings[1 - i].click();
    readings[1 - i].focus();
  });
});
find(".stages").classList.add("stages-folded");
find(".stages-more").addEventListener("click", unfold);
lab.exports(find(".lab-body"), "clip-lab-classify", numbers);
watch("value", show);
show();
