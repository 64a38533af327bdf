/* The way from cosine to probability, drawn in the browser.
 *
 * The server sends each cosine once. Moving the temperature only multiplies them and takes the
 * softmax again, so that happens here, without a request. Texts from outside (labels, prompts) go
 * into the page by textContent alone, never as HTML.
 *
 * Runs as the body of a function of (element, props, watch), see Gradio's gr.HTML. props.value is
 *   {error} or {labels, cosines, scale, prompt, seen, size}: the best labels' names and every label's
 *   cosine, both from the best down; scale is the learned 1/τ.
 */
const find = (selector) => element.querySelector(selector);
const make = (tag, name, text) => {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
};
const slider = find("input");
const TICKS = [[0.01, "0.01", "the paper's limit"], [0.07, "0.07", "where training starts"], [1, "1", "no scaling"]];
let tau = null; // kept from picture to picture, once there is one
let range = [0.002, 2];
let rows = [];
let speaking = 0;

const toSlider = (t) => slider.max * Math.log(t / range[0]) / Math.log(range[1] / range[0]);
const fromSlider = (x) => range[0] * Math.pow(range[1] / range[0], x / slider.max);
const decimals = (x) => x >= 0.995 ? x.toFixed(2) : Number(x.toPrecision(3)).toString();
const percent = (p) => p === 1 ? "100 %" : p >= 0.001 ? (100 * p).toFixed(1) + " %" : p > 0 ? "<0.1 %" : "0 %";
const signed = (x, digits) => x.toFixed(digits).replace("-", "−");

function softmax(cosines, scale) {
  const best = scale * cosines[0]; // taken off every logit, so that exp cannot overflow
  const powers = cosines.map((cosine) => Math.exp(scale * cosine - best));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
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
  const shares = softmax(value.cosines, scale);
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
  drawRest(value, shares);
  speak(value.labels[0] + " is nearest, with " + percent(shares[0]));
}

/* Tell a screen reader, once the slider has come to rest. */
function speak(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { find(".stages-spoken").textContent = text; }, 600);
}

/* The line for the labels that are not drawn, and the sum over all. */
function drawRest(value, shares) {
  const drawn = value.labels.length, all = value.cosines.length;
  const lines = [];
  if (all > drawn) {
    const rest = shares.slice(drawn).reduce((a, b) => a + b, 0);
    const next = "≤ " + signed(value.cosines[drawn], 3);
    lines.push([(all - drawn).toLocaleString("en") + " other labels", next, "", percent(rest)]);
  }
  lines.push([all === 1 ? "the one label" : "all " + all.toLocaleString("en") + " labels", "", "", "100 %"]);
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
  const value = props.value || { error: "Choose a picture." };
  find(".stages-error").hidden = !value.error;
  find(".stages-body").hidden = !!value.error;
  find(".stages-error").textContent = value.error || "";
  if (value.error) {
    clearTimeout(speaking);
    return;
  }
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

slider.id = "stages-tau-" + Math.random().toString(36).slice(2);
find("label").htmlFor = slider.id;
slider.addEventListener("input", () => { tau = fromSlider(slider.value); redraw(); });
find(".stages").classList.add("stages-folded");
find(".stages-more").addEventListener("click", unfold);
watch("value", show);
show();
