"""Builds the emoji data of `clip_lab.data.emoji`: picture sheets, table, names and split.

    python scripts/build_emoji.py                # fetches five npm packages, about 160 MB
    python scripts/build_emoji.py --from FOLDER  # reads their tarballs from a folder instead

Needs `npm` (for fetching only) and the extra `build` (resvg-py, which draws OpenMoji's SVG). What
it writes is committed and shipped, so nobody needs to run this to use the lab; it is here so that
everybody can check where each byte came from. Versions are pinned and every tarball must have the
checksum that the npm registry published. The same inputs give the same bytes each time.

Written to clip_lab/data/files/emoji/:

    table.csv            a row for each emoji and skin tone, with its cell in each style's sheet
    names/LANG.json.gz   {hexcode: [name, keyword, ...]} as people wrote them, 28 languages
    STYLE.webp           64-pixel cells, 64 to a row, with alpha
    split.json           the concepts that are never trained on
"""

import argparse
import base64
import csv
import gzip
import hashlib
import io
import json
import random
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

PACKAGED = Path(__file__).parent.parent / "clip_lab" / "data" / "files" / "emoji"
CELL, COLUMNS, CONTENT = 64, 64, 62  # pixels a cell, cells a row, pixels of a cell's longer side
QUALITY, ALPHA_QUALITY = 80, 80
SPLIT_SEED, ONE_IN = 0, 10

# package@version -> sha512, as `npm view PACKAGE dist.integrity` gives it
PACKAGES = {
    "emoji-datasource-google@16.0.0": (
        "ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A=="
    ),
    "emoji-datasource-twitter@16.0.0": (
        "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ=="
    ),
    "@lobehub/fluent-emoji-3d@1.1.0": (
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g=="
    ),
    "openmoji@17.0.0": (
        "EBnYrNGdcdw+OSXmENeNE1yBNRu6tOraTmoOyUbJkTmvT/+XETp8RZLSJFzD3lrPc5N9CzsyPnRTk0Vp4UaI9w=="
    ),
    "emojibase-data@17.0.0": (
        "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA=="
    ),
}
# style -> its package, and the folder and ending of its pictures in there
STYLES = {
    "noto": ("emoji-datasource-google@16.0.0", "img/google/64/", ".png"),
    "twemoji": ("emoji-datasource-twitter@16.0.0", "img/twitter/64/", ".png"),
    "fluent": ("@lobehub/fluent-emoji-3d@1.1.0", "assets/", ".webp"),
    "openmoji": ("openmoji@17.0.0", "color/svg/", ".svg"),
}

# Sets of base emoji that are one thing but for gender or number, where neither the code points
# nor the labels say so by themselves. The first gives the concept its name.
SAME_CONCEPT = (
    ("person", "man", "woman"),
    ("child", "boy", "girl"),
    ("older person", "old man", "old woman"),
    ("person with crown", "prince", "princess"),
    ("Santa Claus", "Mrs. Claus", "Mx Claus"),
    ("pregnant person", "pregnant woman", "pregnant man"),
    ("person feeding baby", "woman feeding baby", "man feeding baby", "breast-feeding"),
    ("woman dancing", "man dancing"),
    ("people holding hands", "women holding hands", "woman and man holding hands",
     "men holding hands"),
    ("restroom", "men's room", "women's room"),
    ("transgender symbol", "female sign", "male sign"),
)  # fmt: skip
SAME = {label: labels[0] for labels in SAME_CONCEPT for label in labels}


# ---- the packages -----------------------------------------------------------------------------


def tarball_path(folder: Path, package: str) -> Path:
    """Where `npm pack` puts a package: '@a/b@1.0' -> folder/a-b-1.0.tgz."""
    name, version = package.rsplit("@", 1)
    return folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"


