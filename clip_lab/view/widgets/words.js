// A classifier whose classes are words: choose a picture, tick classes, see which is nearest.
// Follows base.js. State: cosines, pictures, names, words, listed, picture, asked, answer,
// writable.

// What does not depend on the data.
const SKELETON = `<div class="cl clw">
  <fieldset class="cl-choices cl-pictures"><legend>Picture</legend></fieldset>
  <fieldset class="cl-choices clw-words"><legend>Classes on the list</legend></fieldset>
  <form class="clw-own">
    <label>A class of your own <input type="text" maxlength="60" autocomplete="off"></label>
    <button class="cl-chip">Add</button><span role="alert"></span>
  </form>
  <p class="cl-said" role="status"><b></b> <span></span></p>
  <table>
    <caption class="cl-unseen">Cosine of picture and class for each on the list, best first
    </caption>
    <thead><tr><th scope="col">class</th><th scope="col" class="clw-wide">from 0 to 1</th>
      <th scope="col">cosine</th></tr></thead><tbody></tbody>
  </table>
</div>`;

/** The listed words with their cosines to one picture, best first. */
function ranking(words, listed, cosines) {
  const on = new Set(listed);
  return words.map((word, j) => [word, cosines[j]]).filter(([word]) => on.has(word))
    .sort((a, b) => b[1] - a[1]);
}

function fillWords(fieldset, words, onToggle) {
  fieldset.querySelectorAll("label").forEach((label) => label.remove());
  const boxes = words.map((word) => make("input",
    { type: "checkbox", onchange: () => onToggle(word) }));
  fieldset.append(...boxes.map((box, j) => make("label", {}, box, make("span", {}, words[j]))));
  return boxes;
}

function fillTable(table, ranked) {
  table.tBodies[0].replaceChildren(...ranked.map(([word, cosine], place) => {
    const bar = make("i", {});
    bar.style.width = `${(100 * Math.max(0, cosine)).toFixed(1)}%`;
    return make("tr", { className: place === 0 ? "clw-first" : "" },
      make("th", { scope: "row" }, word),
      make("td", { className: "clw-wide" }, bar),
      make("td", {}, signed(cosine)));
  }));
}

/** One sentence on the answer, and one on what the list rules out. */
function say(paragraph, ranked, name, known) {
  const [answer, remark] = paragraph.children;
  if (!ranked.length) {
    answer.textContent = "No class is on the list.";
    remark.textContent = "Tick one: a classifier can only answer with what it was given.";
    return;
  }
  answer.textContent = `Nearest of ${ranked.length}: “${ranked[0][0]}”.`;
  const listed = ranked.some(([word]) => word === name);
  remark.textContent = listed || !known ? ""
    : `“${name}”, its name, is not on the list, so it can't be the answer.`;
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const toggle = (word) => {
    const listed = model.get("listed");
    const less = listed.filter((other) => other !== word);
    put("listed", less.length < listed.length ? less : [...listed, word]);
  };
  const images = model.get("names").map((name, i) => [i, make("img",
    { src: model.get("pictures")[i], alt: `picture of: ${name}`, title: name })]);
  const pictures = radios(find(".cl-pictures"), images, (i) => put("picture", i));
  connectField(find("form"), model, put);
  let [words, boxes] = [null, []];
  return () => {
    const [chosen, listed] = [model.get("picture"), model.get("listed")];
    if (words !== model.get("words")) { // a reader's own word came in
      words = model.get("words");
      boxes = fillWords(find(".clw-words"), words, toggle);
    }
    check(pictures, chosen);
    boxes.forEach((box, j) => { box.checked = listed.includes(words[j]); });
    const ranked = ranking(words, listed, model.get("cosines")[chosen]);
    const name = model.get("names")[chosen];
    fillTable(find("table"), ranked);
    say(find(".cl-said"), ranked, name, words.includes(name));
    find("[role=alert]").textContent = model.get("answer");
  };
}

const render = renderer(build, ["picture", "listed", "words", "cosines", "answer"],
  ["names", "pictures", "writable"]);

export default { render };
