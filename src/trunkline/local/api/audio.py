"""``/v1/audio/transcriptions`` and ``/v1/audio/speech``."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import soundfile
from pydantic import Field
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from trunkline.local.api.bodies import Body, read
from trunkline.local.api.connection import MAX_BODY, Stream
from trunkline.local.api.problems import Problem, unknown_model
from trunkline.local.audio import FloatArray, resample, to_pcm16
from trunkline.local.engines import Engines, Synthesiser, UnspeakableText
from trunkline.local.engines.language import MODEL_NAME
from trunkline.local.engines.recognition import SAMPLE_RATE

# Every one is the same voice; the names are accepted so that clients need no change.
VOICES: Final = frozenset(
    "heart alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)

_SPEECH: Final = 0.5
_SILENCE: Final = 0.35
_PADDING: Final = SAMPLE_RATE // 5
_JOINING: Final = SAMPLE_RATE // 2
_FIELDS: Final = frozenset(
    "file model language prompt response_format temperature stream timestamp_granularities[] include[]".split()  # noqa: SIM905
)
_FORMATS: Final = ("json", "text", "verbose_json", "srt", "vtt")


class Segment(msgspec.Struct, frozen=True):
    """Words and where they were said, in seconds from the beginning."""

    start: float
    end: float
    text: str


class Voice(Body):
    """A voice named by an object, as clients of custom voices send it."""

    id: str


class SpeechRequest(Body):
    """Text to speak. ``instructions`` are accepted; the voice has one manner."""

    model: str
    input: Annotated[str, Field(min_length=1, max_length=4096)]
    voice: str | Voice
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = None


async def speak(request: Request, synthesiser: Synthesiser) -> Response | Stream:
    """Answer with speech."""
    body = await read(request, SpeechRequest)
    if body.model != MODEL_NAME:
        raise unknown_model(body.model, MODEL_NAME)
    voice = body.voice.id if isinstance(body.voice, Voice) else body.voice
    if voice not in VOICES:
        raise Problem(400, f"There is no voice {voice!r}; known are {', '.join(sorted(VOICES))}.", param="voice")
    if body.response_format == "aac":
        raise Problem(400, "AAC is not offered; use mp3, opus, flac, wav or pcm.", param="response_format")
    try:
        samples = await synthesiser.speak(body.input, speed=body.speed)
    except UnspeakableText as error:
        raise Problem(400, str(error), code="unspeakable_text", param="input") from error
    content, kind = await asyncio.to_thread(_encoded, samples, body.response_format)
    if body.stream_format == "sse":
        return Stream(_speech_events(content))
    return Response(content, media_type=kind)


async def _speech_events(content: bytes) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(content), 48_000):
        piece = base64.b64encode(content[at : at + 48_000]).decode()
        yield _event({"type": "speech.audio.delta", "audio": piece})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield _event({"type": "speech.audio.done", "usage": usage})


def _encoded(samples: FloatArray, form: str) -> tuple[bytes, str]:
    """Return an audio file and its media type."""
    if form == "pcm":
        return to_pcm16(samples), f"audio/pcm;rate={Synthesiser.SAMPLE_RATE}"
    container, subtype, kind = {
        "mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg"),
        "opus": ("OGG", "OPUS", "audio/ogg"),
        "flac": ("FLAC", "PCM_16", "audio/flac"),
        "wav": ("WAV", "PCM_16", "audio/wav"),
    }[form]
    file = io.BytesIO()
    soundfile.write(file, samples, Synthesiser.SAMPLE_RATE, format=container, subtype=subtype)
    return file.getvalue(), kind


async def transcribe(request: Request, engines: Engines) -> Response | Stream:
    """Answer with the words of an audio file."""
    form = await _form(request)
    # Both take seconds for a long recording, and sessions beside this request speak in real time.
    samples = await asyncio.to_thread(_decoded, await _file(form))
    spans = await asyncio.to_thread(speech_in, samples, engines)
    segments = [
        Segment(start / SAMPLE_RATE, end / SAMPLE_RATE, text)
        for start, end in spans
        if (text := await engines.recogniser.transcribe(samples[start:end]))
    ]
    seconds = len(samples) / SAMPLE_RATE
    if form.get("stream") == "true":
        return Stream(_transcript_events(segments, seconds))
    return _transcript(segments, seconds, str(form.get("response_format") or "json"))


async def _form(request: Request) -> FormData:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem(400, "Send the audio as multipart/form-data with the fields 'file' and 'model'.", param="file")
    try:
        form = await request.form(max_files=1, max_part_size=MAX_BODY)
    except Exception as error:  # Starlette reports a malformed form as an HTTP exception of its own
        raise Problem(400, "The multipart body cannot be read.", code="invalid_multipart") from error
    for name in form:
        if name not in _FIELDS:
            raise Problem(400, f"Unknown parameter: {name}.", code="unknown_parameter", param=name)
    model = str(form.get("model") or "")
    if not model:
        raise Problem(400, "Missing required parameter: model.", code="missing_required_parameter", param="model")
    if model != MODEL_NAME:
        raise unknown_model(model, MODEL_NAME)
    if str(form.get("language") or "en").lower() not in ("en", "english"):
        raise Problem(
            400, "The local recogniser understands English only.", code="unsupported_language", param="language"
        )
    if str(form.get("response_format") or "json") not in _FORMATS:
        raise Problem(400, f"response_format may be {', '.join(_FORMATS)}.", param="response_format")
    if "word" in form.getlist("timestamp_granularities[]"):
        raise Problem(400, "Times are known for segments, not for words.", param="timestamp_granularities[]")
    return form


async def _file(form: FormData) -> bytes:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Problem(400, "Missing required parameter: file.", code="missing_required_parameter", param="file")
    return await file.read()


def _decoded(content: bytes) -> FloatArray:
    """Return mono samples at 16 kHz."""
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        message = "The file is not audio that can be read here: wav, mp3, flac, ogg (Vorbis, Opus), aiff or au."
        raise Problem(400, message, code="invalid_audio", param="file") from error
    return resample(samples.mean(axis=1, dtype=np.float32), rate, SAMPLE_RATE)


def speech_in(samples: FloatArray, engines: Engines) -> list[tuple[int, int]]:
    """Return where somebody speaks, as pairs of sample positions: the recogniser hears words in noise."""
    detector = engines.activity()
    frame = detector.FRAME
    spans: list[tuple[int, int]] = []
    speaking = False
    for at in range(0, len(samples) - frame + 1, frame):
        probability = detector.probability(samples[at : at + frame])
        speaking = probability > (_SILENCE if speaking else _SPEECH)
        if not speaking:
            continue
        start, end = max(0, at - _PADDING), min(len(samples), at + frame + _PADDING)
        if spans and start - spans[-1][1] < _JOINING:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


async def _transcript_events(segments: list[Segment], seconds: float) -> AsyncGenerator[bytes, None]:
    for number, segment in enumerate(segments):
        yield _event({"type": "transcript.text.delta", "delta": (" " if number else "") + segment.text})
    yield _event({"type": "transcript.text.done", "text": _text(segments), "usage": _usage(seconds)})


def _transcript(segments: list[Segment], seconds: float, form: str) -> Response:
    match form:
        case "text":
            return PlainTextResponse(_text(segments) + "\n")
        case "srt":
            blocks = [
                f"{number}\n{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n{segment.text}\n"
                for number, segment in enumerate(segments, 1)
            ]
            return PlainTextResponse("\n".join(blocks))
        case "vtt":
            cues = [f"{_clock(part.start, '.')} --> {_clock(part.end, '.')}\n{part.text}\n" for part in segments]
            return PlainTextResponse("\n".join(["WEBVTT\n", *cues]), media_type="text/vtt")
        case "verbose_json":
            listed = [
                {"id": number, "start": round(part.start, 3), "end": round(part.end, 3), "text": part.text}
                for number, part in enumerate(segments)
            ]
            return JSONResponse(
                {
                    "task": "transcribe",
                    "language": "english",
                    "duration": round(seconds, 3),
                    "text": _text(segments),
                    "segments": listed,
                    "usage": _usage(seconds),
                }
            )
        case _:
            return JSONResponse({"text": _text(segments), "usage": _usage(seconds)})


def _text(segments: list[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def _usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": max(1, round(seconds))}


def _clock(seconds: float, mark: str) -> str:
    """``3661.5`` -> ``01:01:01,500``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"


def _event(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"
