"""The dashboard: the lab's apps side by side on one page. `clip-lab app` opens it."""

import gradio as gr

import clip_lab
from apps import theme, zero_shot
from clip_lab import DualEncoder

HEADER = """<header class="lab-header">
  <h1>CLIP Lab</h1>
  <p>build it · train it · see what it learnt</p>
  <button type="button" class="lab-theme" aria-label="Switch between light and dark">◐</button>
</header>"""
SWITCH_THEME = """
element.querySelector('.lab-theme').addEventListener('click', () => {
  document.body.classList.toggle('dark');
});"""

# Tab's title -> the module that lays it out.
APPS = {"Zero-shot": zero_shot}


def build_demo(encoder: DualEncoder | None = None) -> gr.Blocks:
    """All apps on one page, on one model: the built-in emoji model unless another is given."""
    encoder = encoder or clip_lab.load("emoji")
    pages = {name: app.build_demo(encoder) for name, app in APPS.items()}
    with gr.Blocks(title="CLIP Lab", analytics_enabled=False) as demo:
        gr.HTML(HEADER, js_on_load=SWITCH_THEME, apply_default_css=False,
                elem_classes="lab-header-box")  # fmt: skip
        for name, page in pages.items():
            with gr.Tab(name):
                page.render()
    return demo


def main(
    encoder: DualEncoder | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    open_browser: bool = True,
) -> None:
    """What `clip-lab app` runs: open the page, stay until Ctrl-C."""
    theme.launch(build_demo(encoder), host, port, share, open_browser)


if __name__ == "__main__":
    main()
