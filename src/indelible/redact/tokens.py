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
    r"ABSK[A-Za-z0-9+/]{40,}",  # Bedrock
    r"bedrock-api-key-[A-Za-z0-9+/=]{16,}",
    r"amzn\.mws\.[0-9a-f-]{36}",
    r"AIza[A-Za-z0-9_-]{20,}",  # Google
    r"ya29\.[A-Za-z0-9_.-]{6,}",
    r"GOCSPX-[A-Za-z0-9_-]{6,}",
    r"[rsp]k_(?:live|test|prod|org_live|org_test)_[A-Za-z0-9]{6,}",  # Stripe, Clerk
    r"(?:pi|seti|cs)_[A-Za-z0-9_]{14,}_secret_[A-Za-z0-9]{8,}",
    r"sk_[0-9a-f]{40,}",  # ElevenLabs
    r"whsec_[A-Za-z0-9+/=]{6,}",
    r"npm_[A-Za-z0-9]{20,}",
    r"pypi-[A-Za-z0-9_-]{32,}",
    r"pypi-AgE[A-Za-z0-9_-]{6,}",
    r"(?:hf_|api_org_)[A-Za-z0-9]{16,}",  # Hugging Face
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
    r"AT(?:ATT|CTT)3[A-Za-z0-9_=-]{16,}",  # Atlassian
    r"ATBB[A-Za-z0-9]{32}",
    r"ATTA[0-9a-f]{64}",
    r"NR(?:AK|II|JS|BR)-[A-Za-z0-9_-]{16,}",  # New Relic
    r"[0-9a-f]{32,}(?:FFFF)?NRAL",
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
    r"x(?:keysib|smtpsib)-[0-9a-f-]{16,}",  # Brevo
    r"CCIPAT_[A-Za-z0-9_]{8,}",
    r"ops_eyJ[A-Za-z0-9_=-]{16,}",  # 1Password
    r"nfp_[A-Za-z0-9]{30,}",  # Netlify
    r"ph[xs]_[A-Za-z0-9]{30,}",  # PostHog
    r"vc[apirk]_[A-Za-z0-9]{40,}",  # Vercel
    r"vercel_blob_rw_[A-Za-z0-9_]{16,}",
    r"rnd_[A-Za-z0-9]{28,}",  # Render
    r"napi_[a-z0-9]{48,}",  # Neon
    r"fm[12][ar]?_[A-Za-z0-9+/=]{40,}",  # Fly
    r"v1\.0-[0-9a-f]{24}-[0-9a-f]{60,}",  # Cloudflare
    r"sq[apu]_[0-9a-f]{40}",  # SonarQube
    r"bk[a-z]{2}_[0-9a-f]{40}",  # Buildkite
    r"hc[a-z]{2}k_[A-Za-z0-9]{26,}",  # Honeycomb
    r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{40,}",  # Dynatrace
    r"nvapi-[A-Za-z0-9_-]{20,}",  # NVIDIA
    r"csk-[a-z0-9]{40,}",  # Cerebras
    r"tgp_v1_[A-Za-z0-9_-]{20,}",  # Together
    r"jina_[A-Za-z0-9]{40,}",
    r"tvly-(?:[a-z]+-)?[A-Za-z0-9]{20,}",  # Tavily
    r"e2b_[0-9a-f]{40}",
    r"pk_[0-9]{5,}_[A-Z0-9]{32}",  # ClickUp
    r"[0-9a-f]{32}-us[0-9]{1,2}",  # Mailchimp
    r"CFPAT-[A-Za-z0-9_-]{30,}",  # Contentful
    r"pat-(?:na|eu|ap)[0-9]-[0-9a-f-]{36}",  # HubSpot
    r"sdk-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f-]{17}",  # LaunchDarkly
    r"AKCp[A-Za-z0-9]{60,}",  # Artifactory
    r"pn[ub]_[A-Za-z0-9]{30,}",  # Prefect
    r"essu_[A-Za-z0-9+/=]{30,}",  # Elastic
    r"mdb_sa_sk_[A-Za-z0-9_-]{20,}",  # MongoDB Atlas
    r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",  # 1Password
    r"access_token\$production\$[0-9a-z]{16}\$[0-9a-f]{32}",  # Braintree
    r"access-(?:sandbox|development|production)-[0-9a-f-]{36}",  # Plaid
    r"rzp_(?:live|test)_[A-Za-z0-9]{10,}",  # Razorpay
    r"APP_USR-[0-9]{10,}-[0-9]{6}-[0-9a-f]{32}",  # Mercado Pago
    r"pdl_(?:live|sdbx)_apikey_[A-Za-z0-9_]{20,}",  # Paddle
    r"sgp_[A-Za-z0-9_]{30,}",  # Sourcegraph
    r"pul-[0-9a-f]{30,}",  # Pulumi
    r"HRKU-[A-Za-z0-9_-]{16,}",  # Heroku
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{16,}",  # Terraform Cloud
    r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{30,}",  # secrets of Entra applications
    r"[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{18,}",  # Azure's keys since 2024: AI services, DevOps
    # Azure's keys of 2022: the four characters in front of the checksum say whose.
    r"[A-Za-z0-9+/]{76}(?:APIM|ACDb|\+(?:ABa|AMC|ASt))[A-Za-z0-9+/]{5}[AQgw]==",
    r"[A-Za-z0-9+/_-]{33,}(?:AIoT|AzCa|AzFu|\+(?:ASb|AEh|ARm))[A-Za-z0-9+/_-]{5,6}={1,2}",
    r"[A-Za-z0-9+/]{42}(?:AzSeA|\+ACR[A-D])[A-Za-z0-9+/]{5}\b",
    r"pat[A-Za-z0-9]{14}\.[0-9a-f]{32,}",  # Airtable
    r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}",  # JWT and JWE (RFC 7519, RFC 7516)
    r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]+",
    r"discord(?:app)?\.com/api/webhooks/[0-9]+/[A-Za-z0-9_-]+",
    r"webhook\.office\.com/webhookb?2?/[A-Za-z0-9@/_-]+",
    r"hooks\.zapier\.com/hooks/catch/[A-Za-z0-9/_-]+",
    r"maker\.ifttt\.com/trigger/[A-Za-z0-9_-]+/(?:json/)?with/key/[A-Za-z0-9_-]+",
    # Hashes of passwords, as in /etc/shadow and in the tables of users (crypt(5), RFC 9106, Django).
    r"\$(?:2[abxy]?|5|6|y|7|gy|apr1|md5|argon2(?:id|i|d)|scrypt|pbkdf2-sha(?:1|256|512))\$[./A-Za-z0-9$=,+-]{20,}",
    r"pbkdf2_sha(?:1|256|512)\$[0-9]+\$[./A-Za-z0-9]+\$[A-Za-z0-9+/=]{20,}",
    r"(?:AccountKey|SharedAccessKey|SharedSecretValue)=[A-Za-z0-9+/=]{6,}",  # Azure connection strings
)

