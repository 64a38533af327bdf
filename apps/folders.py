"""Which folders of this machine a page may read: none, unless whoever starts it says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr

from clip_lab import LabError

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Folders:
    """`allowed`: these, and what is below them; `any_folder`: all of them, but for this machine's
    own browser alone. Nothing that is hidden, and no link that leads out."""

    allowed: tuple[Path, ...] = ()
    any_folder: bool = False

    @classmethod
    def at_start(cls, named: Sequence[str | Path], host: str, share: bool) -> "Folders":
        """What follows from how a page is started.

        Whoever names folders limits it to these. Without a name any may be read, if the page is
        served to this machine alone. Raises LabError for a folder that isn't there.
        """
        allowed = tuple(Path(folder).expanduser().resolve() for folder in named)
        for folder, whole in zip(named, allowed, strict=True):
            if not whole.is_dir():
                raise LabError(f"There is no folder “{folder}”. Give --folder one that is there.")
        return cls(allowed, not allowed and not share and host in THIS_MACHINE)

    def __bool__(self) -> bool:
        return bool(self.allowed) or self.any_folder

    @property
    def names(self) -> list[str]:
        """What a page says instead of the allowed folders' whole paths."""
        return [folder.name for folder in self.allowed]

    def find(self, text: str, request: gr.Request | None) -> Path:
        """The folder that was asked for, without links in its path.

        It may be written as an allowed folder's name, with or without something below it. Raises
        LabError for one that isn't there, and for whatever may not be read: asked again at every
        use, not only when an index is made.
        """
        if not self:
            raise LabError(
                "This page reads no folders. Start it on your own machine, or name the folders: "
                "`clip-lab app --folder PICTURES`."
            )
        if self.any_folder and not from_this_machine(request):
            raise LabError(
                "Folders are read for a browser on this machine alone, at 127.0.0.1 or localhost. "
                "For others, name them at the start: `clip-lab app --folder PICTURES`."
            )
        text = (text or "").strip()
        if not text:
            raise LabError("Write the path of a folder of pictures.")
        try:
            whole = self._path(text).resolve()
            self._check(whole, text)
            there = whole.is_dir()
        except LabError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise LabError(f"“{text[:80]}” is no path of a folder.") from error
        if not there:
            raise LabError(f"There is no folder “{text}”. Look for a slip in its path.")
        return whole

    def _path(self, text: str) -> Path:
        parts = Path(text).parts
        for folder in self.allowed:
            if parts and parts[0] == folder.name:
                return folder.joinpath(*parts[1:])
        return Path(text).expanduser()

    def _check(self, whole: Path, text: str) -> None:
        inside = [whole.relative_to(root) for root in self.allowed if whole.is_relative_to(root)]
        if not inside and not self.any_folder:
            raise LabError(
                f"“{text}” lies outside the folders that this page may read. "
                f"Choose {' or '.join(f'“{name}”' for name in self.names)}, or one below."
            )
        shown = inside[0] if inside else whole
        if any(part.startswith(".") for part in shown.parts):
            raise LabError(f"“{text}” is hidden, and hidden folders are not read.")
        if whole == whole.parent:
            raise LabError(f"“{text}” is the whole disk. Choose a folder of pictures.")


def from_this_machine(request: gr.Request | None) -> bool:
    """Whether this machine's own browser asks, on a page that has this machine's own name.

    The address alone doesn't tell: a tunnel or proxy on this machine passes others' requests on,
    and a site elsewhere can point its own name at 127.0.0.1 (DNS rebinding). Those name another
    host, or say whom they forward for.
    """
    if request is None or request.client is None or request.client.host not in THIS_MACHINE:
        return False
    headers = {name.lower(): value for name, value in dict(request.headers).items()}
    return names_this_machine(headers) and not any("forwarded" in name for name in headers)


def names_this_machine(headers: Mapping[str, str]) -> bool:
    """Whether a page is asked for by this machine's own name, and not by another's page."""
    asked = ["//" + headers.get("host", "")]
    asked += [headers["origin"]] if "origin" in headers else []
    return all(_host(address) in THIS_MACHINE for address in asked)


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
