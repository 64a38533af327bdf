/* A table of texts and numbers. props.value is null, {error} or {model, name, caption, columns, rows,
 * note}: `name` is what its file is called, a cell is a text or a number already written as one. */
const find = (selector) => element.querySelector(selector);
const cell = (kind) => (text) => {
  const node = lab.make(kind, "", String(text));
  if (kind === "th") node.scope = "col";
  return node;
};
const line = (kind, texts) => {
  const row = lab.make("tr");
  row.append(...texts.map(cell(kind)));
  return row;
};

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return;
  find("caption").textContent = value.caption;
  find(".lab-scroll").setAttribute("aria-label", value.caption);
  find("thead").replaceChildren(line("th", value.columns));
  find("tbody").replaceChildren(...value.rows.map((row) => line("td", row)));
  find(".lab-note").textContent = value.note || "";
}

lab.exports(find(".lab-body"), "clip-lab-table", () => [props.value.columns, ...props.value.rows]);
watch("value", show);
show();