# These begin as ordinary words do, so what stands on their left decides.
_SHAPES: Final = (
    r"(^|[^A-Za-z0-9]|/bot)(sk-[A-Za-z0-9_-]{6,}|(?:AC|SK)[0-9a-f]{32}|[0-9]{8,10}:[A-Za-z0-9_-]{35}"
    r"|[12]/[0-9]{13,19}(?:/[0-9]{13,19})?:[0-9a-f]{32}"  # Asana
    r"|oauth:[a-z0-9]{30}|fc-[0-9a-f]{32}|1//0[A-Za-z0-9_-]{40,}"  # Twitch, Firecrawl, Google's refresh tokens
    r"|[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}"  # Discord
    r"|npg_[A-Za-z0-9]{12,}|re_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}|live_[A-Za-z0-9_-]{30,}"  # Neon, Resend, Mollie
    r"|fw_[A-Za-z0-9]{22,}|sl\.[A-Za-z0-9_.-]{100,}|BSA[A-Za-z0-9_-]{28}\b)"  # Fireworks, Dropbox, Brave
)
_SHAPES_HINT: Final = (
    r"sk-[A-Za-z0-9_-]{6}|(?:AC|SK)[0-9a-f]{8}|[0-9]{8}:[A-Za-z0-9_-]{8}|oauth:[a-z0-9]{8}|fc-[0-9a-f]{8}"
    r"|1//0[A-Za-z0-9_-]{8}|\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}|npg_|re_[A-Za-z0-9]{8}_|live_[A-Za-z0-9_-]{8}"
    r"|fw_[A-Za-z0-9]{8}|sl\.[A-Za-z0-9_.-]{20}|BSA[A-Za-z0-9_-]{8}"
)
_NEEDS_SIGNS: Final = (b"M", b"N", b"O", b"npg_", b"re_", b"live_", b"fw_", b"sl.", b"BSA")
"""What begins so is a name in code as well, unless digits and capitals stand in it."""

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
    if found.startswith((b"sk-ssh-", b"sk-ecdsa-")):  # OpenSSH's kinds of public keys
        return None
    if found.startswith(b"sk-"):
        # `sk-toggleable-label` is a class in a style sheet; keys have digits or capitals, or are one long word.
        tail = found[3:]
        if not (any(48 <= c <= 57 or 65 <= c <= 90 for c in tail) or (len(tail) >= 16 and tail.isalpha())):
            return None
    elif found.startswith(_NEEDS_SIGNS) and not (_DIGIT(found[3:]) and _CAPITAL(found[3:])):
        return None
    result: bytes = match[1] + b"[TOKEN]"
    return result


