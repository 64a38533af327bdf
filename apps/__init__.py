"""The lab's Gradio apps: one a file, each with `build_demo()`; `lab` puts them side by side.

An app lays out controls and calls tested functions of `clip_lab`. Nothing imports an app but the
command.
"""

import os

# Read by Gradio when it is imported, so it stands here, before any app can import it: no usage
# reports and no version check leave the machine.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