def fetch(folder: Path) -> None:
    """Downloads the packages that `folder` doesn't have yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not tarball_path(folder, package).exists():
            print(f"fetching {package}")
            command = ["npm", "pack", package, "--silent", "--pack-destination", str(folder)]
            subprocess.run(command, check=True)


def verify(folder: Path) -> None:
    """Ends the script unless every tarball is there and has the checksum written above."""
    for package, expected in PACKAGES.items():
        path = tarball_path(folder, package)
        if not path.exists():
            sys.exit(f"{path} is missing: run without --from to fetch it, or put it there.")
        found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
        if found != expected:
            sys.exit(
                f"{path} is not the published {package}: its sha512 is {found}, "
                f"not {expected}. Delete it and fetch it again."
            )


def members(folder: Path, package: str, under: str, ending: str) -> Iterator[tuple[str, bytes]]:
    """Every file of a package below `under` with that ending, as (path below `under`, bytes)."""
    with tarfile.open(tarball_path(folder, package)) as tarball:
        for member in tarball:
            path = member.name.partition("/")[2]  # without the leading "package/"
            if path.startswith(under) and path.endswith(ending):
                stream = tarball.extractfile(member)
                if stream is not None:
                    yield path.removeprefix(under), stream.read()


# ---- the table --------------------------------------------------------------------------------


def code_points(hexcode: str) -> str:
    """One spelling for an emoji's code points: upper case, no leading zeros, no FE0F.

    Packages differ in all three. FE0F only asks for the coloured form of a character.
    """
    parts = (part.upper().lstrip("0") for part in hexcode.split("-"))
    key = "-".join(part for part in parts if part != "FE0F")
    # Fluent's three flags of England, Scotland and Wales lack the closing tag character
    return key + "-E007F" if key.startswith("1F3F4-E0067") and not key.endswith("E007F") else key


def clean(text: str) -> str:
    """Plain apostrophes and single spaces, as people type them (CLDR writes ’ and U+00A0)."""
    return " ".join(text.replace("’", "'").split())


def concept(emoji: dict[str, Any], label_of: dict[str, str]) -> str:
    """The label that genders, numbers of people and directions of facing share.

    A man farmer is MAN + ear of rice, a merman is MERPERSON + male sign: both fold to the neutral
    person by their code points. Families, kisses and couples fold by the word before the colon.
    """
    label = clean(emoji["label"])
    if label in SAME:
        return SAME[label]
    if label.startswith(("family", "kiss:", "couple with heart:")):
        return label.partition(":")[0]
    points = code_points(emoji["hexcode"])
    points = re.sub(r"-200D-(2640|2642|27A1)", "", points)  # female, male, facing right
    points = re.sub(r"^1F46[89]-200D", "1F9D1-200D", points)  # MAN, WOMAN + ... -> PERSON + ...
    return label_of[points]


def read_emojibase(folder: Path) -> dict[str, Any]:
    """emojibase's files: {'en/data.json': ..., 'meta/groups.json': ..., ...}."""
    files = members(folder, "emojibase-data@17.0.0", "", ".json")
    wanted = re.compile(r"^(meta/groups|[a-z-]+/data)\.json$")
    return {path: json.loads(content) for path, content in files if wanted.match(path)}


def build_rows(emojibase: dict[str, Any]) -> list[dict[str, str]]:
    """The table without its cells: each base emoji in Unicode's order, its skin tones after it."""
    groups = emojibase["meta/groups.json"]
    bases = [emoji for emoji in emojibase["en/data.json"] if "group" in emoji]  # no loose letters
    label_of = {code_points(emoji["hexcode"]): clean(emoji["label"]) for emoji in bases}
    rows = []
    for base in sorted(bases, key=lambda emoji: emoji["order"]):
        subgroup = groups["subgroups"][str(base["subgroup"])]
        for emoji in [base, *base.get("skins", [])]:
            tone = emoji.get("tone", "")
            rows.append({
                "hexcode": emoji["hexcode"],
                "emoji": emoji["emoji"],
                "label": clean(emoji["label"]),
                "group": groups["groups"][str(base["group"])],
                "subgroup": subgroup,
                "tone": "-".join(map(str, tone)) if isinstance(tone, list) else str(tone),
                "base": base["hexcode"],
                "concept": concept(base, label_of),
            })  # fmt: skip
    return rows


def texts_of(emojibase: dict[str, Any], language: str) -> dict[str, list[str]]:
    """{hexcode: [name, keyword, ...]} of one language; a keyword equal to the name is left out."""
    texts = {}
    for base in emojibase[f"{language}/data.json"]:
        for emoji in [base, *base.get("skins", [])]:
            name = clean(emoji["label"])
            keywords = dict.fromkeys(clean(tag) for tag in emoji.get("tags", []))
            kept = [word for word in keywords if word and word.casefold() != name.casefold()]
            texts[emoji["hexcode"]] = [name, *kept]
    return texts


# ---- the split --------------------------------------------------------------------------------


def may_be_held_out(row: dict[str, str]) -> bool:
    """Not flags, letters, numbers or clock faces: nothing else could teach what those are called.

    Neither parts of emoji (skin tones, hair), nor those that no trained style has a picture of.
    """
    clock_face = re.search(r"o'clock$|-thirty$", row["label"])
    return not (
        row["group"] in ("flags", "component")
        or row["subgroup"] in ("keycap", "alphanum")
        or clock_face
        or not any(style in row for style in ("noto", "twemoji", "fluent"))
    )


def draw_split(rows: list[dict[str, str]]) -> list[str]:
    """A tenth of the concepts of each group, drawn once.

    Systematic sampling: the concepts of a group, subgroup by subgroup and shuffled within each,
    are walked through in steps of ten from a random start, so that every subgroup gives its share.
    """
    generator = random.Random(SPLIT_SEED)
    eligible = [row for row in rows if not row["tone"] and may_be_held_out(row)]
    held_out = []
    for group in dict.fromkeys(row["group"] for row in eligible):
        subgroups: dict[str, dict[str, None]] = {}
        for row in eligible:
            if row["group"] == group:
                subgroups.setdefault(row["subgroup"], {})[row["concept"]] = None
        walk = []
        for concepts in subgroups.values():
            walk += generator.sample(list(concepts), len(concepts))
        walk = list(dict.fromkeys(walk))
        held_out += walk[generator.randrange(ONE_IN) :: ONE_IN]
    return sorted(held_out)


