"""Sound as numbers: sample rates, 16-bit PCM and G.711.

Inside the worker sound is float32, mono, -1 to 1. Nothing here waits or keeps time.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_FULL_SCALE: Final = 32_768
# Zero crossings of the filter on each side, at the lower rate. 16 keep what aliases about 80 dB down.
_ZERO_CROSSINGS: Final = 16
_KAISER_BETA: Final = 8.0
# Where the filter has fallen to half, as a share of the lower rate's Nyquist frequency.
_CUTOFF: Final = 0.92


class Resampler:
    """Changes the sample rate of a stream, piece by piece: the pieces' results joined are the whole's result.

    The filter looks half its length ahead, so the last millisecond is held back until more comes or `finish` is called.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        shared = gcd(source_rate, target_rate)
        self._up, self._down = target_rate // shared, source_rate // shared
        self._phases = _filter_phases(self._up, self._down)
        self._reach = (self._phases.shape[1] - 1) // 2
        self._start()

    def feed(self, samples: FloatArray) -> FloatArray:
        """Take samples at the source rate; return those at the target rate that are complete."""
        self._taken += len(samples)
        return self._filtered(samples)

    def finish(self) -> FloatArray:
        """Return what was held back, as if silence followed, and begin anew."""
        missing = -(-self._taken * self._up // self._down) - self._given
        rest = self._filtered(np.zeros(self._reach, np.float32))[:missing]
        self._start()
        return rest

    def _start(self) -> None:
        self._window = np.zeros(self._reach, np.float32)  # the input still needed, with `reach` samples of lead-in
        self._window_starts_at = 0
        self._taken = 0
        self._given = 0

    def _filtered(self, samples: FloatArray) -> FloatArray:
        self._window = np.concatenate((self._window, samples))
        last_position = self._window_starts_at + len(self._window) - 2 * self._reach - 1
        ready = max(0, ((last_position + 1) * self._up - 1) // self._down + 1 - self._given)
        output = np.empty(ready, np.float32)
        if ready:
            windows = sliding_window_view(self._window, 2 * self._reach + 1)
            for lane in range(min(self._up, ready)):
                position, phase = divmod((self._given + lane) * self._down, self._up)
                lane_windows = windows[position - self._window_starts_at :: self._down]
                wanted = len(output[lane :: self._up])
                output[lane :: self._up] = lane_windows[:wanted] @ self._phases[phase]
        self._given += ready
        next_position = self._given * self._down // self._up
        self._window = self._window[next_position - self._window_starts_at :]
        self._window_starts_at = next_position
        return output


@cache
def _filter_phases(up: int, down: int) -> FloatArray:
    """Return the filter's coefficients, one row per phase, in the order of the samples they meet."""
    bandwidth = _CUTOFF / max(up, down)
    reach = -(-_ZERO_CROSSINGS * max(up, down) // up)
    centre = reach * up
    offsets = np.arange(-centre, centre + up)
    window = np.zeros(len(offsets))
    window[: 2 * centre + 1] = np.kaiser(2 * centre + 1, _KAISER_BETA)
    coefficients = up * bandwidth * np.sinc(bandwidth * offsets) * window
    rows = np.stack([coefficients[phase::up][: 2 * reach + 1] for phase in range(up)])
    rows /= rows.sum(axis=1, keepdims=True)  # exactly unchanged level, whatever the phase
    return np.ascontiguousarray(rows[:, ::-1], np.float32)


def resample(samples: FloatArray, source_rate: int, target_rate: int) -> FloatArray:
    """Return a whole recording at another rate."""
    if source_rate == target_rate:
        return samples
    resampler = Resampler(source_rate, target_rate)
    return np.concatenate((resampler.feed(samples), resampler.finish()))


def from_pcm16(data: bytes) -> FloatArray:
    """Read little-endian 16-bit samples; an odd byte at the end is ignored."""
    samples = np.frombuffer(data, "<i2", count=len(data) // 2)
    return samples.astype(np.float32) / np.float32(_FULL_SCALE)


def to_pcm16(samples: FloatArray) -> bytes:
    """Write little-endian 16-bit samples; what is louder than full scale is clipped."""
    return _to_int16(samples).astype("<i2").tobytes()


def from_mulaw(data: bytes) -> FloatArray:
    """Read G.711 mu-law, one byte a sample."""
    return _mulaw_levels()[np.frombuffer(data, np.uint8)]


def to_mulaw(samples: FloatArray) -> bytes:
    """Write G.711 mu-law."""
    return _mulaw_codes()[_to_int16(samples).view(np.uint16)].tobytes()


def from_alaw(data: bytes) -> FloatArray:
    """Read G.711 A-law, one byte a sample."""
    return _alaw_levels()[np.frombuffer(data, np.uint8)]


def to_alaw(samples: FloatArray) -> bytes:
    """Write G.711 A-law."""
    return _alaw_codes()[_to_int16(samples).view(np.uint16)].tobytes()


def _to_int16(samples: FloatArray) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


@cache
def _mulaw_levels() -> FloatArray:
    code = ~np.arange(256, dtype=np.uint8)
    segment = (code >> 4) & 7
    step = (code & 15).astype(np.int32)
    level = (((step << 3) + 132) << segment) - 132
    return _signed(level, code & 128 != 0)


@cache
def _alaw_levels() -> FloatArray:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    segment = ((code >> 4) & 7).astype(np.int32)
    step = (code & 15).astype(np.int32)
    level = np.where(segment == 0, (step << 4) + 8, ((step << 4) + 264) << np.maximum(segment - 1, 0))
    return _signed(level, code & 128 == 0)


def _signed(level: NDArray[np.int32], negative: NDArray[np.bool_]) -> FloatArray:
    return (np.where(negative, -level, level) / _FULL_SCALE).astype(np.float32)


@cache
def _mulaw_codes() -> NDArray[np.uint8]:
    """Return the code of each 16-bit sample, indexed by its unsigned pattern."""
    value = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    # Two bits are dropped first: mu-law is a code of 14 bits.
    magnitude = np.minimum((np.abs(value) >> 2 << 2) + 132, 32_767)
    segment = np.maximum(np.floor(np.log2(magnitude)).astype(np.int32) - 7, 0)
    step = (magnitude >> (segment + 3)) & 15
    return _coded(value < 0, segment, step, 0x7F)


@cache
def _alaw_codes() -> NDArray[np.uint8]:
    """Return the code of each 16-bit sample, indexed by its unsigned pattern."""
    value = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(value), 32_767)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 7, 0)
    step = (magnitude >> np.where(segment == 0, 4, segment + 3)) & 15
    return _coded(value < 0, segment, step, 0x55)


def _coded(
    negative: NDArray[np.bool_], segment: NDArray[np.int32], step: NDArray[np.int32], inverted: int
) -> NDArray[np.uint8]:
    """Join sign, segment and step; ``inverted`` are the bits that the line carries upside down."""
    code: NDArray[np.int32] = np.where(negative, 0, 128) | (segment << 4) | step
    return (code ^ inverted).astype(np.uint8)
