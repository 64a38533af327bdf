/* The guided tour. Each step opens a tab, outlines one thing in it, says what to look at and what to try.
 *
 * Its box is a dialog beside the page, not over it: the page stays in use. It never opens by itself; at
 * the first visit a line offers it.
 */
window.labTour = (() => {
  // `tab`: what is opened, "" for the bar above the tabs; `at`: what is outlined there.
  const STEPS = [
    { tab: "", at: ".lab-models", title: "First, a model",
      text: "All tabs ask the model that is chosen here. The line below says what it has seen: “emoji” knows drawings, “photos” a few kinds of photographs, published ones far more.",
      task: "choose “shapes” under Compare with. From now on every tab shows two answers; choose “none” to go back to one." },
    { tab: "Classify", at: "#sample-samples", title: "A picture, and words of your own",
      text: "Nobody told the model which classes there are. Picture and labels become vectors, and the nearest label wins. A mark says what the built-in model never saw.",
      task: "click another picture, and see whether its name comes first." },
    { tab: "Classify", at: "#stages .stages-tau", title: "From cosine to percent",
      text: "The cosines are what the model says. Divided by τ and sent through a softmax they become shares of 100 %, whatever the picture shows.",
      task: "drag τ to 1. The percentages fall almost level, and not one cosine has moved." },
    { tab: "Matrix", at: "#matrix", title: "What it is trained on",
      text: "Every picture meets every caption. Training pulls the framed diagonal up and pushes all else down; the loss above says how well that went.",
      task: "click one caption above the matrix, then another: they change places. Watch the loss." },
    { tab: "Search", at: "#terms", title: "Search by meaning",
      text: "These pictures were never tagged. Their vectors are compared with that of your query, and directions add up: words, pictures, or both.",
      task: "press “add words”, write “green”, then its + to make it a −: red fruit, but not green." },
    { tab: "Map", at: "#map-plot", title: "The space, flattened",
      text: "Dots are pictures, diamonds texts: they keep apart, which is the modality gap. Two dimensions out of hundreds mislead, so the true neighbours stand beside the map.",
      task: "click a dot and compare its neighbours in the list with those on the map." },
    { tab: "Map", at: ".map-controls", title: "Close the gap",
      text: "The gap is one direction, and it can be taken out. The views by gap axes and principal components are exact; UMAP's distances between clusters mean nothing.",
      task: "drag “Close the modality gap” to 0.5, where the means of both kinds meet." },
    { tab: "Inside", at: "#inside-samples", title: "Where is what you say?",
      text: "Five methods estimate which places of the picture a text is about, and they disagree. None of them is a fact about the model's reasons.",
      task: "click a sample, and its maps come up. Then write a part of it under What to look for, and press Look." },
    { tab: "Training", at: "#replay-play", title: "Watch it learn",
      text: "The run that made “shapes”, step by step: loss, accuracy, a matrix that finds its diagonal, a map that sorts itself. Below it you can train one yourself.",
      task: "press the button, then the ▶ that appears, and look for the step at which the diagonal comes up." },
    { tab: "Limits", at: "#believes", title: "What it can't do",
      text: "A true caption and a false one, about a scene of which everything is known. Many models do no better than a coin on some of these questions.",
      task: "choose “Left or right?” under Ask, then change the scene until the false caption wins." },
    { tab: "", at: ".lab-header", title: "Take it with you",
      text: "The address remembers the tab, the models and what you chose or wrote, but no picture of yours. Under each result are its numbers as CSV and its picture as PNG.",
      task: "press Copy link and open it in a second window: the same view." },
  ];
  const KEY = "lab-tour"; // in localStorage, once the tour was taken or declined
  const { make } = lab;
  let box, opener, steps = [], now = 0, turn = 0, marked = null;

  // -- what a step points at -------------------------------------------------------------------------

  /* A page with tabs offers all steps; an app alone those of which it has the thing to show. */
  const offered = () => STEPS.filter((step) => !step.tab || (lab.tabs().length ? lab.tab(step.tab) : document.querySelector(step.at)));

  /* A tab's contents are made when it is first opened. */
  async function arrived(selector) {
    for (const end = performance.now() + 15000; performance.now() < end;) {
      const found = [...document.querySelectorAll(selector)].find((one) => one.offsetHeight);
      if (found) return found;
      await new Promise((later) => setTimeout(later, 50));
    }
    return null;
  }

  function mark(target) {
    marked?.removeAttribute("data-tour");
    marked = target;
    if (!target) return;
    target.setAttribute("data-tour", "");
    const middle = target.getBoundingClientRect();
    box.classList.toggle("tour-left", middle.left + middle.width / 2 > 0.6 * innerWidth); // not over it
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    target.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }

  async function show(number) {
    const step = steps[now = number], mine = ++turn;
    box.querySelector(".tour-count").textContent = `${now + 1} of ${steps.length}`;
    box.querySelector(".tour-done").style.width = `${(100 * (now + 1)) / steps.length}%`;
    box.querySelector("h2").textContent = step.title;
    box.querySelector(".tour-text").textContent = step.text;
    box.querySelector(".tour-task span").textContent = step.task;
    box.querySelector(".tour-back").disabled = !now;
    box.querySelector(".tour-next").textContent = now + 1 < steps.length ? "Next" : "Done";
    mark(null);
    const tab = lab.tab(step.tab);
    if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
    const target = await arrived(step.at);
    if (mine === turn && !box.hidden) mark(target);
  }

  // -- the box ---------------------------------------------------------------------------------------

  function button(name, text, act) {
    const node = make("button", name, text);
    node.type = "button";
    node.addEventListener("click", act);
    return node;
  }

  function build() {
    box = make("section", "tour");
    for (const [name, value] of Object.entries({ role: "dialog", tabindex: "-1", "aria-labelledby": "tour-title", "aria-describedby": "tour-said tour-keys" })) box.setAttribute(name, value);
    const bar = make("div", "tour-bar"), said = make("div", "tour-said"), task = make("p", "tour-task"), foot = make("div", "tour-foot");
    bar.append(make("div", "tour-done"));
    const title = make("h2"), keys = make("p", "tour-keys", "Escape brings the keyboard back to this box, and from here ends the tour.");
    [title.id, said.id, keys.id] = ["tour-title", "tour-said", "tour-keys"];
    task.append(make("b", "", "Try: "), make("span"));
    said.setAttribute("aria-live", "polite");
    said.setAttribute("aria-atomic", "true");
    said.append(make("p", "tour-count"), title, make("p", "tour-text"), task);
    const end = button("tour-end", "×", close);
    end.setAttribute("aria-label", "End the tour");
    foot.append(button("tour-go", "Go there", go), button("tour-back", "Back", () => { show(now - 1); if (!now) focus(".tour-next"); }),
      button("tour-next", "Next", () => now + 1 < steps.length ? show(now + 1) : close()));
    box.append(bar, said, keys, foot, end);
    document.body.append(box);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || box.hidden) return;
      if (box.contains(document.activeElement) || document.activeElement === document.body) close();
      else focus(".tour-next");
    });
  }

  const focus = (selector) => box.querySelector(selector).focus({ preventScroll: true });

  /* To the thing itself, for who has no mouse; Escape leads back. */
  function go() {
    if (!marked) return;
    const usable = "button:not([disabled]), input:not([disabled]), select, textarea, [tabindex='0']";
    const first = [marked, ...marked.querySelectorAll(usable)].find((one) => one.matches(usable) && one.getClientRects().length);
    mark(marked);
    first?.focus({ preventScroll: true });
  }

  function open() {
    if (!box) build();
    opener = document.querySelector(".tour-open");
    settle();
    steps = offered();
    box.hidden = false;
    document.body.toggleAttribute("data-tour-open", true);
    show(0);
    box.focus({ preventScroll: true });
  }

  function close() {
    turn++;
    mark(null);
    box.hidden = true;
    document.body.toggleAttribute("data-tour-open", false);
    opener?.focus({ preventScroll: true });
  }

  // -- the offer at the first visit ------------------------------------------------------------------

  function settle() {
    document.querySelector(".tour-offer").hidden = true;
    try { localStorage.setItem(KEY, "settled"); } catch { /* forbidden here: it is offered again */ }
  }

  function header(element) {
    let settled = null;
    try { settled = localStorage.getItem(KEY); } catch { /* forbidden here: it is offered */ }
    element.querySelector(".tour-offer").hidden = !!settled;
    element.querySelector(".tour-open").addEventListener("click", open);
    element.querySelector(".tour-take").addEventListener("click", open);
    element.querySelector(".tour-decline").addEventListener("click", settle);
  }

  return { header };
})();
