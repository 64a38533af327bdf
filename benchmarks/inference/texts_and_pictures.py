"""What is encoded: prompts of a wanted length, pictures, and a folder of photographs."""

import random
from io import BytesIO
from pathlib import Path
