"""Torture for a SIP parser, in the manner of RFC 4475: a few hundred messages, the same in every run.

Three kinds. Messages that look wrong and are right must be served (RFC 4475 §3.1.1); messages that
are wrong but tell who asks must be refused in words; noise need not be answered. What must hold for
all is that nothing breaks.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.e2e.edge.messages import CRLF, MAGIC

# Of a header: its name and value. A message is its start line, headers and body.
Header = tuple[str, str]

_SEED = 4475
_MUTANTS = 160
_LONG = 4000


class Expect(StrEnum):
    """What a message deserves."""

    SERVED = "served"  # 2xx
    REFUSED = "refused"  # 4xx, 5xx or 6xx
    NOT_SERVED = "not_served"  # refused, or too broken to be answered
    ANYTHING = "anything"  # only that nothing breaks


@dataclass(frozen=True, slots=True)
class Case:
    """One message."""

    name: str
    data: bytes
    expect: Expect


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks whom: without that an answer could not come back."""

    host: str
    port: int
    us: str
    transport: str

    @property
    def via(self) -> Header:
        branch = f"{MAGIC}torture{self.port}"
        return "Via", f"SIP/2.0/{self.transport} {self.host}:{self.port};branch={branch}"

    def headers(self, method: str = "OPTIONS") -> list[Header]:
        return [
            self.via,
            ("Max-Forwards", "70"),
            ("From", f'"Torture" <sip:torture@{self.host}>;tag=torture'),
            ("To", f"<sip:{self.us}>"),
            ("Call-ID", f"torture-{self.port}@{self.host}"),
            ("CSeq", f"1 {method}"),
            ("Contact", f"<sip:torture@{self.host}:{self.port}>"),
            ("Content-Length", "0"),
        ]

    def options(self) -> str:
        return f"OPTIONS sip:{self.us} SIP/2.0"

    def invite(self) -> str:
        # One character: no extension of the call farm, so an Asterisk that is reached says 404 by itself.
        return f"INVITE sip:1@{self.us} SIP/2.0"


def compose(start_line: str, headers: list[Header], body: str = "") -> bytes:
    lines = [start_line, *(f"{name}: {value}" for name, value in headers)]
    return (CRLF.join(lines) + CRLF * 2 + body).encode("utf-8", "surrogateescape")


def cases(senders: Iterator[Sender]) -> Iterator[Case]:
    """All of them; each is sent by a sender of its own, so that its answer can be told apart."""
    for make in (
        _valid,
        _start_lines,
        _request_uris,
        _missing,
        _header_values,
        _doubled,
        _lengths,
        _separators,
        _mutants,
        _noise,
    ):
        yield from make(senders)


def _with(headers: list[Header], name: str, value: str) -> list[Header]:
    """The headers with one value replaced, or added at the end."""
    if any(name == present for present, _ in headers):
        return [(key, value if key == name else old) for key, old in headers]
    return [*headers, (name, value)]


def _without(headers: list[Header], name: str) -> list[Header]:
    return [(key, value) for key, value in headers if key != name]


