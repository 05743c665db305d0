"""The film of a traversal: the frame, the frame under its layer, and a point that moves along the response curve."""

from __future__ import annotations

import errno
import io
import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_explain.files.temporaries import write_bytes
from gan_explain.render.curves import draw_curve, positive_label
from gan_explain.render.draw import (
    ACCENT,
    BACKGROUND,
    COOL,
    LINE,
    MUTED,
    PANEL,
    TEXT,
    Heat,
    Pixels,
    Rgb,
    axis_of,
    canvas,
    enlarge,
    fit,
    font,
    heat,
    heat_bar,
)
from gan_explain.render.strip import verdict
from gan_explain.response import Response

logger = logging.getLogger(__name__)

SIDE, MARGIN, HEAD, FOOT = 384, 16, 52, 44  # pixels: an image, gaps, text above and below
SMALLEST, PLOT = 256, 1.35  # the smallest image that leaves room for the text; the plot's width in images
LOOK: tuple[Rgb, ...] = (BACKGROUND, PANEL, LINE, MUTED, TEXT, ACCENT, COOL)  # kept exactly in the GIF
HOLD = 0.8  # seconds that the film rests at either end
UNWRITABLE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO)  # what a disk says; ffmpeg repeats the words


def write_film(
    traversal: Response,
    folder: str | os.PathLike[str],
    *,
    fps: int = 12,
    side: int = SIDE,
    name: str = "transition",
) -> list[str]:
    """Write NAME.mp4 and NAME.gif into a folder, each image `side` pixels wide; returns the files written.

    Without a working ffmpeg the GIF alone, with a warning in the log. Raises ValueError for a side below 256, OSError when the
    disk is full."""
    folder = Path(folder)
    frames = list(compose_film(traversal, side))
    hold = max(1, round(HOLD * fps))
    written = []
    if _write_mp4([frames[0]] * hold + frames[1:-1] + [frames[-1]] * hold, folder / f"{name}.mp4", fps):
        written.append(f"{name}.mp4")
    _write_gif(frames, folder / f"{name}.gif", fps)
    return [*written, f"{name}.gif"]


def compose_film(traversal: Response, side: int = SIDE) -> Iterator[Pixels]:
    """Yield the pictures (H, W, 3) of the film, one a frame of the traversal; sides are even."""
    if side < SMALLEST:
        raise ValueError(f"expected images of at least {SMALLEST} pixels in a film, got {side}")
    side, plot_width = side // 2 * 2, round(side * PLOT / 2) * 2
    width, height = 4 * MARGIN + 2 * side + plot_width, HEAD + side + FOOT
    traversal = traversal.reduced(side)
    bright = draw_curve(traversal, plot_width, side)
    pale = draw_curve(traversal, plot_width, side, faint=True)
    layers, axis = heat(traversal), axis_of(traversal)
    still = _still(side, width, height, layers, traversal)
    plot_left = 3 * MARGIN + 2 * side
    for i, frame in enumerate(traversal.frames):
        strength, p = float(traversal.strengths[i]), float(traversal.probability[i])
        x, y = bright.points[i]
        gray = enlarge(frame, side)
        pixels = still.copy()
        pixels[HEAD : HEAD + side, MARGIN : MARGIN + side] = gray
        pixels[HEAD : HEAD + side, 2 * MARGIN + side : 2 * MARGIN + 2 * side] = layers.over(gray, i)
        plot = pixels[HEAD : HEAD + side, plot_left : plot_left + plot_width]
        plot[:] = pale.pixels
        seen = round(x)
        plot[:, :seen] = bright.pixels[:, :seen]
        _stamp(plot, x, y, 8.0, TEXT)
        _stamp(plot, x, y, 5.5, verdict(traversal, p))
        yield _texts(pixels, traversal, side, f"{axis.symbol} = {strength:.2f}", p)


def _still(side: int, width: int, height: int, layers: Heat, traversal: Response) -> Pixels:
    """What stays the same throughout the film: titles, remarks, colour bar, borders."""
    picture, draw = canvas(width, height)
    if traversal.remarks:
        draw.text((MARGIN, 3), fit("; ".join(traversal.remarks), width - 2 * MARGIN, 12), ACCENT, font(12))
    for column, title in enumerate(("radiograph", axis_of(traversal).layer)):
        left = MARGIN + column * (side + MARGIN)
        draw.text((left, 19), title, MUTED, _font(side, 16))
        draw.rectangle((left - 1, HEAD - 1, left + side, HEAD + side), outline=LINE)
    draw.text((3 * MARGIN + 2 * side + 8, 19), "what the CNN says", MUTED, _font(side, 16))
    bar = heat_bar(140, 8, layers.signed)
    left, top, text = 2 * MARGIN + side, HEAD + side + 14, f"opacity α  {layers.low}"
    draw.text((left, top), text, MUTED, _font(side, 14))
    left += round(_font(side, 14).getlength(text)) + 8
    picture.paste(bar, (left, top + 5))
    draw.text((left + bar.width + 8, top), f"{layers.scale:.2f}", MUTED, _font(side, 14))
    return np.asarray(picture).copy()


