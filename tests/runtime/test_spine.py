"""Laws of codec, bundle and engine together, on the packaged bundle and real photographs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coder_overhead import overhead_bytes, plain_tables
from numpy.typing import NDArray
from PIL import Image

from basic.runtime import _ans, bitstream
from basic.runtime.codec import Codec
from basic.runtime.entropy import EntropyPath
from basic.runtime.errors import BitstreamError
from basic.runtime.image import from_any
from basic.runtime.tiles import tiles, windows
from basic.runtime.transforms import Piece, Transform, analyse, cut

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def codec(bundle_path: Path) -> Iterator[Codec]:
    with Codec.open(bundle_path, num_threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def photo(data_folder: Path) -> Image.Image:
    with Image.open(data_folder / "kodim07.png") as image:
        return image.crop((100, 50, 650, 460))  # 550 x 410


def worst(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


def test_levels_are_free_of_each_other(codec: Codec, photo: Image.Image) -> None:
    low, high = min(codec.bundle.levels), max(codec.bundle.levels)
    for level in (low, high):
        for entropy_level in (low, high):
            data = codec.encode(photo, level=level, entropy_level=entropy_level)
            latents = codec.decode_latents(data)
            assert latents.shape == (codec.bundle.latent_channels, 448 // 16, 576 // 16)
            for synthesis_level in (low, high):
                assert codec.decode(data, level=synthesis_level).size == photo.size


def test_windows_agree_with_the_whole_image(bundle_path: Path, codec: Codec, photo: Image.Image) -> None:
    data = codec.encode(photo, quality=40)
    with Codec.open(bundle_path, num_threads=1, window_size=128) as windowed:
        assert worst(windowed.decode(data), codec.decode(data)) <= 1


def test_analysis_windows_agree_with_the_whole_image(codec: Codec, photo: Image.Image) -> None:
    level, picture = max(codec.bundle.levels), from_any(photo, codec.max_pixels)
    codec.encode(photo, level=level)
    session, gain = codec._networks.opened[level, "analysis"], codec.bundle.gain(63)
    margin = codec.bundle.receptive_field["analysis"]
    whole, windowed = (analyse(Transform(session, gain, margin, size, size**2), [picture])[0] for size in (2048, 64))
    everything = next(iter(tiles(*photo.size[::-1], 2048)))
    assert len(whole) == 1 < len(windowed)
    for one, other in zip(cut(whole, everything), cut(windowed, everything), strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1e-5 * max(1.0, float(np.abs(one).max()))


@pytest.mark.parametrize("tile_size", [64, 128, 192, 448])
def test_tiles_are_cut_from_pieces_of_any_size(tile_size: int) -> None:
    height, width = 448, 576
    y = np.random.default_rng(1).normal(size=(5, height // 16, width // 16)).astype(np.float32)
    z = np.random.default_rng(2).normal(size=(3, height // 64, width // 64)).astype(np.float32)
    for piece_size in (64, 128, 256, 640):
        boxes = [window.inner for window in windows(height, width, piece_size, 0, tile_size)]
        pieces = [Piece(box, y[:, *box.scaled(1, 16).slices], z[:, *box.scaled(1, 64).slices]) for box in boxes]
        for tile in tiles(height, width, tile_size):
            found_y, found_z = cut(pieces, tile)
            assert np.array_equal(found_y, y[:, *tile.scaled(1, 16).slices])
            assert np.array_equal(found_z, z[:, *tile.scaled(1, 64).slices])


def test_tiles_come_back(bundle_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every symbol coded: a silent latent is its mean, and tiles have means of their own."""
    monkeypatch.setattr(EntropyPath, "_num_silent", property(lambda self: 0, lambda self, value: None), raising=False)
    with Codec.open(bundle_path, num_threads=1) as codec:
        for tile_size in (64, 192):
            data = codec.encode(photo, quality=50, tile_size=tile_size)
            whole = codec.encode(photo, quality=50)
            difference = codec.decode_latents(data) - codec.decode_latents(whole)
            assert np.abs(difference).max() <= 8 + 1  # both are within half a step of the same y
            assert codec.decode(data).size == photo.size


def test_tiles_leave_no_seams(bundle_path: Path, photo: Image.Image) -> None:
    """Beside the borders of tiles a picture errs no more than the same places do without tiles, by a twentieth: tiles
    predict less, so other symbols are rounded, but both see the same pixels."""
    size = 128
    near = np.zeros((photo.height, photo.width), bool)
    for border in range(size, max(photo.size), size):
        near[border - 8 : border + 8] = near[:, border - 8 : border + 8] = True
    original = np.asarray(photo, float)
    with Codec.open(bundle_path, num_threads=1) as codec:
        for level, quality in ((0, 20), (7, 20), (7, 50)):
            files = [codec.encode(photo, level=level, quality=quality, tile_size=tile) for tile in (size, 1024)]
            tiled, whole = (((np.asarray(codec.decode(file), float) - original) ** 2)[near].mean() for file in files)
            assert tiled < 1.05 * whole