def _valid(senders: Iterator[Sender]) -> Iterator[Case]:
    """Strange but right."""

    def case(name: str, sender: Sender, data: bytes) -> Case:
        return Case(f"valid {name}", data, Expect.SERVED)

    for name, extra in (
        ("unknown header", ("X-Unknown", "whatever; a=b, c")),
        ("empty header", ("Subject", "")),
        ("long header", ("Subject", "x" * _LONG)),
        ("utf-8", ("Subject", "Ünïcödé 電話 ☎")),
        ("tabs", ("Subject", "\t a \t b")),
        ("folded", ("Subject", "first\r\n  second\r\n\tthird")),
        ("unknown option", ("Require", "nothing-we-know")),
        ("unknown content", ("Accept", "text/nobody-knows-the-type")),
        ("unknown scheme", ("Authorization", "NoOneKnows opaque-data=here")),
        ("expires too large", ("Expires", "4294967295")),
        ("star in Warning", ("Warning", '399 * "overload"')),
        ("bad date", ("Date", "Fri, 01 Jan 2010 16:00:00 EST")),
        ("many parameters", ("X-Many", ";".join(f"p{n}=v{n}" for n in range(200)))),
    ):
        sender = next(senders)
        yield case(name, sender, compose(sender.options(), [*sender.headers(), extra]))
    sender = next(senders)
    many = [(f"X-Header-{n}", "value") for n in range(300)]
    yield case("many headers", sender, compose(sender.options(), sender.headers() + many))
    sender = next(senders)
    via = ("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKold")
    yield case(
        "many vias",
        sender,
        compose(sender.options(), [sender.via, *[via] * 60, *sender.headers()[1:]]),
    )
    sender = next(senders)
    head = [(name.upper(), value) for name, value in sender.headers()]
    yield case("upper case", sender, compose(sender.options(), head))
    sender = next(senders)
    short = {
        "Via": "v",
        "From": "f",
        "To": "t",
        "Call-ID": "i",
        "Contact": "m",
        "Content-Length": "l",
    }
    head = [(short.get(name, name), value) for name, value in sender.headers()]
    yield case("compact forms", sender, compose(sender.options(), head))
    sender = next(senders)
    head = [(f"{name}  ", f"   {value}") for name, value in sender.headers()]
    yield case("space around colons", sender, compose(sender.options(), head))
    sender = next(senders)
    yield case(
        "empty lines before", sender, b"\r\n\r\n" + compose(sender.options(), sender.headers())
    )
    for name, header, value in (
        ("no space before angle", "From", '"Quoted \\"inside\\""<sip:a@{host}>;tag=x'),
        ("token display name", "From", "token.name <sip:a@{host}>;tag=x"),
        ("address without angles", "From", "sip:a@{host};tag=x"),
        ("escaped user", "From", "<sip:%61%6c%69ce%00@{host}>;tag=x"),
        ("parameters in user", "From", "<sip:a;p=1;q=%22@{host}>;tag=x"),
        ("tel in From", "From", "<tel:+15550100>;tag=x"),
        ("odd characters in tag", "From", "<sip:a@{host}>;tag=.!%*_+`'~-"),
        ("odd characters in Call-ID", "Call-ID", '{port}(a)<b>:/[c]?{{d}}"e"'),
        ("IPv6 in Contact", "Contact", "<sip:a@[2001:db8::1]:5060>"),
        ("two contacts", "Contact", "<sip:a@{host}>, <sip:b@{host}>;q=0.5"),
        ("largest CSeq", "CSeq", "2147483647 OPTIONS"),
        ("space in CSeq", "CSeq", "1   OPTIONS"),
        ("zero in front of CSeq", "CSeq", "0000001 OPTIONS"),
        ("space in Content-Length", "Content-Length", "  0  "),
        ("zeros in Content-Length", "Content-Length", "00000"),
        ("largest Max-Forwards", "Max-Forwards", "255"),
        ("parameters in Via", "Via", "SIP/2.0/UDP {host}:{port};a;b=c;branch=z9hG4bK{port};ttl=1"),
        ("space in Via", "Via", "SIP / 2.0 / UDP {host} : {port} ; branch = z9hG4bK{port}"),
        ("only the cookie", "Via", "SIP/2.0/UDP {host}:{port};branch=z9hG4bK"),
        ("no cookie", "Via", "SIP/2.0/UDP {host}:{port};branch=old-{port}"),
        (
            "two vias in a line",
            "Via",
            "SIP/2.0/UDP {host}:{port};branch=z9hG4bK1, SIP/2.0/TCP x;branch=z",
        ),
    ):
        sender = next(senders)
        text = value.format(host=sender.host, port=sender.port)
        yield case(name, sender, compose(sender.options(), _with(sender.headers(), header, text)))


