// An ensemble of prompt templates over a small test: each alone, all ticked ones together, and what
// each brings. Follows base.js. State: cosines, gram, targets, classes, templates, scale, on,
// combine. Class vectors aren't needed: with m the sum of a class's ticked vectors, the cosine of a
// picture and m is the sum of its cosines over the length of m, and that follows from the gram.

const WAYS = {
  vectors: ["mean of the vectors", "Each class keeps one vector: the mean of its ticked prompts, " +
    "made length 1 again. The cost per picture stays that of one template."],
  shares: ["mean of the shares", "Each template is a classifier of its own; their softmax shares " +
    "are averaged. The cost per picture grows with the templates."],
};

const SKELETON = `<div class="cl clg">
  <p class="clg-score"><b></b> <span></span></p>
  <div class="clg-bar" aria-hidden="true"><i></i><u></u><s></s></div>
  <fieldset class="cl-switches clg-ways"><legend>How templates are combined</legend></fieldset>
  <p class="clg-about"></p>
  <div class="cl-chips"></div>
  <table class="clg-templates">
    <caption class="cl-unseen">Templates: accuracy alone, and what each brings</caption>
    <thead><tr><th scope="col">template</th><th scope="col">alone</th>
      <th scope="col">brings</th></tr></thead><tbody></tbody>
  </table>
  <p class="cl-said" role="status"></p>
  <details>
    <summary>Class by class</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="the classes as a table">
      <table class="cl-digest"><thead><tr><th scope="col">class</th><th scope="col">pictures</th>
        <th scope="col">found</th><th scope="col">found by the first template</th>
        <th scope="col">length of the mean before scaling</th></tr></thead><tbody></tbody></table>
    </div>
  </details>
</div>`;

const best = (row) => row.indexOf(Math.max(...row));

/** The length of the sum of a class's ticked vectors. */
function lengthOfSum(gram, on) {
  let square = 0;
  for (const t of on) for (const u of on) square += gram[t][u];
  return Math.sqrt(Math.max(square, 1e-12));
}

