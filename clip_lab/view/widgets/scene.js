// A scene by its controls, its picture, and which of two captions is nearer, by question.
// Follows base.js. State: scenes, colours, outlines, scene, asked, own, answer, writable.

const CONTROLS = [
  ["shape", "Shape"], ["colour", "Colour"], ["count", "How many"],
  ["other_shape", "Second shape"], ["other_colour", "Its colour"],
  ["where", "The first stands"], ["word", "Written on it"],
];
const SVG = "http://www.w3.org/2000/svg";
const OWN = "Your own captions";

// What does not depend on the data.
const SKELETON = `<div class="cl clx">
  <div class="clx-top">
    <svg class="clx-picture" viewBox="0 0 1 1" role="img"></svg>
    <div class="clx-controls"></div>
  </div>
  <p class="cl-said" role="status"><b></b> <span></span></p>
  <div class="clx-questions"></div>
  <form class="clx-own">
    <label>True <input type="text" maxlength="80" autocomplete="off"></label>
    <label>False <input type="text" maxlength="80" autocomplete="off"></label>
    <button class="cl-chip">Ask the model</button><span role="alert"></span>
  </form>
  <details>
    <summary>All scenes of this builder, question by question</summary>
    <div class="cl-scroll" tabindex="0" role="region" aria-label="right answers over all scenes">
      <table class="cl-digest">
        <thead><tr><th scope="col">question</th><th scope="col">true caption nearer</th>
          <th scope="col">scenes</th><th scope="col">mean gap</th></tr></thead><tbody></tbody>
      </table>
    </div>
  </details>
</div>`;

/** The scene in which `name` has this value and as much else as possible is as it was. */
function nearest(scenes, now, name, value) {
  const alike = (scene) => CONTROLS.filter(([other]) => scene[other] === now[other]).length;
  let best = null;
  scenes.forEach((scene, i) => {
    if (scene[name] !== value) return;
    if (best === null || alike(scene) > alike(scenes[best])) best = i;
  });
  return best;
}

/** Whether a control has anything to say in this scene. */
function applies(name, scene) {
  if (name === "other_colour" || name === "where") return scene.other_shape !== "";
  if (name === "count") return scene.other_shape === "";
  if (name === "word") return scene.other_shape === "" && scene.count === 1;
  return true;
}

/** What a control can be set to, in one order: a second colour stands as the first one's does. */
function valuesOf(name, scenes) {
  const first = { other_shape: "shape", other_colour: "colour", word: "colour" }[name] ?? name;
  const order = ["", ...scenes.map((scene) => scene[first])];
  const place = (value) => order.indexOf(name === "word" ? value.toLowerCase() : value);
  const optional = name === "other_shape" || name === "word";
  return [...new Set(scenes.map((scene) => scene[name]))]
    .filter((value) => value !== "" || optional).sort((a, b) => place(a) - place(b));
}

