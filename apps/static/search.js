/* Results of a search: thumbnails with their cosines, to click on.
 *
 * props.value is null, {error} or {model, told, hits: [{row, of, name, score, src, group, date, both}]}.
 * A click tells the server {act: "like" | "plus" | "minus", row, of, name}. The first time that the
 * panel comes into view, "select" asks for results: until then no model has to work for this tab.
 */
const find = (selector) => element.querySelector(selector);
const { make, signed } = lab;
const COLUMNS = ["rank", "name", "cosine", "group or folder", "date"];
const ACTS = { plus: ["+", "Add to the query"], minus: ["−", "Subtract from the query"] };

let drawn = "";

const tell = (act, hit) => trigger("click", { act, row: hit.row, of: hit.of, name: hit.name });

function bar(score) {
  const track = make("span", "search-track"), fill = make("span", "search-bar");
  fill.style.width = `${(100 * Math.min(1, Math.abs(score))).toFixed(1)}%`;
  fill.dataset.sign = score < 0 ? "minus" : "plus";
  track.append(fill);
  return track;
}

function card(hit, place) {
  const node = make("li", "search-card"), like = make("button", "search-like"), image = make("img");
  node.dataset.key = hit.of + "\n" + hit.row;
  like.type = "button";
  image.src = hit.src;
  image.alt = "";
  like.append(image, make("span", "search-name", hit.name));
  like.title = [hit.name, hit.group, hit.date].filter(Boolean).join(" · ");
  like.setAttribute("aria-label", `${place + 1}. ${hit.name}, cosine ${signed(hit.score, 3)}. More like this`);
  like.addEventListener("click", () => tell("like", hit));
  const facts = make("span", "search-facts", [hit.group, hit.date].filter(Boolean).join(" · "));
  const score = make("span", "search-score");
  score.append(make("span", "search-number", signed(hit.score, 3)), bar(hit.score));
  const acts = make("span", "search-acts");
  acts.append(...Object.entries(ACTS).map(([act, [sign, words]]) => {
    const button = make("button", "", sign);
    button.type = "button";
    button.title = words;
    button.setAttribute("aria-label", `${words}: ${hit.name}`);
    button.addEventListener("click", () => tell(act, hit));
    return button;
  }));
  const foot = make("span", "search-foot");
  foot.append(facts, acts);
  node.append(like, score, foot);
  if (hit.both) node.append(make("span", "search-both", "both"));
  return node;
}

const cells = (hit, place) => [place + 1, hit.name, hit.score, hit.group, hit.date];

function line(kind, texts) {
  const row = make("tr");
  row.append(...texts.map((text) => {
    const cell = make(kind, "", typeof text === "number" && !Number.isInteger(text) ? signed(text, 3) : String(text));
    if (kind === "th") cell.scope = "col";
    return cell;
  }));
  return row;
}

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return;
  find(".search-told").textContent = value.told;
  const now = JSON.stringify(value.hits);
  if (now === drawn) return; // the same ones stay where they are, and so does the focus
  drawn = now;
  find(".search-grid").replaceChildren(...value.hits.map(card));
  find("thead").replaceChildren(line("th", COLUMNS));
  find("tbody").replaceChildren(...value.hits.map((hit, i) => line("td", cells(hit, i))));
  find(".search-twin").hidden = !value.hits.length;
  const best = value.hits[0];
  lab.speak(find(".lab-spoken"), (best ? `${value.hits.length} results, the nearest ${best.name}. ` : "") + value.told);
}

lab.exports(find(".lab-body"), "clip-lab-search", () => [COLUMNS, ...props.value.hits.map(cells)]);
watch("value", show);
show();
if (element.closest("#found")) {
  const first = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    first.disconnect();
    setTimeout(() => trigger("select", {}), 300); // after what the address says is in its place
  });
  first.observe(element.closest("#found"));
}