def _start_lines(senders: Iterator[Sender]) -> Iterator[Case]:
    for line, expect in (
        ("OPTIONS sip:{us} SIP/7.0", Expect.NOT_SERVED),
        ("OPTIONS sip:{us} SIP/2", Expect.NOT_SERVED),
        ("OPTIONS sip:{us} HTTP/1.1", Expect.NOT_SERVED),
        ("OPTIONS sip:{us}", Expect.NOT_SERVED),
        ("OPTIONS  sip:{us} SIP/2.0", Expect.NOT_SERVED),
        ("OPTIONS sip:{us}  SIP/2.0", Expect.ANYTHING),
        ("OPTIONS sip:{us} SIP/2.0 ", Expect.ANYTHING),
        (" OPTIONS sip:{us} SIP/2.0", Expect.ANYTHING),
        ("OPTIONS <sip:{us}> SIP/2.0", Expect.REFUSED),
        ("OPTIONS\tsip:{us}\tSIP/2.0", Expect.NOT_SERVED),
        ("OPTIONS SIP/2.0", Expect.NOT_SERVED),
        ("OPTIONS", Expect.NOT_SERVED),
        ("SIP/2.0", Expect.NOT_SERVED),
        ("", Expect.NOT_SERVED),
        ("\x00\x01\x02 sip:{us} SIP/2.0", Expect.NOT_SERVED),
        ("RE%47IST%45R sip:{us} SIP/2.0", Expect.NOT_SERVED),
        ("!interesting-Method0123456789_*+`.%indeed'~ sip:{us} SIP/2.0", Expect.NOT_SERVED),
        ("X" * 600 + " sip:{us} SIP/2.0", Expect.NOT_SERVED),
        ("options sip:{us} SIP/2.0", Expect.NOT_SERVED),
        ("GET / HTTP/1.1", Expect.NOT_SERVED),
        ("SIP/2.0 200 OK", Expect.NOT_SERVED),
        ("SIP/2.0 99 Low", Expect.NOT_SERVED),
        ("SIP/2.0 4294967301 Overflow", Expect.NOT_SERVED),
        ("SIP/2.0 -1 Negative", Expect.NOT_SERVED),
        ("SIP/2.0 200", Expect.NOT_SERVED),
        ("SIP/2.0 200 ", Expect.NOT_SERVED),
        ("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять", Expect.NOT_SERVED),
    ):
        sender = next(senders)
        text = line.format(us=sender.us)
        yield Case(f"start line {text[:40]!r}", compose(text, sender.headers()), expect)


def _request_uris(senders: Iterator[Sender]) -> Iterator[Case]:
    for uri, expect in (
        ("sip:a@192.0.2.1", Expect.REFUSED),
        ("sip:", Expect.REFUSED),
        ("sip:@", Expect.REFUSED),
        ("sip:a@", Expect.REFUSED),
        ("sip:@{us}", Expect.REFUSED),
        ("sip:a@b@{us}", Expect.REFUSED),
        ("sip:{us}:notaport", Expect.REFUSED),
        ("sip:{us}:99999", Expect.REFUSED),
        ("sip:{us}:-1", Expect.REFUSED),
        ("sip:{us};;;", Expect.ANYTHING),
        ("sip:{us};transport=", Expect.ANYTHING),
        ("sip:{us};transport=carrier-pigeon", Expect.ANYTHING),
        ("sip:{us}?Route=%3Csip:192.0.2.1%3E", Expect.ANYTHING),
        ("sip:{us};maddr=192.0.2.1", Expect.ANYTHING),
        ("sip:[::1", Expect.REFUSED),
        ("sip:[2001:db8::1]", Expect.REFUSED),
        ("sip:1.2.3.4.5", Expect.REFUSED),
        ("sip:256.256.256.256", Expect.REFUSED),
        ("sip:%00@{us}", Expect.ANYTHING),
        ("sip:a%zz@{us}", Expect.ANYTHING),
        ("sip:a b@{us}", Expect.NOT_SERVED),
        ('sip:"a"@{us}', Expect.ANYTHING),
        ("sip:" + "a" * _LONG + "@{us}", Expect.ANYTHING),
        ("sip:a@" + "b" * _LONG, Expect.REFUSED),
        ("sip:{us};" + "p" * _LONG, Expect.ANYTHING),
        ("soap.beep://192.0.2.103:3002", Expect.REFUSED),
        ("name:John_Smith", Expect.REFUSED),
        ("http://{us}/", Expect.REFUSED),
        ("urn:service:sos", Expect.REFUSED),
        ("tel:", Expect.REFUSED),
        ("tel:+1;phone-context", Expect.REFUSED),
        ("*", Expect.REFUSED),
        ("/", Expect.REFUSED),
        (":", Expect.REFUSED),
        ("SIP:{us}", Expect.SERVED),
        ("電話", Expect.NOT_SERVED),
    ):
        sender = next(senders)
        text = uri.format(us=sender.us)
        line = f"OPTIONS {text} SIP/2.0"
        yield Case(f"request uri {text[:40]!r}", compose(line, sender.headers()), expect)


