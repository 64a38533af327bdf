"""One look for all apps, and the one way in which they are launched."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils.fonts import LocalFont
from starlette.middleware import Middleware
from starlette.responses import FileResponse
from starlette.routing import Route

from apps.folders import THIS_MACHINE
from apps.guard import Guard
from apps.inputs import MAX_FILE_BYTES
from clip_lab.errors import LabError

STATIC = Path(__file__).parent / "static"
# In the head of every page.
SCRIPTS = ("html-to-image.js", "lab.js", "map_tools.js", "map_pan.js", "tour.js")

# Fonts that lie in Gradio's package; a Google font would be fetched from outside. Of its default,
# the weight 600 has but a few letters, so 700 stands in for it. Faint text is darker than Gradio's,
# to be legible (contrast of at least 4.5).
THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.blue,
    secondary_hue=gr.themes.colors.orange,
    neutral_hue=gr.themes.colors.slate,
    radius_size=gr.themes.sizes.radius_lg,
    font=(LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "sans-serif"),
).set(
    color_accent="*primary_600",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_700",
)


def asset(name: str) -> str:
    """The text of a file in `static/`."""
    return (STATIC / name).read_text(encoding="utf-8")


def plotly_routes() -> list[Route]:
    """One more address of the app: plotly.js as Python's plotly brings it, read by the map alone.

    Of no use to serve by `gr.set_static_paths`: the page would then name a folder of this machine.
    """
    found = find_spec("plotly")  # finds it without importing it
    if found is None or found.origin is None:
        return []
    file = Path(found.origin).parent / "package_data" / "plotly.min.js"

    async def plotly(_: object) -> FileResponse:
        # A day in the browser's cache, and asked again after it.
        return FileResponse(file, headers={"Cache-Control": "max-age=86400"})

    return [Route("/lab/plotly.min.js", plotly)]


def launch_options(own: bool = True) -> dict[str, Any]:
    """What every launch has in common: the look, the limits, and no way to the outside.

    `own`: the page is for this machine's own browser alone.
    """
    return {
        "theme": THEME,
        # In the head it is taken as it stands; through `css`, Gradio rewrites every selector.
        "head": f"<style>{asset('lab.css')}</style>"
        + "".join(f"<script>{asset(name)}</script>" for name in SCRIPTS),
        "app_kwargs": {"routes": plotly_routes(), "middleware": [Middleware(Guard, own=own)]},
        "max_file_size": MAX_FILE_BYTES,
        # Of so many visitors Gradio keeps what each has on the page, about 0.7 MB, for links of
        # its own that nothing here uses.
        "state_session_capacity": 48,
        "footer_links": [],
        "run_history": False,  # it would keep uploads in the browser and offer to send them away
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "quiet": True,
    }


def launch(
    demo: gr.Blocks,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    open_browser: bool = False,
    block: bool = True,
    public: bool = False,
) -> str:
    """Serve an app and return its address; with `block`, only once Ctrl-C has ended it.

    Bound to this machine alone by default; `public`: others reach it even so, by a proxy. `share`
    opens a tunnel through Gradio's servers: the one thing here that leaves the machine. Raises
    LabError where the port is taken.
    """
    demo.queue(max_size=64)
    own = host in THIS_MACHINE and not share and not public
    options = launch_options(own) | {"server_name": host, "server_port": port, "share": share}
    try:
        _, address, shared = demo.launch(
            **options, inbrowser=open_browser, prevent_thread_lock=True
        )
    except OSError as error:
        raise LabError(f"Port {port or 7860} on {host} is taken. Choose another --port.") from error
    print(f"CLIP Lab is open at {shared or address}  (Ctrl-C ends it)", flush=True)
    if block:
        demo.block_thread()
    return shared or address
