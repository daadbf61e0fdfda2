"""Tokens and keys that say what they are: by prefix, by shape, or by the word in front of them."""

from __future__ import annotations

import binascii
import re
from typing import Any, Final

Match = Any

# A prefix of our own making is unmistakable, so it needs no boundary on its left; few characters suffice after it,
# since tests and examples shorten tokens, and a shortened one is still not for the log.
PREFIXES: Final = (
    r"gh[pousr]_[A-Za-z0-9]{6,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{6,}",
    r"gl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|oas|ffct|wt)-[A-Za-z0-9_.-]{6,}",  # GitLab
    r"xox[a-eoprs](?:\.xox[a-z])?-[A-Za-z0-9-]{6,}",  # Slack
    r"xapp-[0-9]-[A-Za-z0-9-]{6,}",
    r"(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|AIPA|ABIA|ACCA)[A-Z2-7]{12,}",  # AWS: ids of keys and principals
    r"AIza[A-Za-z0-9_-]{20,}",  # Google
    r"ya29\.[A-Za-z0-9_.-]{6,}",
    r"GOCSPX-[A-Za-z0-9_-]{6,}",
    r"[rsp]k_(?:live|test|prod)_[A-Za-z0-9]{6,}",  # Stripe, Clerk
    r"whsec_[A-Za-z0-9+/=]{6,}",
    r"npm_[A-Za-z0-9]{20,}",
    r"pypi-[A-Za-z0-9_-]{32,}",
    r"pypi-AgE[A-Za-z0-9_-]{6,}",
    r"hf_[A-Za-z0-9]{16,}",  # Hugging Face
    r"SG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # SendGrid
    r"key-[0-9a-f]{32}",  # Mailgun
    r"do[opr]_v1_[0-9a-f]{8,}",  # DigitalOcean
    r"sh(?:pat|pca|ppa|pss)_[A-Fa-f0-9]{16,}",  # Shopify
    r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{8,}",  # Square
    r"dapi[0-9a-f]{32}",  # Databricks
    r"lin_(?:api|oauth)_[A-Za-z0-9]{8,}",
    r"gsk_[A-Za-z0-9]{20,}",  # Groq
    r"xai-[A-Za-z0-9]{20,}",
    r"pplx-[A-Za-z0-9]{20,}",
    r"PMAK-[A-Za-z0-9-]{16,}",
    r"dp\.(?:pt|st|ct|sa)\.[A-Za-z0-9._-]{8,}",  # Doppler
    r"hv[sbr]\.[A-Za-z0-9_-]{16,}",  # Vault
    r"AGE-SECRET-KEY-1[A-Z0-9]{8,}",
    r"ATATT3[A-Za-z0-9_=-]{16,}",  # Atlassian
    r"NRAK-[A-Z0-9]{16,}",
    r"gl(?:c|sa)_[A-Za-z0-9+/=_]{16,}",  # Grafana
    r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{8,}",
    r"(?:ntn|secret)_[A-Za-z0-9]{32,}",  # Notion
    r"figd_[A-Za-z0-9_-]{8,}",
    r"tskey-[a-z]+-[A-Za-z0-9-]{8,}",  # Tailscale
    r"rubygems_[0-9a-f]{16,}",
    r"fo1_[A-Za-z0-9_-]{16,}",  # Fly
    r"sntry[su]_[A-Za-z0-9_=-]{16,}",
    r"dckr_[po]at_[A-Za-z0-9_-]{6,}",  # Docker Hub
    r"sbp_[0-9a-f]{32,}",  # Supabase
    r"sb_secret_[A-Za-z0-9_-]{16,}",
    r"r8_[A-Za-z0-9]{30,}",  # Replicate
    r"pcsk_[A-Za-z0-9_]{16,}",  # Pinecone
    r"lsv2_[a-z]{2}_[0-9a-f_]{16,}",  # LangSmith
    r"xkeysib-[0-9a-f-]{16,}",  # Brevo
    r"CCIPAT_[A-Za-z0-9_]{8,}",
    r"ops_eyJ[A-Za-z0-9_=-]{16,}",  # 1Password
    r"nfp_[A-Za-z0-9]{30,}",  # Netlify
    r"ph[xs]_[A-Za-z0-9]{30,}",  # PostHog
    r"sgp_[A-Za-z0-9_]{30,}",  # Sourcegraph
    r"pul-[0-9a-f]{30,}",  # Pulumi
    r"HRKU-[A-Za-z0-9_-]{16,}",  # Heroku
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{16,}",  # Terraform Cloud
    r"[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{30,}",  # secrets of Entra applications
    r"pat[A-Za-z0-9]{14}\.[0-9a-f]{32,}",  # Airtable
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}",  # JWT and JWE (RFC 7519, RFC 7516)
    r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]+",
    r"discord(?:app)?\.com/api/webhooks/[0-9]+/[A-Za-z0-9_-]+",
    r"(?:AccountKey|SharedAccessKey|SharedSecretValue)=[A-Za-z0-9+/=]{6,}",  # Azure connection strings
)

