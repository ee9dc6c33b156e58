"""Values that doors of a program are opened with: by mistake, by another program, or on purpose."""

from __future__ import annotations

INTEGERS = ("0", "-1", "2147483648", "9223372036854775807", "9223372036854775808", "100000000000")
INTEGERS += (
    "9" * 20,
    "9" * 310,
    "9" * 5_000,
    "1e3",
    "0x10",
    "1_000",
    "٣",
    "²",
    "NaN",
    "-inf",
    "1.5",
    " 7",
    "",
)
TEXTS = ("", " ", "-", "--", "x" * 5_000, "\udcff\udcfe", "ünïcode ☃", "\u202eright", "\x1b[31mred\x1b[0m")
TEXTS += (
    "line\nfeed",
    "%00%0A%s%n{0}",
    "'; DROP TABLE run; --",
    "$(reboot)",
    "../" * 50,
    "a" * 255,
    "\t",
    "ß" * 300,
)
TEXTS += ("\ufeff", "*", "1,2,3,4", "cpu", "none", "::error::no", "\x7f", "\U0001f9e8", "null", "[]", "{}")
PATHS = (
    "/dev/null",
    "/dev/full",
    "/proc/self/mem",
    "/",
    ".",
    "nowhere/file",
    "x" * 300,
    "\udcff.csv",
    "a?b#c%d",
    "/root",
)
PATHS += (
    "/dev/stdout",
    "-",
    "",
    "x/" * 3_000,
    "file.jsonl",
    "file.csv.gz",
    "ünï.json",
    "a\nb",
    "~",
    "/dev/fd/99",
)
PATTERNS = (
    "1,2,3,4",
    "6,64,64,1",
    "0,0,0,0",
    "-1,1,1,1",
    "1,2,3",
    "1,2,3,4,5",
    "9" * 400 + ",1,1,1",
    "a,b,c,d",
    ",,,",
)
PATTERNS += (
    "[[1, 2, 3, 4]]",
    "1e9,1,1,1",
    "2147483647,2147483647,2147483647,2147483647",
    "٣,1,1,1",
    "1, 2 ,3,4",
    "²,1,1,1",
)
PATTERNS += ("1,1,1,9223372036854775808", "100000,100000,100000,100000")
DURATIONS = (
    "0s",
    "-1m",
    "1e400s",
    "nanh",
    "infm",
    "99999999999999999999h",
    "5",
    "m",
    "3 h",
    "1h30m",
    "٣s",
    "²s",
    "9" * 5_000 + "s",
)
DATES = (
    "2030-01-31",
    "0001-01-01",
    "9999-12-31",
    "2030-02-30",
    "99999-01-01",
    "now",
    "2030-01-31T25:00",
    "1e9",
    "20300131",
)
DATES += ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2030-W01-1")
DAYS = ("100000000000", "999999999", "1", "0", "2147483647", "-100000000000", "3000000", "800000", "9" * 310)
PLANTS = (
    "fused:-150%@1",
    "fused:+5%@20-10",
    "fused:nan%@1",
    "fused:+inf%@1-2",
    "fused:+5%@" + "9" * 400,
    "magic:+5%@1",
    "none",
)
PLANTS += (
    "fused:-100%@1",
    "fused:1e400%@1",
    "fused:+5%@0:fp8",
    ":%@",
    "fused:+5%@1-2:bf16:x",
    "fused:+5%@²",
    "fused:-99.9999%@0",
)
PLANTS += ("fused:1e30%@0",)
ADDRESSES = (
    "tcp://127.0.0.1:port",
    "tcp://127.0.0.1:99999",
    "tls://[::1",
    "tcp://",
    "http://x",
    "127.0.0.1",
    "tcp://\udcff:1",
)
ADDRESSES += (
    "tcp://" + "x" * 5_000 + ":8786",
    "tcp://127.0.0.1:-1",
    "::",
    "0.0.0.0",
    "256.1.1.1",
    "tcp://127.0.0.1:²",
    "unix://x",
)
ADDRESSES += ("tcp://localhost:8786:1", "inproc://x", "ucx://x:1", "tcp://127.0.0.1")
URLS = (
    "sqlite:///",
    "sqlite://",
    "sqlite:///:memory:",
    "postgresql://127.0.0.1:port/x",
    "postgresql://127.0.0.1:99999/x",
)
URLS += (
    "postgresql://[::1/x",
    "sqlite:////dev/null",
    "sqlite:////dev/zero",
    "sqlite:///" + "x" * 5_000,
    "sqlite:///\udcff.db",
)
URLS += (
    "mysql://x",
    "x",
    "sqlite:///a?b=c",
    "postgresql://127.0.0.1:1/x?connect_timeout=x",
    "sqlite:////proc/self/mem",
)
URLS += (
    "postgresql://127.0.0.1:1/x?sslmode=never",
    "sqlite:///a?timeout=x",
    "sqlite:////",
    "postgresql:///x?host=/nowhere",
)
URLS += (
    "postgresql://127.0.0.1:1/" + "x" * 5_000,
    "sqlite:///x?mode=ro&uri=true",
    "postgresql+asyncpg://x/y",
    "sqlite+aiosqlite:///x",
)
URLS += (
    "postgresql://u:%ff@127.0.0.1:1/x",
    "sqlite:///a\nb",
    "postgresql://127.0.0.1:0/x",
    "postgresql://127.0.0.1:-1/x",
)
URLS += (
    "postgresql://\udcff@127.0.0.1:1/x",
    "sqlite:///nowhere/x.db?cache=y",
    "postgresql://127.0.0.1:1/x?nosuchoption=1",
)