def _missing(senders: Iterator[Sender]) -> Iterator[Case]:
    """RFC 4475 §3.3.1, and each mandatory header of RFC 3261 §8.1.1 by itself.

    Without From, To, Call-ID or CSeq an answer could not be written (RFC 3261 §8.2.6.2), so silence is as good.
    """
    for name, expect in (
        ("Via", Expect.NOT_SERVED),
        ("From", Expect.NOT_SERVED),
        ("To", Expect.NOT_SERVED),
        ("Call-ID", Expect.NOT_SERVED),
        ("CSeq", Expect.NOT_SERVED),
        ("Max-Forwards", Expect.SERVED),
        ("Contact", Expect.SERVED),
        ("Content-Length", Expect.SERVED),
    ):
        for start, method in (("options", "OPTIONS"), ("invite", "INVITE")):
            sender = next(senders)
            line = sender.options() if start == "options" else sender.invite()
            headers = _without(sender.headers(method), name)
            # An INVITE that is good enough goes on, to where it is not for the edge to answer.
            wanted = Expect.ANYTHING if start == "invite" and expect is Expect.SERVED else expect
            if name == "Content-Length" and sender.transport == "TCP":
                wanted = Expect.NOT_SERVED
            yield Case(f"{start} without {name}", compose(line, headers), wanted)
    sender = next(senders)
    yield Case("no headers", compose(sender.options(), []), Expect.NOT_SERVED)
    sender = next(senders)
    yield Case("only Via", compose(sender.options(), [sender.via]), Expect.NOT_SERVED)