_DIGIT: Final = re.compile(rb"[0-9]").search
_CAPITAL: Final = re.compile(rb"[A-Z]").search


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


def _token(match: Match, text: bytes, begin: int, _end: int) -> bytes | None:
    """Leave what only ends a longer word as a prefix begins: of code, and of a sequence of DNA or a protein."""
    found: bytes = match[0]
    before = text[max(0, begin - 4) : begin]
    if before[-1:].isalpha() and _IN_A_NAME(found):
        return None
    if found.startswith(b"eyJ") and before[-1:] in (b"k", b"K") and not _is_json(found):
        return None
    if _SEQUENCE(found) or (_LETTERS(found) and _LETTERS(before)):
        return None
    return b"[TOKEN]"


_IN_A_NAME: Final = re.compile(rb"[rsp]k_[a-z]+_[a-z]+[0-9]{0,3}").fullmatch
"""``benchmark_test_results``, ``disk_test_image``."""
_SEQUENCE: Final = re.compile(rb"[ACGTU]{16,}").fullmatch
_LETTERS: Final = re.compile(rb"[A-Z]{4,}").fullmatch


def _is_json(token: bytes) -> bool:
    """Tell whether a JWT's first part is encoded JSON; that of ``KeyJwtProvider.`` is not."""
    part = token.partition(b".")[0].translate(_STANDARD)
    decoded = binascii.a2b_base64(part[: len(part) // 4 * 4])
    return decoded.isascii() and decoded.decode().isprintable()


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


_PREFIX: Final = "|".join(PREFIXES)


def _hint(prefix: str) -> str:
    """Return less of a pattern: its first letters, where they are many, else fewer characters after them.

    A smaller automaton: it is compiled at every start.
    """
    head = _HEAD(prefix)
    if head is not None:
        return head[0]
    return re.sub(r"\{(\d+),?\}", lambda count: f"{{{min(int(count[1]), 6)},}}", _RUN.sub("", prefix))


_HEAD: Final = re.compile(r"(?:[A-Za-z0-9_/-]|\\[.$]){6,}(?=\[)").match
_RUN: Final = re.compile(r"^\[[A-Za-z0-9+/_~.-]+\]\{[0-9]+,?\}(?=\\.[a-z]{3}|[A-Z]{3}|\[78\]Q|\(\?:[A-Z])")
"""Any characters in front of what tells: they are everywhere."""
_PREFIX_HINT: Final = "|".join(map(_hint, PREFIXES))

TABLE: Final = (
    ("TOKEN", _PREFIX, _PREFIX_HINT, _token, ("_", "-", ".", "A", "=", "dapi", "~", "$", "JQQJ99")),
    ("SHAPE", _SHAPES, _SHAPES_HINT, _shape, ("sk-", "AC", "SK", ":", "-", "_", ".", "1//0", "BSA")),
    ("BEARER", _BEARER, "(?i:bearer)", _bearer, ()),
    ("BASIC", _BASIC, "(?i:basic)", _basic, ()),
)
"""(name, pattern, hint, what to do, needles), in the order in which they run."""
