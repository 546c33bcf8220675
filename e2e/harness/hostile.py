"""What hostile clients send, to try one by one or to draw from."""

#: What x-amz-tagging can hold. On 16 and 18 a key that is there twice makes `pairs` endless, and one with a NUL in it
#: aborts radosgw.
TAGGINGS = (
    *("a=1", "a=1&a=2", "a=1&a=2&b=3", "b=1&a=1&a=1&a=1", "=&=", "=v", "&", "a=1&&b=2", "a", "a=1=2", "K=1&k=1"),
    *("%00=%00", "%00=%00&%00=x", "a%00b=1&a=2", "a%00=1", "a%00=1&a=2&b=3", "k=%0d%0a&k=%00", "a=%00"),
    *("%ff=%fe", "%ff=1&%ff=2", "a%zz=1", "a=%3Cx%3E&a=%26", "a+b=1+2", "k" * 128 + "=" + "v" * 256),
    *("&".join(f"{key}={n}" for n in range(count)) for key, count in (("k", 10), ("k", 11))),
    *("&".join(f"k{n}={n}" for n in range(count)) for count in (10, 11)),
)
#: The characters that mean something to NATS, HTTP, RGW or the escaping, and some that mean nothing.
LETTERS = [b".", b"*", b">", b"%", b"$", b"/", b"-", b" ", b"\t", b"\r", b"\n", b"\0", b"\x7f", b"\xff", b"\xc3\xa9"]
LETTERS += [b"a", b"Z", b"9", b"~", b"#", b"?", b"&", b"+", b"=", b'"', b"\\", b"{key}", b"\xe2\x80\xa8", b"\xc2\x85"]
KEYS = [
    *(b"plain", b"a.b/c d", b"..", b".", b"../x", b"//a//b/", b"/", b"-", b"a/-/b", b"$JS/API/>", b"$SYS", b"_INBOX/x"),
    *(b"%41", b"%", b"a\r\nPUB x 1\r\n", b"\r\nb", b"\t", b" ", b"\x01\x1f\x7f", b"{key}", b">", b"*", b"a.*.>"),
    *("größe/\u2028\u00a0\u0085\u200b\ufeff".encode(), b"a\0b", b"\0", b"\xff", b"a\xc0\x80", b"\xed\xa0\x80"),
    *(b"x" * 1024, b"." * 1024, b"/" * 1024, b"\x01" * 1024, b"a/" * 512, "\u2028".encode() * 341, b"x" * 1025),
]
#: Names and values of metadata. On 20 an x-amz-* header must be signed, and botocore signs texts only; RGW takes a
#: header x-object-meta-* for x-amz-meta-*.
METADATA = [
    *(
        (b"x-object-meta-a!#$%&'*+.^`|~", b"v"),
        (b"x-object-meta-", b"v"),
        (b"x-object-meta--", b"v"),
        (b"X-Goog-Meta-A", b"v"),
    ),
    *((b"x-object-meta_u", b"v"), (b"x-objectmeta-x", b"v"), (b"x-object-meta-\xff", b"v"), (b"x-object-meta b", b"v")),
    *((b"x-object-meta-b", value) for value in (b"", b"\xc3\xa9", b"\xff\xfe\x80", b"a\tb", b"a\0b", b"\x01", b"\x7f")),
    *((b"x-object-meta-b", value) for value in (b"a\r\n folded", b'"\\{key}', b"=?UTF-8?B?AAAA?=", b"=?UTF-8?Q?=zz")),
    *((b"x-object-meta-" + b"n" * 200, b"v"), (b"x-object-meta-" + b"n" * 9000, b"v")),
]
#: What the script reads, or could, beside keys, tags and metadata.
ENVIRONMENT = [
    *(
        ("Referer", b"\xff\t\xfe"),
        ("User-Agent", b"\xff" * 4000),
        ("X-Forwarded-For", b"1.2.3.4, \xff.>"),
        ("Via", "x"),
    ),
    *(
        ("Content-Type", b"\xff/\xff"),
        ("Cache-Control", b"\xff"),
        ("Content-Encoding", "aws-chunked"),
        ("Date", b"\xff"),
    ),
    *(
        ("X-HTTP-Method-Override", "DELETE"),
        ("HTTP_X_AMZ_META_A", "v"),
        ("Range", "bytes=0-"),
        ("Expect", "100-continue"),
    ),
]
#: No requests at all, or ones that nobody has signed.
GARBAGE = [
    *(b"\r\n\r\n", b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100, b"PUT "),
    *(
        b"PUT /bkt/k\r\n\r\n",
        b"PUT  HTTP/1.1\r\n\r\n",
        b"PUT /bkt/k HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
    *(b"PUT /bkt/k HTTP/1.0\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"PUT /bkt/\x00 HTTP/1.1\r\n\r\n"),
    *(
        b"PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" % target
        for target in (
            b"*",
            b"http://h/bkt/k",
            b"/bkt/%zz",
            b"/bkt/%00",
            b"/bkt/\xff",
            b"/" + b"a" * 20000,
            b"//bkt//k",
        )
        + (b"/:bkt/k", b"/a%00b:bkt/k", b"/tenant:bkt/k", b"/\xff\xfe/k", b"/%2e%2e/k", b"/bkt/k?" + b"&" * 9000)
    ),
    *(
        b"PUT /bkt/k HTTP/1.1\r\nHost: h\r\n%s\r\n\r\nxx" % header
        for header in (b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: gzip")
        + (b"Content-Length: 1\r\nContent-Length: 2", b"Transfer-Encoding: chunked", b"Host: \xff%00", b": x", b"\0: x")
    ),
    *(b"BREW /bkt/k HTTP/1.1\r\nHost: h\r\n\r\n", b"OPTIONS /bkt/k HTTP/1.1\r\nHost: h\r\nOrigin: \xff\r\n\r\n"),
    b"POST /bkt HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\r\nContent-Length: 4\r\n\r\n--\r\n",
    b"POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\nAction=&%0",
]
AUTHORIZATIONS = [
    *(
        b"AWS",
        b"AWS :",
        b"AWS test:",
        b"AWS \xff:\xff",
        b"\xff\xfe",
        b"Bearer x",
        b"Basic dGVzdDp0ZXN0",
        b"AWS4-HMAC-SHA256",
    ),
    b"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
    b"AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;;, Signature=\xff",
]
#: Subresources and bodies that are refused, each for its own reason.
BAD_BODIES = [
    *(
        ("tagging", b"<"),
        ("tagging", b"\xff\0"),
        ("tagging", b"<Tagging/>" * 2),
        ("acl", b"<a><b>"),
        ("acl", b"\0\xff"),
    ),
    *(
        ("uploadId=none", b"<CompleteMultipartUpload/>"),
        ("uploadId=none&partNumber=1", b"x"),
        ("uploadId=%00&partNumber=1", b"x"),
    ),
    *(("legal-hold", b"<"), ("retention", b"<" * 9000)),
]
BAD_DELETES = [
    b"",
    b"<Delete>",
    b"<Delete>" + b"<Object>" * 20000,
    b"<Delete><Object><Key>\xff</Key></Object></Delete>",
]
#: What is only read. POST of `select` is left out: on 16.2 it breaks radosgw's own parser of forms' policies.
QUERIES = [
    *("max-keys=-1", "max-keys=99999999999999999999", "prefix=%00&delimiter=%ff", "marker=%ff&encoding-type=url"),
    *("list-type=2&continuation-token=%00%ff", "versions&key-marker=%00", "versionId=%00", "versionId=none", "torrent"),
    *(
        "uploads",
        "uploadId=none",
        "partNumber=%00",
        "response-content-type=%0d%0aX:%201",
        "tagging",
        "acl",
        "policy",
        "%00=%ff",
    ),
    *(
        "&" * 5000,
        "a=" + "b" * 9000,
        "X-Amz-Signature=0&X-Amz-Credential=////",
        "notification",
        "uploadId=%00&uploadId=",
    ),
]