_BAD_VALUES: dict[str, list[tuple[str, Expect]]] = {
    "Via": [
        ("", Expect.NOT_SERVED),
        (";;,;,,", Expect.NOT_SERVED),
        ("SIP/2.0/UDP", Expect.NOT_SERVED),
        ("SIP/2.0/UDP ;branch=z9hG4bKx", Expect.NOT_SERVED),
        ("SIP/2.0/UDP {host}:port;branch=z9hG4bKx", Expect.NOT_SERVED),
        ("SIP/2.0/UDP {host}:99999;branch=z9hG4bKx", Expect.NOT_SERVED),
        ("SIP/2.0/CARRIER-PIGEON {host}:{port};branch=z9hG4bKx", Expect.ANYTHING),
        ("SIP/3.0/UDP {host}:{port};branch=z9hG4bKx", Expect.ANYTHING),
        ("SIP/2.0/UDP [::1:{port};branch=z9hG4bKx", Expect.NOT_SERVED),
        ("SIP/2.0/UDP 192.0.2.15;;,;,,", Expect.NOT_SERVED),
        ("SIP/2.0/UDP {host}:{port};branch=" + "b" * _LONG, Expect.ANYTHING),
        ('SIP/2.0/UDP {host}:{port};branch="unterminated', Expect.NOT_SERVED),
        ("SIP/2.0/UDP {host}:{port};received=256.1.1.1;branch=z9hG4bKx", Expect.ANYTHING),
        ("SIP/2.0/UDP {host}:{port};rport=99999999999;branch=z9hG4bKx", Expect.ANYTHING),
        ("SIP/2.0/UDP {host}:{port};maddr={host};branch=z9hG4bKx", Expect.ANYTHING),
    ],
    "Max-Forwards": [
        ("0", Expect.REFUSED),
        ("-1", Expect.NOT_SERVED),
        ("many", Expect.NOT_SERVED),
        ("", Expect.NOT_SERVED),
        ("99999999999999999999", Expect.ANYTHING),
        ("70 70", Expect.ANYTHING),
    ],
    "From": [
        ("", Expect.NOT_SERVED),
        ('"unterminated <sip:a@{host}>;tag=x', Expect.NOT_SERVED),
        ("<sip:a@{host};tag=x", Expect.NOT_SERVED),
        ("sip:a@{host}>;tag=x", Expect.ANYTHING),
        ("<>;tag=x", Expect.NOT_SERVED),
        ("a b c", Expect.NOT_SERVED),
        ("Bell, Alexander <sip:a@{host}>;tag=x", Expect.ANYTHING),
        ("<sip:a@{host}>;tag=x;tag=y", Expect.ANYTHING),
        ("<sip:a@{host}>", Expect.ANYTHING),
        ("<sip:a@{host}>;tag=", Expect.ANYTHING),
        ("<sip:" + "a" * _LONG + "@{host}>;tag=x", Expect.ANYTHING),
        ("<sip:a@{host}>;tag=" + "t" * _LONG, Expect.ANYTHING),
        ("\x00\x01\x02", Expect.NOT_SERVED),
        ("<sip:\udcff\udcfe@{host}>;tag=x", Expect.ANYTHING),
    ],
    "To": [
        ("", Expect.NOT_SERVED),
        ('"Mr. J. User <sip:j.user@example.com> <realm>', Expect.NOT_SERVED),
        ("<sip:a@{host}", Expect.NOT_SERVED),
        ("isbn:2983792873", Expect.ANYTHING),
        ("<nobodyknows:about@it>", Expect.REFUSED),
        (">", Expect.NOT_SERVED),
        ("<sip:a@{host}>;tag=x;tag=y", Expect.ANYTHING),
    ],
    "Call-ID": [
        ("", Expect.NOT_SERVED),
        (" ", Expect.NOT_SERVED),
        ("c" * _LONG, Expect.ANYTHING),
        ("\udcff\udcfe\udc80", Expect.ANYTHING),
    ],
    "CSeq": [
        ("", Expect.NOT_SERVED),
        ("OPTIONS", Expect.NOT_SERVED),
        ("1", Expect.NOT_SERVED),
        ("-1 OPTIONS", Expect.NOT_SERVED),
        ("4294967296 OPTIONS", Expect.ANYTHING),
        ("36893488147419103232 OPTIONS", Expect.REFUSED),
        ("0x10 OPTIONS", Expect.NOT_SERVED),
        ("one OPTIONS", Expect.NOT_SERVED),
        ("1 INVITE", Expect.REFUSED),
        ("1 NEWMETHOD", Expect.REFUSED),
        ("1 OPTIONS OPTIONS", Expect.ANYTHING),
        ("8 8 OPTIONS", Expect.NOT_SERVED),
    ],
    "Contact": [
        ("", Expect.NOT_SERVED),
        ("*", Expect.ANYTHING),
        ('"unterminated <sip:a@{host}>', Expect.NOT_SERVED),
        ("<sip:a@{host}", Expect.NOT_SERVED),
        ("<sip:a@{host}>;q=17;expires=-1", Expect.ANYTHING),
        (",,,", Expect.NOT_SERVED),
    ],
    "Content-Type": [
        ("", Expect.ANYTHING),
        ("application", Expect.ANYTHING),
        ("/;=/", Expect.ANYTHING),
        ("multipart/mixed;boundary=", Expect.ANYTHING),
    ],
    "Expires": [
        ("-1", Expect.REFUSED),
        ("soon", Expect.REFUSED),
        ("99999999999999999999", Expect.ANYTHING),
    ],
    "Proxy-Require": [
        ("nothing-we-know", Expect.REFUSED),
        ("", Expect.ANYTHING),
        (",", Expect.ANYTHING),
    ],
    "Route": [
        ("<sip:{us};lr", Expect.ANYTHING),
        ("<>", Expect.ANYTHING),
        (",,,", Expect.ANYTHING),
        ("<sip:192.0.2.1;lr>", Expect.ANYTHING),
    ],
    "Record-Route": [("<", Expect.ANYTHING), ("", Expect.ANYTHING)],
    "Authorization": [
        ("Digest", Expect.ANYTHING),
        ('Digest username="', Expect.ANYTHING),
        ("Digest " + "x=y," * 400, Expect.ANYTHING),
    ],
    "Timestamp": [("not a number", Expect.ANYTHING)],
}


