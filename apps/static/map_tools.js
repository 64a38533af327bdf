/* What the map's panels share: what is chosen, small pictures, colours, and plotly, which is loaded
 * when the first map is drawn. In the head of every page.
 *
 * `state` holds what both maps have in common. `set` changes it and tells every panel.
 */
window.labMap = (() => {
  const state = { colour: "group", find: "", item: "", chosen: null, hidden: new Set() };
  const maps = {}; // "first", "second": what each panel drew last, see map.js
  const panels = new Set();
  let first = null; // the first map's ways to the server: {call, content, sheet, seen}

  const changed = (key) => panels.forEach((panel) => panel(key));

  function set(key, value) {
    if (state[key] === value) return;
    state[key] = value;
    if (key === "colour") state.hidden = new Set();
    if (key === "find") state.chosen = null;
    changed(key);
  }

  /* Called for each change with what changed. Panels live as long as the page. */
  const listen = (panel) => panels.add(panel);

  /* -- questions to the server: only while a map is seen ------------------------------------------ */

  let late = true, waiting = 0;
  function connect(ways) { first = ways; stale(); }
  function stale() { late = true; refresh(); }
  function refresh() {
    clearTimeout(waiting); // a restored address changes many controls at once
    waiting = setTimeout(() => {
      if (!late || !first || !first.seen()) return;
      late = false;
      first.call("wanted");
    }, 40);
  }
  function pick(item) {
    set("item", item);
    if (first) first.call("picked"); // the address remembers it, and `arrived` comes back
  }
  function arrived(item) {
    set("item", item || "");
    if (first && first.seen() && !late) first.call("asked");
  }

  /* -- names, small pictures, plotly: each fetched once -------------------------------------------- */

  const once = {};
  const keep = (key, make) => once[key] ??= make().catch((error) => { delete once[key]; throw error; });

  const content = (name) => keep("content " + name, () => first.content(name));

  const ACROSS = 16, CELL = 64; // of a sheet, see apps/map_values.py
  const sheet = (name, number) => keep(`sheet ${name} ${number}`, async () => {
    const blob = await (await fetch(await first.sheet(`${name} ${number}`))).blob();
    return URL.createObjectURL(blob);
  });

  /* A picture of the collection, or the sign for a text. */
  function thumb(name, row, pictures, size) {
    if (row >= pictures) return lab.make("span", "map-thumb map-thumb-text", "◆");
    const node = lab.make("span", "map-thumb"), place = row % (ACROSS * ACROSS);
    node.style.backgroundSize = `${ACROSS * size}px`;
    node.style.backgroundPosition = `${-(place % ACROSS) * size}px ${-Math.floor(place / ACROSS) * size}px`;
    node.style.width = node.style.height = size + "px";
    sheet(name, Math.floor(row / (ACROSS * ACROSS)))
      .then((url) => { node.style.backgroundImage = `url(${url})`; }, () => {});
    return node;
  }

  /* Served by apps/theme.py from Python's own plotly. */
  const plotly = () => keep("plotly", () => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = (window.gradio_config?.root || "") + "/lab/plotly.min.js";
    script.onload = () => done(window.Plotly);
    script.onerror = () => failed(new Error("The drawing library isn't there: pip install “clip-lab[maps]”, then reload."));
    document.head.append(script);
  }));

  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  /* -- colours: six hues that any kind of colour vision tells apart (Okabe and Ito), filled, then ----
   * open; what is rarer than the twelfth is grey, as is what has no value. ------------------------- */

  const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
  const DARK = ["#3d9be0", "#f07f2e", "#1fc79a", "#e39ac2", "#f2b53a", "#9bd7ff"];
  // A column of colours has its own: blue must not be drawn orange.
  const TRUE = { red: "#d32f2f", orange: "#f08a24", yellow: "#d8b400", green: "#2e9b57", blue: "#2f7fe0", purple: "#8a55c7",
    pink: "#e377b9", brown: "#9a6733", black: "#111111", white: "#9aa5b1", grey: "#7d8896" };
  const TRUE_DARK = { ...TRUE, black: "#56606e", white: "#ffffff" };
  const dark = () => document.body.classList.contains("dark");
  const grey = () => dark() ? "#8b97a8" : "#7d8896";

  const language = (code) => new Intl.DisplayNames(["en"], { type: "language" }).of(code);

  /* Of a column: a list of {label, colour, open, rows}, the most frequent first. */
  function categories(whole, right, key) {
    const column = key === "zero-shot" ? right : whole.columns[key] || whole.columns.group;
    const found = column.values.map((value) => ({ value, rows: [] }));
    column.rows.forEach((number, row) => found[number].rows.push(row));
    const byNumber = key === "zero-shot" ? 0 : 1; // right and wrong look the same in every model's map
    found.sort((a, b) => (a.value === "") - (b.value === "") || byNumber * (b.rows.length - a.rows.length));
    const hues = dark() ? DARK : LIGHT;
    found.forEach((one, i) => {
      const plain = one.value === "" || i >= 12;
      one.colour = plain ? grey() : hues[i % 6];
      one.open = !plain && i >= 6;
      if (key === "colour" && TRUE[one.value]) {
        one.colour = (dark() ? TRUE_DARK : TRUE)[one.value];
        one.open = one.value === "white" && !dark();
      }
      one.label = one.value === "" ? (one.rows[0] < whole.pictures ? "pictures" : "texts")
        : key === "language" ? language(one.value) : one.value;
    });
    return found;
  }

  /* A dot or a diamond, as the map draws it. */
  function sign(kind, colour, open) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const shape = document.createElementNS(svg.namespaceURI, kind === "text" ? "path" : "circle");
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("class", "map-sign");
    svg.setAttribute("aria-hidden", "true");
    const how = kind === "text" ? { d: "M6 1 11 6 6 11 1 6Z" } : { cx: 6, cy: 6, r: 4.2 };
    Object.assign(how, { fill: open ? "none" : colour, stroke: colour, "stroke-width": open ? 2 : 0 });
    for (const [name, value] of Object.entries(how)) shape.setAttribute(name, value);
    svg.append(shape);
    return svg;
  }

  /* Rows whose name holds what is looked for; null where nothing is. */
  function found(whole) {
    const wanted = state.find.trim().toLocaleLowerCase();
    if (!wanted) return null;
    return whole.names.flatMap((name, row) => name.toLocaleLowerCase().includes(wanted) ? [row] : []);
  }

  return { state, maps, set, listen, changed, connect, stale, refresh, pick, arrived, content, thumb,
    plotly, floats, dark, grey, categories, sign, found };
})();
