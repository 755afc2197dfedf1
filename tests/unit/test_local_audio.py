from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from trunkline.local import audio

RATES = [(24_000, 16_000), (8_000, 16_000), (24_000, 8_000)]
EVERY_SAMPLE = np.arange(65_536, dtype=np.uint16).view(np.int16)
EVERY_LEVEL = EVERY_SAMPLE.astype(np.float32) / 32_768
G711 = [("ULAW", audio.to_mulaw, audio.from_mulaw), ("ALAW", audio.to_alaw, audio.from_alaw)]


def tone(frequency: float, rate: int, seconds: float = 1.0) -> audio.FloatArray:
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def decibels(samples: audio.FloatArray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples)) + 1e-20))


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_resampled_tone_is_the_same_tone(source: int, target: int) -> None:
    result = audio.resample(tone(1000, source), source, target)
    error = (result - tone(1000, target))[200:-200]
    assert decibels(error) < -70


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_resampled_recording_keeps_its_duration(source: int, target: int) -> None:
    assert len(audio.resample(np.zeros(source, np.float32), source, target)) == target


@pytest.mark.parametrize(("source", "target"), [(24_000, 16_000), (24_000, 8_000)])
def test_what_the_lower_rate_cannot_carry_is_removed(source: int, target: int) -> None:
    result = audio.resample(tone(target * 0.6, source), source, target)
    assert decibels(result[200:-200]) < -70


@pytest.mark.parametrize(("source", "target"), RATES)
@given(cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_pieces_resample_to_the_same_as_the_whole(source: int, target: int, cuts: list[int]) -> None:
    samples = np.random.default_rng(7).standard_normal(3000).astype(np.float32)
    resampler = audio.Resampler(source, target)
    pieces = [resampler.feed(piece) for piece in np.split(samples, sorted(cuts))]
    joined = np.concatenate([*pieces, resampler.finish()])
    np.testing.assert_allclose(joined, audio.resample(samples, source, target), atol=1e-6)


def test_a_finished_resampler_begins_anew() -> None:
    resampler = audio.Resampler(24_000, 16_000)
    first = [resampler.feed(tone(440, 24_000)), resampler.finish()]
    second = [resampler.feed(tone(440, 24_000)), resampler.finish()]
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))


def test_an_unchanged_rate_leaves_the_samples_alone() -> None:
    samples = tone(440, 16_000)
    assert audio.resample(samples, 16_000, 16_000) is samples


def test_pcm_survives_the_way_to_float_and_back() -> None:
    data = EVERY_SAMPLE.astype("<i2").tobytes()
    assert audio.to_pcm16(audio.from_pcm16(data)) == data


def test_pcm_louder_than_full_scale_is_clipped() -> None:
    samples = np.array([2.0, -2.0], np.float32)
    assert np.frombuffer(audio.to_pcm16(samples), "<i2").tolist() == [32_767, -32_768]


def test_half_a_pcm_sample_at_the_end_is_ignored() -> None:
    assert len(audio.from_pcm16(b"\x00\x01\x02")) == 1


@pytest.mark.parametrize(("name", "encode", "decode"), G711)
def test_g711_codes_are_those_of_libsndfile(name: str, encode: object, decode: object) -> None:
    file = io.BytesIO()
    soundfile.write(file, EVERY_SAMPLE, 8000, format="RAW", subtype=name)
    assert encode(EVERY_LEVEL) == file.getvalue()  # type: ignore[operator]


@pytest.mark.parametrize(("name", "encode", "decode"), G711)
def test_g711_levels_are_those_of_libsndfile(name: str, encode: object, decode: object) -> None:
    codes = bytes(range(256))
    levels, _ = soundfile.read(
        io.BytesIO(codes), format="RAW", subtype=name, samplerate=8000, channels=1, dtype="float32"
    )
    np.testing.assert_array_equal(decode(codes), levels)  # type: ignore[operator]
