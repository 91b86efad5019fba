"""Strings, bodies and heads that have broken other programs."""

from __future__ import annotations

import json
import random

BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"
INVISIBLE = "\u00ad\u034f\u115f\u180e\u200b\u200c\u200d\u2060\u2061\u3164\ufe0f\ufeff\uffa0"

STRINGS: list[str] = [
    # Nothing, and almost nothing
    "", " ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u2029", "\u0085", ".", "..", "-", "_", "0",
    # Words that are values elsewhere
    "null", "NULL", "None", "nil", "undefined", "NaN", "Infinity", "-Infinity", "true", "false", "[object Object]",
    "constructor", "__proto__", "hasOwnProperty", "CON", "NUL", "aux.txt",
    # Numbers
    "1", "-1", "+1", "1.0", "1e309", "-1e309", "0x10", "1_000", "00", "٣", "½", "2147483648", "-2147483649",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 400,
    # Addresses
    "@", "a@", "@b", "a@b", "a@@b.example", "a@b@c.example", "a b@c.example", "a@b..example", ".a@b.example",
    "a.@b.example", "a@-b.example", "a@b.example.", '"a b"@c.example', '"a\\"@b"@c.example', "a@[127.0.0.1]",
    "a@[IPv6:::1]", "a@xn--a.example", "a@xn--80ak6aa92e.com", "ä@ö.example", "用户@例子.example", "مثال@مثال.example",
    "a@b.example\r\nBcc: c@d.example", "<a@b.example>", "A <a@b.example>", "a@b.example,c@d.example", "mailto:a@b.example",
    "a\uff20b.example", "a\ufe6bb.example", "ａ@ｂ.example", "a@b\u3002example", "a\u0000@b.example", "a@b.exa\u200dmple",
    "a+b@c.example", "a/../b@c.example", "ß@ß.example", "ſ@K.example", "İ@İ.example", "a" * 64 + "@b.example",
    "a" * 65 + "@b.example", "a@" + "b" * 63 + ".example", "a@" + "b" * 64 + ".example", "a@" + "b." * 120 + "example",
    "a@" + ".".join(["xn--" + "a" * 50] * 4),
    # SQL, LIKE
    "'", "''", "\"", "`", "' or '1'='1", "'; drop table users; --", "1; select pg_sleep(9)", "%", "_", "%%%%", "\\", "\\\\",
    "a\\%b", "$1", "?", ":name", "/* */", "admin'--", "[a-z]", "*", "E'\\x00'",
    # HTML, templates, formats, shells, logs
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "]]>", "<!--", "&lt;", "&#0;",
    "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{0}", "{}", "{:?}", "%s%s%s%n", "%d", "%x" * 30, "%00", "%0d%0a", "%ff",
    "%252e", "$(id)", "`id`", "| id", "; id", "&& id", "${jndi:ldap://127.0.0.1/a}", "../../../../etc/passwd",
    "..\\..\\windows\\win.ini", "file:///etc/passwd", "http://169.254.169.254/", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "a\nlevel=error msg=forged", '{"level":"info"}',
    # Unicode
    "\ufeff", "\ufffe", "\uffff", "\ufffd", "\U0010ffff", "\ud7ff", "\ue000", "\x7f", "\x80", "\x9f", "\u0000", "a\u0000b",
    "é", "e\u0301", "Å", "\u212b", "ﬁ", "ﷺ", "Z" + "\u0310\u0334\u0489" * 60, "\u0301", "각", "\u1112\u1161\u11ab", "🏳️‍🌈",
    "👩‍👩‍👧‍👦", "👍🏿", "🇸🇦", "🫠" * 50, "مرحبا بالعالم", "שלום", "ሰላም", "สวัสดี", "日本語テキスト", "Ṱ̺̺̕o͞ ̷i̲̬n̝̗v", "\u202eevil\u202c",
    "\u2066a\u2069", "a\u200bb", "\u3164", "\u115f", "ı", "ǅ", "ς", "ꟿ",
    # Tokens
    "Bearer", "Bearer a.b.c", "a.b.c", "..", "...", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "e30.e30.e30",
    # Long
    "a" * 255, "a" * 256, "a" * 1024, "a" * 1025, "é" * 1024, "a" * 8193, "a" * 60_000, "🫠" * 10_000, " " * 60_000,
    "a@" * 20_000, "\u0301" * 20_000,
]  # fmt: skip


