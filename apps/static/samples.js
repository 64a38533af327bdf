/* A click on a sample tells the server its number. See Gradio's gr.HTML for element and trigger. */
element.addEventListener("click", (event) => {
  const chosen = event.target.closest(".sample");
  if (chosen) trigger("click", { index: Number(chosen.dataset.index) });
});