# These begin as ordinary words do, so what stands on their left decides.
_SHAPES: Final = (
    r"(^|[^A-Za-z0-9]|/bot)(sk-[A-Za-z0-9_-]{6,}|(?:AC|SK)[0-9a-f]{32}|[0-9]{8,10}:[A-Za-z0-9_-]{35})"
)
_SHAPES_HINT: Final = r"sk-[A-Za-z0-9_-]{6}|(?:AC|SK)[0-9a-f]{8}|[0-9]{8}:[A-Za-z0-9_-]{8}"

_BEARER: Final = r"(?i)\b(bearer[\s:]+)([A-Za-z0-9._~+/=-]{6,})"
_BASIC: Final = r"(?i)\b(basic\s+)([A-Za-z0-9+/_-]{8,}={0,2})"

_PLAIN_WORDS: Final = frozenset(
    b"access auth authentication authorization authorisation based bearer bond bonds certificate challenge "
    b"credential credentials format header headers method prefix realm required scheme security shares strategy "
    b"string support token tokens tokens. token. value".split()
)
"""What follows the word "bearer" in prose."""


def _shape(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    found: bytes = match[2]
    if found.startswith(b"sk-"):
        # `sk-toggleable-label` is a class in a style sheet; keys have digits or capitals, or are one long word.
        tail = found[3:]
        if not (any(48 <= c <= 57 or 65 <= c <= 90 for c in tail) or (len(tail) >= 16 and tail.isalpha())):
            return None
    result: bytes = match[1] + b"[TOKEN]"
    return result


def _bearer(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    if match[2].rstrip(b".").lower() in _PLAIN_WORDS:
        return None
    result: bytes = match[1] + b"[TOKEN]"
    return result


def _basic(match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    """RFC 7617: the credentials are base64 of ``user:password``; "basic authentication" is not."""
    run: bytes = match[2].translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        decoded = binascii.a2b_base64(run + b"=" * (-len(run) % 4))
    except binascii.Error:
        return None
    if b":" not in decoded or any(byte < 0x20 for byte in decoded):
        return None
    result: bytes = match[1] + b"[TOKEN]"
    return result


def _token(_match: Match, _text: bytes, _begin: int, _end: int) -> bytes | None:
    return b"[TOKEN]"


_PREFIX: Final = "|".join(PREFIXES)

_PREFIX_HINT: Final = re.sub(r"\{(\d+),?\}", lambda count: f"{{{min(int(count[1]), 6)},}}", _PREFIX)
"""The same with fewer characters after each prefix: a smaller automaton, compiled at every start."""

TABLE: Final = (
    ("TOKEN", _PREFIX, _PREFIX_HINT, _token, ("_", "-", ".", "A", "=", "dapi", "~")),
    ("SHAPE", _SHAPES, _SHAPES_HINT, _shape, ("sk-", "AC", "SK", ":")),
    ("BEARER", _BEARER, "(?i:bearer)", _bearer, ()),
    ("BASIC", _BASIC, "(?i:basic)", _basic, ()),
)
"""(name, pattern, hint, what to do, needles), in the order in which they run."""
