// Byte-pair encoding, one merge after the other: bytes, their symbols, pieces, ranks, ids.
// Follows base.js. State: merges, text, word, step, room, examples. The merges travel in the state;
// splitting and merging happen here, as in clip_lab/tokenizer.py (a test holds the two together).

const END = "</w>";
const MARKS = ["<|startoftext|>", "<|endoftext|>"];
// What Python's str.split() takes for white space; JavaScript's \s is another set.
const WHITE = /[\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
const WORDS =
  /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^ \p{L}\p{N}]+/gu;
const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 };

// Printable bytes stand for themselves; the others borrow characters from 256 up.
const PRINTABLE = [[33, 126], [161, 172], [174, 255]].flatMap(([first, last]) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i));
const HIDDEN = Array.from({ length: 256 }, (_, byte) => byte).filter((b) => !PRINTABLE.includes(b));
const SYMBOL = new Map([
  ...PRINTABLE.map((byte) => [byte, String.fromCodePoint(byte)]),
  ...HIDDEN.map((byte, i) => [byte, String.fromCodePoint(256 + i)]),
]);

// What does not depend on the data.
const SKELETON = `<div class="cl clb">
  <label class="clb-field"><span>Text</span>
    <input type="text" maxlength="200" spellcheck="false" autocomplete="off"></label>
  <div class="cl-chips clb-examples"></div>
  <fieldset class="cl-choices clb-words"><legend class="cl-unseen">Word</legend></fieldset>
  <div class="cl-scroll" tabindex="0" role="region"
    aria-label="the word, cut into pieces; arrow keys step">
    <div class="clb-stage" aria-hidden="true"></div></div>
  <div class="clb-steps">
    <button type="button" class="cl-chip clb-back">◀ back</button>
    <input type="range" min="0" step="1" aria-label="merges done">
    <button type="button" class="cl-chip clb-on">merge ▶</button>
  </div>
  <p class="cl-said" role="status"></p>
  <p class="clb-total"></p>
  <details><summary>All merges of this word as a table</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="the merges in words">
      <table class="cl-digest">
        <thead><tr><th scope="col">step</th><th scope="col">rank</th><th scope="col">left</th>
          <th scope="col">right</th><th scope="col">the word after it</th></tr></thead>
        <tbody></tbody></table></div></details>
</div>`;

/** The rank of each rule, and the id of each token, from the list of merges. */
function readMerges(merges) {
  const symbols = [...SYMBOL.values()];
  const vocabulary = [...symbols, ...symbols.map((symbol) => symbol + END)];
  vocabulary.push(...merges.map((pair) => pair.replace(" ", "")), ...MARKS);
  return {
    rank: new Map(merges.map((pair, rank) => [pair, rank])),
    id: new Map(vocabulary.map((token, id) => [token, id])),
  };
}

/** One Unicode form, single spaces, lower case (letter by letter: Σ is never ς). */
function clean(text) {
  const low = [...text.normalize("NFC")].map((letter) => letter.toLowerCase()).join("");
  return low.replace(/\p{Surrogate}/gu, "?").split(WHITE).filter(Boolean).join(" ");
}

function symbolsOf(word) {
  const symbols = [...new TextEncoder().encode(word)].map((byte) => SYMBOL.get(byte));
  return [...symbols.slice(0, -1), symbols.at(-1) + END];
}

/** The ranks between neighbours; Infinity where no rule joins them. */
function ranksOf(pieces, rank) {
  return pieces.slice(1).map((right, i) => rank.get(`${pieces[i]} ${right}`) ?? Infinity);
}

/** Every occurrence of the pair, from the left, as one piece. */
function join(pieces, left, right) {
  const joined = [];
  for (let i = 0; i < pieces.length; i += 1) {
    if (pieces[i] === left && pieces[i + 1] === right) { joined.push(left + right); i += 1; }
    else joined.push(pieces[i]);
  }
  return joined;
}