def _texts(pixels: Pixels, traversal: Response, side: int, place: str, p: float) -> Pixels:
    """Write the numbers of one frame: its strength under the image, probability and verdict under the plot."""
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    top = HEAD + side + 11
    draw.text((MARGIN, top), place, TEXT, _font(side, 18, bold=True))
    left, colour = 3 * MARGIN + 2 * side + 8, verdict(traversal, p)
    answer, word = f"{positive_label(traversal.positive)} = {p:.2f}", "positive" if p >= traversal.operating_point else "negative"
    draw.text((left, top), answer, colour, _font(side, 18, bold=True))
    right, plain = picture.width - MARGIN - 20, _font(side, 18)
    if left + _font(side, 18, bold=True).getlength(answer) + 16 < right - plain.getlength(word):
        draw.text((right, top), word, colour, plain, anchor="ra")
    return np.asarray(picture)


def _font(side: int, size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font that shrinks with images below the usual size, as do the places for it."""
    return font(max(10, round(size * min(1.0, side / SIDE))), bold)


def _stamp(pixels: Pixels, x: float, y: float, radius: float, colour: Rgb) -> None:
    """Paint an anti-aliased disc into pixels (H, W, 3), in place."""
    reach = int(radius) + 2
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    patch = pixels[top : int(y) + reach + 1, left : int(x) + reach + 1]
    rows, columns = np.mgrid[top : top + patch.shape[0], left : left + patch.shape[1]]
    weight = (radius + 0.5 - np.hypot(columns - x, rows - y)).clip(0, 1)[:, :, None]
    patch[:] = (patch * (1 - weight) + np.asarray(colour) * weight + 0.5).astype(np.uint8)


def _write_mp4(frames: list[Pixels], path: Path, fps: int) -> bool:
    """H.264, yuv420p, no metadata. False, with a warning, where ffmpeg is missing or does not work; OSError where it works and
    cannot write."""
    height, width = frames[0].shape[:2]
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-an"]
    result = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p"]
    plain = ["-movflags", "+faststart", "-map_metadata", "-1", "-fflags", "+bitexact"]
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
        code, said = _feed([program, "-y", "-v", "error", "-xerror", *source, *result, *plain, str(temporary)], frames)
        if code == 0:
            temporary.replace(path)
            return True
    except (ImportError, RuntimeError, FileNotFoundError, PermissionError) as error:
        code, said = -1, str(error) or type(error).__name__
    finally:
        temporary.unlink(missing_ok=True)
    for number in UNWRITABLE:
        if os.strerror(number) in said:
            raise OSError(number, os.strerror(number), str(path))
    reason = said.strip().splitlines() or [f"exit code {code}"]
    logger.warning("no MP4: ffmpeg does not work here (%s); the GIF shows the same", reason[0])
    return False


def _feed(command: list[str], frames: list[Pixels]) -> tuple[int, str]:
    """Run a program on the frames, one after the other on its standard input: its exit code and what it said on stderr."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, restore_signals=False
    ) as process:  # a limit on file sizes is an error to it, as it is here, and not its end by a signal
        assert process.stdin is not None
        assert process.stderr is not None
        with suppress(BrokenPipeError):  # it ended early: why stands on stderr
            for frame in frames:
                process.stdin.write(np.ascontiguousarray(frame).data)
        with suppress(BrokenPipeError):
            process.stdin.close()
        said = process.stderr.read().decode(errors="replace")
    return process.returncode, said


def _write_gif(frames: list[Pixels], path: Path, fps: int, width: int = 960) -> None:
    """A looping GIF with one palette, scaled down to `width`."""
    height = round(frames[0].shape[0] * width / frames[0].shape[1])
    small = [Image.fromarray(frame).resize((width, height), Image.Resampling.BOX, reducing_gap=None) for frame in frames]
    palette = _palette([small[i] for i in sorted({0, len(small) // 2, len(small) - 1})])
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in small]
    step = round(1000 / fps)
    rest = round(1000 * HOLD)
    durations = [rest, *[step] * (len(indexed) - 2), 2 * rest][: len(indexed)]
    buffer = io.BytesIO()
    indexed[0].save(
        buffer, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=False, disposal=1
    )
    write_bytes(path, buffer.getvalue())


def _palette(samples: list[Image.Image], grays: int = 96) -> Image.Image:
    """A palette of even grays for the radiographs and of the samples' other colours for layers and curves."""
    pixels = np.concatenate([np.asarray(image).reshape(-1, 3) for image in samples])
    coloured = pixels[np.ptp(pixels.astype(np.int16), axis=1) > 12]
    coloured = coloured if len(coloured) else pixels
    strip = Image.fromarray(np.ascontiguousarray(coloured[None, :: max(1, len(coloured) // 60000)]))
    chosen = strip.quantize(255 - grays - len(LOOK), Image.Quantize.MEDIANCUT).getpalette() or []
    even = np.linspace(0, 255, grays + 1).round().astype(int).repeat(3).tolist()
    picture = Image.new("P", (1, 1))
    picture.putpalette([*even, *(level for colour in LOOK for level in colour), *chosen][:768])
    return picture
