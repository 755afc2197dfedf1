"""Forms are read where there is one way to read them."""

from __future__ import annotations

import pytest

from trunkline.wire.forms import UnreadableForm, fields

KIND = "multipart/form-data; boundary=b"
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\nContent-Transfer-Encoding: binary\r\n\r\nRI\r\nFF\r\n\r\n--b--\r\n"
)
FIELDS = [("model", b"whisper-1"), ("file", b"RI\r\nFF\r\n")]


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (KIND, FORM),
        (KIND, FORM.removesuffix(b"\r\n")),
        ('Multipart/Form-Data;charset="utf-8";  Boundary="b"', FORM),
        ('multipart/form-data; boundary="----x\'()+_,./:=?"', FORM.replace(b"--b", b"------x'()+_,./:=?")),
        (KIND, FORM.replace(b'"model"', b"model").replace(b"Content-Disposition", b"content-disposition")),
    ],
)
def test_the_fields_of_a_form_are_read_files_among_them(kind: str, form: bytes) -> None:
    if kind.endswith("?"):
        kind = kind.replace("----x'()+_,./:=?", '"----x\'()+_,./:=?"')
    assert fields(kind, form) == FIELDS


def test_a_form_may_have_a_name_twice_and_nothing_in_a_field() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\n\r\n'
    assert fields(KIND, part + part + b"--b--") == [("n", b""), ("n", b"")]
    assert fields(KIND, b"--b--") == []


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "multipart/form-data",
        "multipart/mixed; boundary=b",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=b; boundary*=a",
        "multipart/form-data; boundary*0=b",
        'multipart/form-data; boundary="b',
        'multipart/form-data; boundary="\\b"',
        'multipart/form-data; boundary="b "',
        'multipart/form-data; x="; boundary=b"',
        "multipart/form-data, boundary=b",
        f"multipart/form-data; boundary={'b' * 71}",
    ],
)
def test_trap_a_type_that_names_no_boundary_or_more_than_one_is_not_read(kind: str) -> None:
    with pytest.raises(UnreadableForm):
        fields(kind, FORM)


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"--b",
        b"before\r\n" + FORM,
        FORM + b"behind",
        FORM.removesuffix(b"--b--\r\n"),
        FORM.replace(b"\r\n", b"\n"),
        FORM.replace(b"RI", b"RI\n--b"),
        FORM.replace(b"RI", b"RI\r\n--bc"),
        FORM.replace(b"--b\r\n", b"--b \r\n"),
        FORM.replace(b'; name="model"', b';\r\n name="model"'),
        FORM.replace(b'; name="model"', b' ; name = "model"'),
        FORM.replace(b'"model"', b'"mo\\del"'),
        FORM.replace(b'name="model"', b'name="x"; name="model"'),
        FORM.replace(b'name="model"', b"name=\"x\"; name*=utf-8''model"),
        FORM.replace(b'name="model"', b"name*=utf-8''model"),
        FORM.replace(b'name="model"', b'filename="model"'),
        FORM.replace(b"form-data; ", b"attachment; "),
        FORM.replace(b"\r\n\r\nwhisper", b'\r\nContent-Disposition: form-data; name="x"\r\n\r\nwhisper'),
        FORM.replace(b"Content-Disposition", b"Content-Disposition "),
        FORM.replace(b"\r\n\r\nwhisper", b"\r\nX: a\nContent-Disposition: b\r\n\r\nwhisper"),
        FORM.replace(b"binary", b"base64"),
        FORM.replace(b"\r\n\r\nwhisper", b"\r\nwhisper"),
    ],
)
def test_trap_a_form_that_others_may_read_otherwise_is_not_read(form: bytes) -> None:
    with pytest.raises(UnreadableForm):
        fields(KIND, form)