/** A word's merges in turn: always the pair with the lowest rank of those present. */
function explain(word, { rank, id }) {
  if (MARKS.includes(word)) return { word, states: [[word]], merges: [], ids: [id.get(word)] };
  const states = [symbolsOf(word)];
  const merges = [];
  for (;;) {
    const pieces = states.at(-1);
    const ranks = ranksOf(pieces, rank);
    const lowest = Math.min(...ranks);
    if (lowest === Infinity) break;
    const [left, right] = pieces.slice(ranks.indexOf(lowest));
    merges.push({ left, right, rank: lowest, among: ranks.filter(Number.isFinite).length });
    states.push(join(pieces, left, right));
  }
  return { word, states, merges, ids: states.at(-1).map((piece) => id.get(piece)) };
}

const quoted = (piece) => `“${piece}”`;
const bytesIn = (piece) => [...piece.replace(END, "")].length;
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** A cell of the stage: `width` byte columns from `start` on, in a row of the grid. */
function cell(kind, row, start, width, ...children) {
  const element = make("span", { className: `clb-${kind}` }, ...children);
  element.style.gridArea = `${row} / ${start + 1} / auto / span ${width}`;
  return element;
}

/** A piece as the vocabulary spells it, its end mark small, its id below. */
function pieceCell(piece, id, start) {
  const ends = piece.endsWith(END) && !MARKS.includes(piece);
  const text = make("b", {}, ends ? piece.slice(0, -END.length) : piece);
  if (ends) text.append(make("i", {}, END));
  return cell("piece", 8, start, bytesIn(piece), text, make("small", {}, String(id)));
}

/** Characters, bytes, symbols, the pieces of this step, and the ranks at their joints. */
function paintStage(stage, said, step, { rank, id }) {
  const pieces = said.states[step];
  const [letters, bytes] = [[...said.word], new TextEncoder().encode(said.word)];
  const label = (row, text) => cell("label", row, 0, 1, text);
  const cells = [label(1, "characters"), label(3, "bytes (UTF-8)"), label(5, "a symbol a byte"),
    label(7, "pieces and their ids"), label(9, "rank of each pair")];
  let at = 0;
  for (const letter of letters) {
    const width = new TextEncoder().encode(letter).length;
    cells.push(cell("letter", 2, at, width, letter));
    at += width;
  }
  bytes.forEach((byte, i) => cells.push(cell("byte", 4, i, 1, byte.toString(16).padStart(2, "0")),
    cell("symbol", 6, i, 1, SYMBOL.get(byte))));
  const ranks = MARKS.includes(said.word) ? [] : ranksOf(pieces, rank);
  const [before, lowest] = [said.merges[step - 1], Math.min(...ranks)];
  at = 0;
  pieces.forEach((piece, i) => {
    const box = pieceCell(piece, id.get(piece), at);
    box.classList.toggle("clb-new", Boolean(before) && piece === before.left + before.right);
    cells.push(box);
    at += bytesIn(piece);
    if (i >= ranks.length) return;
    const known = Number.isFinite(ranks[i]);
    const joint = cell("rank", 10, at - 1, 2, known ? String(ranks[i]) : "–");
    joint.classList.toggle("clb-next", known && ranks[i] === lowest);
    cells.push(joint);
  });
  stage.style.setProperty("--bytes", bytes.length);
  stage.replaceChildren(...cells);
  keepInSight(stage.parentElement, stage.querySelector(".clb-next, .clb-new"));
}

/** Scrolls the stage, never the page, so that the next merge is in sight on a narrow screen. */
function keepInSight(region, element) {
  if (!element || region.scrollWidth <= region.clientWidth) return;
  const [view, box] = [region.getBoundingClientRect(), element.getBoundingClientRect()];
  const [left, right] = [box.left - view.left - 40, box.right - view.right + 40];
  if (left < 0) region.scrollLeft += left;
  else if (right > 0) region.scrollLeft += right;
}

