"""The dashboard: the lab's apps side by side on one page. `clip-lab app` opens it."""

from collections.abc import Sequence

import gradio as gr

from apps import classify, embedding_map, inside, limits, matrix, search, theme, training
from apps.folders import Folders
from apps.frame import Frame, build
from apps.models import Models

# Tab's title -> the module that lays it out.
APPS = {
    "Classify": classify,
    "Matrix": matrix,
    "Search": search,
    "Map": embedding_map,
    "Inside": inside,
    "Training": training,
    "Limits": limits,
}


def build_demo(models: Models | None = None, folders: Folders | None = None) -> gr.Blocks:
    """All apps on one page: with the built-in emoji model unless another is given."""

    def lay_out(frame: Frame) -> None:
        with gr.Tabs():
            for name, app in APPS.items():
                with gr.Tab(name):
                    app.layout(frame)

    return build("CLIP Lab", models, lay_out, folders)


def main(
    models: Models | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    open_browser: bool = True,
    folders: Sequence[str] = (),
) -> None:
    """What `clip-lab app` runs: open the page, stay until Ctrl-C.

    `folders`: the folders of pictures that may be searched, by whoever can reach the page.
    """
    public = models is not None and models.public
    demo = build_demo(models, Folders.at_start(folders, host, share or public))
    theme.launch(demo, host, port, share, open_browser, block=True, public=public)


if __name__ == "__main__":
    main()
