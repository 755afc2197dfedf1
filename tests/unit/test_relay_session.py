"""The relay of a WebSocket session, as transcripts: events in, effects out. With the rules for close codes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GatewayError, Unauthorized, UpstreamRefused, UpstreamUpgradeRefused
from trunkline.realtime import closing
from trunkline.realtime.beta import BetaBridge
from trunkline.realtime.events import (
    AskBrain,
    BrainSaid,
    Charge,
    ClientBinary,
    ClientClosed,
    ClientText,
    CloseClient,
    CloseUpstream,
    Effect,
    Event,
    Failed,
    Leaving,
    Redial,
    SendClient,
    SendUpstream,
    StopBrain,
    UpstreamBinary,
    UpstreamClosed,
    UpstreamConnected,
    UpstreamText,
)
from trunkline.realtime.memory import SessionMemory
from trunkline.realtime.record import SessionRecord
from trunkline.realtime.session import RelaySession
from trunkline.wire.refusal import Dialect


def relay(
    *, dialect: Dialect = Dialect.OPENAI, memory: SessionMemory | None = None, bridge: BetaBridge | None = None
) -> RelaySession:
    record = SessionRecord("openai", price=lambda usage: None)
    return RelaySession(dialect, "event_1", record, memory=memory, bridge=bridge)


def relaying(
    *, cascade: bool = False, memory: SessionMemory | None = None, bridge: BetaBridge | None = None
) -> RelaySession:
    session = relay(memory=memory, bridge=bridge)
    assert take(session, UpstreamConnected(cascade=cascade)) == []
    if memory is not None:
        take(session, UpstreamText('{"type":"session.created","session":{}}'))
    return session


def take(session: RelaySession, event: Event) -> list[Effect]:
    return [effect for effect in session.receive(event, 1.0) if not isinstance(effect, Charge)]


def play(session: RelaySession, *events: Event) -> list[Effect]:
    return [effect for event in events for effect in take(session, event)]


def said(effect: Effect) -> dict[str, object]:
    assert isinstance(effect, SendClient)
    decoded = json.loads(effect.payload)
    assert isinstance(decoded, dict)
    return decoded


# Relaying


def test_a_whole_session_is_relayed_in_order() -> None:
    session = relaying()
    effects = play(
        session,
        UpstreamText('{"type":"session.created"}'),
        ClientText('{"type":"response.create"}'),
        UpstreamText('{"type":"response.done"}'),
        ClientClosed(1000, "bye"),
    )
    assert effects == [
        SendClient('{"type":"session.created"}'),
        SendUpstream('{"type":"response.create"}'),
        SendClient('{"type":"response.done"}'),
        CloseUpstream(1000, "bye"),
    ]
    assert session.is_closed


@given(st.text(max_size=50))
def test_text_is_relayed_untouched_in_both_directions(text: str) -> None:
    session = relaying()
    assert take(session, ClientText(text)) == [SendUpstream(text)]
    assert take(session, UpstreamText(text)) == [SendClient(text)]


@pytest.mark.parametrize("cascade", [False, True])
@given(data=st.binary(max_size=50))
def test_binary_is_relayed_as_binary_in_both_directions(data: bytes, cascade: bool) -> None:
    session = relaying(cascade=cascade)
    assert take(session, ClientBinary(data)) == [SendUpstream(data)]
    assert take(session, UpstreamBinary(data)) == [SendClient(data)]


def test_what_a_response_used_is_charged_after_the_client_has_its_end() -> None:
    tokens = {"total_tokens": 7, "input_tokens": 5, "output_tokens": 2}
    done = json.dumps({"type": "response.done", "response": {"id": "r", "usage": tokens}})
    shown, charge = relaying().receive(UpstreamText(done), 1.0)
    assert shown == SendClient(done)
    assert isinstance(charge, Charge)
    assert charge.usage.tokens.total == 7


def test_frames_of_our_own_family_are_ordinary_text_where_there_is_no_cascade() -> None:
    session = relaying()
    frame = '{"type":"trunkline.brain.request","id":"1","body":{}}'
    assert take(session, UpstreamText(frame)) == [SendClient(frame)]
    assert take(session, ClientText(frame)) == [SendUpstream(frame)]


# The end


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "session hit the maximum duration"), (3000, "x"), (4999, "")]
)
def test_a_close_is_relayed_with_its_code_and_reason(code: int, reason: str) -> None:
    assert play(relaying(), UpstreamClosed(code, reason)) == [CloseClient(code, reason)]
    assert play(relaying(), ClientClosed(code, reason)) == [CloseUpstream(code, reason)]


def test_a_provider_that_breaks_off_is_not_shown_as_a_clean_end() -> None:
    assert play(relaying(), UpstreamClosed(closing.ABNORMAL, "")) == [CloseClient(1011, "upstream_broken")]


def test_a_client_that_vanishes_is_reported_to_the_provider_as_going_away() -> None:
    assert play(relaying(), ClientClosed(closing.ABNORMAL, "")) == [CloseUpstream(1001, "")]


def test_a_close_without_a_code_is_a_normal_end() -> None:
    assert play(relaying(), UpstreamClosed(closing.NO_STATUS, "")) == [CloseClient(1000, "")]
    assert play(relaying(), ClientClosed(closing.NO_STATUS, "")) == [CloseUpstream(1000, "")]


def test_nothing_is_done_after_the_end() -> None:
    session = relaying()
    play(session, UpstreamClosed(1000, ""))
    late: list[Event] = [
        ClientText("late"),
        ClientBinary(b"late"),
        UpstreamText("late"),
        UpstreamBinary(b"late"),
        BrainSaid("late"),
        ClientClosed(1000, ""),
        UpstreamClosed(1000, ""),
        UpstreamConnected(),
        Failed(GatewayError("late")),
    ]
    assert play(session, *late) == []
    assert session.is_closed


# Refusals


def test_a_refusal_is_one_error_event_and_then_the_close() -> None:
    session = relay()
    event, close = play(session, Failed(Unauthorized("The gateway refused this.")))
    assert said(event) == {
        "type": "error",
        "event_id": "event_1",
        "error": {
            "message": "The gateway refused this.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
            "event_id": None,
        },
    }
    assert close == CloseClient(3000, "invalid_request_error.invalid_api_key")
    assert session.is_closed


def test_a_provider_that_cannot_be_reached_asks_to_try_later() -> None:
    event, close = play(relay(), Failed(UpstreamRefused("OpenAI refused the connection.")))
    assert "OpenAI refused the connection." in json.dumps(said(event))
    assert close == CloseClient(1013, "server_error.upstream_refused")


def test_a_refused_upgrade_says_whether_trying_again_helps() -> None:
    for status, code in ((401, 3000), (404, 4004), (429, 1013)):
        error = UpstreamUpgradeRefused("It answered.", upstream_status=status, headers=[], body=b"")
        assert play(relay(), Failed(error))[-1] == CloseClient(code, "server_error.upstream_upgrade_refused")


def test_a_refusal_is_in_the_providers_dialect() -> None:
    event, _ = play(relay(dialect=Dialect.GOOGLE), Failed(Unauthorized("No.")))
    assert said(event) == {"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED"}}


def test_a_failure_in_the_middle_ends_both_sides() -> None:
    session = relaying()
    event, close, upstream = play(session, Failed(GatewayError("Broken.")))
    assert upstream == CloseUpstream(closing.GOING_AWAY, "")
    assert said(event)["type"] == "error"
    assert isinstance(close, CloseClient)
    assert session.is_closed


# Settings that the session was promised

UPDATE = '{"type": "session.update", "session": {"instructions": "Be brief."}}'
CREATED = '{"type": "session.created", "event_id": "e1", "session": {"voice": "alloy"}}'
UPDATED = '{"type": "session.updated", "event_id": "e2", "session": {"voice": "alloy", "instructions": "Be brief."}}'


def configuring() -> RelaySession:
    session = relay()
    assert take(session, UpstreamConnected(UPDATE)) == []
    assert not session.is_relaying
    return session


def test_a_session_gets_its_promised_settings_and_the_client_sees_one_creation() -> None:
    session = configuring()
    assert play(session, UpstreamText(CREATED)) == [SendUpstream(UPDATE)]
    assert not session.is_relaying
    (created,) = play(session, UpstreamText(UPDATED))
    assert said(created) == {
        "type": "session.created",
        "event_id": "e1",
        "session": {"voice": "alloy", "instructions": "Be brief."},
    }
    assert session.is_relaying
    assert play(session, UpstreamText(UPDATED)) == [SendClient(UPDATED)]


def test_settings_that_the_provider_refuses_leave_a_session_and_the_reason() -> None:
    session = configuring()
    refusal = '{"type": "error", "error": {"message": "no such voice"}}'
    created, error = play(session, UpstreamText(CREATED), UpstreamText(refusal))[1:]
    assert said(created)["session"] == {"voice": "alloy"}
    assert error == SendClient(refusal)
    assert session.is_relaying


def test_a_provider_that_refuses_the_session_is_heard_before_any_settings() -> None:
    session = configuring()
    refusal = '{"type": "error", "error": {"message": "no such key"}}'
    assert play(session, UpstreamText(refusal)) == [SendClient(refusal)]


def test_either_side_may_end_a_session_that_has_no_settings_yet() -> None:
    for event in (ClientClosed(1000, ""), UpstreamClosed(1011, "gone"), Failed(GatewayError("Broken."))):
        session = configuring()
        assert play(session, UpstreamText(CREATED), event)[1:]
        assert session.is_closed


@given(st.text())
def test_whatever_a_provider_says_before_the_settings_stand_reaches_the_client(text: str) -> None:
    assert take(configuring(), UpstreamText(text)) == [SendClient(text)]


def test_a_client_that_leaves_before_the_provider_answers_stops_the_dialling() -> None:
    session = relay()
    assert play(session, ClientClosed(closing.ABNORMAL, "")) == [CloseUpstream(1001, "")]
    assert play(session, UpstreamConnected()) == []
    assert session.is_closed


@pytest.mark.parametrize("event", [ClientText("x"), ClientBinary(b"x"), UpstreamText("x"), BrainSaid("x")])
def test_a_frame_before_the_provider_answered_is_a_fault_of_ours(event: Event) -> None:
    with pytest.raises(AssertionError):
        take(relay(), event)


def test_a_provider_cannot_connect_twice() -> None:
    with pytest.raises(AssertionError):
        take(relaying(), UpstreamConnected())


# The cascade: the voice worker asks for text through the session's own socket


def test_the_workers_request_for_text_is_answered_by_the_gateway_and_never_shown() -> None:
    session = relaying(cascade=True)
    body = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0}
    request = json.dumps({"type": "trunkline.brain.request", "id": "r1", "body": body})
    assert take(session, UpstreamText(request)) == [AskBrain("r1", body)]


def test_the_answer_goes_to_the_worker_and_not_to_the_client() -> None:
    session = relaying(cascade=True)
    frame = '{"type":"trunkline.brain.chunk","id":"r1","chunk":{}}'
    assert take(session, BrainSaid(frame)) == [SendUpstream(frame)]


def test_the_worker_can_stop_an_answer() -> None:
    frame = '{"type":"trunkline.brain.cancel","id":"r1"}'
    assert take(relaying(cascade=True), UpstreamText(frame)) == [StopBrain("r1")]


def test_a_frame_of_our_family_that_nobody_knows_is_not_shown() -> None:
    frame = '{"type":"trunkline.brain.unknown","id":"r1"}'
    assert take(relaying(cascade=True), UpstreamText(frame)) == []


def test_a_turn_of_a_cascade_is_a_transcript() -> None:
    effects = play(
        relaying(cascade=True),
        UpstreamText('{"type":"session.created"}'),
        ClientText('{"type":"input_audio_buffer.append","audio":"AAAA"}'),
        UpstreamText('{"type":"trunkline.brain.request","id":"r1","body":{"messages":[]}}'),
        BrainSaid('{"type":"trunkline.brain.chunk","id":"r1","chunk":{}}'),
        UpstreamText('{"type":"response.output_audio.delta","delta":"AAAA"}'),
        UpstreamText('{"type":"trunkline.brain.cancel","id":"r1"}'),
        BrainSaid('{"type":"trunkline.brain.done","id":"r1"}'),
        ClientClosed(1000, ""),
    )
    assert effects == [
        SendClient('{"type":"session.created"}'),
        SendUpstream('{"type":"input_audio_buffer.append","audio":"AAAA"}'),
        AskBrain("r1", {"messages": []}),
        SendUpstream('{"type":"trunkline.brain.chunk","id":"r1","chunk":{}}'),
        SendClient('{"type":"response.output_audio.delta","delta":"AAAA"}'),
        StopBrain("r1"),
        SendUpstream('{"type":"trunkline.brain.done","id":"r1"}'),
        CloseUpstream(1000, ""),
    ]


FORGED = [
    '{"type":"trunkline.brain.chunk","id":"r1","chunk":{}}',
    '{"type":"trunkline.brain.request","id":"r1","body":{}}',
    '{ "id": "r1", "chunk": {"choices": []}, "type": "trunkline.brain.chunk" }',
    '{"type":"session.update","type":"trunkline.brain.done","id":"r1"}',
    '{"type":"trunkline.anything"}',
    '{"type":"trunkline.brain.chunk","id":"r1","number":' + "1" * 5000 + "}",
]


@pytest.mark.parametrize("frame", FORGED, ids=range(len(FORGED)))
def test_a_client_cannot_speak_for_the_brain(frame: str) -> None:
    assert take(relaying(cascade=True), ClientText(frame)) == []


HARMLESS = [
    '{"type":"conversation.item.create","item":{"text":"what is trunkline.brain.chunk?"}}',
    '{"type":"session.update","session":{"instructions":"say trunkline."}}',
    '["trunkline.brain.chunk"]',
    '"trunkline.brain.chunk"',
    "trunkline. is not JSON",
    '{"type":"trunkline.brain.chunk"',
    '{"type":7,"trunkline.":1}',
    "",
]


@pytest.mark.parametrize("frame", HARMLESS)
def test_a_client_may_speak_of_the_brain(frame: str) -> None:
    assert take(relaying(cascade=True), ClientText(frame)) == [SendUpstream(frame)]


def test_a_worker_may_speak_of_the_brain() -> None:
    frame = '{"type":"response.done","note":"trunkline.brain."}'
    assert take(relaying(cascade=True), UpstreamText(frame)) == [SendClient(frame)]


def test_nesting_without_end_does_not_end_the_session() -> None:
    frame = '{"trunkline.":' + "[" * 100_000
    session = relaying(cascade=True)
    take(session, ClientText(frame))
    assert not session.is_closed


@given(st.text(max_size=60) | st.text(max_size=40).map("trunkline.".__add__))
def test_no_text_of_a_client_raises_in_a_cascade(text: str) -> None:
    assert take(relaying(cascade=True), ClientText(text)) in ([SendUpstream(text)], [])


# A provider that is lost in the middle

LOST = UpstreamClosed(closing.ABNORMAL, "")
ITEM = json.dumps(
    {
        "type": "conversation.item.added",
        "item": {"id": "i1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    }
)


def speaking(memory: SessionMemory | None) -> RelaySession:
    session = relaying(memory=memory)
    play(session, UpstreamText(ITEM), UpstreamText('{"type":"response.created","response":{"id":"r1"}}'))
    return session


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 1014, 1015])
def test_a_lost_provider_is_replaced_and_the_client_keeps_its_socket(code: int) -> None:
    session = speaking(SessionMemory())
    ended, redial = take(session, UpstreamClosed(code, ""))
    assert said(ended)["type"] == "response.done"
    assert isinstance(redial, Redial)
    assert not session.is_relaying
    assert not session.is_closed
    assert take(session, UpstreamConnected()) == []
    (told,) = take(session, UpstreamText('{"type":"session.created","session":{}}'))
    assert isinstance(told, SendUpstream)
    assert json.loads(told.payload)["item"]["id"] == "i1"
    assert session.is_relaying
    assert take(session, UpstreamText(ITEM)) == []
    news = '{"type":"conversation.item.added","item":{"id":"i2","type":"message","role":"user","content":[]}}'
    assert take(session, UpstreamText(news)) == [SendClient(news)]


@pytest.mark.parametrize("code", [1000, 1005, 1008, 3000, 4000, 4004])
def test_a_provider_that_ends_the_session_on_purpose_is_not_replaced(code: int) -> None:
    assert isinstance(take(speaking(SessionMemory()), UpstreamClosed(code, ""))[-1], CloseClient)


def test_a_session_that_was_open_as_long_as_one_may_be_is_not_resumed() -> None:
    expired = UpstreamClosed(1001, "session hit the maximum duration")
    assert take(speaking(SessionMemory()), expired) == [CloseClient(1001, "session hit the maximum duration")]


def test_without_memory_a_loss_ends_the_session() -> None:
    assert take(speaking(None), LOST) == [CloseClient(1011, "upstream_broken")]


def test_the_settings_go_first_and_what_answers_them_is_not_heard_twice() -> None:
    session = relaying(memory=SessionMemory())
    update = '{"type":"session.update","session":{"type":"realtime","instructions":"Be brief."}}'
    play(
        session, ClientText(update), UpstreamText('{"type":"session.updated","session":{}}'), LOST, UpstreamConnected()
    )
    (told,) = take(session, UpstreamText('{"type":"session.created"}'))
    assert isinstance(told, SendUpstream)
    assert json.loads(told.payload)["session"]["instructions"] == "Be brief."
    assert take(session, UpstreamText('{"type":"session.updated","session":{}}')) == []
    assert session.is_relaying


def test_an_update_that_was_never_answered_is_answered_after_the_loss() -> None:
    session = relaying(memory=SessionMemory())
    play(session, ClientText('{"type":"session.update","session":{"instructions":"x"}}'), LOST, UpstreamConnected())
    take(session, UpstreamText('{"type":"session.created"}'))
    updated = '{"type":"session.updated","session":{"instructions":"x"}}'
    assert take(session, UpstreamText(updated)) == [SendClient(updated)]


def test_a_frame_that_was_on_its_way_when_the_provider_was_lost_is_told_to_the_next() -> None:
    session = relaying(memory=SessionMemory())
    take(session, LOST)
    question = '{"type":"response.create"}'
    assert take(session, ClientText(question)) == []
    take(session, UpstreamConnected())
    assert take(session, UpstreamText('{"type":"session.created"}')) == [SendUpstream(question)]


def test_a_provider_that_does_not_take_the_settings_is_passed_over() -> None:
    session = relaying(memory=SessionMemory())
    play(session, ClientText('{"type":"session.update","session":{"instructions":"x"}}'), LOST, UpstreamConnected())
    take(session, UpstreamText('{"type":"session.created"}'))
    close, redial = take(session, UpstreamText('{"type":"error","error":{"message":"no such voice"}}'))
    assert close == CloseUpstream(1000, "")
    assert redial == Redial("it did not take the session's settings: no such voice")


def test_a_second_loss_while_the_session_is_told_is_another_redial() -> None:
    session = relaying(memory=SessionMemory())
    play(session, LOST, UpstreamConnected())
    assert isinstance(take(session, LOST)[-1], Redial)


def test_when_nobody_can_go_on_the_client_is_told() -> None:
    session = relaying(memory=SessionMemory())
    take(session, LOST)
    event, close = take(session, Failed(UpstreamRefused("Nobody is there.")))
    assert said(event)["type"] == "error"
    assert close == CloseClient(1013, "server_error.upstream_refused")


@pytest.mark.parametrize("told", [[], [UpstreamConnected()]])
def test_a_client_may_leave_while_its_provider_is_replaced(told: list[Event]) -> None:
    session = relaying(memory=SessionMemory())
    play(session, LOST, *told)
    assert CloseUpstream(1000, "") in take(session, ClientClosed(1000, ""))
    assert session.is_closed


def test_a_client_whose_provider_was_lost_before_the_session_began_is_told_its_beginning() -> None:
    session = relay(memory=SessionMemory())
    play(session, UpstreamConnected(), LOST, UpstreamConnected())
    (created,) = take(session, UpstreamText(CREATED))
    assert said(created)["session"] == {"voice": "alloy"}
    assert session.is_relaying


def test_a_promised_session_that_is_lost_before_it_began_begins_with_its_settings() -> None:
    session = relay(memory=SessionMemory())
    play(session, UpstreamConnected(UPDATE), LOST, UpstreamConnected())
    (told,) = take(session, UpstreamText(CREATED))
    assert isinstance(told, SendUpstream)
    assert json.loads(told.payload)["session"] == {"instructions": "Be brief."}
    (created,) = take(session, UpstreamText(UPDATED))
    assert said(created)["type"] == "session.created"
    assert said(created)["session"] == {"voice": "alloy", "instructions": "Be brief."}


def test_a_provider_that_completes_nothing_is_not_worth_all_tries_again() -> None:
    session = relaying(memory=SessionMemory())
    (first,) = take(session, LOST)
    play(session, UpstreamConnected(), UpstreamText(CREATED))
    (second,) = take(session, LOST)
    play(session, UpstreamConnected(), UpstreamText(CREATED), UpstreamText('{"type":"response.done"}'))
    third = take(session, LOST)[-1]
    assert [isinstance(one, Redial) and one.afresh for one in (first, second, third)] == [True, False, True]


# A gateway that stops


def test_a_session_that_is_quiet_leaves_at_once() -> None:
    session = relaying(memory=SessionMemory())
    assert take(session, Leaving()) == [CloseClient(1012, "the gateway restarts"), CloseUpstream(1001, "")]


def test_a_session_finishes_its_answer_before_it_leaves() -> None:
    session = speaking(SessionMemory())
    assert take(session, Leaving()) == []
    done = '{"type":"response.done","response":{"id":"r1","status":"completed"}}'
    effects = take(session, UpstreamText(done))
    assert effects[0] == SendClient(done)
    assert CloseClient(1012, "the gateway restarts") in effects


def test_an_answer_that_cannot_be_waited_for_ends_as_failed() -> None:
    session = speaking(SessionMemory())
    take(session, Leaving())
    ended, *rest = take(session, Leaving(now=True))
    assert said(ended)["type"] == "response.done"
    assert CloseClient(1012, "the gateway restarts") in rest


# A client of the retired dialect


def test_a_client_of_the_retired_dialect_is_translated_at_its_edge() -> None:
    session = relaying(bridge=BetaBridge())
    (told,) = take(session, ClientText('{"type":"session.update","session":{"voice":"alloy"}}'))
    assert isinstance(told, SendUpstream)
    assert json.loads(told.payload)["session"]["audio"]["output"]["voice"] == "alloy"
    (heard,) = take(session, UpstreamText('{"type":"response.output_text.delta","delta":"hi"}'))
    assert said(heard) == {"type": "response.text.delta", "delta": "hi"}
    assert take(session, UpstreamText('{"type":"conversation.item.done","item":{"id":"i"}}')) == []


# Close codes


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4004, 4999]
)
def test_a_code_that_may_be_sent_is_relayed(code: int) -> None:
    assert closing.may_be_sent(code)
    assert closing.for_client(code, "why") == (code, "why")
    assert closing.for_upstream(code, "why") == (code, "why")


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_code_that_no_frame_may_carry_is_never_sent_and_is_no_clean_end(code: int) -> None:
    assert not closing.may_be_sent(code)
    assert closing.for_client(code, "why")[0] == closing.SERVER_ERROR
    assert closing.for_upstream(code, "why")[0] == closing.GOING_AWAY


@given(st.integers(0, 65535), st.text(max_size=20))
def test_whatever_arrives_what_is_sent_may_be_sent(code: int, reason: str) -> None:
    assert closing.may_be_sent(closing.for_client(code, reason)[0])
    assert closing.may_be_sent(closing.for_upstream(code, reason)[0])


@given(st.integers(0, 65535).filter(lambda code: code not in (closing.NORMAL, closing.NO_STATUS)))
def test_only_a_clean_end_is_told_as_one(code: int) -> None:
    assert closing.for_client(code, "")[0] != closing.NORMAL


@given(st.integers(0, 65535))
def test_the_codes_that_may_be_sent_are_those_the_server_can_send(code: int) -> None:
    from websockets.exceptions import ProtocolError
    from websockets.frames import Close

    try:
        Close(code, "").check()
        sendable = True
    except ProtocolError:
        sendable = False
    assert closing.may_be_sent(code) <= sendable