def test_batches_come_back(codec: Codec, photo: Image.Image) -> None:
    images = [photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), photo.convert("L")]
    files = codec.encode_batch(images, quality=30)
    for image, data, decoded in zip(images, files, codec.decode_batch(files), strict=True):
        assert decoded.mode == image.mode
        assert worst(decoded, codec.decode(data)) <= 1


def test_threads_share_a_codec(codec: Codec, photo: Image.Image) -> None:
    crops = [photo.crop((0, 0, 64 + 30 * i, 90)) for i in range(6)]
    expected = [codec.encode(crop, quality=20) for crop in crops]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda crop: codec.encode(crop, quality=20), crops * 3)) == expected * 3
        decoded = list(pool.map(codec.decode, expected * 3))
    assert all(worst(image, codec.decode(data)) == 0 for image, data in zip(decoded, expected * 3, strict=True))


def test_the_number_of_threads_changes_no_symbol(bundle_path: Path, codec: Codec, photo: Image.Image) -> None:
    data = codec.encode(photo)
    with Codec.open(bundle_path, num_threads=2) as other:
        assert np.array_equal(other.decode_latents(data), codec.decode_latents(data))


def test_the_oracle_decodes_the_same_latents(bundle_path: Path, codec: Codec, photo: Image.Image) -> None:
    crop = photo.crop((0, 0, 130, 70))
    with Codec.open(bundle_path, engine="oracle", num_threads=1) as oracle:
        for level in (min(codec.bundle.levels), max(codec.bundle.levels)):
            data = codec.encode(crop, level=level, tile_size=64)
            assert np.array_equal(oracle.decode_latents(data), codec.decode_latents(data))
            assert worst(oracle.decode(data), codec.decode(data)) == 0
            assert oracle.encode(crop, level=level, tile_size=64) == data


def test_every_cut_and_flip_of_a_real_file_is_refused(codec: Codec, photo: Image.Image) -> None:
    data = codec.encode(photo.crop((0, 0, 70, 50)).convert("RGBA"), level=min(codec.bundle.levels), quality=8)
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            codec.decode(data[:length])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            codec.decode(damaged)


def test_random_payloads_are_refused_or_images(codec: Codec, photo: Image.Image) -> None:
    stream = bitstream.read(codec.encode(photo.crop((0, 0, 64, 64)), level=min(codec.bundle.levels)))
    rng = np.random.default_rng(9)
    num_refused = 0
    for size in range(1, 200):
        payload = bytes([rng.integers(0, 3)]) + rng.bytes(size)
        try:
            codec.decode(bitstream.write(stream.header, None, None, [payload]))
        except BitstreamError:
            num_refused += 1
    assert num_refused > 190


def run_python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_decoding_needs_no_torch(bundle_path: Path, codec: Codec, photo: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "photo.bsc"
    path.write_bytes(codec.encode(photo, quality=10))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from basic.runtime.codec import Codec\n"
        "with Codec.open(sys.argv[1]) as codec: print(codec.decode(open(sys.argv[2], 'rb').read()).size)"
    )
    assert run_python(code, str(bundle_path), str(path)) == f"{photo.size}\n"


def test_the_embedding_example_runs(bundle_path: Path, data_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "decoded.png"
    command = [sys.executable, "examples/embed.py", str(data_folder / "kodim23.png"), str(output), str(bundle_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    assert "bit per pixel" in done.stdout
    with Image.open(output) as decoded:
        assert decoded.size == (768, 512)
    assert sum(bool(line.strip()) for line in (ROOT / "examples" / "embed.py").read_text().splitlines()) <= 15


@pytest.mark.parametrize("name", ["kodim03", "kodim07", "kodim23"])
def test_fixed_costs_of_a_file(codec: Codec, data_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the lowest quality: states and termination 0.3 % of the file; with header, id and checksums 40 bytes.

    Beside these and the symbols there is nothing but the rounding of states, up and down at random: 0.1 % at most.
    """
    found: list[tuple[bytes, NDArray[Any], float]] = []
    original = _ans.encode

    def encode(symbols: NDArray[Any], indexes: NDArray[Any], *arguments: Any, **limits: int) -> bytes:
        stream = original(symbols, indexes, *arguments, **limits)
        found.append((stream, indexes.copy(), _ans.bits(symbols, indexes, *arguments) / 8))
        return stream

    monkeypatch.setattr(_ans, "encode", encode)
    for level in codec.bundle.levels:
        found.clear()
        with Image.open(data_folder / f"{name}.png") as image:
            data = codec.encode(image, level=level, quality=0)
        ((stream, indexes, ideal),) = found
        tables = codec.bundle.tables(level)
        overhead = overhead_bytes(stream, indexes, plain_tables(tables), int(tables.precision))
        first_field = next(k for k, byte in enumerate(stream) if byte < 128) + 1
        assert len(data) - len(stream) + overhead <= 40
        assert overhead - first_field <= 0.003 * len(data)
        assert abs(len(stream) - overhead - ideal) <= 0.001 * len(data)