/** A fieldset a control; returns the function that sets them to a scene. */
function connect(box, scenes, current, choose) {
  const rows = CONTROLS.map(([name, title]) => {
    const fieldset = make("fieldset", { className: "cl-switches" }, make("legend", {}, title),
      make("b", { ariaHidden: "true" }, title));
    const choices = valuesOf(name, scenes).map((value) => [value, String(value) || "none"]);
    const buttons = radios(fieldset, choices,
      (value) => choose(nearest(scenes, current(), name, value)));
    box.append(fieldset);
    return { name, fieldset, buttons };
  });
  return (scene) => rows.forEach(({ name, fieldset, buttons }) => {
    fieldset.hidden = !applies(name, scene);
    check(buttons, scene[name]);
  });
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** One thing: a circle, or its corners moved to their place. */
function thingOf([shape, colour, x, y, radius], colours, outlines) {
  const outline = outlines[shape];
  const style = { fill: colours[colour], "data-shape": shape };
  if (!Array.isArray(outline)) {
    return drawn("circle", { cx: x, cy: y, r: radius * outline, ...style });
  }
  const points = outline.map(([right, up]) => `${x + radius * right},${y - radius * up}`).join(" ");
  return drawn("polygon", { points, ...style });
}

/** A written word: black on a white label. */
function labelOf([x, y, halfWidth, halfHeight], word) {
  const box = { x: x - halfWidth, y: y - halfHeight, width: 2 * halfWidth, height: 2 * halfHeight };
  const text = drawn("text", { x, y: y + 0.68 * halfHeight, "text-anchor": "middle",
    "font-size": 1.9 * halfHeight, textLength: 1.84 * halfWidth,
    lengthAdjust: "spacingAndGlyphs" });
  text.textContent = word;
  return [drawn("rect", box), text];
}

/** The scene in words, for who can't see it. */
function inWords(scene) {
  if (scene.other_shape) {
    return `a ${scene.colour} ${scene.shape} ${scene.where} a ${scene.other_colour} ` +
      `${scene.other_shape}`;
  }
  const written = scene.word ? `, with the word ${scene.word} on it` : "";
  return `${scene.count} × ${scene.colour} ${scene.shape}${written}`;
}

function paint(svg, scene, colours, outlines) {
  svg.setAttribute("aria-label", `Picture: ${inWords(scene)}`);
  const things = scene.things.map((thing) => thingOf(thing, colours, outlines));
  svg.replaceChildren(...things, ...(scene.label.length ? labelOf(scene.label, scene.word) : []));
}

/** A caption, its bar from 0 to 1, and its cosine. */
function line(kind, caption, cosine, wins) {
  const bar = make("i", {}, make("i", {}));
  bar.firstChild.style.width = `${(100 * Math.max(0, cosine)).toFixed(1)}%`;
  return make("div", { className: `clx-line${wins ? " clx-wins" : ""}` },
    make("span", { className: "clx-kind" }, kind), make("span", {}, caption), bar,
    make("span", { className: "clx-cosine" }, signed(cosine, 3)));
}

/** A question's two captions; `apart` is the true one's cosine less the false one's. */
function questionOf([question, trueOne, falseOne, cosine, other]) {
  const apart = cosine - other;
  const word = apart > 0 ? "✓ the true one is nearer" : "✗ the true one is not nearer";
  return make("section", { className: apart > 0 ? "clx-right" : "clx-wrong" },
    make("p", {}, make("b", {}, question), make("span", {}, `${word}, by ${signed(apart, 3)}`)),
    line("true", trueOne, cosine, apart > 0), line("false", falseOne, other, apart < 0));
}

function say(paragraph, said) {
  const right = said.filter(([, , , cosine, other]) => cosine > other).length;
  const missed = said.filter(([, , , cosine, other]) => cosine <= other).map(([name]) => name);
  paragraph.firstElementChild.textContent = `True caption nearer: ${right} of ${said.length}.`;
  paragraph.lastElementChild.textContent = missed.length
    ? `Not so for: ${missed.join(" ")}` : "Try to find a scene that fools it.";
}

/** Right answers over all scenes: the table that a single picture can't replace. */
function fillDigest(body, scenes) {
  const tally = new Map();
  for (const { said } of scenes) {
    for (const [question, , , cosine, other] of said) {
      const [right, count, gap] = tally.get(question) ?? [0, 0, 0];
      tally.set(question, [right + (cosine > other), count + 1, gap + cosine - other]);
    }
  }
  body.replaceChildren(...[...tally].map(([question, [right, count, gap]]) => make("tr", {},
    make("th", { scope: "row" }, question), make("td", {}, `${percent(right / count)} %`),
    make("td", {}, String(count)), make("td", {}, signed(gap / count, 3)))));
}

/** The fields for captions of one's own: only where a kernel can encode them. */
function connectOwn(form, model, put) {
  // `send` is in every live model, and not in the stand-in of a page without a kernel.
  form.hidden = !(model.get("writable") && typeof model.send === "function");
  const fields = [...form.querySelectorAll("input")];
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    put("asked", fields.map((field) => field.value));
  });
}

/** Puts the whole into `el`; returns the function that brings it up to the model's state. */
function build(model, el, put) {
  el.innerHTML = SKELETON;
  const find = (selector) => el.querySelector(selector);
  const [scenes, colours, outlines] = ["scenes", "colours", "outlines"].map((n) => model.get(n));
  const current = () => scenes[Math.min(model.get("scene"), scenes.length - 1)];
  const setControls = connect(find(".clx-controls"), scenes, current, (i) => put("scene", i));
  connectOwn(find("form"), model, put);
  fillDigest(find("tbody"), scenes);
  return () => {
    const [scene, asked, own] = [current(), model.get("asked"), model.get("own")];
    setControls(scene);
    paint(find("svg"), scene, colours, outlines);
    const mine = own.length === 2 ? [[OWN, ...asked, ...own]] : [];
    find(".clx-questions").replaceChildren(...[...scene.said, ...mine].map(questionOf));
    say(find(".cl-said"), scene.said);
    find("[role=alert]").textContent = model.get("answer");
  };
}

const render = renderer(build, ["scene", "own", "answer"], ["scenes", "colours", "outlines",
  "writable"]);

export default { render };
