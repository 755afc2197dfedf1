from __future__ import annotations

from trunkline.local.realtime.turns import (
    FRAME_MS,
    IdleTimeout,
    ProbablyEnded,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    TurnEvent,
    TurnRules,
    semantic_rules,
)

VOICE, UNSURE, SILENCE = 0.9, 0.4, 0.05


def hear(detector: TurnDetector, *stretches: tuple[float, int]) -> list[TurnEvent]:
    """Feed stretches of (probability, frames)."""
    return [event for p, frames in stretches for _ in range(frames) for event in detector.hear(p)]


def kinds(events: list[TurnEvent]) -> list[type]:
    return [type(event) for event in events]


def test_a_turn_starts_ends_probably_and_then_certainly() -> None:
    events = hear(TurnDetector(TurnRules()), (SILENCE, 20), (VOICE, 30), (SILENCE, 30))
    assert kinds(events) == [SpeechStarted, ProbablyEnded, SpeechStopped]


def test_the_start_lies_the_prefix_before_the_first_speech() -> None:
    events = hear(TurnDetector(TurnRules(prefix_ms=300)), (SILENCE, 20), (VOICE, 1))
    assert events == [SpeechStarted(20 * FRAME_MS - 300)]


def test_the_start_is_never_before_the_audio() -> None:
    assert hear(TurnDetector(TurnRules()), (VOICE, 1)) == [SpeechStarted(0)]


def test_the_start_is_never_within_what_was_cut_off() -> None:
    detector = TurnDetector(TurnRules(prefix_ms=300))
    hear(detector, (SILENCE, 20))
    detector.cut(600)
    assert hear(detector, (VOICE, 1)) == [SpeechStarted(600)]


def test_the_end_comes_when_the_silence_is_as_long_as_the_rules_say() -> None:
    for silence in (200, 500, 1000):
        detector = TurnDetector(TurnRules(silence_ms=silence))
        stopped = hear(detector, (VOICE, 10), (SILENCE, 60))[-1]
        assert isinstance(stopped, SpeechStopped)
        assert abs(stopped.end_ms - 10 * FRAME_MS - silence) <= 2 * FRAME_MS


def test_the_probable_end_comes_well_before_the_certain_one() -> None:
    for silence in (200, 300, 500):
        detector = TurnDetector(TurnRules(silence_ms=silence))
        hear(detector, (VOICE, 10))
        frames = {}
        for count in range(60):
            for event in detector.hear(SILENCE):
                frames[type(event)] = count
        assert frames[ProbablyEnded] < frames[SpeechStopped]


def test_a_short_pause_within_speech_is_no_event() -> None:
    assert kinds(hear(TurnDetector(TurnRules()), (VOICE, 10), (SILENCE, 3), (VOICE, 10))) == [SpeechStarted]


def test_speech_after_a_probable_end_resumes_the_turn() -> None:
    events = hear(TurnDetector(TurnRules()), (VOICE, 10), (SILENCE, 10), (VOICE, 5), (SILENCE, 30))
    assert kinds(events) == [SpeechStarted, ProbablyEnded, SpeechResumed, ProbablyEnded, SpeechStopped]


def test_a_probability_just_below_the_threshold_starts_nothing_and_ends_nothing() -> None:
    assert hear(TurnDetector(TurnRules()), (UNSURE, 50)) == []
    assert kinds(hear(TurnDetector(TurnRules()), (VOICE, 5), (UNSURE, 50))) == [SpeechStarted]


def test_silence_that_has_begun_is_not_undone_by_an_unsure_frame() -> None:
    events = hear(TurnDetector(TurnRules()), (VOICE, 5), (SILENCE, 2), (UNSURE, 1), (SILENCE, 13))
    assert kinds(events) == [SpeechStarted, ProbablyEnded, SpeechStopped]


def test_the_threshold_is_the_rules() -> None:
    assert hear(TurnDetector(TurnRules(threshold=0.95)), (VOICE, 10)) == []
    assert kinds(hear(TurnDetector(TurnRules(threshold=0.3)), (UNSURE, 1))) == [SpeechStarted]


def test_a_threshold_of_nothing_can_still_hear_silence() -> None:
    events = hear(TurnDetector(TurnRules(threshold=0.1)), (VOICE, 5), (0.0, 30))
    assert kinds(events)[-1] is SpeechStopped


def test_two_turns_are_told_apart() -> None:
    events = hear(TurnDetector(TurnRules()), (VOICE, 10), (SILENCE, 30), (VOICE, 10), (SILENCE, 30))
    assert kinds(events) == [SpeechStarted, ProbablyEnded, SpeechStopped] * 2


def test_a_noise_that_never_ends_is_ended() -> None:
    events = hear(TurnDetector(TurnRules()), (VOICE, 5 * 60_000 // FRAME_MS + 1))
    assert kinds(events)[:2] == [SpeechStarted, SpeechStopped]


def test_what_was_voiced_is_known_until_it_is_cut_off() -> None:
    detector = TurnDetector(TurnRules())
    hear(detector, (SILENCE, 10), (VOICE, 10), (SILENCE, 30))
    assert detector.voiced == (10 * FRAME_MS, 20 * FRAME_MS)
    detector.cut(detector.now_ms)
    assert detector.voiced is None


def test_a_cut_within_speech_lets_it_start_again() -> None:
    detector = TurnDetector(TurnRules())
    hear(detector, (VOICE, 10))
    detector.cut(detector.now_ms)
    assert hear(detector, (VOICE, 1)) == [SpeechStarted(10 * FRAME_MS)]


def test_idle_time_runs_out_once() -> None:
    detector = TurnDetector(TurnRules(idle_ms=5000))
    detector.expect_speech(1000)
    events = hear(detector, (SILENCE, 400))
    assert len(events) == 1
    assert isinstance(events[0], IdleTimeout)
    assert events[0].start_ms == 1000
    assert 6000 <= events[0].end_ms < 6000 + FRAME_MS


def test_idle_time_is_not_counted_before_a_response_nor_once_somebody_speaks() -> None:
    detector = TurnDetector(TurnRules(idle_ms=5000))
    assert hear(detector, (SILENCE, 400)) == []
    detector.expect_speech(detector.now_ms)
    events = hear(detector, (VOICE, 5), (SILENCE, 400))
    assert IdleTimeout not in kinds(events)


def test_idle_time_can_be_called_off() -> None:
    detector = TurnDetector(TurnRules(idle_ms=5000))
    detector.expect_speech(0)
    detector.expect_speech(None)
    assert hear(detector, (SILENCE, 400)) == []


def test_less_eagerness_waits_longer() -> None:
    windows = [semantic_rules(eagerness).silence_ms for eagerness in ("high", "medium", "low")]
    assert windows == sorted(windows)
    assert len(set(windows)) == 3
    assert semantic_rules("auto") == semantic_rules("medium")