def _header_values(senders: Iterator[Sender]) -> Iterator[Case]:
    for name, values in _BAD_VALUES.items():
        for value, expect in values:
            sender = next(senders)
            text = value.format(host=sender.host, port=sender.port, us=sender.us)
            headers = _with(sender.headers(), name, text)
            yield Case(f"{name}: {text[:40]!r}", compose(sender.options(), headers), expect)
            if name in ("Route", "Contact", "From", "To", "Content-Type"):
                sender = next(senders)
                text = value.format(host=sender.host, port=sender.port, us=sender.us)
                headers = _with(sender.headers("INVITE"), name, text)
                wanted = Expect.ANYTHING
                yield Case(
                    f"invite {name}: {text[:40]!r}", compose(sender.invite(), headers), wanted
                )


def _doubled(senders: Iterator[Sender]) -> Iterator[Case]:
    """RFC 4475 §3.3.8: which of two is meant is anybody's guess."""
    for name in ("From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Contact"):
        sender = next(senders)
        headers = sender.headers()
        again = next(value for key, value in headers if key == name)
        yield Case(
            f"two of {name}", compose(sender.options(), [*headers, (name, again)]), Expect.ANYTHING
        )
        sender = next(senders)
        other = [*sender.headers(), (name, "5 INVITE" if name == "CSeq" else "<sip:other@x>;tag=o")]
        yield Case(f"two different {name}", compose(sender.options(), other), Expect.ANYTHING)


def _lengths(senders: Iterator[Sender]) -> Iterator[Case]:
    """RFC 4475 §3.1.2.2 and §3.1.2.3."""
    sender = next(senders)
    # RFC 3261 §18.3: of a stream, the rest is the next message. A datagram has no next; we are strict there.
    expect = Expect.REFUSED if sender.transport == "UDP" else Expect.SERVED
    extra = compose(sender.options(), sender.headers(), "extra")
    yield Case("more than the length says", extra, expect)
    for value, body, expect in (
        ("9999", "v=0\r\n", Expect.REFUSED),
        ("1", "", Expect.REFUSED),
        ("-999", "v=0\r\n", Expect.NOT_SERVED),
        ("4294967296", "", Expect.NOT_SERVED),
        ("99999999999999999999999", "", Expect.NOT_SERVED),
        ("abc", "", Expect.NOT_SERVED),
        ("", "", Expect.NOT_SERVED),
        ("0x10", "v=0\r\n", Expect.ANYTHING),
        ("3", "v=0\r\no=\r\n", Expect.ANYTHING),
    ):
        for start, method in (("options", "OPTIONS"), ("invite", "INVITE")):
            sender = next(senders)
            headers = _with(sender.headers(method), "Content-Length", value)
            if start == "invite":
                headers.append(("Content-Type", "application/sdp"))
            line = sender.options() if start == "options" else sender.invite()
            wanted = expect if start == "options" else Expect.ANYTHING
            yield Case(f"{start} length {value!r}", compose(line, headers, body), wanted)
    for body in (
        "\x00" * 200,
        "v=0\r\nm=audio",
        "v=0\r\nm=audio 99999 RTP/AVP 0\r\nc=IN IP4 999.1.1.1\r\n",
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 9 RTP/AVP"
        + " 0" * 300
        + "\r\n",
        "v=0\r\n" + "a=x\r\n" * 2000,
        "v=0\nm=audio 1 RTP/AVP 0\n",
        "m=audio 0 RTP/AVP\r\n" * 100,
    ):
        sender = next(senders)
        headers = _with(sender.headers("INVITE"), "Content-Length", str(len(body.encode())))
        headers.append(("Content-Type", "application/sdp"))
        yield Case(f"sdp {body[:30]!r}", compose(sender.invite(), headers, body), Expect.ANYTHING)