def generated(seed: int, count: int) -> list[str]:
    """Mixtures of what the list has one by one: every control, bidi and invisible character in any place."""
    source = random.Random(seed)
    controls = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
    pieces = [*controls, *BIDI, *INVISIBLE, *"aZ0@.-'\"<>&%\\/ éßıمشא字🫠", "e\u0301", "\uff20", "\U000e0041", "\U000f0000"]
    every_single = [f"a{character}@b.example" for character in (*controls, *BIDI, *INVISIBLE)]
    return every_single + ["".join(source.choices(pieces, k=source.randint(1, 40))) for _ in range(count)]


# Values that are no strings at all, as JSON text.
JSON_VALUES = [
    "null", "true", "false", "0", "-0", "-1", "1.5", "1e400", "-1e400", "1E-400", "123456789012345678901234567890", "9" * 5000,
    "[]", "{}", "[[]]", '[""]', '["a@b.example"]', '{"a":1}', '{"$ne":null}', '{"":""}',
    '"\\ud800"', '"\\udfff"', '"\\ud800\\ud800"', '"a\\udc00b"', '"\\u0000"', '"\\u202e"', '"\\ufffe"', '"\\ud83d\\ude00"',
]  # fmt: skip


def raw_bodies() -> list[bytes]:
    """Bodies that are broken as a whole, whatever the endpoint."""
    # A deep nesting has to be small enough to be read at all, and again too large to be read.
    return [
        b"", b" ", b"\n", b"null", b"true", b"0", b'""', b"[]", b"[{}]", b"{", b"}", b"{{}}", b"{}{}", b"{},", b"{} x", b"[", b"]",
        b'{"email"}', b'{"email":}', b'{"email":"a@b.example",}', b"{'email':'a'}", b"{email:1}", b'{"a":1,"a":2}',
        b'{"email":"a@b.example","email":"c@d.example","password":"kx7-Quarz"}', b'{"email":"a@b.example"', b'{"email":"a',
        b'{"email":"\\x41"}', b'{"email":"\\u12"}', b'{"email":"\\ud800"}', b'{"\\ud800":1}', b'{"email":"\t"}', b'{"email":"\x00"}',
        b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\xfe\xff\x00{\x00}", b"\x00", b"\x00" * 1000, b"\xff" * 100, b'{"email":"\xff"}',
        b'{"email":"\xc0\xaf"}', b'{"email":"\xed\xa0\x80"}', b'{"email":"\xf4\x90\x80\x80"}', b'{"\xff":1}', b'{"email":"a\xe2\x80"}',
        b"email=a%40b.example&password=kx7-Quarz", b"<xml/>", b"--b\r\n\r\n--b--", b"\x1f\x8b\x08\x00", b"NaN", b"Infinity", b"-", b"1e",
        b"{" * 30_000, b"[" * 30_000, b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 12_000 + b"1" + b"}" * 12_000,
        b"[" * 100_000, b'{"email":' + b"[" * 30_000 + b"]" * 30_000 + b"}", b'{"email":"' + b"a" * 65_000 + b'"}',
        b'{"email":"' + b"a" * 70_000 + b'"}', b" " * 65_536 + b"{}", b" " * 60_000 + b"{}", b'{"email":' + b"9" * 60_000 + b"}",
        b'{"__proto__":{"role":"admin"}}', b'{"role":"admin"}', b'{"":""}',
        json.dumps({f"field_{number}": number for number in range(3000)}).encode(),
    ]  # fmt: skip
