// One picture's cosines with a list of labels, and what becomes of them: × scale, exp, ÷ sum; and
// the sigmoid beside it, which asks each label alone. Follows base.js.
// State: cosines, pictures, names, labels, none, picture, tau, threshold, off.

const [LOWEST, START, HIGHEST] = [0.01, 0.07, 1]; // CLIP clamps the scale 1/τ to [1, 100]
const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

const SKELETON = `<div class="cl cls">
  <fieldset class="cls-pictures"><legend>Picture</legend></fieldset>
  <fieldset class="cls-labels"><legend>Labels on the list</legend></fieldset>
  <output class="cls-tau"></output>
  <input type="range" class="cls-slide" min="${Math.log(LOWEST)}" max="${Math.log(HIGHEST)}"
    step="0.005" aria-label="temperature τ, on a logarithmic scale">
  <div class="cl-chips cls-presets"></div>
  <table>
    <caption class="cl-unseen">From cosine to share, label by label</caption>
    <thead><tr><th scope="col">label</th><th scope="col">cosine</th>
      <th scope="col">× scale</th><th scope="col">exp</th><th scope="col">÷ sum</th>
      <th scope="col">sigmoid</th></tr></thead>
    <tbody></tbody>
    <tfoot><tr><th scope="row">sum</th><td></td><td></td><td></td><td></td><td></td></tr></tfoot>
  </table>
  <p class="cl-said" role="status"><b></b> <span></span></p>
  <label class="cls-bar"><span></span>
    <input type="range" min="-0.2" max="1" step="0.01"></label>
</div>`;

/** A number of any size: 0.31, 42.5, 3.1·10⁸. */
function large(value) {
  if (value < 1000 && value >= 0.01) return value.toPrecision(3);
  const [digits, power] = value.toExponential(1).split("e");
  const raised = [...String(Math.abs(Number(power)))].map((digit) => SUPERSCRIPT[digit]).join("");
  return `${digits}·10${Number(power) < 0 ? "⁻" : ""}${raised}`;
}

/** Every step for the labels on the list, in order; `share`s sum to 1, `alone`s to anything. */
function steps(cosines, tau, threshold) {
  const logits = cosines.map((cosine) => cosine / tau);
  const powers = logits.map(Math.exp); // at most e¹⁰⁰: no overflow in these numbers of 64 bits
  const sum = powers.reduce((total, power) => total + power, 0);
  const rows = cosines.map((cosine, j) => ({
    cosine, logit: logits[j], power: powers[j], share: powers[j] / sum,
    alone: 1 / (1 + Math.exp((threshold - cosine) / tau)),
  }));
  const entropy = rows.reduce((total, { share }) => (
    share > 0 ? total - share * Math.log(share) : total), 0);
  return { rows, sum, entropy };
}

function fillPictures(fieldset, names, pictures, choose) {
  const images = names.map((name, i) => [i,
    make("img", { src: pictures[i], alt: `picture of: ${name}`, title: name })]);
  return radios(fieldset, images, (value) => choose(Number(value)));
}

function fillLabels(fieldset, labels, none, toggle) {
  return labels.map((label) => {
    const box = make("input", { type: "checkbox", onchange: () => toggle(label) });
    const chip = make("span", { className: label === none ? "cls-none" : "" }, label);
    fieldset.append(make("label", {}, box, chip));
    return box;
  });
}

/** A cell: the number, and under it a bar of so much of the width. */
function cell(text, part, kind) {
  const bar = make("i", { className: kind });
  bar.style.width = `${(100 * Math.min(1, Math.abs(part))).toFixed(1)}%`;
  if (part < 0) bar.classList.add("cls-negative");
  return make("td", {}, make("span", {}, text), bar);
}