function softmax(row) {
  const top = Math.max(...row);
  const powers = row.map((value) => Math.exp(value - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Each picture's answer, by the ticked templates; null where none is ticked. */
function answers(data, on, combine) {
  if (!on.length) return null;
  if (combine === "vectors") {
    const lengths = data.gram.map((gram) => lengthOfSum(gram, on));
    return data.cosines.map((classes) => best(classes.map((row, k) => (
      on.reduce((sum, t) => sum + row[t], 0) / lengths[k]))));
  }
  return data.cosines.map((classes) => {
    const sums = classes.map(() => 0);
    for (const t of on) {
      const shares = softmax(classes.map((row) => data.scale * row[t]));
      shares.forEach((share, k) => { sums[k] += share; });
    }
    return best(sums);
  });
}

const hits = (data, said) => (said ? said.filter((k, n) => k === data.targets[n]).length : 0);

function fillTemplates(table, templates, toggle) {
  return templates.map((template, t) => {
    const box = make("input", { type: "checkbox", onchange: () => toggle(t) });
    const [alone, brings] = [make("td"), make("td")];
    table.tBodies[0].append(make("tr", {},
      make("th", { scope: "row" }, make("label", {}, box, make("span", {}, template))),
      alone, brings));
    return { box, alone, brings };
  });
}

function bar(share, kind) {
  const piece = make("i", { className: kind });
  piece.style.width = `${(100 * share).toFixed(1)}%`;
  return piece;
}

/** Points, with a sign: what ticking brings, or would. */
function points(hitsMore, count) {
  const value = (100 * hitsMore) / count;
  return (value > 0 ? "+" : "") + signed(value, 1);
}

function paintTemplates(rows, data, on, combine, alone) {
  const now = hits(data, answers(data, on, combine));
  rows.forEach(({ box, alone: first, brings }, t) => {
    const ticked = on.includes(t);
    box.checked = ticked;
    const other = ticked ? on.filter((u) => u !== t) : [...on, t];
    first.replaceChildren(make("span", {}, `${percent(alone[t] / data.targets.length)} %`),
      bar(alone[t] / data.targets.length, ""));
    if (!on.length || !other.length) { brings.textContent = "–"; return; }
    const gain = (ticked ? 1 : -1) * (now - hits(data, answers(data, other, combine)));
    brings.textContent = points(gain, data.targets.length) + (ticked ? "" : " if ticked");
    brings.className = gain > 0 ? "clg-gain" : gain < 0 ? "clg-loss" : "";
  });
}

/** What the last change did, answer by answer. */
function sayChange(paragraph, data, said, before) {
  if (!said) { paragraph.textContent = "No template is ticked: there is no classifier."; return; }
  if (!before) { paragraph.textContent = "Tick and untick: here stands what changed."; return; }
  const changed = said.filter((k, n) => k !== before[n]).length;
  const right = (answer, n) => answer === data.targets[n];
  const won = said.filter((k, n) => right(k, n) && !right(before[n], n)).length;
  const lost = said.filter((k, n) => !right(k, n) && right(before[n], n)).length;
  paragraph.textContent = `The last change altered ${changed} of ${said.length} answers: ` +
    `${won} from wrong to right, ${lost} from right to wrong.`;
}

function sayScore(find, data, on, said, first) {
  const count = data.targets.length;
  const [right, chance] = [hits(data, said), 1 / data.classes.length];
  find(".clg-score b").textContent = said ? `${percent(right / count)} %` : "–";
  find(".clg-score span").textContent = `right: ${right} of ${count}, with ${on.length} of ` +
    `${data.templates.length} templates. The first alone: ${percent(first / count)} % (mark); ` +
    `chance: ${percent(chance)} % (dotted).`;
  find(".clg-bar i").style.width = `${(100 * right) / count}%`;
  find(".clg-bar u").style.left = `${(100 * first) / count}%`;
  find(".clg-bar s").style.left = `${100 * chance}%`;
}

function fillDigest(table, data, on, said, first) {
  table.tBodies[0].replaceChildren(...data.classes.map((name, k) => {
    const own = data.targets.flatMap((target, n) => (target === k ? [n] : []));
    const found = (answered) => (answered ? own.filter((n) => answered[n] === k).length : 0);
    const length = on.length ? (lengthOfSum(data.gram[k], on) / on.length).toFixed(2) : "–";
    return make("tr", {}, make("th", { scope: "row" }, name),
      ...[own.length, found(said), found(first), length].map((text) => make("td", {}, `${text}`)));
  }));
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const names = ["cosines", "gram", "targets", "classes", "templates", "scale"];
  const data = Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const every = data.templates.map((_, t) => t);
  const first = answers(data, [0], "vectors");
  const alone = every.map((t) => hits(data, answers(data, [t], "vectors")));
  const rows = fillTemplates(find(".clg-templates"), data.templates, (t) => {
    const on = model.get("on");
    put("on", on.includes(t) ? on.filter((u) => u !== t) : [...on, t].sort((a, b) => a - b));
  });
  const quick = [["all", every], ["only the first", [0]], ["all but the first", every.slice(1)]];
  find(".cl-chips").append(...quick.map(([name, on]) => make("button",
    { type: "button", className: "cl-chip", onclick: () => put("on", on) }, name)));
  const choices = Object.entries(WAYS).map(([way, [name]]) => [way, name]);
  const ways = radios(find(".clg-ways"), choices, (way) => put("combine", way));
  let before = null;
  return () => {
    const [on, combine] = [model.get("on"), model.get("combine")];
    const said = answers(data, on, combine);
    ways.forEach((radio) => { radio.checked = radio.value === combine; });
    find(".clg-about").textContent = WAYS[combine][1];
    sayScore(find, data, on, said, alone[0]);
    paintTemplates(rows, data, on, combine, alone);
    sayChange(find(".cl-said"), data, said, before);
    fillDigest(find(".cl-digest"), data, on, said, first);
    before = said;
  };
}

const render = renderer(build, ["on", "combine"],
  ["cosines", "gram", "targets", "classes", "templates", "scale"]);

export default { render };
