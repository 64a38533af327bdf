// A heat map over a picture: choose picture, prompt and method; read the number under each cell.
// Follows base.js. State: maps, methods, about, pictures, names, prompts, picture, prompt, method,
// place, strength, scale, asked, answer, writable.

// What does not depend on the data.
const SKELETON = `<div class="cl clh">
  <fieldset class="cl-choices cl-pictures"><legend>Picture</legend></fieldset>
  <fieldset class="cl-choices clh-prompts"><legend>Prompt</legend></fieldset>
  <form class="clh-own">
    <label>A prompt of your own <input type="text" maxlength="60" autocomplete="off"></label>
    <button class="cl-chip">Look</button><span role="alert"></span>
  </form>
  <fieldset class="cl-choices clh-methods"><legend>Method</legend></fieldset>
  <div class="clh-two">
    <div class="clh-stage"><img alt=""><table role="grid"><tbody></tbody></table></div>
    <div class="clh-side">
      <label class="clh-slide">Strength <output></output>
        <input type="range" min="0" max="100" step="5"></label>
      <fieldset class="cl-choices clh-scale"><legend>Full colour is</legend></fieldset>
      <p class="cl-said" role="status"><b></b> <span></span></p>
      <p class="clh-about"></p>
    </div>
  </div>
  <details>
    <summary>The same as a table</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="the map in numbers">
      <table class="cl-digest"><caption></caption><thead><tr></tr></thead><tbody></tbody></table>
    </div>
  </details>
</div>`;

/** Numbers that tell small differences: four decimals. */
const exact = (value) => signed(value, 4);

/** How deep each cell is coloured, 0 to 1: by the map's own range, or by that of all prompts. */
function depths(map, perPrompt, scale) {
  const values = (scale === "own" ? [map] : perPrompt).flat(2);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return map.flat().map((value) => (high > low ? (value - low) / (high - low) : 0));
}

/** Chips that are radio buttons, made anew whenever the texts change. */
function chips(fieldset, texts, choose) {
  fieldset.querySelectorAll("label").forEach((label) => label.remove());
  return radios(fieldset, texts.map((text, i) => [i, text]), choose);
}

/** The cells over the picture: one stop for the Tab key, arrows inside. */
function fillGrid(table, map, choose) {
  const rows = map.map((row) => row.map(() => make("td", {}, make("span", {
    className: "cl-unseen" }))));
  table.tBodies[0].replaceChildren(...rows.map((cells) => make("tr", {}, ...cells)));
  walk(rows);
  rows.flat().forEach((cell, k) => {
    cell.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && choose(k));
    cell.addEventListener("click", () => choose(k));
    cell.addEventListener("focus", () => choose(k));
  });
  return rows.flat();
}

/** The chosen cell in words, and the map's highest beside it. */
function say(paragraph, map, place) {
  const [flat, columns] = [map.flat(), map[0].length];
  const named = (k) => `row ${Math.floor(k / columns) + 1}, column ${(k % columns) + 1}`;
  const before = flat.filter((value) => value > flat[place]).length;
  const best = flat.indexOf(Math.max(...flat));
  paragraph.firstChild.textContent = `R${named(place).slice(1)}: ${exact(flat[place])}.`;
  paragraph.lastChild.textContent = `Place ${before + 1} of ${flat.length}. Highest: ` +
    `${exact(flat[best])}, ${named(best)}; lowest: ${exact(Math.min(...flat))}.`;
}

function fillDigest(table, map, caption) {
  table.caption.textContent = caption;
  table.tHead.rows[0].replaceChildren(...["row", ...map[0].map((_, j) => `column ${j + 1}`)]
    .map((text) => make("th", { scope: "col" }, text)));
  table.tBodies[0].replaceChildren(...map.map((row, i) => make("tr", {},
    make("th", { scope: "row" }, `${i + 1}`), ...row.map((v) => make("td", {}, exact(v))))));
}

/** Everything that is chosen once and for all; returns what marks the model's choices. */
function connect(find, model, put) {
  const images = model.get("names").map((name, i) => [i, make("img",
    { src: model.get("pictures")[i], alt: name, title: name })]);
  const pictures = radios(find(".cl-pictures"), images, (i) => put("picture", i));
  const methods = chips(find(".clh-methods"), model.get("methods"), (i) => put("method", i));
  const scales = radios(find(".clh-scale"), [["own", "this map’s highest"],
    ["shared", "the highest of all prompts"]], (value) => put("scale", value));
  const slider = find("[type=range]");
  slider.addEventListener("input", () => put("strength", Number(slider.value)));
  connectField(find("form"), model, put);
  return () => {
    check(pictures, model.get("picture"));
    check(methods, model.get("method"));
    check(scales, model.get("scale"));
    slider.value = model.get("strength");
    find("output").textContent = `${model.get("strength")} %`;
    find(".clh-stage").style.setProperty("--strength", model.get("strength") / 100);
    find("[role=alert]").textContent = model.get("answer");
  };
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const mark = connect(find, model, put);
  let [prompts, boxes, cells, shape] = [null, [], [], ""];
  return () => {
    const [p, t, m] = ["picture", "prompt", "method"].map((name) => model.get(name));
    const perPrompt = model.get("maps")[m][p];
    const map = perPrompt[t];
    const [name, prompt] = [model.get("names")[p], model.get("prompts")[t]];
    const place = Math.min(model.get("place"), map.flat().length - 1);
    if (prompts !== model.get("prompts")) { // a reader's own prompt came in
      prompts = model.get("prompts");
      boxes = chips(find(".clh-prompts"), prompts, (i) => put("prompt", i));
    }
    if (shape !== `${map.length} ${map[0].length}`) { // another method, another grid
      shape = `${map.length} ${map[0].length}`;
      cells = fillGrid(find("[role=grid]"), map, (k) => put("place", k));
    }
    mark();
    check(boxes, t);
    find(".clh-stage img").src = model.get("pictures")[p];
    const caption = `${model.get("methods")[m]}, “${prompt}” in: ${name}`;
    find("[role=grid]").setAttribute("aria-label", caption);
    depths(map, perPrompt, model.get("scale")).forEach((depth, k) => {
      cells[k].style.setProperty("--depth", depth.toFixed(3));
      cells[k].firstChild.textContent = exact(map.flat()[k]);
      cells[k].tabIndex = k === place ? 0 : -1;
      cells[k].classList.toggle("clh-here", k === place);
    });
    say(find(".cl-said"), map, place);
    find(".clh-about").textContent = model.get("about")[m];
    fillDigest(find(".cl-digest"), map, caption);
  };
}

const render = renderer(build, ["picture", "prompt", "method", "place", "strength", "scale",
  "prompts", "maps", "answer"], ["names", "pictures", "methods", "about", "writable"]);

export default { render };