function fillTable(table, listed, { rows, sum }) {
  const top = Math.max(...rows.map((row) => row.power));
  table.tBodies[0].replaceChildren(...rows.map((row, j) => make("tr",
    { className: row.power === top ? "cls-first" : "" },
    make("th", { scope: "row" }, listed[j]),
    cell(signed(row.cosine, 3), row.cosine, "cls-cosine"),
    cell(signed(row.logit, 1), row.logit / 100, "cls-logit"),
    cell(large(row.power), row.power / top, "cls-power"),
    cell(`${percent(row.share)} %`, row.share, "cls-share"),
    cell(`${percent(row.alone)} %`, row.alone, "cls-alone"))));
  const alone = rows.reduce((total, row) => total + row.alone, 0);
  const sums = ["", "", rows.length ? large(sum) : "", rows.length ? "100 %" : "",
    `${(100 * alone).toFixed(0)} %`];
  [...table.tFoot.rows[0].cells].slice(1).forEach((td, k) => { td.textContent = sums[k]; });
}

function say(paragraph, listed, name, { rows, entropy }) {
  const [answer, remark] = paragraph.children;
  if (!rows.length) {
    answer.textContent = "No label is on the list.";
    remark.textContent = "A softmax over nothing is nothing: put one back.";
    return;
  }
  const best = rows.indexOf(rows.reduce((a, b) => (b.cosine > a.cosine ? b : a)));
  const alone = rows.reduce((total, row) => total + row.alone, 0);
  answer.textContent = `“${listed[best]}” gets ${percent(rows[best].share)} % of 100 %.`;
  remark.textContent = `Entropy ${entropy.toFixed(2)} nats of at most ln ${rows.length} = ` +
    `${Math.log(rows.length).toFixed(2)}: as undecided as among ` +
    `${Math.exp(entropy).toFixed(1)} equal labels. Asked one by one (sigmoid), they get ` +
    `${(100 * alone).toFixed(0)} % together.` +
    (listed.includes(name) ? "" : ` “${name}” is not on the list.`);
}

/** The slider and its presets; returns a function that sets them from the model. */
function connect(find, model, put) {
  const [range, given] = [find(".cls-slide"), model.get("tau")];
  range.addEventListener("input", () => put("tau", Math.exp(Number(range.value))));
  const presets = [[LOWEST, "sharpest"], [START, "CLIP's start"], [HIGHEST, "no scale at all"]];
  if (!presets.some(([tau]) => Math.abs(tau / given - 1) < 0.01)) presets.push([given, "learned"]);
  find(".cls-presets").append(...presets.sort((a, b) => a[0] - b[0]).map(([tau, name]) =>
    make("button", { type: "button", className: "cl-chip", onclick: () => put("tau", tau) },
      `${Number(tau.toPrecision(2))} ${name}`)));
  const bar = find(".cls-bar input");
  bar.addEventListener("input", () => put("threshold", Number(bar.value)));
  return (tau, threshold) => {
    range.value = Math.log(tau);
    range.setAttribute("aria-valuetext", `τ = ${tau.toPrecision(2)}`);
    find(".cls-tau").replaceChildren(make("b", {}, `τ = ${tau.toPrecision(2)}`),
      `  scale 1/τ = ${(1 / tau).toPrecision(3)}`);
    bar.value = threshold;
    find(".cls-bar span").textContent =
      `The sigmoid says 50 % at a cosine of ${signed(threshold)}: its threshold`;
  };
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [names, labels] = [model.get("names"), model.get("labels")];
  const images = fillPictures(find(".cls-pictures"), names, model.get("pictures"),
    (i) => put("picture", i));
  const boxes = fillLabels(find(".cls-labels"), labels, model.get("none"), (label) => {
    const off = model.get("off");
    put("off", off.includes(label) ? off.filter((other) => other !== label) : [...off, label]);
  });
  const setControls = connect(find, model, put);
  return () => {
    const [tau, threshold, off] = ["tau", "threshold", "off"].map((name) => model.get(name));
    const picture = model.get("picture");
    const listed = labels.filter((label) => !off.includes(label));
    const cosines = listed.map((label) => model.get("cosines")[picture][labels.indexOf(label)]);
    const all = steps(cosines, tau, threshold);
    setControls(tau, threshold);
    images.forEach((radio, i) => { radio.checked = i === picture; });
    boxes.forEach((box, j) => { box.checked = !off.includes(labels[j]); });
    fillTable(find("table"), listed, all);
    say(find(".cl-said"), listed, names[picture], all);
  };
}

const render = renderer(build, ["picture", "tau", "threshold", "off"],
  ["cosines", "pictures", "names", "labels", "none"]);

export default { render };