function sayStep(said, step) {
  const pieces = said.states[step];
  const now = pieces.join(" · ");
  const [before, after] = [said.merges[step - 1], said.merges[step]];
  const begin = before
    ? `Merge ${step} of ${said.merges.length}: ${quoted(before.left)} and ${quoted(before.right)} ` +
      `join by rule ${before.rank}. Now: ${now}. `
    : `${plural(pieces.length, "symbol")}, one a byte: ${now}. `;
  if (!after) return `${begin}No neighbours here have a rule: ${plural(pieces.length, "token")}.`;
  const choice = after.among > 1 ? `the lowest rank of the ${after.among} here` : "the only one here";
  return `${begin}Next: ${quoted(after.left)} and ${quoted(after.right)}, rule ${after.rank}, ` +
    `${choice}.`;
}

function sayTotal(all, room) {
  const ids = all.flatMap((said) => said.ids);
  const bytes = all.reduce((sum, { word }) => sum + new TextEncoder().encode(word).length, 0);
  const fits = ids.length > room ? `${ids.length - room} too many: its end would be cut off` : "it fits";
  return `The whole text: ${plural(all.length, "word")}, ${plural(bytes, "byte")}, ` +
    `${plural(ids.length, "token")}. Between start and end token there is room for ${room}: ${fits}. ` +
    `Ids: ${ids.join(" ")}`;
}

function fillTable(body, said, step) {
  const row = (i, ...texts) => {
    const cells = texts.map((text) => make("td", {}, String(text)));
    const line = make("tr", {}, make("th", { scope: "row" }, String(i)), ...cells);
    line.classList.toggle("clb-now", i === step);
    return line;
  };
  body.replaceChildren(row(0, "", "", "", said.states[0].join(" · ")), ...said.merges.map(
    ({ rank, left, right }, i) => row(i + 1, rank, left, right, said.states[i + 1].join(" · "))));
}

/** The buttons, slider, field and arrow keys. `move(change)` goes that many merges on. */
function connect(find, examples, put, move) {
  const type = (text) => { put("word", 0); put("step", 0); put("text", text); };
  find("input[type=text]").addEventListener("input", (event) => type(event.target.value));
  find("input[type=range]").addEventListener("input", (event) =>
    put("step", Number(event.target.value)));
  find(".clb-back").addEventListener("click", () => move(-1));
  find(".clb-on").addEventListener("click", () => move(1));
  find(".clb").addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.target.matches("input, details *")) return;
    event.preventDefault();
    move(KEYS[event.key]);
  });
  find(".clb-examples").append(...examples.map((text) =>
    make("button", { type: "button", className: "cl-chip", onclick: () => type(text) }, text)));
}

/** Puts the widget into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const rules = readMerges(model.get("merges"));
  let [all, text, choices] = [[], null, []];
  const within = (name, last) => Math.max(0, Math.min(last, model.get(name)));
  const current = () => all[within("word", all.length - 1)];
  connect(find, model.get("examples"), put, (change) => {
    const last = current()?.merges.length ?? 0;
    put("step", Math.max(0, Math.min(last, within("step", last) + change)));
  });
  const split = () => {
    text = model.get("text");
    all = (clean(text).match(WORDS) ?? []).map((word) => explain(word, rules));
    find(".clb-words").querySelectorAll("label").forEach((label) => label.remove());
    choices = radios(find(".clb-words"), all.map(({ word, ids }, i) => [i, word,
      make("small", {}, ` ${ids.length}`)]), (i) => { put("step", 0); put("word", i); });
  };
  return () => {
    if (text !== model.get("text")) split();
    if (find("input[type=text]").value !== text) find("input[type=text]").value = text;
    const said = current();
    find(".clb").classList.toggle("clb-empty", !said);
    find(".clb-total").textContent = said ? sayTotal(all, model.get("room")) : "";
    if (!said) {
      find(".cl-said").textContent = "Type a word or a sentence, in any script.";
      return;
    }
    const step = within("step", said.merges.length);
    paintStage(find(".clb-stage"), said, step, rules);
    find("input[type=range]").max = said.merges.length;
    find("input[type=range]").value = step;
    find(".clb-back").disabled = step === 0;
    find(".clb-on").disabled = step === said.merges.length;
    find(".cl-said").textContent = sayStep(said, step);
    fillTable(find("tbody"), said, step);
    check(choices, all.indexOf(said));
  };
}

const render = renderer(build, ["text", "word", "step", "room"], ["merges", "examples"]);

export default { render };