# ---- the sheets -------------------------------------------------------------------------------


def draw_svg(content: bytes) -> Image.Image:
    """An SVG at four times the cell's size, so that trimming and scaling down lose nothing."""
    import resvg_py  # pyright: ignore[reportMissingImports]

    return open_picture(bytes(resvg_py.svg_to_bytes(content.decode(), width=4 * CELL)))


def open_picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGBA")


def fit_cell(picture: Image.Image) -> Image.Image:
    """Trims a picture to what is drawn and scales its longer side to CONTENT pixels, centred.

    Pillow resizes RGBA with its colours multiplied by alpha, so no dark fringe appears.
    """
    box = picture.getchannel("A").point([255 * (alpha > 8) for alpha in range(256)]).getbbox()
    if box is None:
        sys.exit("a picture is empty")
    width, height = box[2] - box[0], box[3] - box[1]
    scale = CONTENT / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    cell = Image.new("RGBA", (CELL, CELL))
    drawn = picture.resize(size, Image.Resampling.LANCZOS, box)
    cell.paste(drawn, ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return cell


def build_sheet(folder: Path, out: Path, style: str, rows: list[dict[str, str]]) -> None:
    """Writes STYLE.webp and notes each row's cell in `rows` (empty where the style lacks it)."""
    package, under, ending = STYLES[style]
    draw: Callable[[bytes], Image.Image] = draw_svg if ending == ".svg" else open_picture
    files = {
        code_points(path.removesuffix(ending)): content
        for path, content in members(folder, package, under, ending)
    }
    drawn = [row for row in rows if code_points(row["hexcode"]) in files]
    sheet = Image.new("RGBA", (COLUMNS * CELL, -(-len(drawn) // COLUMNS) * CELL))
    for cell, row in enumerate(drawn):
        picture = fit_cell(draw(files[code_points(row["hexcode"])]))
        sheet.paste(picture, (cell % COLUMNS * CELL, cell // COLUMNS * CELL))
        row[style] = str(cell)
    path = out / f"{style}.webp"
    sheet.save(path, quality=QUALITY, alpha_quality=ALPHA_QUALITY, method=6)
    print(f"{style}: {len(drawn)} pictures, {path.stat().st_size / 1e6:.2f} MB")


def write_table(out: Path, rows: list[dict[str, str]]) -> None:
    fields = ["hexcode", "emoji", "label", "group", "subgroup", "tone", "base", "concept", *STYLES]
    with (out / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_names(out: Path, emojibase: dict[str, Any], rows: list[dict[str, str]]) -> None:
    (out / "names").mkdir(exist_ok=True)
    for path in sorted(emojibase):
        language, _, file = path.partition("/")
        if file == "data.json":
            texts = texts_of(emojibase, language)
            in_order = {row["hexcode"]: texts[row["hexcode"]] for row in rows}
            content = json.dumps(in_order, ensure_ascii=False, indent=0).encode()
            packed = gzip.compress(content, 9, mtime=0)
            (out / "names" / f"{language}.json.gz").write_bytes(packed)


def write_split(out: Path, held_out: list[str]) -> None:
    rule = (
        f"every {ONE_IN}th concept of each group, subgroup by subgroup; seed {SPLIT_SEED}; "
        "no flags, letters, numbers, clock faces (scripts/build_emoji.py, draw_split)"
    )
    content = json.dumps({"rule": rule, "held_out": held_out}, ensure_ascii=False, indent=1)
    (out / "split.json").write_text(content + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the emoji sheets, table, names and split.")
    parser.add_argument("--from", dest="folder", type=Path, help="a folder that has the tarballs")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "clip-lab" / "npm")
    parser.add_argument("--out", type=Path, default=PACKAGED, help="where the files go")
    arguments = parser.parse_args()
    folder, out = arguments.folder or arguments.cache, arguments.out
    if folder == arguments.cache:
        fetch(folder)
    verify(folder)
    out.mkdir(parents=True, exist_ok=True)
    emojibase = read_emojibase(folder)
    rows = build_rows(emojibase)
    for style in STYLES:
        build_sheet(folder, out, style, rows)
    write_table(out, rows)
    write_names(out, emojibase, rows)
    write_split(out, held_out := draw_split(rows))
    concepts = len({row["concept"] for row in rows})
    print(f"{len(rows)} rows, {concepts} concepts, {len(held_out)} held out")


if __name__ == "__main__":
    main()
