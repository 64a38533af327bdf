// How much each place of a picture weighs in the pooled vector, a panel a head.
// Follows base.js. State: shares, pictures, names, picture, head, place.
//
// A head gives shares to 1 + P tokens: the mean of all places, and each place. The mean is itself
// an even mixture of the places, so a place weighs its own share and 1/P of the mean's. These
// weights sum to 1 over the places; average pooling would give 1/P to each.

// What does not depend on the data.
const SKELETON = `<div class="cl clo">
  <fieldset class="cl-choices cl-pictures"><legend>Picture</legend></fieldset>
  <fieldset class="cl-choices clo-heads"><legend>Head</legend></fieldset>
  <div class="clo-two">
    <figure class="clo-head"><figcaption></figcaption>
      <div class="clo-stage"><img alt=""><table role="grid"><tbody></tbody></table></div>
    </figure>
    <figure class="clo-mean"><figcaption></figcaption>
      <div class="clo-stage" role="img"><img alt=""></div>
    </figure>
  </div>
  <p class="clo-key">Bright: weighs much; veiled: little. In the cells, per cent of the whole.</p>
  <p class="cl-said" role="status"></p>
  <p class="clo-about"></p>
  <details>
    <summary>The same as a table: every place, every head</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="weights of all places">
      <table class="cl-digest"><caption></caption><thead><tr></tr></thead><tbody></tbody></table>
    </div>
  </details>
</div>`;

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** What each place weighs in the pooled vector: its own share, and its part of the mean's. */
function weights(shares) {
  const places = shares.slice(1);
  return places.map((share) => share + shares[0] / places.length);
}

/** As how many places, evenly averaged, these weights are: exp of their entropy. */
function spread(values) {
  return Math.exp(-sum(values.map((value) => (value > 0 ? value * Math.log(value) : 0))));
}

/** How much of a place is covered: none at 4 times the average, half at the average. */
function veil(weight, places) {
  return (1 - Math.min(1, Math.sqrt(weight * places) / 2)).toFixed(3);
}

const named = (place, side) => `row ${Math.floor(place / side) + 1}, column ${(place % side) + 1}`;

/** P veils in a square; `paint(weights)` sets how thick each is. */
function veils(places) {
  const side = Math.sqrt(places);
  const box = make("span", { className: "clo-veils" });
  box.style.setProperty("--side", side);
  box.append(...Array.from({ length: places }, () => make("i")));
  const paint = (values) => [...box.children].forEach((cell, k) =>
    cell.style.setProperty("--veil", veil(values[k], places)));
  return { box, paint };
}

/** The large grid: a cell a place, one stop for the Tab key, arrows inside. */
function fillGrid(table, places, choose) {
  const side = Math.sqrt(places);
  const rows = Array.from({ length: side }, () =>
    Array.from({ length: side }, () => make("td", {}, make("span"))));
  table.tBodies[0].append(...rows.map((cells) => make("tr", {}, ...cells)));
  walk(rows);
  rows.flat().forEach((cell, k) => {
    cell.addEventListener("pointerenter", () => choose(k));
    cell.addEventListener("focus", () => choose(k));
  });
  return rows.flat();
}

function sayPlace(paragraph, shares, place, side) {
  const all = weights(shares);
  const [places, times] = [all.length, all[place] * all.length];
  paragraph.replaceChildren(
    make("b", {}, `R${named(place, side).slice(1)}: ${percent(all[place])} %`),
    ` = ${percent(shares[place + 1])} % of its own + ${percent(shares[0] / places)} % by way of ` +
    `the mean. Average pooling: ${percent(1 / places)} %. This is ${times.toFixed(1)} times that.`);
}

function sayHead(paragraph, shares, head, name) {
  const all = weights(shares);
  const best = all.indexOf(Math.max(...all));
  paragraph.textContent =
    `Head ${head + 1} on “${name}”: the mean keeps ${percent(shares[0])} %. The largest weight ` +
    `lies at ${named(best, Math.sqrt(all.length))}. All in all as if ${spread(all).toFixed(1)} ` +
    `of ${all.length} place${all.length > 1 ? "s were" : " was"} averaged.`;
}