def _separators(senders: Iterator[Sender]) -> Iterator[Case]:
    """Wrong line ends, messages cut short, lines that are no headers."""

    def whole(sender: Sender) -> bytes:
        return compose(sender.options(), sender.headers())

    sender = next(senders)
    yield Case("line feeds only", whole(sender).replace(b"\r\n", b"\n"), Expect.ANYTHING)
    sender = next(senders)
    yield Case("carriage returns only", whole(sender).replace(b"\r\n", b"\r"), Expect.NOT_SERVED)
    sender = next(senders)
    yield Case("no empty line", whole(sender)[:-2], Expect.ANYTHING)
    sender = next(senders)
    yield Case("no line end at all", whole(sender)[:-4], Expect.ANYTHING)
    sender = next(senders)
    yield Case("line without colon", whole(sender)[:-2] + b"nonsense\r\n\r\n", Expect.NOT_SERVED)
    sender = next(senders)
    yield Case("line with only a colon", whole(sender)[:-2] + b":\r\n\r\n", Expect.ANYTHING)
    sender = next(senders)
    yield Case(
        "begins folded", whole(sender).replace(b"\r\nVia", b"\r\n Via", 1), Expect.NOT_SERVED
    )
    sender = next(senders)
    yield Case("zeros between", whole(sender).replace(b"\r\n", b"\x00\r\n"), Expect.ANYTHING)
    for part in range(1, 20):
        sender = next(senders)
        data = whole(sender)
        cut = data[: len(data) * part // 20]
        yield Case(f"cut after {len(cut)}", cut, Expect.ANYTHING)
    sender = next(senders)
    filling = [("X-Filling", "f" * 1000)] * 60
    big = compose(sender.options(), sender.headers() + filling)
    yield Case("nearly 64 KiB", big, Expect.ANYTHING)


def _mutants(senders: Iterator[Sender]) -> Iterator[Case]:
    """A good message with a few octets changed, dropped, doubled or moved."""
    chance = random.Random(_SEED)
    for number in range(_MUTANTS):
        sender = next(senders)
        start, method = chance.choice(((sender.options(), "OPTIONS"), (sender.invite(), "INVITE")))
        data = bytearray(compose(start, sender.headers(method)))
        for _ in range(chance.randint(1, 6)):
            _mutate(data, chance)
        yield Case(f"mutant {number}", bytes(data), Expect.ANYTHING)


def _mutate(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data))
    match chance.randrange(5):
        case 0:
            data[place] = chance.randrange(256)
        case 1:
            del data[place : place + chance.randint(1, 20)]
        case 2:
            data[place:place] = data[place : place + chance.randint(1, 60)]
        case 3:
            data[place:place] = chance.choice((b"\r\n", b"\x00", b";;", b'"', b"<<>>", b"%", b",,"))
        case _:
            data[place:place] = chance.randbytes(chance.randint(1, 12))


def _noise(senders: Iterator[Sender]) -> Iterator[Case]:
    """What is not SIP at all, and yet arrives at every SIP port."""
    chance = random.Random(_SEED)
    for name, data in (
        ("nothing", b""),
        ("one octet", b"\x00"),
        ("keepalive", b"\r\n\r\n"),
        ("zeros", b"\x00" * 500),
        ("ones", b"\xff" * 500),
        ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 100),
        ("STUN", b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"\x07" * 12),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"),
        ("RTP", b"\x80\x00\x00\x01\x00\x00\x00\xa0\x00\x00\x00\x01" + b"\xff" * 160),
        ("NG", b"0 d7:command4:pinge"),
        *((f"random {number}", chance.randbytes(200 + 40 * number)) for number in range(20)),
    ):
        next(senders)
        yield Case(f"noise {name}", data, Expect.ANYTHING)
