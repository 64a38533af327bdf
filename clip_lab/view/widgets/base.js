// What every widget's module begins with: LabWidget puts this text before the widget's own, so that
// both are one plain ES module without imports. anywidget runs it beside a kernel, `static_html`
// in a page without one. A widget's state lives in `model`: every change goes through `put`, and
// what is drawn follows the model's change events.
//
// Texts from outside are only ever put in as text, never as markup.

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** A new element with properties, and children (elements or text) inside it. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A number with a true minus, and no minus before zero. */
function signed(value, digits = 2) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** A share as per cent, without the sign: a decimal where there is one figure before it. */
function percent(share) {
  return share > 0.9995 ? "100" : (100 * share).toFixed(share < 0.0995 ? 1 : 0);
}

/** Radio buttons, one for each [value, ...what stands for it]; `choose` is told the value. */
function radios(fieldset, choices, choose) {
  const name = `cl-${Math.random()}`; // two widgets on a page must not share a name
  return choices.map(([value, ...shown]) => {
    const radio = make("input", { type: "radio", name, value, onchange: () => choose(value) });
    fieldset.append(make("label", {}, radio, make("span", {}, ...shown)));
    return radio;
  });
}

/** Of radio buttons, marks the one that stands for `value`. */
function check(buttons, value) {
  for (const radio of buttons) radio.checked = radio.value === String(value);
}

/** Lets the arrow keys walk a table: `cells` are rows of focusable elements. */
function walk(cells) {
  cells.forEach((row, i) => row.forEach((cell, j) => cell.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    cells[i + move[0]]?.[j + move[1]]?.focus();
  })));
}

/** The rows of pictures against captions: a picture, then a cell for each. `onFocus(i, j)` is told. */
function fillMatrix(table, captions, pictures, onFocus) {
  const heading = (text) => make("th", { scope: "col", title: text }, make("span", {}, text));
  table.tHead.rows[0].append(...captions.map(heading));
  const cells = captions.map(() => captions.map(() => make("td", { tabIndex: -1 })));
  cells.forEach((row, i) => {
    const image = make("img", { src: pictures[i], alt: `picture of: ${captions[i]}` });
    table.tBodies[0].append(make("tr", {}, make("th", { scope: "row" }, image), ...row));
    row.forEach((cell, j) => {
      cell.classList.toggle("cl-match", i === j);
      cell.addEventListener("pointerenter", () => onFocus(i, j));
      cell.addEventListener("focus", () => onFocus(i, j));
    });
  });
  walk(cells);
  return cells;
}

/** A form with a field for words of one's own: shown only where a kernel can answer `asked`. */
function connectField(form, model, put) {
  // `send` is in every live model, and not in the stand-in of a page without a kernel.
  form.hidden = !(model.get("writable") && typeof model.send === "function");
  const field = form.querySelector("input");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value.trim()) return;
    put("asked", field.value);
    field.value = "";
  });
}

/** anywidget's `render`. `build(model, el, put)` fills `el` and returns the function that brings it
 * up to the model's state, called whenever one of `moved` changes; when one of `given` does, all is
 * built anew. */
function renderer(build, moved, given) {
  return ({ model, el }) => {
    const put = (name, value) => {
      if (model.get(name) === value) return;
      model.set(name, value);
      model.save_changes();
    };
    let update;
    const rebuild = () => { update = build(model, el, put); update(); };
    const refresh = () => update();
    // A notebook would take arrow keys and letters for commands of its own.
    const ours = (event) => event.stopPropagation();
    el.addEventListener("keydown", ours);
    rebuild();
    const listeners = [...moved.map((name) => [`change:${name}`, refresh]),
      ...given.map((name) => [`change:${name}`, rebuild])];
    for (const [event, listen] of listeners) model.on(event, listen);
    return () => {
      el.removeEventListener("keydown", ours);
      for (const [event, listen] of listeners) model.off(event, listen);
    };
  };
}