/** Every weight of a picture in words and numbers, for who can't see the veils. */
function fillDigest(table, perHead, name, side) {
  table.caption.textContent = `Weights on “${name}”, in per cent`;
  table.tHead.rows[0].replaceChildren(...["place", ...perHead.map((_, h) => `head ${h + 1}`),
    "average"].map((text) => make("th", { scope: "col" }, text)));
  const places = perHead[0].length;
  table.tBodies[0].replaceChildren(...perHead[0].map((_, k) => make("tr", {},
    make("th", { scope: "row" }, named(k, side)),
    ...perHead.map((values) => make("td", {}, percent(values[k]))),
    make("td", {}, percent(1 / places)))));
}

/** The two rows of radio buttons, pictures and heads, the latter as small panels; returns the
 * function that sets them. */
function connect(find, model, put) {
  const [pictures, names, shares] = ["pictures", "names", "shares"].map((name) => model.get(name));
  const images = names.map((name, p) => make("img", { src: pictures[p], alt: name, title: name }));
  const chosen = radios(find(".cl-pictures"), images.map((image, p) => [p, image]),
    (p) => put("picture", p));
  const panels = shares[0].map((row) => ({ image: make("img", { alt: "" }),
    ...veils(row.length - 1) }));
  const heads = radios(find(".clo-heads"), panels.map(({ image, box }, h) => [h,
    make("span", { className: "clo-stage" }, image, box), make("small", {}, `${h + 1}`)]),
  (h) => put("head", h));
  return (p, h, perHead) => {
    check(chosen, p);
    check(heads, h);
    panels.forEach(({ image, paint }, i) => { image.src = pictures[p]; paint(perHead[i]); });
  };
}

/** What the two large pictures show, whichever head is chosen. */
function showPicture(find, address, name, places) {
  for (const image of [find(".clo-head img"), find(".clo-mean img")]) image.src = address;
  find(".clo-mean figcaption").textContent = `average pooling: ${percent(1 / places)} % each`;
  find(".clo-mean .clo-stage").setAttribute("aria-label",
    `${name}: average pooling weighs each of ${places} places alike`);
}

/** Puts a whole widget into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [shares, pictures, names] = ["shares", "pictures", "names"].map((n) => model.get(n));
  const places = shares[0][0].length - 1;
  const side = Math.sqrt(places);
  const setControls = connect(find, model, put);
  const cells = fillGrid(find("[role=grid]"), places, (k) => put("place", k));
  const even = veils(places);
  even.paint(Array(places).fill(1 / places));
  find(".clo-mean .clo-stage").append(even.box);
  const update = () => {
    const [p, h, k] = ["picture", "head", "place"].map((name) => model.get(name));
    const perHead = shares[p].map(weights);
    showPicture(find, pictures[p], names[p], places);
    find(".clo-head figcaption").textContent = `head ${h + 1}: what each place weighs`;
    find("[role=grid]").setAttribute("aria-label",
      `${names[p]}: per cent that each place weighs in head ${h + 1}`);
    setControls(p, h, perHead);
    cells.forEach((cell, i) => {
      cell.firstChild.textContent = percent(perHead[h][i]);
      cell.style.setProperty("--veil", veil(perHead[h][i], places));
      cell.tabIndex = i === k ? 0 : -1;
      cell.classList.toggle("clo-here", i === k);
    });
    sayPlace(find(".cl-said"), shares[p][h], k, side);
    sayHead(find(".clo-about"), shares[p][h], h, names[p]);
    fillDigest(find(".cl-digest"), perHead, names[p], side);
  };
  return update;
}

const render = renderer(build, ["picture", "head", "place"], ["shares", "pictures", "names"]);

export default { render };
