"""The dashboard: the lab's apps side by side on one page. `clip-lab app` opens it."""

import gradio as gr

from apps import classify, matrix, theme
from apps.frame import Frame, build
from apps.models import Models

# Tab's title -> the module that lays it out.
APPS = {"Classify": classify, "Matrix": matrix}


def build_demo(models: Models | None = None) -> gr.Blocks:
    """All apps on one page: with the built-in emoji model unless another is given."""

    def lay_out(frame: Frame) -> None:
        with gr.Tabs():
            for name, app in APPS.items():
                with gr.Tab(name):
                    app.layout(frame)

    return build("CLIP Lab", models, lay_out)


def main(
    models: Models | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    open_browser: bool = True,
) -> None:
    """What `clip-lab app` runs: open the page, stay until Ctrl-C."""
    theme.launch(build_demo(models), host, port, share, open_browser, block=True)


if __name__ == "__main__":
    main()
